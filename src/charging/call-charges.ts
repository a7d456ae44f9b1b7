import type { Entry } from "./billing-store.ts";
import type { ChargeBook } from "./charge-book.ts";
import { add, type Money, money, zero } from "./money.ts";

/** What was charged in all parts of one call (M20-M24), for the limits of a service, which count over those in which it was asked for. */
export interface CallTotals {
  /** What was charged in this service and currency. */
  sum(service: string, currency: string): Money;
  /** How many charges were made in this service. */
  count(service: string): number;
}

/** By the books of the parts, where the call runs or ran here. */
export class CallCharges implements CallTotals {
  private readonly books: ChargeBook[] = [];

  add(book: ChargeBook): void {
    if (this.books.includes(book)) return;
    this.books.push(book);
    book.joins(this);
  }

  sum(service: string, currency: string): Money {
    let sum = zero(currency);
    for (const { facts, total } of this.books)
      if (facts.service === service && total?.currency === currency) sum = add(sum, total);
    return sum;
  }

  count(service: string): number {
    let count = 0;
    for (const { facts, size } of this.books) if (facts.service === service) count += size;
    return count;
  }
}

/** By the book of one part, and by what is on the bill of the others. */
export class BilledCall implements CallTotals {
  private readonly book: ChargeBook;
  private readonly others: readonly Entry[];

  constructor(book: ChargeBook, others: readonly Entry[]) {
    this.book = book;
    this.others = others.filter(({ kind }) => kind === "item");
  }

  sum(service: string, currency: string): Money {
    const { facts, total } = this.book;
    let sum = facts.service === service && total?.currency === currency ? total : zero(currency);
    for (const entry of this.others)
      if (entry.service === service && entry.currency === currency) sum = add(sum, money(entry.amount, currency));
    return sum;
  }

  count(service: string): number {
    const own = this.book.facts.service === service ? this.book.size : 0;
    return own + this.others.filter((entry) => entry.service === service).length;
  }
}
