import type { ServiceLimits } from "../directory/types.ts";
import { err, ok, type Result } from "../support/result.ts";
import { chargeAmount } from "./charge-fields.ts";
import type { Charge } from "./events.ts";
import { add, compare, formatMoney, type Money, money } from "./money.ts";

/** What a session allows its app server to charge. */
export interface ChargeTerms {
  /** Currency of the session's tariff; none: any, as long as the session keeps to one. */
  readonly tariffCurrency?: string | undefined;
  readonly limits?: ServiceLimits | undefined;
}

/**
 * Checks a charge that was read without error against the session's terms. `alreadyCharged` is the sum of what the app server has charged in
 * this session; undefined: nothing. `today`: what it has charged this user in this service on this day, in the limits' currency. Returns the sum with this charge, or why it is refused.
 */
export function checkCharge(
  charge: Charge,
  terms: ChargeTerms,
  alreadyCharged?: Money,
  today?: Money,
): Result<Money, string> {
  const { tariffCurrency, limits } = terms;
  const currency = tariffCurrency ?? limits?.currency ?? alreadyCharged?.currency;
  if (currency !== undefined && charge.currency !== currency)
    return err(`currency must be ${currency}, is ${charge.currency}`);
  const amount = chargeAmount(charge);
  const sum = alreadyCharged === undefined ? amount : add(alreadyCharged, amount);
  if (limits === undefined) return ok(sum);
  // Limits in a currency other than the tariff's allow nothing: there is no rate to compare by.
  if (limits.currency !== charge.currency)
    return err(`the service's limits are in ${limits.currency}, the charge is in ${charge.currency}`);
  const over =
    overLimit(amount, limits.charge, "one charge") ??
    overLimit(sum, limits.session, "a session") ??
    (limits.day === undefined ? undefined : overLimit(today ? add(today, amount) : amount, limits.day, "a day"));
  return over === undefined ? ok(sum) : err(over);
}

function overLimit(amount: Money, limit: string | undefined, of: string): string | undefined {
  if (limit === undefined) return undefined;
  const most = money(limit, amount.currency);
  if (compare(amount, most) <= 0) return undefined;
  return `${formatMoney(amount)} is over the service's limit of ${formatMoney(most)} for ${of}`;
}
