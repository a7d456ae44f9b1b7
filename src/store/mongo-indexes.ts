import { type Collection, type Document, type IndexSpecification, MongoServerError } from "mongodb";
import { StoreError } from "./mongo-connect.ts";

export interface Index {
  readonly name: string;
  readonly key: Readonly<Record<string, 1>>;
  /** Only documents that have a field of the key are in it. */
  readonly sparse?: true;
}

const NAMESPACE_NOT_FOUND = 26;

/**
 * Makes the indexes that are missing; a user who may not make any needs none to be missing. Rejects with a StoreError where one of
 * that name is another.
 */
export async function ensureIndexes<T extends Document>(
  collection: Collection<T>,
  wanted: readonly Index[],
): Promise<void> {
  const found = new Map((await indexesOf(collection)).map((index) => [index.name, index]));
  for (const { name, key, sparse } of wanted) {
    const there = found.get(name);
    if (!there) await collection.createIndex(key as IndexSpecification, { name, ...(sparse && { sparse }) });
    else if (JSON.stringify(there.key) !== JSON.stringify(key) || (there.sparse ?? false) !== (sparse ?? false))
      throw new StoreError(
        `MongoDB has an index ${name} of another shape on ${collection.namespace}: drop it, and Tollgate makes its own`,
      );
  }
}

async function indexesOf<T extends Document>(collection: Collection<T>) {
  try {
    return await collection.indexes();
  } catch (error) {
    if (error instanceof MongoServerError && error.code === NAMESPACE_NOT_FOUND) return [];
    throw error;
  }
}
