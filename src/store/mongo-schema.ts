import type { Db } from "mongodb";
import type { Logger } from "../support/log.ts";
import { MIGRATIONS, type Migration, type Migrations, stepsFrom } from "./migrations/index.ts";
import { StoreError } from "./mongo-errors.ts";
import { isDuplicate } from "./mongo-writes.ts";

/** One document of collection `meta`. */
interface Schema {
  readonly _id: "schema";
  readonly version: number;
}

const ID = { _id: "schema" } as const;
/** If one of these holds data, though no version is kept, an earlier Tollgate wrote the data. */
const COLLECTIONS = ["users", "accounts", "entries", "creditAccounts"];

/**
 * Makes sure that the data have the form that this program knows: looks at their version, and migrates older data. Two
 * nodes may do it at once. Rejects with a StoreError if the data are newer, or too old.
 */
export async function prepareSchema(db: Db, log?: Logger, migrations: Migrations = MIGRATIONS): Promise<void> {
  const stored = await db.collection<Schema>("meta").findOne(ID);
  if (stored?.version === migrations.schema) return;
  const version = stored?.version ?? (await firstVersion(db, migrations));
  const steps = stepsOf(db, version, migrations);
  if (!stored) await keep(db, version);
  for (const { to, what, run } of steps) {
    log?.info({ to }, `store: ${what}`);
    await run(db);
    await keep(db, to);
  }
}

function stepsOf(db: Db, version: number, migrations: Migrations): Migration<Db>[] {
  try {
    return stepsFrom(version, migrations, migrations.mongo, `the database ${db.databaseName}`);
  } catch (error) {
    throw new StoreError((error as Error).message);
  }
}

async function firstVersion(db: Db, { schema }: Migrations): Promise<number> {
  for (const name of COLLECTIONS) if (await db.collection(name).findOne({}, { projection: { _id: 1 } })) return 1;
  return schema;
}

/** Notes the version, but never lowers it: another node may be further. */
async function keep(db: Db, version: number): Promise<void> {
  try {
    await db.collection<Schema>("meta").updateOne(ID, { $max: { version } }, { upsert: true });
  } catch (error) {
    if (!isDuplicate(error)) throw error; // two processes open it at the same time
  }
}
