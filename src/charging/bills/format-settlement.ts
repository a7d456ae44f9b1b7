import type { BillingStore } from "../billing/store.ts";
import { allPages } from "./bill.ts";
import { serviceTitle } from "./bill-head.ts";
import { align, count, csvLine, csvRow, duration, type Line, printable } from "./format.ts";
import { type Cell, heading, PAGE_END, pageStart, row, TABLE_END, tableStart } from "./html.ts";
import { ENTRY_COLUMNS, entryValues, TERMS_COLUMNS, termsValues } from "./rows.ts";
import { partOf, type SettledService, type SettledTotal, type Settlement } from "./settlement.ts";

/** A settlement for people (M19). */
export function settlementText({ appServer, month, services, totals }: Settlement): string {
  const head = `Settlement for ${printable(appServer)}, ${month} (UTC)\n\n`;
  if (services.length === 0) return `${head}Nothing was charged.\n`;
  const lines: Line[] = [];
  for (const service of services) {
    lines.push([`${serviceTitle(service.service, {})}${service.currency === "" ? ", free" : `, ${service.currency}`}`]);
    for (const [what, much, amount] of serviceLines(service)) lines.push([`  ${what}`, much, amount]);
  }
  lines.push([""]);
  for (const total of totals) for (const line of totalLines(total)) lines.push(line);
  if (totals.length === 0) lines.push(["Nothing is owed."]);
  return head + align(lines);
}

type Row = readonly [what: string, much: string, amount: string];

function serviceLines(one: SettledService): Row[] {
  const { sessions, durationMs, charges, time, items, timeShare, part, percent, percentFee, currency } = one;
  if (currency === "") return [[count(sessions, "session"), duration(durationMs), "free"]];
  return [
    [`time charged, ${timeShare}% for the app server`, duration(durationMs), `${time} ${currency}`],
    ["items charged", count(charges, "charge"), `${items} ${currency}`],
    ["belongs to the app server", "", `${part} ${currency}`],
    [`fee, ${percent}%`, "", `${minus(percentFee)} ${currency}`],
  ];
}

function totalLines({ currency, part, percentFee, sessions, sessionFee, due }: SettledTotal): Row[] {
  return [
    ["Belongs to the app server", "", `${part} ${currency}`],
    ["Fees by percentage", "", `${minus(percentFee)} ${currency}`],
    ["Fees for sessions", count(sessions, "session"), `${minus(sessionFee)} ${currency}`],
    [due.startsWith("-") ? "Due from the app server" : "Due to the app server", "", `${due} ${currency}`],
  ];
}

/** The amount with its sign changed; zero stays as it is. */
function minus(amount: string): string {
  if (amount.startsWith("-")) return amount.slice(1);
  return /^[0.]*$/.test(amount) ? amount : `-${amount}`;
}

/** A settlement as a page to print. */
export function settlementHtml(settlement: Settlement): string {
  const { appServer, month, services, totals } = settlement;
  let html = pageStart(`Settlement for ${appServer}`, `${month}, months in UTC`);
  if (services.length === 0) html += `<p class="note">Nothing was charged.</p>\n`;
  for (const service of services) {
    html += heading(`${serviceTitle(service.service, {})}${service.currency === "" ? "" : `, ${service.currency}`}`);
    html += tableStart([{ text: "What" }, number("How much"), number("Amount")]);
    for (const line of serviceLines(service)) html += lineHtml(line);
    html += TABLE_END;
  }
  for (const total of totals) {
    const lines = totalLines(total);
    html += `<table class="totals"><tbody>\n`;
    for (const [i, line] of lines.entries()) html += lineHtml(line, i === lines.length - 1 ? "due" : undefined);
    html += TABLE_END;
  }
  return html + PAGE_END;
}

const number = (text: string): Cell => ({ text, class: "n" });
const lineHtml = ([what, much, amount]: Row, rowClass?: string): string =>
  row([{ text: what }, number(much), number(amount)], rowClass);

const AGREED_COLUMNS = ["time_share", "fee_percent", "fee_session", "fee_currency"];
const COLUMNS = [...ENTRY_COLUMNS, "owed", ...TERMS_COLUMNS, ...AGREED_COLUMNS];

/**
 * RFC 4180: a row for each entry, then the fees, of kind `fee-percent` and `fee-session`. `owed` is the part of an
 * entry that belongs to the app server. The sum of `owed` is what is due, before rounding. The last columns have what
 * was agreed when the entry was made.
 */
export async function* settlementCsv(
  { appServer, month, totals }: Settlement,
  store: { readonly billing: BillingStore },
): AsyncGenerator<string> {
  yield `${COLUMNS.join(",")}\r\n`;
  const head = { app_server: appServer, month };
  for await (const entry of allPages((page) => store.billing.entriesFor(appServer, month, page))) {
    const values = entryValues(entry);
    values.push(partOf(entry));
    const { fee, timeShare } = entry.terms ?? {};
    if (entry.terms || entry.prepaid)
      values.push(...termsValues(entry), timeShare, fee?.percent, fee?.perSession, fee?.currency);
    yield csvLine(COLUMNS, values);
  }
  for (const { currency, percentFee, sessions, sessionFee } of totals) {
    yield csvRow(COLUMNS, { ...head, kind: "fee-percent", owed: minus(percentFee), currency });
    yield csvRow(COLUMNS, { ...head, kind: "fee-session", quantity: sessions, owed: minus(sessionFee), currency });
  }
}
