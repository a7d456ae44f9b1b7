import { randomUUID } from "node:crypto";
import type { Collection, Db, Document, Filter } from "mongodb";
import type {
  Account,
  AccountQuery,
  AccountState,
  BillingBatch,
  BillingStore,
  Entry,
  EntryPage,
  EventPage,
  Forgetting,
  Forgotten,
  MonthTotal,
  PageQuery,
} from "../charging/billing/store.ts";
import type { DeadLetter } from "../charging/events/dead-letter.ts";
import type { Fault } from "../charging/events/faults.ts";
import type { Clock } from "../support/clock.ts";
import { MongoArchive } from "./mongo-archive.ts";
import { mongoFault } from "./mongo-faults.ts";
import { ensureIndexes, type Index, type MakeIndex } from "./mongo-indexes.ts";
import { type Kept, MongoRetention } from "./mongo-retention.ts";
import { NO_SESSIONS, type ReadScope, type Sessions } from "./mongo-sessions.ts";
import { MongoTotals, type StoredEntry, type StoredTotals, totalsKey } from "./mongo-totals.ts";
import { insertNew, type Revised, replaceRevised } from "./mongo-writes.ts";

/**
 * An account as stored in MongoDB. The context is JSON text: no query asks for parts of it, and text is written
 * fastest.
 */
interface StoredAccount extends Revised {
  readonly state: AccountState;
  readonly context: string;
  /**
   * The state again, while queries look for the account. A closed account lacks this field, so it is in no index but
   * that of the ids.
   */
  readonly live?: "running" | "chargeable";
  readonly dueAt?: number;
}

type StoredLetter = Omit<DeadLetter, "id"> & { readonly _id: string };

/**
 * Billing in MongoDB. A batch is read in one round trip and written in two, entries before accounts; events to keep
 * take two more before that. If a batch is interrupted at any point and repeated, the result is the same.
 */
export class MongoBilling implements BillingStore {
  private readonly stored: Collection<StoredAccount>;
  private readonly lines: Collection<StoredEntry>;
  private readonly letters: Collection<StoredLetter>;
  private readonly archive: MongoArchive;
  private readonly userSums: MongoTotals;
  private readonly serverSums: MongoTotals;

  private readonly sessions: Sessions;
  private readonly retention: MongoRetention;

  constructor(
    db: Db,
    { clock, random }: { readonly clock: Clock; readonly random: () => number },
    sessions: Sessions = NO_SESSIONS,
  ) {
    this.sessions = sessions;
    this.stored = db.collection("accounts");
    this.lines = db.collection("entries");
    this.letters = db.collection("deadLetters");
    this.archive = new MongoArchive(db, clock, random);
    this.userSums = new MongoTotals(this.lines, db.collection("userTotals"), "uncountedUser", random, sessions);
    const serverTotals = db.collection<StoredTotals>("serverTotals");
    this.serverSums = new MongoTotals(this.lines, serverTotals, "uncountedServer", random, sessions);
    const { stored: accounts, lines: entries } = this;
    const totals = [this.userSums.totals, this.serverSums.totals];
    const kept = { archive: this.archive.groups, entries, totals, accounts };
    this.retention = new MongoRetention(kept as unknown as Kept, sessions);
  }

  /** Makes the indexes that are missing. */
  async prepare(make?: MakeIndex): Promise<void> {
    const others = [this.letters, this.archive.groups, this.userSums.totals, this.serverSums.totals];
    for (const one of others) await ensureIndexes(one as unknown as Collection<Document>, []);
    await ensureIndexes(this.stored, [{ name: "live", key: { live: 1, dueAt: 1 }, sparse: true }], make);
    const ofEntries: readonly Index[] = [
      { name: "bill", key: { user: 1, month: 1, at: 1, _id: 1 } },
      { name: "settlement", key: { appServer: 1, month: 1, at: 1, _id: 1 } },
      { name: "export", key: { month: 1, at: 1, _id: 1 } },
      { name: "correctedSession", key: { correctedSession: 1 }, sparse: true },
      { name: "uncountedUser", key: { uncountedUser: 1 }, sparse: true },
      { name: "uncountedServer", key: { uncountedServer: 1 }, sparse: true },
    ];
    await ensureIndexes(this.lines, ofEntries, make);
  }

  async accounts(sessions: readonly string[]): Promise<(Account | undefined)[]> {
    if (sessions.length === 0) return [];
    const filter = { _id: { $in: sessions } };
    const found = await this.sessions.run((read) =>
      this.stored.find(filter, { ...read, batchSize: sessions.length + 1 }).toArray(),
    );
    const byId = new Map<string, Account>();
    for (const account of found) byId.set(account._id, toAccount(account));
    return sessions.map((session) => byId.get(session));
  }

  async findAccounts({ state, dueBy, limit }: AccountQuery): Promise<Account[]> {
    if (limit <= 0) return [];
    const due = state === "chargeable" && dueBy !== undefined ? { dueAt: { $lte: dueBy } } : {};
    const found = await this.sessions.run((read) =>
      this.stored.find({ live: state, ...due }, { ...read, sort: { dueAt: 1 }, limit }).toArray(),
    );
    return found.map(toAccount);
  }

  write({ entries, accounts, archive = [], onKnown }: BillingBatch): Promise<string[]> {
    return this.sessions.run(async (read, scope) => {
      // The events are kept before the entries are written: an entry that is there means that its event is kept.
      if (archive.length > 0) await this.archive.keep(archive, await this.idsOf(entries, read), scope);
      const lines = entries.map(fromEntry);
      const known = await insertNew(this.lines, lines, scope);
      if (known.length > 0) onKnown?.(known.map((place) => entries[place]!.id));
      await this.userSums.written(lines);
      await this.serverSums.written(lines);
      const refused = await replaceRevised(this.stored, accounts.map(fromAccount), scope);
      return refused.map((place) => accounts[place]!.context.session);
    });
  }

  /** The ids of those entries that are there already. */
  private async idsOf(entries: readonly Entry[], read: ReadScope): Promise<ReadonlySet<string>> {
    if (entries.length === 0) return new Set();
    const ids = entries.map(({ id }) => id);
    const options = { ...read, projection: { _id: 1 }, batchSize: ids.length + 1 };
    const found = this.lines.find({ _id: { $in: ids } }, options);
    return new Set((await found.toArray()).map(({ _id }) => _id));
  }

  entries(user: string, month: string, page: PageQuery & { readonly from?: number }): Promise<EntryPage> {
    return this.page({ user, month }, page);
  }

  entriesFor(appServer: string | undefined, month: string, page: PageQuery): Promise<EntryPage> {
    return this.page(appServer === undefined ? { month } : { appServer, month }, page);
  }

  private async page(
    whose: Filter<StoredEntry>,
    { after, limit, from }: PageQuery & { readonly from?: number },
  ): Promise<EntryPage> {
    const [at, id] = after === undefined ? [from, undefined] : (JSON.parse(after) as [number, string]);
    const filter: Filter<StoredEntry> = {
      ...whose,
      ...(at !== undefined && { at: { $gte: at } }),
      ...(id !== undefined && { $or: [{ at: { $gt: at! } }, { _id: { $gt: id } }] }),
    };
    const options = { sort: { at: 1, _id: 1 }, limit, batchSize: limit + 1, projection: ENTRY } as const;
    const found = await this.sessions.run((read) => this.lines.find(filter, { ...read, ...options }).toArray());
    const entries = found.map(toEntry);
    const last = entries.at(-1);
    return last && entries.length === limit ? { entries, next: JSON.stringify([last.at, last.id]) } : { entries };
  }

  /** Found by their ids, which begin with the session's id. Only corrections need an index of their own. */
  async entriesOf(session: string): Promise<Entry[]> {
    const ids = { $gte: `${session}:`, $lt: `${session};` };
    const found = await this.sessions.run((read) =>
      Promise.all([
        this.lines.find({ _id: ids, session }, { ...read, projection: ENTRY }).toArray(),
        this.lines.find({ correctedSession: session }, { ...read, projection: ENTRY }).toArray(),
      ]),
    );
    return found
      .flat()
      .map(toEntry)
      .sort((a, b) => a.at - b.at || (a.id < b.id ? -1 : 1));
  }

  async findEntries(ids: readonly string[]): Promise<(Entry | undefined)[]> {
    if (ids.length === 0) return [];
    const found = await this.sessions.run((read) =>
      this.lines.find({ _id: { $in: ids } }, { ...read, projection: ENTRY }).toArray(),
    );
    const byId = new Map(found.map((entry) => [entry._id, toEntry(entry)]));
    return ids.map((id) => byId.get(id));
  }

  totals(user: string, month: string): Promise<MonthTotal[]> {
    return this.userSums.read(totalsKey(user, month));
  }

  totalsFor(appServer: string, month: string): Promise<MonthTotal[]> {
    return this.serverSums.read(totalsKey(appServer, month));
  }

  archived(month: string, page: PageQuery): Promise<EventPage> {
    return this.sessions.run((read) => this.archive.read(month, page, read));
  }

  async putDeadLetter({ id, ...letter }: DeadLetter): Promise<void> {
    await this.sessions.run((_, scope) => this.letters.replaceOne({ _id: id }, letter, { ...scope, upsert: true }));
  }

  async getDeadLetter(id: string): Promise<DeadLetter | undefined> {
    const found = await this.sessions.run((read) => this.letters.findOne({ _id: id }, read));
    return found ? fromLetter(found) : undefined;
  }

  async removeDeadLetter(id: string): Promise<boolean> {
    const { deletedCount } = await this.sessions.run((_, scope) => this.letters.deleteOne({ _id: id }, scope));
    return deletedCount === 1;
  }

  async deadLetters(limit: number, after?: string): Promise<DeadLetter[]> {
    const query = after === undefined ? {} : { _id: { $gt: after } };
    const found = await this.sessions.run((read) =>
      this.letters.find(query, { ...read, sort: { _id: 1 }, limit }).toArray(),
    );
    return found.map(fromLetter);
  }

  newestMonth(): Promise<string | undefined> {
    return this.retention.newestMonth();
  }

  forget(what: Forgetting, limit: number): Promise<Forgotten> {
    return this.retention.forget(what, limit);
  }

  async check(): Promise<void> {
    const _id = `check ${randomUUID()}`; // the id of no session and no entry
    const collections: readonly Collection<{ _id: string }>[] = [this.stored, this.lines, this.archive.groups] as never;
    await this.sessions.run(async (_, scope) => {
      for (const collection of collections) {
        await collection.insertOne({ _id }, scope);
        await collection.deleteOne({ _id }, scope);
      }
    });
  }

  faultOf(error: unknown): Fault {
    return mongoFault(error);
  }

  /** Resolves when nothing is being written any more. */
  async settled(): Promise<void> {
    await this.userSums.settled();
    await this.serverSums.settled();
  }
}

const fromLetter = ({ _id, ...letter }: StoredLetter): DeadLetter => ({ id: _id, ...letter });

function fromAccount({ revision, state, context }: Account): StoredAccount {
  const account = { _id: context.session, revision: revision + 1, state, context: JSON.stringify(context) };
  if (state === "running") return { ...account, live: state };
  return state === "chargeable" ? { ...account, live: state, dueAt: context.dueAt ?? 0 } : account;
}

const toAccount = ({ revision, state, context }: StoredAccount): Account => ({
  revision,
  state,
  context: JSON.parse(context) as Account["context"],
});

/** Leaves out the fields that only the store itself needs. */
const ENTRY = { uncountedUser: 0, uncountedServer: 0, correctedSession: 0 } as const;

function fromEntry(entry: Entry): StoredEntry {
  const { id, ...rest } = entry;
  const { month, user, appServer, session, kind } = entry;
  return {
    _id: id,
    ...rest,
    ...(kind === "correction" && session !== "" && { correctedSession: session }),
    uncountedUser: totalsKey(user, month),
    uncountedServer: totalsKey(appServer, month),
  };
}

const toEntry = ({ _id, ...rest }: StoredEntry): Entry => ({ id: _id, ...rest }) as Entry;
