import type { Logger } from "../support/log.ts";
import type { Delivery } from "./delivery.ts";
import type { UsageOutbox } from "./outbox.ts";

/** So many events of a sink are in memory at once. */
const BATCH_EVENTS = 100;

/** Takes what waits for one sink out of the outbox, and has it delivered. */
export class OutboxFeed {
  private readonly sink: string;
  private readonly outbox: UsageOutbox;
  private readonly delivery: Delivery;
  private readonly log: Logger;
  private running: Promise<void> | undefined;
  /** Something may wait that was not looked for yet. */
  private isWoken = false;
  private stopped = false;
  private last = 0;
  private readonly removals = new Set<Promise<void>>();

  constructor(sink: string, outbox: UsageOutbox, delivery: Delivery, log: Logger) {
    this.sink = sink;
    this.outbox = outbox;
    this.delivery = delivery;
    this.log = log;
  }

  /** Something waits. */
  wake(): void {
    this.isWoken = true;
    this.running ??= this.run();
  }

  /** When the oldest event that waits happened, milliseconds since 1970; undefined: nothing waits. */
  oldest(): number | undefined {
    // What was delivered may still be on disk for a moment.
    return this.outbox.count(this.sink) > 0 ? this.outbox.after(this.sink, 0, 1)[0]?.event.at : undefined;
  }

  private async run(): Promise<void> {
    await undefined; // so that `running` is set before it is taken away
    try {
      while (this.isWoken && !this.stopped) {
        const waiting = this.outbox.after(this.sink, this.last, BATCH_EVENTS);
        this.isWoken = waiting.length > 0;
        if (!this.isWoken) break;
        const numbers = new Map(waiting.map(({ event, number }) => [event, number]));
        await this.delivery.deliver([...numbers.keys()], (event) => this.forget(numbers.get(event)!));
        this.last = waiting.at(-1)!.number;
      }
    } catch (err) {
      if (!this.stopped) this.log.error({ err, sink: this.sink }, "usage: what waits cannot be read");
    }
    this.running = undefined;
  }

  /** If that fails, the event is sent once more after the next start, under the same id. */
  private forget(number: number): void {
    const removal = this.outbox.remove(this.sink, number).catch((err: unknown) => {
      this.log.error({ err, sink: this.sink }, "usage: what was delivered cannot be forgotten");
    });
    this.removals.add(removal);
    void removal.finally(() => this.removals.delete(removal));
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await this.delivery.stop();
    await this.running;
    await Promise.all(this.removals);
  }
}
