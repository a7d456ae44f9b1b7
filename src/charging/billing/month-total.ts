import { add, formatAmount, type Money, money } from "../money/money.ts";
import { type Terms, termsKey } from "../money/terms.ts";
import type { Entry, MonthTotal } from "./store.ts";

/** Whose sums. A user's sums are kept separately as bills need it, an app server's as settlements need it. */
export type Side = "user" | "appServer";

/** What all entries of one sum have in common. */
export type SumHead = Pick<MonthTotal, "service" | "currency" | "terms" | "prepaid">;

/** The sum to which an entry belongs. */
export function sumHead({ service, currency, terms, prepaid }: SumHead, side: Side): SumHead {
  const part = terms && ofSide(terms, side);
  if (side === "appServer" || !prepaid) return part ? { service, currency, terms: part } : { service, currency };
  return part ? { service, currency, terms: part, prepaid } : { service, currency, prepaid };
}

function ofSide({ taxes, fee, timeShare }: Terms, side: Side): Terms | undefined {
  if (side === "user") return taxes && { taxes };
  if (fee === undefined && timeShare === undefined) return undefined;
  return { ...(fee && { fee }), ...(timeShare !== undefined && { timeShare }) };
}

/** Key among the sums of one service and currency; "": no terms, and not prepaid. */
export const sumMark = ({ terms, prepaid }: SumHead): string => (prepaid ? "prepaid " : "") + termsKey(terms);

/** Key among the sums of one month. */
export const sumKey = (head: SumHead): string => `${head.service}\n${head.currency}\n${sumMark(head)}`;

export function noTotal(
  service: string,
  currency: string,
  { terms, prepaid }: Pick<SumHead, "terms" | "prepaid"> = {},
): MonthTotal {
  return {
    service,
    currency,
    ...(terms && { terms }),
    ...(prepaid && { prepaid }),
    sessions: 0,
    durationMs: 0,
    timeAmount: "0",
    charges: 0,
    itemAmount: "0",
  };
}

/** Adds up entries as the store does. */
export class Sums {
  private readonly side: Side;
  private readonly sums = new Map<string, MonthTotal>();

  /** `from`: sums to begin with. */
  constructor(side: Side, from: Iterable<MonthTotal> = []) {
    this.side = side;
    for (const sum of from) this.sums.set(sumKey(sum), sum);
  }

  add(entry: Entry): void {
    const head = sumHead(entry, this.side);
    const key = sumKey(head);
    this.sums.set(key, addToTotal(this.sums.get(key) ?? noTotal(head.service, head.currency, head), entry));
  }

  all(): MonthTotal[] {
    return [...this.sums.values()];
  }
}

/** Joins the sums of each service and currency, whatever their terms. */
export function withoutTerms(sums: readonly MonthTotal[]): MonthTotal[] {
  const all = new Map<string, MonthTotal>();
  for (const sum of sums) {
    const { terms: _terms, prepaid: _prepaid, ...plain } = sum;
    const key = `${sum.service}\n${sum.currency}`;
    const before = all.get(key);
    all.set(key, before ? together(before, plain) : plain);
  }
  return [...all.values()];
}

function together(a: MonthTotal, b: MonthTotal): MonthTotal {
  const { currency } = a;
  const plus = (x: string, y: string) =>
    currency === "" ? x : formatAmount(add(money(x, currency), money(y, currency)));
  const corrections = (a.corrections ?? 0) + (b.corrections ?? 0);
  const corrected = (name: "timeCorrection" | "itemCorrection") =>
    a[name] !== undefined || b[name] !== undefined ? { [name]: plus(a[name] ?? "0", b[name] ?? "0") } : {};
  return {
    ...a,
    sessions: a.sessions + b.sessions,
    durationMs: a.durationMs + b.durationMs,
    timeAmount: plus(a.timeAmount, b.timeAmount),
    charges: a.charges + b.charges,
    itemAmount: plus(a.itemAmount, b.itemAmount),
    ...(corrections > 0 && { corrections }),
    ...corrected("timeCorrection"),
    ...corrected("itemCorrection"),
  };
}

/** The sum with one more entry. */
export function addToTotal(total: MonthTotal, entry: Entry): MonthTotal {
  const growth = new Growth();
  growth.add(entry, amountOf(entry));
  return growth.of(total);
}

/** An entry's amount; undefined where time is free. */
export function amountOf({ kind, amount, currency }: Entry): Money | undefined {
  return kind === "time" && currency === "" ? undefined : money(amount, currency);
}

/**
 * What entries of one service and currency add to a sum. For adapters of the store: they write a sum once for many
 * entries.
 */
export class Growth {
  private sessions = 0;
  private durationMs = 0;
  private charges = 0;
  private corrections = 0;
  private readonly amounts = new Map<AmountName, Money>();

  /** `amount`: `amountOf(entry)`. */
  add(entry: Entry, amount: Money | undefined): void {
    if (entry.kind === "time") {
      this.sessions++;
      this.durationMs += entry.durationMs;
      if (amount) this.grow("timeAmount", amount);
    } else if (entry.kind === "item") {
      this.charges++;
      this.grow("itemAmount", amount!);
    } else {
      this.corrections++;
      this.grow(entry.of === "time" ? "timeCorrection" : "itemCorrection", amount!);
    }
  }

  private grow(name: AmountName, amount: Money): void {
    const before = this.amounts.get(name);
    this.amounts.set(name, before ? add(before, amount) : amount);
  }

  /** The sum with all entries added. */
  of(total: MonthTotal): MonthTotal {
    const { sessions, durationMs, charges, corrections } = this;
    const grown: { -readonly [K in keyof MonthTotal]: MonthTotal[K] } = {
      ...total,
      sessions: total.sessions + sessions,
      durationMs: total.durationMs + durationMs,
      charges: total.charges + charges,
    };
    if (corrections > 0) grown.corrections = (total.corrections ?? 0) + corrections;
    for (const [name, amount] of this.amounts)
      grown[name] = formatAmount(add(money(total[name] ?? "0", total.currency), amount));
    return grown;
  }
}

type AmountName = "timeAmount" | "itemAmount" | "timeCorrection" | "itemCorrection";

/** What a user's entries come to: time, items, and the corrections of both. Only for a sum with a currency. */
export function sumOf({ currency, timeAmount, itemAmount, timeCorrection, itemCorrection }: MonthTotal): Money {
  let all = add(money(timeAmount, currency), money(itemAmount, currency));
  for (const correction of [timeCorrection, itemCorrection]) {
    if (correction !== undefined) all = add(all, money(correction, currency));
  }
  return all;
}
