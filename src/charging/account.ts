import { createActor, type SnapshotFrom } from "xstate";
import { type BillingEvent, billingMachine } from "../../machines/billing.ts";
import { chartLogic } from "../support/chart-logic.ts";
import type { Account, AccountState } from "./billing-store.ts";
import type { SessionFacts } from "./events.ts";

type Snapshot = SnapshotFrom<typeof billingMachine>;

let requested: string[] = [];

/**
 * Where the chart asks for its actions. One for all accounts: XState's own `transition` makes an actor for each call, which takes
 * five times as long as the transition (measured: 188 µs instead of 33 µs for an account's four steps).
 */
const logic = chartLogic(billingMachine, {
  copy: (context) => ({ ...context }), // here it sees those of one chart
  execute: ({ type }) => {
    requested.push(type);
  },
});
const scope: Parameters<typeof logic.transition>[2] = (() => {
  const input = { session: { id: "", user: "", service: "", appServer: "", call: "" }, windowMs: 0 };
  const self = createActor(logic, { input });
  return {
    self,
    system: self.system,
    id: "",
    sessionId: "",
    logger: () => {},
    defer: () => {},
    emit: () => {},
    stopChild: () => {},
    actionExecutor: () => {},
  };
})();

/** An account in work: the chart's snapshot, and what it was made from. */
export interface OpenAccount {
  readonly revision: number;
  readonly snapshot: Snapshot;
}

export function newAccount(session: SessionFacts): OpenAccount {
  // What came over the bus may be anything at all.
  const windowMs = Number.isSafeInteger(session.lateChargesMs) ? Math.max(0, session.lateChargesMs!) : 0;
  return { revision: 0, snapshot: logic.getInitialSnapshot(scope, { session, windowMs }) };
}

export function restoreAccount({ revision, state, context }: Account): OpenAccount {
  return { revision, snapshot: logic.restoreSnapshot!({ value: state, context } as never, scope) as Snapshot };
}

export function storedForm({ revision, snapshot }: OpenAccount): Account {
  return { revision, state: snapshot.value as AccountState, context: snapshot.context };
}

/** One event's step of the chart, without carrying out anything: returns the account after it and the names of the actions wanted. */
export function step(
  account: OpenAccount,
  event: BillingEvent,
): { readonly account: OpenAccount; readonly actions: readonly string[] } {
  requested = [];
  const snapshot = logic.transition(account.snapshot, event, scope);
  return { account: { revision: account.revision, snapshot }, actions: requested };
}

export function isChanged(before: OpenAccount, after: OpenAccount): boolean {
  return before.snapshot.context !== after.snapshot.context || before.snapshot.value !== after.snapshot.value;
}
