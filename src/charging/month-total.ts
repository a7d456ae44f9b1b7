import type { Entry, MonthTotal } from "./billing-store.ts";
import { add, formatAmount, type Money, money } from "./money.ts";

export function noTotal(service: string, currency: string): MonthTotal {
  return { service, currency, sessions: 0, durationMs: 0, timeAmount: "0", charges: 0, itemAmount: "0" };
}

/** The sum with one entry more; for adapters of the store, which keep it. */
export function addToTotal(total: MonthTotal, entry: Entry): MonthTotal {
  if (entry.kind === "item") {
    return { ...total, charges: total.charges + 1, itemAmount: sum(total.itemAmount, entry) };
  }
  if (entry.kind === "correction") {
    const name = entry.of === "time" ? "timeCorrection" : "itemCorrection";
    return { ...total, corrections: (total.corrections ?? 0) + 1, [name]: sum(total[name] ?? "0", entry) };
  }
  const { sessions, durationMs } = total;
  const timeAmount = entry.currency === "" ? total.timeAmount : sum(total.timeAmount, entry);
  return { ...total, sessions: sessions + 1, durationMs: durationMs + entry.durationMs, timeAmount };
}

/** What a user's entries come to: time, items and corrections of both. Only where there is a currency. */
export function sumOf({ currency, timeAmount, itemAmount, timeCorrection, itemCorrection }: MonthTotal): Money {
  let all = add(money(timeAmount, currency), money(itemAmount, currency));
  for (const correction of [timeCorrection, itemCorrection]) {
    if (correction !== undefined) all = add(all, money(correction, currency));
  }
  return all;
}

function sum(amount: string, { amount: more, currency }: Entry): string {
  return formatAmount(add(money(amount, currency), money(more, currency)));
}
