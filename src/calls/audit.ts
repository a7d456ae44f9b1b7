import type { Timed } from "./time-log.ts";

/** What is noted of one change, or of one reading of what is said about people. */
export interface AuditEntry extends Timed {
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
