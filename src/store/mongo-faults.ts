import { MongoError, MongoInvalidArgumentError, MongoServerError } from "mongodb";
import { type Fault, plainFault } from "../charging/events/faults.ts";
import { StoreError } from "./mongo-errors.ts";

/** What a server answers where the document itself is what it cannot take, by its error codes. */
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
 * Codes that any document may draw, by what the operator has set up or what the server is about: a validator, a
 * quota. Waiting does not mend them, and no event is to be blamed for them.
 */
const OF_OPERATOR: ReadonlySet<unknown> = new Set([
  11, // UserNotFound
  13, // Unauthorized
  18, // AuthenticationFailed
  121, // DocumentValidationFailure
  14031, // OutOfDiskSpace
]);

/** Whose fault an error of MongoDB, of its driver, or of what is written with it is. */
export function mongoFault(error: unknown): Fault {
  // What the driver will not send: too large, or nothing that BSON can have. It never reached a server.
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

/** Of a bulk's documents each that failed has a code of its own. */
function codesOf(error: MongoServerError): unknown[] {
  const { writeErrors } = error as { readonly writeErrors?: unknown };
  const each = writeErrors === undefined ? [] : [writeErrors].flat();
  return each.length > 0 ? each.map((one) => (one as { readonly code?: unknown }).code) : [error.code];
}
