import type { Collection, Db } from "mongodb";
import { boundsOf, type UsageLetter, type UsageLetters } from "../usage/letters.ts";
import type { ReadScope, Sessions } from "./mongo-sessions.ts";

type Stored = Omit<UsageLetter, "id"> & { readonly _id: string };

/** Events that no endpoint takes, of all nodes. */
export class MongoUsageLetters implements UsageLetters {
  private readonly db: Collection<Stored>;
  private readonly sessions: Sessions;

  constructor(db: Db, sessions: Sessions) {
    this.db = db.collection("usageLetters");
    this.sessions = sessions;
  }

  async put({ id, ...rest }: UsageLetter): Promise<void> {
    await this.sessions.run((_, write) => this.db.replaceOne({ _id: id }, rest, { ...write, upsert: true }));
  }

  async get(id: string): Promise<UsageLetter | undefined> {
    const found = await this.sessions.run((read) => this.db.findOne({ _id: id }, read));
    return found ? toLetter(found) : undefined;
  }

  async list(limit: number, after?: string, sink?: string): Promise<UsageLetter[]> {
    const { above, below } = boundsOf(after, sink);
    const which = { _id: { $gt: above, ...(below !== undefined && { $lt: below }) } };
    const find = (read: ReadScope) => this.db.find(which, { ...read, sort: { _id: 1 }, limit }).toArray();
    return (await this.sessions.run(find)).map(toLetter);
  }

  async remove(id: string): Promise<boolean> {
    return (await this.sessions.run((_, write) => this.db.deleteOne({ _id: id }, write))).deletedCount > 0;
  }
}

const toLetter = ({ _id, ...rest }: Stored): UsageLetter => ({ id: _id, ...rest });
