import type { Bill, ServiceBill, SessionBill } from "./bill.ts";
import type { MonthTotal } from "./billing-store.ts";
import { add, formatAmount, money } from "./money.ts";

/** A bill for people, for programs, for spreadsheets. All three end with a line break. */
export function formatBill(bill: Bill, format: "text" | "json" | "csv" = "text"): string {
  if (format === "json") return `${JSON.stringify(bill, undefined, 2)}\n`;
  return format === "csv" ? csv(bill) : text(bill);
}

/** A line in columns: what, how much of it, what it costs. */
type Line = readonly [what: string, measure: string, amount: string] | readonly [heading: string];

function text(bill: Bill): string {
  const lines: Line[] = [];
  for (const service of bill.services) {
    lines.push([printable(service.service)]);
    for (const session of service.sessions) lines.push(...sessionLines(session));
    lines.push(...sumLines(service), [""]);
  }
  for (const { currency, amount, due } of bill.totals) {
    lines.push(["Total", "", `${due} ${currency}`]);
    if (due !== amount) lines.push(["  rounded from", "", `${amount} ${currency}`]);
  }
  const head = `Bill for ${printable(bill.user)}, ${bill.month} (UTC)`;
  if (bill.services.length === 0) return `${head}\n\nNothing to pay.\n`;
  if (bill.totals.length === 0) lines.push(["Nothing to pay."]);
  const note = bill.detailed ? "" : "\nToo many entries to list here: these are the sums.\n";
  return `${head}\n${note}\n${align(lines)}`;
}

function sessionLines({ at, appServer, session, time, items }: SessionBill): Line[] {
  const lines: Line[] = [[`  ${timeOf(at)}  ${printable(appServer)}  (session ${printable(session)})`]];
  if (time)
    lines.push([
      "    time",
      duration(time.durationMs),
      time.currency === "" ? "free" : `${time.amount} ${time.currency}`,
    ]);
  for (const { item, quantity, unitPrice, amount, currency } of items) {
    lines.push([`    ${printable(item)}`, `${quantity} x ${unitPrice}`, `${amount} ${currency}`]);
  }
  return lines;
}

function sumLines({ service, sums, sessions }: ServiceBill): Line[] {
  const lines: Line[] = [];
  if (sessions.length === 0) {
    for (const sum of sums) {
      if (sum.sessions > 0)
        lines.push([`  ${count(sum.sessions, "session")}`, duration(sum.durationMs), price(sum, sum.timeAmount)]);
      if (sum.charges > 0) lines.push([`  ${count(sum.charges, "charge")}`, "", price(sum, sum.itemAmount)]);
    }
  }
  for (const sum of sums) {
    if (sum.currency !== "") lines.push([`  sum of ${printable(service)}`, "", price(sum, sumOf(sum))]);
  }
  return lines;
}

const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? "" : "s"}`;
const price = ({ currency }: MonthTotal, amount: string): string =>
  currency === "" ? "free" : `${amount} ${currency}`;

function sumOf({ currency, timeAmount, itemAmount }: MonthTotal): string {
  return formatAmount(add(money(timeAmount, currency), money(itemAmount, currency)));
}

function align(lines: readonly Line[]): string {
  let first = 0;
  let second = 0;
  let third = 0;
  for (const [what, measure, amount] of lines) {
    if (measure === undefined) continue;
    first = Math.max(first, width(what));
    second = Math.max(second, measure.length);
    third = Math.max(third, amount!.length);
  }
  const one = ([what, measure, amount]: Line) =>
    measure === undefined
      ? what
      : `${what}${" ".repeat(first - width(what))}  ${measure.padStart(second)}  ${amount!.padStart(third)}`;
  return `${lines.map(one).join("\n")}\n`;
}

/** Columns that a text takes in a terminal: two for an East Asian wide character or an emoji, none for a mark that stands on another. */
function width(text: string): number {
  if (/^[\x20-\x7e]*$/.test(text)) return text.length;
  let columns = 0;
  for (const character of text) {
    if (/\p{Mark}|\p{Cf}/u.test(character)) continue;
    columns += WIDE.test(character) ? 2 : 1;
  }
  return columns;
}

const WIDE =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Script=Bopomofo}\p{Emoji_Presentation}\u3000-\u303e\uff01-\uff60\uffe0-\uffe6]/u;

/** Whoever names an item must not move the reader's cursor or turn the line around. */
function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cs}\p{Bidi_Control}\u2028\u2029]/gu, "?");
}

/** `h:mm:ss`, begun seconds counted. */
function duration(durationMs: number): string {
  const seconds = Math.ceil(durationMs / 1000);
  const two = (n: number) => String(n).padStart(2, "0");
  return `${Math.floor(seconds / 3600)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
}

function timeOf(at: number): string {
  return new Date(at).toISOString().slice(0, 19).replace("T", " ");
}

const COLUMNS =
  "user,month,service,session,app_server,kind,id,at,item,unit_price,quantity,duration_ms,ended_by,tariff,channel,amount,currency".split(
    ",",
  );

/** RFC 4180: a row for each entry, or for each sum where the bill has no more than those. */
function csv(bill: Bill): string {
  const rows: string[] = [COLUMNS.join(",")];
  const add = (cells: Readonly<Record<string, string | number>>) => {
    const all: Readonly<Record<string, string | number>> = { user: bill.user, month: bill.month, ...cells };
    rows.push(COLUMNS.map((name) => cell(name, all[name] ?? "")).join(","));
  };
  for (const { service, sessions, sums } of bill.services) {
    for (const { session, appServer, time, items } of sessions) {
      const head = { service, session, app_server: appServer };
      if (time)
        add({ ...head, kind: "time", ...time, at: iso(time.at), duration_ms: time.durationMs, ended_by: time.endedBy });
      for (const item of items) add({ ...head, kind: "item", ...item, at: iso(item.at), unit_price: item.unitPrice });
    }
    if (bill.detailed) continue;
    for (const { currency, sessions, durationMs, timeAmount, charges, itemAmount } of sums) {
      if (sessions > 0)
        add({ service, kind: "time-sum", quantity: sessions, duration_ms: durationMs, amount: timeAmount, currency });
      if (charges > 0) add({ service, kind: "item-sum", quantity: charges, amount: itemAmount, currency });
    }
  }
  return `${rows.join("\r\n")}\r\n`;
}

const iso = (at: number): string => new Date(at).toISOString();

/** Columns that hold numbers of our own making: a minus sign in front of them is one. */
const NUMBERS = new Set(["amount", "unit_price", "quantity", "duration_ms"]);

function cell(column: string, value: string | number): string {
  const raw = String(value);
  if (NUMBERS.has(column) && /^-?\d+(\.\d+)?$/.test(raw)) return raw;
  // A spreadsheet takes text that begins like this for a formula, and runs it.
  const text = /^[\s]*[=+\-@\t\r]/.test(raw) ? `'${raw}` : raw;
  return /[",\r\n]/.test(text) || text !== text.trim() ? `"${text.replaceAll('"', '""')}"` : text;
}
