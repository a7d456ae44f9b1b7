import type { Entry, MonthTotal } from "./billing-store.ts";
import { add, formatAmount, money } from "./money.ts";

export function noTotal(service: string, currency: string): MonthTotal {
  return { service, currency, sessions: 0, durationMs: 0, timeAmount: "0", charges: 0, itemAmount: "0" };
}

/** The sum with one entry more; for adapters of the store, which keep it. */
export function addToTotal(total: MonthTotal, entry: Entry): MonthTotal {
  if (entry.kind === "item") {
    return { ...total, charges: total.charges + 1, itemAmount: sum(total.itemAmount, entry) };
  }
  const { sessions, durationMs } = total;
  const timeAmount = entry.currency === "" ? total.timeAmount : sum(total.timeAmount, entry);
  return { ...total, sessions: sessions + 1, durationMs: durationMs + entry.durationMs, timeAmount };
}

function sum(amount: string, { amount: more, currency }: Entry): string {
  return formatAmount(add(money(amount, currency), money(more, currency)));
}
