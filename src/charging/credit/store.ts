import type { Result } from "../../support/result.ts";
import { type Money, money } from "../money/money.ts";

/*
 * Prepaid balances, as a port (decision 7). An adapter needs nothing but atomic writes of single
 * documents: a user's account is one document with what is free and what is held for each session, and every call may
 * be repeated at any point.
 *
 * What holds at every moment: `available` and all that is held come to the sum of the ledger.
 */

/** Millionths of a currency's unit, a whole number: what an atomic increment can count without rounding. */
export type Micros = number;

export const MICROS_SCALE = 6;
const PER_UNIT = 10n ** BigInt(MICROS_SCALE);
/** 9,000 million units: below what a number of JavaScript counts exactly. */
export const MAX_MICROS = 9e15;

/**
 * Exact: what is held and taken is in minor units. What is finer than a millionth is left out, what is more than can
 * be counted is the most.
 */
export function micros({ units, scale }: Money): Micros {
  const whole = (units * PER_UNIT) / 10n ** BigInt(scale);
  return Math.max(-MAX_MICROS, Math.min(MAX_MICROS, Number(whole)));
}

export function fromMicros(value: Micros, currency: string): Money {
  return { ...money("0", currency), units: BigInt(value), scale: MICROS_SCALE };
}

/** What is taken out of a balance for one session: what it has used and what it may use. */
export interface Hold {
  readonly amount: Micros;
  /** What the session had used for certain when the relay last said so. */
  readonly used: Micros;
  /**
   * Stands until then, by the wall clock of its relay, unless it is renewed; null: until the end of the session is
   * billed.
   */
  readonly until: number | null;
  /** Its relay renews it within this time as long as it lives; missing: `LEASE_MS`. */
  readonly leaseMs?: number;
}

/** How long a hold stands that does not say. */
export const LEASE_MS = 120_000;
/** Nobody holds anything for so long without renewing it, unless by a clock that was wrong, or is now. */
export const AHEAD_MS = 600_000;

export interface CreditAccount {
  readonly user: string;
  /** ISO 4217. */
  readonly currency: string;
  /** What is neither spent nor held. Below zero where a session cost more than was held for it. */
  readonly available: Micros;
  /** By the key of the hold (`SessionFacts.hold`). */
  readonly holds: Readonly<Record<string, Hold>>;
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
  /** Below zero where it makes the balance less. */
  readonly amount: Micros;
  readonly currency: string;
  readonly reason?: string;
  /** Of kind `correction`: the one on the bill that it is for. */
  readonly entry?: string;
  /** Of kind `session`: the hold and the session that it was for. */
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
  /** What shall be held in all; no more than `from`: only `until` is renewed. */
  readonly to: Micros;
  /** Where the balance does not allow `to`: take what is left, if so much in all is held then. */
  readonly atLeast: Micros;
  readonly used: Micros;
  readonly until: number;
  readonly leaseMs?: number;
}

export interface Refusal {
  /** `gone`: the hold was given back or settled in the meantime. */
  readonly why: "no account" | "currency" | "credit" | "too many sessions" | "gone";
  readonly account?: { readonly currency: string; readonly available: Micros };
}

export interface Settlement {
  readonly user: string;
  readonly hold: string;
  readonly session: string;
  /**
   * What the session has cost so far, time and charges with their taxes: for each month on whose bill some of it
   * stands.
   */
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
  /**
   * Raises what is held for a session to `to`, or to what the balance allows if that is `atLeast`; in one step,
   * whoever else does the same. Returns what is held now in all. Repeated with the same `to` it changes nothing.
   */
  reserve(request: ReserveRequest): Promise<Result<Micros, Refusal>>;
  /**
   * Takes what a session cost out of the balance, and ends its hold. Totals of an ended session only grow: an older
   * one that comes late changes nothing, nor does a repetition. What the ledger has for the hold and the month
   * already is not taken again.
   */
  settle(settlement: Settlement): Promise<void>;
  /**
   * Accounts with holds whose relays may be dead, `limit` at most: `until` is not after `now`, soonest first, or so
   * far ahead that somebody's clock must have been set (`AHEAD_MS`).
   */
  overdue(
    now: number,
    page: { readonly after?: string | undefined; readonly limit: number },
  ): Promise<{ readonly accounts: CreditAccount[]; readonly next?: string }>;
  /**
   * Gives back what those of the holds keep that are still as they were seen: all but what their sessions had used
   * for certain, which waits for the session's end to be billed. False where none was.
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

/** What a balance is: what was paid in less what was spent. What is held is not spent. */
export function balanceOf(account: CreditAccount): Micros {
  let balance = account.available;
  for (const { amount } of Object.values(account.holds)) balance += amount;
  return balance;
}
