/** What is noted of one change, or of one reading of what is said about people. */
export interface AuditEntry {
  /** In the order of time. */
  readonly id: string;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** The token's name, or who needs none. */
  readonly who: string;
  readonly role: string;
  /** An address; of a command, the machine's user. */
  readonly from: string;
  /** The operation: `addUser`. */
  readonly what: string;
  readonly kind: "change" | "read";
  /** What it was about, without secrets: `{ id: "alice" }`. */
  readonly of?: Readonly<Record<string, string | number | boolean>>;
  /** `done`, or why not. */
  readonly outcome: string;
}

export interface AuditPage {
  readonly entries: readonly AuditEntry[];
  /** `before` of the following page; missing: this is the last one. */
  readonly next?: string;
}

/** Where the audit log is kept, as a port. */
export interface AuditStore {
  add(entry: AuditEntry): Promise<void>;
  /** The newest first. `before`: an id; `since`: milliseconds since 1970. */
  page(query: { readonly since?: number; readonly before?: string; readonly most: number }): Promise<AuditPage>;
  /** Removes what is older, and the oldest of those that are more than `most`. Resolves to how many are gone. */
  forget(what: { readonly before: number; readonly most: number }): Promise<number>;
}
