import type { Clock, TimerHandle } from "./clock.ts";

/**
 * Readings closer together than this are of one moment; and a difference that is smaller is no step: NTP slews it away.
 */
const STEP_MS = 500;
/**
 * Wall and monotonic clock are read one after the other: where more than this lies between, the machine was doing
 * something else.
 */
const SAME_MOMENT_MS = 50;
const LOOK_EVERY_MS = 1_000;

/** For the log of whoever hears of a step. */
export const CLOCK_WAS_SET = "the wall clock was set, or the machine slept: nothing that is measured follows it";

/**
 * Time of day that nobody can set: the wall clock was read once, and from then on what has passed is counted. What
 * belongs together is on one timeline, so that its times are in their order and its durations are what really passed,
 * whatever becomes of the wall clock.
 */
export class Timeline {
  /** How far the wall clock was set since the process began when this timeline began; below zero: back. */
  readonly stepMs: number;
  private readonly clock: Pick<Clock, "monotonic">;
  private readonly offsetMs: number;

  /** `offsetMs`: wall clock less monotonic clock. */
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
  /** That of the process: where it would be by now if nobody had set the wall clock. */
  readonly first: Timeline;
  private readonly clock: Clock;
  private readonly stepped: (byMs: number) => void;
  private offsetMs: number;
  private timer: TimerHandle;
  /** The last one that was given out: good enough for what has no times yet. */
  latest: Timeline;

  /**
   * `stepped` hears of each step of the wall clock once: by how much it was set, below zero: back. `firstNow`: what
   * it is now by the first timeline of a process before this one, which goes on: what began then has its times by
   * that.
   */
  constructor(clock: Clock, stepped: (byMs: number) => void = () => {}, firstNow = clock.wall()) {
    this.clock = clock;
    this.stepped = stepped;
    this.offsetMs = firstNow - clock.monotonic();
    this.first = this.latest = new Timeline(clock, this.offsetMs, 0);
  }

  /**
   * The one that began when the wall clock had been set by so much, also where that was in a process before this one.
   */
  by(stepMs: number): Timeline {
    if (stepMs === this.latest.stepMs) return this.latest;
    if (stepMs === 0) return this.first;
    return new Timeline(this.clock, this.first.now() - this.clock.monotonic() + stepMs, stepMs);
  }

  /** The one for what begins now: within half a second of the wall clock. Whoever asks notices a step. */
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

  /** Looks for steps once a second, also where nobody asks. */
  watch(): void {
    this.current();
    this.timer = this.clock.setTimeout(() => this.watch(), LOOK_EVERY_MS);
  }

  /** Looks no more. */
  close(): void {
    this.clock.clearTimeout(this.timer);
  }
}
