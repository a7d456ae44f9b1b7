import type { Entry } from "../billing/store.ts";
import { TaxedSums, type TaxLine } from "../money/tax.ts";
import type { AppliedTax } from "../money/terms.ts";
import { addCharge, type BillSources, entriesOfMonth, payable, taxed } from "./bill.ts";
import { type CsvValue, csvLine, csvRow, duration, iso, printable, timeOf } from "./format.ts";
import { type PrepaidLine, prepaidLine } from "./prepaid.ts";

/*
 * Every entry of a user's month, however many there are, by time, with the sums at the end. They are written while they
 * are read, with never more than a page in memory.
 */

/** Columns that bills and settlements have in common. */
export const ENTRY_COLUMNS =
  "user,month,service,session,app_server,kind,id,at,item,unit_price,quantity,duration_ms,ended_by,tariff,channel,amount,currency,call,previous,reason,corrects,rate".split(
    ",",
  );
/** After those: the taxes on an entry, and whether it is paid from a balance. */
export const TERMS_COLUMNS = ["taxes", "prepaid"];
/** The columns of a bill as CSV. New columns are added at the end. */
export const BILL_COLUMNS = [...ENTRY_COLUMNS, ...TERMS_COLUMNS];

/**
 * An entry's values, in the order of `ENTRY_COLUMNS`. An array, since a million objects with so many names take twice
 * as long.
 */
export function entryValues(entry: Entry): CsvValue[] {
  const { user, month, service, session, appServer, kind, id, at, amount, currency, call } = entry;
  const time = kind === "time" ? entry : undefined;
  const item = kind === "item" ? entry : undefined;
  const correction = kind === "correction" ? entry : undefined;
  return [
    ...[user, month, service, session, appServer, kind, id, iso(at)],
    ...[item?.item, item?.unitPrice, item?.quantity],
    ...[time?.durationMs, time?.endedBy, time?.tariff],
    ...[item?.channel, amount, currency, call, entry.previous?.session],
    ...[correction?.reason, correction?.corrects, undefined],
  ];
}

/** The same of `TERMS_COLUMNS`. */
export function termsValues({ terms, prepaid }: Entry): CsvValue[] {
  return [taxesText(terms?.taxes), prepaid ? "yes" : undefined];
}

/** `vat 19%; levy 2% included`. */
export const taxesText = (taxes: readonly AppliedTax[] = []): string =>
  taxes.map(({ id, rate, included }) => `${id} ${rate}%${included ? " included" : ""}`).join("; ");

/**
 * RFC 4180: a row for each entry, and then one for each tax: `tax` is added to the entries, `tax-included` is contained
 * in them. For a prepaid user, the last row is `prepaid`: what was taken out of the balance, below zero.
 */
export async function* billCsv(store: BillSources, user: string, month: string): AsyncGenerator<string> {
  yield `${BILL_COLUMNS.join(",")}\r\n`;
  const charged = new TaxedSums();
  for await (const entry of entriesOfMonth(store.billing, user, month)) {
    addCharge(charged, entry);
    const values = entryValues(entry);
    if (entry.terms || entry.prepaid) values.push(...termsValues(entry));
    yield csvLine(BILL_COLUMNS, values);
  }
  for (const line of payable(charged).taxes) yield csvRow(BILL_COLUMNS, { user, month, ...taxCells(line) });
  const prepaid = await prepaidLine(store.credit, user, month);
  if (prepaid) yield csvRow(BILL_COLUMNS, { user, month, ...prepaidCells(prepaid) });
}

function taxCells({ tax, title, rate, included, currency, amount }: TaxLine): Record<string, string> {
  return { kind: included ? "tax-included" : "tax", id: tax, item: title ?? tax, rate, amount, currency };
}

function prepaidCells({ currency, paid }: PrepaidLine): Record<string, string> {
  return { kind: "prepaid", item: "paid from the balance", amount: paid === "0" ? paid : `-${paid}`, currency };
}

/** One JSON document: user, month, `entries` by their time, taxes, totals. */
export async function* billJson(store: BillSources, user: string, month: string): AsyncGenerator<string> {
  yield `{"user":${JSON.stringify(user)},"month":${JSON.stringify(month)},"entries":[`;
  const charged = new TaxedSums();
  let separator = "\n";
  for await (const entry of entriesOfMonth(store.billing, user, month)) {
    addCharge(charged, entry);
    yield separator + JSON.stringify(taxed(entry));
    separator = ",\n";
  }
  const { taxes: lines, totals } = payable(charged);
  const prepaid = await prepaidLine(store.credit, user, month);
  const paid = prepaid ? `,"prepaid":${JSON.stringify(prepaid)}` : "";
  yield `\n],"taxes":${JSON.stringify(lines)},"totals":${JSON.stringify(totals)}${paid}}\n`;
}

/** A line for each entry. `formatBill` writes the sums. */
export async function* billList(store: BillSources, user: string, month: string): AsyncGenerator<string> {
  for await (const entry of entriesOfMonth(store.billing, user, month)) {
    const amount = entry.currency === "" ? "free" : `${entry.amount} ${entry.currency}`;
    const where = [entry.service, entry.appServer, entry.session].map(printable).join(" ");
    yield `${timeOf(entry.at)}  ${amount.padStart(16)}  ${entryTitle(entry)}  ${where}\n`;
  }
}

/** What an entry is for, on one line. */
export function entryTitle(entry: Entry): string {
  if (entry.kind === "time") return `time ${duration(entry.durationMs)}`;
  if (entry.kind === "correction") return `correction: ${printable(entry.reason)}`;
  return `${printable(entry.item)}, ${entry.quantity} x ${entry.unitPrice}`;
}
