import { randomUUID } from "node:crypto";
import type { Collection, Db, Document, Filter, MongoClient } from "mongodb";
import type { Closed } from "../charging/bills/closing.ts";
import type { Tariff } from "../charging/money/tariff.ts";
import type { ApiToken, AppServer, AppServerKey, Former, OutOfService, Service, User } from "../directory/types.ts";
import { type Clock, systemClock } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import type { Migrations } from "./migrations/index.ts";
import { MongoBilling } from "./mongo-billing.ts";
import { MongoBindings } from "./mongo-bindings.ts";
import { MongoCalls } from "./mongo-calls.ts";
import { connect, newClient } from "./mongo-connect.ts";
import { MongoCredit } from "./mongo-credit.ts";
import { DirectoryVersion } from "./mongo-directory.ts";
import { explained, StoreError } from "./mongo-errors.ts";
import { indexBuilding } from "./mongo-index-building.ts";
import { prepareSchema } from "./mongo-schema.ts";
import { MongoSessions, type ReadScope, type Sessions } from "./mongo-sessions.ts";
import { MongoTimeLog } from "./mongo-time-log.ts";
import { MongoUsageLetters } from "./mongo-usage.ts";
import { isDuplicate } from "./mongo-writes.ts";
import type { MongoSettings } from "./settings.ts";
import type { Registry, Store } from "./types.ts";

export interface MongoOptions {
  readonly clock?: Clock;
  readonly random?: () => number;
  /** For events that no call reports; without it they are not logged. */
  readonly log?: Logger | undefined;
  /** Used in place of the program's own migrations. */
  readonly migrations?: Migrations;
}

/** For a client that waits as long as the server takes. */
const PATIENT = { socketTimeoutMS: 0, maxPoolSize: 2, writeConcern: { w: "majority", journal: true } } as const;

/**
 * The store on MongoDB (P4). It uses only atomic writes of single documents, so it runs on one server or on a replica
 * set, MongoDB 4.4 or later. Makes the indexes that are missing. Rejects with a StoreError that says what to do if
 * MongoDB cannot be reached or used.
 */
export async function openMongoStore(
  settings: MongoSettings,
  { clock = systemClock, random = Math.random, log, migrations }: MongoOptions = {},
): Promise<Store> {
  const { client, database } = await connect(settings);
  const building = indexBuilding(() => newClient(settings, PATIENT), clock, log);
  try {
    const db = client.db(database);
    const sessions = await MongoSessions.on(client, database, settings.timeoutS * 1000);
    await prepareSchema(db, log, migrations);
    const billing = new MongoBilling(db, { clock, random }, sessions);
    const credit = new MongoCredit(db, sessions, log);
    const version = new DirectoryVersion(db, clock, sessions);
    // One after the other: if the server drops the connection because of one of them, the others do not fail with it.
    await version.prepare();
    await billing.prepare(building.make);
    await credit.prepare(building.make);
    const calls = new MongoCalls(db, sessions, random);
    await calls.prepare(building.make);
    return storeOf(client, db, { sessions, billing, calls, credit, version });
  } catch (error) {
    await client.close().catch(() => {});
    throw explained(error, settings);
  } finally {
    await building.close().catch(() => {});
  }
}

interface Parts {
  readonly sessions: Sessions;
  readonly billing: MongoBilling;
  readonly calls: MongoCalls;
  readonly credit: MongoCredit;
  readonly version: DirectoryVersion;
}

function storeOf(client: MongoClient, db: Db, { sessions, billing, calls, credit, version }: Parts): Store {
  const registry = <T extends { readonly id: string }>(name: string): Registry<T> =>
    new MongoRegistry<T>(db.collection(name), version, sessions);
  return {
    users: registry<User>("users"),
    services: registry<Service>("services"),
    appServers: registry<AppServer>("appServers"),
    tariffs: registry<Tariff>("tariffs"),
    appServerKeys: registry<AppServerKey>("appServerKeys"),
    tokens: registry<ApiToken>("tokens"),
    outOfService: registry<OutOfService>("outOfService"),
    former: registry<Former>("former"),
    closedBills: registry<Closed>("closedBills"),
    directoryVersion: () => version.read(),
    async serverTime() {
      const admin = db.admin();
      // `isMaster` is the name before MongoDB 4.4.2.
      const said = await admin.command({ hello: 1 }).catch(() => admin.command({ isMaster: 1 }));
      return (said.localTime as Date).getTime();
    },
    billing,
    audit: new MongoTimeLog(db, sessions, "audit"),
    refusedCharges: new MongoTimeLog(db, sessions, "refusedCharges"),
    calls,
    bindings: new MongoBindings(db, sessions),
    usage: new MongoUsageLetters(db, sessions),
    credit,
    async close() {
      await billing.settled();
      await client.close();
    },
  };
}

/** `rev`: another one after each write, so that a change knows whether it is still of what it has read. */
type StoredThing = Document & { readonly _id: string; readonly rev?: string };

const CHANGE_TRIES = 50;

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

  async put(thing: T): Promise<void> {
    await this.version.change(async (scope) => {
      await this.things.replaceOne({ _id: thing.id }, contentOf(thing), { ...scope, upsert: true });
      return true;
    });
  }

  add(thing: T): Promise<boolean> {
    return this.version.change(async (scope) => {
      try {
        await this.things.insertOne({ _id: thing.id, ...contentOf(thing) }, scope);
        return true;
      } catch (error) {
        if (isDuplicate(error)) return false;
        throw error;
      }
    });
  }

  async change(id: string, to: (thing: T) => T): Promise<T | undefined> {
    let changed: T | undefined;
    await this.version.change(async (scope, read) => {
      for (let i = 0; i < CHANGE_TRIES; i++) {
        const before = await this.things.findOne({ _id: id }, read);
        if (!before) return false;
        changed = to(toThing<T>(before));
        const same = { _id: id, rev: before.rev ?? { $exists: false } } as Filter<StoredThing>;
        const { matchedCount } = await this.things.replaceOne(same, contentOf(changed), scope);
        if (matchedCount > 0) return true;
      }
      throw new StoreError(`${id} is changed by others all the time`);
    });
    return changed;
  }

  async putAll(things: readonly T[]): Promise<void> {
    if (things.length === 0) return;
    const inOrder = things.toSorted((a, b) => (a.id < b.id ? -1 : 1)); // as in mongo-writes.ts
    const writes = inOrder.map((thing) => ({
      replaceOne: { filter: { _id: thing.id }, replacement: contentOf(thing), upsert: true },
    }));
    await this.version.change(async (scope) => {
      await this.things.bulkWrite(writes, { ...scope, ordered: false });
      return true;
    });
  }

  remove(id: string): Promise<boolean> {
    return this.version.change(async (scope) => (await this.things.deleteOne({ _id: id }, scope)).deletedCount > 0);
  }
}

const toThing = <T>({ _id, rev: _, ...rest }: StoredThing): T => ({ id: _id, ...rest }) as T;

function contentOf<T extends { readonly id: string }>({ id: _, ...rest }: T) {
  return { ...rest, rev: randomUUID() };
}
