import type { Clock, TimerHandle } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import { batchesOf } from "./batches.ts";
import type { Delivery } from "./delivery.ts";
import type { UsageOutbox, Waiting } from "./outbox.ts";
import type { UsageSink } from "./settings.ts";

export interface FeedOptions {
  readonly sink: Pick<UsageSink, "id" | "batchMost">;
  readonly outbox: UsageOutbox;
  readonly delivery: Delivery;
  readonly clock: Clock;
  readonly log: Logger;
}

/** So many events of a sink are in memory at once. */
const MEMORY_EVENTS = 100;
/** So long an event waits for others that go out with it. */
const GATHER_MS = 1_000;

/** Takes what waits for one sink out of the outbox, and has it delivered. */
export class OutboxFeed {
  private readonly options: FeedOptions;
  private readonly id: string;
  private running: Promise<void> | undefined;
  /** Something may wait that was not looked for yet. */
  private isWoken = false;
  private stopped = false;
  private last = 0;
  private readonly removals = new Set<Promise<void>>();
  private look: (() => void) | undefined;

  constructor(options: FeedOptions) {
    this.options = options;
    this.id = options.sink.id;
  }

  /** Something waits. */
  wake(): void {
    this.isWoken = true;
    this.look?.();
    this.running ??= this.run();
  }

  /** When the oldest event that waits happened, milliseconds since 1970; undefined: nothing waits. */
  oldest(): number | undefined {
    const { outbox } = this.options;
    // What was delivered may still be on disk for a moment.
    return outbox.count(this.id) > 0 ? outbox.after(this.id, 0, 1)[0]?.event.at : undefined;
  }

  private async run(): Promise<void> {
    await undefined; // so that `running` is set before it is taken away
    const { delivery, sink, log } = this.options;
    try {
      while (this.isWoken && !this.stopped) {
        const waiting = sink.batchMost > 1 ? await this.batch() : this.waiting(MEMORY_EVENTS);
        if (this.stopped) break;
        this.isWoken = waiting.length > 0;
        if (!this.isWoken) break;
        const numbers = new Map(waiting.map(({ event, number }) => [event, number]));
        await delivery.deliver([...numbers.keys()], (events) => this.forget(events.map((one) => numbers.get(one)!)));
        this.last = waiting.at(-1)!.number;
      }
    } catch (err) {
      if (!this.stopped) log.error({ err, sink: this.id }, "usage: what waits cannot be read");
    }
    this.running = undefined;
  }

  private waiting(most: number): Waiting[] {
    return this.options.outbox.after(this.id, this.last, most);
  }

  /**
   * The next batch: the one that went out before the last stop, if it was not done; otherwise a full one, or what has
   * come together after a while. How far it goes is on disk before it goes out, so that it is the same one after a
   * stop.
   */
  private async batch(): Promise<readonly Waiting[]> {
    const { sink, outbox, clock, log } = this.options;
    const sealed = outbox.sealedUpTo(this.id);
    const before = this.waiting(sink.batchMost).filter(({ number }) => number <= sealed);
    if (before.length > 0) return before;
    const until = clock.monotonic() + GATHER_MS;
    for (;;) {
      const waiting = this.waiting(sink.batchMost);
      const [first] = batchesOf(
        waiting.map(({ event }) => event),
        sink.batchMost,
      ); // which bounds the octets, too
      if (!first || this.stopped) return [];
      const batch = waiting.slice(0, first.events.length + first.copies.length);
      const isFull = batch.length < waiting.length || waiting.length >= sink.batchMost;
      if (isFull || clock.monotonic() >= until) {
        await outbox.seal(this.id, batch.at(-1)!.number).catch((err: unknown) => {
          log.error({ err, sink: this.id }, "usage: a batch may be another one after a new start");
        });
        return batch;
      }
      await this.moreOr(until);
    }
  }

  /** Resolves when something has come, at that time, and at the stop. */
  private async moreOr(until: number): Promise<void> {
    const { clock } = this.options;
    let timer: TimerHandle;
    await new Promise<void>((resolve) => {
      this.look = resolve;
      timer = clock.setTimeout(resolve, until - clock.monotonic());
    });
    clock.clearTimeout(timer);
    this.look = undefined;
  }

  /** If that fails, the events are sent once more after the next start, under the same ids. */
  private forget(numbers: readonly number[]): void {
    const { outbox, log } = this.options;
    const removal = outbox.remove(this.id, numbers).catch((err: unknown) => {
      log.error({ err, sink: this.id }, "usage: what was delivered cannot be forgotten");
    });
    this.removals.add(removal);
    void removal.finally(() => this.removals.delete(removal));
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.look?.();
    await this.options.delivery.stop();
    await this.running;
    await Promise.all(this.removals);
  }
}
