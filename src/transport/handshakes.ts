import type { Clock, TimerHandle } from "../support/clock.ts";

export interface HandshakesOptions<T> {
  readonly clock: Pick<Clock, "monotonic" | "setTimeout" | "clearTimeout">;
  /** How many may begin in a second; 0: no bound. */
  readonly perSecond: number;
  /** Messages wait: a quarter begins, since calls come first. */
  readonly isBusy?: (() => boolean) | undefined;
  /** The turn of one that had to wait has come. */
  begin(waiting: T): void;
  /** One that waits has to give way to another source. */
  giveUp(waiting: T): void;
}

/** So long one may have to wait. More than begin in that time do not wait: their peers give up, and come again. */
const WAIT_S = 5;
/** What may begin at once, after a time in which less began. */
const BURST_S = 0.05;
const TICK_MS = 10;
/** The process is busy, too, if a turn comes so late. */
const LATE_MS = 50;

/**
 * Spreads the handshakes of TLS over time, since each costs half a millisecond of the one thread that carries all
 * calls. After a failure all clients come back at once. The connections wait, and have their turn source by source.
 */
export class Handshakes<T> {
  private readonly options: HandshakesOptions<T>;
  private readonly most: number;
  private readonly burst: number;
  private readonly sources = new Map<string, Set<T>>();
  private waiting = 0;
  private tokens: number;
  private filledAt: number;
  private timer: TimerHandle | undefined;

  constructor(options: HandshakesOptions<T>) {
    this.options = options;
    this.most = Math.ceil(options.perSecond * WAIT_S);
    this.tokens = this.burst = Math.max(1, options.perSecond * BURST_S);
    this.filledAt = options.clock.monotonic();
  }

  /** How many wait. */
  get size(): number {
    return this.waiting;
  }

  /** Whether one of that source may begin now. Otherwise it waits, or there are too many that wait: `no`. */
  take(source: string, one: T): "now" | "later" | "no" {
    if (this.options.perSecond === 0) return "now";
    if (this.waiting === 0 && this.hasToken()) {
      this.tokens--;
      return "now";
    }
    if (this.waiting >= this.most && !this.makeRoom(source)) return "no";
    const own = this.sources.get(source);
    if (own) own.add(one);
    else this.sources.set(source, new Set([one]));
    this.waiting++;
    this.timer ??= this.options.clock.setTimeout(() => this.tick(), TICK_MS);
    return "later";
  }

  /** One that waits has gone. */
  gone(source: string, one: T): void {
    const own = this.sources.get(source);
    if (!own?.delete(one)) return;
    this.waiting--;
    if (own.size === 0) this.sources.delete(source);
  }

  /** Those who wait are given up. */
  close(): void {
    if (this.timer !== undefined) this.options.clock.clearTimeout(this.timer);
    this.timer = undefined;
    for (const [source, own] of this.sources)
      for (const one of own) {
        this.gone(source, one);
        this.options.giveUp(one);
      }
  }

  private hasToken(): boolean {
    const now = this.options.clock.monotonic();
    this.tokens = Math.min(this.burst, this.tokens + ((now - this.filledAt) * this.options.perSecond) / 1000);
    this.filledAt = now;
    return this.tokens >= 1;
  }

  private tick(): void {
    this.timer = undefined;
    const isLate =
      this.options.isBusy?.() === true || this.options.clock.monotonic() - this.filledAt > TICK_MS + LATE_MS;
    const least = isLate && this.hasToken() ? 0.75 * this.tokens : 0;
    for (; this.waiting > 0 && this.hasToken() && this.tokens > least; this.tokens--) {
      const [source, own] = this.sources.entries().next().value!;
      const [one] = own;
      this.gone(source, one!);
      if (own.size > 0) {
        this.sources.delete(source);
        this.sources.set(source, own); // the other sources come first
      }
      this.options.begin(one!);
    }
    if (isLate) this.tokens = Math.min(this.tokens, 1);
    if (this.waiting > 0) this.timer ??= this.options.clock.setTimeout(() => this.tick(), TICK_MS);
  }

  /** Takes the place of the last one of the source that has most, if that is not `source` itself. */
  private makeRoom(source: string): boolean {
    let most: readonly [string, Set<T>] | undefined;
    for (const entry of this.sources) if (!most || entry[1].size > most[1].size) most = entry;
    const own = this.sources.get(source)?.size ?? 0;
    if (!most || most[1].size <= own + 1) return false;
    const last = [...most[1]].at(-1)!;
    this.gone(most[0], last);
    this.options.giveUp(last);
    return true;
  }
}
