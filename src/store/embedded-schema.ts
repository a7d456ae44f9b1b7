import type { Database, RootDatabase } from "lmdb";
import type { LmdbDisk } from "../support/lmdb-disk.ts";
import { MIGRATIONS, type Migrations, stepsFrom } from "./migrations/index.ts";

const SCHEMA = "schema";
/** If one of these holds data, though no version is kept, an earlier Tollgate wrote the data. */
const DATABASES = ["users", "accounts", "entries", "creditAccounts"];

/**
 * Makes sure that the data have the form that this program knows: looks at their version, and migrates older data.
 * Rejects if they are newer, or too old.
 */
export async function prepareSchema(
  root: RootDatabase,
  { meta, disk, path }: { readonly meta: Database<number, string>; readonly disk: LmdbDisk; readonly path: string },
  migrations: Migrations = MIGRATIONS,
): Promise<void> {
  const stored = meta.get(SCHEMA);
  if (stored === migrations.schema) return;
  const hasData = () => DATABASES.some((name) => Array.from(root.openDB({ name }).getKeys({ limit: 1 })).length > 0);
  const version = stored ?? (hasData() ? 1 : migrations.schema);
  const steps = stepsFrom(version, migrations, migrations.embedded, path);
  const keep = (to: number) => disk.write(() => meta.put(SCHEMA, to));
  // If the disk is full, the version is not noted, but the data can be read all the same. Data without a version count
  // as version 1 the next time too.
  if (stored === undefined) await keep(version).catch(() => {});
  for (const { to, run } of steps) {
    await run(root);
    await keep(to);
  }
}
