import { type Fault, plainFault } from "../charging/events/faults.ts";

/** lmdb says of a key that is too long only this. */
const KEY = /^Key size is larger than/;
/** MDB_BAD_VALSIZE. */
const BAD_VALUE_SIZE = -30781;

/** Whose fault an error of lmdb, or of what writes to it, is. What the disk and the system say has a `code`. */
export function lmdbFault(error: unknown): Fault {
  const { code, message } = (error ?? {}) as { readonly code?: unknown; readonly message?: unknown };
  if (code === BAD_VALUE_SIZE || KEY.test(String(message))) return "event";
  if (code !== undefined) return "store";
  return plainFault(error);
}
