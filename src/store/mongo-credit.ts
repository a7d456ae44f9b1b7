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
} from "../charging/credit-account.ts";
import {
  AHEAD_MS,
  type CreditAccount,
  type CreditStore,
  type Hold,
  type LedgerEntry,
  type Micros,
  type PostResult,
  type Refusal,
  type ReserveRequest,
  type Settlement,
} from "../charging/credit-store.ts";
import { BusyError } from "../charging/faults.ts";
import { err, ok, type Result } from "../support/result.ts";
import { ensureIndexes } from "./mongo-indexes.ts";
import { insertNew, isDuplicate, type Revised, replaceRevised } from "./mongo-writes.ts";

interface StoredCredit extends Revised {
  readonly currency: string;
  readonly available: Micros;
  /** In a list, since their keys may be no names that MongoDB takes for fields. */
  readonly holds: readonly (Hold & { readonly key: string })[];
  /** When the first hold is over; missing: none will be. */
  readonly until?: number;
  /** Entries of the ledger that are part of `available` and may not lie in the ledger yet. */
  readonly outbox: readonly LedgerEntry[];
}

type StoredLedgerEntry = LedgerEntry & { readonly _id: string };

/** Others that write the same account at the same moment: after so many the caller hears of it. */
const MAX_TRIES = 200;

/**
 * Prepaid balances in MongoDB. An account is one document, written under a revision. What a step puts into the ledger is written with it, as
 * `outbox`; whoever reads the account next puts it where it belongs, if the one that wrote it could not.
 */
export class MongoCredit implements CreditStore {
  private readonly accounts: Collection<StoredCredit>;
  private readonly entries: Collection<StoredLedgerEntry>;
  /** The last step of each account that is under way here: they take turns instead of failing each other's writes. */
  private readonly turns = new Map<string, Promise<unknown>>();

  constructor(db: Db) {
    this.accounts = db.collection("creditAccounts");
    this.entries = db.collection("creditLedger");
  }

  /** Makes the indexes that are missing. */
  async prepare(): Promise<void> {
    await ensureIndexes(this.accounts, [{ name: "until", key: { until: 1 }, sparse: true }]);
    await ensureIndexes(this.entries, [{ name: "ledger", key: { user: 1, at: 1, id: 1 } }]);
  }

  async account(user: string): Promise<CreditAccount | undefined> {
    const stored = await this.accounts.findOne({ _id: user });
    return stored ? toAccount(stored) : undefined;
  }

  async open(user: string, currency: string): Promise<boolean> {
    try {
      await this.accounts.insertOne({ _id: user, revision: 1, currency, available: 0, holds: [], outbox: [] });
      return true;
    } catch (error) {
      if (isDuplicate(error)) return false;
      throw error;
    }
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
    await this.change(settlement.user, async (account) => ({
      result: undefined,
      step: account && settleIn(account, settlement, await this.debited(settlement)),
    }));
  }

  private async debited({ user, hold }: Settlement): Promise<Debited> {
    const ids = { $gte: ledgerKey(user, `session:${hold}:`), $lt: ledgerKey(user, `session:${hold};`) };
    return this.entries.find({ _id: ids }, { projection: { amount: 1, at: 1 } }).toArray();
  }

  async overdue(
    now: number,
    { after, limit }: Parameters<CreditStore["overdue"]>[1],
  ): ReturnType<CreditStore["overdue"]> {
    const [until, user] = after === undefined ? [] : (JSON.parse(after) as [number, string]);
    const due: Filter<StoredCredit> = { $or: [{ until: { $lte: now } }, { until: { $gt: now + AHEAD_MS } }] };
    const next: Filter<StoredCredit> = { $or: [{ until: { $gt: until! } }, { until: until!, _id: { $gt: user! } }] };
    const query = after === undefined ? due : { $and: [due, next] };
    const found = await this.accounts.find(query, { sort: { until: 1, _id: 1 }, limit }).toArray();
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
    return this.change<PostResult>(entry.user, async (account) => {
      if (!account) return { result: "no account" };
      if (account.currency !== entry.currency) return { result: "currency" };
      const before = await this.entries.findOne({ _id: ledgerKey(entry.user, entry.id) });
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
    await this.current(user);
    const [at, id] = after === undefined ? [from, undefined] : (JSON.parse(after) as [number, string]);
    const time = { ...(at !== undefined && { $gte: at }), ...(to !== undefined && { $lt: to }) };
    const found = await this.entries
      .find(
        {
          user,
          ...((at !== undefined || to !== undefined) && { at: time }),
          ...(id !== undefined && { $or: [{ at: { $gt: at! } }, { id: { $gt: id } }] }),
        },
        { sort: { at: 1, id: 1 }, limit, projection: { _id: 0 } },
      )
      .toArray();
    const entries = found as LedgerEntry[];
    const last = entries.at(-1);
    return last && entries.length === limit ? { entries, next: JSON.stringify([last.at, last.id]) } : { entries };
  }

  /** Reads, decides and writes, again and again until nobody else wrote in between. */
  private change<T>(
    user: string,
    decide: (account: CreditAccount | undefined) => Decision<T> | Promise<Decision<T>>,
  ): Promise<T> {
    return this.inTurn(user, async () => {
      for (let tries = 0; tries < MAX_TRIES; tries++) {
        const before = await this.current(user);
        const { result, step } = await decide(before && toAccount(before));
        if (!before || !step) return result;
        const after = fromAccount(step, before.revision + 1);
        if (!(await this.write(after))) continue;
        if (after.outbox.length > 0) await this.delivered(after);
        return result;
      }
      throw new BusyError(`the balance of ${user} is being written by others all the time`);
    });
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

  /** The account, with all that belongs in the ledger there. */
  private async current(user: string): Promise<StoredCredit | undefined> {
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const stored = await this.accounts.findOne({ _id: user });
      if (!stored) return undefined;
      if (stored.outbox.length === 0) return stored;
      const emptied = await this.delivered(stored);
      if (emptied) return emptied;
    }
    throw new BusyError(`the balance of ${user} is being written by others all the time`);
  }

  /** Puts the outbox into the ledger; undefined where somebody else emptied it first. */
  private async delivered(account: StoredCredit): Promise<StoredCredit | undefined> {
    const { _id, outbox, revision } = account;
    await insertNew(
      this.entries,
      outbox.map((entry) => ({ _id: ledgerKey(_id, entry.id), ...entry })),
    );
    const emptied = { ...account, revision: revision + 1, outbox: [] };
    return (await this.write(emptied)) ? emptied : undefined;
  }

  private async write(account: StoredCredit): Promise<boolean> {
    return (await replaceRevised(this.accounts, [account])).length === 0;
  }
}

interface Decision<T> {
  readonly result: T;
  /** Missing: nothing is to be written. */
  readonly step?: Step | undefined;
}

const ledgerKey = (user: string, id: string): string => `${user}\n${id}`;

function toAccount({ _id, currency, available, holds }: StoredCredit): CreditAccount {
  return { user: _id, currency, available, holds: Object.fromEntries(holds.map(({ key, ...hold }) => [key, hold])) };
}

function fromAccount({ account, entries }: Step, revision: number): StoredCredit {
  const { user, currency, available, holds } = account;
  const until = firstUntil(account);
  return {
    _id: user,
    revision,
    currency,
    available,
    holds: Object.entries(holds).map(([key, hold]) => ({ key, ...hold })),
    ...(until !== undefined && { until }),
    outbox: entries,
  };
}
