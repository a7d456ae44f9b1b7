import type { RootDatabase } from "lmdb";
import type { Db } from "mongodb";

/*
 * The form of the data in the store has a number, which is kept beside the data. If a change of the form makes this
 * program and the one before it unable to read each other's data, raise SCHEMA by one. Add the step that brings the
 * data to the new form to both lists, each step in a file of its own.
 *
 * The result of a step must be the same if it is done twice, or by two nodes at once, or if a node dies in the middle
 * and it is done again. It uses nothing but atomic writes of single documents, a bounded number at a time.
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

/** In the order of their versions. Data older than the first step that is left cannot be migrated. */
export interface Migrations {
  readonly schema: number;
  readonly mongo: readonly Migration<Db>[];
  readonly embedded: readonly Migration<RootDatabase>[];
}

export const MIGRATIONS: Migrations = { schema: SCHEMA, mongo: [], embedded: [] };

/** The steps from a version to that of this program. Throws if there is no way, and says what to do. */
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
