import { randomUUID } from "node:crypto";
import type { Collection, Db, Filter } from "mongodb";
import type {
  Account,
  AccountQuery,
  AccountState,
  BillingBatch,
  BillingStore,
  DeadLetter,
  Entry,
  EntryPage,
  EventPage,
  MonthTotal,
  PageQuery,
} from "../charging/billing-store.ts";
import type { Fault } from "../charging/faults.ts";
import type { Clock } from "../support/clock.ts";
import { MongoArchive } from "./mongo-archive.ts";
import { mongoFault } from "./mongo-faults.ts";
import { ensureIndexes } from "./mongo-indexes.ts";
import { MongoTotals, type StoredEntry, totalsKey } from "./mongo-totals.ts";
import { insertNew, type Revised, replaceRevised } from "./mongo-writes.ts";

/** An account as it lies in MongoDB. The context is JSON text: nobody asks for parts of it, and text is written fastest. */
interface StoredAccount extends Revised {
  readonly state: AccountState;
  readonly context: string;
  /** The state again, while somebody may look for it: accounts that are closed are in no index but that of their ids. */
  readonly live?: "running" | "chargeable";
  readonly dueAt?: number;
}

type StoredLetter = Omit<DeadLetter, "id"> & { readonly _id: string };

/**
 * Billing in MongoDB. What a batch means is read in one round trip and written in two, entries before accounts: repeated after whatever
 * happened in between, it comes to the same.
 */
export class MongoBilling implements BillingStore {
  private readonly stored: Collection<StoredAccount>;
  private readonly lines: Collection<StoredEntry>;
  private readonly letters: Collection<StoredLetter>;
  private readonly archive: MongoArchive;
  private readonly userSums: MongoTotals;
  private readonly serverSums: MongoTotals;

  constructor(db: Db, { clock, random }: { readonly clock: Clock; readonly random: () => number }) {
    this.stored = db.collection("accounts");
    this.lines = db.collection("entries");
    this.letters = db.collection("deadLetters");
    this.archive = new MongoArchive(db, clock, random);
    this.userSums = new MongoTotals(this.lines, db.collection("userTotals"), "uncountedUser", random);
    this.serverSums = new MongoTotals(this.lines, db.collection("serverTotals"), "uncountedServer", random);
  }

  /** Makes the indexes that are missing. */
  async prepare(): Promise<void> {
    await ensureIndexes(this.stored, [{ name: "live", key: { live: 1, dueAt: 1 }, sparse: true }]);
    await ensureIndexes(this.lines, [
      { name: "bill", key: { user: 1, month: 1, at: 1, _id: 1 } },
      { name: "settlement", key: { appServer: 1, month: 1, at: 1, _id: 1 } },
      { name: "export", key: { month: 1, at: 1, _id: 1 } },
      { name: "correctedSession", key: { correctedSession: 1 }, sparse: true },
      { name: "uncountedUser", key: { uncountedUser: 1 }, sparse: true },
      { name: "uncountedServer", key: { uncountedServer: 1 }, sparse: true },
    ]);
  }

  async accounts(sessions: readonly string[]): Promise<(Account | undefined)[]> {
    if (sessions.length === 0) return [];
    const found = this.stored.find({ _id: { $in: sessions } }, { batchSize: sessions.length + 1 });
    const byId = new Map<string, Account>();
    for (const account of await found.toArray()) byId.set(account._id, toAccount(account));
    return sessions.map((session) => byId.get(session));
  }

  async findAccounts({ state, dueBy, limit }: AccountQuery): Promise<Account[]> {
    if (limit <= 0) return [];
    const due = state === "chargeable" && dueBy !== undefined ? { dueAt: { $lte: dueBy } } : {};
    const found = this.stored.find({ live: state, ...due }, { sort: { dueAt: 1 }, limit });
    return (await found.toArray()).map(toAccount);
  }

  async write({ entries, accounts, archive = [] }: BillingBatch): Promise<string[]> {
    // Before the entries: whoever finds them there takes it that their events are kept.
    if (archive.length > 0) await this.archive.keep(archive, await this.idsOf(entries));
    const lines = entries.map(fromEntry);
    await insertNew(this.lines, lines);
    await this.userSums.written(lines);
    await this.serverSums.written(lines);
    const refused = await replaceRevised(this.stored, accounts.map(fromAccount));
    return refused.map((place) => accounts[place]!.context.session);
  }

  /** Of those entries that are there already. */
  private async idsOf(entries: readonly Entry[]): Promise<ReadonlySet<string>> {
    if (entries.length === 0) return new Set();
    const ids = entries.map(({ id }) => id);
    const found = this.lines.find({ _id: { $in: ids } }, { projection: { _id: 1 }, batchSize: ids.length + 1 });
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
    const entries = (await this.lines.find(filter, options).toArray()).map(toEntry);
    const last = entries.at(-1);
    return last && entries.length === limit ? { entries, next: JSON.stringify([last.at, last.id]) } : { entries };
  }

  /** By their ids, which begin with the session's: that takes no index of its own but for corrections. */
  async entriesOf(session: string): Promise<Entry[]> {
    const ids = { $gte: `${session}:`, $lt: `${session};` };
    const [own, corrections] = await Promise.all([
      this.lines.find({ _id: ids, session }, { projection: ENTRY }).toArray(),
      this.lines.find({ correctedSession: session }, { projection: ENTRY }).toArray(),
    ]);
    return [...own, ...corrections].map(toEntry).sort((a, b) => a.at - b.at || (a.id < b.id ? -1 : 1));
  }

  async findEntries(ids: readonly string[]): Promise<(Entry | undefined)[]> {
    if (ids.length === 0) return [];
    const found = await this.lines.find({ _id: { $in: ids } }, { projection: ENTRY }).toArray();
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
    return this.archive.read(month, page);
  }

  async putDeadLetter({ id, ...letter }: DeadLetter): Promise<void> {
    await this.letters.replaceOne({ _id: id }, letter, { upsert: true });
  }

  async getDeadLetter(id: string): Promise<DeadLetter | undefined> {
    const found = await this.letters.findOne({ _id: id });
    return found ? fromLetter(found) : undefined;
  }

  async removeDeadLetter(id: string): Promise<boolean> {
    return (await this.letters.deleteOne({ _id: id })).deletedCount === 1;
  }

  async deadLetters(limit: number, after?: string): Promise<DeadLetter[]> {
    const query = after === undefined ? {} : { _id: { $gt: after } };
    const found = await this.letters.find(query, { sort: { _id: 1 }, limit }).toArray();
    return found.map(fromLetter);
  }

  async check(): Promise<void> {
    const _id = `check ${randomUUID()}`; // no session's, no entry's
    const collections: readonly Collection<{ _id: string }>[] = [this.stored, this.lines, this.archive.groups] as never;
    for (const collection of collections) {
      await collection.insertOne({ _id });
      await collection.deleteOne({ _id });
    }
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

/** All but what is there for the store itself. */
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
