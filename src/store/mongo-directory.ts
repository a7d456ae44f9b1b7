import { randomUUID } from "node:crypto";
import type { Collection, Db } from "mongodb";
import type { Clock } from "../support/clock.ts";
import type { ReadScope, Scope, Sessions } from "./mongo-sessions.ts";
import { isDuplicate } from "./mongo-writes.ts";

/** If a change is seen under way for so long, the process that began it is taken to be dead. */
const CHANGE_MS = 60_000;

/** One document of collection `meta`. */
interface Meta {
  readonly _id: "directory";
  readonly version?: number;
  /** Changes under way. */
  readonly changing?: readonly { readonly id: string }[];
}

/**
 * Counts the changes of the registries. A change is announced before it is made, and counted after. If its process dies
 * in between, another process counts it: one that has seen it announced for a minute by its own clock, so that clocks
 * of two machines are never compared. If the first process was only slow, the change is counted once more when it is
 * made, which does no harm.
 */
export class DirectoryVersion {
  private readonly meta: Collection<Meta>;
  private readonly clock: Clock;
  private readonly sessions: Sessions;
  /** Changes that were seen under way, and when first. */
  private readonly seen = new Map<string, number>();

  constructor(db: Db, clock: Clock, sessions: Sessions) {
    this.meta = db.collection<Meta>("meta");
    this.clock = clock;
    this.sessions = sessions;
  }

  /** Also shows whether this user may write. */
  async prepare(): Promise<void> {
    try {
      await this.meta.updateOne({ _id: "directory" }, { $setOnInsert: { version: 0, changing: [] } }, { upsert: true });
    } catch (error) {
      if (!isDuplicate(error)) throw error; // two processes open it at the same time
    }
  }

  read(): Promise<number> {
    return this.sessions.run(async (read, scope) => {
      const meta = await this.meta.findOne({ _id: "directory" }, read);
      const left = this.leftBehind((meta?.changing ?? []).map(({ id }) => id));
      for (const id of left) {
        const count = { $pull: { changing: { id } }, $inc: { version: 1 } };
        await this.meta.updateOne({ _id: "directory", "changing.id": id }, count, scope); // once, whoever counts it
      }
      return (meta?.version ?? 0) + left.length;
    });
  }

  private leftBehind(changing: readonly string[]): string[] {
    const now = this.clock.monotonic();
    for (const id of this.seen.keys()) if (!changing.includes(id)) this.seen.delete(id);
    for (const id of changing) if (!this.seen.has(id)) this.seen.set(id, now);
    return changing.filter((id) => now - this.seen.get(id)! >= CHANGE_MS);
  }

  /**
   * `make` returns whether anything changed. If it rejects, nobody knows whether it did: the change is then counted
   * after a minute.
   */
  change(make: (scope: Scope, read: ReadScope) => Promise<boolean>): Promise<boolean> {
    return this.sessions.run(async (read, scope) => {
      const id = randomUUID();
      await this.meta.updateOne({ _id: "directory" }, { $push: { changing: { id } } }, scope);
      const changed = await make(scope, read);
      // It is counted even if another process has counted it already: that was before it was made.
      const count = { $pull: { changing: { id } }, ...(changed && { $inc: { version: 1 } }) };
      await this.meta.updateOne({ _id: "directory" }, count, scope);
      return changed;
    });
  }
}
