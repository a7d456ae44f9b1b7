import type { Collection, Filter } from "mongodb";
import type { Account, AccountState, Forgetting, Forgotten } from "../charging/billing/store.ts";
import { timePrefix } from "../support/random.ts";
import type { ReadScope, Scope, Sessions } from "./mongo-sessions.ts";
import { deleteEach } from "./mongo-writes.ts";

type WithId = { readonly _id: string };

export interface Kept {
  readonly archive: Collection<WithId>;
  readonly entries: Collection<WithId & { readonly month: string }>;
  /** The sums of users and of app servers. */
  readonly totals: readonly Collection<WithId>[];
  readonly accounts: Collection<WithId & { readonly state: AccountState; readonly context: string }>;
}

/**
 * Removes records that need not be kept any longer. Ids of events and sums begin with their month, ids of accounts with
 * their time. Entries have their month as a field.
 */
export class MongoRetention {
  private readonly kept: Kept;
  private readonly sessions: Sessions;
  /**
   * The last account that was looked at. The next call goes on behind it, since the accounts before may have stayed.
   */
  private lookedAt = "";

  constructor(kept: Kept, sessions: Sessions) {
    this.kept = kept;
    this.sessions = sessions;
  }

  async newestMonth(): Promise<string | undefined> {
    const options = { sort: { month: -1, at: -1, _id: -1 }, projection: { month: 1 } } as const;
    const newest = await this.sessions.run((read) => this.kept.entries.findOne({}, { ...read, ...options }));
    return newest?.month;
  }

  forget({ eventsBefore, entriesBefore, accountsBefore }: Forgetting, limit: number): Promise<Forgotten> {
    return this.sessions.run(async (read, scope) => {
      let records = 0;
      const remove = async <T extends WithId>(from: Collection<T>, which: Filter<T>, sort: Record<string, 1>) => {
        if (records >= limit) return;
        const options = { ...read, sort, limit: limit - records, projection: { _id: 1 } };
        const found = await from.find(which, options).toArray();
        records += await deleteEach(
          from,
          found.map(({ _id }) => String(_id)),
          scope,
        );
      };
      const { archive, entries, totals } = this.kept;
      if (eventsBefore !== undefined) await remove(archive, { _id: { $lt: eventsBefore } }, { _id: 1 });
      if (entriesBefore !== undefined) {
        await remove(entries, { month: { $lt: entriesBefore } }, { month: 1, at: 1, _id: 1 });
        // The sums of a month go when none of its entries is left.
        for (const sums of totals) await remove(sums, { _id: { $lt: entriesBefore } }, { _id: 1 });
      }
      if (records >= limit || accountsBefore === undefined) return { records, more: records >= limit };
      const looked = await this.accounts(accountsBefore, limit - records, read, scope);
      return { records: records + looked.records, more: looked.more };
    });
  }

  private async accounts(before: number, limit: number, read: ReadScope, scope: Scope): Promise<Forgotten> {
    const { accounts } = this.kept;
    const which = { _id: { $gt: this.lookedAt, $lt: timePrefix(before) } };
    const found = await accounts.find(which, { ...read, sort: { _id: 1 }, limit }).toArray();
    const old = found.filter(({ state, context }) => state === "closed" && endedBefore(context, before));
    const records = await deleteEach(
      accounts,
      old.map(({ _id }) => _id),
      scope,
    );
    const more = found.length === limit;
    this.lookedAt = more ? found.at(-1)!._id : "";
    return { records, more };
  }
}

function endedBefore(context: string, before: number): boolean {
  try {
    const { endedAt } = JSON.parse(context) as Account["context"];
    return endedAt !== null && endedAt <= before;
  } catch {
    return false; // unreadable, so it stays: somebody may want to look at it
  }
}
