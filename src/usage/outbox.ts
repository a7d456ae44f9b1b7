import { type Database, open, type RootDatabase } from "lmdb";
import type { ChargingEvent } from "../charging/events/events.ts";
import { LmdbDisk } from "../support/lmdb-disk.ts";
import { privateFiles, privateFolder } from "../support/private-folder.ts";

/** The sink, and the number of the event in it. */
type Key = [sink: string, number: number];

/** An event that waits, under its number. */
export interface Waiting {
  readonly number: number;
  readonly event: ChargingEvent;
}

/**
 * Events on disk that wait for an endpoint, in the order in which they came. It stands between the bus within the
 * process, whose journal must not wait for somebody else's server, and the endpoints.
 */
export class UsageOutbox {
  private readonly root: RootDatabase;
  private readonly db: Database<ChargingEvent, Key>;
  /** For each sink the number of the last event that went out in a batch. */
  private readonly sealed: Database<number, string>;
  private readonly disk: LmdbDisk;
  private readonly counts = new Map<string, number>();
  private readonly next = new Map<string, number>();

  private constructor(root: RootDatabase, disk: LmdbDisk) {
    this.root = root;
    this.disk = disk;
    this.db = root.openDB({ name: "waiting", encoding: "json" });
    this.sealed = root.openDB({ name: "sealed", encoding: "json" });
    for (const key of this.db.getKeys({})) {
      const [sink, number] = key as Key;
      this.counts.set(sink, this.count(sink) + 1);
      this.next.set(sink, number + 1);
    }
  }

  /** Opens the outbox in a folder, which is made if there is none. Throws if it cannot be used. */
  static open(path: string, disk = new LmdbDisk(path)): UsageOutbox {
    privateFolder(path);
    // As in the journal: a promise resolves after the fsync, and no promise of lmdb's own can end the process.
    const root = open({ path, encoding: "json", overlappingSync: false, eventTurnBatching: false, noSubdir: false });
    privateFiles(path);
    return new UsageOutbox(root, disk);
  }

  /** The sinks for which something waits. */
  sinks(): string[] {
    return [...this.counts].filter(([, count]) => count > 0).map(([sink]) => sink);
  }

  count(sink: string): number {
    return this.counts.get(sink) ?? 0;
  }

  /** Puts events behind the others. Resolves when they are on the disk itself; rejects when they are not. */
  async append(parts: ReadonlyMap<string, readonly ChargingEvent[]>): Promise<void> {
    const puts: [Key, ChargingEvent][] = [];
    for (const [sink, events] of parts) {
      const first = this.next.get(sink) ?? 1;
      this.next.set(sink, first + events.length);
      for (const [i, event] of events.entries()) puts.push([[sink, first + i], event]);
    }
    const begin = () =>
      this.root.batch(() => {
        for (const [key, event] of puts) void this.db.put(key, event);
      });
    await this.disk.write(begin, puts.length * 1_024);
    for (const [sink, events] of parts) this.counts.set(sink, this.count(sink) + events.length);
  }

  /** The first events after a number. */
  after(sink: string, number: number, limit: number): Waiting[] {
    this.root.resetReadTxn();
    const range = { start: [sink, number + 1] as Key, end: [sink, Number.MAX_SAFE_INTEGER] as Key, limit };
    return Array.from(this.db.getRange(range), ({ key, value }) => ({ number: key[1], event: value }));
  }

  /** The number up to which events belong together in a batch, as far as they still wait; 0: there was none. */
  sealedUpTo(sink: string): number {
    return this.sealed.get(sink) ?? 0;
  }

  /** What waits up to this number goes out together. Resolves when that is on disk. */
  async seal(sink: string, number: number): Promise<void> {
    await this.disk.write(() => this.sealed.put(sink, number));
  }

  /** Forgets events, soon, all or none of them. Resolves when that is on disk. */
  async remove(sink: string, numbers: readonly number[]): Promise<void> {
    this.counts.set(sink, this.count(sink) - numbers.length);
    const begin = () =>
      this.root.batch(() => {
        for (const number of numbers) void this.db.remove([sink, number]);
      });
    await this.disk.write(begin);
  }

  close(): Promise<void> {
    return this.root.close();
  }
}
