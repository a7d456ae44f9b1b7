import type { Database } from "lmdb";
import type { Entry, MonthTotal } from "../charging/billing-store.ts";
import { addToTotal, noTotal } from "../charging/month-total.ts";

/** `owner` is a user, or an app server. */
export type TotalKey = [owner: string, month: string, service: string, currency: string];

/** Sums that grow by the entries of one write, each read and written once. */
export class TotalsInWork {
  private readonly db: Database<MonthTotal, TotalKey>;
  private readonly grown = new Map<string, { readonly key: TotalKey; total: MonthTotal }>();

  constructor(db: Database<MonthTotal, TotalKey>) {
    this.db = db;
  }

  add(owner: string, entry: Entry): void {
    const { month, service, currency } = entry;
    const name = `${owner}\n${month}\n${service}\n${currency}`;
    let one = this.grown.get(name);
    if (!one) {
      const key: TotalKey = [owner, month, service, currency];
      one = { key, total: this.db.get(key) ?? noTotal(service, currency) };
      this.grown.set(name, one);
    }
    one.total = addToTotal(one.total, entry);
  }

  write(): void {
    for (const { key, total } of this.grown.values()) this.db.putSync(key, total);
  }
}
