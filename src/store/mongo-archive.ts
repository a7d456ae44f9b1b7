import type { Collection, Db } from "mongodb";
import type { ArchivedEvent, EventGroup, EventPage, PageQuery } from "../charging/billing/store.ts";
import type { Clock } from "../support/clock.ts";
import { PAGE_CHARS, piecesOf } from "./archive-pieces.ts";
import type { ReadScope, Scope } from "./mongo-sessions.ts";
import { insertNew } from "./mongo-writes.ts";

interface StoredEvents {
  /** Month, time of writing, number, writer. By it, documents sort in the order in which they were written. */
  readonly _id: string;
  /** JSON text of a list. */
  readonly events: string;
}

const RADIX = 36;
/** How many digits a time or a number has in that radix. Texts of equal length sort as the numbers do. */
const DIGITS = 9;

/** The events that bills were made from. Events that are written together go into as few documents as possible. */
export class MongoArchive {
  readonly groups: Collection<StoredEvents>;
  private readonly clock: Clock;
  /** Tells this process from others that write at the same moment. */
  private readonly writer: string;
  private lastAt = 0;
  private number = 0;

  constructor(db: Db, clock: Clock, random: () => number) {
    this.groups = db.collection("archive");
    this.clock = clock;
    this.writer = Math.floor(random() * RADIX ** DIGITS).toString(RADIX);
  }

  /** Keeps all but the events with those ids. */
  async keep(groups: readonly EventGroup[], known: ReadonlySet<string>, scope: Scope): Promise<void> {
    let documents: StoredEvents[] = [];
    for (const { month, events } of groups) {
      const fresh = known.size === 0 ? events : events.filter(({ id }) => !known.has(id));
      for (const piece of piecesOf(fresh)) documents.push({ _id: this.nextId(month), events: piece });
    }
    while (documents.length > 0) {
      const taken = await insertNew(this.groups, documents, scope);
      // Another process has used the same id, which is very rare.
      documents = taken.map((place) => {
        const { _id, events } = documents[place]!;
        return { _id: this.nextId(_id.slice(0, _id.indexOf(" "))), events };
      });
    }
  }

  private nextId(month: string): string {
    this.lastAt = Math.max(this.lastAt, this.clock.wall()); // a clock that was put back must not change the order
    const [at, number] = [this.lastAt, this.number++].map((n) => n.toString(RADIX).padStart(DIGITS, "0"));
    return `${month} ${at} ${number} ${this.writer}`;
  }

  async read(month: string, { after, limit }: PageQuery, read: ReadScope): Promise<EventPage> {
    const ids = after === undefined ? { $gte: `${month} ` } : { $gt: after };
    const options = { ...read, sort: { _id: 1 }, batchSize: 10 } as const;
    const found = this.groups.find({ _id: { ...ids, $lt: `${month}!` } }, options);
    const events: ArchivedEvent[] = [];
    let chars = 0;
    for await (const group of found) {
      for (const event of JSON.parse(group.events) as ArchivedEvent[]) events.push(event);
      chars += group.events.length;
      if (events.length >= limit || chars >= PAGE_CHARS) return { events, next: group._id };
    }
    return { events };
  }
}
