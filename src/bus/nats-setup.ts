import {
  AckPolicy,
  type ConsumerConfig,
  DeliverPolicy,
  DiscardPolicy,
  type JetStreamManager,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
} from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { BusError } from "./nats-options.ts";
import type { NatsSettings } from "./settings.ts";

const NS_PER_MS = 1_000_000;
const nanos = (ms: number): number => ms * NS_PER_MS;

/**
 * If a worker is silent for so long, JetStream hands its events to another worker. The server's `backoff` is not used:
 * nats-server 2.9 then wants a limit of deliveries, but an event is never given up. Instead, workers give back what
 * they could not handle with a growing delay.
 */
export const ACK_WAIT_MS = 30_000;
/** How many events may be handed out and not acknowledged, over all workers. */
const MAX_ACK_PENDING = 20_000;
const DEAD_BYTES = 256 * 2 ** 20;
const DEAD_AGE_S = 31_536_000;
/**
 * The payload that the server must accept. The longest event, made by a SIP message of 64 KiB, has some 20,000 bytes.
 */
const LEAST_PAYLOAD = 65_536;

export interface Subjects {
  readonly events: string;
  readonly dead: string;
  /** The beginning of the subjects on which nodes are asked; the name of the node follows. */
  readonly nodes: string;
  /** On which it is told what became of requests. */
  readonly calls: string;
  readonly stream: string;
  readonly deadStream: string;
  /** The beginning of the subjects with the nodes' records; the name of the node follows. */
  readonly witness: string;
  readonly witnessStream: string;
}

export function subjectsOf({ stream, prefix }: NatsSettings): Subjects {
  return {
    events: `${prefix}.events.`,
    dead: `${prefix}.dead`,
    nodes: `${prefix}.nodes.`,
    calls: `${prefix}.calls.ended`,
    stream,
    deadStream: `${stream}_DEAD`,
    witness: `${prefix}.witness.`,
    witnessStream: `${stream}_WITNESS`,
  };
}

/** Refuses a server that cannot do what is needed. Throws `BusError`. */
export function checkServer(nc: NatsConnection): void {
  const { version = "0", max_payload = 0 } = nc.info ?? {};
  const [major = 0, minor = 0] = version.split(".").map((part) => Number.parseInt(part, 10));
  if (major < 2 || (major === 2 && minor < 9))
    throw new BusError(`nats-server ${version} is too old: Tollgate needs 2.9 or later`);
  if (max_payload < LEAST_PAYLOAD)
    throw new BusError(
      `the NATS server takes messages of ${max_payload} bytes: set max_payload to ${LEAST_PAYLOAD} or more`,
    );
}

/**
 * Makes the streams, or changes those that are there to what is wanted. Throws `BusError` if they cannot be changed so.
 */
export async function ensureStreams(jsm: JetStreamManager, settings: NatsSettings): Promise<void> {
  const { events, dead, stream, deadStream } = subjectsOf(settings);
  const replicas = settings.replicas !== undefined && { num_replicas: settings.replicas };
  await ensureStream(jsm, stream, {
    subjects: [`${events}>`],
    description: "Tollgate: charging events, as CloudEvents",
    max_age: nanos(settings.maxAgeS * 1000),
    max_bytes: settings.maxBytes ?? -1,
    duplicate_window: nanos(settings.duplicateWindowS * 1000),
    // If the stream is full, new events are refused and wait in a relay's journal. Old ones are not dropped, since they
    // may not be billed yet.
    discard: DiscardPolicy.New,
    ...replicas,
  });
  await ensureStream(jsm, deadStream, {
    subjects: [dead],
    description: "Tollgate: events that cannot be billed, with the reason",
    max_age: nanos(DEAD_AGE_S * 1000),
    max_bytes: DEAD_BYTES,
    discard: DiscardPolicy.Old,
    ...replicas,
  });
}

/** Makes a stream, or changes the one that is there to what is wanted. Throws `BusError` if it cannot be changed so. */
export async function ensureStream(
  jsm: JetStreamManager,
  name: string,
  wanted: Partial<StreamConfig>,
  storage: StorageType = StorageType.File,
): Promise<void> {
  const found = await told(`look at the stream ${name}`, `$JS.API.STREAM.INFO.${name}`, () =>
    jsm.streams.info(name).catch(unlessMissing),
  );
  if (!found) {
    await told(`make the stream ${name}`, `$JS.API.STREAM.CREATE.${name}`, () =>
      jsm.streams.add({ name, retention: RetentionPolicy.Limits, storage, ...wanted }),
    );
    return;
  }
  const { config } = found;
  const has = (setting: string, is: unknown, needed: string) =>
    new BusError(
      `the stream ${name} has ${setting} ${String(is)}, Tollgate needs ${needed}: name another with bus.stream, or remove that one (nats stream rm ${name})`,
    );
  if (config.storage !== storage) throw has("storage", config.storage, storage);
  if (config.retention !== RetentionPolicy.Limits) throw has("retention", config.retention, "limits");
  if (config.no_ack) throw has("no_ack", true, "acknowledgements");
  if (config.sealed) throw has("sealed", true, "one that takes messages");
  if (config.mirror) throw has("mirror", config.mirror.name, "one of its own");
  if (config.max_msgs > 0) throw has("max_msgs", config.max_msgs, "none");
  if (config.max_msgs_per_subject > 0 && wanted.max_msgs_per_subject === undefined)
    throw has("max_msgs_per_subject", config.max_msgs_per_subject, "none");
  // A stream without our subjects belongs to somebody else. Further subjects beside ours do no harm.
  const subjects = wanted.subjects ?? [];
  if (!subjects.every((subject) => config.subjects?.includes(subject)))
    throw has("subjects", config.subjects?.join(", "), subjects.join(", "));
  const { subjects: _, description: __, ...changeable } = wanted;
  const differs = Object.entries(changeable).some(([key, value]) => config[key as keyof StreamConfig] !== value);
  if (!differs) return;
  await told(`change the stream ${name}`, `$JS.API.STREAM.UPDATE.${name}`, () =>
    jsm.streams.update(name, { ...config, ...changeable }),
  );
}

export interface ConsumerWishes {
  /** Where a new consumer begins; default: with the oldest event. */
  readonly from?: DeliverPolicy;
  readonly ackWaitMs?: number;
  /** How many events may be handed out and not acknowledged. */
  readonly most?: number;
}

/**
 * Makes the durable consumer, or changes the one that is there to what is wanted. Throws `BusError` if that cannot be
 * done.
 */
export async function ensureConsumer(
  jsm: JetStreamManager,
  stream: string,
  name: string,
  { from = DeliverPolicy.All, ackWaitMs = ACK_WAIT_MS, most = MAX_ACK_PENDING }: ConsumerWishes = {},
): Promise<void> {
  const wanted: Partial<ConsumerConfig> = {
    ack_policy: AckPolicy.Explicit,
    ack_wait: nanos(ackWaitMs),
    max_deliver: -1,
    max_ack_pending: most,
  };
  const found = await told(`look at the consumer ${name}`, `$JS.API.CONSUMER.INFO.${stream}.${name}`, () =>
    jsm.consumers.info(stream, name).catch(unlessMissing),
  );
  if (!found) {
    await told(`make the consumer ${name}`, `$JS.API.CONSUMER.CREATE.${stream}.${name}`, () =>
      jsm.consumers.add(stream, { durable_name: name, deliver_policy: from, ...wanted }),
    );
    return;
  }
  const { config } = found;
  const bad =
    config.ack_policy !== AckPolicy.Explicit
      ? `ack_policy ${config.ack_policy}`
      : config.deliver_subject
        ? "a subject to which it pushes"
        : config.filter_subject || config.filter_subjects
          ? "a filter"
          : undefined;
  if (bad)
    throw new BusError(
      `the consumer ${name} of the stream ${stream} has ${bad}, Tollgate needs a pull consumer of all events with explicit acknowledgement: remove it (nats consumer rm ${stream} ${name})`,
    );
  const differs = Object.entries(wanted).some(
    ([key, value]) => JSON.stringify(config[key as keyof ConsumerConfig]) !== JSON.stringify(value),
  );
  if (!differs) return;
  await told(`change the consumer ${name}`, `$JS.API.CONSUMER.CREATE.${stream}.${name}`, () =>
    jsm.consumers.update(stream, name, wanted),
  );
}

/** Whether JetStream answers. Changes nothing. Throws as `ensureStreams` does. */
export async function lookForStream(jsm: JetStreamManager, settings: NatsSettings): Promise<void> {
  const { stream } = subjectsOf(settings);
  await told(`read stream ${stream}`, `$JS.API.STREAM.INFO.${stream}`, () =>
    jsm.streams.info(stream).catch(unlessMissing),
  );
}

/** Takes a 404 as the answer that there is none. */
function unlessMissing(error: unknown): undefined {
  if (apiError(error)?.code === 404) return undefined;
  throw error;
}

/**
 * What the server said, from an error of JetStream's API. The method is looked for, since not every package exports the
 * error class as a value.
 */
export const apiError = (error: unknown): { code: number; description: string; err_code: number } | undefined =>
  typeof (error as { apiError?: unknown })?.apiError === "function"
    ? (error as { apiError(): { code: number; description: string; err_code: number } }).apiError()
    : undefined;

/**
 * Runs `act`. An error that waiting cannot mend becomes a `BusError`; any other becomes an `Error` that names what
 * failed.
 */
async function told<T>(what: string, subject: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    const { message, cause } = error as Error;
    const names = [(error as Error).name, (cause as Error | undefined)?.name];
    if (names.includes("PermissionViolationError"))
      throw new BusError(
        `NATS does not permit this user to ${what}: allow it to publish to ${subject} and to subscribe to _INBOX.> (ops/guide/nats-and-mongodb.md, Permissions)`,
      );
    if (names.includes("JetStreamNotEnabled") || names.includes("NoRespondersError"))
      throw new BusError("the NATS server has JetStream switched off: start it with -js, or with a jetstream section");
    const api = apiError(error);
    if (api && api.code < 500) throw new BusError(`NATS refuses to ${what}: ${api.description} (${api.err_code})`);
    if (api) throw new Error(`NATS could not ${what}: ${api.description} (${api.err_code})`);
    throw new Error(`NATS could not ${what}: ${message}`);
  }
}
