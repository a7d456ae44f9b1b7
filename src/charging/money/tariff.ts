import { add, compare, formatAmount, type Money, money, multiply, round, subtract, zero } from "./money.ts";

/**
 * What a session's time costs (M13). Amounts are decimal strings ("0.25") in the tariff's currency, so that JSON and
 * YAML carry them exactly.
 */
export interface Tariff {
  readonly id: string;
  /** ISO 4217. */
  readonly currency: string;
  /** Charged once in a call, when its first part with this tariff is established. Default "0". */
  readonly setupFee?: string;
  /** Price of each increment. Default "0". */
  readonly price?: string;
  /** Length of an increment in seconds; default 60. An increment counts in full as soon as it begins. */
  readonly incrementS?: number;
  /** Seconds at the start of a call that cost nothing; default 0. The set-up fee is charged all the same. */
  readonly freeS?: number;
  /**
   * The least and the greatest amount that the time of a call costs by this tariff, including the set-up fee. The
   * minimum counts for every call that lasts longer than the free seconds, and for all calls where there are none.
   */
  readonly minimum?: string;
  readonly cap?: string;
  /** How the sum is rounded to the currency's minor unit; default "half-up". */
  readonly rounding?: "half-up" | "half-even" | "up" | "down";
}

const DEFAULT_INCREMENT_S = 60;

/**
 * What earlier parts of a call have used of a tariff (M20-M22). Its set-up fee, free seconds, minimum and cap count
 * once for all parts. A part lies between two changes of service.
 */
export interface TariffUse {
  /** Of its free seconds, in milliseconds. */
  readonly freeMs: number;
  /** Time beyond the free seconds, in milliseconds. */
  readonly chargedMs: number;
  /** What set-up fee and increments come to, exact, before minimum, cap and rounding: a decimal string. */
  readonly amount: string;
}

interface Use {
  readonly freeMs: number;
  readonly chargedMs: number;
  readonly amount: Money;
}

/**
 * What `durationMs` of a session cost by this tariff (M13): the set-up fee and every increment begun after the free
 * seconds, not below the minimum, not above the cap, rounded once at the end to the currency's minor unit. With
 * `before`: how much this part adds to the cost of the call. May throw for a tariff that `tariffSchema` has not
 * checked.
 */
export function rateDuration(tariff: Tariff, durationMs: number, before?: TariffUse): Money {
  if (before === undefined) return bounded(tariff, useOf(tariff, durationMs, undefined));
  const used = { ...before, amount: money(before.amount, tariff.currency) };
  const more = subtract(bounded(tariff, useOf(tariff, durationMs, used)), bounded(tariff, used));
  return more.units < 0n ? zero(tariff.currency) : more; // the tariff has become cheaper meanwhile
}

/** What is used of the tariff in all, after a part of `durationMs`. */
export function useAfter(tariff: Tariff, durationMs: number, before?: TariffUse): TariffUse {
  const used = before && { ...before, amount: money(before.amount, tariff.currency) };
  const after = useOf(tariff, durationMs, used);
  return { ...after, amount: formatAmount(after.amount) };
}

/** Of its free seconds, in milliseconds. */
export const freeMsOf = (tariff: Tariff): number => Math.round((tariff.freeS ?? 0) * 1000);

function useOf(tariff: Tariff, durationMs: number, before: Use | undefined): Use {
  const { currency } = tariff;
  const incrementMs = Math.max(1, Math.round((tariff.incrementS ?? DEFAULT_INCREMENT_S) * 1000));
  const lastedMs = Math.max(0, Math.trunc(durationMs)); // a negative duration costs nothing
  const freeMs = Math.min(lastedMs, Math.max(0, freeMsOf(tariff) - (before?.freeMs ?? 0)));
  const chargedMs = lastedMs - freeMs;
  let amount = before?.amount ?? (tariff.setupFee === undefined ? zero(currency) : money(tariff.setupFee, currency));
  if (tariff.price !== undefined && chargedMs > 0) {
    amount = add(amount, multiply(money(tariff.price, currency), BigInt(Math.ceil(chargedMs / incrementMs))));
  }
  if (before === undefined) return { freeMs, chargedMs, amount };
  return { freeMs: before.freeMs + freeMs, chargedMs: before.chargedMs + chargedMs, amount };
}

/** The amount, not below the minimum and not above the cap, rounded. */
function bounded(tariff: Tariff, { chargedMs, amount }: Use): Money {
  const { currency } = tariff;
  let sum = amount;
  if (tariff.minimum !== undefined && (chargedMs > 0 || freeMsOf(tariff) === 0)) {
    const minimum = money(tariff.minimum, currency);
    if (compare(sum, minimum) < 0) sum = minimum;
  }
  if (tariff.cap !== undefined) {
    const cap = money(tariff.cap, currency);
    if (compare(sum, cap) > 0) sum = cap;
  }
  return round(sum, tariff.rounding ?? "half-up");
}
