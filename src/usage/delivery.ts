import type { ChargingEvent } from "../charging/events/events.ts";
import type { Clock, TimerHandle } from "../support/clock.ts";
import type { Send } from "../support/http-send.ts";
import type { Logger } from "../support/log.ts";
import { PeerLog } from "../support/peer-log.ts";
import { attempt, type Outcome } from "./attempt.ts";
import { type Batch, batchesOf, halves } from "./batches.ts";
import { Blame } from "./blame.ts";
import type { Endpoint } from "./endpoint.ts";
import type { UsageLetters } from "./letters.ts";
import { laneOf } from "./presets.ts";

export interface DeliveryOptions {
  readonly endpoint: Endpoint;
  readonly send: Send;
  readonly letters: Pick<UsageLetters, "put">;
  readonly clock: Clock;
  readonly log: Logger;
  /** From 0 up to 1, for the jitter of pauses. */
  readonly random: () => number;
}

/** What a sink has done since the start. */
export interface DeliveryCounters {
  /** Events that the endpoint has taken. */
  delivered: number;
  /** Requests that failed, and are made again. */
  failures: number;
  /** Events that were put aside. */
  deadLetters: number;
}

const RETRY_LEAST_MS = 1_000;
/** How long requests that are under way may take when the process ends. */
const STOP_WITHIN_MS = 2_000;

/** What is sent in one request, and as the same one each time. */
type Portion = readonly ChargingEvent[];
type Quit = () => boolean;

/**
 * Brings events to one endpoint. One event a request: those of a session in order, several sessions at once. In
 * batches: one after the other. Whatever fails is tried again as it is, with pauses that grow; all wait together, since
 * it is mostly the endpoint that is away. A batch that the endpoint will never take is halved, down to the event that
 * is at fault. Such events are put aside, and hold up nobody.
 */
export class Delivery {
  readonly counters: DeliveryCounters = { delivered: 0, failures: 0, deadLetters: 0 };
  /** Why the last request failed; undefined: it did not. */
  failing: string | undefined;
  private readonly options: DeliveryOptions;
  private readonly peerLog: PeerLog;
  private readonly stopping = new AbortController();
  private readonly underWay = new Set<AbortController>();
  private readonly sleeping = new Set<() => void>();
  private running = 0;
  private allQuiet: (() => void) | undefined;
  private failuresInRow = 0;
  private pauseUntil = Number.NEGATIVE_INFINITY;

  constructor(options: DeliveryOptions) {
    this.options = options;
    this.peerLog = new PeerLog(options);
  }

  /**
   * Delivers these events, or puts them aside. `done` is called then, for all events of a batch at once: until that,
   * all of them may come again. Resolves when all are done. Rejects when `signal` is aborted or the delivery is
   * stopped.
   */
  async deliver(
    events: readonly ChargingEvent[],
    done: (events: readonly ChargingEvent[]) => void,
    signal?: AbortSignal,
  ): Promise<void> {
    const { batchMost } = this.options.endpoint.sink;
    const lanes = batchMost > 1 ? [batchesOf(events, batchMost)] : this.lanesOf(events);
    const quit = () => this.stopping.signal.aborted || signal?.aborted === true;
    const aborted = () => this.interrupt();
    signal?.addEventListener("abort", aborted);
    this.running++;
    try {
      await this.inLanes(lanes, quit, (batch) => done([...batch.events, ...batch.copies]));
    } finally {
      signal?.removeEventListener("abort", aborted);
      if (--this.running === 0) this.allQuiet?.();
    }
    if (quit()) throw new Error("usage: the delivery was stopped");
  }

  /** One event a request. */
  private lanesOf(events: readonly ChargingEvent[]): Batch[][] {
    const lanes = new Map<string, Batch[]>();
    for (const event of events) {
      const name = laneOf(event, this.options.endpoint.sink);
      const batch = { events: [event], copies: [] };
      const lane = lanes.get(name);
      if (lane) lane.push(batch);
      else lanes.set(name, [batch]);
    }
    return [...lanes.values()];
  }

  /** `since`: how many were delivered when the endpoint was found to fail at some of these; undefined: it was not. */
  private async inLanes(
    lanes: readonly (readonly Batch[])[],
    quit: Quit,
    done: (batch: Batch) => void,
    since?: number,
  ): Promise<void> {
    const waiting = [...lanes];
    const work = async () => {
      for (let lane = waiting.shift(); lane && !quit(); lane = waiting.shift())
        for (const batch of lane) {
          if (quit() || !(await this.bring(batch.events, quit, since))) return;
          done(batch);
        }
    };
    await Promise.all(Array.from({ length: Math.min(this.options.endpoint.sink.concurrency, waiting.length) }, work));
  }

  /** True when all are delivered or put aside; false: they are to be given up for now. */
  private async bring(portion: Portion, quit: Quit, since?: number): Promise<boolean> {
    const before = this.counters.delivered;
    const left = [portion];
    for (let next = left.shift(); next; next = left.shift()) {
      const parts = await this.settle(next, quit, next === portion ? since : before);
      if (!parts) return false;
      left.unshift(...parts.filter(({ length }) => length > 0));
    }
    return true;
  }

  /** Sends these until that is settled: resolves to what is to be sent in their place; undefined: not for now. */
  private async settle(portion: Portion, quit: Quit, since?: number): Promise<readonly Portion[] | undefined> {
    const blame = new Blame(this.counters, since);
    for (;;) {
      await this.pauseOver(quit);
      if (quit()) return undefined;
      const outcome = await attempt(this.options, portion, this.underWay);
      if (outcome.verdict === "taken") {
        this.took(portion.length);
        return [];
      }
      if (quit()) return undefined; // the request was broken off
      if (outcome.verdict === "never") {
        const parts = await this.parted(portion, outcome);
        if (parts) return parts;
        this.pause({ why: "the store does not take dead letters" });
        continue;
      }
      this.counters.failures++;
      this.failing = outcome.why;
      blame.wasNotTaken(outcome.failed === true);
      this.pause(outcome);
      const { giveUpS } = this.options.endpoint.sink;
      const isOld = ({ at }: ChargingEvent) => this.options.clock.wall() - at > giveUpS * 1000;
      if (portion.some(isOld)) {
        const reason = `given up after ${giveUpS} s: ${outcome.why}`;
        if (await this.putAside(portion.filter(isOld), () => reason)) return [portion.filter((one) => !isOld(one))];
      } else if (portion.length > 1 && blame.isTooMuch) {
        await this.inLanes(this.lanesOf(portion), quit, () => {}, this.counters.delivered);
        return quit() ? undefined : [];
      } else if (portion.length === 1 && blame.isItsOwn) {
        const reason = `others are taken, and this one is not: ${outcome.why}`;
        if (await this.putAside(portion, () => reason)) return [];
      }
    }
  }

  /** What remains to be sent of a portion that will never be taken as it is; undefined: nothing can be put aside. */
  private async parted(portion: Portion, { why, each }: Outcome): Promise<readonly Portion[] | undefined> {
    if (!each) return portion.length > 1 ? halves(portion) : (await this.putAside(portion, () => why)) ? [] : undefined;
    const never = portion.filter((event) => each.get(event)?.verdict === "never");
    if (!(await this.putAside(never, (event) => each.get(event)!.why))) return undefined;
    const rest = portion.filter((event) => !each.has(event));
    const taken = portion.length - never.length - rest.length;
    if (taken > 0) this.took(taken);
    return [rest];
  }

  private took(count: number): void {
    this.counters.delivered += count;
    this.failuresInRow = 0;
    this.failing = undefined;
  }

  /** False: the store does not take one of them. */
  private async putAside(events: Portion, reasonOf: (event: ChargingEvent) => string): Promise<boolean> {
    for (const event of events) if (!(await this.putOneAside(event, reasonOf(event)))) return false;
    return true;
  }

  private async putOneAside(event: ChargingEvent, reason: string): Promise<boolean> {
    const { endpoint, letters, clock } = this.options;
    const { id: sink } = endpoint.sink;
    const letter = { id: `${sink}:${event.id}`, sink, at: clock.wall(), reason, event: JSON.stringify(event) };
    try {
      await letters.put(letter);
    } catch (err) {
      this.peerLog.error("usage: an event cannot be put aside: it is tried again", sink, { err, sink });
      return false;
    }
    this.counters.deadLetters++;
    const about = { sink, event: event.id, session: event.session.id, reason };
    this.peerLog.error("usage: an event was put aside (tollgate usage list)", sink, about);
    return true;
  }

  /** All wait: so long as the endpoint says, or longer with each failure in a row, with jitter. */
  private pause({ why, afterMs = 0 }: Pick<Outcome, "why" | "afterMs">): void {
    const { clock, endpoint, random } = this.options;
    const { id: sink, retryMostS } = endpoint.sink;
    const now = clock.monotonic();
    if (now < this.pauseUntil) return; // those that were under way fail together
    const most = retryMostS * 1000;
    const grown = Math.min(most, RETRY_LEAST_MS * 2 ** Math.min(this.failuresInRow++, 30));
    const ms = Math.min(Math.max(afterMs, grown / 2 + (random() * grown) / 2), Math.max(most, RETRY_LEAST_MS));
    this.pauseUntil = now + ms;
    this.peerLog.warn("usage: an endpoint does not take events; they wait, and are sent again", sink, {
      sink,
      why,
      againInS: Math.ceil(ms / 1000),
    });
  }

  private async pauseOver(quit: () => boolean): Promise<void> {
    const { clock } = this.options;
    for (let now = clock.monotonic(); now < this.pauseUntil && !quit(); now = clock.monotonic()) {
      let timer: TimerHandle;
      await new Promise<void>((resolve) => {
        const wake = () => {
          clock.clearTimeout(timer);
          this.sleeping.delete(wake);
          resolve();
        };
        this.sleeping.add(wake);
        timer = clock.setTimeout(wake, this.pauseUntil - now);
      });
    }
  }

  private interrupt(): void {
    for (const wake of this.sleeping) wake();
    for (const request of this.underWay) request.abort();
  }

  /** Begins nothing more; resolves when the requests under way are answered, or broken off. */
  async stop(): Promise<void> {
    if (this.stopping.signal.aborted) return;
    this.stopping.abort();
    for (const wake of this.sleeping) wake();
    const { clock } = this.options;
    if (this.running > 0) {
      const timer = clock.setTimeout(() => this.interrupt(), STOP_WITHIN_MS);
      await new Promise<void>((resolve) => {
        this.allQuiet = resolve;
      });
      clock.clearTimeout(timer);
    }
    this.peerLog.close();
  }
}
