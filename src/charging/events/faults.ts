/**
 * Why a batch of events was not billed. `store`: the store is away, full or busy, and the same may succeed later.
 * `event`: an event is at fault, and will never succeed. `unknown`: it is not known which.
 */
export type Fault = "store" | "event" | "unknown";

/** Something is wrong with an event itself, and waiting does not help. */
export class EventError extends Error {}

/** Others write the same record all the time. The write may succeed later. */
export class BusyError extends Error {}

/** What can be said of an error without knowing the store that it comes from. */
export function plainFault(error: unknown): Fault {
  if (error instanceof BusyError) return "store";
  // JavaScript's own errors: something in an event cannot be read, written as JSON, or calculated with.
  const isEvents =
    error instanceof EventError ||
    error instanceof TypeError ||
    error instanceof RangeError ||
    error instanceof SyntaxError;
  return isEvents ? "event" : "unknown";
}
