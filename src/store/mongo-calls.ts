import type { Collection, Db, Document } from "mongodb";
import type { CallPage, CallPageQuery, CallRing, CallStore } from "../calls/store.ts";
import { timePrefix } from "../support/random.ts";
import { ensureIndexes, type MakeIndex } from "./mongo-indexes.ts";
import type { Sessions } from "./mongo-sessions.ts";

/** A page. Ids sort by ring and time. */
interface Stored {
  readonly _id: string;
  readonly count: number;
  readonly text: string;
  readonly tags: readonly string[];
}

/** Texts read in one round trip. */
const BATCH = 20;
/** Sorts after every id of a ring. */
const AFTER = "~";

/** Records of calls of all nodes, a page in one document. Their ids, Call-IDs and users are in an index. */
export class MongoCalls implements CallStore {
  private readonly db: Collection<Stored>;
  private readonly sessions: Sessions;
  private readonly random: () => number;

  constructor(db: Db, sessions: Sessions, random: () => number) {
    this.db = db.collection("calls");
    this.sessions = sessions;
    this.random = random;
  }

  async prepare(make?: MakeIndex): Promise<void> {
    await ensureIndexes(this.db as unknown as Collection<Document>, [{ name: "tags", key: { tags: 1, _id: 1 } }], make);
  }

  async add({ ring, at, count, text, tags }: CallPage): Promise<void> {
    const _id = idOf(ring, at) + Math.floor(this.random() * 2 ** 48).toString(36);
    await this.sessions.run((_, write) => this.db.insertOne({ _id, count, text, tags }, write));
  }

  async *pages({ ring, since = 0, tag }: CallPageQuery): AsyncIterable<string> {
    let before = ring + AFTER;
    const tagged = tag === undefined ? {} : { tags: tag };
    for (;;) {
      const which = { _id: { $lt: before, $gte: idOf(ring, since) }, ...tagged };
      const options = { sort: { _id: -1 }, limit: BATCH, projection: { text: 1 } } as const;
      const found = await this.sessions.run((read) => this.db.find(which, { ...read, ...options }).toArray());
      for (const { text } of found) yield text;
      if (found.length < BATCH) return;
      before = found.at(-1)!._id;
    }
  }

  async forget({ ring, before, most }: { ring: CallRing; before: number; most: number }): Promise<number> {
    return this.sessions.run(async (read, write) => {
      const which = { _id: { $gte: ring, $lt: ring + AFTER } };
      const options = { ...read, sort: { _id: -1 }, projection: { count: 1 } } as const;
      let kept = 0;
      let gone = 0;
      let last: string | undefined;
      const oldest = idOf(ring, before);
      for (const { _id, count } of await this.db.find(which, options).toArray()) {
        kept += count;
        if (_id >= oldest && kept <= most) continue;
        last ??= _id;
        gone += count;
      }
      if (last !== undefined) await this.db.deleteMany({ _id: { $gte: ring, $lte: last } }, write);
      return gone;
    });
  }
}

const idOf = (ring: CallRing, at: number): string => `${ring}:${timePrefix(at)}`;
