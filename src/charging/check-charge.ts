import { err, ok, type Result } from "../support/result.ts";
import type { Charge } from "./events.ts";
import { add, compare, formatMoney, type Money, money, multiply } from "./money.ts";

/** What a session allows its app server to charge. */
export interface ChargeTerms {
  /** Currency of the session's tariff; none: any, as long as the session keeps to one. */
  readonly tariffCurrency?: string | undefined;
  /** The service's limits for one charge and for all of a session; decimal strings. */
  readonly limits?: { readonly charge?: string; readonly session?: string; readonly currency: string } | undefined;
}

/** What a charge comes to: unit price × quantity, exact. */
export function chargeAmount(charge: Charge): Money {
  return multiply(money(charge.unitPrice, charge.currency), charge.quantity);
}

/**
 * Checks a charge that was read without error against the session's terms. `alreadyCharged` is the sum of what the app server has charged in
 * this session; undefined: nothing. Returns the sum with this charge, or why it is refused.
 */
export function checkCharge(charge: Charge, terms: ChargeTerms, alreadyCharged?: Money): Result<Money, string> {
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
  if (limits.charge !== undefined) {
    const most = money(limits.charge, limits.currency);
    if (compare(amount, most) > 0)
      return err(`${formatMoney(amount)} is over the service's limit of ${formatMoney(most)} for one charge`);
  }
  if (limits.session !== undefined) {
    const most = money(limits.session, limits.currency);
    if (compare(sum, most) > 0)
      return err(`${formatMoney(sum)} is over the service's limit of ${formatMoney(most)} for a session`);
  }
  return ok(sum);
}
