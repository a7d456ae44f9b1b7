import { type Side, Sums } from "../../src/charging/billing/month-total.ts";
import type {
  Account,
  ArchivedEvent,
  BillingBatch,
  BillingStore,
  Entry,
  PageQuery,
} from "../../src/charging/billing/store.ts";
import type { DeadLetter } from "../../src/charging/events/dead-letter.ts";

/** Billing in memory, with what a test wants to go wrong. */
export class MemoryBilling implements BillingStore {
  readonly stored = new Map<string, Account>();
  readonly lines = new Map<string, Entry>();
  readonly archive = new Map<string, ArchivedEvent[]>();
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
    for (const { month, events } of batch.archive ?? []) {
      const fresh = events.filter(({ id }) => !this.lines.has(id));
      this.archive.set(month, [...(this.archive.get(month) ?? []), ...fresh]);
    }
    const known: string[] = [];
    for (const entry of batch.entries)
      if (this.lines.has(entry.id)) known.push(entry.id);
      else this.lines.set(entry.id, entry);
    if (known.length > 0) batch.onKnown?.(known);
    return batch.accounts.filter((account) => !this.put(account)).map(({ context }) => context.session);
  }

  put(account: Account): boolean {
    if ((this.stored.get(account.context.session)?.revision ?? 0) !== account.revision) return false;
    this.stored.set(account.context.session, { ...account, revision: account.revision + 1 });
    return true;
  }

  private all(wanted: (entry: Entry) => boolean): Entry[] {
    return [...this.lines.values()].filter(wanted).sort((a, b) => a.at - b.at || (a.id < b.id ? -1 : 1));
  }

  private page(all: Entry[], { after, limit }: PageQuery) {
    const from = Number(after ?? 0);
    const entries = all.slice(from, from + limit);
    return from + limit < all.length ? { entries, next: String(from + limit) } : { entries };
  }

  async entries(user: string, month: string, query: PageQuery & { readonly from?: number }) {
    const { from = 0 } = query;
    return this.page(
      this.all((entry) => entry.user === user && entry.month === month && entry.at >= from),
      query,
    );
  }

  async entriesFor(appServer: string | undefined, month: string, query: PageQuery) {
    const wanted = (entry: Entry) =>
      entry.month === month && (appServer === undefined || entry.appServer === appServer);
    return this.page(this.all(wanted), query);
  }

  async findEntries(ids: readonly string[]) {
    return ids.map((id) => this.lines.get(id));
  }

  async archived(month: string) {
    return { events: this.archive.get(month) ?? [] };
  }

  async entriesOf(session: string) {
    return [...this.lines.values()].filter((entry) => entry.session === session).sort((a, b) => a.at - b.at);
  }

  async totals(user: string, month: string) {
    return this.sums("user", (entry) => entry.user === user && entry.month === month);
  }

  async totalsFor(appServer: string, month: string) {
    return this.sums("appServer", (entry) => entry.appServer === appServer && entry.month === month);
  }

  private sums(side: Side, wanted: (entry: Entry) => boolean) {
    const sums = new Sums(side);
    for (const entry of this.all(wanted)) sums.add(entry);
    return sums.all();
  }

  async putDeadLetter(letter: DeadLetter) {
    this.letters.set(letter.id, letter);
  }

  async getDeadLetter(id: string) {
    return this.letters.get(id);
  }

  async removeDeadLetter(id: string) {
    return this.letters.delete(id);
  }

  async deadLetters(limit: number, after = "") {
    const all = [...this.letters.values()].filter(({ id }) => id > after);
    return all.sort((a, b) => (a.id < b.id ? -1 : 1)).slice(0, limit);
  }
}
