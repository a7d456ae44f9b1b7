import { sumOf } from "../billing/month-total.ts";
import type { MonthTotal } from "../billing/store.ts";
import { formatAmount } from "../money/money.ts";
import type { TaxLine } from "../money/tax.ts";
import type { Bill, CallBill, ServiceBill, SessionBill } from "./bill.ts";
import { type BillHead, headLines, serviceTitle } from "./bill-head.ts";
import { align, count, duration, type Line, printable, timeOf } from "./format.ts";
import type { LateSum } from "./late.ts";
import { prepaidText } from "./prepaid.ts";

/** A bill for people, or for programs. Both end with a line break. */
export function formatBill(bill: Bill, format: "text" | "json" = "text"): string {
  return format === "json" ? `${JSON.stringify(bill, undefined, 2)}\n` : text(bill);
}

function text(bill: Bill): string {
  const lines: Line[] = [];
  for (const service of bill.services) {
    lines.push([serviceTitle(service.service, bill)]);
    for (const session of service.sessions) lines.push(...sessionLines(session));
    for (const { at, reason, amount, currency } of service.corrections)
      lines.push([`  ${timeOf(at)}  correction: ${printable(reason)}`, "", `${amount} ${currency}`]);
    lines.push(...sumLines(service, bill), [""]);
  }
  const { late = [] } = bill;
  if (late.length > 0)
    lines.push(["charged later for earlier months"], ...late.map((one) => lateLine(one, bill)), [""]);
  if (bill.calls.length > 0)
    lines.push(["calls in several parts"], ...bill.calls.flatMap((call) => callLines(call, bill)), [""]);
  lines.push(...totalLines(bill));
  const head = headLines(bill, bill.user, bill.month).join("\n");
  const prepaid = bill.prepaid ? `\n${prepaidText(bill.prepaid)}\n` : "";
  if (bill.services.length === 0 && late.length === 0) return `${head}\n\nNothing to pay.\n${prepaid}`;
  if (bill.totals.length === 0) lines.push(["Nothing to pay."]);
  const note = bill.detailed ? "" : "\nToo many entries to list here: these are the sums. --all lists every entry.\n";
  return `${head}\n${note}\n${align(lines)}${prepaid}`;
}

function lateLine({ month, number, service, amount, currency }: LateSum, head: BillHead): Line {
  return [`  ${serviceTitle(service, head)}, ${month} (after bill ${number})`, "", `${amount} ${currency}`];
}

function sessionLines({ at, appServer, session, previous, time, items }: SessionBill): Line[] {
  const from = previous ? `, ${origin(previous)}` : "";
  const lines: Line[] = [[`  ${timeOf(at)}  ${printable(appServer)}  (session ${printable(session)}${from})`]];
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

/** Says which session a part of a call follows. */
export function origin({ session, by }: NonNullable<SessionBill["previous"]>): string {
  return by === "move" ? `moved from ${printable(session)}` : `after ${printable(session)}, changed`;
}

function callLines({ parts, totals }: CallBill, head: BillHead): Line[] {
  const names = parts.map(({ session, service }) => `${printable(session)} (${serviceTitle(service, head)})`);
  const [first = "free", ...others] = totals.map(({ amount, currency }) => `${amount} ${currency}`);
  return [[`  ${names.join(", ")}`], ["    together", "", first], ...others.map((sum): Line => ["", "", sum])];
}

function sumLines({ service, sums }: ServiceBill, bill: Bill): Line[] {
  const lines: Line[] = [];
  if (!bill.detailed) {
    for (const sum of sums) {
      if (sum.sessions > 0)
        lines.push([`  ${count(sum.sessions, "session")}`, duration(sum.durationMs), price(sum, sum.timeAmount)]);
      if (sum.charges > 0) lines.push([`  ${count(sum.charges, "charge")}`, "", price(sum, sum.itemAmount)]);
      if (sum.corrections) lines.push([`  ${count(sum.corrections, "correction")}`]);
    }
  }
  for (const sum of sums) {
    if (sum.currency !== "")
      lines.push([`  sum of ${serviceTitle(service, bill)}`, "", price(sum, formatAmount(sumOf(sum)))]);
  }
  return lines;
}

const price = ({ currency }: MonthTotal, amount: string): string =>
  currency === "" ? "free" : `${amount} ${currency}`;

/** The total of each currency. Before it stand the taxes that are added, after it those that the charges contain. */
function totalLines({ totals, taxes }: Bill): Line[] {
  const lines: Line[] = [];
  for (const { currency, amount, tax, due } of totals) {
    const ofCurrency = taxes.filter((line) => line.currency === currency);
    if (tax !== undefined) {
      lines.push(["Charges", "", `${amount} ${currency}`]);
      for (const line of ofCurrency) if (!line.included) lines.push([taxName(line), "", `${line.amount} ${currency}`]);
    }
    lines.push(["Total", "", `${due} ${currency}`]);
    if (tax === undefined && due !== amount) lines.push(["  rounded from", "", `${amount} ${currency}`]);
    for (const line of ofCurrency)
      if (line.included) lines.push([`  contains ${taxName(line)}`, "", `${line.amount} ${currency}`]);
  }
  return lines;
}

/** `VAT 19% of 31.00`. */
export function taxName({ tax, title, rate, net }: TaxLine): string {
  return `${printable(title ?? tax)} ${rate}% of ${net}`;
}
