import { z } from "zod";
import { amountSchema } from "../charging/money/amount-schema.ts";
import { currency, MAX_WINDOW_S, seconds } from "./terms.ts";

/* Charges, their way to the bill, and credit. */

export const chargeLimits = z.strictObject({
  charge: amountSchema.exactOptional(),
  session: amountSchema.exactOptional(),
  day: amountSchema.exactOptional(),
  currency,
});

/** How app servers charge outside of the session's dialog (M15, M17), what is kept of charges, and who is told. */
export const chargingSchema = z.strictObject({
  lateChargesS: seconds(0, MAX_WINDOW_S).default(3_600),
  trustAddress: z.boolean().default(false),
  byNats: z.boolean().default(true),
  keepEvents: z.boolean().default(true),
  advice: z.boolean().default(false),
  durable: z.enum(["disk", "standby"]).default("standby"),
  limits: z.array(chargeLimits).default([]),
});

/**
 * The events on disk that the bus has not taken. From four fifths of `maxBytes` on, or below `minFreeDiskBytes`,
 * there are no new sessions.
 */
export const journalSchema = z.strictObject({
  maxBytes: z.int().min(1_048_576).default(1_073_741_824),
  minFreeDiskBytes: z.int().min(0).default(268_435_456),
});

/** What the store forgets; what is not set is kept for ever. */
export const retentionSchema = z.strictObject({
  eventsMonths: z.int().min(3).max(1_200).exactOptional(),
  entriesMonths: z.int().min(3).max(1_200).exactOptional(),
  accountsDays: z.int().min(40).max(36_500).exactOptional(),
});

/** What stands on bills besides the charges. */
export const billsSchema = z.strictObject({
  operator: z
    .strictObject({
      name: z.string().min(1).max(200),
      lines: z.array(z.string().max(200)).max(20).exactOptional(),
    })
    .exactOptional(),
  numberPrefix: z
    .string()
    .regex(/^[A-Za-z0-9._/-]{0,20}$/, "letters, digits and . _ / - (at most 20)")
    .exactOptional(),
});

/** Of users with a balance or a credit limit. */
export const creditSchema = z.strictObject({
  intervalS: seconds(1, 86_400).default(60),
  reserveCharges: amountSchema.default("0"),
  warnS: seconds(0, 3_600).default(10),
  graceS: seconds(1, 86_400).default(60),
  timeoutS: seconds(0.1, 60).default(3),
  whenUnknown: z.enum(["refuse", "allow"]).default("refuse"),
  low: z.array(z.strictObject({ currency, below: amountSchema })).default([]),
});
