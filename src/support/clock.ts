/** Stands for a running timer. Only the clock that made it can read it. */
export type TimerHandle = unknown;

/**
 * The one source of time (decision 15). Protocol timers, nonces and deadlines ask it, so a test can replay a race. The
 * charts have no timers: each event brings its time along.
 */
export interface Clock {
  /**
   * Whole milliseconds since 1970 by the wall clock, which may be set at any time. For times that are shown, and for
   * those that outlive the process.
   */
  wall(): number;
  /**
   * Whole milliseconds since some moment in the past; never set back, never set forward. For everything that is
   * measured. It is Linux's CLOCK_MONOTONIC, which does not count the time in which the machine sleeps; nothing is
   * relayed in that time.
   */
  monotonic(): number;
  setTimeout(fn: () => void, delayMs: number): TimerHandle;
  clearTimeout(handle: TimerHandle): void;
}

const sinceStart = performance.now.bind(performance);

export const systemClock: Clock = {
  wall: () => Date.now(),
  monotonic: () => Math.floor(sinceStart()), // rounded only here, so that no duration has a fraction
  setTimeout: (fn, delayMs) => setTimeout(fn, delayMs),
  clearTimeout: (handle) => clearTimeout(handle as NodeJS.Timeout),
};

/** Does not keep the process alive for this timer. */
export const unref = (timer: TimerHandle): void => (timer as { unref?: () => void } | undefined)?.unref?.();

export const pause = (clock: Pick<Clock, "setTimeout">, ms: number): Promise<void> =>
  new Promise((resolve) => clock.setTimeout(resolve, ms));

/** Resolves when it is so, or after `withinMs`. Looks every `everyMs`. */
export async function until(clock: Clock, isSo: () => boolean, withinMs: number, everyMs: number): Promise<void> {
  const lateAt = clock.monotonic() + withinMs;
  while (!isSo() && clock.monotonic() < lateAt) await pause(clock, everyMs);
}

/** Resolves when the promise does, or after `ms`. */
export async function within(clock: Clock, ms: number, promise: Promise<unknown>): Promise<void> {
  let timer: TimerHandle;
  const late = new Promise((resolve) => {
    timer = clock.setTimeout(() => resolve(undefined), ms);
  });
  await Promise.race([promise, late]);
  clock.clearTimeout(timer);
}
