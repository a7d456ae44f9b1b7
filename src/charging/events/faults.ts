/**
 * Whose fault it is that a batch of events was not billed: the store's (it is away, full, busy), so that the same may
 * succeed later; that of an event, which will never succeed; or nobody knows.
 */
export type Fault = "store" | "event" | "unknown";

/** Something is wrong with an event itself: nothing that waiting could mend. */
export class EventError extends Error {}

/** Others write the same all the time: it may succeed later. */
export class BusyError extends Error {}

/** What can be said of an error without knowing the store that it comes from. */
export function plainFault(error: unknown): Fault {
  if (error instanceof BusyError) return "store";
  // What can be neither read, nor written as JSON, nor calculated with: the language's own errors.
  const isEvents =
    error instanceof EventError ||
    error instanceof TypeError ||
    error instanceof RangeError ||
    error instanceof SyntaxError;
  return isEvents ? "event" : "unknown";
}
