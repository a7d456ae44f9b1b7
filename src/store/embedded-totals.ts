import type { Database } from "lmdb";
import { Growth, noTotal, type Side, type SumHead, sumHead, sumMark } from "../charging/billing/month-total.ts";
import type { Entry, MonthTotal } from "../charging/billing/store.ts";
import type { Money } from "../charging/money/money.ts";

/** `true` sorts before every time: the sums of a month lie in front of its entries, mostly in the same page. */
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
}

/** Sums that grow by the entries of one write, each read and written once. */
export class TotalsInWork {
  private readonly db: Database<MonthTotal, TotalKey>;
  private readonly side: Side;
  private readonly grown = new Map<string, Grown>();

  constructor(db: Database<MonthTotal, TotalKey>, side: Side) {
    this.db = db;
    this.side = side;
  }

  /** `first`, `second`: under what the entry lies, as user and month. `amount`: `amountOf(entry)`. */
  add(first: string, second: string, entry: Entry, amount: Money | undefined): void {
    const head = sumHead(entry, this.side);
    const { service, currency } = head;
    const mark = sumMark(head);
    const name = `${first}\n${second}\n${service}\n${currency}\n${mark}`;
    let one = this.grown.get(name);
    if (!one) {
      const key: TotalKey = [first, second, true, service, currency, ...(mark === "" ? [] : [mark])];
      one = { key, head, growth: new Growth() };
      this.grown.set(name, one);
    }
    one.growth.add(entry, amount);
  }

  write(): void {
    for (const { key, head, growth } of this.grown.values())
      this.db.putSync(key, growth.of(this.db.get(key) ?? noTotal(head.service, head.currency, head)));
  }
}
