import type { Clock, TimerHandle } from "./clock.ts";

/** A difference up to this is no step of the wall clock: NTP corrects such a difference slowly. */
const STEP_MS = 500;
/**
 * The two clocks are read one after the other. If more than this lies between, the process was interrupted, and the
 * readings cannot be compared.
 */
const SAME_MOMENT_MS = 50;
const LOOK_EVERY_MS = 1_000;

/** What the log says of a step. */
export const CLOCK_WAS_SET = "the wall clock was set, or the machine slept: nothing that is measured follows it";

/**
 * A time of day that nobody can set: the wall clock is read once, and from then on the time that passes is counted.
 * Times that belong together (e.g. of one session) are on one timeline. So they are in the right order, and their
 * differences are real durations, even if the wall clock is set.
 */
export class Timeline {
  /** By how much the wall clock had been set in all, when this timeline began; below zero: back. */
  readonly stepMs: number;
  private readonly clock: Pick<Clock, "monotonic">;
  private readonly offsetMs: number;

  /** `offsetMs`: wall clock minus monotonic clock. */
  constructor(clock: Pick<Clock, "monotonic">, offsetMs: number, stepMs: number) {
    this.clock = clock;
    this.offsetMs = offsetMs;
    this.stepMs = stepMs;
  }

  /** Whole milliseconds since 1970. */
  now(): number {
    return this.clock.monotonic() + this.offsetMs;
  }
}

/** The timelines of one process: a new one begins when the wall clock was set. */
export class Timelines {
  /** The timeline of the process: the wall clock as it would be if nobody had set it. */
  readonly first: Timeline;
  private readonly clock: Clock;
  private readonly stepped: (byMs: number) => void;
  private offsetMs: number;
  private timer: TimerHandle;
  /** The timeline that began last, without a look for a step. Good enough for a session that has no times yet. */
  latest: Timeline;

  /**
   * `stepped` is called once for each step of the wall clock, with the amount; below zero: back. `firstNow`: the
   * present time by the first timeline of the process before this one. That timeline goes on here, since sessions of
   * that process have their times by it.
   */
  constructor(clock: Clock, stepped: (byMs: number) => void = () => {}, firstNow = clock.wall()) {
    this.clock = clock;
    this.stepped = stepped;
    this.offsetMs = firstNow - clock.monotonic();
    this.first = this.latest = new Timeline(clock, this.offsetMs, 0);
  }

  /**
   * The timeline that began when the wall clock had been set by `stepMs`, even if that was in a process before this
   * one.
   */
  by(stepMs: number): Timeline {
    if (stepMs === this.latest.stepMs) return this.latest;
    if (stepMs === 0) return this.first;
    return new Timeline(this.clock, this.first.now() - this.clock.monotonic() + stepMs, stepMs);
  }

  /**
   * The timeline for what begins now. It is within half a second of the wall clock: this call notices a step, and then
   * begins a new one.
   */
  current(): Timeline {
    const { clock } = this;
    const before = clock.monotonic();
    const offsetMs = clock.wall() - before;
    const byMs = offsetMs - this.offsetMs;
    if ((byMs < -STEP_MS || byMs > STEP_MS) && clock.monotonic() - before < SAME_MOMENT_MS) {
      this.offsetMs = offsetMs;
      this.latest = new Timeline(clock, offsetMs, this.latest.stepMs + byMs);
      this.stepped(byMs);
    }
    return this.latest;
  }

  /** Looks for steps once a second, even if nobody calls `current`. */
  watch(): void {
    this.current();
    this.timer = this.clock.setTimeout(() => this.watch(), LOOK_EVERY_MS);
  }

  /** Ends `watch`. */
  close(): void {
    this.clock.clearTimeout(this.timer);
  }
}
