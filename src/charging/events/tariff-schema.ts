import { z } from "zod";
import { amountSchema } from "../money/amount-schema.ts";
import { isCurrency } from "../money/currency.ts";
import { compare, fitsBill, money } from "../money/money.ts";
import { rateDuration, type Tariff } from "../money/tariff.ts";
import { tariffProblem } from "./event-fields.ts";

/** A tariff as configuration and registry hold it. The messages are noun phrases: what was expected. */
export const tariffSchema = z
  .strictObject({
    id: z
      .string()
      .regex(
        /^[A-Za-z0-9][A-Za-z0-9._~+-]{0,63}$/,
        "an id of letters, digits and . _ ~ + - (at most 64, a letter or digit first)",
      ),
    currency: z.string().refine(isCurrency, "an ISO 4217 currency code such as EUR"),
    setupFee: amountSchema.exactOptional(),
    price: amountSchema.exactOptional(),
    incrementS: z
      .number()
      .min(0.001, "seconds, at least 0.001")
      .max(31_536_000, "seconds, at most a year")
      .exactOptional(),
    freeS: z.number().min(0, "seconds, 0 or more").max(31_536_000, "seconds, at most a year").exactOptional(),
    minimum: amountSchema.exactOptional(),
    cap: amountSchema.exactOptional(),
    rounding: z.enum(["half-up", "half-even", "up", "down"]).exactOptional(),
  })
  .refine(({ currency, minimum, cap }) => capIsEnough(currency, minimum, cap), {
    path: ["cap"],
    message: "a cap that is not below the minimum",
  })
  .refine((tariff) => yearFits(tariff), {
    path: ["price"],
    message: "a price by which a year comes to less than 1,000,000,000,000,000",
  }) satisfies z.ZodType<Tariff>;

/** True also where an amount or the currency is itself wrong, which is reported elsewhere. */
function capIsEnough(currency: string, minimum: string | undefined, cap: string | undefined): boolean {
  if (minimum === undefined || cap === undefined || !isCurrency(currency)) return true;
  return compare(money(cap, currency), money(minimum, currency)) >= 0;
}

/** A year is longer than any session. True also where the tariff has another mistake, which is reported elsewhere. */
function yearFits(tariff: Tariff): boolean {
  return tariffProblem(tariff) !== undefined || fitsBill(rateDuration(tariff, YEAR_MS));
}

const YEAR_MS = 31_536_000_000;
