import type { Database } from "lmdb";
import { Growth, noTotal, type Side, type SumHead, sumHead, sumMark } from "../charging/billing/month-total.ts";
import type { Entry, MonthTotal } from "../charging/billing/store.ts";
import type { Money } from "../charging/money/money.ts";

/** `true` sorts before every time, so the sums of a month lie in front of its entries, mostly in the same page. */
export type TotalKey = [
  first: string,
  second: string,
  sums: true,
  service: string,
  currency: string,
  ...mark: string[],
];

interface Grown {
  readonly key: TotalKey;
  readonly head: SumHead;
  readonly growth: Growth;
  /** One of its entries. */
  readonly entry: Entry;
}

/** Sums that grow by the entries of one write. Each sum is read and written only once. */
export class TotalsInWork {
  private readonly db: Database<MonthTotal, TotalKey>;
  private readonly side: Side;
  private readonly grown = new Map<string, Grown>();
  /** The sum that grew last. */
  private last: Grown | undefined;

  constructor(db: Database<MonthTotal, TotalKey>, side: Side) {
    this.db = db;
    this.side = side;
  }

  /** `first`, `second`: the beginning of the keys, e.g. user and month. `amount`: `amountOf(entry)`. */
  add(first: string, second: string, entry: Entry, amount: Money | undefined): void {
    this.sumOf(first, second, entry).add(entry, amount);
  }

  private sumOf(first: string, second: string, entry: Entry): Growth {
    const { last } = this;
    // Entries of one session often follow one another, and so do those of one app server. So the last sum is tried
    // first.
    if (last && last.key[1] === second && last.key[0] === first && belongs(entry, last.entry)) return last.growth;
    const head = sumHead(entry, this.side);
    const { service, currency } = head;
    const mark = sumMark(head);
    const name = `${first}\n${second}\n${service}\n${currency}\n${mark}`;
    let one = this.grown.get(name);
    if (!one) {
      const key: TotalKey = [first, second, true, service, currency, ...(mark === "" ? [] : [mark])];
      one = { key, head, growth: new Growth(), entry };
      this.grown.set(name, one);
    }
    this.last = one;
    return one.growth;
  }

  write(): void {
    for (const { key, head, growth } of this.grown.values())
      this.db.putSync(key, growth.of(this.db.get(key) ?? noTotal(head.service, head.currency, head)));
  }
}

/** Whether two entries of one month certainly belong to the same sum. */
const belongs = (a: Entry, b: Entry): boolean =>
  a.service === b.service && a.currency === b.currency && a.terms === b.terms && a.prepaid === b.prepaid;
