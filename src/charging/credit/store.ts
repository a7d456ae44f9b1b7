import type { Result } from "../../support/result.ts";
import { type Money, money } from "../money/money.ts";

/*
 * Balances, as a port (decision 7). An adapter needs only atomic writes of single documents: a user's account
 * is one document with what is available and what is held for each session. Every call may be repeated at any point.
 *
 * At every moment, `available` and all holds together are the sum of the ledger.
 */

/** Millionths of a currency's unit, a whole number: what an atomic increment can count without rounding. */
export type Micros = number;

export const MICROS_SCALE = 6;
const PER_UNIT = 10n ** BigInt(MICROS_SCALE);
/** 9,000 million units: below the bound of JavaScript's exact integers. */
export const MAX_MICROS = 9e15;

/**
 * Exact for what is held and taken, since that is in minor units. Anything finer than a millionth is cut off, and
 * anything above `MAX_MICROS` becomes `MAX_MICROS`.
 */
export function micros({ units, scale }: Money): Micros {
  const whole = (units * PER_UNIT) / 10n ** BigInt(scale);
  return Math.max(-MAX_MICROS, Math.min(MAX_MICROS, Number(whole)));
}

export function fromMicros(value: Micros, currency: string): Money {
  return { ...money("0", currency), units: BigInt(value), scale: MICROS_SCALE };
}

/** What is set aside in a balance for one session: what it has used and what it may use. */
export interface Hold {
  readonly amount: Micros;
  /** What the session had used for certain when the relay last said so. */
  readonly used: Micros;
  /** Valid until then by the wall clock of its relay, unless it is renewed; null: until the session's end is billed. */
  readonly until: number | null;
  /** A living relay renews the hold within this time; missing: `LEASE_MS`. */
  readonly leaseMs?: number;
}

/** The lease of a hold that does not say its own. */
export const LEASE_MS = 120_000;
/** No hold is valid for so long without renewal. If one seems to be, a clock was wrong, or is wrong now. */
export const AHEAD_MS = 600_000;

/** How a balance may be used, beside paying in advance. */
export interface CreditTerms {
  /**
   * Postpaid: how far below zero the balance may go; null: as far as it likes. Missing: prepaid, and it stays above
   * zero.
   */
  readonly limit?: Micros | null;
  /** The most that sessions may take out of it within a UTC day; missing: no bound. */
  readonly perDay?: Micros;
}

export interface CreditAccount extends CreditTerms {
  readonly user: string;
  /** ISO 4217. */
  readonly currency: string;
  /** What is neither spent nor held. It may be below zero, where a session cost more than was held for it. */
  readonly available: Micros;
  /** By the key of the hold (`SessionFacts.hold`). */
  readonly holds: Readonly<Record<string, Hold>>;
  /**
   * Only with `perDay`: what sessions have taken, holds included, on the last day (days since 1970, UTC) on which they
   * took anything.
   */
  readonly day?: { readonly on: number; readonly taken: Micros };
}

/** One movement of a balance: written once and never changed. A correction is a further one. */
export interface LedgerEntry {
  readonly user: string;
  /**
   * Unique for the user: `topup:<id>`, `correction:<id>`, `session:<hold>:<n>`, `bill:<id of the entry on the bill>`.
   */
  readonly id: string;
  readonly at: number;
  readonly kind: "topup" | "correction" | "session";
  /** Below zero where it reduces the balance. */
  readonly amount: Micros;
  readonly currency: string;
  readonly reason?: string;
  /** Only of kind `correction`: the id of the correction on the bill. */
  readonly entry?: string;
  /** Only of kind `session`: the hold, and its session. */
  readonly hold?: string;
  readonly session?: string;
}

export interface ReserveRequest {
  readonly user: string;
  readonly hold: string;
  /** The account must be in this currency. */
  readonly currency: string;
  /** What the caller believes is held already; 0: nothing, this is the first time. */
  readonly from: Micros;
  /** What shall be held in all. If it is no more than `from`, only `until` is renewed. */
  readonly to: Micros;
  /** If the balance does not allow `to`, take what is left, provided that at least this much is then held in all. */
  readonly atLeast: Micros;
  readonly used: Micros;
  readonly until: number;
  readonly leaseMs?: number;
}

export interface Refusal {
  /**
   * `day`: the balance allows it, but not on this day (`CreditTerms.perDay`). `gone`: the hold was given back or
   * settled in the meantime.
   */
  readonly why: "no account" | "currency" | "credit" | "day" | "too many sessions" | "gone";
  readonly account?: { readonly currency: string; readonly available: Micros };
}

export interface Settlement {
  readonly user: string;
  readonly hold: string;
  readonly session: string;
  /** What the session has cost so far, time and charges with taxes, for each month whose bill has some of it. */
  readonly totals: readonly MonthCost[];
}

/** What is taken out of a balance for one month's bill. */
export interface MonthCost {
  readonly amount: Micros;
  /** When it is booked: a moment within that month. */
  readonly at: number;
}

export type PostResult = "posted" | "repeated" | "different" | "no account" | "currency";

export interface CreditStore {
  account(user: string): Promise<CreditAccount | undefined>;
  /** Opens an account with nothing in it. False where the user has one already, whatever its currency. */
  open(user: string, currency: string): Promise<boolean>;
  /** Sets the terms of an account, in the place of those that it has. False where there is no account. */
  setTerms(user: string, terms: CreditTerms): Promise<boolean>;
  /**
   * Raises what is held for a session to `to`, or to what the balance allows if that is at least `atLeast`. This is one
   * atomic step. Returns what is now held in all. A repetition with the same `to` changes nothing.
   */
  reserve(request: ReserveRequest): Promise<Result<Micros, Refusal>>;
  /**
   * Takes what a session cost out of the balance, and ends its hold. Totals of an ended session only grow, so an older
   * one that comes late changes nothing, nor does a repetition. What the ledger already has for the hold and the month
   * is not taken again.
   */
  settle(settlement: Settlement): Promise<void>;
  /**
   * At most `limit` accounts with holds whose relays may be dead: their `until` is not after `now`, or so far ahead
   * (`AHEAD_MS`) that a clock must have been set. The earliest `until` comes first.
   */
  overdue(
    now: number,
    page: { readonly after?: string | undefined; readonly limit: number },
  ): Promise<{ readonly accounts: CreditAccount[]; readonly next?: string }>;
  /**
   * Ends those holds that have not changed since they were seen, and gives back what they hold. What their sessions had
   * certainly used stays held until the session's end is billed. False where every hold has changed.
   */
  release(user: string, seen: Readonly<Record<string, Hold>>): Promise<boolean>;
  /** Moves a balance, once for each id. `different`: the id was used with another amount. */
  post(entry: LedgerEntry): Promise<PostResult>;
  /** A user's ledger by time, from `from` and before `to` (milliseconds since 1970). */
  ledger(
    user: string,
    page: {
      readonly from?: number | undefined;
      readonly to?: number | undefined;
      readonly after?: string | undefined;
      readonly limit: number;
    },
  ): Promise<{ readonly entries: LedgerEntry[]; readonly next?: string }>;
}

/** What new holds may take now: millionths, below zero where a session has cost more than was held. */
export function free(account: CreditAccount, now: number): { readonly free: Micros; readonly by: "credit" | "day" } {
  const { available, limit, perDay } = account;
  const left = limit === null ? MAX_MICROS : available + (limit ?? 0);
  const leftToday = perDay === undefined ? MAX_MICROS : perDay - takenOn(account, dayOf(now));
  return leftToday < left ? { free: leftToday, by: "day" } : { free: left, by: "credit" };
}

const DAY_MS = 86_400_000;
/** Days since 1970, UTC. */
export const dayOf = (at: number): number => Math.floor(at / DAY_MS);

/** What sessions have taken on that day, as far as is known. */
export const takenOn = ({ day }: CreditAccount, on: number): Micros => (day?.on === on ? day.taken : 0);

/** The balance: what was paid in, minus what was spent. Held money is not spent. */
export function balanceOf(account: CreditAccount): Micros {
  let balance = account.available;
  for (const { amount } of Object.values(account.holds)) balance += amount;
  return balance;
}
