/** What a running timer is known by; only the clock that made it can read it. */
export type TimerHandle = unknown;

/**
 * The one source of time (DESIGN.md, decision 15). Protocol timers, nonces and deadlines ask it, so a test can replay a race.
 * It has the shape that XState wants for its `clock`, so that the charts run on the same time as the transactions.
 */
export interface Clock {
  /** Wall-clock milliseconds since 1970, which anybody may set: for what is shown, and for what outlives the process. */
  wall(): number;
  /** Milliseconds that have passed since some moment before the process began; never set back, and no step forward. For whatever is measured. */
  monotonic(): number;
  setTimeout(fn: () => void, delayMs: number): TimerHandle;
  clearTimeout(handle: TimerHandle): void;
}

export const systemClock: Clock = {
  wall: () => Date.now(),
  monotonic: () => performance.now(),
  setTimeout: (fn, delayMs) => setTimeout(fn, delayMs),
  clearTimeout: (handle) => clearTimeout(handle as NodeJS.Timeout),
};
