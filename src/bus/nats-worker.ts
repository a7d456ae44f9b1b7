import type { ConsumerMessages, JetStreamClient, JetStreamManager, JsMsg } from "@nats-io/jetstream";
import type { DeadLetter } from "../charging/events/dead-letter.ts";
import type { ChargingEvent } from "../charging/events/events.ts";
import type { Clock, TimerHandle } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import { err } from "../support/result.ts";
import { fromCloudEvent } from "./cloud-events.ts";
import { type EventSeal, SIGNATURE } from "./event-seal.ts";
import { BusError } from "./nats-options.ts";
import { ACK_WAIT_MS, ensureConsumer } from "./nats-setup.ts";
import type { HandleEvents } from "./types.ts";

/** A connection with the streams that it needs. */
export interface Live {
  readonly js: JetStreamClient;
  readonly jsm: JetStreamManager;
}

/** What the bus asks of its workers. */
export interface BusWorker {
  /** Begins to take events over this connection. Rejects with `BusError` if the server does not allow it. */
  attach(live: Live): Promise<void>;
  attachLater(): void;
  /** Stops taking events over the connection. Those that were taken and not handled come again from JetStream. */
  release(): void;
  stop(): Promise<void>;
}

export interface WorkerOptions {
  readonly name: string;
  readonly stream: string;
  readonly handle: HandleEvents;
  readonly clock: Clock;
  readonly log: Logger;
  /** First pause after a failure. */
  readonly retryLeastMs: number;
  /** Checks that a relay has signed an event. Undefined: events are taken from everybody. */
  readonly seal: EventSeal | undefined;
  /** How long one batch may take. After that it is taken to hang, and its events are handed out again. */
  readonly handleMostMs: number;
}

/** How many events `handle` gets at once, and how many are asked for ahead. */
const BATCH_EVENTS = 500;
const AHEAD_EVENTS = 1_000;
const BATCH_BYTES = 2 ** 23;
const RETRY_MOST_MS = 5_000;
const REMAKE_MS = 2_000;

/**
 * One caller of `consume`. It takes events from the durable consumer, one batch at a time, and acknowledges those that
 * were handled.
 */
export class NatsWorker implements BusWorker {
  private readonly options: WorkerOptions;
  private live: Live | undefined;
  private messages: ConsumerMessages | undefined;
  private buffer: JsMsg[] = [];
  private running: Promise<void> | undefined;
  private gathering: Promise<void> | undefined;
  /** To be called when the buffer has room again. */
  private room: (() => void) | undefined;
  private timer: TimerHandle;
  private pauseTimer: TimerHandle;
  private pauseOver: (() => void) | undefined;
  private retryMs: number;
  private stopped = false;

  constructor(options: WorkerOptions) {
    this.options = options;
    this.retryMs = options.retryLeastMs;
  }

  /** Begins to take events over this connection. Rejects with `BusError` if the server does not allow it. */
  async attach(live: Live): Promise<void> {
    const { name, stream, log } = this.options;
    this.live = live;
    this.release();
    await ensureConsumer(live.jsm, stream, name);
    const consumer = await live.js.consumers.get(stream, name);
    const messages = await consumer.consume({ max_messages: AHEAD_EVENTS, expires: 10_000 });
    if (this.stopped || this.live !== live) return void messages.stop();
    this.messages = messages;
    void this.watch(messages);
    this.gathering = this.gather(messages).catch((error) => {
      if (this.live !== live || this.stopped) return;
      log.warn({ err: error, consumer: name }, "bus: NATS hands out nothing more; asked again");
      this.attachLater();
    });
  }

  /** Waits for the news that somebody removed the consumer or the stream, and then attaches again. */
  private async watch(messages: ConsumerMessages): Promise<void> {
    for await (const status of messages.status()) {
      if (!["consumer_deleted", "consumer_not_found", "stream_not_found"].includes(status.type)) continue;
      this.options.log.error({ consumer: this.options.name, status: status.type }, "bus: made anew");
      messages.stop();
      return this.attachLater();
    }
  }

  /** Tries again over the same connection, unless there is a new one by then. */
  attachLater(): void {
    const { clock, log, name } = this.options;
    const { live } = this;
    if (this.stopped || !live) return;
    clock.clearTimeout(this.timer);
    this.timer = clock.setTimeout(() => {
      if (this.stopped || this.live !== live) return;
      this.attach(live).catch((error) => {
        log.error({ err: error, consumer: name }, "bus: the consumer cannot be used");
        this.attachLater();
      });
    }, REMAKE_MS);
  }

  /** Stops taking events over the connection. Those that were taken and not handled come again from JetStream. */
  release(): void {
    this.messages?.stop();
    this.messages = undefined;
    this.room?.();
    this.options.clock.clearTimeout(this.timer);
  }

  private async gather(messages: ConsumerMessages): Promise<void> {
    for await (const message of messages) {
      if (!isOf(this.options.stream, message)) continue;
      if (this.messages !== messages) {
        quietly(() => message.nak());
        continue;
      }
      this.buffer.push(message);
      this.running ??= this.run();
      if (this.buffer.length >= BATCH_EVENTS) {
        await new Promise<void>((resolve) => {
          this.room = resolve;
        });
      }
    }
  }

  private async run(): Promise<void> {
    while (this.buffer.length > 0 && !this.stopped) {
      await new Promise(setImmediate); // gathers what came together with the first
      const batch = this.buffer.splice(0, batchSize(this.buffer));
      this.room?.();
      if (!(await this.handled(batch))) await this.pause();
    }
    this.running = undefined;
  }

  private async handled(batch: readonly JsMsg[]): Promise<boolean> {
    const { clock, handle, handleMostMs, log, name, seal } = this.options;
    const events: ChargingEvent[] = [];
    const broken: DeadLetter[] = [];
    for (const message of batch) {
      const forged = seal?.problem(message.data, message.headers?.get(SIGNATURE) || undefined);
      const read = forged === undefined ? fromCloudEvent(message.string()) : err(forged);
      if (read.ok) events.push(read.value);
      else broken.push(deadLetter(message, read.error, clock.wall(), forged !== undefined));
    }
    let alive: TimerHandle;
    const sayAlive = () => {
      for (const message of [...batch, ...this.buffer]) quietly(() => message.working());
      alive = clock.setTimeout(sayAlive, ACK_WAIT_MS / 3);
    };
    alive = clock.setTimeout(sayAlive, ACK_WAIT_MS / 3);
    let limit: TimerHandle;
    const tooLong = new Promise<never>((_, reject) => {
      const error = new Error(`not handled after ${handleMostMs / 1000} s`);
      limit = clock.setTimeout(() => reject(error), handleMostMs);
    });
    try {
      await Promise.race([handle(events, broken), tooLong]);
      for (const message of batch) quietly(() => message.ack());
      this.retryMs = this.options.retryLeastMs;
      return true;
    } catch (error) {
      log.warn(
        { err: error, consumer: name, events: batch.length },
        "bus: events could not be handled; they come again",
      );
      for (const message of batch) quietly(() => message.nak(this.retryMs));
      return false;
    } finally {
      clock.clearTimeout(alive);
      clock.clearTimeout(limit);
    }
  }

  /** Whatever made this batch fail is likely to make the next one fail. */
  private async pause(): Promise<void> {
    const { clock } = this.options;
    const waitMs = this.retryMs;
    this.retryMs = Math.min(RETRY_MOST_MS, waitMs * 2);
    await new Promise<void>((resolve) => {
      this.pauseOver = resolve;
      this.pauseTimer = clock.setTimeout(resolve, waitMs);
    });
    clock.clearTimeout(this.pauseTimer);
  }
  /** Resolves when the batch under way is finished. Events that wait behind it are given back. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.release();
    this.room?.();
    this.pauseOver?.();
    await this.running;
    await this.gathering;
    for (const message of this.buffer.splice(0)) quietly(() => message.nak());
  }
}

/**
 * Whether the stream has sent a message. A message that a stranger sent to this inbox is no event. It must not be
 * acknowledged either: the acknowledgement would go to a reply subject of the stranger's choice.
 */
export function isOf(stream: string, message: JsMsg): boolean {
  try {
    return message.info.stream === stream;
  } catch {
    return false;
  }
}

/** How many of these messages make the next batch: at least one. */
function batchSize(messages: readonly JsMsg[]): number {
  let bytes = 0;
  for (const [n, message] of messages.entries()) {
    bytes += message.data.length;
    if (n >= BATCH_EVENTS || (n > 0 && bytes > BATCH_BYTES)) return n;
  }
  return messages.length;
}

/** Ignores the error of a closed connection: JetStream hands those events out again. */
export function quietly(say: () => void): void {
  try {
    say();
  } catch {}
}

function deadLetter(message: JsMsg, reason: string, at: number, untrusted: boolean): DeadLetter {
  const { stream, streamSequence } = message.info;
  // The id is the same each time that the message comes, so it is put aside only once.
  const letter = { id: `${stream}:${streamSequence}`, at, reason, event: message.string() };
  return untrusted ? { ...letter, untrusted } : letter;
}

export const isFatal = (error: unknown): boolean => error instanceof BusError;
