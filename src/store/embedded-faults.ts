import { type Fault, plainFault } from "../charging/events/faults.ts";

/** The message for a key that is too long. lmdb gives this error no code. */
const KEY = /^Key size is larger than/;
/** MDB_BAD_VALSIZE. */
const BAD_VALUE_SIZE = -30781;

/**
 * What is to blame for an error of lmdb, or of the code that writes to it: the event or the store. Errors of the disk
 * and the system have a `code`.
 */
export function lmdbFault(error: unknown): Fault {
  const { code, message } = (error ?? {}) as { readonly code?: unknown; readonly message?: unknown };
  if (code === BAD_VALUE_SIZE || KEY.test(String(message))) return "event";
  if (code !== undefined) return "store";
  return plainFault(error);
}
