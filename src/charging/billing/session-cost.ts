import { type Micros, type MonthCost, micros } from "../credit/store.ts";
import type { Money } from "../money/money.ts";
import { monthOf, monthSpan } from "../money/months.ts";
import { TaxedSums } from "../money/tax.ts";
import type { AppliedTax } from "../money/terms.ts";

/**
 * What a prepaid session costs, as the bill says it: its time and its charges with their taxes, rounded once for the
 * session and each month on whose bill some of it stands. What is held, when the money is used up, and what is taken
 * in the end are all worked out here.
 */
export class SessionCost {
  readonly currency: string;
  private readonly sums: TaxedSums;

  /** Begins with a copy of what is in `from`. */
  constructor(currency: string, from?: SessionCost) {
    this.currency = currency;
    this.sums = new TaxedSums(from?.sums);
  }

  /** Something in the balance's currency, at the time that stands on its line of the bill. */
  add(amount: Money, taxes: readonly AppliedTax[] | undefined, at: number): this {
    this.sums.add(amount, taxes, monthOf(at));
    return this;
  }

  /** Of whatever months. */
  get total(): Micros {
    return micros(this.sums.due(this.currency));
  }

  /** For each month; booked at `endedAt`, or at the end or the begin of the month that is nearest to it. */
  totals(endedAt: number): MonthCost[] {
    return [...this.sums.dues(this.currency)].map(([month, due]) => {
      const { from, to } = monthSpan(month);
      return { amount: micros(due), at: Math.max(from, Math.min(endedAt, to - 1)) };
    });
  }
}
