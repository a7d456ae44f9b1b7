import type { Clock, TimerHandle } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import type { PeerLog } from "../support/peer-log.ts";
import type { EventFile, KeptEvent } from "./event-file.ts";

/** What became of one attempt. `retry`: the app server may take it later. `refused`: it never will. */
export type Attempt = { readonly kind: "taken" } | { readonly kind: "retry" | "refused"; readonly why: string };

export interface DeliveriesOptions {
  /** Opened when it is first needed: most relays have no such app server. */
  readonly file: () => EventFile;
  readonly clock: Clock;
  readonly log: Logger;
  readonly peerLog: PeerLog;
  readonly retry: { readonly firstS: number; readonly mostS: number; readonly giveUpS: number };
  /** How many events may wait in all. */
  readonly most: number;
  /** Keeps a copy of what waits at other nodes. */
  readonly copies?: { kept(event: KeptEvent): void; gone(event: KeptEvent): void } | undefined;
  /** Tells the app server once. Never rejects. */
  tell(event: KeptEvent): Promise<Attempt>;
}

interface Waiting {
  readonly key: number;
  readonly event: KeptEvent;
  /** Resolves when the first attempt is over. */
  readonly tried: () => void;
}

interface Chain {
  readonly events: Waiting[];
  /** How often the first of them was told in vain. */
  failures: number;
  timer: TimerHandle | undefined;
}

/**
 * Tells app servers what has happened, each event until it is taken or given up: in order for each dialog, and again
 * after a restart. An event is on disk before it is told for the first time.
 */
export class Deliveries {
  readonly counters = { appServerEventsTaken: 0, appServerEventsRepeated: 0, appServerEventsGivenUp: 0 };
  private readonly options: DeliveriesOptions;
  private readonly chains = new Map<string, Chain>();
  private readonly ids = new Set<string>();
  private readonly underWay = new Set<Promise<void>>();
  private closed = false;

  constructor(options: DeliveriesOptions) {
    this.options = options;
  }

  /** How many events wait. */
  get size(): number {
    return this.ids.size;
  }

  /** Takes up what an earlier process has left. */
  goOn(): void {
    for (const [key, event] of this.options.file().all()) this.add({ key, event, tried: () => {} });
    if (this.size > 0)
      this.options.log.info({ events: this.size }, "app servers are told what an earlier process left");
    for (const name of this.chains.keys()) this.next(name);
  }

  /**
   * Tells an app server. Resolves when the first attempt is over; never rejects. An event that waits already is not
   * taken a second time.
   */
  async push(event: KeptEvent): Promise<void> {
    if (this.ids.has(event.id) || this.closed) return;
    if (this.size >= this.options.most) {
      this.giveUp(event, "too many events wait");
      return;
    }
    const { file, log } = this.options;
    const key = file().next();
    await new Promise<void>((tried) => {
      this.add({ key, event, tried });
      const kept = file()
        .put(key, event)
        .catch((error) => {
          log.error(
            { err: error, event: event.id },
            "an event for an app server is not on disk: it is told all the same",
          );
        });
      this.follow(kept.then(() => this.next(event.chain)));
    });
  }

  /** Ends the attempts. What is not taken stays on disk. Waits for those under way, but not longer than `withinMs`. */
  async close(withinMs: number): Promise<void> {
    this.closed = true;
    for (const { timer, events } of this.chains.values()) {
      this.options.clock.clearTimeout(timer);
      for (const { tried } of events) tried();
    }
    const { clock } = this.options;
    await new Promise<void>((resolve) => {
      const timer = clock.setTimeout(resolve, withinMs);
      void Promise.all(this.underWay).then(() => {
        clock.clearTimeout(timer);
        resolve();
      });
    });
  }

  private add(waiting: Waiting): void {
    const { id, chain: name } = waiting.event;
    this.ids.add(id);
    this.options.copies?.kept(waiting.event);
    const chain = this.chains.get(name);
    if (chain) chain.events.push(waiting);
    else this.chains.set(name, { events: [waiting], failures: -1, timer: undefined });
  }

  private follow(work: Promise<void>): void {
    this.underWay.add(work);
    void work.finally(() => this.underWay.delete(work));
  }

  /** Tells the first event of a chain, unless that is under way or waits for its time. */
  private next(name: string): void {
    const chain = this.chains.get(name);
    if (!chain || chain.failures >= 0 || this.closed) return;
    chain.failures = 0;
    this.follow(this.tell(name, chain));
  }

  private async tell(name: string, chain: Chain): Promise<void> {
    const waiting = chain.events[0]!;
    const { event, tried } = waiting;
    const attempt = await this.options.tell(event);
    tried();
    if (attempt.kind === "retry" && this.mayWait(event)) {
      this.tellLater(name, chain, attempt.why);
      return;
    }
    if (attempt.kind === "taken") this.counters.appServerEventsTaken++;
    else this.giveUp(event, attempt.why);
    await this.options
      .file()
      .remove(waiting.key)
      .catch((error) => {
        this.options.log.warn({ err: error, event: event.id }, "an event that an app server has taken stays on disk");
      });
    this.ids.delete(event.id);
    this.options.copies?.gone(event);
    chain.events.shift();
    chain.failures = -1;
    if (chain.events.length === 0) this.chains.delete(name);
    else this.next(name);
  }

  private mayWait({ at }: KeptEvent): boolean {
    return this.options.clock.wall() - at < this.options.retry.giveUpS * 1000;
  }

  private tellLater(name: string, chain: Chain, why: string): void {
    const { clock, peerLog, retry } = this.options;
    const { appServer, session, type } = chain.events[0]!.event;
    const afterS = Math.min(retry.mostS, retry.firstS * 2 ** Math.min(chain.failures, 30));
    chain.failures++;
    this.counters.appServerEventsRepeated++;
    peerLog.info("an app server is told again", appServer, { appServer, session, type, why, afterS });
    if (this.closed) return;
    chain.timer = clock.setTimeout(() => {
      if (!this.closed) this.follow(this.tell(name, chain));
    }, afterS * 1000);
  }

  private giveUp({ id, appServer, session, type }: KeptEvent, why: string): void {
    this.counters.appServerEventsGivenUp++;
    const facts = { appServer, session, type, event: id, why };
    this.options.peerLog.warn("an app server is not told any more", appServer, facts);
  }
}
