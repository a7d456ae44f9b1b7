import { z } from "zod";

/* What lines on bills, bills and settlements are as JSON. Amounts are exact decimals. */

const text = z.string();
const ms = z.int();
const count = z.int();

const tax = z.object({
  id: text,
  title: text.optional(),
  rate: text.describe("Percent."),
  included: z.boolean().describe("Prices contain it; else it comes on top of them."),
});
const taxes = z.array(tax).optional();
const terms = z
  .object({
    taxes,
    fee: z.object({ percent: text.optional(), perSession: text.optional(), currency: text.optional() }).optional(),
    timeShare: text.optional().describe("The app server's percentage of what time is charged."),
  })
  .optional()
  .describe("Taxes, and what was agreed with the app server, when it was charged.");
const prepaid = z.literal(true).optional().describe("Paid from a balance.");
const previous = z
  .object({ session: text, by: z.enum(["change", "move"]) })
  .optional()
  .describe("The session before this one: the service changed there, or the client moved on.");

const shared = {
  id: text,
  at: ms,
  month: text,
  user: text,
  service: text,
  appServer: text,
  session: text,
  call: text.optional(),
  previous,
  currency: text.describe("Empty where time is free."),
  amount: text,
  terms,
  prepaid,
};
const ofTime = { durationMs: ms, endedBy: text, tariff: text.optional() };
const ofItem = { item: text, unitPrice: text, quantity: text, channel: text };
const ofCorrection = {
  reason: text,
  of: z.enum(["time", "items"]).describe("Whose money it is: that of time, or of what app servers charge."),
  corrects: text.optional().describe("The id of the entry that it corrects."),
};

/** A line on a bill. */
export const entry = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("time"), ...shared, ...ofTime }),
  z.object({ kind: z.literal("item"), ...shared, ...ofItem }),
  z.object({ kind: z.literal("correction"), ...shared, ...ofCorrection }),
]);

const line = { id: text, at: ms, currency: text, amount: text, prepaid, taxes };
const totals = z.array(z.object({ currency: text, amount: text }));

const billedSession = z.object({
  session: text,
  appServer: text,
  at: ms,
  previous,
  time: z.object({ ...line, ...ofTime }).optional(),
  items: z.array(z.object({ ...line, ...ofItem })),
  totals,
});

const billedService = z.object({
  service: text,
  sums: z.array(
    z.object({
      service: text,
      currency: text,
      sessions: count,
      durationMs: ms,
      timeAmount: text,
      charges: count,
      itemAmount: text,
      corrections: count.optional(),
      timeCorrection: text.optional(),
      itemCorrection: text.optional(),
    }),
  ),
  sessions: z.array(billedSession),
  corrections: z.array(
    z.object({ ...line, ...ofCorrection, appServer: text, session: text, call: text.optional(), previous }),
  ),
});

export const billSchema = z.object({
  user: text,
  month: text,
  number: text.optional().describe("Of a closed bill."),
  operator: z.object({ name: text, lines: z.array(text).optional() }).optional(),
  customer: text.optional(),
  titles: z.record(text, text).optional().describe("Of services, by their ids."),
  prepaid: z
    .object({ currency: text, paid: text, balance: text })
    .optional()
    .describe("Of a prepaid user: what was paid from the balance, and what is in it."),
  late: z
    .array(z.object({ month: text, number: text, service: text, currency: text, amount: text, terms, prepaid }))
    .optional()
    .describe("Charged for earlier months after their bills were closed."),
  detailed: z.boolean().describe("False: there are too many entries, so only the sums are here."),
  services: z.array(billedService),
  calls: z
    .array(z.object({ parts: z.array(z.object({ session: text, service: text, appServer: text })), totals }))
    .describe("Calls that have several sessions on the bill."),
  taxes: z.array(
    z.object({
      tax: text,
      title: text.optional(),
      rate: text,
      included: z.boolean(),
      currency: text,
      net: text,
      amount: text,
    }),
  ),
  totals: z.array(z.object({ currency: text, amount: text, tax: text.optional(), due: text })),
});

export const settlementSchema = z.object({
  appServer: text,
  month: text,
  entries: count,
  services: z.array(
    z.object({
      service: text,
      currency: text,
      sessions: count,
      durationMs: ms,
      charges: count,
      time: text,
      items: text,
      timeShare: text,
      part: text.describe("What belongs to the app server, before fees."),
      percent: text,
      percentFee: text,
    }),
  ),
  totals: z.array(
    z.object({
      currency: text,
      part: text,
      percentFee: text,
      sessions: count.describe("Those that have a fee each."),
      sessionFee: text,
      due: text.describe("After fees, rounded once."),
    }),
  ),
});
