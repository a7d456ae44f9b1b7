import { formatAmount, type Money } from "../money/money.ts";

/** Advice of charge as IMS clients read it (ETSI TS 124 647 annex D, first in TS 183 047). */
export const AOC_TYPE = "application/vnd.etsi.aoc+xml";

const NAMESPACE = "http://uri.etsi.org/ngn/params/xml/simservs/aoc";

/**
 * AOC-E: what an ended session cost; undefined or zero: it was free. The elements stand in the order of the schema:
 * `recorded-charges` has either `recorded-currency-units` (an ISO 4217 code and a decimal) or `free-charge`.
 */
export function chargeAdvice(cost: Money | undefined): string {
  const charges =
    cost === undefined || cost.units === 0n
      ? "<free-charge/>"
      : `<recorded-currency-units><currency-id>${cost.currency}</currency-id><currency-amount>${formatAmount(cost)}</currency-amount></recorded-currency-units>`;
  return `<?xml version="1.0" encoding="UTF-8"?>\r\n<aoc xmlns="${NAMESPACE}"><aoc-e><recorded-charges>${charges}</recorded-charges></aoc-e></aoc>\r\n`;
}
