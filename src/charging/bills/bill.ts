import { amountOf, Sums, sumOf, withoutTerms } from "../billing/month-total.ts";
import type {
  BillingStore,
  CorrectionEntry,
  Entry,
  ItemEntry,
  MonthTotal,
  PageQuery,
  TimeEntry,
} from "../billing/store.ts";
import type { CreditStore } from "../credit/store.ts";
import type { SessionFacts } from "../events/events.ts";
import { add, formatAmount, type Money, money, zero } from "../money/money.ts";
import { TaxedSums, type TaxLine } from "../money/tax.ts";
import type { AppliedTax } from "../money/terms.ts";
import type { BillHead } from "./bill-head.ts";
import type { LateSum } from "./late.ts";
import { type PrepaidLine, prepaidLine } from "./prepaid.ts";

/**
 * One user's bill for one month (M18), with all services on it. Amounts are exact decimal strings. The order depends
 * only on the entries.
 */
export interface Bill extends BillHead {
  readonly user: string;
  /** UTC, `2026-01`. */
  readonly month: string;
  /** False: there are too many entries, so only the sums are here, and every `sessions` is empty. */
  readonly detailed: boolean;
  /** By id. Corrections that belong to no service stand under "". */
  readonly services: readonly ServiceBill[];
  /** Calls that have several sessions on the bill, because the service changed or the client moved on (M20-M24). */
  readonly calls: readonly CallBill[];
  readonly taxes: readonly TaxLine[];
  /** By currency. */
  readonly totals: readonly BillTotal[];
  /** Only for a prepaid user. */
  readonly prepaid?: PrepaidLine;
  /** What was charged for earlier months after their bills were closed. It is part of the totals. */
  readonly late?: readonly LateSum[];
}

/** The stores from which a bill is made; without `credit` nobody is prepaid. */
export interface BillSources {
  readonly billing: BillingStore;
  readonly credit?: CreditStore;
}

export interface BillTotal {
  readonly currency: string;
  /** What was charged, exact. */
  readonly amount: string;
  /** Taxes that come on top of it, where there are any. */
  readonly tax?: string;
  /** What is to be paid: `amount`, rounded, and `tax` (see `TaxedSums`). */
  readonly due: string;
}

export interface ServiceBill {
  readonly service: string;
  /** By currency; "" stands for time that was free. */
  readonly sums: readonly MonthTotal[];
  /** By `at`. */
  readonly sessions: readonly SessionBill[];
  /** By `at`. */
  readonly corrections: readonly (Omit<CorrectionEntry, "kind" | "user" | "month" | "service" | "terms"> & Taxed)[];
}

/** The part of the terms that concerns the user. */
export interface Taxed {
  readonly taxes?: readonly AppliedTax[];
}

export interface SessionBill {
  readonly session: string;
  readonly appServer: string;
  /**
   * When the session started. Where its time is on another month's bill, or not known yet: when its first charge was
   * made. Milliseconds since 1970.
   */
  readonly at: number;
  readonly previous?: NonNullable<SessionFacts["previous"]>;
  readonly time?: Omit<TimeEntry, SharedByBill> & Taxed;
  /** By `at`. */
  readonly items: readonly (Omit<ItemEntry, SharedByBill> & Taxed)[];
  readonly totals: readonly SessionTotal[];
}

export interface SessionTotal {
  readonly currency: string;
  readonly amount: string;
}

export interface CallBill {
  /** In the order in which they started; at least two. */
  readonly parts: readonly { readonly session: string; readonly service: string; readonly appServer: string }[];
  readonly totals: readonly SessionTotal[];
}

/**
 * Fields that stand at the head of the bill, service or session, and are not repeated on each line; and the terms,
 * which also have what was agreed with the app server.
 */
type SharedByBill = "kind" | "user" | "month" | "service" | "session" | "appServer" | "call" | "previous" | "terms";

const PAGE = 1_000;
/** A bill with more entries than this has only the sums. */
export const MAX_BILL_ENTRIES = 10_000;

/** True for a month as bills have it: `2026-01`. */
export function isMonth(text: string): boolean {
  return /^\d{4}-(0[1-9]|1[0-2])$/.test(text);
}

/**
 * Makes the bill of a user's month. With more than `maxEntries` entries (default 10,000) it has only the sums, which
 * the store keeps.
 */
export async function makeBill(
  store: BillSources,
  user: string,
  month: string,
  {
    maxEntries = MAX_BILL_ENTRIES,
    head = {},
    late = [],
  }: { readonly maxEntries?: number; readonly head?: BillHead; readonly late?: readonly LateSum[] } = {},
): Promise<Bill> {
  let sums = await store.billing.totals(user, month);
  const detailed = countEntries(sums) <= maxEntries;
  const sessions = new Map<string, SessionLines>();
  const corrections: CorrectionEntry[] = [];
  const charged = new TaxedSums();
  // Prepaid entries are rounded session by session, which cannot be done with the sums.
  if (detailed || sums.some(({ prepaid }) => prepaid)) {
    // Sums are added up again, so that entries written meanwhile are in both the lines and the sums, or in neither.
    const added = new Sums("user");
    for await (const entry of entriesOfMonth(store.billing, user, month)) {
      added.add(entry);
      addCharge(charged, entry);
      if (!detailed) continue;
      if (entry.kind === "correction") corrections.push(entry);
      else collect(sessions, entry);
    }
    sums = added.all();
  } else for (const sum of sums) if (sum.currency !== "") charged.add(sumOf(sum), sum.terms?.taxes);
  for (const { month: of, service, amount, currency, terms, prepaid } of late)
    charged.add(money(amount, currency), terms?.taxes, prepaid ? `late ${of} ${service}` : "");
  const made = [...sessions.values()].map((lines) => ({ service: lines.service, session: sessionBill(lines) }));
  const prepaid = await prepaidLine(store.credit, user, month);
  return {
    ...head,
    user,
    month,
    detailed,
    services: services(withoutTerms(sums), made, corrections),
    calls: linked(made),
    ...payable(charged),
    ...(prepaid && { prepaid }),
    ...(late.length > 0 && { late }),
  };
}

/** How many lines a bill with these sums has. */
export function countEntries(sums: readonly MonthTotal[]): number {
  return sums.reduce((count, { sessions, charges, corrections = 0 }) => count + sessions + charges + corrections, 0);
}

/**
 * Adds an entry to what is to be paid. A prepaid entry is rounded as the balance was debited: with its session, or, for
 * a correction, alone.
 */
export function addCharge(charged: TaxedSums, entry: Entry): void {
  const amount = amountOf(entry);
  if (!amount) return;
  const within = entry.prepaid ? (entry.kind === "correction" ? entry.id : entry.session) : "";
  charged.add(amount, entry.terms?.taxes, within);
}

/** What charges come to, with taxes. */
export function payable(charged: TaxedSums): Pick<Bill, "taxes" | "totals"> {
  const all = charged.payable();
  return {
    taxes: all.flatMap(({ taxes }) => taxes),
    totals: all.map(({ currency, charged, added, due, taxes }) => ({
      currency,
      amount: formatAmount(charged),
      ...(taxes.some(({ included }) => !included) && { tax: formatAmount(added) }),
      due: formatAmount(due),
    })),
  };
}

/** All entries of a user's month, page by page, by `at`. */
export function entriesOfMonth(billing: BillingStore, user: string, month: string): AsyncGenerator<Entry> {
  return allPages((page) => billing.entries(user, month, page));
}

/** All entries of a paged query, with never more than one page in memory. */
export async function* allPages(
  ask: (page: PageQuery) => Promise<{ readonly entries: readonly Entry[]; readonly next?: string }>,
): AsyncGenerator<Entry> {
  let after: string | undefined;
  do {
    const page = await ask({ after, limit: PAGE });
    yield* page.entries;
    after = page.next;
  } while (after !== undefined);
}

interface SessionLines {
  readonly service: string;
  readonly session: string;
  readonly appServer: string;
  time: TimeEntry | undefined;
  previous: SessionFacts["previous"];
  readonly items: ItemEntry[];
}

/** Collects the lines of sessions. A session with several services or app servers stands under each of them. */
function collect(sessions: Map<string, SessionLines>, entry: TimeEntry | ItemEntry): void {
  const { service, session, appServer } = entry;
  const key = `${service}\n${appServer}\n${session}`;
  const lines: SessionLines = sessions.get(key) ?? {
    service,
    session,
    appServer,
    time: undefined,
    previous: undefined,
    items: [],
  };
  sessions.set(key, lines);
  lines.previous ??= entry.previous;
  if (entry.kind === "time") lines.time = entry;
  else lines.items.push(entry);
}

interface Placed {
  readonly service: string;
  readonly session: SessionBill;
}

function services(
  sums: readonly MonthTotal[],
  sessions: readonly Placed[],
  corrections: readonly CorrectionEntry[],
): ServiceBill[] {
  const found = new Map<string, { sums: MonthTotal[]; sessions: SessionBill[]; corrections: CorrectionEntry[] }>();
  for (const sum of sums) {
    const service = found.get(sum.service);
    if (service) service.sums.push(sum);
    else found.set(sum.service, { sums: [sum], sessions: [], corrections: [] });
  }
  for (const { service, session } of sessions) found.get(service)?.sessions.push(session);
  for (const correction of corrections) found.get(correction.service)?.corrections.push(correction);
  return [...found.entries()]
    .map(([service, { sums, sessions, corrections }]) => ({
      service,
      sums: sums.sort((a, b) => order(a.currency, b.currency)),
      sessions: sessions.sort(byStart),
      corrections: corrections.map(({ kind: _kind, user: _user, month: _month, service: _service, ...rest }) =>
        taxed(rest),
      ),
    }))
    .sort((a, b) => order(a.service, b.service));
}

const byStart = (a: SessionBill, b: SessionBill): number =>
  a.at - b.at || order(a.session, b.session) || order(a.appServer, b.appServer);

function sessionBill({ session, appServer, time, items, previous }: SessionLines): SessionBill {
  const sums = new Map<string, Money>();
  for (const { currency, amount } of time ? [time, ...items] : items) {
    if (currency !== "") sums.set(currency, add(sums.get(currency) ?? zero(currency), money(amount, currency)));
  }
  return {
    session,
    appServer,
    at: time?.at ?? items[0]!.at,
    ...(previous && { previous }),
    ...(time && { time: withoutShared(time) }),
    items: items.map(withoutShared),
    totals: sorted(sums),
  };
}

function sorted(sums: ReadonlyMap<string, Money>): SessionTotal[] {
  const all = [...sums.values()].map((sum) => ({ currency: sum.currency, amount: formatAmount(sum) }));
  return all.sort((a, b) => order(a.currency, b.currency));
}

/** Groups the sessions of one call. Parts on another month's bill are left out. */
function linked(sessions: readonly Placed[]): CallBill[] {
  const groups = new Map<string, Placed[]>();
  for (const one of [...sessions].sort((a, b) => byStart(a.session, b.session))) {
    const { session, previous } = one.session;
    const own = groups.get(session) ?? [];
    own.push(one);
    const before = previous && (groups.get(previous.session) ?? []);
    if (before && before !== own) {
      before.push(...own);
      for (const part of own) groups.set(part.session.session, before);
      groups.set(previous.session, before);
    }
    if (!before) groups.set(session, own);
  }
  return [...new Set(groups.values())].filter((parts) => parts.length > 1).map(callBill);
}

function callBill(parts: readonly Placed[]): CallBill {
  const sums = new Map<string, Money>();
  for (const { session } of parts) {
    for (const { currency, amount } of session.totals)
      sums.set(currency, add(sums.get(currency) ?? zero(currency), money(amount, currency)));
  }
  const inOrder = [...parts].sort((a, b) => byStart(a.session, b.session));
  return {
    parts: inOrder.map(({ service, session: { session, appServer } }) => ({ session, service, appServer })),
    totals: sorted(sums),
  };
}

/** The taxes alone in place of the terms. */
export function taxed<T extends Pick<Entry, "terms">>({ terms, ...rest }: T): Omit<T, "terms"> & Taxed {
  return terms?.taxes ? { ...rest, taxes: terms.taxes } : rest;
}

function withoutShared<T extends TimeEntry | ItemEntry>(entry: T): Omit<T, SharedByBill> & Taxed {
  const {
    kind: _kind,
    user: _user,
    month: _month,
    service: _service,
    session: _session,
    appServer: _appServer,
    call: _call,
    previous: _previous,
    terms,
    ...rest
  } = entry;
  return terms?.taxes ? { ...rest, taxes: terms.taxes } : rest;
}

/** Compares by code units: the same order on every machine, whatever its language. */
export const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
