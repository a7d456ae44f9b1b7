import type { BillingStore, Entry, ItemEntry, MonthTotal, TimeEntry } from "./billing-store.ts";
import { add, formatAmount, type Money, money, round, zero } from "./money.ts";
import { addToTotal, noTotal } from "./month-total.ts";

/** One user's bill for one month (M18): every service on it, amounts as exact decimal strings, in an order that depends on nothing but the entries. */
export interface Bill {
  readonly user: string;
  /** UTC, `2026-01`. */
  readonly month: string;
  /** False: there are so many entries that only the sums are here, and every `sessions` is empty. */
  readonly detailed: boolean;
  /** By id. */
  readonly services: readonly ServiceBill[];
  /** By currency. */
  readonly totals: readonly BillTotal[];
}

export interface BillTotal {
  readonly currency: string;
  /** Exact. */
  readonly amount: string;
  /** What is to be paid: `amount`, rounded half up to the minor unit, once. */
  readonly due: string;
}

export interface ServiceBill {
  readonly service: string;
  /** By currency; "" stands for time that was free. */
  readonly sums: readonly MonthTotal[];
  /** By `at`. */
  readonly sessions: readonly SessionBill[];
}

export interface SessionBill {
  readonly session: string;
  readonly appServer: string;
  /** Its start; where its time is on another month's bill or not there yet, its first charge. Milliseconds since 1970. */
  readonly at: number;
  readonly time?: Omit<TimeEntry, SharedByBill>;
  /** By `at`. */
  readonly items: readonly Omit<ItemEntry, SharedByBill>[];
  readonly totals: readonly { readonly currency: string; readonly amount: string }[];
}

/** What stands at the head of bill, service or session, and need not be repeated on each line. */
type SharedByBill = "kind" | "user" | "month" | "service" | "session" | "appServer";

const PAGE = 1_000;
const DEFAULT_MAX_ENTRIES = 10_000;

/** True for a month as bills have it: `2026-01`. */
export function isMonth(text: string): boolean {
  return /^\d{4}-(0[1-9]|1[0-2])$/.test(text);
}

/**
 * Makes the bill of a user's month. With more than `maxEntries` entries (default 10,000) it holds the sums only, which the store has ready.
 */
export async function makeBill(
  store: { readonly billing: BillingStore },
  user: string,
  month: string,
  { maxEntries = DEFAULT_MAX_ENTRIES }: { readonly maxEntries?: number } = {},
): Promise<Bill> {
  let sums = await store.billing.totals(user, month);
  const detailed = sums.reduce((count, { sessions, charges }) => count + sessions + charges, 0) <= maxEntries;
  const sessions = new Map<string, SessionLines>();
  if (detailed) {
    // Added up anew: entries that were written since the sums were read are in both, or in neither.
    const added = new Map<string, MonthTotal>();
    for await (const entry of allEntries(store.billing, user, month)) {
      const key = `${entry.service}\n${entry.currency}`;
      added.set(key, addToTotal(added.get(key) ?? noTotal(entry.service, entry.currency), entry));
      collect(sessions, entry);
    }
    sums = [...added.values()];
  }
  return { user, month, detailed, services: services(sums, sessions), totals: totals(sums) };
}

async function* allEntries(billing: BillingStore, user: string, month: string): AsyncGenerator<Entry> {
  let after: string | undefined;
  do {
    const page = await billing.entries(user, month, { after, limit: PAGE });
    yield* page.entries;
    after = page.next;
  } while (after !== undefined);
}

interface SessionLines {
  readonly service: string;
  readonly session: string;
  readonly appServer: string;
  time: TimeEntry | undefined;
  readonly items: ItemEntry[];
}

/** A session that was with several services or app servers stands under each. */
function collect(sessions: Map<string, SessionLines>, entry: Entry): void {
  const { service, session, appServer } = entry;
  const key = `${service}\n${appServer}\n${session}`;
  const lines: SessionLines = sessions.get(key) ?? { service, session, appServer, time: undefined, items: [] };
  sessions.set(key, lines);
  if (entry.kind === "time") lines.time = entry;
  else lines.items.push(entry);
}

function services(sums: readonly MonthTotal[], sessions: ReadonlyMap<string, SessionLines>): ServiceBill[] {
  const found = new Map<string, { sums: MonthTotal[]; sessions: SessionBill[] }>();
  for (const sum of sums) {
    const service = found.get(sum.service);
    if (service) service.sums.push(sum);
    else found.set(sum.service, { sums: [sum], sessions: [] });
  }
  for (const lines of sessions.values()) found.get(lines.service)?.sessions.push(sessionBill(lines));
  return [...found.entries()]
    .map(([service, { sums, sessions }]) => ({
      service,
      sums: sums.sort((a, b) => order(a.currency, b.currency)),
      sessions: sessions.sort((a, b) => a.at - b.at || order(a.session, b.session) || order(a.appServer, b.appServer)),
    }))
    .sort((a, b) => order(a.service, b.service));
}

function sessionBill({ session, appServer, time, items }: SessionLines): SessionBill {
  const sums = new Map<string, Money>();
  for (const { currency, amount } of time ? [time, ...items] : items) {
    if (currency !== "") sums.set(currency, add(sums.get(currency) ?? zero(currency), money(amount, currency)));
  }
  const totals = [...sums.values()].map((sum) => ({ currency: sum.currency, amount: formatAmount(sum) }));
  return {
    session,
    appServer,
    at: time?.at ?? items[0]!.at,
    ...(time && { time: withoutShared(time) }),
    items: items.map(withoutShared),
    totals: totals.sort((a, b) => order(a.currency, b.currency)),
  };
}

function withoutShared<T extends Entry>(entry: T): Omit<T, SharedByBill> {
  const {
    kind: _kind,
    user: _user,
    month: _month,
    service: _service,
    session: _session,
    appServer: _appServer,
    ...rest
  } = entry;
  return rest;
}

function totals(sums: readonly MonthTotal[]): BillTotal[] {
  const found = new Map<string, Money>();
  for (const { currency, timeAmount, itemAmount } of sums) {
    if (currency === "") continue;
    const sum = add(money(timeAmount, currency), money(itemAmount, currency));
    found.set(currency, add(found.get(currency) ?? zero(currency), sum));
  }
  return [...found.values()]
    .map((sum) => ({ currency: sum.currency, amount: formatAmount(sum), due: formatAmount(round(sum, "half-up")) }))
    .sort((a, b) => order(a.currency, b.currency));
}

/** By code units: the same on every machine, whatever its language. */
const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
