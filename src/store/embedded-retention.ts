import type { Database, RootDatabase } from "lmdb";
import type { Forgetting, Forgotten } from "../charging/billing/store.ts";
import type { LmdbDisk } from "../support/lmdb-disk.ts";
import { timePrefix } from "../support/random.ts";
import { type AccountForm, accountOf, accountWith, type EntryForm, entryOf } from "./embedded-forms.ts";

type Key = (string | number | true)[];
// biome-ignore lint/suspicious/noExplicitAny: only the keys count here, and lmdb's type of a database says both
type Keys = Database<any, any>;

export interface Kept {
  readonly archive: Keys;
  readonly entries: Database<EntryForm | string, string>;
  /** Months of users, and of app servers: places of entries, and sums. */
  readonly users: Keys;
  readonly servers: Keys;
  readonly accounts: Database<AccountForm, string>;
  /** Accounts that take late charges, by the time when that ends. */
  readonly due: Keys;
}

/** Removes records that need not be kept any longer. An account that is stored with an entry goes with that entry. */
export class EmbeddedRetention {
  private readonly root: RootDatabase;
  private readonly disk: LmdbDisk;
  private readonly kept: Kept;
  /**
   * The last account that was looked at. The next call goes on behind it, since the accounts before may have stayed.
   */
  private lookedAt = "";

  constructor(root: RootDatabase, disk: LmdbDisk, kept: Kept) {
    this.root = root;
    this.disk = disk;
    this.kept = kept;
  }

  newestMonth(): string | undefined {
    this.root.resetReadTxn();
    const [newest] = Array.from(this.kept.servers.getKeys({ reverse: true, limit: 1 }) as Iterable<Key>);
    return newest?.[0] as string | undefined;
  }

  forget({ eventsBefore, entriesBefore, accountsBefore }: Forgetting, limit: number): Promise<Forgotten> {
    const work = (): Forgotten => {
      let records = 0;
      if (eventsBefore !== undefined) records += this.events(eventsBefore, limit);
      if (entriesBefore !== undefined && records < limit) records += this.entries(entriesBefore, limit - records);
      if (accountsBefore === undefined || records >= limit) return { records, more: records >= limit };
      const looked = this.accounts(accountsBefore, limit - records);
      return { records: records + looked.records, more: looked.more };
    };
    return this.disk.write(() => this.root.childTransaction(work));
  }

  private events(before: string, limit: number): number {
    const keys = Array.from(this.kept.archive.getKeys({ end: [before], limit }) as Iterable<Key>);
    for (const key of keys) this.kept.archive.removeSync(key);
    return keys.length;
  }

  private entries(before: string, limit: number): number {
    const { servers } = this.kept;
    const places = Array.from(servers.getKeys({ end: [before], limit }) as Iterable<Key>);
    for (const place of places) {
      servers.removeSync(place);
      const [, , at, id] = place;
      if (at !== true) this.entry(id as string);
    }
    return places.length;
  }

  /** Removes an entry, its place in the user's month, and the sums of that month. */
  private entry(id: string): void {
    const { entries, users, due } = this.kept;
    const form = entries.get(id);
    if (typeof form !== "object") return;
    const { user, month, at, session, kind } = entryOf(id, form);
    users.removeSync([user, month, at, id]);
    for (const sum of Array.from(users.getKeys({ start: [user, month, true], end: [user, month, 0] })))
      users.removeSync(sum);
    const account = accountWith(id, form);
    if (account?.state === "chargeable") due.removeSync([account.context.dueAt ?? 0, session]);
    if (kind === "correction") entries.removeSync(`${session}:${id}`);
    entries.removeSync(id);
  }

  private accounts(before: number, limit: number): Forgotten {
    const { accounts } = this.kept;
    const range = { start: this.lookedAt, exclusiveStart: true, end: timePrefix(before), limit };
    const found = Array.from(accounts.getRange(range));
    let records = 0;
    for (const { key, value } of found) {
      const { state, context } = accountOf(key, value);
      if (state !== "closed" || context.endedAt === null || context.endedAt > before) continue;
      accounts.removeSync(key);
      records++;
    }
    const more = found.length === limit;
    this.lookedAt = more ? found.at(-1)!.key : "";
    return { records, more };
  }
}
