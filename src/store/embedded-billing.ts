import type { Database, RootDatabase } from "lmdb";
import type {
  Account,
  AccountQuery,
  ArchivedEvent,
  BillingBatch,
  BillingStore,
  DeadLetter,
  Entry,
  EntryPage,
  EventGroup,
  EventPage,
  MonthTotal,
  PageQuery,
} from "../charging/billing-store.ts";
import { written } from "../charging/lmdb-failure.ts";
import { type TotalKey, TotalsInWork } from "./embedded-totals.ts";

type MonthKey = [user: string, month: string, at: number, id: string];
type ServerKey = [month: string, appServer: string, at: number, id: string];
type ArchiveKey = [month: string, number: number];

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
  /** By app server, as a settlement reads them: whose they are. */
  private readonly serversDb: Database<string, ServerKey>;
  private readonly totalsDb: Database<MonthTotal, TotalKey>;
  private readonly serverTotalsDb: Database<MonthTotal, TotalKey>;
  /** Events, as many together as were written together. */
  private readonly archiveDb: Database<readonly ArchivedEvent[], ArchiveKey>;
  private readonly deadDb: Database<DeadLetter, string>;

  constructor(root: RootDatabase) {
    this.root = root;
    this.openDb = root.openDB({ name: "openAccounts", encoding: "json" });
    this.dueDb = root.openDB({ name: "dueAccounts", encoding: "json" });
    this.closedDb = root.openDB({ name: "closedAccounts", encoding: "json" });
    this.entriesDb = root.openDB({ name: "entries", encoding: "json" });
    this.idsDb = root.openDB({ name: "entryIds", encoding: "json" });
    this.serversDb = root.openDB({ name: "entriesByServer", encoding: "json" });
    this.totalsDb = root.openDB({ name: "totals", encoding: "json" });
    this.serverTotalsDb = root.openDB({ name: "totalsByServer", encoding: "json" });
    this.archiveDb = root.openDB({ name: "archive", encoding: "json" });
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
      const known = this.writeEntries(batch.entries);
      for (const group of batch.archive ?? []) this.keepEvents(group, known);
      const refused: string[] = [];
      for (const account of batch.accounts) {
        if (!this.writeAccount(account)) refused.push(account.context.session);
      }
      return refused;
    });
    return written(transaction);
  }

  /** Returns the ids of those that were there before. */
  private writeEntries(entries: readonly Entry[]): ReadonlySet<string> {
    const known = new Set<string>();
    const totals = new TotalsInWork(this.totalsDb);
    const serverTotals = new TotalsInWork(this.serverTotalsDb);
    for (const entry of entries) {
      const { id, user, month, at, appServer } = entry;
      const place: MonthKey = [user, month, at, id];
      if (this.idsDb.doesExist(id)) {
        known.add(id);
        continue;
      }
      this.idsDb.putSync(id, place);
      if (entry.kind === "correction") this.idsDb.putSync(`${entry.session}:${id}`, place); // for `entriesOf`
      this.entriesDb.putSync(place, entry);
      this.serversDb.putSync([month, appServer, at, id], user);
      totals.add(user, entry);
      serverTotals.add(appServer, entry);
    }
    totals.write();
    serverTotals.write();
    return known;
  }

  private keepEvents({ month, events }: EventGroup, known: ReadonlySet<string>): void {
    const fresh = known.size === 0 ? events : events.filter(({ id }) => !known.has(id));
    if (fresh.length === 0) return;
    let last = 0;
    for (const [, number] of this.archiveDb.getKeys({
      start: [month, LAST],
      end: [month],
      reverse: true,
      limit: 1,
    } as never))
      last = number;
    this.archiveDb.putSync([month, last + 1], fresh);
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

  async entries(user: string, month: string, page: PageQuery & { readonly from?: number }): Promise<EntryPage> {
    const { after, limit, from } = page;
    this.root.resetReadTxn();
    const entries: Entry[] = [];
    let last: MonthKey | undefined;
    const begin = from === undefined ? {} : { start: [user, month, from] as unknown as MonthKey };
    const range = { ...within<MonthKey>([user, month], after), ...(after === undefined && begin), limit };
    for (const { key, value } of this.entriesDb.getRange(range)) {
      entries.push(value);
      last = key;
    }
    return pageOf(entries, limit, last);
  }

  async entriesFor(appServer: string | undefined, month: string, { after, limit }: PageQuery): Promise<EntryPage> {
    this.root.resetReadTxn();
    const places = appServer === undefined ? this.everyPlace(month, after) : this.placesOf(month, appServer, after);
    const entries: Entry[] = [];
    let last: Cursor | undefined;
    for (const { key, value: user } of places) {
      const [, , at, id] = key;
      entries.push(this.entriesDb.get([user, month, at, id])!);
      last = [at, id];
      if (entries.length === limit) break;
    }
    return pageOf(entries, limit, last);
  }

  private placesOf(month: string, appServer: string, after: string | undefined): Iterable<Place> {
    const last = after === undefined ? undefined : (JSON.parse(after) as Cursor);
    const start = last ? [month, appServer, ...last] : [month, appServer];
    return this.serversDb.getRange({
      start: start as ServerKey,
      end: [month, appServer, LAST] as unknown as ServerKey,
      exclusiveStart: last !== undefined,
    });
  }

  /** Those of all app servers in one order. */
  private *everyPlace(month: string, after: string | undefined): Generator<Place> {
    const heads: { place: Place; rest: Iterator<Place> }[] = [];
    const advance = (rest: Iterator<Place>) => {
      const next = rest.next();
      if (!next.done) heads.push({ place: next.value, rest });
    };
    for (const appServer of this.serversOf(month)) advance(this.placesOf(month, appServer, after)[Symbol.iterator]());
    const order = ({ place: { key: a } }: (typeof heads)[0], { place: { key: b } }: (typeof heads)[0]) =>
      a[2] - b[2] || (a[3] < b[3] ? -1 : 1);
    try {
      while (heads.length > 0) {
        let first = 0;
        for (let i = 1; i < heads.length; i++) if (order(heads[i]!, heads[first]!) < 0) first = i;
        const [head] = heads.splice(first, 1);
        yield head!.place;
        advance(head!.rest);
      }
    } finally {
      for (const { rest } of heads) rest.return?.();
    }
  }

  private *serversOf(month: string): Generator<string> {
    let start: unknown[] = [month];
    for (;;) {
      const found = this.serversDb.getKeys({ start: start as ServerKey, end: [month, LAST] as never, limit: 1 });
      const [key] = Array.from(found);
      if (key === undefined) return;
      yield key[1];
      start = [month, key[1], LAST];
    }
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

  async findEntries(ids: readonly string[]): Promise<(Entry | undefined)[]> {
    this.root.resetReadTxn();
    return ids.map((id) => {
      const place = this.idsDb.get(id);
      return place && this.entriesDb.get(place);
    });
  }

  async totals(user: string, month: string): Promise<MonthTotal[]> {
    return this.sums(this.totalsDb, user, month);
  }

  async totalsFor(appServer: string, month: string): Promise<MonthTotal[]> {
    return this.sums(this.serverTotalsDb, appServer, month);
  }

  private sums(db: Database<MonthTotal, TotalKey>, owner: string, month: string): MonthTotal[] {
    this.root.resetReadTxn();
    return Array.from(db.getRange(within<TotalKey>([owner, month])), ({ value }) => value);
  }

  async archived(month: string, { after, limit }: PageQuery): Promise<EventPage> {
    this.root.resetReadTxn();
    const events: ArchivedEvent[] = [];
    for (const { key, value } of this.archiveDb.getRange(within<ArchiveKey>([month], after))) {
      for (const event of value) events.push(event);
      if (events.length >= limit) return { events, next: JSON.stringify(key) };
    }
    return { events };
  }

  async putDeadLetter(letter: DeadLetter): Promise<void> {
    await written(this.deadDb.put(letter.id, letter));
  }

  async getDeadLetter(id: string): Promise<DeadLetter | undefined> {
    this.root.resetReadTxn();
    return this.deadDb.get(id);
  }

  async removeDeadLetter(id: string): Promise<boolean> {
    const transaction = this.root.childTransaction(() => {
      if (!this.deadDb.doesExist(id)) return false;
      this.deadDb.removeSync(id);
      return true;
    });
    return written(transaction);
  }

  async deadLetters(limit: number, after?: string): Promise<DeadLetter[]> {
    this.root.resetReadTxn();
    const range = after === undefined ? {} : { start: after, exclusiveStart: true };
    return Array.from(this.deadDb.getRange({ ...range, limit }), ({ value }) => value);
  }
}

function dueKey({ state, context }: Account): [number, string] | undefined {
  return state === "chargeable" ? [context.dueAt ?? 0, context.session] : undefined;
}

type Place = { readonly key: ServerKey; readonly value: string };
type Cursor = [at: number, id: string];

/** The keys that begin like this, those behind `after` (a key as JSON) where it is given. */
function within<K extends unknown[]>(begin: readonly string[], after?: string) {
  const end = [...begin, LAST] as unknown as K;
  if (after === undefined) return { start: [...begin] as unknown as K, end };
  return { start: JSON.parse(after) as K, end, exclusiveStart: true };
}

function pageOf(entries: Entry[], limit: number, last: unknown): EntryPage {
  return last !== undefined && entries.length === limit ? { entries, next: JSON.stringify(last) } : { entries };
}
