import type { BillingStore, Entry } from "../billing/store.ts";
import { add, formatAmount, type Money, money, zero } from "../money/money.ts";
import { allPages, order } from "./bill.ts";
import { csvRow, iso } from "./format.ts";
import { taxesText } from "./rows.ts";

/**
 * A call detail record: one session, as operators' systems take it. Times are ISO 8601 in UTC, amounts exact decimals.
 */
export interface CallRecord {
  readonly user: string;
  readonly service: string;
  readonly app_server: string;
  readonly call: string;
  readonly session: string;
  /** The session before this one. */
  readonly previous: string;
  readonly start: string;
  /** "", like `duration_ms` and `ended_by`: the session's clock never ran, but something was charged. */
  readonly end: string;
  readonly duration_ms: number | "";
  readonly ended_by: string;
  readonly time_amount: string;
  readonly items: number;
  readonly items_amount: string;
  readonly corrections_amount: string;
  /**
   * "" where nothing was charged. A session that was charged in two currencies has a record for each; only the first
   * has the time.
   */
  readonly currency: string;
  /**
   * `taxes`: those on all that was charged in this currency, as `vat 19%`. `prepaid`: `yes` where it was paid from a
   * balance.
   */
  readonly taxes: string;
  readonly prepaid: string;
}

export const RECORD_COLUMNS: readonly (keyof CallRecord)[] = [
  "user",
  "service",
  "app_server",
  "call",
  "session",
  "previous",
  "start",
  "end",
  "duration_ms",
  "ended_by",
  "time_amount",
  "items",
  "items_amount",
  "corrections_amount",
  "currency",
  "taxes",
  "prepaid",
];

/** A session of which no record can be made. */
export interface BrokenRecord {
  readonly session: string;
  readonly reason: string;
}

/** How many sessions' entries are asked for at the same time. */
const AT_ONCE = 100;
/** How many sessions are remembered, so that a second charge in one of them does not make a second record. */
const MAX_REMEMBERED = 10_000;

/**
 * The records of all sessions that started from `from` to before `to` (milliseconds since 1970) and have ended, by
 * their start. A session's record has its items and corrections, whenever they were made. Never has more than a page of
 * entries in memory.
 */
export async function* callRecords(
  billing: BillingStore,
  from: number,
  to: number,
  onBroken: (broken: BrokenRecord) => void = () => {},
): AsyncGenerator<CallRecord> {
  const seen = new Set<string>();
  let batch: Entry[] = [];
  for (const month of monthsBetween(from, to)) {
    for await (const entry of allPages((page) => billing.entriesFor(undefined, month, page))) {
      if (entry.at < from || entry.at >= to || entry.kind === "correction") continue;
      if (entry.kind === "item") {
        if (seen.has(entry.session)) continue;
        if (seen.size >= MAX_REMEMBERED) seen.delete(seen.values().next().value!);
      }
      seen.add(entry.session);
      batch.push(entry);
      if (batch.length < AT_ONCE) continue;
      yield* recordsOf(billing, batch, onBroken);
      batch = [];
    }
  }
  yield* recordsOf(billing, batch, onBroken);
}

/** `2026-01` and so on: every month that has a moment from `from` to before `to`. */
function monthsBetween(from: number, to: number): string[] {
  const months: string[] = [];
  const date = new Date(from);
  for (let n = date.getUTCMonth(); ; n++) {
    const start = Date.UTC(date.getUTCFullYear(), n);
    if (start >= to) return months;
    months.push(new Date(start).toISOString().slice(0, 7));
  }
}

async function* recordsOf(
  billing: BillingStore,
  entries: readonly Entry[],
  onBroken: (broken: BrokenRecord) => void,
): AsyncGenerator<CallRecord> {
  const all = await Promise.all(entries.map(({ session }) => billing.entriesOf(session)));
  for (const [i, entry] of entries.entries()) {
    const ofSession = all[i]!.filter(
      ({ service, appServer }) => service === entry.service && appServer === entry.appServer,
    );
    const time = ofSession.find(({ kind }) => kind === "time");
    // An item makes a record only if its session has no time on a bill, and will have none.
    const makesRecord =
      entry.kind === "time" || (!time && ofSession[0]?.id === entry.id && !(await runs(billing, entry.session)));
    if (!makesRecord) continue;
    try {
      yield* records(entry, ofSession);
    } catch (error) {
      onBroken({ session: entry.session, reason: (error as Error).message });
    }
  }
}

async function runs(billing: BillingStore, session: string): Promise<boolean> {
  const [account] = await billing.accounts([session]);
  return account?.state === "running";
}

function records(first: Entry, entries: readonly Entry[]): CallRecord[] {
  const currencies = [...new Set(entries.map(({ currency }) => currency))].filter((one) => one !== "").sort(order);
  const own = first.currency === "" ? (currencies[0] ?? "") : first.currency;
  return [own, ...currencies.filter((one) => one !== own)].map((currency) =>
    record(first, entries, currency, currency === own),
  );
}

function record(first: Entry, entries: readonly Entry[], currency: string, withTime: boolean): CallRecord {
  const time = withTime && first.kind === "time" ? first : undefined;
  const of = (kind: Entry["kind"]) => entries.filter((entry) => entry.kind === kind && entry.currency === currency);
  const items = of("item");
  const all = entries.filter((entry) => entry.currency === currency || entry === time);
  const taxes = new Set(all.map(({ terms }) => taxesText(terms?.taxes)).filter((text) => text !== ""));
  return {
    user: first.user,
    service: first.service,
    app_server: first.appServer,
    call: first.call ?? "",
    session: first.session,
    previous: first.previous?.session ?? "",
    start: iso(first.at),
    end: time ? iso(time.at + time.durationMs) : "",
    duration_ms: time ? time.durationMs : "",
    ended_by: time?.endedBy ?? "",
    time_amount: time ? time.amount : "0",
    items: items.length,
    items_amount: sum(items, currency),
    corrections_amount: sum(of("correction"), currency),
    currency,
    taxes: [...taxes].sort(order).join("; "),
    prepaid: all.some(({ prepaid }) => prepaid) ? "yes" : "",
  };
}

function sum(entries: readonly Entry[], currency: string): string {
  if (entries.length === 0) return "0";
  let all: Money = zero(currency);
  for (const { amount } of entries) all = add(all, money(amount, currency));
  return formatAmount(all);
}

/** Records as CSV (RFC 4180) with a head row, or as JSON lines. */
export async function* writeRecords(
  records: AsyncIterable<CallRecord>,
  format: "csv" | "jsonl",
): AsyncGenerator<string> {
  if (format === "csv") yield `${RECORD_COLUMNS.join(",")}\r\n`;
  for await (const one of records)
    yield format === "csv" ? csvRow(RECORD_COLUMNS, { ...one }) : `${JSON.stringify(one)}\n`;
}
