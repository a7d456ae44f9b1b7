import { type BillingEvent, billingMachine } from "../../../machines/billing.ts";
import type { ChartSnapshot, Transition } from "../../chart/chart.ts";
import { chartFrom } from "../../chart/table.ts";
import type { SessionFacts } from "../events/events.ts";
import type { Account, AccountState } from "./store.ts";

/** One chart for all accounts. Its copy sees no contexts of other charts, so a spread is fast here. */
const chart = chartFrom(billingMachine, { copy: (context) => ({ ...context }) });

/** An account in work: the chart's snapshot, and what it was made from. */
export interface OpenAccount {
  readonly revision: number;
  readonly snapshot: ChartSnapshot<typeof billingMachine>;
}

export function newAccount(session: SessionFacts): OpenAccount {
  // The event came over the bus and may hold anything.
  const windowMs = Number.isSafeInteger(session.lateChargesMs) ? Math.max(0, session.lateChargesMs!) : 0;
  return { revision: 0, snapshot: chart.begin({ session, windowMs }).snapshot };
}

export function restoreAccount({ revision, state, context }: Account): OpenAccount {
  return { revision, snapshot: chart.restore({ value: state, context }) };
}

export function storedForm({ revision, snapshot }: OpenAccount): Account {
  return { revision, state: snapshot.value as AccountState, context: snapshot.context };
}

/** An account's chart has moved. `event`: `xstate.init` where it begins; then `from` is "". */
export interface AccountMove {
  readonly session: string;
  readonly event: string;
  readonly from: string;
  readonly to: string;
  /** The name of the transition in src/chart. */
  readonly arrow?: string;
}

/** What an event does to an account: the account after it, and the names of the chart's actions that it asks for. */
export function step(
  account: OpenAccount,
  event: BillingEvent,
): { readonly account: OpenAccount; readonly actions: readonly string[]; readonly transition: Transition | undefined } {
  const { snapshot, actions, transition } = chart.step(account.snapshot, event);
  return { account: { revision: account.revision, snapshot }, actions: actions.map(({ type }) => type), transition };
}

export function isChanged(before: OpenAccount, after: OpenAccount): boolean {
  return before.snapshot.context !== after.snapshot.context || before.snapshot.value !== after.snapshot.value;
}
