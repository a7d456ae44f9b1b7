import { randomUUID } from "node:crypto";
import type { Collection, Db, Document } from "mongodb";
import type { Tariff } from "../charging/tariff.ts";
import type { AppServer, AppServerKey, Service, User } from "../directory/types.ts";
import { type Clock, systemClock } from "../support/clock.ts";
import { MongoBilling } from "./mongo-billing.ts";
import { connect, explained } from "./mongo-connect.ts";
import { MongoCredit } from "./mongo-credit.ts";
import { isDuplicate } from "./mongo-writes.ts";
import type { MongoSettings } from "./settings.ts";
import type { Registry, Store } from "./types.ts";

/** A change of a registry that was not finished after so long was begun by a process that died. */
const CHANGE_MS = 60_000;

/** The one document of collection `meta`. */
interface Meta {
  readonly _id: "directory";
  readonly version?: number;
  readonly changing?: readonly { readonly id: string; readonly at: number }[];
}

/**
 * The store on MongoDB (P4), by single documents' atomic writes alone: one server or a replica set, MongoDB 4.4 or later. Makes the indexes
 * that are missing. Rejects with a StoreError that says what to do where it cannot be reached or used.
 */
export async function openMongoStore(
  settings: MongoSettings,
  { clock = systemClock, random = Math.random }: { readonly clock?: Clock; readonly random?: () => number } = {},
): Promise<Store> {
  const { client, database } = await connect(settings);
  const db = client.db(database);
  const billing = new MongoBilling(db, { clock, random });
  const credit = new MongoCredit(db);
  const version = new DirectoryVersion(db, clock);
  try {
    await Promise.all([billing.prepare(), credit.prepare(), version.prepare()]);
  } catch (error) {
    await client.close().catch(() => {});
    throw explained(error, settings);
  }
  const registry = <T extends { readonly id: string }>(name: string): Registry<T> =>
    new MongoRegistry<T>(db.collection(name), version);
  return {
    users: registry<User>("users"),
    services: registry<Service>("services"),
    appServers: registry<AppServer>("appServers"),
    tariffs: registry<Tariff>("tariffs"),
    appServerKeys: registry<AppServerKey>("appServerKeys"),
    directoryVersion: () => version.read(),
    async serverTime() {
      const admin = db.admin();
      const said = await admin.command({ hello: 1 }).catch(() => admin.command({ isMaster: 1 })); // the name before 4.4.2
      return (said.localTime as Date).getTime();
    },
    billing,
    credit,
    async close() {
      await billing.settled();
      await client.close();
    },
  };
}

/**
 * Counts the changes of the registries. A change is announced before it is made and counted after: so it is seen even where the process
 * that made it died before it could count it, by whoever asks for the version a minute later.
 */
class DirectoryVersion {
  private readonly meta: Collection<Meta>;
  private readonly clock: Clock;

  constructor(db: Db, clock: Clock) {
    this.meta = db.collection<Meta>("meta");
    this.clock = clock;
  }

  /** Also shows whether this user may write. */
  async prepare(): Promise<void> {
    try {
      await this.meta.updateOne({ _id: "directory" }, { $setOnInsert: { version: 0, changing: [] } }, { upsert: true });
    } catch (error) {
      if (!isDuplicate(error)) throw error; // two that open at the same time
    }
  }

  async read(): Promise<number> {
    const meta = await this.meta.findOne({ _id: "directory" });
    const left = (meta?.changing ?? []).filter(({ at }) => at <= this.clock.wall() - CHANGE_MS);
    for (const { id } of left) await this.finish(id, true);
    return (meta?.version ?? 0) + left.length;
  }

  /** `make` returns whether anything changed. Where it rejects nobody knows whether it did: that counts after a minute. */
  async change(make: () => Promise<boolean>): Promise<boolean> {
    const id = randomUUID();
    await this.meta.updateOne({ _id: "directory" }, { $push: { changing: { id, at: this.clock.wall() } } });
    const changed = await make();
    await this.finish(id, changed);
    return changed;
  }

  private async finish(id: string, changed: boolean): Promise<void> {
    await this.meta.updateOne(
      { _id: "directory", "changing.id": id },
      { $pull: { changing: { id } }, ...(changed && { $inc: { version: 1 } }) },
    );
  }
}

type StoredThing = Document & { readonly _id: string };

class MongoRegistry<T extends { readonly id: string }> implements Registry<T> {
  private readonly things: Collection<StoredThing>;
  private readonly version: DirectoryVersion;

  constructor(things: Collection<StoredThing>, version: DirectoryVersion) {
    this.things = things;
    this.version = version;
  }

  async get(id: string): Promise<T | undefined> {
    const found = await this.things.findOne({ _id: id });
    return found ? toThing<T>(found) : undefined;
  }

  async list(): Promise<T[]> {
    return (await this.things.find({}, { sort: { _id: 1 } }).toArray()).map(toThing<T>);
  }

  async put({ id, ...rest }: T): Promise<void> {
    await this.version.change(async () => {
      await this.things.replaceOne({ _id: id }, rest, { upsert: true });
      return true;
    });
  }

  remove(id: string): Promise<boolean> {
    return this.version.change(async () => (await this.things.deleteOne({ _id: id })).deletedCount > 0);
  }
}

const toThing = <T>({ _id, ...rest }: StoredThing): T => ({ id: _id, ...rest }) as T;
