import type { ChargingEvent } from "../charging/events/events.ts";
import type { Clock, TimerHandle } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import type { Bus } from "./types.ts";

export interface InProcessBusOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** How many events may wait for consumers. A publication beyond that is refused. Default 100,000. */
  readonly maxWaiting?: number;
  /**
   * The consumers that will come: nothing is done before each of them has handled it. Default: the first one that comes
   * gets what was published before.
   */
  readonly expects?: readonly string[];
}

type Handle = (events: readonly ChargingEvent[]) => Promise<void>;

/** The events of one `publish` call. It is done when each consumer has handled them. */
interface Publication {
  readonly events: readonly ChargingEvent[];
  consumersLeft: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

const BATCH_EVENTS = 2_000;
const RETRY_LEAST_MS = 100;
const RETRY_MOST_MS = 5_000;

/**
 * The bus within one process (P4). It keeps nothing on disk. So `publish` resolves only when every consumer has handled
 * the events, and until then the journal keeps them. If there is no consumer yet, they wait for the first one.
 */
export function createInProcessBus(options: InProcessBusOptions): Bus {
  return new InProcessBus(options);
}

class InProcessBus implements Bus {
  private readonly options: InProcessBusOptions;
  private readonly maxWaiting: number;
  private readonly consumers = new Map<string, Consumer>();
  /** Publications from before there was a consumer. */
  private early: Publication[] = [];
  private readonly open = new Set<Publication>();
  private waitingEvents = 0;
  private closed = false;

  constructor(options: InProcessBusOptions) {
    this.options = options;
    this.maxWaiting = options.maxWaiting ?? 100_000;
    for (const name of options.expects ?? []) this.consumers.set(name, new Consumer(name, options));
  }

  publish(events: readonly ChargingEvent[]): Promise<void> {
    if (this.closed) return Promise.reject(new Error("the bus is closed"));
    if (events.length === 0) return Promise.resolve();
    if (this.waitingEvents > 0 && this.waitingEvents + events.length > this.maxWaiting)
      return Promise.reject(new Error("the bus has too much waiting"));
    return new Promise((resolve, reject) => {
      this.waitingEvents += events.length;
      const done = (settle: () => void) => {
        this.waitingEvents -= events.length;
        this.open.delete(publication);
        settle();
      };
      const publication: Publication = {
        events,
        consumersLeft: this.consumers.size,
        resolve: () => done(resolve),
        reject: (error) => done(() => reject(error)),
      };
      this.open.add(publication);
      if (this.consumers.size === 0) this.early.push(publication);
      for (const consumer of this.consumers.values()) consumer.take(publication);
    });
  }

  async consume(name: string, handle: Handle): Promise<() => Promise<void>> {
    if (this.closed) throw new Error("the bus is closed");
    let consumer = this.consumers.get(name);
    if (!consumer) {
      consumer = new Consumer(name, this.options);
      this.consumers.set(name, consumer);
      const { early } = this;
      this.early = [];
      for (const publication of early) {
        publication.consumersLeft = 1;
        consumer.take(publication);
      }
    }
    return consumer.attach(handle);
  }

  async close(): Promise<void> {
    this.closed = true;
    await Promise.all([...this.consumers.values()].map((consumer) => consumer.close()));
    for (const publication of [...this.open]) publication.reject(new Error("the bus is closed"));
  }
}

/** A durable consumer. While no worker is attached, events wait. Several workers share the events. */
class Consumer {
  private readonly name: string;
  private readonly options: InProcessBusOptions;
  private queue: Publication[] = [];
  private readonly workers = new Set<Worker>();

  constructor(name: string, options: InProcessBusOptions) {
    this.name = name;
    this.options = options;
  }

  take(publication: Publication): void {
    this.queue.push(publication);
    this.wake();
  }

  /** The next publications, together no more than a batch of events; but at least one, if there is one. */
  next(): Publication[] {
    let count = 0;
    let events = 0;
    while (count < this.queue.length && (count === 0 || events + this.queue[count]!.events.length <= BATCH_EVENTS)) {
      events += this.queue[count++]!.events.length;
    }
    return this.queue.splice(0, count);
  }

  giveBack(publications: readonly Publication[]): void {
    this.queue = [...publications, ...this.queue];
    this.wake();
  }

  private wake(): void {
    for (const worker of this.workers) {
      if (this.queue.length === 0) return;
      worker.wake();
    }
  }

  attach(handle: Handle): () => Promise<void> {
    const worker = new Worker(this, this.name, handle, this.options);
    this.workers.add(worker);
    worker.wake();
    return async () => {
      this.workers.delete(worker);
      await worker.stop();
    };
  }

  async close(): Promise<void> {
    const workers = [...this.workers];
    this.workers.clear();
    await Promise.all(workers.map((worker) => worker.stop()));
  }
}

/**
 * One caller of `consume`. It handles one batch at a time, and gives it back after a failure, so that it is tried
 * again.
 */
class Worker {
  private readonly consumer: Consumer;
  private readonly name: string;
  private readonly handle: Handle;
  private readonly options: InProcessBusOptions;
  private running: Promise<void> | undefined;
  private timer: TimerHandle | undefined;
  private retryMs = RETRY_LEAST_MS;
  private stopped = false;

  constructor(consumer: Consumer, name: string, handle: Handle, options: InProcessBusOptions) {
    this.consumer = consumer;
    this.name = name;
    this.handle = handle;
    this.options = options;
  }

  wake(): void {
    if (this.stopped || this.running || this.timer !== undefined) return;
    const batch = this.consumer.next();
    if (batch.length > 0) this.running = this.run(batch);
  }

  private async run(batch: readonly Publication[]): Promise<void> {
    const events = batch.length === 1 ? batch[0]!.events : batch.flatMap((publication) => publication.events);
    let failed = false;
    try {
      await this.handle(events);
      this.retryMs = RETRY_LEAST_MS;
      for (const publication of batch) if (--publication.consumersLeft === 0) publication.resolve();
    } catch (error) {
      failed = true;
      this.options.log.warn(
        { err: error, consumer: this.name, events: events.length },
        "bus: events could not be handled; they come again",
      );
    }
    this.running = undefined;
    if (!failed) return this.wake();
    if (!this.stopped) this.pause();
    this.consumer.giveBack(batch);
  }

  private pause(): void {
    this.timer = this.options.clock.setTimeout(() => {
      this.timer = undefined;
      this.wake();
    }, this.retryMs);
    this.retryMs = Math.min(RETRY_MOST_MS, this.retryMs * 2);
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.options.clock.clearTimeout(this.timer);
    this.timer = undefined;
    await this.running;
  }
}
