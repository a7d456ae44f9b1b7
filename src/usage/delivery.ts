import type { ChargingEvent } from "../charging/events/events.ts";
import type { Clock, TimerHandle } from "../support/clock.ts";
import type { Send } from "../support/http-send.ts";
import type { Logger } from "../support/log.ts";
import { PeerLog } from "../support/peer-log.ts";
import { attempt, type Outcome } from "./attempt.ts";
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
/** An event that fails so often while the endpoint takes others in between is put aside. */
const ALONE_MOST = 12;
/** How long requests that are under way may take when the process ends. */
const STOP_WITHIN_MS = 2_000;

/**
 * Brings events to one endpoint: those of a session in order, several sessions at once. Whatever fails is tried again,
 * with pauses that grow; all wait together, since it is mostly the endpoint that is away. Events that it will never
 * take are put aside, and hold up nobody.
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
   * Delivers these events, or puts them aside; `done` is called for each of them then. Resolves when all are done.
   * Rejects when `signal` is aborted or the delivery is stopped: the others may come again.
   */
  async deliver(
    events: readonly ChargingEvent[],
    done: (event: ChargingEvent) => void,
    signal?: AbortSignal,
  ): Promise<void> {
    const { sink } = this.options.endpoint;
    const lanes = new Map<string, ChargingEvent[]>();
    for (const event of events) {
      const name = laneOf(event, sink);
      const lane = lanes.get(name);
      if (lane) lane.push(event);
      else lanes.set(name, [event]);
    }
    const waiting = [...lanes.values()];
    const quit = () => this.stopping.signal.aborted || signal?.aborted === true;
    const work = async () => {
      for (let lane = waiting.shift(); lane && !quit(); lane = waiting.shift())
        for (const event of lane) {
          if (quit() || !(await this.bring(event, quit))) return;
          done(event);
        }
    };
    const aborted = () => this.interrupt();
    signal?.addEventListener("abort", aborted);
    this.running++;
    try {
      await Promise.all(Array.from({ length: Math.min(sink.concurrency, waiting.length) }, work));
    } finally {
      signal?.removeEventListener("abort", aborted);
      if (--this.running === 0) this.allQuiet?.();
    }
    if (quit()) throw new Error("usage: the delivery was stopped");
  }

  /** True when the event is delivered or put aside; false: it is to be given up for now. */
  private async bring(event: ChargingEvent, quit: () => boolean): Promise<boolean> {
    let alone = 0;
    let { delivered } = this.counters;
    for (;;) {
      await this.pauseOver(quit);
      if (quit()) return false;
      const outcome = await attempt(this.options, event, this.underWay);
      if (outcome.verdict === "taken") {
        this.counters.delivered++;
        this.failuresInRow = 0;
        this.failing = undefined;
        return true;
      }
      if (quit()) return false; // the request was broken off
      if (outcome.verdict === "again") {
        this.counters.failures++;
        this.failing = outcome.why;
        if (outcome.failed && this.counters.delivered > delivered) alone++;
        delivered = this.counters.delivered;
        const { giveUpS } = this.options.endpoint.sink;
        const isOld = this.options.clock.wall() - event.at > giveUpS * 1000;
        this.pause(outcome);
        if (!isOld && alone < ALONE_MOST) continue;
        const why = isOld ? `given up after ${giveUpS} s` : "others are taken, and this one is not";
        if (await this.putAside(event, `${why}: ${outcome.why}`)) return true;
      } else if (await this.putAside(event, outcome.why)) return true;
      else this.pause({ why: "the store does not take dead letters" });
    }
  }

  private async putAside(event: ChargingEvent, reason: string): Promise<boolean> {
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
