import type { Bus } from "../../bus/types.ts";
import type { Clock, TimerHandle } from "../../support/clock.ts";
import type { Logger } from "../../support/log.ts";
import type { ChargingEvent } from "../events/events.ts";
import { EventError } from "../events/faults.ts";

/**
 * The number of the opening, and the group's number within it. So two processes that share a journal by mistake do not
 * overwrite each other's groups.
 */
export type GroupKey = [opening: number, group: number];

/** Events that were committed together, and are published and removed together. */
export interface Group {
  readonly key: GroupKey;
  readonly bytes: number;
  readonly count: number;
  /** Undefined: not kept in memory, so they are read from the disk. */
  readonly events: readonly ChargingEvent[] | undefined;
  /** The bus has taken it before, and may have lost it. */
  readonly again?: "again" | undefined;
}

export interface PublisherOptions {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Logger;
  /** How long events are gathered before they are published; 2.5 times as long where many come. */
  readonly everyMs: number;
  read(key: GroupKey): readonly ChargingEvent[];
  /** The bus has taken these. */
  taken(groups: readonly Group[]): void;
  /** The same, event by event. */
  readonly published?: ((events: readonly ChargingEvent[]) => void) | undefined;
}

/** A publication holds about this many events at most, so that a long backlog goes out in pieces. */
const BATCH_EVENTS = 1_000;
/**
 * From this number on, events are gathered for longer. Then fewer and larger publications are better than early ones,
 * since each publication has a fixed cost for the bus, the billing worker and its store.
 */
const MANY_EVENTS = 50;
const LONGER = 2.5;
/** How many events are kept in memory as well, for the usual case that they are published at once. */
const REMEMBERED_EVENTS = 20_000;
const RETRY_LEAST_MS = 100;
const RETRY_MOST_MS = 10_000;
const CLOSE_WITHIN_MS = 5_000;
const NOT_TAKEN = "the bus does not take events";
const SHOWN_IDS = 20;

/** Publishes what is on disk and waits for the bus: in order, one batch at a time, and again until the bus takes it. */
export class Publisher {
  pendingEvents = 0;
  /** Events that are on disk, but not published in this run, because the bus refuses them. */
  asideEvents = 0;
  pendingBytes = 0;
  published = 0;
  failures = 0;
  private readonly options: PublisherOptions;
  private readonly pending: Group[] = [];
  private remembered = 0;
  /** How many of the first groups are published one by one, since one of them is at fault. */
  private suspects = 0;
  private publishing: Promise<void> | undefined;
  private timer: TimerHandle | undefined;
  private hurried = false;
  private retryMs = RETRY_LEAST_MS;
  /** What the timer is for. */
  private waits: "gathering" | "retrying" | "leaving" = "gathering";
  /** How many groups came, and how many are done; and who waits until `upTo` of them are done. */
  private added = 0;
  private left = 0;
  private waiting: { readonly upTo: number; resolve(): void; reject(error: unknown): void }[] = [];
  private closing = false;
  private abandoned = false;

  constructor(options: PublisherOptions) {
    this.options = options;
  }

  add({ key, bytes, count, events, again }: Group): void {
    const keep = events !== undefined && this.remembered + count <= REMEMBERED_EVENTS;
    if (keep) this.remembered += count;
    this.pending.push({ key, bytes, count, events: keep ? events : undefined, again });
    this.added++;
    this.pendingBytes += bytes;
    this.pendingEvents += count;
    if (this.pendingEvents >= BATCH_EVENTS) this.gatherNoLonger();
    this.publishSoon(0);
  }

  /** While this is on, events are not gathered first, because somebody waits for them. */
  hurry(on: boolean): void {
    if (this.hurried === on) return;
    this.hurried = on;
    if (!on) return;
    this.gatherNoLonger();
    this.publishSoon(0);
  }

  /** Resolves when the bus has taken everything that is here now; rejects when it does not. */
  settled(): Promise<void> {
    if (this.pending.length === 0) return Promise.resolve();
    if (this.waits === "retrying" && this.timer !== undefined) return Promise.reject(new Error(NOT_TAKEN));
    return new Promise((resolve, reject) => {
      this.waiting.push({ upTo: this.added, resolve, reject });
      this.gatherNoLonger();
      this.publishSoon(0);
    });
  }

  /** Tells those whose groups are done; with an error, tells all who wait. */
  private tell(error?: Error): void {
    const still = [];
    for (const one of this.waiting.splice(0)) {
      if (error) one.reject(error);
      else if (one.upTo <= this.left) one.resolve();
      else still.push(one);
    }
    this.waiting = still;
  }

  private gatherNoLonger(): void {
    if (this.timer === undefined || this.waits !== "gathering") return;
    this.options.clock.clearTimeout(this.timer);
    this.timer = undefined;
  }

  private publishSoon(leastMs: number): void {
    if (this.publishing || this.timer !== undefined || this.closing || this.pending.length === 0) return;
    const { everyMs } = this.options;
    const begin = () => {
      this.publishing = this.publish();
    };
    if (leastMs > 0) this.wait("retrying", leastMs, begin);
    else if (this.hurried || this.waiting.length > 0 || this.pendingEvents >= BATCH_EVENTS)
      this.wait("leaving", 0, begin);
    else
      this.wait("gathering", everyMs, () => {
        if (this.pendingEvents < MANY_EVENTS) begin();
        else this.wait("gathering", everyMs * (LONGER - 1), begin);
      });
  }

  private wait(why: "gathering" | "retrying" | "leaving", ms: number, then: () => void): void {
    this.waits = why;
    this.timer = this.options.clock.setTimeout(() => {
      this.timer = undefined;
      then();
    }, ms);
  }

  private async publish(): Promise<void> {
    const groups: Group[] = [];
    let events: ChargingEvent[] = [];
    let retryMs = 0;
    try {
      const again = this.pending[0]?.again;
      for (const group of this.pending) {
        if (groups.length > 0 && (this.suspects > 0 || events.length + group.count > BATCH_EVENTS)) break;
        if (group.again !== again) break;
        groups.push(group);
        events = events.concat(group.events ?? this.options.read(group.key));
      }
      await this.options.bus.publish(events, again);
      this.forget(groups, groups);
      this.options.published?.(events);
      this.published += events.length;
      this.retryMs = RETRY_LEAST_MS;
      this.suspects = Math.max(0, this.suspects - 1);
    } catch (error) {
      if (error instanceof EventError) this.leaveOut(groups, events, error);
      else {
        this.failures++;
        if (!this.closing)
          this.options.log.warn({ err: error, events: this.pendingEvents }, "journal: the bus does not take events");
        this.tell(new Error(NOT_TAKEN));
        retryMs = this.retryMs;
        this.retryMs = Math.min(RETRY_MOST_MS, retryMs * 2);
      }
    }
    this.publishing = undefined;
    this.publishSoon(retryMs);
  }

  /**
   * Leaves out a group with an event that the bus refuses, so that it does not hold up others. The group stays on disk,
   * and is tried again at the next start.
   */
  private leaveOut(groups: readonly Group[], events: readonly ChargingEvent[], error: EventError): void {
    if (groups.length > 1) {
      this.suspects = groups.length;
      return;
    }
    this.suspects = Math.max(0, this.suspects - 1);
    this.asideEvents += events.length;
    this.forget(groups, []);
    const what = { err: error, events: events.length, ids: events.slice(0, SHOWN_IDS).map(({ id }) => id) };
    this.options.log.error(
      what,
      "journal: the bus refuses an event: it stays on disk, and is tried again at the next start",
    );
  }

  private forget(groups: readonly Group[], taken: readonly Group[]): void {
    if (this.abandoned) return; // the journal has been closed meanwhile
    this.pending.splice(0, groups.length);
    for (const { bytes, count, events } of groups) {
      this.pendingBytes -= bytes;
      this.pendingEvents -= count;
      if (events) this.remembered -= count;
    }
    this.options.taken(taken);
    this.left += groups.length;
    if (this.waiting.length > 0) this.tell();
  }

  /**
   * Publishes nothing more. Resolves when a publication under way is over, however it ends. If that takes too long, it
   * is given up: its events are on disk, and are published again at the next start.
   */
  async close(): Promise<void> {
    this.closing = true;
    this.tell(new Error("the journal is closed"));
    const { clock } = this.options;
    clock.clearTimeout(this.timer);
    if (!this.publishing) return;
    let timer: TimerHandle;
    const tooLong = new Promise<void>((resolve) => {
      timer = clock.setTimeout(() => {
        this.abandoned = true;
        resolve();
      }, CLOSE_WITHIN_MS);
    });
    await Promise.race([this.publishing, tooLong]);
    clock.clearTimeout(timer);
  }
}
