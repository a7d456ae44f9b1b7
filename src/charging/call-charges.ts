import type { ChargeBook } from "./charge-book.ts";
import { add, type Money, zero } from "./money.ts";

/** The books of all parts of one call (M20-M24), for the limits of a service, which count over those in which it was asked for. */
export class CallCharges {
  private readonly books: ChargeBook[] = [];

  add(book: ChargeBook): void {
    this.books.push(book);
  }

  /** What was charged in this service and currency. */
  sum(service: string, currency: string): Money {
    let sum = zero(currency);
    for (const { facts, total } of this.books)
      if (facts.service === service && total?.currency === currency) sum = add(sum, total);
    return sum;
  }

  /** How many charges were made in this service. */
  count(service: string): number {
    let count = 0;
    for (const { facts, size } of this.books) if (facts.service === service) count += size;
    return count;
  }
}
