import type { Database, RootDatabase } from "lmdb";
import type {
  Account,
  AccountQuery,
  BillingBatch,
  BillingStore,
  DeadLetter,
  Entry,
  EntryPage,
  MonthTotal,
} from "../charging/billing-store.ts";
import { written } from "../charging/lmdb-failure.ts";
import { addToTotal, noTotal } from "../charging/month-total.ts";

type MonthKey = [user: string, month: string, at: number, id: string];
type TotalKey = [user: string, month: string, service: string, currency: string];

/** After every string and number in lmdb's order of keys. */
const LAST = Buffer.from([0xff]);

/**
 * Billing in LMDB. Entries lie under user, month and time, as a bill reads them, with an index from their ids; what a month comes to is
 * kept beside them. One transaction for each `write`.
 */
export class EmbeddedBilling implements BillingStore {
  private readonly root: RootDatabase;
  /** Accounts of sessions that are not over: few, and written often. */
  private readonly openDb: Database<Account, string>;
  /** Of those, the ones that take late charges: [dueAt, session]. */
  private readonly dueDb: Database<true, [number, string]>;
  private readonly closedDb: Database<Account, string>;
  private readonly entriesDb: Database<Entry, MonthKey>;
  /** Entry id to where it lies. */
  private readonly idsDb: Database<MonthKey, string>;
  private readonly totalsDb: Database<MonthTotal, TotalKey>;
  private readonly deadDb: Database<DeadLetter, string>;

  constructor(root: RootDatabase) {
    this.root = root;
    this.openDb = root.openDB({ name: "openAccounts", encoding: "json" });
    this.dueDb = root.openDB({ name: "dueAccounts", encoding: "json" });
    this.closedDb = root.openDB({ name: "closedAccounts", encoding: "json" });
    this.entriesDb = root.openDB({ name: "entries", encoding: "json" });
    this.idsDb = root.openDB({ name: "entryIds", encoding: "json" });
    this.totalsDb = root.openDB({ name: "totals", encoding: "json" });
    this.deadDb = root.openDB({ name: "deadLetters", encoding: "json" });
  }

  async accounts(sessions: readonly string[]): Promise<(Account | undefined)[]> {
    this.root.resetReadTxn();
    return sessions.map((session) => this.account(session));
  }

  private account(session: string): Account | undefined {
    return this.openDb.get(session) ?? this.closedDb.get(session);
  }

  async findAccounts({ state, dueBy = Number.MAX_VALUE, limit }: AccountQuery): Promise<Account[]> {
    this.root.resetReadTxn();
    const found: Account[] = [];
    if (state === "running") {
      for (const { value } of this.openDb.getRange({})) {
        if (found.length >= limit) break;
        if (value.state === state) found.push(value);
      }
      return found;
    }
    for (const { key } of this.dueDb.getRange({ limit })) {
      if (key[0] > dueBy) break;
      const account = this.openDb.get(key[1]);
      if (account) found.push(account);
    }
    return found;
  }

  /** A child transaction, since only that is undone where something throws in the middle of it. */
  write(batch: BillingBatch): Promise<string[]> {
    const transaction = this.root.childTransaction(() => {
      this.writeEntries(batch.entries);
      const refused: string[] = [];
      for (const account of batch.accounts) {
        if (!this.writeAccount(account)) refused.push(account.context.session);
      }
      return refused;
    });
    return written(transaction);
  }

  private writeEntries(entries: readonly Entry[]): void {
    const totals = new Map<string, { readonly key: TotalKey; total: MonthTotal }>();
    for (const entry of entries) {
      const { id, user, month, at, service, currency } = entry;
      const place: MonthKey = [user, month, at, id];
      if (this.idsDb.doesExist(id)) continue;
      this.idsDb.putSync(id, place);
      this.entriesDb.putSync(place, entry);
      const key: TotalKey = [user, month, service, currency];
      const name = key.join("\n");
      const known = totals.get(name) ?? { key, total: this.totalsDb.get(key) ?? noTotal(service, currency) };
      known.total = addToTotal(known.total, entry);
      totals.set(name, known);
    }
    for (const { key, total } of totals.values()) this.totalsDb.putSync(key, total);
  }

  private writeAccount(account: Account): boolean {
    const { session } = account.context;
    const before = this.account(session);
    if ((before?.revision ?? 0) !== account.revision) return false;
    const after = { ...account, revision: account.revision + 1 };
    const wasClosed = before?.state === "closed";
    const isClosed = after.state === "closed";
    if (before && wasClosed !== isClosed) (wasClosed ? this.closedDb : this.openDb).removeSync(session);
    (isClosed ? this.closedDb : this.openDb).putSync(session, after);
    const was = before && dueKey(before);
    const is = dueKey(after);
    if (was && was[0] !== is?.[0]) this.dueDb.removeSync(was);
    if (is) this.dueDb.putSync(is, true);
    return true;
  }

  async entries(
    user: string,
    month: string,
    page: { readonly after?: string | undefined; readonly limit: number; readonly from?: number },
  ): Promise<EntryPage> {
    this.root.resetReadTxn();
    const after = page.after === undefined ? undefined : (JSON.parse(page.after) as MonthKey);
    const start = page.from === undefined ? [user, month] : [user, month, page.from];
    const range = after ? { start: after, exclusiveStart: true } : { start: start as unknown as MonthKey };
    const end = [user, month, LAST] as unknown as MonthKey;
    const entries: Entry[] = [];
    let last: MonthKey | undefined;
    for (const { key, value } of this.entriesDb.getRange({ ...range, end, limit: page.limit })) {
      entries.push(value);
      last = key;
    }
    return last !== undefined && entries.length === page.limit ? { entries, next: JSON.stringify(last) } : { entries };
  }

  async entriesOf(session: string): Promise<Entry[]> {
    this.root.resetReadTxn();
    const entries: Entry[] = [];
    for (const { value: place } of this.idsDb.getRange({ start: `${session}:`, end: `${session};` })) {
      const entry = this.entriesDb.get(place);
      if (entry) entries.push(entry);
    }
    return entries.sort((a, b) => a.at - b.at || (a.id < b.id ? -1 : 1));
  }

  async totals(user: string, month: string): Promise<MonthTotal[]> {
    this.root.resetReadTxn();
    const start = [user, month] as unknown as TotalKey;
    const end = [user, month, LAST] as unknown as TotalKey;
    return Array.from(this.totalsDb.getRange({ start, end }), ({ value }) => value);
  }

  async putDeadLetter(letter: DeadLetter): Promise<void> {
    await written(this.deadDb.put(letter.id, letter));
  }

  async deadLetters(limit: number): Promise<DeadLetter[]> {
    this.root.resetReadTxn();
    return Array.from(this.deadDb.getRange({ limit }), ({ value }) => value);
  }
}

function dueKey({ state, context }: Account): [number, string] | undefined {
  return state === "chargeable" ? [context.dueAt ?? 0, context.session] : undefined;
}
