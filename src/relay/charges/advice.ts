import { AOC_TYPE, chargeAdvice } from "../../charging/charges/advice.ts";
import type { Money } from "../../charging/money/money.ts";
import { rateDuration } from "../../charging/money/tariff.ts";
import { TaxedSums } from "../../charging/money/tax.ts";
import type { SipMessage } from "../../sip/message.ts";
import { withoutBody } from "../dialog/passing.ts";
import type { Session } from "../session/session.ts";

/**
 * Tells the client what the session cost until `at`, in the BYE that it gets or the answer to its own (ETSI TS 124 647 §4.5), where the service
 * or the configuration wants that. What the app server says to the client comes first: a body of its own is left as it is. What is reported
 * after the session (M15) is not in it, and of a BYE on its way to the client not the moment until it is answered.
 */
export function adviseClient(session: Session, message: SipMessage, startedAt: number | null, at: number): void {
  const { service, core } = session;
  if (!(service.advice ?? core.config.charging.advice) || startedAt === null || message.body.length > 0) return;
  withoutBody(message);
  // RFC 3261 §20.11: handling is "required" where nothing is said, and a client that knows no AOC would refuse the BYE.
  message.headers.add("Content-Type", AOC_TYPE).add("Content-Disposition", "render;handling=optional");
  message.body = Buffer.from(chargeAdvice(costUntil(session, at - startedAt)));
}

/** With its taxes. A session has one currency; where it had two, the one that the app server charges in. */
function costUntil({ facts, charges }: Session, durationMs: number): Money | undefined {
  const cost = new TaxedSums();
  for (const { amount, taxes } of charges.bookIfAny?.charged() ?? []) cost.add(amount, taxes);
  if (facts.tariff) cost.add(rateDuration(facts.tariff, durationMs, facts.used), facts.terms?.taxes);
  const [currency] = cost.currencies;
  return currency === undefined ? undefined : cost.due(currency);
}
