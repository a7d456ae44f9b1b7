import { z } from "zod";
import { minorDigits } from "./currency.ts";
import { add, formatAmount, type Money, round, zero } from "./money.ts";
import { type AppliedTax, RATE } from "./terms.ts";

/** A tax as the operator configures it. */
export interface Tax extends AppliedTax {
  /** The tax is on these services only; default: on all. */
  readonly services?: readonly string[];
}

export const taxSchema = z.strictObject({
  id: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._~+-]{0,63}$/, "an id of letters, digits and . _ ~ + -"),
  title: z
    .string()
    .min(1)
    .max(100)
    .regex(/^(?=.*\S)[^\p{Cc}\p{Cs}\u2028\u2029]+$/u, "text on one line")
    .exactOptional(),
  rate: z
    .string()
    .regex(RATE, 'a percentage in quotes, such as "19" or "7.7"')
    .refine((rate) => !RATE.test(rate) || Number(rate) <= 100, "a percentage of 100 at most"),
  services: z.array(z.string().min(1).max(64)).min(1, "the ids of services, at least one").exactOptional(),
  included: z.boolean().default(false),
}) satisfies z.ZodType<Tax>;

/** The taxes on a service, in the form that entries have; undefined: none. */
export function taxesOn(service: string, taxes: readonly Tax[]): readonly AppliedTax[] | undefined {
  const on = taxes.filter(({ services }) => services === undefined || services.includes(service));
  if (on.length === 0) return undefined;
  return on.map(({ id, title, rate, included }) => ({ id, ...(title !== undefined && { title }), rate, included }));
}

/** One tax on one bill in one currency. */
export interface TaxLine {
  readonly tax: string;
  readonly title?: string;
  readonly rate: string;
  readonly included: boolean;
  readonly currency: string;
  /** The price without any tax, from which the tax is worked out; in minor units. */
  readonly net: string;
  readonly amount: string;
}

/** What charges of one currency come to. */
export interface Payable {
  readonly currency: string;
  /** What was charged, exact. */
  readonly charged: Money;
  /** `net`: the prices without any tax. `added`: the taxes that are added to the prices. Both in minor units. */
  readonly net: Money;
  readonly added: Money;
  /** What is to be paid: `net` and all `taxes` together. */
  readonly due: Money;
  readonly taxes: readonly TaxLine[];
}

/** Charges that are rounded together and have the same taxes. */
interface Part {
  readonly currency: string;
  readonly taxes: readonly AppliedTax[];
  readonly within: string;
  sum: Money;
}

const NO_TAXES: readonly AppliedTax[] = [];
const textOf = new WeakMap<readonly AppliedTax[], string>();

/** The same text for the same taxes. */
function keyOf(taxes: readonly AppliedTax[]): string {
  let text = textOf.get(taxes);
  if (text === undefined) {
    text = JSON.stringify(taxes.map(({ id, title, rate, included }) => [id, title, rate, included]));
    textOf.set(taxes, text);
  }
  return text;
}

/**
 * Adds up charges exactly, and works out their sum with taxes as on a bill (EN 16931). The sum of charges with the same
 * taxes is rounded half up to the minor unit, once. Each tax that they contain is worked out from that sum and rounded;
 * the rest is the price without tax, so that both together are always what is paid. Each tax that is added is worked
 * out from the price without tax and rounded, once. Halves go away from zero.
 */
export class TaxedSums {
  private readonly parts = new Map<string, Part>();

  /** Begins with a copy of what is in `from`. */
  constructor(from?: TaxedSums) {
    if (from) for (const [key, part] of from.parts) this.parts.set(key, { ...part });
  }

  /** Adds an amount. What has the same `within` is rounded together; "" stands for the bill as a whole. */
  add(amount: Money, taxes: readonly AppliedTax[] = NO_TAXES, within = ""): this {
    const { currency } = amount;
    const key = taxes === NO_TAXES ? `${currency}\n${within}` : `${currency}\n${within}\n${keyOf(taxes)}`;
    const part = this.parts.get(key);
    if (part) part.sum = add(part.sum, amount);
    else this.parts.set(key, { currency, taxes, within, sum: amount });
    return this;
  }

  get currencies(): string[] {
    return [...new Set(Array.from(this.parts.values(), ({ currency }) => currency))];
  }

  /** By currency. */
  payable(): Payable[] {
    const all = new Map<string, Map<string, Part[]>>();
    for (const part of this.parts.values()) {
      const ofCurrency = all.get(part.currency) ?? new Map<string, Part[]>();
      all.set(part.currency, ofCurrency);
      const together = ofCurrency.get(part.within);
      if (together) together.push(part);
      else ofCurrency.set(part.within, [part]);
    }
    return [...all]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([currency, groups]) => {
        const sums = new Work(currency);
        for (const parts of groups.values()) sums.round(parts);
        return sums.result();
      });
  }

  /** By `within`: what each group that is rounded together comes to in that currency. */
  dues(currency: string): Map<string, Money> {
    const groups = new Map<string, Part[]>();
    for (const part of this.parts.values()) {
      if (part.currency !== currency) continue;
      const together = groups.get(part.within);
      if (together) together.push(part);
      else groups.set(part.within, [part]);
    }
    const dues = new Map<string, Money>();
    for (const [within, parts] of groups) {
      const work = new Work(currency);
      work.round(parts);
      dues.set(within, work.result().due);
    }
    return dues;
  }

  /** What is to be paid in that currency. */
  due(currency: string): Money {
    let sum = zero(currency);
    for (const due of this.dues(currency).values()) sum = add(sum, due);
    return sum;
  }
}

const HUNDRED = 100_000_000n;

/** A percentage as a whole number of millionths of a percent. */
function millionths(rate: string): bigint {
  const [whole, fraction = ""] = rate.split(".");
  return BigInt(whole! + fraction.padEnd(6, "0"));
}

/** Divides and rounds half up, so that halves go away from zero as in `round`. `divisor` is above zero. */
function divided(dividend: bigint, divisor: bigint): bigint {
  const units = (2n * (dividend < 0n ? -dividend : dividend) + divisor) / (2n * divisor);
  return dividend < 0n ? -units : units;
}

interface Line {
  readonly tax: AppliedTax;
  net: bigint;
  amount: bigint;
}

/** The calculation in minor units of one currency. */
class Work {
  private readonly currency: string;
  private charged: Money;
  private net = 0n;
  private added = 0n;
  private contained = 0n;
  private readonly lines = new Map<string, Line>();

  constructor(currency: string) {
    this.currency = currency;
    this.charged = zero(currency);
  }

  /** Adds charges that are rounded together. */
  round(parts: readonly Part[]): void {
    const onTop = new Map<string, Line>();
    for (const { sum, taxes } of parts) {
      this.charged = add(this.charged, sum);
      const gross = round(sum, "half-up").units;
      let rates = HUNDRED;
      for (const { included, rate } of taxes) if (included) rates += millionths(rate);
      let net = gross;
      const contained: Line[] = [];
      for (const tax of taxes) {
        if (!tax.included) continue;
        const line = lineOf(this.lines, tax);
        const amount = divided(gross * millionths(tax.rate), rates);
        line.amount += amount;
        net -= amount;
        contained.push(line);
      }
      for (const line of contained) line.net += net;
      for (const tax of taxes) if (!tax.included) lineOf(onTop, tax).net += net;
      this.net += net;
      this.contained += gross - net;
    }
    for (const { tax, net } of onTop.values()) {
      const line = lineOf(this.lines, tax);
      const amount = divided(net * millionths(tax.rate), HUNDRED);
      line.net += net;
      line.amount += amount;
      this.added += amount;
    }
  }

  result(): Payable {
    const { currency, charged } = this;
    return {
      currency,
      charged,
      net: this.money(this.net),
      added: this.money(this.added),
      due: this.money(this.net + this.contained + this.added),
      taxes: [...this.lines].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, line]) => this.line(line)),
    };
  }

  private line({ tax: { id, title, rate, included }, net, amount }: Line): TaxLine {
    return {
      tax: id,
      ...(title !== undefined && { title }),
      rate,
      included,
      currency: this.currency,
      net: formatAmount(this.money(net)),
      amount: formatAmount(this.money(amount)),
    };
  }

  private money(units: bigint): Money {
    return { units, scale: minorDigits(this.currency), currency: this.currency };
  }
}

function lineOf(lines: Map<string, Line>, tax: AppliedTax): Line {
  const key = JSON.stringify([tax.id, tax.rate, tax.included, tax.title]);
  let line = lines.get(key);
  if (!line) {
    line = { tax, net: 0n, amount: 0n };
    lines.set(key, line);
  }
  return line;
}
