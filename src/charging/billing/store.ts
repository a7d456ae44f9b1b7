import type { BillingContext } from "../../../machines/billing.ts";
import type { DeadLetter } from "../events/dead-letter.ts";
import type { ChargingEvent, CorrectionMade, NoticeEvent, SessionFacts } from "../events/events.ts";
import type { Fault } from "../events/faults.ts";
import type { Terms } from "../money/terms.ts";

/*
 * What billing keeps, as a port (decision 7). An adapter needs nothing but atomic writes of single
 * documents: an account is one document under a revision, an entry is one document that is written once, and `write`
 * may be repeated at any point.
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
  /** The event's id. Unique in the store: an entry is written once and never changed (decision 9). */
  readonly id: string;
  /** When the session started, when the charge was made; milliseconds since 1970. */
  readonly at: number;
  /** The month of `at` in UTC, `2026-01`: on which bill it stands. */
  readonly month: string;
  readonly user: string;
  readonly service: string;
  readonly appServer: string;
  readonly session: string;
  /** Correlation id of all sessions of one client request. */
  readonly call?: string;
  /** The part of the same call that it comes from (M20-M24). */
  readonly previous?: SessionFacts["previous"];
  /** ISO 4217; "" where time is free. */
  readonly currency: string;
  /** Exact decimal; time is rounded by its tariff, the product of unit price and quantity is not. */
  readonly amount: string;
  /** Taxes and what was agreed with the app server at the time of the event; undefined: nothing. */
  readonly terms?: Terms;
  /** It is paid from a balance: rounded with its session, as it is taken, and not with the month. */
  readonly prepaid?: true;
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

/**
 * What was wrong on a bill is put right by a further entry, on the bill of the month in which that is done. `amount`
 * may be negative. Service, app server and session are "" where it belongs to none.
 */
export interface CorrectionEntry extends EntryBase {
  readonly kind: "correction";
  readonly reason: string;
  /** Whose money it is at settlement: what time is charged, or what app servers charge. */
  readonly of: "time" | "items";
  /** Id of the entry that it puts right. */
  readonly corrects?: string;
}

/** One line on a bill. */
export type Entry = TimeEntry | ItemEntry | CorrectionEntry;

/** Sums of a month's entries of a user or an app server, for one service and currency, and for the same terms. */
export interface MonthTotal {
  readonly service: string;
  readonly currency: string;
  /** Of a user's entries their taxes, of an app server's what was agreed with it; undefined: none. */
  readonly terms?: Terms;
  /** Of a user's: those that are paid from a balance. */
  readonly prepaid?: true;
  /** Sessions with time on the bill, and how long they lasted together. */
  readonly sessions: number;
  readonly durationMs: number;
  /** Exact decimals. */
  readonly timeAmount: string;
  readonly charges: number;
  readonly itemAmount: string;
  /** Where there are any: how many, and what those of time and those of items come to. */
  readonly corrections?: number;
  readonly timeCorrection?: string;
  readonly itemCorrection?: string;
}

/** What bills are made from, and can be made from again (`tollgate rebill`). */
export type ArchivedEvent = Exclude<ChargingEvent, NoticeEvent> | CorrectionMade;

/** Events in the order in which they were billed. `month` is that of the entry which an event makes. */
export interface EventGroup {
  readonly month: string;
  readonly events: readonly ArchivedEvent[];
}

export interface BillingBatch {
  /** At most one for each session. */
  readonly accounts: readonly Account[];
  readonly entries: readonly Entry[];
  /**
   * One whose id is that of an entry which was there before is passed over; of others a repetition may be kept too.
   * Where one is too large to be kept nothing is written, and it rejects with an `EventError`.
   */
  readonly archive?: readonly EventGroup[];
  /**
   * Called before the write resolves where there were entries under ids of the batch before, with these ids: no
   * others are written.
   */
  readonly onKnown?: (ids: Iterable<string>) => void;
}

/** What a store is to forget; undefined: nothing of it. */
export interface Forgetting {
  /** Events that were archived in months before this one. */
  readonly eventsBefore: string | undefined;
  readonly entriesBefore: string | undefined;
  /** Accounts that are closed, of sessions that had ended by then: milliseconds since 1970. */
  readonly accountsBefore: number | undefined;
}

export interface Forgotten {
  readonly records: number;
  /** Whether there may be more. */
  readonly more: boolean;
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

export interface EventPage {
  /** As they were archived. */
  readonly events: ArchivedEvent[];
  readonly next?: string;
}

/** Where to go on, and about how many to bring. */
export interface PageQuery {
  readonly after?: string | undefined;
  readonly limit: number;
}

export interface BillingStore {
  /** The accounts of these sessions, in the same places; undefined where there is none. */
  accounts(sessions: readonly string[]): Promise<(Account | undefined)[]>;
  findAccounts(query: AccountQuery): Promise<Account[]>;
  /**
   * Durably writes entries, and after them accounts. An entry whose id is there already is passed over, and counts in
   * the totals once however often it is written. An account is written only where the stored one has its `revision`
   * (none: 0), and then has the next one. Returns the sessions whose accounts were not written because somebody else
   * had: read them again and repeat.
   */
  write(batch: BillingBatch): Promise<string[]>;
  /** A user's entries of a month; `from`: only those whose `at` is not before it. */
  entries(user: string, month: string, page: PageQuery & { readonly from?: number }): Promise<EntryPage>;
  /** An app server's entries of a month; undefined: of all of them, and what belongs to none. */
  entriesFor(appServer: string | undefined, month: string, page: PageQuery): Promise<EntryPage>;
  /** A session's entries, by `at`. */
  entriesOf(session: string): Promise<Entry[]>;
  /** The entries with these ids, in the same places; undefined where there is none. */
  findEntries(ids: readonly string[]): Promise<(Entry | undefined)[]>;
  /**
   * Sums of a user's entries of a month by service, currency and taxes, in no order; their cost does not depend on
   * how many entries there are.
   */
  totals(user: string, month: string): Promise<MonthTotal[]>;
  /** The same of an app server's entries, by service, currency and what was agreed. */
  totalsFor(appServer: string, month: string): Promise<MonthTotal[]>;
  /** A month's archived events. A page may hold more than `limit`. */
  archived(month: string, page: PageQuery): Promise<EventPage>;
  /** In place of one with the same id, where there is one. */
  putDeadLetter(letter: DeadLetter): Promise<void>;
  getDeadLetter(id: string): Promise<DeadLetter | undefined>;
  /** False where there was none. */
  removeDeadLetter(id: string): Promise<boolean>;
  /** By id; `after`: only those whose id comes after this one. */
  deadLetters(limit: number, after?: string): Promise<DeadLetter[]>;
  /** The last month that has an entry. */
  newestMonth?(): Promise<string | undefined>;
  /**
   * Removes about `limit` records at most of what is to be forgotten, the oldest first. Repeated, or by two workers
   * at once, it comes to the same.
   */
  forget?(what: Forgetting, limit: number): Promise<Forgotten>;
  /**
   * Rejects where the store could not take a batch now, whatever is in it. What it writes to find out is gone when it
   * resolves.
   */
  check?(): Promise<void>;
  /** Whose fault it was that a read or a write failed. */
  faultOf?(error: unknown): Fault;
}
