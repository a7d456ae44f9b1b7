import type { Clock, TimerHandle } from "../../support/clock.ts";
import type { Logger } from "../../support/log.ts";

/** Time between two tries. */
const EVERY_MS = 5_000;
/**
 * How many are tried at a time, so that they share one commit. One after the other, each would wait for a commit of its
 * own.
 */
const TOGETHER = 500;
/** How many may wait. Beyond that, the oldest are given up; the log has them in full. */
const MAX_WAITING = 10_000;

/**
 * Events that could not be put on record when they happened, and that nobody will report again: ends of sessions,
 * changes of service, charges in the answer to BYE. They are tried again until the journal takes them. Without this, an
 * account would run on until the next start of the relay, and be charged until then.
 */
export class LaterRecords {
  private readonly clock: Clock;
  private readonly log: Logger;
  private waiting: (() => Promise<unknown>)[] = [];
  private trying: Promise<void> | undefined;
  private timer: TimerHandle;
  private closed = false;

  constructor({ clock, log }: { readonly clock: Clock; readonly log: Logger }) {
    this.clock = clock;
    this.log = log;
  }

  /** How many wait. */
  get size(): number {
    return this.waiting.length;
  }

  /** `record` may be called any number of times, and is called until its promise does not reject. */
  add(record: () => Promise<unknown>): void {
    if (this.waiting.length >= MAX_WAITING) {
      this.waiting.shift();
      this.log.error({ waiting: MAX_WAITING }, "too much waits to be put on record: the oldest is given up, see above");
    }
    this.waiting.push(record);
    this.later();
  }

  private later(): void {
    if (this.closed || this.waiting.length === 0 || this.timer !== undefined || this.trying) return;
    this.timer = this.clock.setTimeout(() => {
      this.timer = undefined;
      void this.flush();
    }, EVERY_MS);
  }

  /** Tries all of them now, in order. One that still fails does not hold up those after it. Never rejects. */
  flush(): Promise<void> {
    this.trying ??= this.tryAll().finally(() => {
      this.trying = undefined;
      this.later();
    });
    return this.trying;
  }

  private async tryAll(): Promise<void> {
    const all = this.waiting.slice();
    let recorded = 0;
    for (let n = 0; n < all.length; n += TOGETHER) {
      const some = all.slice(n, n + TOGETHER);
      const results = await Promise.allSettled(some.map(async (record) => record()));
      const done = new Set(some.filter((_, i) => results[i]!.status === "fulfilled"));
      if (done.size === 0) break; // all fail: the disk is at fault
      this.waiting = this.waiting.filter((record) => !done.has(record));
      recorded += done.size;
    }
    if (recorded > 0) this.log.warn({ events: recorded, left: this.waiting.length }, "put on record late");
  }

  /** Tries once more, and then no longer. */
  async close(): Promise<void> {
    this.closed = true;
    this.clock.clearTimeout(this.timer);
    this.timer = undefined;
    await this.flush();
  }
}
