/** What is kept in the order of time, such as the audit log. */
export interface Timed {
  /** Begins with `timePrefix(at)`, so that ids lie in the order of time. */
  readonly id: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

export interface TimeLogPage<T extends Timed> {
  readonly entries: readonly T[];
  /** `before` of the following page; missing: this is the last one. */
  readonly next?: string;
}

/** Where such entries are kept, as a port. */
export interface TimeLog<T extends Timed> {
  /** An entry that is there already stays once. */
  add(entry: T): Promise<void>;
  /** The newest first. `before`: an id; `since`: milliseconds since 1970. */
  page(query: { readonly since?: number; readonly before?: string; readonly most: number }): Promise<TimeLogPage<T>>;
  /** Removes what is older, and the oldest of those that are more than `most`. Resolves to how many are gone. */
  forget(what: { readonly before: number; readonly most: number }): Promise<number>;
}
