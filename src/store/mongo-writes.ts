import {
  type AnyBulkWriteOperation,
  type Collection,
  type Document,
  type Filter,
  MongoBulkWriteError,
  MongoServerError,
  type UpdateFilter,
} from "mongodb";
import { StoreError } from "./mongo-errors.ts";
import type { Scope } from "./mongo-sessions.ts";

/*
 * Every write of several documents goes through here, in the order of their ids: on a server that takes locks for a
 * bulk, two workers that write the same documents then wait for each other, and do not run into a deadlock.
 */

/** Error code of a unique index, that of `_id` included. */
const DUPLICATE_KEY = 11000;
const ID_INDEX = "_id_";

export const isDuplicate = (error: unknown): boolean =>
  error instanceof MongoServerError && error.code === DUPLICATE_KEY;

/** The documents in the order of their ids, and the place where each of them stood. */
function inOrder<T extends { readonly _id?: unknown }>(documents: readonly T[]): { sorted: T[]; places: number[] } {
  const places = documents.map((_, place) => place);
  places.sort((a, b) => order(String(documents[a]!._id), String(documents[b]!._id)));
  return { sorted: places.map((place) => documents[place]!), places };
}

const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/**
 * Awaits an unordered bulk. Returns the places of the documents that failed because their id is there already. Rejects
 * with any other error, also if too few servers confirmed the write: nobody then knows what stays.
 */
async function duplicatesOf(bulk: Promise<unknown>, namespace: string): Promise<number[]> {
  try {
    await bulk;
    return [];
  } catch (error) {
    if (!(error instanceof MongoBulkWriteError) || error.result.getWriteConcernError()) throw error;
    const errors = Array.isArray(error.writeErrors) ? error.writeErrors : [error.writeErrors];
    if (errors.length === 0 || errors.some(({ code }) => code !== DUPLICATE_KEY)) throw error;
    for (const { errmsg } of errors) {
      const index = / index: (\S+) dup key/.exec(errmsg ?? "")?.[1];
      // The document is not there, and was not written. It must not look as if it were there.
      if (index !== undefined && index !== ID_INDEX)
        throw new StoreError(
          `MongoDB has a unique index ${index} on ${namespace}, which refuses what has to be kept: drop it`,
        );
    }
    return errors.map(({ index }) => index);
  }
}

/** Inserts those whose `_id` is not there yet, in one round trip. Returns the places of the others. */
export async function insertNew<T extends Document>(
  collection: Collection<T>,
  documents: readonly T[],
  scope: Scope,
): Promise<number[]> {
  if (documents.length === 0) return [];
  const { sorted, places } = inOrder(documents);
  const bulk = collection.insertMany(sorted as never, { ...scope, ordered: false });
  return (await duplicatesOf(bulk, collection.namespace)).map((place) => places[place]!);
}

/** A document that is written only if the stored one has the revision before its own. */
export interface Revised {
  readonly _id: string;
  readonly revision: number;
}

/**
 * Writes documents in one round trip, each only if the stored one has the revision before its own (for revision 1: if
 * there is none). Returns the places of those that were not written. If the revision is another one, the filter finds
 * nothing, and the upsert fails at the unique `_id`: so the answer says which documents failed.
 */
export async function replaceRevised<T extends Revised>(
  collection: Collection<T>,
  documents: readonly T[],
  scope: Scope,
): Promise<number[]> {
  if (documents.length === 0) return [];
  const { sorted, places } = inOrder(documents);
  const operations = sorted.map(({ _id, ...replacement }) => ({
    replaceOne: { filter: { _id, revision: replacement.revision - 1 }, replacement, upsert: true },
  })) as unknown as AnyBulkWriteOperation<T>[];
  const bulk = collection.bulkWrite(operations, { ...scope, ordered: false });
  return (await duplicatesOf(bulk, collection.namespace)).map((place) => places[place]!);
}

/** Makes the same update to each of these documents. */
export async function updateEach<T extends { readonly _id: string }>(
  collection: Collection<T>,
  ids: readonly string[],
  update: UpdateFilter<T>,
  scope: Scope,
): Promise<void> {
  if (ids.length > 0) await collection.updateMany(among<T>(ids), update, scope);
}

/** Deletes these documents. Returns how many of them there were. */
export async function deleteEach<T extends { readonly _id: string }>(
  collection: Collection<T>,
  ids: readonly string[],
  scope: Scope,
): Promise<number> {
  return ids.length === 0 ? 0 : (await collection.deleteMany(among<T>(ids), scope)).deletedCount;
}

const among = <T>(ids: readonly string[]): Filter<T> => ({ _id: { $in: [...ids].sort(order) } }) as Filter<T>;
