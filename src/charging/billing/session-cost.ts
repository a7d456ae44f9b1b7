import { type Micros, type MonthCost, micros } from "../credit/store.ts";
import type { Money } from "../money/money.ts";
import { monthOf, monthSpan } from "../money/months.ts";
import { TaxedSums } from "../money/tax.ts";
import type { AppliedTax } from "../money/terms.ts";

/**
 * What a prepaid session costs, as on the bill: its time and charges with their taxes, rounded once for the session in
 * each month whose bill has some of it. It is used to work out what to hold, when the money is used up, and what to
 * take in the end.
 */
export class SessionCost {
  readonly currency: string;
  private readonly sums: TaxedSums;

  /** Begins with a copy of what is in `from`. */
  constructor(currency: string, from?: SessionCost) {
    this.currency = currency;
    this.sums = new TaxedSums(from?.sums);
  }

  /** Adds an amount in the balance's currency. `at` is the time on its line of the bill. */
  add(amount: Money, taxes: readonly AppliedTax[] | undefined, at: number): this {
    this.sums.add(amount, taxes, monthOf(at));
    return this;
  }

  /** The cost in all months together. */
  get total(): Micros {
    return micros(this.sums.due(this.currency));
  }

  /** The cost for each month. It is booked at `endedAt`, or at the moment of that month nearest to it. */
  totals(endedAt: number): MonthCost[] {
    return [...this.sums.dues(this.currency)].map(([month, due]) => {
      const { from, to } = monthSpan(month);
      return { amount: micros(due), at: Math.max(from, Math.min(endedAt, to - 1)) };
    });
  }
}
