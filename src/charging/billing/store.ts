import type { BillingContext } from "../../../machines/billing.ts";
import type { DeadLetter } from "../events/dead-letter.ts";
import type { ChargingEvent, CorrectionMade, NoticeEvent, SessionFacts } from "../events/events.ts";
import type { Fault } from "../events/faults.ts";
import type { Terms } from "../money/terms.ts";

/*
 * What billing keeps, as a port (decision 7). An adapter needs only atomic writes of single documents. An account is
 * one document with a revision, an entry is one document that is written once, and `write` may be repeated at any
 * point.
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
  /** The month of `at` in UTC, `2026-01`: the month of the bill. */
  readonly month: string;
  readonly user: string;
  readonly service: string;
  readonly appServer: string;
  readonly session: string;
  /** Correlation id of all sessions of one client request. */
  readonly call?: string;
  /** The session before this one: an earlier part of the call, or the session that the client moved from (M20-M24). */
  readonly previous?: SessionFacts["previous"];
  /** ISO 4217; "" where time is free. */
  readonly currency: string;
  /** Exact decimal; time is rounded by its tariff, the product of unit price and quantity is not. */
  readonly amount: string;
  /** Taxes and what was agreed with the app server at the time of the event; undefined: nothing. */
  readonly terms?: Terms;
  /** Paid from a balance: rounded together with its session, as the balance is debited, and not with the month. */
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
 * Corrects a bill by a further entry, on the bill of the month in which the correction is made. `amount` may be
 * negative. Service, app server and session are "" where the correction belongs to none.
 */
export interface CorrectionEntry extends EntryBase {
  readonly kind: "correction";
  readonly reason: string;
  /** Decides at settlement whose money it is: the price of time, or what app servers charge. */
  readonly of: "time" | "items";
  /** Id of the entry that it corrects. */
  readonly corrects?: string;
}

/** One line on a bill. */
export type Entry = TimeEntry | ItemEntry | CorrectionEntry;

/** Sums of a month's entries of a user or an app server, for one service and currency, and for the same terms. */
export interface MonthTotal {
  readonly service: string;
  readonly currency: string;
  /** For a user: the taxes. For an app server: what was agreed with it. Undefined: none. */
  readonly terms?: Terms;
  /** Only in a user's sums: the entries are paid from a balance. */
  readonly prepaid?: true;
  /** Sessions with time on the bill, and how long they lasted together. */
  readonly sessions: number;
  readonly durationMs: number;
  /** Exact decimals. */
  readonly timeAmount: string;
  readonly charges: number;
  readonly itemAmount: string;
  /** If there are any corrections: how many, and the sums of those of time and of those of items. */
  readonly corrections?: number;
  readonly timeCorrection?: string;
  readonly itemCorrection?: string;
}

/** The events from which bills are made, and can be made again (`tollgate rebill`). */
export type ArchivedEvent = Exclude<ChargingEvent, NoticeEvent> | CorrectionMade;

/** Events in the order in which they were billed. `month` is the month of the entries that they make. */
export interface EventGroup {
  readonly month: string;
  readonly events: readonly ArchivedEvent[];
}

export interface BillingBatch {
  /** At most one for each session. */
  readonly accounts: readonly Account[];
  readonly entries: readonly Entry[];
  /**
   * Events to keep. An event with the id of an entry that was there before is skipped; other repetitions may be kept
   * twice. If an event is too large, nothing is written, and `write` rejects with an `EventError`.
   */
  readonly archive?: readonly EventGroup[];
  /**
   * Called before the write resolves, with the ids of entries that were there before. These entries are not written
   * again.
   */
  readonly onKnown?: (ids: Iterable<string>) => void;
}

/** What a store is to forget; undefined: nothing of it. */
export interface Forgetting {
  /** Events that were archived in months before this one. */
  readonly eventsBefore: string | undefined;
  readonly entriesBefore: string | undefined;
  /** Closed accounts of sessions that ended before this time, in milliseconds since 1970. */
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

/** Where to go on, and about how many records to return. */
export interface PageQuery {
  readonly after?: string | undefined;
  readonly limit: number;
}

export interface BillingStore {
  /** The accounts of these sessions, in the same places; undefined where there is none. */
  accounts(sessions: readonly string[]): Promise<(Account | undefined)[]>;
  findAccounts(query: AccountQuery): Promise<Account[]>;
  /**
   * Durably writes entries, and after them accounts. An entry whose id is there already is skipped, and counts in the
   * totals only once. An account is written only if the stored one has the same `revision` (0 if there is none), and
   * then gets the next revision. Returns the sessions whose accounts were not written, because another worker had
   * written them: read them again and repeat.
   */
  write(batch: BillingBatch): Promise<string[]>;
  /** A user's entries of a month; `from`: only those whose `at` is not before it. */
  entries(user: string, month: string, page: PageQuery & { readonly from?: number }): Promise<EntryPage>;
  /**
   * An app server's entries of a month. `appServer` undefined: the entries of all app servers, and those that belong to
   * none.
   */
  entriesFor(appServer: string | undefined, month: string, page: PageQuery): Promise<EntryPage>;
  /** A session's entries, by `at`. */
  entriesOf(session: string): Promise<Entry[]>;
  /** The entries with these ids, in the same places; undefined where there is none. */
  findEntries(ids: readonly string[]): Promise<(Entry | undefined)[]>;
  /**
   * Sums of a user's entries of a month by service, currency and taxes, in no order. Reading them takes the same time
   * however many entries there are.
   */
  totals(user: string, month: string): Promise<MonthTotal[]>;
  /** The same of an app server's entries, by service, currency and what was agreed. */
  totalsFor(appServer: string, month: string): Promise<MonthTotal[]>;
  /** A month's archived events. A page may hold more than `limit`. */
  archived(month: string, page: PageQuery): Promise<EventPage>;
  /** Replaces a letter with the same id, if there is one. */
  putDeadLetter(letter: DeadLetter): Promise<void>;
  getDeadLetter(id: string): Promise<DeadLetter | undefined>;
  /** False where there was none. */
  removeDeadLetter(id: string): Promise<boolean>;
  /** Sorted by id; `after`: only those whose id comes after this one. */
  deadLetters(limit: number, after?: string): Promise<DeadLetter[]>;
  /** The last month that has an entry. */
  newestMonth?(): Promise<string | undefined>;
  /**
   * Removes at most about `limit` records of what is to be forgotten, the oldest first. May be repeated, and called by
   * two workers at once.
   */
  forget?(what: Forgetting, limit: number): Promise<Forgotten>;
  /**
   * Rejects where the store could not take any batch now. What it writes to find out is removed again when it resolves.
   */
  check?(): Promise<void>;
  /** Whether a failed read or write is the store's fault or an event's. */
  faultOf?(error: unknown): Fault;
}
