import { z } from "zod";
import { amountSchema } from "./amount-schema.ts";
import { isCurrency } from "./currency.ts";
import { type Fee, SHARE, type Terms } from "./terms.ts";

/** What may be agreed with one app server, for one service, or with all app servers. */
export interface SettlementTerms {
  readonly fee?: Fee;
  /**
   * The app server's percentage of what time was charged. Default "0": the price of time belongs to the operator, and
   * items belong to the app server.
   */
  readonly timeShare?: string;
}

const percent = z.string().regex(SHARE, 'a percentage from 0 to 100 in quotes, such as "5" or "2.5"');

export const settlementTerms = {
  fee: z
    .strictObject({
      percent: percent.exactOptional(),
      perSession: amountSchema.exactOptional(),
      currency: z.string().refine(isCurrency, "an ISO 4217 currency code such as EUR").exactOptional(),
    })
    .refine(({ perSession, currency }) => perSession === undefined || currency !== undefined, {
      path: ["currency"],
      message: "the currency of perSession, such as EUR",
    })
    .exactOptional(),
  timeShare: percent.exactOptional(),
};

/**
 * The terms that count. `agreed` has those with the app server, for the service, and with everyone, in this order. Fee
 * and share are each taken from the first that has it. Undefined: nothing that makes a difference.
 */
export function settlementFor(
  agreed: readonly (SettlementTerms | undefined)[],
): Pick<Terms, "fee" | "timeShare"> | undefined {
  const fee = agreed.find((terms) => terms?.fee !== undefined)?.fee ?? {};
  const timeShare = agreed.find((terms) => terms?.timeShare !== undefined)?.timeShare ?? "0";
  const { percent, perSession } = fee;
  const isFree = (percent === undefined || isNothing(percent)) && (perSession === undefined || isNothing(perSession));
  if (isFree && isNothing(timeShare)) return undefined;
  return { ...(!isFree && { fee }), ...(!isNothing(timeShare) && { timeShare }) };
}

const isNothing = (decimal: string): boolean => /^[0.]*$/.test(decimal);
