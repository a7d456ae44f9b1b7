/** What a running timer is known by; only the clock that made it can read it. */
export type TimerHandle = unknown;

/**
 * The one source of time (DESIGN.md, decision 15). Protocol timers, nonces and deadlines ask it, so a test can replay a race.
 * It has the shape that XState wants for its `clock`, so that the charts run on the same time as the transactions.
 */
export interface Clock {
  /** Wall-clock milliseconds since 1970, for records and for deadlines that outlive the process. */
  now(): number;
  setTimeout(fn: () => void, delayMs: number): TimerHandle;
  clearTimeout(handle: TimerHandle): void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  setTimeout: (fn, delayMs) => setTimeout(fn, delayMs),
  clearTimeout: (handle) => clearTimeout(handle as NodeJS.Timeout),
};
