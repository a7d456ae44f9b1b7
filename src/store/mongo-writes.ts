import {
  type AnyBulkWriteOperation,
  type Collection,
  type Document,
  MongoBulkWriteError,
  MongoServerError,
} from "mongodb";
import type { Scope } from "./mongo-sessions.ts";

/** Of a unique index, `_id` included. */
const DUPLICATE_KEY = 11000;

export const isDuplicate = (error: unknown): boolean =>
  error instanceof MongoServerError && error.code === DUPLICATE_KEY;

/**
 * Runs an unordered bulk and returns the places of those that failed because their key is there already; rejects with
 * everything else, also where the servers did not all confirm: then nobody knows what stays.
 */
async function duplicatesOf(bulk: Promise<unknown>): Promise<number[]> {
  try {
    await bulk;
    return [];
  } catch (error) {
    if (!(error instanceof MongoBulkWriteError) || error.result.getWriteConcernError()) throw error;
    const errors = Array.isArray(error.writeErrors) ? error.writeErrors : [error.writeErrors];
    if (errors.length === 0 || errors.some(({ code }) => code !== DUPLICATE_KEY)) throw error;
    return errors.map(({ index }) => index);
  }
}

/** Inserts those whose `_id` is not there yet, in one round trip. Returns the places of the others. */
export function insertNew<T extends Document>(
  collection: Collection<T>,
  documents: readonly T[],
  scope: Scope,
): Promise<number[]> {
  if (documents.length === 0) return Promise.resolve([]);
  return duplicatesOf(collection.insertMany(documents as never, { ...scope, ordered: false }));
}

/** A document that is written only where the stored one has the revision before. */
export interface Revised {
  readonly _id: string;
  readonly revision: number;
}

/**
 * Writes documents in one round trip, each only where the stored one has the revision before its own (1: there is none).
 * Returns the places of those that were not. Where the revision is another one the filter finds nothing, and the upsert
 * then runs into the unique `_id`: so the answer says which.
 */
export function replaceRevised<T extends Revised>(
  collection: Collection<T>,
  documents: readonly T[],
  scope: Scope,
): Promise<number[]> {
  if (documents.length === 0) return Promise.resolve([]);
  const operations = documents.map(({ _id, ...replacement }) => ({
    replaceOne: { filter: { _id, revision: replacement.revision - 1 }, replacement, upsert: true },
  }));
  const bulk = operations as unknown as AnyBulkWriteOperation<T>[];
  return duplicatesOf(collection.bulkWrite(bulk, { ...scope, ordered: false }));
}
