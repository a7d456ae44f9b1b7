import { statSync } from "node:fs";
import { type Database, open, type RootDatabase } from "lmdb";
import type { Closed } from "../charging/bills/closing.ts";
import type { Tariff } from "../charging/money/tariff.ts";
import type { ApiToken, AppServer, AppServerKey, Former, OutOfService, Service, User } from "../directory/types.ts";
import { LmdbDisk } from "../support/lmdb-disk.ts";
import { OpenedOnce } from "../support/opened-once.ts";
import { privateFiles, privateFolder } from "../support/private-folder.ts";
import { EmbeddedBilling } from "./embedded-billing.ts";
import { EmbeddedBindings } from "./embedded-bindings.ts";
import { EmbeddedCalls } from "./embedded-calls.ts";
import { EmbeddedCredit } from "./embedded-credit.ts";
import { prepareSchema } from "./embedded-schema.ts";
import { EmbeddedTimeLog } from "./embedded-time-log.ts";
import { EmbeddedUsageLetters } from "./embedded-usage.ts";
import type { Migrations } from "./migrations/index.ts";
import type { Registry, Store } from "./types.ts";

const VERSION = "directory";

/**
 * To open a database, lmdb waits for its lock, and the whole process waits with it. If another handle of this process
 * has the lock, that is for ever: its write goes on only when the process does.
 */
const stores = new OpenedOnce<Store>();

/**
 * The store on LMDB in a folder of this machine (P4), which is made if there is none. When the promise of a write
 * resolves, it is on disk (fsync). Several processes may have the store open. Who opens it again in one process gets
 * the same one, which is closed when all have closed it. Rejects if the folder cannot be used. `disk`: the disk of
 * `path`; a test may give its own.
 */
export async function openEmbeddedStore(
  path: string,
  disk = new LmdbDisk(path),
  migrations?: Migrations,
): Promise<Store> {
  privateFolder(path);
  const { dev, ino } = statSync(path);
  const { thing, release } = await stores.hold(`${dev} ${ino}`, () => openAlone(path, disk, migrations));
  return { ...thing, close: release };
}

async function openAlone(path: string, disk: LmdbDisk, migrations: Migrations | undefined): Promise<Store> {
  // Two of lmdb's defaults are bad for money: overlappingSync resolves before the fsync, and never settles if the fsync
  // fails. eventTurnBatching makes a promise of its own for each turn, whose rejection would end the process.
  const root: RootDatabase = open({
    path,
    encoding: "json",
    overlappingSync: false,
    eventTurnBatching: false,
    noSubdir: false,
    maxDbs: 32,
  });
  privateFiles(path);
  root.readerCheck(); // a killed process may still count as a reader: no page that it could see would be reused
  const meta = root.openDB<number, string>({ name: "meta", encoding: "json" });
  await prepareSchema(root, { meta, disk, path }, migrations).catch(async (error) => {
    await root.close();
    throw error;
  });
  const registry = <T extends { readonly id: string }>(name: string): Registry<T> =>
    new EmbeddedRegistry<T>(root.openDB<T, string>({ name, encoding: "json" }), meta, disk);
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
    async directoryVersion() {
      root.resetReadTxn(); // another process may have written since this one last looked
      return meta.get(VERSION) ?? 0;
    },
    billing: new EmbeddedBilling(root, disk),
    audit: new EmbeddedTimeLog(root, disk, "audit"),
    refusedCharges: new EmbeddedTimeLog(root, disk, "refusedCharges"),
    calls: new EmbeddedCalls(root, disk),
    bindings: new EmbeddedBindings(root, disk),
    usage: new EmbeddedUsageLetters(root, disk),
    credit: new EmbeddedCredit(root, disk),
    close: () => root.close(),
  };
}

class EmbeddedRegistry<T extends { readonly id: string }> implements Registry<T> {
  private readonly db: Database<T, string>;
  private readonly meta: Database<number, string>;
  private readonly disk: LmdbDisk;

  constructor(db: Database<T, string>, meta: Database<number, string>, disk: LmdbDisk) {
    this.db = db;
    this.meta = meta;
    this.disk = disk;
  }

  async get(id: string): Promise<T | undefined> {
    this.db.resetReadTxn();
    return this.db.get(id);
  }

  async list(): Promise<T[]> {
    this.db.resetReadTxn();
    return Array.from(this.db.getRange({}), ({ value }) => value);
  }

  async put(thing: T): Promise<void> {
    await this.write(() => {
      this.db.putSync(thing.id, thing);
      return true;
    });
  }

  async add(thing: T): Promise<boolean> {
    return this.write(() => {
      if (this.db.doesExist(thing.id)) return false;
      this.db.putSync(thing.id, thing);
      return true;
    });
  }

  async change(id: string, to: (thing: T) => T): Promise<T | undefined> {
    let changed: T | undefined;
    await this.write(() => {
      const before = this.db.get(id);
      changed = before && to(before);
      if (changed) this.db.putSync(id, changed);
      return changed !== undefined;
    });
    return changed;
  }

  async putAll(things: readonly T[]): Promise<void> {
    await this.write(() => {
      for (const thing of things) this.db.putSync(thing.id, thing);
      return things.length > 0;
    });
  }

  async remove(id: string): Promise<boolean> {
    return this.write(() => {
      if (!this.db.doesExist(id)) return false;
      this.db.removeSync(id);
      return true;
    });
  }

  /** Makes a change in one transaction, which also raises the version if anything changed. */
  private write(make: () => boolean): Promise<boolean> {
    const work = () => {
      const changed = make();
      if (changed) this.meta.putSync(VERSION, (this.meta.get(VERSION) ?? 0) + 1);
      return changed;
    };
    return this.disk.write(() => this.db.childTransaction(work));
  }
}
