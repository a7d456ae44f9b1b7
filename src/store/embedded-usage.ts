import { createHash } from "node:crypto";
import type { Database, RootDatabase } from "lmdb";
import type { LmdbDisk } from "../support/lmdb-disk.ts";
import { boundsOf, type UsageLetter, type UsageLetters } from "../usage/letters.ts";

/** Events that no endpoint takes, in LMDB. */
export class EmbeddedUsageLetters implements UsageLetters {
  private readonly root: RootDatabase;
  private readonly disk: LmdbDisk;
  private readonly db: Database<UsageLetter, string>;

  constructor(root: RootDatabase, disk: LmdbDisk) {
    this.root = root;
    this.disk = disk;
    this.db = root.openDB({ name: "usageLetters", encoding: "json" });
  }

  async put(letter: UsageLetter): Promise<void> {
    await this.disk.write(() => this.db.put(keyOf(letter.id), letter), letter.event.length * 2);
  }

  async get(id: string): Promise<UsageLetter | undefined> {
    this.db.resetReadTxn();
    return this.db.get(keyOf(id));
  }

  async list(limit: number, after?: string, sink?: string): Promise<UsageLetter[]> {
    this.db.resetReadTxn();
    const { above, below } = boundsOf(after, sink);
    const range = { start: keyOf(above), exclusiveStart: true, ...(below !== undefined && { end: below }) };
    return Array.from(this.db.getRange({ ...range, limit }), ({ value }) => value);
  }

  remove(id: string): Promise<boolean> {
    const work = () => {
      if (!this.db.doesExist(keyOf(id))) return false;
      this.db.removeSync(keyOf(id));
      return true;
    };
    return this.disk.write(() => this.root.childTransaction(work));
  }
}

/** The longest key that lmdb takes has 1,978 octets; an id in UTF-8 may have more. */
const MAX_KEY = 1_900;
const SHOWN = 400;

const keyOf = (id: string): string =>
  Buffer.byteLength(id) <= MAX_KEY ? id : `${id.slice(0, SHOWN)}~${createHash("sha256").update(id).digest("hex")}`;
