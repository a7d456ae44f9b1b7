import type { Account, BillingBatch, BillingStore, DeadLetter, Entry } from "../../src/charging/billing-store.ts";
import { addToTotal, noTotal } from "../../src/charging/month-total.ts";

/** Billing in memory, with what a test wants to go wrong. */
export class MemoryBilling implements BillingStore {
  readonly stored = new Map<string, Account>();
  readonly lines = new Map<string, Entry>();
  readonly letters = new Map<string, DeadLetter>();
  readonly writes: BillingBatch[] = [];
  /** Called before each write; may throw, or write before it as another worker would. */
  beforeWrite: (batch: BillingBatch) => void = () => {};

  async accounts(sessions: readonly string[]) {
    return sessions.map((session) => this.stored.get(session));
  }

  async findAccounts({ state, dueBy = Number.MAX_VALUE, limit }: Parameters<BillingStore["findAccounts"]>[0]) {
    const due = (account: Account) => account.context.dueAt ?? 0;
    const found = [...this.stored.values()].filter((account) => account.state === state && due(account) <= dueBy);
    return found.sort((a, b) => due(a) - due(b)).slice(0, limit);
  }

  async write(batch: BillingBatch) {
    this.beforeWrite(batch);
    this.writes.push(batch);
    for (const entry of batch.entries) if (!this.lines.has(entry.id)) this.lines.set(entry.id, entry);
    return batch.accounts.filter((account) => !this.put(account)).map(({ context }) => context.session);
  }

  put(account: Account): boolean {
    if ((this.stored.get(account.context.session)?.revision ?? 0) !== account.revision) return false;
    this.stored.set(account.context.session, { ...account, revision: account.revision + 1 });
    return true;
  }

  private all(user: string, month: string): Entry[] {
    const found = [...this.lines.values()].filter((entry) => entry.user === user && entry.month === month);
    return found.sort((a, b) => a.at - b.at || (a.id < b.id ? -1 : 1));
  }

  async entries(user: string, month: string, page: Parameters<BillingStore["entries"]>[2]) {
    const { after, limit, from = 0 } = page;
    const skip = Number(after ?? 0);
    const all = this.all(user, month).filter(({ at }) => at >= from);
    const entries = all.slice(skip, skip + limit);
    return skip + limit < all.length ? { entries, next: String(skip + limit) } : { entries };
  }

  async entriesOf(session: string) {
    return [...this.lines.values()].filter((entry) => entry.session === session).sort((a, b) => a.at - b.at);
  }

  async totals(user: string, month: string) {
    const totals = new Map<string, ReturnType<typeof noTotal>>();
    for (const entry of this.all(user, month)) {
      const key = `${entry.service} ${entry.currency}`;
      totals.set(key, addToTotal(totals.get(key) ?? noTotal(entry.service, entry.currency), entry));
    }
    return [...totals.values()];
  }

  async putDeadLetter(letter: DeadLetter) {
    this.letters.set(letter.id, letter);
  }

  async deadLetters(limit: number) {
    return [...this.letters.values()].slice(0, limit);
  }
}
