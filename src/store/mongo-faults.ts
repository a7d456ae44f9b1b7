import { MongoError, MongoInvalidArgumentError, MongoServerError } from "mongodb";
import { type Fault, plainFault } from "../charging/events/faults.ts";
import { StoreError } from "./mongo-errors.ts";

/** Error codes of a server that cannot take the document itself. */
const OF_DOCUMENT: ReadonlySet<unknown> = new Set([
  2, // BadValue
  9, // FailedToParse
  14, // TypeMismatch
  15, // Overflow: nested too deep
  22, // InvalidBSON
  40, // ConflictingUpdateOperators
  52, // DollarPrefixedFieldName
  56, // EmptyFieldName
  57, // DottedFieldName
  10334, // BSONObjectTooLarge
  17280, // KeyTooLong
  17419, // the document would be too large after an update
  17420,
]);

/**
 * Error codes that any document may get, because of what the operator has set up or what the server lacks: a
 * permission, a validator, a full disk. Waiting does not mend them, but no event is to blame.
 */
const OF_OPERATOR: ReadonlySet<unknown> = new Set([
  11, // UserNotFound
  13, // Unauthorized
  18, // AuthenticationFailed
  121, // DocumentValidationFailure
  14031, // OutOfDiskSpace
]);

/** What is to blame for an error of MongoDB, of its driver, or of the code that writes with it. */
export function mongoFault(error: unknown): Fault {
  // The driver does not send it: it is too large, or BSON cannot hold it. No server has seen it.
  if (error instanceof MongoInvalidArgumentError || (error as Error | undefined)?.name === "BSONError") return "event";
  if (error instanceof StoreError) return "store";
  if (!(error instanceof MongoError)) return plainFault(error);
  if (!(error instanceof MongoServerError)) return "store"; // no connection, no server, no answer in time
  const codes = codesOf(error);
  if (codes.some((code) => OF_OPERATOR.has(code))) return "store";
  if (codes.length > 0 && codes.every((code) => OF_DOCUMENT.has(code))) return "event";
  const isPassing = error.hasErrorLabel("RetryableWriteError") || error.hasErrorLabel("TransientTransactionError");
  return isPassing ? "store" : "unknown";
}

/** The codes of an error. In a bulk, each document that failed has its own. */
function codesOf(error: MongoServerError): unknown[] {
  const { writeErrors } = error as { readonly writeErrors?: unknown };
  const each = writeErrors === undefined ? [] : [writeErrors].flat();
  return each.length > 0 ? each.map((one) => (one as { readonly code?: unknown }).code) : [error.code];
}
