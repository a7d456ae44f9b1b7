import type { Collection, Db, Document } from "mongodb";
import type { Timed, TimeLog, TimeLogPage } from "../calls/time-log.ts";
import { timePrefix } from "../support/random.ts";
import type { Sessions } from "./mongo-sessions.ts";

type Stored = Document & { readonly _id: string };

/** A log of all nodes: an entry in one document, by its id, which lies in the order of time. */
export class MongoTimeLog<T extends Timed> implements TimeLog<T> {
  private readonly db: Collection<Stored>;
  private readonly sessions: Sessions;

  constructor(db: Db, sessions: Sessions, name: string) {
    this.db = db.collection(name);
    this.sessions = sessions;
  }

  async add({ id, ...entry }: T): Promise<void> {
    await this.sessions.run((_, write) => this.db.replaceOne({ _id: id }, entry, { ...write, upsert: true }));
  }

  async page({ since = 0, before, most }: { since?: number; before?: string; most: number }): Promise<TimeLogPage<T>> {
    const which = { _id: { $gte: timePrefix(since), ...(before !== undefined && { $lt: before }) } };
    const options = { sort: { _id: -1 }, limit: most + 1 } as const;
    const found = await this.sessions.run((read) => this.db.find(which, { ...read, ...options }).toArray());
    const entries = found.slice(0, most).map(({ _id, ...entry }) => ({ id: _id, ...entry }) as unknown as T);
    return found.length > most ? { entries, next: entries.at(-1)!.id } : { entries };
  }

  async forget({ before, most }: { before: number; most: number }): Promise<number> {
    return this.sessions.run(async (read, write) => {
      const options = { ...read, sort: { _id: -1 }, skip: most, limit: 1, projection: { _id: 1 } } as const;
      const [first] = await this.db.find({}, options).toArray();
      const byTime = { _id: { $lt: timePrefix(before) } };
      const which = first ? { $or: [byTime, { _id: { $lte: first._id } }] } : byTime;
      return (await this.db.deleteMany(which, write)).deletedCount;
    });
  }
}
