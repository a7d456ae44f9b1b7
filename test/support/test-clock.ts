import type { Clock, TimerHandle } from "../../src/support/clock.ts";

interface Timer {
  readonly dueAt: number;
  readonly order: number;
  readonly fn: () => void;
}

/**
 * A clock that moves only when told, timer by timer, in the order in which they are due. Its two readings have nothing
 * in common but that both go on: what is compared with a reading of the other kind shows.
 */
export class TestClock implements Clock {
  private timers = new Map<number, Timer>();
  private order = 0;
  /** As after the start of a process. */
  private time = 0;
  /** What the wall clock shows at time 0. */
  private epoch: number;

  constructor(startMs = Date.UTC(2026, 0, 1)) {
    this.epoch = startMs;
  }

  wall(): number {
    return this.epoch + this.time;
  }

  monotonic(): number {
    return this.time;
  }

  /** Somebody sets the wall clock, forward or back (below zero): no time passes. */
  setWall(byMs: number): void {
    this.epoch += byMs;
  }

  setTimeout(fn: () => void, delayMs: number): TimerHandle {
    const order = ++this.order;
    this.timers.set(order, { dueAt: this.time + Math.max(0, delayMs), order, fn });
    return order;
  }

  clearTimeout(handle: TimerHandle): void {
    this.timers.delete(handle as number);
  }

  /** Timers that are still armed: a test that ends cleanly leaves none. */
  get armed(): number {
    return this.timers.size;
  }

  /** Runs everything that is due within `ms`, each at its own moment, also what is armed on the way. */
  advance(ms: number): void {
    const end = this.time + ms;
    while (this.step(end));
    this.time = end;
  }

  /** Runs the one timer that is due next, where it is due until `end`; false where there is none. */
  step(end: number): boolean {
    let next: Timer | undefined;
    for (const timer of this.timers.values()) {
      if (
        timer.dueAt <= end &&
        (!next || timer.dueAt < next.dueAt || (timer.dueAt === next.dueAt && timer.order < next.order))
      )
        next = timer;
    }
    if (!next) return false;
    this.timers.delete(next.order);
    this.time = Math.max(this.time, next.dueAt);
    next.fn();
    return true;
  }
}
