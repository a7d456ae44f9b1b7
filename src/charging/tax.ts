import { z } from "zod";
import type { MonthTotal } from "./billing-store.ts";
import { minorDigits } from "./currency.ts";
import { formatAmount, type Money, money } from "./money.ts";
import { sumOf } from "./month-total.ts";

/** A tax as the operator configures it. */
export interface Tax {
  readonly id: string;
  readonly title?: string;
  /** Percent, exact decimal. */
  readonly rate: string;
  /** On these services only; default: on everything. */
  readonly services?: readonly string[];
  /** True: prices contain it. False: it comes on top of them. */
  readonly included: boolean;
}

const percent = z.string().regex(/^\d{1,3}(\.\d{1,6})?$/, 'a percentage in quotes, such as "19" or "7.7"');

export const taxSchema = z.strictObject({
  id: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._~+-]{0,63}$/, "an id of letters, digits and . _ ~ + -"),
  title: z.string().min(1).max(100).exactOptional(),
  rate: percent,
  services: z.array(z.string().min(1).max(64)).min(1, "the ids of services, at least one").exactOptional(),
  included: z.boolean().default(false),
}) satisfies z.ZodType<Tax>;

/** One tax on one bill in one currency. */
export interface TaxLine {
  readonly tax: string;
  readonly title?: string;
  readonly rate: string;
  readonly included: boolean;
  readonly currency: string;
  /** What it is taken of: the price without any tax, rounded half up to the minor unit to be shown. */
  readonly net: string;
  /** Worked out from the exact net and rounded half up to the minor unit, once for each tax and currency. */
  readonly amount: string;
}

/** An exact quotient: taxes that prices contain are no finite decimals. */
interface Fraction {
  readonly numerator: bigint;
  readonly denominator: bigint;
}

const NOTHING: Fraction = { numerator: 0n, denominator: 1n };

/**
 * The taxes on a month's sums, in the order in which they are configured, then by currency. Every tax is taken of the net price: where
 * prices contain taxes, of price × 100 / (100 + the rates that they contain).
 */
export function taxLines(sums: readonly MonthTotal[], taxes: readonly Tax[]): TaxLine[] {
  const lines: TaxLine[] = [];
  for (const tax of taxes) {
    const nets = new Map<string, Fraction>();
    for (const sum of sums) {
      if (sum.currency === "" || !appliesTo(tax, sum.service)) continue;
      const { currency } = sum;
      nets.set(currency, plus(nets.get(currency) ?? NOTHING, net(sumOf(sum), contained(sum.service, taxes))));
    }
    for (const [currency, of] of [...nets].sort(([a], [b]) => (a < b ? -1 : 1))) {
      lines.push({
        tax: tax.id,
        ...(tax.title !== undefined && { title: tax.title }),
        rate: tax.rate,
        included: tax.included,
        currency,
        net: formatAmount(rounded(of, currency)),
        amount: formatAmount(rounded(percentOf(of, tax.rate), currency)),
      });
    }
  }
  return lines;
}

const appliesTo = ({ services }: Tax, service: string): boolean => services === undefined || services.includes(service);

/** The rates that a service's prices contain, together, as a number of 10^-6 percent. */
function contained(service: string, taxes: readonly Tax[]): bigint {
  let all = 0n;
  for (const tax of taxes) if (tax.included && appliesTo(tax, service)) all += millionths(tax.rate);
  return all;
}

const HUNDRED = 100_000_000n;

function millionths(rate: string): bigint {
  const [whole, fraction = ""] = rate.split(".");
  return BigInt(whole! + fraction.padEnd(6, "0"));
}

function net({ units, scale }: Money, rates: bigint): Fraction {
  const denominator = 10n ** BigInt(scale);
  if (rates === 0n) return { numerator: units, denominator };
  return { numerator: units * HUNDRED, denominator: denominator * (HUNDRED + rates) };
}

function percentOf({ numerator, denominator }: Fraction, rate: string): Fraction {
  return { numerator: numerator * millionths(rate), denominator: denominator * HUNDRED };
}

function plus(a: Fraction, b: Fraction): Fraction {
  return {
    numerator: a.numerator * b.denominator + b.numerator * a.denominator,
    denominator: a.denominator * b.denominator,
  };
}

/** Half up: a half goes away from zero, as `round` has it. */
function rounded({ numerator, denominator }: Fraction, currency: string): Money {
  const scale = minorDigits(currency);
  const negative = numerator < 0n;
  const minor = (negative ? -numerator : numerator) * 10n ** BigInt(scale);
  const units = (2n * minor + denominator) / (2n * denominator);
  return { units: negative ? -units : units, scale, currency };
}

/** The sum of the taxes that come on top of the charges in this currency. */
export function addedTax(lines: readonly TaxLine[], currency: string): Money {
  let units = 0n;
  for (const line of lines) {
    if (!line.included && line.currency === currency) units += money(line.amount, currency).units;
  }
  return { units, scale: minorDigits(currency), currency };
}
