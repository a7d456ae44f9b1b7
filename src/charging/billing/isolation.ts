import type { Logger } from "../../support/log.ts";
import type { Fault } from "../events/faults.ts";

export interface IsolationOptions<Event> {
  /** Does all that these events ask for. May be called with some of them, and several times with the same. */
  readonly work: (events: readonly Event[]) => Promise<void>;
  readonly idOf: (event: Event) => string;
  readonly faultOf: (error: unknown) => Fault;
  /**
   * The events that an error names as its cause, each with the reason; undefined: it names none. After such an error,
   * `work` has done nothing for any event.
   */
  readonly namedIn: (error: unknown) => ReadonlyMap<Event, string> | undefined;
  /** Rejects where the store does not work at all now. */
  readonly check: () => Promise<void>;
  /**
   * Puts events aside, each with the reason as text or as an error. Resolves when they are kept elsewhere and will not
   * come again.
   */
  readonly putAside: (events: ReadonlyMap<Event, unknown>) => Promise<void>;
  readonly log: Logger;
}

/**
 * In how many failed batches an event must have been before events are tried separately, by the fault that the error
 * shows.
 */
const PATIENCE: Readonly<Record<Fault, number>> = { event: 1, unknown: 4, store: 20 };
/** How many events of one batch may be put aside without certainty. If more fail, the events are not the cause. */
const MAX_DOUBTFUL = 20;
const MAX_REMEMBERED = 10_000;

/**
 * Keeps one broken event from holding up all others. A batch that fails is halved until the event that fails alone is
 * found; that event is put aside.
 *
 * A store that is away must not look like a broken event. So if the error does not say that an event is at fault, the
 * batch is first left to come again, several times. And an event is put aside only if it failed twice alone, while the
 * store worked before and after.
 */
export class Isolation<Event> {
  private readonly options: IsolationOptions<Event>;
  /** By event id: in how many failed batches the event was. */
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

  /** Takes events that have failed together with `error`. */
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
