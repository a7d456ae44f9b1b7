import type { Database, RootDatabase } from "lmdb";
import type { CallPage, CallPageQuery, CallRing, CallStore } from "../calls/store.ts";
import type { LmdbDisk } from "../support/lmdb-disk.ts";

/** The count of a page is in its key, so that old pages are found without reading any. */
type Key = [ring: CallRing, at: number, number: number, count: number];

/** Sorts after every number in lmdb's order of keys. */
const LAST = Buffer.from([0xff]);
const READ_PAGES = 16;

/** Records of calls in LMDB, a page in one value. They are looked up by searching the pages' texts. */
export class EmbeddedCalls implements CallStore {
  private readonly root: RootDatabase;
  private readonly disk: LmdbDisk;
  private readonly db: Database<string, Key>;
  private pagesAdded = 0;

  constructor(root: RootDatabase, disk: LmdbDisk) {
    this.root = root;
    this.disk = disk;
    this.db = root.openDB({ name: "calls", encoding: "string" });
  }

  async add({ ring, at, count, text }: CallPage): Promise<void> {
    const key: Key = [ring, at, this.pagesAdded++, count];
    await this.disk.write(() => this.db.put(key, text), text.length * 2);
  }

  async *pages({ ring, since = 0 }: CallPageQuery): AsyncIterable<string> {
    let before: unknown[] = [ring, LAST];
    for (;;) {
      this.root.resetReadTxn(); // another process may have written or removed pages meanwhile
      const range = { start: before as Key, end: [ring, since] as unknown as Key, reverse: true, limit: READ_PAGES };
      const found = Array.from(this.db.getRange({ ...range, exclusiveStart: true }));
      for (const { value } of found) yield value;
      const last = found.at(-1);
      if (!last || found.length < READ_PAGES) return;
      before = last.key;
    }
  }

  forget({ ring, before, most }: { ring: CallRing; before: number; most: number }): Promise<number> {
    const work = (): number => {
      let kept = 0;
      let gone = 0;
      const keys = this.db.getKeys({
        start: [ring, LAST] as unknown as Key,
        end: [ring] as unknown as Key,
        reverse: true,
      });
      for (const key of Array.from(keys)) {
        const [, at, , count] = key;
        kept += count;
        if (at >= before && kept <= most) continue;
        gone += count;
        this.db.removeSync(key);
      }
      return gone;
    };
    return this.disk.write(() => this.root.childTransaction(work));
  }
}
