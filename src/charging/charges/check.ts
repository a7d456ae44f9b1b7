import { err, ok, type Result } from "../../support/result.ts";
import type { Charge } from "../events/charge-fields.ts";
import { chargeAmount } from "../events/charge-fields.ts";
import { add, compare, formatMoney, type Money, money } from "../money/money.ts";
import type { ServiceLimits } from "../money/portal-limits.ts";
import { completed, PortalLimits } from "../money/portal-limits.ts";

/** What a session allows its app server to charge. */
export interface ChargeTerms {
  /** Currency of the session's tariff. Undefined: any currency, but only one in a session. */
  readonly tariffCurrency?: string | undefined;
  /** The service's own limits. */
  readonly limits?: ServiceLimits | undefined;
  /** The limits where the service has none; default: the built-in limits. */
  readonly portal?: PortalLimits | undefined;
  /** What the app server has charged this user in this service today in other currencies. */
  readonly others?: readonly Money[] | undefined;
}

const PORTAL = new PortalLimits();

/**
 * Checks a well-formed charge against the session's terms. `alreadyCharged` is the sum of what was charged in this
 * session, and in other parts of the same call; undefined: nothing. `today` is what the app server has charged this
 * user in this service today, in the charge's currency. Returns the sum with this charge, or why the charge is refused.
 */
export function checkCharge(
  charge: Charge,
  terms: ChargeTerms,
  alreadyCharged?: Money,
  today?: Money,
): Result<Money, string> {
  const { tariffCurrency, limits, portal = PORTAL, others = [] } = terms;
  const currency = tariffCurrency ?? limits?.currency ?? alreadyCharged?.currency;
  if (currency !== undefined && charge.currency !== currency)
    return err(`currency must be ${currency}, is ${charge.currency}`);
  const amount = chargeAmount(charge);
  const sum = alreadyCharged === undefined ? amount : add(alreadyCharged, amount);
  // Limits in another currency than the charge's allow nothing: there is no exchange rate.
  if (limits !== undefined && limits.currency !== charge.currency)
    return err(`the service's limits are in ${limits.currency}, the charge is in ${charge.currency}`);
  const most = completed(limits, portal.for(charge.currency));
  const over =
    overLimit(amount, most.charge, limits?.charge, "one charge") ??
    overLimit(sum, most.session, limits?.session, "a session") ??
    overLimit(today ? add(today, amount) : amount, most.day, limits?.day, "a day") ??
    (limits?.day === undefined && others.length > 0
      ? overTogether([...others, today ? add(today, amount) : amount], portal)
      : undefined);
  return over === undefined ? ok(sum) : err(over);
}

function overLimit(amount: Money, limit: string, own: string | undefined, of: string): string | undefined {
  const most = money(limit, amount.currency);
  if (compare(amount, most) <= 0) return undefined;
  const whose = own === undefined ? "portal" : "service";
  return `${formatMoney(amount)} is over the ${whose}'s limit of ${formatMoney(most)} for ${of}`;
}

/**
 * Keeps an app server from getting round the limits for a day by changing the currency. In each currency it has used a
 * share of that currency's limit. Together the shares may not be more than 1.
 */
function overTogether(sums: readonly Money[], portal: PortalLimits): string | undefined {
  const shares = sums.map((sum) => {
    const most = money(portal.for(sum.currency).day, sum.currency);
    return most.units <= 0n
      ? WHOLE
      : (sum.units * WHOLE * 10n ** BigInt(most.scale)) / (most.units * 10n ** BigInt(sum.scale));
  });
  return shares.reduce((a, b) => a + b, 0n) > WHOLE
    ? "with what was charged in other currencies it is over the portal's limits for a day"
    : undefined;
}

const WHOLE = 10n ** 12n;
