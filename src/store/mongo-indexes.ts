import { type Collection, type Document, type IndexSpecification, MongoServerError } from "mongodb";
import { StoreError } from "./mongo-errors.ts";

export interface Index {
  readonly name: string;
  readonly key: Readonly<Record<string, 1>>;
  /** The index holds only documents that have a field of its key. */
  readonly sparse?: true;
}

/** Makes an index that is missing, however long that takes. */
export type MakeIndex = (collection: Collection<Document>, index: Index) => Promise<void>;

/** An index as the server describes it. */
interface Found {
  readonly name: string;
  readonly key: Document;
  readonly [option: string]: unknown;
}

const NAMESPACE_NOT_FOUND = 26;
/** IndexOptionsConflict, IndexKeySpecsConflict, CannotCreateIndex. */
const CONFLICTS: ReadonlySet<unknown> = new Set([85, 86, 67]);
/**
 * Options that make an index differ from ours, though its key is the same: some documents are not in it, or not where
 * they are looked for.
 */
const OPTIONS = ["unique", "sparse", "partialFilterExpression", "collation", "expireAfterSeconds", "hidden"];

/** Makes an index with one command. Enough if there are few documents. */
export const makeIndex: MakeIndex = async (collection, { name, key, sparse }) => {
  await collection.createIndex(key as IndexSpecification, { name, ...(sparse && { sparse }) });
};

/**
 * Makes the indexes that are missing. If none is missing, the user needs no right to make any. An index under another
 * name that serves as well is accepted. Rejects with a StoreError if an existing index is in the way.
 */
export async function ensureIndexes<T extends Document>(
  collection: Collection<T>,
  wanted: readonly Index[],
  make: MakeIndex = makeIndex,
): Promise<void> {
  const found = await indexesOf(collection);
  // An entry that a unique index refuses would look like one that is there already.
  for (const { name, unique } of found)
    if (unique && name !== "_id_")
      throw new StoreError(
        `MongoDB has a unique index ${name} on ${collection.namespace}, which would refuse what has to be kept: drop it`,
      );
  for (const index of wanted) {
    const same = found.find(({ name }) => name === index.name) ?? found.find((one) => hasKeyOf(one, index));
    if (same && serves(same, index)) continue;
    if (same) throw new StoreError(otherShape(collection, same, index));
    await make(collection as unknown as Collection<Document>, index).catch((error) => {
      if (!(error instanceof MongoServerError) || !CONFLICTS.has(error.code)) throw error;
      throw new StoreError(
        `MongoDB will not make the index ${index.name} on ${collection.namespace}: ${error.message}`,
      );
    });
  }
}

const hasKeyOf = (one: Found, { key }: Index): boolean => JSON.stringify(one.key) === JSON.stringify(key);

function serves(one: Found, index: Index): boolean {
  return (
    hasKeyOf(one, index) && OPTIONS.every((option) => !isSet(one[option]) || (option === "sparse" && index.sparse))
  );
}

const isSet = (value: unknown): boolean => value !== undefined && value !== null && value !== false;

function otherShape<T extends Document>({ namespace }: Collection<T>, one: Found, { name, key }: Index): string {
  if (!hasKeyOf(one, { name, key }))
    return `MongoDB has an index ${one.name} of another shape on ${namespace}: drop it, and Tollgate makes its own`;
  const options = OPTIONS.filter((option) => isSet(one[option])).join(", ");
  return `MongoDB has an index ${one.name} of another shape on ${namespace}: it has the key of ${name}, and is ${options}: drop it, and Tollgate makes its own`;
}

async function indexesOf<T extends Document>(collection: Collection<T>): Promise<Found[]> {
  try {
    return (await collection.indexes()) as unknown as Found[];
  } catch (error) {
    if (error instanceof MongoServerError && error.code === NAMESPACE_NOT_FOUND) return [];
    throw error;
  }
}
