import type { Collection, Filter, UpdateFilter } from "mongodb";
import { type Side, Sums } from "../charging/billing/month-total.ts";
import type { Entry, MonthTotal } from "../charging/billing/store.ts";
import { BusyError } from "../charging/events/faults.ts";
import { NO_SESSIONS, type ReadScope, type Scope, type Sessions } from "./mongo-sessions.ts";
import { type Revised, replaceRevised, updateEach } from "./mongo-writes.ts";

/** Whose months are summed up: the field that marks an entry as not counted yet, by the sum that it belongs to. */
export type Mark = "uncountedUser" | "uncountedServer";

/** An entry as it lies in MongoDB. */
export type StoredEntry = Omit<Entry, "id"> & { readonly _id: string } & { readonly [M in Mark]?: string } & {
  /** The session again, for a correction: its id does not begin with it. */
  readonly correctedSession?: string;
};

/** What a month comes to, less what still bears the mark. */
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
/** Of the entries that are written one in so many has its user's month summed up. */
export const FOLD_EVERY = 1_000;
/** Entries that are counted in one step: their ids must go into one document. */
const FOLD_AT_ONCE = 2_000;
/** Sums that change while they are being read are read again, so many times. */
const MAX_READS = 100;

/**
 * Under which name the month of a user or an app server is summed up. A month has seven characters: no two are the
 * same text.
 */
export const totalsKey = (owner: string, month: string): string => `${month} ${owner}`;

/**
 * The sums of each user's or each app server's month, exact whatever is repeated, whoever else writes, wherever a
 * process dies, with nothing but atomic writes of single documents:
 *
 * An entry is born with a mark. Counting takes three steps: the sums grow by entries that bear the mark, and in the
 * same write name them as `pending`; the mark is taken off these; `pending` is emptied. Each write of the sums needs
 * the revision that was read, so that no entry is counted twice; who finds `pending` filled does the last two steps
 * first, since whoever filled it may be dead. What a month comes to is: the sums, and the entries that bear the mark
 * and are not pending.
 *
 * Counting is put off until there is much to count, by chance: of the entries written, one in `FOLD_EVERY` has its
 * month counted. So a month has about that many that are not counted, however many workers there are and however
 * often they start anew.
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

  /**
   * Has months counted now and then, in the background; waits where one that is being counted would get another turn.
   */
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
      .catch(() => {}) // the sums are right without it, and it gets another turn
      .finally(() => this.folding.delete(key));
    this.folding.set(key, done);
  }

  /** Resolves when nothing is being counted. */
  async settled(): Promise<void> {
    await Promise.all(this.folding.values());
  }

  /** Counts what bears the mark. Where another worker is faster it may leave the rest to that one. */
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
      // Read after the sums, whose `pending` was empty: what bears the mark is not in them, or the revision has
      // changed since.
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
