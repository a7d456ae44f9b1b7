import type { Database, RootDatabase } from "lmdb";
import {
  type Debited,
  firstUntil,
  isSameEntry,
  postIn,
  releaseIn,
  reserveIn,
  type Step,
  settleIn,
  withTerms,
} from "../charging/credit/account.ts";
import {
  AHEAD_MS,
  type CreditAccount,
  type CreditStore,
  type CreditTerms,
  type Hold,
  type LedgerEntry,
  type Micros,
  type PostResult,
  type Refusal,
  type ReserveRequest,
  type Settlement,
} from "../charging/credit/store.ts";
import type { LmdbDisk } from "../support/lmdb-disk.ts";
import type { Result } from "../support/result.ts";

type DueKey = [until: number, user: string];
type LedgerKey = [user: string, at: number, id: string];

/** Sorts after every string and number in lmdb's order of keys. */
const LAST = Buffer.from([0xff]);

/** Prepaid balances in LMDB: one transaction for each call. */
export class EmbeddedCredit implements CreditStore {
  private readonly root: RootDatabase;
  private readonly disk: LmdbDisk;
  private readonly accountsDb: Database<CreditAccount, string>;
  /** Accounts by the time when their first hold ends: [until, user]. */
  private readonly dueDb: Database<true, DueKey>;
  private readonly ledgerDb: Database<LedgerEntry, LedgerKey>;
  /** The key of each ledger entry, by user and id. */
  private readonly idsDb: Database<LedgerKey, [user: string, id: string]>;

  constructor(root: RootDatabase, disk: LmdbDisk) {
    this.root = root;
    this.disk = disk;
    this.accountsDb = root.openDB({ name: "creditAccounts", encoding: "json" });
    this.dueDb = root.openDB({ name: "creditDue", encoding: "json" });
    this.ledgerDb = root.openDB({ name: "creditLedger", encoding: "json" });
    this.idsDb = root.openDB({ name: "creditLedgerIds", encoding: "json" });
  }

  async account(user: string): Promise<CreditAccount | undefined> {
    this.root.resetReadTxn();
    return this.accountsDb.get(user);
  }

  open(user: string, currency: string): Promise<boolean> {
    return this.transaction(() => {
      if (this.accountsDb.doesExist(user)) return false;
      this.accountsDb.putSync(user, { user, currency, available: 0, holds: {} });
      return true;
    });
  }

  setTerms(user: string, terms: CreditTerms): Promise<boolean> {
    return this.transaction(() => {
      const account = this.accountsDb.get(user);
      if (account) this.accountsDb.putSync(user, withTerms(account, terms));
      return account !== undefined;
    });
  }

  reserve(request: ReserveRequest): Promise<Result<Micros, Refusal>> {
    return this.transaction(() => {
      const account = this.accountsDb.get(request.user);
      if (!account) return { ok: false, error: { why: "no account" } };
      const reserved = reserveIn(account, request);
      if (!reserved.ok) return reserved;
      this.write(account, { account: reserved.value.account, entries: [] });
      return { ok: true, value: reserved.value.held };
    });
  }

  settle(settlement: Settlement): Promise<void> {
    return this.transaction(() => {
      const account = this.accountsDb.get(settlement.user);
      if (!account) return;
      const step = settleIn(account, settlement, this.debited(settlement));
      if (step) this.write(account, step);
    });
  }

  private debited({ user, hold }: Settlement): Debited {
    const found: LedgerEntry[] = [];
    const start: [string, string] = [user, `session:${hold}:`];
    const end: [string, string] = [user, `session:${hold};`];
    for (const { value: place } of this.idsDb.getRange({ start, end })) {
      const entry = this.ledgerDb.get(place);
      if (entry) found.push(entry);
    }
    return found;
  }

  async overdue(
    now: number,
    { after, limit }: Parameters<CreditStore["overdue"]>[1],
  ): ReturnType<CreditStore["overdue"]> {
    this.root.resetReadTxn();
    const from: DueKey = after === undefined ? [0, ""] : JSON.parse(after);
    const keys = this.dueKeys(from, limit, [now, LAST]);
    const ahead = now + AHEAD_MS;
    if (keys.length < limit) keys.push(...this.dueKeys(from[0] > ahead ? from : [ahead, LAST], limit - keys.length));
    const accounts = keys.flatMap(([, user]) => this.accountsDb.get(user) ?? []);
    return keys.length === limit ? { accounts, next: JSON.stringify(keys.at(-1)) } : { accounts };
  }

  private dueKeys(after: unknown, limit: number, end?: unknown): DueKey[] {
    const range = {
      start: after as DueKey,
      exclusiveStart: true,
      limit,
      ...(end !== undefined && { end: end as DueKey }),
    };
    return Array.from(this.dueDb.getRange(range), ({ key }) => key);
  }

  release(user: string, seen: Readonly<Record<string, Hold>>): Promise<boolean> {
    return this.transaction(() => {
      const account = this.accountsDb.get(user);
      const step = account && releaseIn(account, seen);
      if (step) this.write(account, step);
      return step !== undefined;
    });
  }

  post(entry: LedgerEntry): Promise<PostResult> {
    return this.transaction((): PostResult => {
      const account = this.accountsDb.get(entry.user);
      if (!account) return "no account";
      if (account.currency !== entry.currency) return "currency";
      const place = this.idsDb.get([entry.user, entry.id]);
      const before = place && this.ledgerDb.get(place);
      if (before) return isSameEntry(before, entry) ? "repeated" : "different";
      this.write(account, postIn(account, entry));
      return "posted";
    });
  }

  async ledger(
    user: string,
    page: {
      readonly from?: number | undefined;
      readonly to?: number | undefined;
      readonly after?: string | undefined;
      readonly limit: number;
    },
  ): Promise<{ readonly entries: LedgerEntry[]; readonly next?: string }> {
    this.root.resetReadTxn();
    const after = page.after === undefined ? undefined : (JSON.parse(page.after) as LedgerKey);
    const first = (page.from === undefined ? [user] : [user, page.from]) as unknown as LedgerKey;
    const range = after ? { start: after, exclusiveStart: true } : { start: first };
    const end = [user, page.to ?? LAST] as unknown as LedgerKey;
    const entries: LedgerEntry[] = [];
    let last: LedgerKey | undefined;
    for (const { key, value } of this.ledgerDb.getRange({ ...range, end, limit: page.limit })) {
      entries.push(value);
      last = key;
    }
    return last !== undefined && entries.length === page.limit ? { entries, next: JSON.stringify(last) } : { entries };
  }

  private write(before: CreditAccount, { account, entries }: Step): void {
    const { user } = account;
    this.accountsDb.putSync(user, account);
    const was = firstUntil(before);
    const is = firstUntil(account);
    if (was !== is) {
      if (was !== undefined) this.dueDb.removeSync([was, user]);
      if (is !== undefined) this.dueDb.putSync([is, user], true);
    }
    for (const entry of entries) {
      const place: LedgerKey = [user, entry.at, entry.id];
      this.idsDb.putSync([user, entry.id], place);
      this.ledgerDb.putSync(place, entry);
    }
  }

  /** Uses a child transaction, since only that is undone if something throws in the middle of it. */
  private transaction<T>(work: () => T): Promise<T> {
    return this.disk.write(() => this.root.childTransaction(work));
  }
}
