import { z } from "zod";
import { type Bill, makeBill } from "../charging/bills/bill.ts";
import type { BillHead } from "../charging/bills/bill-head.ts";
import { closedBill, closedSums, closeMonth } from "../charging/bills/closing.ts";
import { formatBill } from "../charging/bills/format-bill.ts";
import { settlementCsv, settlementHtml, settlementText } from "../charging/bills/format-settlement.ts";
import { billHtml } from "../charging/bills/html-bill.ts";
import { lateSums } from "../charging/bills/late.ts";
import { billCsv, billList } from "../charging/bills/rows.ts";
import { makeSettlement, type Settlement } from "../charging/bills/settlement.ts";
import type { Config } from "../config/schema.ts";
import { accountOf, formerAppServer, readAccount } from "../directory/accounts.ts";
import type { Store } from "../store/types.ts";
import { isKnown, theAccount } from "./accounts.ts";
import { billSchema, settlementSchema } from "./bill-schema.ts";
import type { OperationContext } from "./context.ts";
import { OperationError } from "./mistake.ts";
import { theMonth } from "./months.ts";
import { type AnyOperation, idField, operation } from "./operation.ts";

/** A program may get more than a person wants to read, as long as it fits into memory. */
const MAX_JSON_ENTRIES = 100_000;
/** The longest file that is answered by HTTP. */
const MOST_CHARACTERS = 64 * 2 ** 20;

const monthField = z.string().max(16).optional().describe("Such as 2026-01, in UTC; default: this one.");
const userField = idField.describe("Or an account: alice#1 is that of the first user of that id.");
const formatField = z.enum(["text", "csv", "html"]).default("text");
const TYPES = { text: "text/plain; charset=utf-8", csv: "text/csv; charset=utf-8", html: "text/html; charset=utf-8" };

export const showBill = operation({
  id: "showBill",
  method: "GET",
  path: "/v1/bills/{user}",
  summary: "A user's bill for a month: time and charges of every service, taxes, totals",
  right: "see-money",
  personal: true,
  input: z.strictObject({ user: userField, month: monthField }),
  output: billSchema,
  run: async (context, { user, month }): Promise<Bill> => {
    const asked = await whoseBill(context, user, month);
    return billOf(context, asked.user, asked.month, { maxEntries: MAX_JSON_ENTRIES });
  },
});

export const exportBill = operation({
  id: "exportBill",
  method: "GET",
  path: "/v1/bills/{user}/export",
  summary: "The same as text, as a page to print, or as CSV with a row for each entry and each tax",
  right: "see-money",
  personal: true,
  file: true,
  input: z.strictObject({
    user: userField,
    month: monthField,
    format: formatField,
    all: z.boolean().default(false).describe("List every entry, however many there are, by time."),
  }),
  output: z.string(),
  async run(context, { user: name, month: given, format, all }) {
    const { user, month } = await whoseBill(context, name, given);
    const content = await gathered(billText(context, { user, month, format, all }));
    return { type: TYPES[format], name: `bill-${month}.${extension(format)}`, content };
  },
});

export const showSettlement = operation({
  id: "showSettlement",
  method: "GET",
  path: "/v1/settlements/{appServer}",
  summary: "What an app server is owed for a month, after the operator's fee",
  right: "see-money",
  input: z.strictObject({ appServer: idField, month: monthField }),
  output: settlementSchema,
  run: (context, { appServer, month }) => settlementOf(context, appServer, theMonth(month, context.now())),
});

export const exportSettlement = operation({
  id: "exportSettlement",
  method: "GET",
  path: "/v1/settlements/{appServer}/export",
  summary: "The same as text, as a page to print, or as CSV with a row for each entry and each fee",
  right: "see-money",
  personal: true,
  file: true,
  input: z.strictObject({ appServer: idField, month: monthField, format: formatField }),
  output: z.string(),
  async run(context, { appServer, month: given, format }) {
    const month = theMonth(given, context.now());
    const settlement = await settlementOf(context, appServer, month);
    const content = await gathered(settlementParts(context.store, settlement, format));
    return { type: TYPES[format], name: `settlement-${month}.${extension(format)}`, content };
  },
});

export const closeBills = operation({
  id: "closeBills",
  method: "POST",
  path: "/v1/months/{month}/close",
  summary: "Close the bills of a month that is over: each gets a number, and is kept as it is",
  right: "bill",
  input: z.strictObject({ month: z.string().max(16).describe("Such as 2026-10, in UTC.") }),
  output: z.object({
    month: z.string(),
    count: z.int(),
    first: z.string().optional(),
    last: z.string().optional(),
  }),
  async run({ store, config, now }, { month }) {
    theMonth(month, now());
    const make = (user: string, number: string) => openBill(store, config, user, month, { number });
    const { numberPrefix: prefix = "" } = config.bills;
    const done = await closeMonth(store, month, { now: now(), prefix, make }).catch((error: Error) => {
      throw new OperationError("refused", error.message);
    });
    return { month, ...done };
  },
});

export const billOperations: readonly AnyOperation[] = [
  showBill,
  exportBill,
  showSettlement,
  exportSettlement,
  closeBills,
];

const extension = (format: "text" | "csv" | "html"): string => (format === "text" ? "txt" : format);

async function gathered(parts: AsyncIterable<string>): Promise<string> {
  let text = "";
  for await (const part of parts) {
    text += part;
    if (text.length > MOST_CHARACTERS)
      throw new OperationError("refused", "it is too long to be sent: use the command on the machine itself");
  }
  return text;
}

/**
 * The account and the month that are meant. A user who never existed is a typing mistake; one who was removed has
 * bills.
 */
export async function whoseBill(
  { store, now }: Pick<OperationContext, "store" | "now">,
  name: string,
  given: string | undefined,
): Promise<{ readonly user: string; readonly month: string }> {
  const month = theMonth(given, now());
  const user = await theAccount(store, name);
  if (!(await isKnown(store, user)) && (await store.billing.totals(user, month)).length === 0)
    throw new OperationError("unknown", `no user ${user}, and nothing billed to one of that name in ${month}`, {
      hint: "see: tollgate user list",
    });
  return { user, month };
}

type Sources = Pick<OperationContext, "store" | "config">;

/** The bill of that month: the closed one, or as it is now. */
async function billOf(
  { store, config }: Sources,
  user: string,
  month: string,
  most: { readonly maxEntries?: number } = {},
): Promise<Bill> {
  return (await closedBill(store.closedBills, user, month))?.bill ?? (await openBill(store, config, user, month, most));
}

/** A bill for people or as CSV, piece by piece. */
export async function* billText(
  on: Sources,
  {
    user,
    month,
    format,
    all,
  }: { readonly user: string; readonly month: string; readonly format: "text" | "csv" | "html"; readonly all: boolean },
): AsyncGenerator<string> {
  const { store } = on;
  if (format === "csv") return yield* billCsv(store, user, month);
  const bill = await billOf(on, user, month);
  const list = all && !bill.detailed;
  if (format === "html") return yield* billHtml(bill, list ? store : undefined);
  yield formatBill(bill, format);
  if (!list) return;
  yield "\n";
  yield* billList(store, user, month);
}

/** The bill as it is now, with what stands on it besides the charges. */
export async function openBill(
  store: Store,
  config: Config,
  user: string,
  month: string,
  more: { readonly maxEntries?: number; readonly number?: string } = {},
): Promise<Bill> {
  const { number, ...most } = more;
  const { operator } = config.bills;
  const holder = await store.users.get(readAccount(user)?.id ?? user);
  // The account may be that of an earlier user of this id.
  const customer = holder && accountOf(holder) === user ? holder.name : undefined;
  const services = [...(await store.services.list()), ...config.services];
  const titles = Object.fromEntries(
    services.flatMap(({ id, title }): [string, string][] => (title === undefined ? [] : [[id, title]])),
  );
  const head: BillHead = {
    ...(number !== undefined && { number }),
    ...(operator && { operator }),
    ...(customer !== undefined && { customer }),
    ...(Object.keys(titles).length > 0 && { titles }),
  };
  const late = await lateSums(store.billing, closedSums(store.closedBills), user, month);
  return makeBill(store, user, month, { ...most, head, late });
}

/** The settlement; throws if nobody knows the app server, and nothing was charged for it. */
export async function settlementOf({ store, config }: Sources, appServer: string, month: string): Promise<Settlement> {
  const settlement = await makeSettlement(store, appServer, month);
  const isKnown =
    settlement.services.length > 0 ||
    config.appServers.some(({ id }) => id === appServer) ||
    (await store.appServers.get(appServer)) !== undefined ||
    (await store.former.get(formerAppServer(appServer))) !== undefined;
  if (isKnown) return settlement;
  throw new OperationError(
    "unknown",
    `no app server ${appServer}, and nothing charged for one of that name in ${month}`,
    { hint: "see: tollgate appserver list" },
  );
}

/** A settlement for people or as CSV, piece by piece. */
export async function* settlementParts(
  store: Store,
  settlement: Settlement,
  format: "text" | "csv" | "html",
): AsyncGenerator<string> {
  if (format === "csv") yield* settlementCsv(settlement, store);
  else yield format === "html" ? settlementHtml(settlement) : settlementText(settlement);
}
