import type { Database } from "lmdb";
import type { Entry, MonthTotal } from "../charging/billing-store.ts";
import type { Money } from "../charging/money.ts";
import { Growth, noTotal } from "../charging/month-total.ts";

/** `true` sorts before every time: the sums of a month lie in front of its entries, mostly in the same page. */
export type TotalKey = [first: string, second: string, sums: true, service: string, currency: string];

interface Grown {
  readonly key: TotalKey;
  readonly growth: Growth;
}

/** Sums that grow by the entries of one write, each read and written once. */
export class TotalsInWork {
  private readonly db: Database<MonthTotal, TotalKey>;
  private readonly grown = new Map<string, Grown>();

  constructor(db: Database<MonthTotal, TotalKey>) {
    this.db = db;
  }

  /** `first`, `second`: under what the entry lies, as user and month. `amount`: `amountOf(entry)`. */
  add(first: string, second: string, entry: Entry, amount: Money | undefined): void {
    const { service, currency } = entry;
    const name = `${first}\n${second}\n${service}\n${currency}`;
    let one = this.grown.get(name);
    if (!one) {
      one = { key: [first, second, true, service, currency], growth: new Growth() };
      this.grown.set(name, one);
    }
    one.growth.add(entry, amount);
  }

  write(): void {
    for (const { key, growth } of this.grown.values()) {
      const [, , , service, currency] = key;
      this.db.putSync(key, growth.of(this.db.get(key) ?? noTotal(service, currency)));
    }
  }
}
