import { AOC_TYPE, chargeAdvice } from "../../charging/charges/advice.ts";
import { costOfPart } from "../../charging/charges/call-parts.ts";
import type { Money } from "../../charging/money/money.ts";
import { TaxedSums } from "../../charging/money/tax.ts";
import type { SipMessage } from "../../sip/message.ts";
import { withoutBody } from "../dialog/passing.ts";
import type { SessionPort as Session } from "../model/core.ts";

/**
 * Tells the client what all parts of its dialog cost until `at`: AOC-E is for a whole communication (ETSI TS 124 647
 * §4.5). The advice stands in the BYE to the client, or in the answer to the client's BYE. Only where the service or
 * the configuration wants it. A body from the app server comes first and stays as it is. Late charges (M15) are not in
 * the advice, nor is the time from a BYE to the client until its answer.
 */
export function adviseClient(session: Session, message: SipMessage, startedAt: number | null, at: number): void {
  const { service, core } = session;
  if (!(service.advice ?? core.config.charging.advice) || startedAt === null || message.body.length > 0) return;
  const cost = costUntil(session, at - startedAt);
  if (cost === "several") return;
  withoutBody(message);
  // RFC 3261 §20.11: without `handling` it is "required", and a client that does not know AOC would refuse the BYE.
  message.headers.add("Content-Type", AOC_TYPE).add("Content-Disposition", "render;handling=optional");
  message.body = Buffer.from(chargeAdvice(cost));
}

/**
 * The cost with taxes, of all parts that the client's dialog has had (M20-M22). Undefined: nothing. "several": the
 * parts' services have different currencies, so there is no single amount.
 */
function costUntil({ facts, charges, costsBefore }: Session, durationMs: number): Money | undefined | "several" {
  const cost = new TaxedSums();
  const own = costOfPart(facts, durationMs, charges.bookIfAny?.charged() ?? []);
  for (const { amount, taxes } of [...costsBefore, ...own]) if (amount.units !== 0n) cost.add(amount, taxes);
  const [currency, other] = cost.currencies;
  if (other !== undefined) return "several";
  return currency === undefined ? undefined : cost.due(currency);
}
