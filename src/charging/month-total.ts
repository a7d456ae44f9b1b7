import type { Entry, MonthTotal } from "./billing-store.ts";
import { add, formatAmount, type Money, money } from "./money.ts";

export function noTotal(service: string, currency: string): MonthTotal {
  return { service, currency, sessions: 0, durationMs: 0, timeAmount: "0", charges: 0, itemAmount: "0" };
}

/** The sum with one entry more. */
export function addToTotal(total: MonthTotal, entry: Entry): MonthTotal {
  const growth = new Growth();
  growth.add(entry, amountOf(entry));
  return growth.of(total);
}

/** An entry's amount; undefined where time is free. */
export function amountOf({ kind, amount, currency }: Entry): Money | undefined {
  return kind === "time" && currency === "" ? undefined : money(amount, currency);
}

/** What entries of one service and currency add to a sum: for adapters of the store, which keep it, and write it once for many entries. */
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

  /** The sum with all of them. */
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

/** What a user's entries come to: time, items and corrections of both. Only where there is a currency. */
export function sumOf({ currency, timeAmount, itemAmount, timeCorrection, itemCorrection }: MonthTotal): Money {
  let all = add(money(timeAmount, currency), money(itemAmount, currency));
  for (const correction of [timeCorrection, itemCorrection]) {
    if (correction !== undefined) all = add(all, money(correction, currency));
  }
  return all;
}
