import type { Database, RootDatabase } from "lmdb";
import type { Timed, TimeLog, TimeLogPage } from "../calls/time-log.ts";
import type { LmdbDisk } from "../support/lmdb-disk.ts";
import { timePrefix } from "../support/random.ts";

/** A log in LMDB: an entry in one value, by its id, which lies in the order of time. */
export class EmbeddedTimeLog<T extends Timed> implements TimeLog<T> {
  private readonly root: RootDatabase;
  private readonly disk: LmdbDisk;
  private readonly db: Database<T, string>;

  constructor(root: RootDatabase, disk: LmdbDisk, name: string) {
    this.root = root;
    this.disk = disk;
    this.db = root.openDB({ name, encoding: "json" });
  }

  async add(entry: T): Promise<void> {
    await this.disk.write(() => this.db.put(entry.id, entry));
  }

  async page({ since = 0, before, most }: { since?: number; before?: string; most: number }): Promise<TimeLogPage<T>> {
    this.root.resetReadTxn();
    const end = timePrefix(since);
    const range = { reverse: true, limit: most + 1, ...(before === undefined ? {} : { start: before }) } as const;
    const found: T[] = [];
    for (const { key, value } of this.db.getRange({ ...range, exclusiveStart: before !== undefined })) {
      if (key < end) break;
      found.push(value);
    }
    const entries = found.slice(0, most);
    return found.length > most ? { entries, next: entries.at(-1)!.id } : { entries };
  }

  forget({ before, most }: { before: number; most: number }): Promise<number> {
    const oldest = timePrefix(before);
    const work = (): number => {
      let gone = 0;
      let kept = 0;
      for (const key of Array.from(this.db.getKeys({ reverse: true }))) {
        if (key >= oldest && ++kept <= most) continue;
        this.db.removeSync(key);
        gone++;
      }
      return gone;
    };
    return this.disk.write(() => this.root.childTransaction(work));
  }
}
