import type { Collection, Filter, UpdateFilter } from "mongodb";
import { type Side, Sums } from "../charging/billing/month-total.ts";
import type { Entry, MonthTotal } from "../charging/billing/store.ts";
import { BusyError } from "../charging/events/faults.ts";
import { NO_SESSIONS, type ReadScope, type Scope, type Sessions } from "./mongo-sessions.ts";
import { type Revised, replaceRevised, updateEach } from "./mongo-writes.ts";

/**
 * The field that marks an entry as not counted yet: in the sums of its user, or of its app server. Its value is the key
 * of those sums.
 */
export type Mark = "uncountedUser" | "uncountedServer";

/** An entry as stored in MongoDB. */
export type StoredEntry = Omit<Entry, "id"> & { readonly _id: string } & { readonly [M in Mark]?: string } & {
  /** The session again, for a correction, whose id does not begin with it. */
  readonly correctedSession?: string;
};

/** The sums of a month, without entries that are marked and not pending. */
export interface StoredTotals extends Revised {
  readonly sums: readonly MonthTotal[];
  /** Ids of entries that are in `sums` and may still bear their mark. */
  readonly pending: readonly string[];
}

type Countable = Pick<Entry, "service" | "currency" | "amount" | "terms" | "prepaid"> & { readonly _id: string };

const COUNTED = {
  ...{ service: 1, currency: 1, amount: 1, kind: 1, durationMs: 1, of: 1 },
  ...{ terms: 1, prepaid: 1 },
} as const;
/** One in so many written entries, by chance, has its month counted. */
export const FOLD_EVERY = 1_000;
/** How many entries are counted in one step. Their ids must fit into one document. */
const FOLD_AT_ONCE = 2_000;
/** Sums that change while they are being read are read again, so many times. */
const MAX_READS = 100;

/**
 * The key of the sums of one month of a user or an app server. A month has seven characters, so no two pairs make the
 * same key.
 */
export const totalsKey = (owner: string, month: string): string => `${month} ${owner}`;

/**
 * The sums of each month of a user or an app server. They are exact, even if a write is repeated, others write at the
 * same time, or a process dies at any point. Only atomic writes of single documents are used.
 *
 * An entry is written with a mark. Counting takes three steps. First, one write adds marked entries to the sums and
 * lists them as `pending`. Then the mark is removed from these entries. Then `pending` is emptied. A write of the sums
 * needs the revision that was read, so no entry is counted twice. A process that finds `pending` filled does the last
 * two steps first, since the process that filled it may be dead. The total of a month is: the sums, plus the entries
 * that are marked and not pending.
 *
 * Counting waits until there is much to count. Chance decides when: of the entries written, one in `FOLD_EVERY` has its
 * month counted. So a month has about that many entries that are not counted, however many workers there are and
 * however often they start anew.
 */
export class MongoTotals {
  private readonly entries: Collection<StoredEntry>;
  readonly totals: Collection<StoredTotals>;
  private readonly mark: Mark;
  private readonly random: () => number;
  private readonly folding = new Map<string, Promise<void>>();

  private readonly sessions: Sessions;

  constructor(
    entries: Collection<StoredEntry>,
    totals: Collection<StoredTotals>,
    mark: Mark,
    random: () => number,
    sessions: Sessions = NO_SESSIONS,
  ) {
    this.sessions = sessions;
    this.entries = entries;
    this.totals = totals;
    this.mark = mark;
    this.random = random;
  }

  /** Has months counted now and then, in the background. Waits first if such a month is being counted already. */
  async written(entries: readonly StoredEntry[]): Promise<void> {
    for (const entry of entries) {
      if (this.random() * FOLD_EVERY >= 1) continue;
      const key = entry[this.mark]!;
      await this.folding.get(key);
      this.foldLater(key);
    }
  }

  private foldLater(key: string): void {
    if (this.folding.has(key)) return;
    const done = this.fold(key)
      .catch(() => {}) // the sums are right without this, and it is tried again
      .finally(() => this.folding.delete(key));
    this.folding.set(key, done);
  }

  /** Resolves when nothing is being counted. */
  async settled(): Promise<void> {
    await Promise.all(this.folding.values());
  }

  /** Counts the marked entries. If another worker is faster, it may leave the rest to that worker. */
  fold(key: string): Promise<void> {
    return this.sessions.run((read, scope) => this.foldIn(key, read, scope));
  }

  private async foldIn(key: string, read: ReadScope, scope: Scope): Promise<void> {
    for (;;) {
      const before = await this.stored(key, read);
      if (before.pending.length > 0) {
        const unmark = { $unset: { [this.mark]: "" } } as UpdateFilter<StoredEntry>;
        await updateEach(this.entries, before.pending, unmark, scope);
        if (!(await this.write({ ...before, pending: [] }, scope))) return;
        continue;
      }
      // Read after the sums, whose `pending` was empty. So marked entries are not in these sums; or the revision has
      // changed since, and the write below fails.
      const marked = await this.uncounted(key, read, FOLD_AT_ONCE);
      if (marked.length === 0) return;
      const pending = marked.map(({ _id }) => _id);
      if (!(await this.write({ ...before, sums: summed(before.sums, marked, this.mark), pending }, scope))) return;
    }
  }

  read(key: string): Promise<MonthTotal[]> {
    return this.sessions.run((read) => this.readIn(key, read));
  }

  private async readIn(key: string, read: ReadScope): Promise<MonthTotal[]> {
    let before = await this.stored(key, read);
    for (let reads = 0; reads < MAX_READS; reads++) {
      const marked = await this.uncounted(key, read);
      const after = await this.stored(key, read);
      // Nothing was counted in between: each entry is in the sums, or among those that were read.
      if (after.revision === before.revision) {
        if (marked.length > FOLD_AT_ONCE) this.foldLater(key);
        const pending = new Set(after.pending);
        return summed(
          after.sums,
          marked.filter(({ _id }) => !pending.has(_id)),
          this.mark,
        );
      }
      before = after;
    }
    throw new BusyError(`the sums of ${key} change all the time`);
  }

  private async stored(key: string, read: ReadScope): Promise<StoredTotals> {
    return (await this.totals.findOne({ _id: key }, read)) ?? { _id: key, revision: 0, sums: [], pending: [] };
  }

  private async write(totals: StoredTotals, scope: Scope): Promise<boolean> {
    return (await replaceRevised(this.totals, [{ ...totals, revision: totals.revision + 1 }], scope)).length === 0;
  }

  private uncounted(key: string, read: ReadScope, limit = 0): Promise<Countable[]> {
    return this.entries
      .find<Countable>({ [this.mark]: key } as Filter<StoredEntry>, {
        ...read,
        projection: COUNTED,
        limit,
        batchSize: FOLD_AT_ONCE + 1,
      })
      .toArray();
  }
}

function summed(sums: readonly MonthTotal[], entries: readonly Countable[], mark: Mark): MonthTotal[] {
  const all = new Sums(SIDES[mark], sums);
  for (const entry of entries) all.add(entry as unknown as Entry);
  return all.all();
}

const SIDES: Readonly<Record<Mark, Side>> = { uncountedUser: "user", uncountedServer: "appServer" };
