import type { Clock, TimerHandle } from "./clock.ts";
import { LastingTimers } from "./lasting-timers.ts";

export interface TimerOwner<Name extends string = string> {
  timerFired(name: Name): void;
}

/** A running timer. Only the `TimerQueues` that made it may read it. */
export class Timer {
  readonly queue: Queue;
  readonly name: string;
  /** Milliseconds since the queues were made. */
  readonly dueAt: number;
  owner: TimerOwner | undefined;
  next: Timer | undefined;
  previous: Timer | undefined;

  constructor(queue: Queue, name: string, dueAt: number, owner: TimerOwner) {
    this.queue = queue;
    this.name = name;
    this.dueAt = dueAt;
    this.owner = owner;
    this.next = undefined;
    this.previous = queue.last;
  }
}

interface Queue {
  readonly durationMs: number;
  first: Timer | undefined;
  last: Timer | undefined;
  /** The one timeout of the clock that serves the whole queue. */
  armed: TimerHandle | undefined;
}

/**
 * Timers of transactions and sessions. A relay at 2,000 calls a second starts some 25,000 of them a second, most for 32
 * s and longer, and stops nearly all early. There are only about twenty durations (T1 and its doublings, T4, 64*T1,
 * those of the configuration), and timers of one duration fire in the order in which they were started. So each
 * duration has one list, and the clock has one timeout for the head of each list. Starting and stopping a timer only
 * links and unlinks it, and makes no closure.
 */
export class TimerQueues {
  /** Sees each timer that fires; undefined: nobody looks. */
  fired: ((owner: object, name: string) => void) | undefined;
  private readonly clock: Clock;
  private readonly failed: (error: unknown) => void;
  private readonly queues = new Map<number, Queue>();
  private readonly lasting = new Map<number, LastingTimers<TimerOwner>>();
  /** How many timers run that can be stopped. */
  private running = 0;
  /** Times are counted from here. They are then small integers, for which V8 makes no objects. */
  private readonly since: number;

  /** `failed` gets what an owner throws. So the error of one owner does not stop the timers of others. */
  constructor(clock: Clock, failed: (error: unknown) => void) {
    this.clock = clock;
    this.failed = failed;
    this.since = clock.monotonic();
  }

  /** How many timers run now. */
  get size(): number {
    let size = this.running;
    for (const timers of this.lasting.values()) size += timers.size;
    return size;
  }

  /**
   * Calls `owner.timerFired(name)` after `durationMs`. There may be only a few different durations, since each has a
   * list of its own.
   */
  start<Name extends string>(owner: TimerOwner<Name>, name: Name, durationMs: number): Timer {
    let queue = this.queues.get(durationMs);
    if (!queue) {
      queue = { durationMs, first: undefined, last: undefined, armed: undefined };
      this.queues.set(durationMs, queue);
    }
    const timer = new Timer(queue, name, this.clock.monotonic() - this.since + durationMs, owner as TimerOwner);
    if (queue.last) queue.last.next = timer;
    else queue.first = timer;
    queue.last = timer;
    this.running++;
    if (queue.armed === undefined) this.arm(queue, durationMs);
    return timer;
  }

  /** The same for a timer that is never stopped and may fire up to 0.1 s late. */
  startForGood<Name extends string>(owner: TimerOwner<Name>, name: Name, durationMs: number): void {
    let timers = this.lasting.get(durationMs);
    if (!timers) {
      timers = new LastingTimers(durationMs, this.clock, this.fire);
      this.lasting.set(durationMs, timers);
    }
    timers.start(owner as TimerOwner, name);
  }

  /** Stops a timer. Does nothing if it has fired or was stopped before. */
  stop(timer: Timer | undefined): void {
    if (timer?.owner === undefined) return;
    // The clock's timeout stays armed even if the queue is empty now: the next start would only arm it again.
    this.unlink(timer);
  }

  /** Stops every timer, e.g. when the relay ends. */
  close(): void {
    for (const queue of this.queues.values()) {
      if (queue.armed !== undefined) this.clock.clearTimeout(queue.armed);
      for (let timer = queue.first; timer; timer = timer.next) timer.owner = undefined;
      queue.first = queue.last = undefined;
    }
    for (const timers of this.lasting.values()) timers.close();
    this.queues.clear();
    this.lasting.clear();
    this.running = 0;
  }

  private arm(queue: Queue, delayMs: number): void {
    queue.armed = this.clock.setTimeout(() => this.run(queue), delayMs);
  }

  private run(queue: Queue): void {
    // `armed` stays set until the end. Otherwise a timer that is started meanwhile would arm the clock for itself, and
    // too late for those before it.
    const now = this.clock.monotonic() - this.since;
    while (queue.first && queue.first.dueAt <= now) {
      const timer = queue.first;
      const owner = timer.owner;
      this.unlink(timer);
      if (owner) this.fire(owner, timer.name);
    }
    queue.armed = undefined;
    if (queue.first) this.arm(queue, Math.max(1, queue.first.dueAt - now));
  }

  private readonly fire = (owner: TimerOwner, name: string): void => {
    try {
      this.fired?.(owner, name);
      owner.timerFired(name);
    } catch (error) {
      this.failed(error);
    }
  };

  private unlink(timer: Timer): void {
    const { queue, previous, next } = timer;
    if (previous) previous.next = next;
    else queue.first = next;
    if (next) next.previous = previous;
    else queue.last = previous;
    timer.owner = timer.next = timer.previous = undefined;
    this.running--;
  }
}
