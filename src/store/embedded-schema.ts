import type { Database, RootDatabase } from "lmdb";
import type { LmdbDisk } from "../support/lmdb-disk.ts";
import { MIGRATIONS, type Migrations, stepsFrom } from "./migrations/index.ts";

const SCHEMA = "schema";
/** Where there is anything, though no version is kept: an earlier Tollgate wrote it. */
const DATABASES = ["users", "accounts", "entries", "creditAccounts"];

/**
 * Makes sure that the data are as this program knows them: looks at their version, and does what is to be done to
 * older ones. Rejects where they are newer, or too old.
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
  // A disk that is full must not keep anybody from reading: what was there before counts as version 1 the next time
  // as well.
  if (stored === undefined) await keep(version).catch(() => {});
  for (const { to, run } of steps) {
    await run(root);
    await keep(to);
  }
}
