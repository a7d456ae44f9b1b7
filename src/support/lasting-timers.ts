import type { Clock, TimerHandle } from "./clock.ts";

/** How late a timer may fire. One timeout of the clock can then serve some hundreds of them. */
const LATE_MS = 100;

/** The lists are cut when more than this many places at their front are empty, and more than half of all. */
const CUT_AT = 1_000;

/**
 * Timers of one duration that are never stopped and may fire up to 0.1 s late. No object is made for a timer. A
 * transaction spends nearly all its life in such a timer, to absorb repeated messages; an object that lives that long
 * costs the garbage collector more than it costs to make.
 */
export class LastingTimers<Owner> {
  private readonly durationMs: number;
  private readonly clock: Clock;
  private readonly fire: (owner: Owner, name: string) => void;
  /** Times are counted from here. They are then small integers, for which V8 makes no objects. */
  private readonly since: number;
  private owners: (Owner | undefined)[] = [];
  private names: string[] = [];
  private dueAt: number[] = [];
  /** The place of the oldest timer in the lists. */
  private head = 0;
  private armed: TimerHandle | undefined;

  constructor(durationMs: number, clock: Clock, fire: (owner: Owner, name: string) => void) {
    this.durationMs = durationMs;
    this.clock = clock;
    this.fire = fire;
    this.since = clock.monotonic();
  }

  /** How many run now. */
  get size(): number {
    return this.owners.length - this.head;
  }

  start(owner: Owner, name: string): void {
    this.owners.push(owner);
    this.names.push(name);
    this.dueAt.push(this.clock.monotonic() - this.since + this.durationMs);
    if (this.armed === undefined) this.arm(this.durationMs);
  }

  close(): void {
    if (this.armed !== undefined) this.clock.clearTimeout(this.armed);
    this.armed = undefined;
    this.cut(this.owners.length);
  }

  private arm(delayMs: number): void {
    this.armed = this.clock.setTimeout(() => this.run(), delayMs);
  }

  private run(): void {
    const now = this.clock.monotonic() - this.since;
    while (this.head < this.owners.length && this.dueAt[this.head]! <= now) {
      const at = this.head++;
      const owner = this.owners[at]!;
      this.owners[at] = undefined;
      this.fire(owner, this.names[at]!);
    }
    if (this.head > CUT_AT && this.head * 2 > this.owners.length) this.cut(this.head);
    this.armed = undefined;
    const next = this.dueAt[this.head];
    if (next !== undefined) this.arm(Math.max(LATE_MS, next - now));
  }

  private cut(places: number): void {
    this.owners = this.owners.slice(places);
    this.names = this.names.slice(places);
    this.dueAt = this.dueAt.slice(places);
    this.head = 0;
  }
}
