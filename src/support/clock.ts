/** What a running timer is known by; only the clock that made it can read it. */
export type TimerHandle = unknown;

/**
 * The one source of time (decision 15). Protocol timers, nonces and deadlines ask it, so a test can replay
 * a race. The charts have no timers: what happens in them brings its time along.
 */
export interface Clock {
  /**
   * Whole milliseconds since 1970 by the wall clock, which anybody may set: for what is shown, and for what outlives
   * the process.
   */
  wall(): number;
  /**
   * Whole milliseconds that have passed since some moment before the process began; never set back, and no step
   * forward: for whatever is measured. Linux's CLOCK_MONOTONIC: time in which the machine slept does not count, and
   * nothing is relayed in it.
   */
  monotonic(): number;
  setTimeout(fn: () => void, delayMs: number): TimerHandle;
  clearTimeout(handle: TimerHandle): void;
}

const sinceStart = performance.now.bind(performance);

export const systemClock: Clock = {
  wall: () => Date.now(),
  monotonic: () => Math.floor(sinceStart()), // here once, so that no duration has a fraction anywhere
  setTimeout: (fn, delayMs) => setTimeout(fn, delayMs),
  clearTimeout: (handle) => clearTimeout(handle as NodeJS.Timeout),
};
