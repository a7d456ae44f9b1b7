import { err, ok, type Result } from "../../support/result.ts";
import { isCurrency, minorDigits } from "./currency.ts";

/** Exact money: `units` × 10^-`scale` of an ISO 4217 currency. Never a float (decision 10). */
export interface Money {
  readonly units: bigint;
  readonly scale: number;
  readonly currency: string;
}

/**
 * How a sum is rounded to the minor unit. `half-up`: halves away from zero. `half-even`: halves to the even neighbour.
 * `up`: away from zero. `down`: towards zero.
 */
export type Rounding = "half-up" | "half-even" | "up" | "down";

/** A number that is written out in decimals: `units` × 10^-`scale`. */
interface Decimal {
  readonly units: bigint;
  readonly scale: number;
}

/**
 * Most digits before the point, and after it, that are read: more than any sum or share of amounts that `fitsBill` has.
 */
const MAX_DIGITS = 60;
const DECIMAL = /^(-?)(\d{1,60})(?:\.(\d{1,60}))?$/;

const POWERS: readonly bigint[] = Array.from({ length: MAX_DIGITS + 1 }, (_, n) => 10n ** BigInt(n));

function power(digits: number): bigint {
  return POWERS[digits] ?? 10n ** BigInt(digits);
}

function parseDecimal(text: string): Decimal | undefined {
  if (text.length > 2 * MAX_DIGITS + 2) return undefined;
  const parts = DECIMAL.exec(text);
  if (!parts) return undefined;
  const fraction = parts[3] ?? "";
  const units = BigInt(parts[2]! + fraction);
  return { units: parts[1] === "-" ? -units : units, scale: fraction.length };
}

/**
 * Whether a text is a decimal number without a sign, such as "12.50", with at most `digits` before the point and
 * `decimals` after it.
 */
export function isDecimal(text: string, digits: number, decimals: number): boolean {
  const { length } = text;
  if (length > digits + 1 + decimals) return false;
  let point = length;
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i);
    if (code >= 0x30 && code <= 0x39) continue;
    if (code !== 0x2e || point < length) return false;
    point = i;
  }
  if (point === length) return length > 0 && length <= digits;
  return point > 0 && point <= digits && point < length - 1 && length - point - 1 <= decimals;
}

/** Digits of an amount that a person writes: an operator's correction, a price. */
export const AMOUNT_DIGITS = 12;
export const AMOUNT_DECIMALS = 6;

/**
 * Reads an amount that somebody has written, such as "12.50" or "-5". No exponent, no plus sign, no grouping, at most
 * 12 digits before the point and 6 after it. The error says what was expected.
 */
export function parseMoney(text: string, currency: string): Result<Money, string> {
  if (!isCurrency(currency))
    return err(`currency must be an ISO 4217 code such as EUR, is ${JSON.stringify(currency)}`);
  const digits = text.startsWith("-") ? text.slice(1) : text;
  if (isDecimal(digits, AMOUNT_DIGITS, AMOUNT_DECIMALS)) return ok(money(text, currency));
  const isLong = isDecimal(digits, MAX_DIGITS, MAX_DIGITS) || /^\d+(\.\d+)?$/.test(digits);
  const expected = isLong ? `at most ${AMOUNT_DIGITS} digits and ${AMOUNT_DECIMALS} decimals` : 'such as "0.25"';
  const shown = text.length > 60 ? `${text.slice(0, 57)}...` : text;
  return err(`an amount must be a decimal number ${isLong ? "of " : ""}${expected}, is ${JSON.stringify(shown)}`);
}

/** Reads an amount that was checked before, or that `formatAmount` wrote; throws on anything else. */
export function money(text: string, currency: string): Money {
  const decimal = parseDecimal(text);
  if (!decimal) throw new RangeError(`an amount must be a decimal number such as "0.25", is ${JSON.stringify(text)}`);
  if (!isCurrency(currency)) throw new RangeError(`currency must be an ISO 4217 code, is ${JSON.stringify(currency)}`);
  return { units: decimal.units, scale: decimal.scale, currency };
}

/** Digits before the point in one line of a bill. */
export const BILL_DIGITS = 15;
const BILL_DECIMALS = 2 * AMOUNT_DECIMALS;

/**
 * Whether one line of a bill can have this amount: less than 10^15, with at most 12 decimals. Sums, shares and taxes of
 * such lines can always be written and read again.
 */
export function fitsBill({ units, scale }: Money): boolean {
  return scale <= BILL_DECIMALS && (units < 0n ? -units : units) < power(BILL_DIGITS + scale);
}

/**
 * Below, at or above 0 as the one decimal string is less than, equal to or more than the other. Throws on any other
 * text.
 */
export function compareDecimals(a: string, b: string): number {
  const [left, right] = [parseDecimal(a), parseDecimal(b)];
  if (!left || !right) throw new RangeError(`expected decimal numbers; found ${JSON.stringify([a, b])}`);
  const scale = Math.max(left.scale, right.scale);
  const rest = unitsAt(left, scale) - unitsAt(right, scale);
  return rest < 0n ? -1 : rest > 0n ? 1 : 0;
}

export function zero(currency: string): Money {
  return { units: 0n, scale: 0, currency };
}

/** The exact sum. Throws where the currencies differ: the caller must have checked. */
export function add(a: Money, b: Money): Money {
  sameCurrency(a, b);
  if (a.scale === b.scale) return { units: a.units + b.units, scale: a.scale, currency: a.currency };
  const scale = Math.max(a.scale, b.scale);
  return { units: unitsAt(a, scale) + unitsAt(b, scale), scale, currency: a.currency };
}

/** The exact difference. Throws as `add` does. */
export function subtract(a: Money, b: Money): Money {
  return add(a, { units: -b.units, scale: b.scale, currency: b.currency });
}

/** The exact product with a quantity: a decimal string ("0.75") or a whole number. Throws on any other text. */
export function multiply(a: Money, quantity: string | bigint): Money {
  if (typeof quantity === "bigint") return { units: a.units * quantity, scale: a.scale, currency: a.currency };
  const factor = parseDecimal(quantity);
  if (!factor) throw new RangeError(`a quantity must be a decimal number, is ${JSON.stringify(quantity)}`);
  return { units: a.units * factor.units, scale: a.scale + factor.scale, currency: a.currency };
}

/** Below, at or above 0 as `a` is less than, equal to or more than `b`. Throws where the currencies differ. */
export function compare(a: Money, b: Money): number {
  sameCurrency(a, b);
  const scale = Math.max(a.scale, b.scale);
  const left = unitsAt(a, scale);
  const right = unitsAt(b, scale);
  return left < right ? -1 : left > right ? 1 : 0;
}

/** Rounds an amount to the currency's minor unit (ISO 4217). An amount with fewer decimals gets zeros. */
export function round(a: Money, rounding: Rounding): Money {
  const scale = minorDigits(a.currency);
  if (a.scale <= scale) return { units: unitsAt(a, scale), scale, currency: a.currency };
  const divisor = power(a.scale - scale);
  const down = a.units / divisor; // bigint division cuts towards zero
  const rest = a.units % divisor;
  const away = rest !== 0n && goesAway(down, rest < 0n ? -rest : rest, divisor, rounding);
  const step = a.units < 0n ? -1n : 1n;
  return { units: away ? down + step : down, scale, currency: a.currency };
}

function goesAway(down: bigint, rest: bigint, divisor: bigint, rounding: Rounding): boolean {
  if (rounding === "up") return true;
  if (rounding === "down") return false;
  const twice = rest * 2n;
  if (twice !== divisor) return twice > divisor;
  return rounding === "half-up" || down % 2n !== 0n;
}

/**
 * The amount as a decimal string without the currency: exact, with at least the decimals of the minor unit ("2.50",
 * "0.0125").
 */
export function formatAmount(a: Money): string {
  let { units, scale } = a;
  const least = minorDigits(a.currency);
  while (scale > least && units % 10n === 0n) {
    units /= 10n;
    scale--;
  }
  if (scale < least) {
    units *= power(least - scale);
    scale = least;
  }
  if (scale === 0) return units.toString();
  const negative = units < 0n;
  const digits = (negative ? -units : units).toString().padStart(scale + 1, "0");
  const point = digits.length - scale;
  return `${negative ? "-" : ""}${digits.slice(0, point)}.${digits.slice(point)}`;
}

/** The amount and its currency: "2.50 EUR". */
export function formatMoney(a: Money): string {
  return `${formatAmount(a)} ${a.currency}`;
}

function unitsAt(a: Decimal, scale: number): bigint {
  return scale === a.scale ? a.units : a.units * power(scale - a.scale);
}

function sameCurrency(a: Money, b: Money): void {
  if (a.currency !== b.currency) throw new RangeError(`${a.currency} and ${b.currency} cannot be counted together`);
}
