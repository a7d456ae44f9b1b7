import type { ChargingEvent, SessionFacts } from "../../src/charging/events/events.ts";
import type { Tariff } from "../../src/charging/money/tariff.ts";
import type { Terms } from "../../src/charging/money/terms.ts";

/*
 * What the README says of tariffs, taxes, prepaid users and settlements, worked out a second time: with fractions, from
 * the story and not from the events, and with none of the code that bills. Whoever changes the one must change the
 * other, and say so in the README.
 */

/** n / d, d above zero. */
export interface Fraction {
  readonly n: bigint;
  readonly d: bigint;
}

export const fraction = (text: string): Fraction => {
  const [, sign, whole, decimals = ""] = /^(-?)(\d+)(?:\.(\d+))?$/.exec(text)!;
  return { n: BigInt(`${sign}${whole}${decimals}`), d: 10n ** BigInt(decimals.length) };
};
const ZERO: Fraction = { n: 0n, d: 1n };
const plus = (a: Fraction, b: Fraction): Fraction => ({ n: a.n * b.d + b.n * a.d, d: a.d * b.d });
const times = (a: Fraction, b: Fraction): Fraction => ({ n: a.n * b.n, d: a.d * b.d });
const minus = (a: Fraction, b: Fraction): Fraction => plus(a, times(b, { n: -1n, d: 1n }));
const divided = (a: Fraction, b: Fraction): Fraction => ({ n: a.n * b.d, d: a.d * b.n });
const isLess = (a: Fraction, b: Fraction): boolean => a.n * b.d < b.n * a.d;
const total = (all: readonly Fraction[]): Fraction => all.reduce(plus, ZERO);
const HUNDRED = fraction("100");

const DIGITS: Readonly<Record<string, number>> = { EUR: 2, JPY: 0, KWD: 3, CLF: 4 };

/** To whole minor units, as a number of them. */
function units(a: Fraction, currency: string, mode: NonNullable<Tariff["rounding"]> = "half-up"): bigint {
  const shifted = { n: a.n * 10n ** BigInt(DIGITS[currency]!), d: a.d };
  const size = shifted.n < 0n ? -shifted.n : shifted.n;
  const [whole, rest] = [size / shifted.d, size % shifted.d];
  const half = rest * 2n - shifted.d;
  const goesUp =
    mode === "up"
      ? rest > 0n
      : mode === "down"
        ? false
        : half > 0n || (half === 0n && (mode === "half-up" || whole % 2n === 1n));
  const result = goesUp ? whole + 1n : whole;
  return shifted.n < 0n ? -result : result;
}

const rounded = (a: Fraction, currency: string, mode?: Tariff["rounding"]): Fraction => ({
  n: units(a, currency, mode),
  d: 10n ** BigInt(DIGITS[currency]!),
});

/** Whole minor units as the currency is written. */
export function written(minor: bigint, currency: string): string {
  const digits = DIGITS[currency]!;
  const text = (minor < 0n ? -minor : minor).toString().padStart(digits + 1, "0");
  const point = text.length - digits;
  return `${minor < 0n ? "-" : ""}${text.slice(0, point)}${digits > 0 ? "." : ""}${text.slice(point)}`;
}

/** A line on a bill as the story has it. */
export interface Line {
  readonly kind: "time" | "item";
  readonly user: string;
  readonly appServer: string;
  readonly session: string;
  readonly month: string;
  readonly currency: string;
  readonly amount: Fraction;
  readonly terms: Terms | undefined;
  readonly prepaid: boolean;
}

export interface Part {
  readonly facts: Omit<SessionFacts, "used">;
  readonly startedAt: number;
  readonly endedAt: number;
  readonly charges: readonly { readonly event: ChargingEvent & { readonly type: "charge.made" } }[];
}

const monthAt = (at: number): string => new Date(at).toISOString().slice(0, 7);

/**
 * The lines of one call: a tariff's set-up fee, free seconds, minimum, cap and rounding are there once in it, its
 * increments in each part.
 */
export function linesOf(parts: readonly Part[]): Line[] {
  const lines: Line[] = [];
  const used = new Map<string, { freeMs: bigint; increments: bigint; chargedMs: bigint }>();
  for (const { facts, startedAt, endedAt, charges } of parts) {
    const { user, appServer, id: session, tariff, terms, hold } = facts;
    const base = { user, appServer, session, prepaid: hold !== undefined };
    if (tariff) {
      const before = used.get(tariff.id);
      const freeMs = BigInt(Math.round((tariff.freeS ?? 0) * 1000));
      const incrementMs = BigInt(Math.round((tariff.incrementS ?? 60) * 1000));
      const lasted = BigInt(endedAt - startedAt);
      const left = freeMs - (before?.freeMs ?? 0n);
      const free = lasted < left ? lasted : left;
      const beyond = lasted - free;
      const now = {
        freeMs: (before?.freeMs ?? 0n) + free,
        increments: (before?.increments ?? 0n) + (beyond + incrementMs - 1n) / incrementMs,
        chargedMs: (before?.chargedMs ?? 0n) + beyond,
      };
      used.set(tariff.id, now);
      const cost = (use: typeof now): Fraction => {
        const price = times(fraction(tariff.price ?? "0"), { n: use.increments, d: 1n });
        let sum = plus(fraction(tariff.setupFee ?? "0"), price);
        const least = fraction(tariff.minimum ?? "0");
        if ((use.chargedMs > 0n || freeMs === 0n) && isLess(sum, least)) sum = least;
        if (tariff.cap !== undefined && isLess(fraction(tariff.cap), sum)) sum = fraction(tariff.cap);
        return rounded(sum, tariff.currency, tariff.rounding);
      };
      const amount = before ? minus(cost(now), cost(before)) : cost(now);
      lines.push({ kind: "time", ...base, month: monthAt(startedAt), currency: tariff.currency, amount, terms });
    } else lines.push({ kind: "time", ...base, month: monthAt(startedAt), currency: "", amount: ZERO, terms });
    for (const { event } of charges) {
      const { unitPrice, quantity, currency } = event.charge;
      const amount = times(fraction(unitPrice), fraction(quantity));
      lines.push({ kind: "item", ...base, month: monthAt(event.at), currency, amount, terms: event.session.terms });
    }
  }
  return lines;
}

const grouped = <T>(all: readonly T[], key: (one: T) => string): T[][] => {
  const groups = new Map<string, T[]>();
  for (const one of all) groups.set(key(one), [...(groups.get(key(one)) ?? []), one]);
  return [...groups.values()];
};

/** What is due for lines in one currency that are rounded together (EN 16931). */
function dueTogether(lines: readonly Line[], currency: string): bigint {
  let due = 0n;
  const onTop = new Map<string, Fraction>();
  for (const same of grouped(lines, ({ terms }) => JSON.stringify(terms?.taxes ?? []))) {
    const taxes = same[0]!.terms?.taxes ?? [];
    const gross = rounded(total(same.map(({ amount }) => amount)), currency);
    const rates = total(taxes.filter(({ included }) => included).map(({ rate }) => fraction(rate)));
    const contained = taxes
      .filter(({ included }) => included)
      .map(({ rate }) => rounded(divided(times(gross, fraction(rate)), plus(HUNDRED, rates)), currency));
    const net = minus(gross, total(contained));
    due += units(gross, currency);
    for (const tax of taxes)
      if (!tax.included) {
        const key = JSON.stringify(tax);
        onTop.set(key, plus(onTop.get(key) ?? ZERO, divided(times(net, fraction(tax.rate)), HUNDRED)));
      }
  }
  for (const amount of onTop.values()) due += units(amount, currency);
  return due;
}

/** What is due on a user's bill of a month, by currency: prepaid sessions are rounded each by itself. */
export function dues(lines: readonly Line[]): Record<string, string> {
  const charged = lines.filter(({ currency }) => currency !== "");
  const found: [string, string][] = grouped(charged, ({ currency }) => currency).map((same) => {
    const { currency } = same[0]!;
    const together = grouped(same, ({ prepaid, session }) => (prepaid ? session : ""));
    return [
      currency,
      written(
        together.reduce((sum, some) => sum + dueTogether(some, currency), 0n),
        currency,
      ),
    ];
  });
  return Object.fromEntries(found.sort());
}

/** What an app server is owed for a month, by currency. */
export function settled(lines: readonly Line[]): Record<string, string> {
  const owed = new Map<string, Fraction>();
  const owe = (currency: string, amount: Fraction) => owed.set(currency, plus(owed.get(currency) ?? ZERO, amount));
  for (const { kind, currency, amount, terms } of lines) {
    const part = kind === "item" ? amount : divided(times(amount, fraction(terms?.timeShare ?? "0")), HUNDRED);
    if (currency !== "")
      owe(currency, minus(part, divided(times(part, fraction(terms?.fee?.percent ?? "0")), HUNDRED)));
    const { perSession, currency: feeCurrency } = terms?.fee ?? {};
    if (kind === "time" && perSession !== undefined) owe(feeCurrency!, minus(ZERO, fraction(perSession)));
  }
  return Object.fromEntries(
    [...owed].map(([currency, sum]) => [currency, written(units(sum, currency), currency)]).sort() as [
      string,
      string,
    ][],
  );
}
