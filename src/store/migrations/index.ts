import type { RootDatabase } from "lmdb";
import type { Db } from "mongodb";

/*
 * The form in which data lie in the store, as a number that is kept beside them. Whoever changes the form so that
 * this program and the one before it would not understand each other raises SCHEMA by one, and adds what brings the
 * data there to both lists: a file of its own for each step.
 *
 * A step must come to the same when it is done twice, or by two nodes at once, or goes on where a node died in the
 * middle of it. It uses nothing but atomic writes of single documents, a bounded number at a time.
 */

/** What this program reads and writes. Data without a number are of version 1. */
export const SCHEMA = 1;

export interface Migration<Database> {
  /** The version that the data are of when it is done. */
  readonly to: number;
  /** For the log. */
  readonly what: string;
  run(database: Database): Promise<void>;
}

/** In order of their versions; those below the oldest that is left are too old. */
export interface Migrations {
  readonly schema: number;
  readonly mongo: readonly Migration<Db>[];
  readonly embedded: readonly Migration<RootDatabase>[];
}

export const MIGRATIONS: Migrations = { schema: SCHEMA, mongo: [], embedded: [] };

/** The steps from a version to that of this program. Throws with what to do where there is no way. */
export function stepsFrom<Database>(
  version: number,
  { schema }: Pick<Migrations, "schema">,
  all: readonly Migration<Database>[],
  where: string,
): Migration<Database>[] {
  if (version > schema)
    throw new Error(
      `the data in ${where} are of version ${version}, written by a newer Tollgate; this one knows version ${schema}. Start the newer one, or restore a backup from before it`,
    );
  const steps = all.filter(({ to }) => to > version && to <= schema);
  const isWhole = steps.length === schema - version && steps.every(({ to }, i) => to === version + i + 1);
  if (!isWhole)
    throw new Error(
      `the data in ${where} are of version ${version}, too old for this Tollgate, which needs version ${schema}. Start a version in between first`,
    );
  return steps;
}
