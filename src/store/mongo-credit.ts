import type { Collection, Db, Filter } from "mongodb";
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
import { BusyError } from "../charging/events/faults.ts";
import type { Logger } from "../support/log.ts";
import { err, ok, type Result } from "../support/result.ts";
import { ensureIndexes, type MakeIndex } from "./mongo-indexes.ts";
import { NO_SESSIONS, type ReadScope, type Scope, type Sessions } from "./mongo-sessions.ts";
import { insertNew, isDuplicate, type Revised, replaceRevised } from "./mongo-writes.ts";

interface StoredCredit extends Revised, CreditTerms {
  readonly currency: string;
  readonly available: Micros;
  /** A list, since MongoDB may not accept their keys as names of fields. */
  readonly holds: readonly (Hold & { readonly key: string })[];
  readonly day?: CreditAccount["day"];
  /** When the first hold ends; missing if there is no hold. */
  readonly until?: number;
  /** Entries that `available` includes already, but that may not be in the ledger yet. */
  readonly outbox: readonly LedgerEntry[];
}

/**
 * `revision`: that of the account when it was written with this entry. Missing if an earlier version of Tollgate wrote
 * it.
 */
type StoredLedgerEntry = LedgerEntry & { readonly _id: string; readonly revision?: number };

/** How often a step is tried while others write the same account. After that the caller gets an error. */
const MAX_TRIES = 200;

/**
 * Prepaid balances in MongoDB. An account is one document, written under a revision. The ledger entries of a step are
 * written with the account, as its `outbox`, and then moved into the ledger. If the process that wrote them could not
 * do that, the next one that works with the account does it.
 */
export class MongoCredit implements CreditStore {
  private readonly accounts: Collection<StoredCredit>;
  private readonly entries: Collection<StoredLedgerEntry>;
  /**
   * The last step under way for each account. The steps of this process take turns, so that they do not make each
   * other's writes fail.
   */
  private readonly turns = new Map<string, Promise<unknown>>();

  private readonly sessions: Sessions;
  private readonly log: Logger | undefined;

  constructor(db: Db, sessions: Sessions = NO_SESSIONS, log?: Logger) {
    this.sessions = sessions;
    this.log = log;
    this.accounts = db.collection("creditAccounts");
    this.entries = db.collection("creditLedger");
  }

  /** Makes the indexes that are missing. */
  async prepare(make?: MakeIndex): Promise<void> {
    await ensureIndexes(this.accounts, [{ name: "until", key: { until: 1 }, sparse: true }], make);
    await ensureIndexes(this.entries, [{ name: "ledger", key: { user: 1, at: 1, id: 1 } }], make);
  }

  async account(user: string): Promise<CreditAccount | undefined> {
    const stored = await this.sessions.run((read) => this.accounts.findOne({ _id: user }, read));
    return stored ? toAccount(stored) : undefined;
  }

  async open(user: string, currency: string): Promise<boolean> {
    try {
      const account: StoredCredit = { _id: user, revision: 1, currency, available: 0, holds: [], outbox: [] };
      await this.sessions.run((_, scope) => this.accounts.insertOne(account, { ...scope }));
      return true;
    } catch (error) {
      if (isDuplicate(error)) return false;
      throw error;
    }
  }

  setTerms(user: string, terms: CreditTerms): Promise<boolean> {
    return this.change<boolean>(user, (account) => {
      if (!account) return { result: false };
      return { result: true, step: { account: withTerms(account, terms), entries: [] } };
    });
  }

  reserve(request: ReserveRequest): Promise<Result<Micros, Refusal>> {
    return this.change<Result<Micros, Refusal>>(request.user, (account) => {
      if (!account) return { result: err({ why: "no account" }) };
      const reserved = reserveIn(account, request);
      if (!reserved.ok) return { result: reserved };
      return { result: ok(reserved.value.held), step: { account: reserved.value.account, entries: [] } };
    });
  }

  async settle(settlement: Settlement): Promise<void> {
    await this.change(settlement.user, async (account, read) => ({
      result: undefined,
      step: account && settleIn(account, settlement, await this.debited(settlement, read)),
    }));
  }

  private async debited({ user, hold }: Settlement, read: ReadScope): Promise<Debited> {
    const ids = { $gte: ledgerKey(user, `session:${hold}:`), $lt: ledgerKey(user, `session:${hold};`) };
    return this.entries.find({ _id: ids }, { ...read, projection: { amount: 1, at: 1 } }).toArray();
  }

  async overdue(
    now: number,
    { after, limit }: Parameters<CreditStore["overdue"]>[1],
  ): ReturnType<CreditStore["overdue"]> {
    const [until, user] = after === undefined ? [] : (JSON.parse(after) as [number, string]);
    const due: Filter<StoredCredit> = { $or: [{ until: { $lte: now } }, { until: { $gt: now + AHEAD_MS } }] };
    const next: Filter<StoredCredit> = { $or: [{ until: { $gt: until! } }, { until: until!, _id: { $gt: user! } }] };
    const query = after === undefined ? due : { $and: [due, next] };
    const options = { sort: { until: 1, _id: 1 }, limit } as const;
    const found = await this.sessions.run((read) => this.accounts.find(query, { ...read, ...options }).toArray());
    const accounts = found.map(toAccount);
    const last = found.at(-1);
    return last && found.length === limit ? { accounts, next: JSON.stringify([last.until, last._id]) } : { accounts };
  }

  release(user: string, seen: Readonly<Record<string, Hold>>): Promise<boolean> {
    return this.change<boolean>(user, (account) => {
      const step = account && releaseIn(account, seen);
      return { result: step !== undefined, step };
    });
  }

  post(entry: LedgerEntry): Promise<PostResult> {
    return this.change<PostResult>(entry.user, async (account, read) => {
      if (!account) return { result: "no account" };
      if (account.currency !== entry.currency) return { result: "currency" };
      const before = await this.entries.findOne({ _id: ledgerKey(entry.user, entry.id) }, read);
      if (before) return { result: isSameEntry(before, entry) ? "repeated" : "different" };
      return { result: "posted", step: postIn(account, entry) };
    });
  }

  async ledger(
    user: string,
    {
      from,
      to,
      after,
      limit,
    }: {
      readonly from?: number | undefined;
      readonly to?: number | undefined;
      readonly after?: string | undefined;
      readonly limit: number;
    },
  ): Promise<{ readonly entries: LedgerEntry[]; readonly next?: string }> {
    const [at, id] = after === undefined ? [from, undefined] : (JSON.parse(after) as [number, string]);
    const time = { ...(at !== undefined && { $gte: at }), ...(to !== undefined && { $lt: to }) };
    const filter = {
      user,
      ...((at !== undefined || to !== undefined) && { at: time }),
      ...(id !== undefined && { $or: [{ at: { $gt: at! } }, { id: { $gt: id } }] }),
    };
    const options = { sort: { at: 1, id: 1 }, limit, projection: { _id: 0, revision: 0 } } as const;
    const found = await this.sessions.run(async (read, scope) => {
      await this.current(user, read, scope);
      return this.entries.find(filter, { ...read, ...options }).toArray();
    });
    const entries = found as LedgerEntry[];
    const last = entries.at(-1);
    return last && entries.length === limit ? { entries, next: JSON.stringify([last.at, last.id]) } : { entries };
  }

  /** Reads, decides and writes in one session, again and again until nobody else wrote in between. */
  private change<T>(
    user: string,
    decide: (account: CreditAccount | undefined, read: ReadScope) => Decision<T> | Promise<Decision<T>>,
  ): Promise<T> {
    const attempt = async (read: ReadScope, scope: Scope): Promise<T> => {
      for (let tries = 0; tries < MAX_TRIES; tries++) {
        const before = await this.current(user, read, scope);
        const { result, step } = await decide(before && toAccount(before), read);
        if (!before || !step) return result;
        const after = fromAccount(step, before.revision + 1);
        if (!(await this.write(after, scope))) continue;
        if (after.outbox.length === 0 || (await this.delivered(after, read, scope)).stands) return result;
      }
      throw new BusyError(`the balance of ${user} is being written by others all the time`);
    };
    return this.inTurn(user, () => this.sessions.run(attempt));
  }

  private inTurn<T>(user: string, work: () => Promise<T>): Promise<T> {
    const done = (this.turns.get(user) ?? Promise.resolve()).then(work, work);
    this.turns.set(user, done);
    const leave = () => {
      if (this.turns.get(user) === done) this.turns.delete(user);
    };
    done.then(leave, leave);
    return done;
  }

  /** The account, after its outbox was moved into the ledger. */
  private async current(user: string, read: ReadScope, scope: Scope): Promise<StoredCredit | undefined> {
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const stored = await this.accounts.findOne({ _id: user }, read);
      if (!stored) return undefined;
      if (stored.outbox.length === 0) return stored;
      const { emptied } = await this.delivered(stored, read, scope);
      if (emptied) return emptied;
    }
    throw new BusyError(`the balance of ${user} is being written by others all the time`);
  }

  /**
   * Moves the outbox into the ledger. If another entry with one of its ids is there already, the account was written by
   * a process that had not seen that entry. The change of the balance is then taken back, and `stands` is false.
   * `emptied` is undefined if another process did all this first.
   */
  private async delivered(account: StoredCredit, read: ReadScope, scope: Scope): Promise<Delivery> {
    const { _id, outbox, revision } = account;
    const documents = outbox.map((entry) => ({ _id: ledgerKey(_id, entry.id), ...entry, revision }));
    const there = (await insertNew(this.entries, documents, scope)).map((place) => documents[place]!);
    const others = await this.otherThan(there, read);
    const available = others.reduce((sum, { amount }) => sum - amount, account.available);
    const emptied = { ...account, available, revision: revision + 1, outbox: [] };
    if (await this.write(emptied, scope)) {
      if (others.length > 0)
        this.log?.error({ user: _id, entries: others }, "credit: moved by what was not the newest, and taken back");
      return { emptied, stands: others.length === 0 };
    }
    return { stands: (await this.otherThan(documents, read)).length === 0 };
  }

  /**
   * Those that are not in the ledger as they are: it has none of that id, or one with other contents, or one from
   * another write of the account.
   */
  private async otherThan(documents: readonly StoredLedgerEntry[], read: ReadScope): Promise<StoredLedgerEntry[]> {
    if (documents.length === 0) return [];
    const found = await this.entries.find({ _id: { $in: documents.map(({ _id }) => _id) } }, read).toArray();
    const byId = new Map(found.map((one) => [one._id, one]));
    return documents.filter((one) => {
      const there = byId.get(one._id);
      if (!there) return true;
      const isOfThis = there.revision === undefined || there.revision === one.revision;
      return !isOfThis || !isSameEntry(there, one) || there.at !== one.at;
    });
  }

  private async write(account: StoredCredit, scope: Scope): Promise<boolean> {
    return (await replaceRevised(this.accounts, [account], scope)).length === 0;
  }
}

interface Delivery {
  readonly emptied?: StoredCredit;
  /** The whole outbox is in the ledger. */
  readonly stands: boolean;
}

interface Decision<T> {
  readonly result: T;
  /** Missing: nothing is to be written. */
  readonly step?: Step | undefined;
}

const ledgerKey = (user: string, id: string): string => `${user}\n${id}`;

function toAccount({ _id, currency, available, holds, limit, perDay, day }: StoredCredit): CreditAccount {
  return {
    user: _id,
    currency,
    available,
    holds: Object.fromEntries(holds.map(({ key, ...hold }) => [key, hold])),
    ...termsOf({ limit, perDay, day }),
  };
}

type TermsAndDay = { readonly [Key in keyof CreditTerms | "day"]: CreditAccount[Key] | undefined };

const termsOf = ({ limit, perDay, day }: TermsAndDay): Pick<CreditAccount, keyof TermsAndDay> => ({
  ...(limit !== undefined && { limit }),
  ...(perDay !== undefined && { perDay }),
  ...(day !== undefined && { day }),
});

function fromAccount({ account, entries }: Step, revision: number): StoredCredit {
  const { user, currency, available, holds, limit, perDay, day } = account;
  const until = firstUntil(account);
  return {
    _id: user,
    revision,
    currency,
    available,
    holds: Object.entries(holds).map(([key, hold]) => ({ key, ...hold })),
    ...(until !== undefined && { until }),
    ...termsOf({ limit, perDay, day }),
    outbox: entries,
  };
}
