import { err, ok, type Result } from "../../support/result.ts";
import { monthOf } from "../money/months.ts";
import {
  AHEAD_MS,
  type CreditAccount,
  type CreditTerms,
  dayOf,
  free,
  type Hold,
  LEASE_MS,
  type LedgerEntry,
  MAX_MICROS,
  type Micros,
  type Refusal,
  type ReserveRequest,
  type Settlement,
  takenOn,
} from "./store.ts";

/*
 * The steps of a prepaid account, as pure functions: each takes the account and returns it changed. An adapter of the
 * store runs them in a transaction, or writes the result only if nobody else has written in between.
 */

/** Bound on the sessions that one account pays at once. */
export const MAX_HOLDS = 1_000;

/**
 * The account after a step, and the new entries in the ledger. A step that changes nothing returns undefined instead.
 */
export interface Step {
  readonly account: CreditAccount;
  readonly entries: readonly LedgerEntry[];
}

/** What the ledger has for a hold already. */
export type Debited = readonly Pick<LedgerEntry, "at" | "amount">[];

/** Raises a hold; see `CreditStore.reserve`. */
export function reserveIn(
  account: CreditAccount,
  request: ReserveRequest,
): Result<{ readonly account: CreditAccount; readonly held: Micros }, Refusal> {
  const { holds, available, currency } = account;
  const now = request.until - (request.leaseMs ?? LEASE_MS);
  const left = free(account, now);
  const refused = (why: Refusal["why"]) => err({ why, account: { currency, available } });
  if (currency !== request.currency) return refused("currency");
  const hold = holds[request.hold];
  if (!hold && request.from > 0) return refused("gone");
  if (!hold && Object.keys(holds).length >= MAX_HOLDS) return refused("too many sessions");
  const before = hold?.amount ?? 0;
  const wanted = Math.max(0, request.to - before);
  const least = Math.max(0, Math.min(wanted, request.atLeast - before));
  const taken = wanted <= Math.max(0, left.free) ? wanted : left.free;
  if (taken < least || (taken <= 0 && wanted > 0)) return refused(left.by);
  const held = before + taken;
  const { used, until, leaseMs } = request;
  const raised: Hold = {
    amount: held,
    used: Math.max(used, hold?.used ?? 0),
    until,
    ...(leaseMs !== undefined && { leaseMs }),
  };
  return ok({
    account: {
      ...counted(account, dayOf(now), taken),
      available: available - taken,
      holds: { ...holds, [request.hold]: raised },
    },
    held,
  });
}

/** The account after sessions took so much on that day; below zero: they gave it back. An earlier day is past. */
function counted(account: CreditAccount, on: number, taken: Micros): CreditAccount {
  const { perDay, day } = account;
  if (perDay === undefined || taken === 0 || (day !== undefined && on < day.on)) return account;
  return { ...account, day: { on, taken: Math.max(0, takenOn(account, on) + taken) } };
}

/** The account with other terms. */
export function withTerms(account: CreditAccount, { limit, perDay }: CreditTerms): CreditAccount {
  const { limit: _, perDay: __, day, ...rest } = account;
  return {
    ...rest,
    ...(limit !== undefined && { limit }),
    ...(perDay !== undefined && { perDay, ...(day && { day }) }),
  };
}

/** Takes what a session cost; see `CreditStore.settle`. `debited`: what the ledger has for this hold. */
export function settleIn(account: CreditAccount, settlement: Settlement, debited: Debited): Step | undefined {
  const { hold: key, session, totals } = settlement;
  const { [key]: hold, ...holds } = account.holds;
  const { user, currency } = account;
  const entries: LedgerEntry[] = [];
  let available = account.available + (hold?.amount ?? 0);
  for (const { amount, at } of totals) {
    const month = monthOf(at);
    let owed = amount;
    for (const before of debited) if (monthOf(before.at) === month) owed += before.amount;
    if (owed <= 0) continue;
    available -= owed;
    const id = `session:${key}:${debited.length + entries.length}`;
    entries.push({ user, id, at, kind: "session", amount: -owed, currency, hold: key, session });
  }
  if (!hold && entries.length === 0) return undefined;
  const lastAt = totals.at(-1)?.at;
  const then = lastAt === undefined ? account : counted(account, dayOf(lastAt), account.available - available);
  return { account: { ...then, available, holds }, entries };
}

/** Moves the balance. The caller has checked that the ledger has no entry with that id. */
export function postIn(account: CreditAccount, entry: LedgerEntry): Step {
  const available = account.available + entry.amount;
  if (!Number.isSafeInteger(available) || Math.abs(available) > MAX_MICROS)
    throw new RangeError("a balance can hold no more than 9,000 million units");
  return { account: { ...account, available }, entries: [entry] };
}

/** True where the ledger has the same movement already. */
export const isSameEntry = (a: LedgerEntry, b: LedgerEntry): boolean =>
  a.kind === b.kind && a.amount === b.amount && a.currency === b.currency;

/** Whether a hold with this `until` may be that of a dead relay; see `CreditStore.overdue`. */
export const isOverdue = (until: number, now: number): boolean => until <= now || until > now + AHEAD_MS;

/** The account's holds that are overdue. */
export function overdueHolds({ holds }: CreditAccount, now: number): Record<string, Hold> {
  return Object.fromEntries(Object.entries(holds).filter(([, { until }]) => until !== null && isOverdue(until, now)));
}

/** Ends those holds that have not changed since they were seen; see `CreditStore.release`. */
export function releaseIn(account: CreditAccount, seen: Readonly<Record<string, Hold>>): Step | undefined {
  let { available } = account;
  const holds: Record<string, Hold> = {};
  let changed = false;
  for (const [key, hold] of Object.entries(account.holds)) {
    const { amount, used, until, leaseMs, ...rest } = hold;
    const before = seen[key];
    if (until === null || before?.until !== until || before.amount !== amount || before.used !== used) {
      holds[key] = hold;
      continue;
    }
    changed = true;
    const kept = Math.min(amount, used);
    available += amount - kept;
    if (kept > 0) holds[key] = { ...rest, amount: kept, used, until: null };
  }
  if (!changed) return undefined;
  const then = account.day ? counted(account, account.day.on, account.available - available) : account;
  return { account: { ...then, available, holds }, entries: [] };
}

/** The earliest `until` of the holds; undefined: none has one. */
export function firstUntil({ holds }: CreditAccount): number | undefined {
  let first: number | undefined;
  for (const { until } of Object.values(holds))
    if (until !== null && (first === undefined || until < first)) first = until;
  return first;
}
