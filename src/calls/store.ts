/**
 * Which records a page has. Requests of strangers have pages and bounds of their own, so that they never push out the
 * calls of users.
 */
export type CallRing = "users" | "strangers";

/** Records that were written together: one write of the store, whatever their number. */
export interface CallPage {
  readonly ring: CallRing;
  /** When it was written, milliseconds since 1970. No record in it ended later. */
  readonly at: number;
  readonly count: number;
  /** Each record as JSON, a line each, in the order in which they ended. */
  readonly text: string;
  /** By what its records are looked up: `tagsOf` of each. */
  readonly tags: readonly string[];
}

export interface CallPageQuery {
  readonly ring: CallRing;
  /** Not the pages written before; default: all. */
  readonly since?: number;
  /** Pages that may have a record with this tag; a store may return others too. */
  readonly tag?: string;
}

/** Where records of calls are kept, as a port: in the embedded store, or in MongoDB for all nodes of a cluster. */
export interface CallStore {
  add(page: CallPage): Promise<void>;
  /** The texts of the pages, the last one that was written first. */
  pages(query: CallPageQuery): AsyncIterable<string>;
  /**
   * Removes pages written before `before`, and the oldest ones of those that have more than `most` records together.
   * Resolves to how many records are gone.
   */
  forget(what: { readonly ring: CallRing; readonly before: number; readonly most: number }): Promise<number>;
}
