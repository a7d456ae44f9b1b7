import { sumOf } from "../billing/month-total.ts";
import type { BillingStore, MonthTotal } from "../billing/store.ts";
import { formatAmount } from "../money/money.ts";
import { type Bill, entriesOfMonth, type ServiceBill, type SessionBill } from "./bill.ts";
import { serviceTitle } from "./bill-head.ts";
import { count, duration, timeOf } from "./format.ts";
import { origin, taxName } from "./format-bill.ts";
import { type Cell, heading, note, PAGE_END, pageStart, row, TABLE_END, tableStart } from "./html.ts";
import type { LateSum } from "./late.ts";
import { prepaidText } from "./prepaid.ts";
import { entryTitle } from "./rows.ts";

/**
 * A bill as a page to print (M18). With `all`, there is also a table of every entry by time, written while the entries
 * are read.
 */
export async function* billHtml(bill: Bill, all?: { readonly billing: BillingStore }): AsyncGenerator<string> {
  const { operator, number, customer } = bill;
  const who = customer === undefined ? bill.user : `${customer} (${bill.user})`;
  yield pageStart(`Bill ${number === undefined ? "" : `${number} `}for ${who}`, `${bill.month}, times in UTC`);
  if (operator) yield note([operator.name, ...(operator.lines ?? [])].join(", "));
  if (!bill.detailed && !all)
    yield note("Too many entries to list here: these are the sums. tollgate bill --all lists every entry.");
  for (const service of bill.services) yield serviceHtml(service, bill);
  if (bill.late) yield lateHtml(bill.late, bill);
  if (bill.calls.length > 0) yield callsHtml(bill);
  if (all) yield* listHtml(all, bill);
  yield totalsHtml(bill) + PAGE_END;
}

const n = (text: string): Cell => ({ text, class: "n" });
const priced = (amount: string, currency: string): Cell => n(currency === "" ? "free" : `${amount} ${currency}`);
const HEADINGS: readonly Cell[] = [{ text: "What" }, n("How much"), n("Amount")];

function lateHtml(late: readonly LateSum[], bill: Bill): string {
  let html = heading("Charged later for earlier months") + tableStart(HEADINGS);
  for (const { month, number, service, amount, currency } of late)
    html += row([
      { text: `${serviceTitle(service, bill)}, ${month} (after bill ${number})` },
      n(""),
      priced(amount, currency),
    ]);
  return html + TABLE_END;
}

function serviceHtml({ service, sessions, corrections, sums }: ServiceBill, bill: Bill): string {
  let html = heading(serviceTitle(service, bill)) + tableStart(HEADINGS);
  for (const session of sessions) html += sessionHtml(session);
  for (const { at, reason, amount, currency } of corrections)
    html += row([{ text: `${timeOf(at)} Correction: ${reason}` }, n(""), priced(amount, currency)]);
  if (!bill.detailed) for (const sum of sums) html += sumHtml(sum);
  for (const sum of sums) {
    if (sum.currency !== "")
      html += row([{ text: "Sum" }, n(""), priced(formatAmount(sumOf(sum)), sum.currency)], "sum");
  }
  return html + TABLE_END;
}

function sessionHtml({ at, appServer, session, previous, time, items }: SessionBill): string {
  const from = previous ? `, ${origin(previous)}` : "";
  let html = row(
    [{ text: `${timeOf(at)} ${appServer}` }, { text: `session ${session}${from}`, class: "d n", span: 2 }],
    "s",
  );
  if (time)
    html += row([{ text: "Time", class: "i" }, n(duration(time.durationMs)), priced(time.amount, time.currency)]);
  for (const { item, quantity, unitPrice, amount, currency } of items)
    html += row([{ text: item, class: "i" }, n(`${quantity} × ${unitPrice}`), priced(amount, currency)]);
  return html;
}

function sumHtml({ sessions, durationMs, timeAmount, charges, itemAmount, corrections, currency }: MonthTotal): string {
  let html = "";
  if (sessions > 0)
    html += row([{ text: count(sessions, "session") }, n(duration(durationMs)), priced(timeAmount, currency)]);
  if (charges > 0) html += row([{ text: count(charges, "charge") }, n(""), priced(itemAmount, currency)]);
  if (corrections) html += row([{ text: count(corrections, "correction") }, n(""), n("")]);
  return html;
}

function callsHtml(bill: Bill): string {
  const { calls } = bill;
  let html = heading("Calls in several parts") + tableStart([{ text: "Parts" }, n("Together")]);
  for (const { parts, totals } of calls) {
    const names = parts.map(({ session, service }) => `${session} (${serviceTitle(service, bill)})`).join(", ");
    html += row([
      { text: names },
      n(totals.map(({ amount, currency }) => `${amount} ${currency}`).join(", ") || "free"),
    ]);
  }
  return html + TABLE_END;
}

async function* listHtml({ billing }: { readonly billing: BillingStore }, bill: Bill): AsyncGenerator<string> {
  yield heading("Every entry") + tableStart([{ text: "Time" }, { text: "What" }, { text: "Service" }, n("Amount")]);
  for await (const entry of entriesOfMonth(billing, bill.user, bill.month)) {
    yield row([
      { text: timeOf(entry.at), class: "w" },
      { text: entryTitle(entry) },
      { text: serviceTitle(entry.service, bill) },
      priced(entry.amount, entry.currency),
    ]);
  }
  yield TABLE_END;
}

function totalsHtml({ totals, taxes, prepaid }: Bill): string {
  const paid = prepaid ? note(prepaidText(prepaid)) : "";
  if (totals.length === 0) return note("Nothing to pay.") + paid;
  let html = `<table class="totals"><tbody>\n`;
  for (const { currency, amount, tax, due } of totals) {
    const lines = taxes.filter((line) => line.currency === currency);
    if (tax !== undefined || amount !== due) html += row([{ text: "Charges" }, priced(amount, currency)]);
    for (const line of lines) if (!line.included) html += row([{ text: taxName(line) }, priced(line.amount, currency)]);
    html += row([{ text: "To pay" }, priced(due, currency)], "due");
    for (const line of lines)
      if (line.included)
        html += row([{ text: `contains ${taxName(line)}`, class: "d" }, priced(line.amount, currency)]);
  }
  return html + TABLE_END + paid;
}
