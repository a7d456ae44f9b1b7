import { asBinary, type Database, type RootDatabase } from "lmdb";
import { amountOf } from "../charging/billing/month-total.ts";
import type {
  Account,
  AccountQuery,
  ArchivedEvent,
  BillingBatch,
  BillingStore,
  Entry,
  EntryPage,
  EventGroup,
  EventPage,
  Forgetting,
  Forgotten,
  MonthTotal,
  PageQuery,
} from "../charging/billing/store.ts";
import type { DeadLetter } from "../charging/events/dead-letter.ts";
import type { Fault } from "../charging/events/faults.ts";
import type { LmdbDisk } from "../support/lmdb-disk.ts";
import { PAGE_CHARS, piecesOf } from "./archive-pieces.ts";
import { EmbeddedAccounts, putNew, THERE } from "./embedded-accounts.ts";
import { lmdbFault } from "./embedded-faults.ts";
import { type EntryForm, entryForm, entryOf } from "./embedded-forms.ts";
import { EmbeddedRetention } from "./embedded-retention.ts";
import { type TotalKey, TotalsInWork } from "./embedded-totals.ts";

type UserKey = [user: string, month: string, at: number, id: string];
type ServerKey = [month: string, appServer: string, at: number, id: string];
type ArchiveKey = [month: string, number: number];

/** Sorts after every string and number in lmdb's order of keys. */
const LAST = Buffer.from([0xff]);
/** Used by `check`. No entry has this id. */
const CHECK = "check";

/**
 * Billing in LMDB. The keys of accounts and entries begin with the id of the session, and these ids sort by time. So
 * records that are written together share pages of the trees, and the pages are what a write costs. The months of users
 * and of app servers, which bills and settlements read, point to entries by id; the sums of each month lie beside them.
 * Each `write` is one transaction.
 */
export class EmbeddedBilling implements BillingStore {
  private readonly root: RootDatabase;
  private readonly disk: LmdbDisk;
  private readonly sessions: EmbeddedAccounts;
  /** Entries by id. A correction has a second record under its session, which holds only its id. */
  private readonly entriesDb: Database<EntryForm | string, string>;
  private readonly usersDb: Database<typeof THERE, UserKey>;
  private readonly userTotalsDb: Database<MonthTotal, TotalKey>;
  private readonly serversDb: Database<typeof THERE, ServerKey>;
  private readonly serverTotalsDb: Database<MonthTotal, TotalKey>;
  /** Lists of events as JSON, which `asBinary` leaves as they are. */
  private readonly archiveDb: Database<ReturnType<typeof asBinary>, ArchiveKey>;
  private readonly deadDb: Database<DeadLetter, string>;
  private readonly retention: EmbeddedRetention;

  constructor(root: RootDatabase, disk: LmdbDisk) {
    this.root = root;
    this.disk = disk;
    this.entriesDb = root.openDB({ name: "entries", encoding: "json" });
    this.sessions = new EmbeddedAccounts(root, this.entriesDb);
    this.usersDb = root.openDB({ name: "months", encoding: "json" });
    this.userTotalsDb = this.usersDb as unknown as Database<MonthTotal, TotalKey>;
    this.serversDb = root.openDB({ name: "monthsOfServers", encoding: "json" });
    this.serverTotalsDb = this.serversDb as unknown as Database<MonthTotal, TotalKey>;
    this.archiveDb = root.openDB({ name: "archive", encoding: "json" });
    this.deadDb = root.openDB({ name: "deadLetters", encoding: "json" });
    const { archiveDb: archive, entriesDb: entries, usersDb: users, serversDb: servers } = this;
    this.retention = new EmbeddedRetention(root, disk, { archive, entries, users, servers, ...this.sessions.kept });
  }

  async accounts(sessions: readonly string[]): Promise<(Account | undefined)[]> {
    this.root.resetReadTxn();
    return sessions.map((session) => this.sessions.get(session));
  }

  async findAccounts(query: AccountQuery): Promise<Account[]> {
    this.root.resetReadTxn();
    return this.sessions.find(query);
  }

  /** Uses a child transaction, since only that is undone if something throws in the middle of it. */
  write(batch: BillingBatch): Promise<string[]> {
    const work = () => {
      const accounts = new Map(batch.accounts.map((account) => [account.context.session, account]));
      const twice = new Set<string>();
      const known = this.writeEntries(batch.entries, accounts, twice);
      for (const group of batch.archive ?? []) this.keepEvents(group, known);
      const refused: string[] = [];
      for (const [session, account] of accounts) if (!this.sessions.write(account)) refused.push(session);
      if (known.size + twice.size > 0) batch.onKnown?.([...known, ...twice]);
      return refused;
    };
    return this.disk.write(() => this.root.childTransaction(work));
  }

  /**
   * Writes the entries, and the accounts that are stored with them; these are taken out of `accounts`. Returns the ids
   * of entries that were there before. Ids that come twice in this batch go into `twice`.
   */
  private writeEntries(
    entries: readonly Entry[],
    accounts: Map<string, Account>,
    twice: Set<string>,
  ): ReadonlySet<string> {
    const known = new Set<string>();
    const fresh = new Set<string>();
    const userTotals = new TotalsInWork(this.userTotalsDb, "user");
    const serverTotals = new TotalsInWork(this.serverTotalsDb, "appServer");
    for (const entry of entries) {
      const { id, user, month, at, appServer } = entry;
      const account = accounts.get(entry.session);
      const rest = account && this.sessions.restFor(account, entry);
      if (!putNew(this.entriesDb, id, entryForm(entry, rest))) {
        if (fresh.has(id)) twice.add(id);
        else known.add(id);
        continue;
      }
      fresh.add(id);
      if (account && rest) {
        this.sessions.laidAside(account);
        accounts.delete(entry.session);
      }
      if (entry.kind === "correction") this.entriesDb.putSync(`${entry.session}:${id}`, id); // for `entriesOf`
      this.usersDb.putSync([user, month, at, id], THERE);
      this.serversDb.putSync([month, appServer, at, id], THERE);
      const amount = amountOf(entry);
      userTotals.add(user, month, entry, amount);
      serverTotals.add(month, appServer, entry, amount);
    }
    userTotals.write();
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
    for (const piece of piecesOf(fresh)) this.archiveDb.putSync([month, ++last], asBinary(Buffer.from(piece)));
  }

  async entries(user: string, month: string, page: PageQuery & { readonly from?: number }): Promise<EntryPage> {
    const { after, limit, from = 0 } = page;
    this.root.resetReadTxn();
    const entries: Entry[] = [];
    let last: UserKey | undefined;
    for (const key of this.usersDb.getKeys({ ...within<UserKey>([user, month, from], [user, month], after), limit })) {
      entries.push(this.entry(key[3])!);
      last = key;
    }
    return pageOf(entries, limit, last);
  }

  /** The entry of that id. Undefined if there is none, or if the record is only the id of an entry. */
  private entry(id: string): Entry | undefined {
    const form = this.entriesDb.get(id);
    return typeof form === "object" ? entryOf(id, form) : undefined;
  }

  async entriesFor(appServer: string | undefined, month: string, { after, limit }: PageQuery): Promise<EntryPage> {
    this.root.resetReadTxn();
    const places = appServer === undefined ? this.everyPlace(month, after) : this.placesOf(month, appServer, after);
    const entries: Entry[] = [];
    let last: Cursor | undefined;
    for (const [, , at, id] of places) {
      entries.push(this.entry(id)!);
      last = [at, id];
      if (entries.length === limit) break;
    }
    return pageOf(entries, limit, last);
  }

  private placesOf(month: string, appServer: string, after: string | undefined): Iterable<ServerKey> {
    const last = after === undefined ? undefined : (JSON.parse(after) as Cursor);
    return this.serversDb.getKeys({
      start: [month, appServer, ...(last ?? [0])] as ServerKey,
      end: [month, appServer, LAST] as unknown as ServerKey,
      exclusiveStart: last !== undefined,
    });
  }

  /** The places of all app servers' entries, merged in the order of time. */
  private *everyPlace(month: string, after: string | undefined): Generator<ServerKey> {
    const heads: { place: ServerKey; rest: Iterator<ServerKey> }[] = [];
    const advance = (rest: Iterator<ServerKey>) => {
      const next = rest.next();
      if (!next.done) heads.push({ place: next.value, rest });
    };
    for (const appServer of this.serversOf(month)) advance(this.placesOf(month, appServer, after)[Symbol.iterator]());
    const order = ({ place: a }: (typeof heads)[0], { place: b }: (typeof heads)[0]) =>
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
    for (const { key, value } of this.entriesDb.getRange({ start: `${session}:`, end: `${session};` })) {
      const entry = typeof value === "string" ? this.entry(value) : entryOf(key, value);
      if (entry) entries.push(entry);
    }
    return entries.sort((a, b) => a.at - b.at || (a.id < b.id ? -1 : 1));
  }

  async findEntries(ids: readonly string[]): Promise<(Entry | undefined)[]> {
    this.root.resetReadTxn();
    return ids.map((id) => this.entry(id));
  }

  async totals(user: string, month: string): Promise<MonthTotal[]> {
    return this.sums(this.userTotalsDb, user, month);
  }

  async totalsFor(appServer: string, month: string): Promise<MonthTotal[]> {
    return this.sums(this.serverTotalsDb, month, appServer);
  }

  private sums(db: Database<MonthTotal, TotalKey>, first: string, second: string): MonthTotal[] {
    this.root.resetReadTxn();
    const [start, end] = [[first, second, true] as unknown as TotalKey, [first, second, 0] as unknown as TotalKey];
    return Array.from(db.getRange({ start, end }), ({ value }) => value);
  }

  async archived(month: string, { after, limit }: PageQuery): Promise<EventPage> {
    this.root.resetReadTxn();
    const events: ArchivedEvent[] = [];
    let chars = 0;
    for (const key of this.archiveDb.getKeys(within<ArchiveKey>([month], [month], after))) {
      const piece = this.archiveDb.getBinary(key)!.toString();
      for (const event of JSON.parse(piece) as ArchivedEvent[]) events.push(event);
      chars += piece.length;
      if (events.length >= limit || chars >= PAGE_CHARS) return { events, next: JSON.stringify(key) };
    }
    return { events };
  }

  async putDeadLetter(letter: DeadLetter): Promise<void> {
    await this.disk.write(() => this.deadDb.put(letter.id, letter));
  }

  async getDeadLetter(id: string): Promise<DeadLetter | undefined> {
    this.root.resetReadTxn();
    return this.deadDb.get(id);
  }

  async removeDeadLetter(id: string): Promise<boolean> {
    const work = () => {
      if (!this.deadDb.doesExist(id)) return false;
      this.deadDb.removeSync(id);
      return true;
    };
    return this.disk.write(() => this.root.childTransaction(work));
  }

  async deadLetters(limit: number, after?: string): Promise<DeadLetter[]> {
    this.root.resetReadTxn();
    const range = after === undefined ? {} : { start: after, exclusiveStart: true };
    return Array.from(this.deadDb.getRange({ ...range, limit }), ({ value }) => value);
  }

  async newestMonth(): Promise<string | undefined> {
    return this.retention.newestMonth();
  }

  forget(what: Forgetting, limit: number): Promise<Forgotten> {
    return this.retention.forget(what, limit);
  }

  async check(): Promise<void> {
    const work = () => {
      this.entriesDb.putSync(CHECK, CHECK);
      this.entriesDb.removeSync(CHECK);
    };
    await this.disk.write(() => this.root.childTransaction(work));
  }

  faultOf(error: unknown): Fault {
    return lmdbFault(error);
  }
}

type Cursor = [at: number, id: string];

/** The range of keys that begin with `begin`: from `start` on, or behind `after` (a key as JSON) if that is given. */
function within<K extends unknown[]>(start: readonly unknown[], begin: readonly string[], after?: string) {
  const end = [...begin, LAST] as unknown as K;
  if (after === undefined) return { start: [...start] as unknown as K, end };
  return { start: JSON.parse(after) as K, end, exclusiveStart: true };
}

function pageOf(entries: Entry[], limit: number, last: unknown): EntryPage {
  return last !== undefined && entries.length === limit ? { entries, next: JSON.stringify(last) } : { entries };
}
