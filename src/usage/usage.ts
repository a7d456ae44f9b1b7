import { join } from "node:path";
import type { Bus } from "../bus/types.ts";
import { eventProblem } from "../charging/events/event-fields.ts";
import type { ChargingEvent } from "../charging/events/events.ts";
import type { Clock } from "../support/clock.ts";
import { type Send, sendByFetch } from "../support/http-send.ts";
import type { Logger } from "../support/log.ts";
import { PeerLog } from "../support/peer-log.ts";
import { Delivery } from "./delivery.ts";
import { Endpoint, UsageMistake } from "./endpoint.ts";
import { OutboxFeed } from "./feed.ts";
import type { UsageLetters } from "./letters.ts";
import { UsageOutbox } from "./outbox.ts";
import { partsFor } from "./presets.ts";
import type { UsageSink } from "./settings.ts";

export interface UsageOptions {
  readonly sinks: readonly UsageSink[];
  /** The folder of the node's data. */
  readonly data: string;
  readonly bus: Bus;
  readonly letters: UsageLetters;
  readonly clock: Clock;
  readonly log: Logger;
  /** The environment, where secrets may be; default: that of the process. */
  readonly env?: NodeJS.ProcessEnv;
  /** The name as a consumer of the bus; on NATS the sink's id follows. */
  readonly consumer: string;
  /** The share of calls of which there are traces, of which endpoints are then told; undefined: there are none. */
  readonly traced?: number | undefined;
  readonly send?: Send;
  readonly random?: () => number;
}

/** How a sink is doing. */
export interface SinkStatus {
  readonly sink: string;
  readonly preset: string;
  readonly url: string;
  /** Events that wait; undefined: that cannot be known now. */
  readonly waiting: number | undefined;
  /** How old the oldest of them is, seconds; undefined: nothing waits, or it cannot be known. */
  readonly oldestS: number | undefined;
  readonly delivered: number;
  readonly failures: number;
  readonly deadLetters: number;
  readonly lost: number;
  /** Why the last request failed. */
  readonly failing: string | undefined;
}

export interface Usage {
  /** What all sinks did since the start. */
  counters(): Readonly<Record<string, number>>;
  gauges(): Readonly<Record<string, number>>;
  status(): Promise<SinkStatus[]>;
  /** Takes nothing more; resolves when what was taken is on disk, or with the bus. */
  stop(): Promise<void>;
}

/** A sink at work. */
interface Sink {
  readonly sink: UsageSink;
  readonly delivery: Delivery;
  readonly feed: OutboxFeed | undefined;
  lost: number;
}

/**
 * Sends usage to the sinks of a configuration. On NATS each sink is a durable consumer of its own, which the nodes
 * share. Otherwise events go from the bus into an outbox on this machine's disk. Rejects if a sink's files cannot be
 * used.
 */
export async function startUsage(options: UsageOptions): Promise<Usage> {
  const { bus, sinks, data, clock, log, letters, env = process.env, send = sendByFetch } = options;
  const { random = Math.random } = options;
  const endpoints = sinks.map((sink) => endpointOf(sink, env, clock, options.traced));
  const outbox = bus.consumeInOrder ? undefined : UsageOutbox.open(join(data, "usage"));
  const running = endpoints.map((endpoint): Sink => {
    const { sink } = endpoint;
    const delivery = new Delivery({ endpoint, send, letters, clock, log, random });
    return { sink, delivery, feed: outbox && new OutboxFeed({ sink, outbox, delivery, clock, log }), lost: 0 };
  });
  const peerLog = new PeerLog({ log, clock });
  const stops = outbox
    ? [await bus.consume(options.consumer, (events) => intoOutbox(outbox, running, events, peerLog))]
    : await Promise.all(running.map((one) => inOrder(options, one)));
  for (const { feed } of running) feed?.wake();
  for (const id of outbox?.sinks() ?? [])
    if (!sinks.some((sink) => sink.id === id))
      log.warn(
        { sink: id, waiting: outbox!.count(id) },
        "usage: events wait for a sink that is not configured any more",
      );
  return usageOf(options, running, outbox, async () => {
    // First what gives events to others: a batch under way ends when its delivery is stopped.
    const delivered = Promise.all(running.map(({ delivery, feed }) => (feed ? undefined : delivery.stop())));
    await Promise.all(stops.map((stop) => stop()));
    await delivered;
    await Promise.all(running.map(({ feed }) => feed?.stop()));
    peerLog.close();
    await outbox?.close();
  });
}

function endpointOf(sink: UsageSink, env: NodeJS.ProcessEnv, clock: Clock, traced: number | undefined): Endpoint {
  try {
    return new Endpoint(sink, env, clock, traced);
  } catch (error) {
    if (!(error instanceof UsageMistake)) throw error;
    throw new Error(`usage: ${sink.id}: ${error.field}: ${error.message}`);
  }
}

/** Puts each event where it belongs; over a sink's bound it is lost for that sink, and counted. */
async function intoOutbox(
  outbox: UsageOutbox,
  running: readonly Sink[],
  events: readonly ChargingEvent[],
  peerLog: PeerLog,
): Promise<void> {
  const parts = new Map<string, readonly ChargingEvent[]>();
  for (const one of running) {
    const { sink } = one;
    const wanted = events.flatMap((event) => partsFor(event, sink));
    const room = Math.max(0, sink.waitingMost - outbox.count(sink.id));
    if (wanted.length > room) {
      const lost = wanted.splice(room).length;
      one.lost += lost;
      peerLog.error("usage: too many events wait for an endpoint: new ones are not sent to it", sink.id, {
        sink: sink.id,
        lost,
        waiting: outbox.count(sink.id),
      });
    }
    if (wanted.length > 0) parts.set(sink.id, wanted);
  }
  if (parts.size === 0) return;
  await outbox.append(parts);
  for (const { feed } of running) feed?.wake();
}

/** An event of the bus is done when all its parts are. */
function inOrder({ bus, consumer }: UsageOptions, { sink, delivery }: Sink): Promise<() => Promise<void>> {
  return bus.consumeInOrder!(`${consumer}-${sink.id}`, async (events, batch) => {
    const whole = new Map<ChargingEvent, ChargingEvent>();
    const left = new Map<ChargingEvent, number>();
    for (const event of events) {
      // What nobody can be billed for, billing puts aside.
      const parts = eventProblem(event) === undefined ? partsFor(event, sink) : [];
      if (parts.length === 0) batch.done(event);
      for (const part of parts) whole.set(part, event);
      left.set(event, parts.length);
    }
    const done = (parts: readonly ChargingEvent[]) => {
      for (const part of parts) {
        const event = whole.get(part)!;
        const rest = left.get(event)! - 1;
        left.set(event, rest);
        if (rest === 0) batch.done(event);
      }
    };
    // What comes again is not mixed with what comes for the first time: it was in a batch, and is in the same one
    // again.
    for (const parts of runsOf([...whole], ([, event]) => batch.times(event)))
      await delivery.deliver(
        parts.map(([part]) => part),
        done,
        batch.signal,
      );
  });
}

/** Neighbours for which `of` is the same. */
function runsOf<Item>(items: readonly Item[], of: (item: Item) => number): Item[][] {
  const runs: Item[][] = [];
  for (const [i, item] of items.entries()) {
    if (i > 0 && of(item) === of(items[i - 1]!)) runs.at(-1)!.push(item);
    else runs.push([item]);
  }
  return runs;
}

function usageOf(
  { bus, clock, consumer }: UsageOptions,
  running: readonly Sink[],
  outbox: UsageOutbox | undefined,
  stop: () => Promise<void>,
): Usage {
  const sum = (of: (one: Sink) => number) => running.reduce((all, one) => all + of(one), 0);
  const ageS = (at: number | undefined) => (at === undefined ? undefined : Math.max(0, (clock.wall() - at) / 1000));
  const oldest = () => running.map(({ feed }) => ageS(feed?.oldest()) ?? 0);
  return {
    counters: () => ({
      usageDelivered: sum(({ delivery }) => delivery.counters.delivered),
      usageFailures: sum(({ delivery }) => delivery.counters.failures),
      usageDeadLetters: sum(({ delivery }) => delivery.counters.deadLetters),
      usageLost: sum(({ lost }) => lost),
    }),
    gauges: () => ({
      usageSinksFailing: sum(({ delivery }) => (delivery.failing === undefined ? 0 : 1)),
      ...(outbox && {
        usageWaiting: sum(({ sink }) => outbox.count(sink.id)),
        usageOldestSeconds: Math.round(Math.max(0, ...oldest())),
      }),
    }),
    status: () =>
      Promise.all(
        running.map(async ({ sink, delivery, feed, lost }) => ({
          sink: sink.id,
          preset: sink.preset,
          url: sink.url,
          waiting: outbox
            ? outbox.count(sink.id)
            : await bus.waiting?.(`${consumer}-${sink.id}`).catch(() => undefined),
          oldestS: ageS(feed?.oldest()),
          ...delivery.counters,
          lost,
          failing: delivery.failing,
        })),
      ),
    stop,
  };
}
