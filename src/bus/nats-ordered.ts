import { DeliverPolicy, type JsMsg } from "@nats-io/jetstream";
import type { ChargingEvent } from "../charging/events/events.ts";
import type { Clock, TimerHandle } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import { fromCloudEvent } from "./cloud-events.ts";
import { type EventSeal, SIGNATURE } from "./event-seal.ts";
import { ensureLeases, NatsLease } from "./nats-lease.ts";
import { ensureConsumer } from "./nats-setup.ts";
import { type BusWorker, isOf, type Live, quietly } from "./nats-worker.ts";
import type { NatsSettings } from "./settings.ts";
import type { HandleInOrder } from "./types.ts";

export interface OrderedWorkerOptions {
  readonly name: string;
  readonly settings: NatsSettings;
  readonly handle: HandleInOrder;
  readonly clock: Clock;
  readonly log: Logger;
  readonly seal: EventSeal | undefined;
  readonly leaseMs?: number | undefined;
}

/** How many events are handed out at once: nobody else gets later ones meanwhile. */
const BATCH_EVENTS = 100;
/** How long to wait for the first events of a batch, and for those that come together with them. */
const FETCH_MS = 1_000;
const AGAIN_MS = 2_000;

/**
 * One caller of `consumeInOrder`. Of the nodes that have such a worker of the same name, the one with the lease takes
 * events; the others wait until it is gone.
 */
export class NatsOrderedWorker implements BusWorker {
  private readonly options: OrderedWorkerOptions;
  private readonly lease: NatsLease;
  private live: Live | undefined;
  private running: Promise<void> | undefined;
  private batch: AbortController | undefined;
  private stopped = false;
  private readonly sleeping = new Set<() => void>();

  constructor(options: OrderedWorkerOptions) {
    this.options = options;
    const { settings, name, clock, leaseMs } = options;
    this.lease = new NatsLease(settings.prefix, name, clock, leaseMs);
  }

  async attach(live: Live): Promise<void> {
    this.release();
    await this.running;
    const { settings, leaseMs } = this.options;
    await ensureLeases(live, settings, leaseMs);
    await this.ensure(live);
    if (this.stopped) return;
    this.live = live;
    this.begin(live);
  }

  private begin(live: Live): void {
    this.running = this.run(live).finally(() => {
      this.running = undefined;
    });
  }

  private ensure({ jsm }: Live): Promise<void> {
    const { name, settings } = this.options;
    const ackWaitMs = this.lease.ms;
    return ensureConsumer(jsm, settings.stream, name, { from: DeliverPolicy.New, ackWaitMs, most: BATCH_EVENTS });
  }

  attachLater(): void {
    // `run` tries again by itself.
  }

  private isOn(live: Live): boolean {
    return !this.stopped && this.live === live;
  }

  private async run(live: Live): Promise<void> {
    const { log, name } = this.options;
    while (this.isOn(live)) {
      try {
        if (await this.lease.renew(live.js)) await this.lead(live);
        else await this.sleep(this.lease.ms / 3);
      } catch (err) {
        if (!this.isOn(live)) return;
        log.warn({ err, consumer: name }, "bus: events cannot be taken in order; tried again");
        await this.sleep(AGAIN_MS);
        await this.ensure(live).catch((error) => log.error({ err: error }, "bus: the consumer cannot be used"));
      }
    }
  }

  /** Takes events for as long as this node has the lease. */
  private async lead(live: Live): Promise<void> {
    const { name, settings, log } = this.options;
    log.info({ consumer: name }, "bus: this node takes the events of this consumer from now on");
    const renewing = this.renewing(live);
    try {
      // What another node has taken and not handled comes first, so that events stay in order. That is known when its
      // time to acknowledge is over.
      const before = await live.jsm.consumers.info(settings.stream, name);
      if (before.num_ack_pending > 0) await this.sleep(this.lease.ms);
      const consumer = await live.js.consumers.get(settings.stream, name);
      while (this.isOn(live) && this.lease.isHeld) {
        const messages: JsMsg[] = [];
        for await (const message of await consumer.fetch({ max_messages: BATCH_EVENTS, expires: FETCH_MS }))
          if (isOf(settings.stream, message)) messages.push(message);
        messages.sort((a, b) => a.seq - b.seq); // what comes again may come in any order
        if (messages.length > 0) await this.hand(messages);
      }
    } finally {
      this.lease.drop();
      this.wakeAll();
      await renewing;
      log.info({ consumer: name }, "bus: this node takes no more events of this consumer");
    }
  }

  /** Keeps the lease; when it is lost, the batch under way is broken off. */
  private async renewing(live: Live): Promise<void> {
    while (this.lease.isHeld) {
      await this.sleep(this.lease.ms / 4);
      if (!this.isOn(live) || !this.lease.isHeld || !(await this.lease.renew(live.js))) break;
    }
    if (!this.stopped) this.batch?.abort();
  }

  private async hand(messages: readonly JsMsg[]): Promise<void> {
    const { handle, seal, clock, log, name } = this.options;
    const of = new Map<ChargingEvent, JsMsg>();
    const left = new Set(messages);
    for (const message of messages) {
      const forged = seal?.problem(message.data, message.headers?.get(SIGNATURE) || undefined);
      const read = forged === undefined ? fromCloudEvent(message.string()) : undefined;
      if (read?.ok) of.set(read.value, message);
      else this.done(message, left); // billing puts it aside
    }
    const batch = new AbortController();
    this.batch = batch;
    if (!this.lease.isHeld || this.stopped) batch.abort();
    let alive: TimerHandle;
    const sayAlive = () => {
      for (const message of left) quietly(() => message.working());
      alive = clock.setTimeout(sayAlive, this.lease.ms / 3);
    };
    sayAlive();
    try {
      const done = (event: ChargingEvent) => this.done(of.get(event)!, left);
      const times = (event: ChargingEvent) => of.get(event)!.info.deliveryCount;
      await handle([...of.keys()], { done, times, signal: batch.signal });
      for (const message of left) this.done(message, left);
    } catch (err) {
      // In their order, so that they come again in it.
      for (const message of messages) if (left.has(message)) quietly(() => message.nak());
      if (batch.signal.aborted || this.stopped) return;
      log.warn({ err, consumer: name, events: left.size }, "bus: events could not be handled; they come again");
      await this.sleep(AGAIN_MS);
    } finally {
      clock.clearTimeout(alive);
      this.batch = undefined;
    }
  }

  private done(message: JsMsg, left: Set<JsMsg>): void {
    left.delete(message);
    quietly(() => message.ack());
  }

  private async sleep(ms: number): Promise<void> {
    const { clock } = this.options;
    if (this.stopped) return;
    await new Promise<void>((resolve) => {
      const wake = () => {
        clock.clearTimeout(timer);
        this.sleeping.delete(wake);
        resolve();
      };
      const timer = clock.setTimeout(wake, ms);
      this.sleeping.add(wake);
    });
  }

  private wakeAll(): void {
    for (const wake of [...this.sleeping]) wake();
  }

  release(): void {
    this.live = undefined;
    this.batch?.abort();
    this.wakeAll();
  }

  /** Whoever handles a batch ends that before, or at the same time: it is not broken off here. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.wakeAll();
    await this.running;
  }
}
