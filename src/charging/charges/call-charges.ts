import type { Entry } from "../billing/store.ts";
import type { SessionFacts } from "../events/events.ts";
import { add, formatAmount, type Money, money, zero } from "../money/money.ts";
import type { AppliedTax } from "../money/terms.ts";
import type { CallSum } from "./book-state.ts";

/**
 * What was charged in all parts of one call (M20-M24). A service's limits count over all parts that had this service.
 */
export interface CallTotals {
  /** What was charged in this service and currency. */
  sum(service: string, currency: string): Money;
  /** How many charges were made in this service. */
  count(service: string): number;
}

/** What a charge comes to, with the taxes and the time on its line of the bill. */
export interface Charged {
  readonly amount: Money;
  readonly taxes: readonly AppliedTax[] | undefined;
  readonly at: number;
}

/** What a call's totals need of the book of one part. */
export interface PartBook {
  readonly facts: Pick<SessionFacts, "id" | "service">;
  /** What was charged; undefined: nothing. */
  readonly total: Money | undefined;
  readonly size: number;
  /** The charges, with the taxes on each. */
  charged(): readonly Charged[];
  /** From now on these totals decide whether more may be charged in the book. */
  joins(call: CallTotals): void;
}

/** Totals from the books of the parts, where the call runs or ran here. */
export class CallCharges implements CallTotals {
  private readonly books: PartBook[] = [];
  /** Sums of parts that were over before this process began. */
  private readonly sums: readonly CallSum[];

  constructor(sums: readonly CallSum[] = []) {
    this.sums = sums;
  }

  /** The sessions that are parts of the call, whether anything was charged in them or not. */
  readonly sessions = new Set<string>();

  /** What was charged in the parts for which `isKept` says no. */
  sumsWithout(isKept: (session: string) => boolean): CallSum[] {
    const sums = [...this.sums];
    for (const { facts, total, size } of this.books)
      if (size > 0 && total && !isKept(facts.id)) {
        const { service } = facts;
        const { currency } = total;
        const at = sums.findIndex((one) => one.service === service && one.currency === currency);
        const before = sums[at];
        const amount = formatAmount(before ? add(money(before.amount, currency), total) : total);
        const sum = { service, currency, amount, count: size + (before?.count ?? 0) };
        if (before) sums[at] = sum;
        else sums.push(sum);
      }
    return sums;
  }

  /** The books by session. */
  get booksBySession(): ReadonlyMap<string, PartBook> {
    return new Map(this.books.map((book) => [book.facts.id, book]));
  }

  /** Adds a book. For each session only the last book counts. */
  add(book: PartBook): void {
    const at = this.books.findIndex(({ facts }) => facts.id === book.facts.id);
    if (at < 0) this.books.push(book);
    else this.books[at] = book;
    book.joins(this);
  }

  sum(service: string, currency: string): Money {
    let sum = zero(currency);
    for (const { facts, total } of this.books)
      if (facts.service === service && total?.currency === currency) sum = add(sum, total);
    for (const ended of this.sums)
      if (ended.service === service && ended.currency === currency) sum = add(sum, money(ended.amount, currency));
    return sum;
  }

  count(service: string): number {
    let count = 0;
    for (const ended of this.sums) if (ended.service === service) count += ended.count;
    for (const { facts, size } of this.books) if (facts.service === service) count += size;
    return count;
  }
}

/** Totals from the book of one part, and from the bill for the others. */
export class BilledCall implements CallTotals {
  private readonly book: PartBook;
  private readonly others: readonly Entry[];

  constructor(book: PartBook, others: readonly Entry[]) {
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
