import type { Logger } from "../../support/log.ts";
import type { Fault } from "../events/faults.ts";

export interface IsolationOptions<Event> {
  /** Does all that these events ask for. May be called with any of them, and again with the same. */
  readonly work: (events: readonly Event[]) => Promise<void>;
  readonly idOf: (event: Event) => string;
  readonly faultOf: (error: unknown) => Fault;
  /** The events that an error is about, each with the reason, where it names them: `work` has done nothing of any. */
  readonly namedIn: (error: unknown) => ReadonlyMap<Event, string> | undefined;
  /** Rejects where the store does not work now, whatever it is given. */
  readonly check: () => Promise<void>;
  /** Resolves when these events lie elsewhere and will not come again; each with the reason, as text or as an error. */
  readonly putAside: (events: ReadonlyMap<Event, unknown>) => Promise<void>;
  readonly log: Logger;
}

/** In how many batches an event has failed before it is looked at by itself, by what the error said. */
const PATIENCE: Readonly<Record<Fault, number>> = { event: 1, unknown: 4, store: 20 };
/** Put aside in one batch without knowing for certain: where there are more it is not the events. */
const MAX_DOUBTFUL = 20;
const MAX_REMEMBERED = 10_000;

/**
 * Keeps one event from holding up all others, whatever is wrong with it: a batch that fails is halved until the event
 * that fails by itself is found, and that is put aside.
 *
 * A store that is away must not look like a broken event. So a batch whose error does not say that an event is at
 * fault is first left to come again, several times; and an event is put aside only where the store works before and
 * after it failed, twice by itself.
 */
export class Isolation<Event> {
  private readonly options: IsolationOptions<Event>;
  /** By id, in how many batches that failed an event was. */
  private readonly failures = new Map<string, number>();

  constructor(options: IsolationOptions<Event>) {
    this.options = options;
  }

  /** Resolves when each of them is done or put aside; rejects where all of them have to come again. */
  async handle(events: readonly Event[]): Promise<void> {
    if (events.length === 0) return;
    try {
      await this.options.work(events);
    } catch (error) {
      const named = this.options.namedIn(error);
      if (named) return this.without(events, named);
      if (this.failedBatches(events) < PATIENCE[this.options.faultOf(error)]) throw error;
      await this.mustWork(error);
      this.options.log.warn({ err: error, events: events.length }, "events fail while the store works: each is tried");
      await this.halve(events, error, { doubtful: 0 });
    }
    if (this.failures.size > 0) for (const event of events) this.failures.delete(this.options.idOf(event));
  }

  private async without(events: readonly Event[], named: ReadonlyMap<Event, string>): Promise<void> {
    await this.options.putAside(named);
    await this.handle(events.filter((event) => !named.has(event)));
  }

  private failedBatches(events: readonly Event[]): number {
    let most = 0;
    for (const event of events) {
      const id = this.options.idOf(event);
      const count = (this.failures.get(id) ?? 0) + 1;
      most = Math.max(most, count);
      this.failures.delete(id);
      this.failures.set(id, count);
    }
    for (const id of this.failures.keys()) {
      if (this.failures.size <= MAX_REMEMBERED) break;
      this.failures.delete(id);
    }
    return most;
  }

  /** Rejects with the error where the store does not work. */
  private async mustWork(error: unknown): Promise<void> {
    try {
      await this.options.check();
    } catch {
      throw error;
    }
  }

  /** These together have failed with that error. */
  private async halve(events: readonly Event[], error: unknown, found: { doubtful: number }): Promise<void> {
    if (events.length === 1) return this.putAside(events[0]!, error, found);
    const middle = Math.ceil(events.length / 2);
    for (const half of [events.slice(0, middle), events.slice(middle)]) {
      const failed = await this.failureOf(half);
      if (failed) await this.halve(half, failed.error, found);
    }
  }

  private async failureOf(events: readonly Event[]): Promise<{ readonly error: unknown } | undefined> {
    try {
      await this.options.work(events);
      return undefined;
    } catch (error) {
      return { error };
    }
  }

  private async putAside(event: Event, error: unknown, found: { doubtful: number }): Promise<void> {
    let cause = error;
    if (this.options.faultOf(error) !== "event") {
      await this.mustWork(error);
      const again = await this.failureOf([event]);
      if (!again) return;
      cause = again.error;
      await this.mustWork(cause);
      if (++found.doubtful > MAX_DOUBTFUL) throw cause;
    }
    await this.options.putAside(new Map([[event, cause]]));
  }
}
