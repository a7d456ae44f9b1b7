import { AOC_TYPE, chargeAdvice } from "../../charging/charges/advice.ts";
import { costOfPart } from "../../charging/charges/call-parts.ts";
import type { Money } from "../../charging/money/money.ts";
import { TaxedSums } from "../../charging/money/tax.ts";
import type { SipMessage } from "../../sip/message.ts";
import { withoutBody } from "../dialog/passing.ts";
import type { SessionPort as Session } from "../model/core.ts";

/**
 * Tells the client what its dialog cost until `at`, all parts of it, in the BYE that it gets or the answer to its
 * own: AOC-E is for the whole of a communication (ETSI TS 124 647 §4.5). Where the service or the configuration wants
 * that. What the app server says to the client comes first: a body of its own is left as it is. What is reported
 * after the session (M15) is not in it, and of a BYE on its way to the client not the moment until it is answered.
 */
export function adviseClient(session: Session, message: SipMessage, startedAt: number | null, at: number): void {
  const { service, core } = session;
  if (!(service.advice ?? core.config.charging.advice) || startedAt === null || message.body.length > 0) return;
  const cost = costUntil(session, at - startedAt);
  if (cost === "several") return;
  withoutBody(message);
  // RFC 3261 §20.11: handling is "required" where nothing is said, and a client that knows no AOC would refuse the BYE.
  message.headers.add("Content-Type", AOC_TYPE).add("Content-Disposition", "render;handling=optional");
  message.body = Buffer.from(chargeAdvice(cost));
}

/**
 * With its taxes, of all parts that the client's dialog has had (M20-M22). Undefined: nothing. "several": in more
 * than one currency, as only parts of different services can be; there is no one figure for that.
 */
function costUntil({ facts, charges, costsBefore }: Session, durationMs: number): Money | undefined | "several" {
  const cost = new TaxedSums();
  const own = costOfPart(facts, durationMs, charges.bookIfAny?.charged() ?? []);
  for (const { amount, taxes } of [...costsBefore, ...own]) if (amount.units !== 0n) cost.add(amount, taxes);
  const [currency, other] = cost.currencies;
  if (other !== undefined) return "several";
  return currency === undefined ? undefined : cost.due(currency);
}
