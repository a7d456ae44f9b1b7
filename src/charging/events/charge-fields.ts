import { BILL_DIGITS, compareDecimals, fitsBill, type Money, money, multiply } from "../money/money.ts";
import { type Check, type Checks, currency, decimal, label, quote } from "./field-checks.ts";

/** One thing that the app server charges (M14-M18). Amounts are decimal strings. */
export interface Charge {
  /** The app server's own id: the same id within a session charges once. */
  readonly id: string;
  readonly item: string;
  readonly unitPrice: string;
  /** Decimal string too ("0.75" kg); default "1". */
  readonly quantity: string;
  readonly currency: string;
}

/** What each field of a charge may hold, whichever way it came. Mistakes are reported in this order. */
export const CHARGE_FIELDS: Checks<Charge> = {
  id: label(128),
  item: label(200),
  unitPrice: decimal(12, 6),
  quantity: aboveZero(decimal(9, 6, "above 0")),
  currency,
};

const NAMES = Object.keys(CHARGE_FIELDS) as (keyof Charge)[];

/** What is wrong with a charge; undefined: it can be billed. */
export function chargeProblem(charge: { readonly [K in keyof Charge]?: unknown }): string | undefined {
  for (const name of NAMES) {
    const problem = CHARGE_FIELDS[name](charge[name]);
    if (problem !== undefined) return `${name} ${problem}`;
  }
  const { unitPrice, quantity } = charge as Charge;
  if (digitsOf(unitPrice) + digitsOf(quantity) <= BILL_DIGITS || fitsBill(chargeAmount(charge as Charge)))
    return undefined;
  return "unitPrice by quantity is more than can be on a bill";
}

/** Digits before the point. */
function digitsOf(decimal: string): number {
  const point = decimal.indexOf(".");
  return point < 0 ? decimal.length : point;
}

function aboveZero(check: Check): Check {
  return (value) =>
    check(value) ??
    (/[1-9]/.test(value as string) ? undefined : `must be a decimal number above 0, is ${quote(value)}`);
}

/** What a charge comes to: unit price × quantity, exact. */
export function chargeAmount(charge: Charge): Money {
  return multiply(money(charge.unitPrice, charge.currency), charge.quantity);
}

/**
 * The key of a charge within its session: the app server's id, without spaces around it, since only some formats keep
 * them, and in Unicode's normal form (NFC).
 */
export const chargeKey = (id: string): string => id.trim().normalize();

/**
 * Whether two charges say the same, however they are written. Numbers are compared as numbers, text without regard to
 * repeated spaces and to forms of Unicode.
 */
export function isSameCharge(a: Charge, b: Charge): boolean {
  if (a.currency !== b.currency || !isSameText(a.item, b.item)) return false;
  return isSameNumber(a.unitPrice, b.unitPrice) && isSameNumber(a.quantity, b.quantity);
}

/** Gives the same text for charges that are the same by `isSameCharge`. */
export const chargesAsText = (charges: readonly Charge[]): string =>
  JSON.stringify(
    charges.map(({ id, item, unitPrice, quantity, currency }) => {
      const numbers = [unitPrice, quantity].map(plainNumber);
      return [chargeKey(id), plain(item), ...numbers, currency];
    }),
  );

const plainNumber = (text: string): string =>
  text.includes(".") ? text.replace(/^0+(?=\d)|\.?0+$/g, "") : text.replace(/^0+(?=\d)/, "");

export const isSameNumber = (a: string, b: string): boolean => a === b || compareDecimals(a, b) === 0;

const isSameText = (a: string, b: string): boolean => a === b || plain(a) === plain(b);

const plain = (text: string): string => text.normalize().trim().replace(/\s+/g, " ");
