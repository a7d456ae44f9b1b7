import { createActor, type SnapshotFrom } from "xstate";
import { type BillingContext, type BillingEvent, billingMachine } from "../../machines/billing.ts";
import type { Account, AccountState, ItemEntry, TimeEntry } from "./billing-store.ts";
import { monthOf } from "./billing-store.ts";
import { chargeAmount } from "./check-charge.ts";
import { isCurrency } from "./currency.ts";
import type { ChargeMade, ChargingEvent, SessionEnded, SessionFacts } from "./events.ts";
import { formatAmount, parseMoney } from "./money.ts";
import { rateDuration } from "./tariff.ts";

type Snapshot = SnapshotFrom<typeof billingMachine>;

let requested: string[] = [];

/**
 * Where the chart asks for its actions. One for all accounts: XState's own `transition` makes an actor for each call, which takes
 * five times as long as the transition (measured: 188 µs instead of 33 µs for an account's four steps).
 */
const scope: Parameters<typeof billingMachine.transition>[2] = (() => {
  const input = { session: { id: "", user: "", service: "", appServer: "", call: "" }, windowMs: 0 };
  const self = createActor(billingMachine, { input });
  return {
    self,
    system: self.system,
    id: "",
    sessionId: "",
    logger: () => {},
    defer: () => {},
    emit: () => {},
    stopChild: () => {},
    actionExecutor: (action) => {
      requested.push(action.type);
    },
  };
})();

/** An account in work: the chart's snapshot, and what it was made from. */
export interface OpenAccount {
  readonly revision: number;
  readonly snapshot: Snapshot;
}

export function newAccount(session: SessionFacts, windowMs: number): OpenAccount {
  return { revision: 0, snapshot: billingMachine.getInitialSnapshot(scope, { session, windowMs }) };
}

export function restoreAccount({ revision, state, context }: Account): OpenAccount {
  return { revision, snapshot: billingMachine.resolveState({ value: state, context }) };
}

export function storedForm({ revision, snapshot }: OpenAccount): Account {
  return { revision, state: snapshot.value as AccountState, context: snapshot.context };
}

/** One event's step of the chart, without carrying out anything: returns the account after it and the names of the actions wanted. */
export function step(account: OpenAccount, event: BillingEvent): { readonly account: OpenAccount; readonly actions: readonly string[] } {
  requested = [];
  const snapshot = billingMachine.transition(account.snapshot, event, scope);
  return { account: { revision: account.revision, snapshot }, actions: requested };
}

export function isChanged(before: OpenAccount, after: OpenAccount): boolean {
  return before.snapshot.context !== after.snapshot.context || before.snapshot.value !== after.snapshot.value;
}

/** The line for a session's time (M13). Throws where the tariff is not one. */
export function timeEntry(event: SessionEnded): TimeEntry {
  const { tariff } = event.session;
  const price = tariff && rateDuration(tariff, event.durationMs);
  return {
    kind: "time",
    id: event.id,
    at: event.startedAt,
    month: monthOf(event.startedAt),
    user: event.session.user,
    service: event.session.service,
    appServer: event.session.appServer,
    session: event.session.id,
    currency: tariff?.currency ?? "",
    amount: price ? formatAmount(price) : "0",
    durationMs: event.durationMs,
    endedBy: event.endedBy,
    ...(tariff && { tariff: tariff.id }),
  };
}

/** The line for what an app server charged (M14, M18). Throws where price or quantity are not decimal. */
export function itemEntry(event: ChargeMade): ItemEntry {
  const { charge, session } = event;
  return {
    kind: "item",
    id: event.id,
    at: event.at,
    month: monthOf(event.at),
    user: session.user,
    service: session.service,
    appServer: session.appServer,
    session: session.id,
    currency: charge.currency,
    amount: formatAmount(chargeAmount(charge)),
    item: charge.item,
    unitPrice: charge.unitPrice,
    quantity: charge.quantity,
    channel: event.channel,
  };
}

const MAX_ID = 512;
/** Of JavaScript's dates. */
const MAX_TIME_MS = 8.64e15;

/** What is wrong with an event that came over the bus; undefined: it can be billed. Anyone may have put it there. */
export function eventProblem(event: ChargingEvent): string | undefined {
  if (typeof event !== "object" || event === null) return "it is not an object";
  if (!isName(event.id)) return "id must be text";
  if (!isTime(event.at)) return "at must be a time in milliseconds";
  const { session } = event;
  if (typeof session !== "object" || session === null) return "session is missing";
  for (const name of ["id", "user", "service", "appServer", "call"] as const) {
    if (!isName(session[name])) return `session.${name} must be text`;
  }
  if (event.type === "session.started") return undefined;
  if (event.type === "session.ended") return endProblem(event);
  if (event.type === "charge.made") return chargeProblem(event);
  return `there is no event ${JSON.stringify((event as { type: unknown }).type)}`;
}

function endProblem(event: SessionEnded): string | undefined {
  if (!isTime(event.startedAt)) return "startedAt must be a time in milliseconds";
  if (!isTime(event.durationMs)) return "durationMs must be milliseconds";
  try {
    timeEntry(event);
    return undefined;
  } catch (error) {
    return `its tariff cannot be applied: ${(error as Error).message}`;
  }
}

function chargeProblem({ charge }: ChargeMade): string | undefined {
  if (typeof charge !== "object" || charge === null) return "charge is missing";
  if (!isName(charge.id) || !isName(charge.item)) return "charge.id and charge.item must be text";
  if (typeof charge.currency !== "string" || !isCurrency(charge.currency)) return "charge.currency must be an ISO 4217 code";
  for (const name of ["unitPrice", "quantity"] as const) {
    if (typeof charge[name] !== "string" || !parseMoney(charge[name], charge.currency).ok) return `charge.${name} must be a decimal number`;
  }
  return undefined;
}

/** Short enough for a key of the store, and without the NUL that ends one. */
function isName(value: unknown): value is string {
  return typeof value === "string" && value.length > 0 && value.length <= MAX_ID && !value.includes("\0");
}

function isTime(value: unknown): value is number {
  return typeof value === "number" && value >= 0 && value <= MAX_TIME_MS;
}

export type { BillingContext };
