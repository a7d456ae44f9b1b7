import type { ChargeBook } from "../../charging/charges/book.ts";
import { costOfPart } from "../../charging/charges/call-parts.ts";
import type { SessionFacts } from "../../charging/events/events.ts";
import { add, formatAmount, type Money } from "../../charging/money/money.ts";

/** What is needed to say what a session cost, or has cost so far. */
export interface CostsOfSession {
  readonly facts: SessionFacts;
  readonly durationMs: number;
  /** Undefined: the app server has charged nothing. */
  readonly book: ChargeBook | undefined;
}

/**
 * What a session cost by its book, without taxes, one sum for each currency: `25.20 EUR`. Undefined: nothing. What the
 * app server charges later (M15) is not in it.
 */
export function costOfSession({ facts, durationMs, book }: CostsOfSession): string | undefined {
  const sums = new Map<string, Money>();
  for (const { amount } of costOfPart(facts, durationMs, book?.charged() ?? [])) {
    const before = sums.get(amount.currency);
    sums.set(amount.currency, before ? add(before, amount) : amount);
  }
  const some = [...sums.values()].filter(({ units }) => units !== 0n);
  return some.length === 0 ? undefined : some.map((sum) => `${formatAmount(sum)} ${sum.currency}`).join(" + ");
}
