import type { BillingContext } from "../../machines/billing.ts";

/*
 * What billing keeps, as a port (DESIGN.md, decision 7). An adapter needs nothing but atomic writes of single documents: an
 * account is one document under a revision, an entry is one document that is written once, and `write` may be repeated at any point.
 */

export type AccountState = "open" | "running" | "chargeable" | "closed";

/** The account of one session: the state of its `billing` chart between events. */
export interface Account {
  /** Grows with each write; 0: not stored yet. */
  readonly revision: number;
  readonly state: AccountState;
  readonly context: BillingContext;
}

interface EntryBase {
  /** The event's id. Unique in the store: an entry is written once and never changed (DESIGN.md, decision 9). */
  readonly id: string;
  /** When the session started, when the charge was made; milliseconds since 1970. */
  readonly at: number;
  /** The month of `at` in UTC, `2026-01`: on which bill it stands. */
  readonly month: string;
  readonly user: string;
  readonly service: string;
  readonly appServer: string;
  readonly session: string;
  /** ISO 4217; "" where time is free. */
  readonly currency: string;
  /** Exact decimal; time is rounded by its tariff, the product of unit price and quantity is not. */
  readonly amount: string;
}

export interface TimeEntry extends EntryBase {
  readonly kind: "time";
  readonly durationMs: number;
  readonly endedBy: string;
  /** Id of the tariff it was rated by. */
  readonly tariff?: string;
}

export interface ItemEntry extends EntryBase {
  readonly kind: "item";
  readonly item: string;
  readonly unitPrice: string;
  readonly quantity: string;
  readonly channel: string;
}

/** One line on a bill. A correction is a further entry. */
export type Entry = TimeEntry | ItemEntry;

/** Sums of a user's entries in a month, for one service and currency. */
export interface MonthTotal {
  readonly service: string;
  readonly currency: string;
  /** Sessions with time on the bill, and how long they lasted together. */
  readonly sessions: number;
  readonly durationMs: number;
  /** Exact decimals. */
  readonly timeAmount: string;
  readonly charges: number;
  readonly itemAmount: string;
}

export interface BillingBatch {
  /** At most one for each session. */
  readonly accounts: readonly Account[];
  readonly entries: readonly Entry[];
}

/** An event that nobody can bill, with the reason: put aside, so that it holds nothing else up. */
export interface DeadLetter {
  readonly id: string;
  readonly at: number;
  readonly reason: string;
  /** The event as JSON text. */
  readonly event: string;
}

export interface AccountQuery {
  readonly state: "running" | "chargeable";
  /** Only those whose `dueAt` is not after this time, soonest first. Only with `chargeable`. */
  readonly dueBy?: number;
  readonly limit: number;
}

export interface EntryPage {
  /** By `at`, then by id. */
  readonly entries: Entry[];
  /** Hand it back as `after` for the next page; undefined: this was the last. */
  readonly next?: string;
}

export interface BillingStore {
  /** The accounts of these sessions, in the same places; undefined where there is none. */
  accounts(sessions: readonly string[]): Promise<(Account | undefined)[]>;
  findAccounts(query: AccountQuery): Promise<Account[]>;
  /**
   * Durably writes entries, and after them accounts. An entry whose id is there already is passed over, and counts in the totals
   * once however often it is written. An account is written only where the stored one has its `revision` (none: 0), and then has the next one.
   * Returns the sessions whose accounts were not written because somebody else had: read them again and repeat.
   */
  write(batch: BillingBatch): Promise<string[]>;
  /** A user's entries of a month; `from`: only those whose `at` is not before it. */
  entries(
    user: string,
    month: string,
    page: { readonly after?: string | undefined; readonly limit: number; readonly from?: number },
  ): Promise<EntryPage>;
  /** A session's entries, by `at`. */
  entriesOf(session: string): Promise<Entry[]>;
  /** Sums of a user's entries of a month, in no order; their cost does not depend on how many entries there are. */
  totals(user: string, month: string): Promise<MonthTotal[]>;
  putDeadLetter(letter: DeadLetter): Promise<void>;
  deadLetters(limit: number): Promise<DeadLetter[]>;
}

let known = { from: 0, to: 0, month: "" };

/** The month of a moment in UTC, as on entries: `2026-01`. Milliseconds since 1970. */
export function monthOf(at: number): string {
  if (at >= known.from && at < known.to) return known.month;
  const date = new Date(at);
  const [year, month] = [date.getUTCFullYear(), date.getUTCMonth()];
  known = { from: Date.UTC(year, month), to: Date.UTC(year, month + 1), month: date.toISOString().slice(0, -17) };
  return known.month;
}
