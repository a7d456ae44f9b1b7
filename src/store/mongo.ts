import { randomUUID } from "node:crypto";
import type { Collection, Db, Document } from "mongodb";
import type { Tariff } from "../charging/tariff.ts";
import type { AppServer, AppServerKey, Service, User } from "../directory/types.ts";
import { type Clock, systemClock } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import { MongoBilling } from "./mongo-billing.ts";
import { connect, explained } from "./mongo-connect.ts";
import { MongoCredit } from "./mongo-credit.ts";
import { MongoSessions, type ReadScope, type Scope, type Sessions } from "./mongo-sessions.ts";
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

export interface MongoOptions {
  readonly clock?: Clock;
  readonly random?: () => number;
  /** For what nobody asked about; none: nothing is said. */
  readonly log?: Logger | undefined;
}

/**
 * The store on MongoDB (P4), by single documents' atomic writes alone: one server or a replica set, MongoDB 4.4 or later. Makes the indexes
 * that are missing. Rejects with a StoreError that says what to do where it cannot be reached or used.
 */
export async function openMongoStore(
  settings: MongoSettings,
  { clock = systemClock, random = Math.random, log }: MongoOptions = {},
): Promise<Store> {
  const { client, database } = await connect(settings);
  const db = client.db(database);
  const sessions = await MongoSessions.on(client, database, settings.timeoutS * 1000).catch(async (error) => {
    await client.close().catch(() => {});
    throw explained(error, settings);
  });
  const billing = new MongoBilling(db, { clock, random }, sessions);
  const credit = new MongoCredit(db, sessions, log);
  const version = new DirectoryVersion(db, clock, sessions);
  try {
    await Promise.all([billing.prepare(), credit.prepare(), version.prepare()]);
  } catch (error) {
    await client.close().catch(() => {});
    throw explained(error, settings);
  }
  const registry = <T extends { readonly id: string }>(name: string): Registry<T> =>
    new MongoRegistry<T>(db.collection(name), version, sessions);
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
  private readonly sessions: Sessions;

  constructor(db: Db, clock: Clock, sessions: Sessions) {
    this.sessions = sessions;
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

  read(): Promise<number> {
    return this.sessions.run(async (read, scope) => {
      const meta = await this.meta.findOne({ _id: "directory" }, read);
      const left = (meta?.changing ?? []).filter(({ at }) => at <= this.clock.wall() - CHANGE_MS);
      for (const { id } of left) await this.finish(id, true, scope);
      return (meta?.version ?? 0) + left.length;
    });
  }

  /** `make` returns whether anything changed. Where it rejects nobody knows whether it did: that counts after a minute. */
  change(make: (scope: Scope) => Promise<boolean>): Promise<boolean> {
    return this.sessions.run(async (_, scope) => {
      const id = randomUUID();
      await this.meta.updateOne({ _id: "directory" }, { $push: { changing: { id, at: this.clock.wall() } } }, scope);
      const changed = await make(scope);
      await this.finish(id, changed, scope);
      return changed;
    });
  }

  private async finish(id: string, changed: boolean, scope: Scope): Promise<void> {
    await this.meta.updateOne(
      { _id: "directory", "changing.id": id },
      { $pull: { changing: { id } }, ...(changed && { $inc: { version: 1 } }) },
      scope,
    );
  }
}

type StoredThing = Document & { readonly _id: string };

class MongoRegistry<T extends { readonly id: string }> implements Registry<T> {
  private readonly things: Collection<StoredThing>;
  private readonly version: DirectoryVersion;

  private readonly sessions: Sessions;

  constructor(things: Collection<StoredThing>, version: DirectoryVersion, sessions: Sessions) {
    this.things = things;
    this.version = version;
    this.sessions = sessions;
  }

  async get(id: string): Promise<T | undefined> {
    const found = await this.sessions.run((read) => this.things.findOne({ _id: id }, read));
    return found ? toThing<T>(found) : undefined;
  }

  async list(): Promise<T[]> {
    const find = (read: ReadScope) => this.things.find({}, { ...read, sort: { _id: 1 } }).toArray();
    return (await this.sessions.run(find)).map(toThing<T>);
  }

  async put({ id, ...rest }: T): Promise<void> {
    await this.version.change(async (scope) => {
      await this.things.replaceOne({ _id: id }, rest, { ...scope, upsert: true });
      return true;
    });
  }

  remove(id: string): Promise<boolean> {
    return this.version.change(async (scope) => (await this.things.deleteOne({ _id: id }, scope)).deletedCount > 0);
  }
}

const toThing = <T>({ _id, ...rest }: StoredThing): T => ({ id: _id, ...rest }) as T;
