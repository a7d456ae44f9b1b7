import { hostname } from "node:os";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect, headers, type NatsConnection, type Subscription } from "@nats-io/transport-node";
import type { CallRecord } from "../calls/record.ts";
import type { DeadLetter } from "../charging/events/dead-letter.ts";
import type { ChargingEvent } from "../charging/events/events.ts";
import { EventError } from "../charging/events/faults.ts";
import { type Clock, pause, type TimerHandle } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import { PeerLog } from "../support/peer-log.ts";
import { callEvent } from "./call-events.ts";
import { CONTENT_TYPE, toCloudEvent } from "./cloud-events.ts";
import { type EventSeal, SIGNATURE, sealOf } from "./event-seal.ts";
import { asBusError } from "./nats-errors.ts";
import { deadMessage, messageId } from "./nats-messages.ts";
import { ask, hear, listenTo, tell } from "./nats-nodes.ts";
import { connectionOptions, serversOf } from "./nats-options.ts";
import { NatsOrderedWorker } from "./nats-ordered.ts";
import { NatsPublisher, NO_STREAM, type Outgoing } from "./nats-publisher.ts";
import { checkServer, ensureStreams, type Subjects, subjectsOf } from "./nats-setup.ts";
import { NatsWitness } from "./nats-witness.ts";
import { type BusWorker, isFatal, type Live, NatsWorker } from "./nats-worker.ts";
import type { NatsSettings } from "./settings.ts";
import type { Bus, HandleEvents, HandleInOrder } from "./types.ts";

export interface NatsBusOptions {
  readonly settings: NatsSettings;
  readonly clock: Clock;
  readonly log: Logger;
  /** The environment, which may hold secrets; by default that of the process. */
  readonly env?: NodeJS.ProcessEnv;
  /** First pause after a failure of a consumer; default 100 ms. */
  readonly retryLeastMs?: number;
  /** How long a consumer may take for one batch before its events are handed out again; default 2 min. */
  readonly handleMostMs?: number;
  /** How long to wait before a server that could not be reached is tried again; default 0.5 s. */
  readonly connectAgainMs?: number;
  /** How long a node that is gone keeps others from taking events in order; default 10 s, and as long again. */
  readonly leaseMs?: number;
}

interface Connection extends Live {
  readonly nc: NatsConnection;
  readonly publisher: NatsPublisher;
}

interface Ear {
  readonly topic: string;
  readonly heard: (text: string) => void;
  subscription: Subscription | undefined;
}

const IS_CLOUD_EVENT = ["Content-Type", CONTENT_TYPE] as const;
const CONNECT_AGAIN_MS = 500;
const LOOK_AGAIN_MS = 50;
const DEFAULT_PAYLOAD = 2 ** 20;
/** Room for the headers of an event, which count as payload too. */
const HEADER_BYTES = 1_024;

/**
 * The bus on NATS JetStream (P2). Resolves when it is connected and its streams are as they must be. It resolves too if
 * no server can be reached: then it goes on trying, and refuses publications until it is connected, so that the
 * journals keep the events. Rejects with `BusError` if waiting does not help: sign-in, permissions, certificates, a
 * server that is too old, streams that belong to somebody else.
 */
export async function openNatsBus(options: NatsBusOptions): Promise<Bus> {
  const bus = new NatsBus(options);
  await bus.start();
  return bus;
}

/** Who leads the stream of events, and by which connection that was asked. */
interface Led {
  readonly connection: Connection;
  /** With when the stream was made. */
  readonly leader: string;
}

class NatsBus implements Bus {
  private readonly options: NatsBusOptions;
  private readonly subjects: Subjects;
  private readonly source: string;
  /** Undefined: events are not signed. */
  private readonly seal: EventSeal | undefined;
  private readonly workers = new Set<BusWorker>();
  private readonly bySubject = new Map<string, string>();
  private readonly answers = new Map<string, (question: string) => Promise<string | undefined>>();
  /** The topics on which this node hears others, each with the function to call. */
  private readonly ears = new Set<Ear>();
  private readonly peerLog: PeerLog;
  readonly records: NatsWitness;
  private connection: Connection | undefined;
  /** The subscriptions on which other nodes ask this one. */
  private listening: Subscription[] = [];
  /** Whether the socket is connected. */
  private up = false;
  private timer: TimerHandle;
  private closed = false;
  private told = "";
  /** Who led the stream of events when that was asked last. */
  private led: Led | undefined;
  /** How often the stream had another leader. */
  private elections = 0;

  constructor(options: NatsBusOptions) {
    this.options = options;
    this.subjects = subjectsOf(options.settings);
    this.seal = sealOf(options.settings, options.env ?? process.env);
    this.peerLog = new PeerLog(options);
    this.records = new NatsWitness(options.settings, this.seal, () => this.ready());
    this.source = options.settings.source ?? `urn:tollgate:node:${encodeURIComponent(hostname())}`;
  }

  async start(): Promise<void> {
    try {
      await this.connect();
    } catch (error) {
      if (isFatal(error)) throw error;
      this.options.log.warn(
        { err: error, servers: serversOf(this.options.settings) },
        "bus: NATS cannot be reached; events wait in the journal, and it is tried again",
      );
      this.connectLater();
    }
  }

  private async connect(): Promise<void> {
    const { settings, clock, log, env = process.env } = this.options;
    const nc = await connect(connectionOptions(settings, env)).catch((error) => {
      throw asBusError(error, settings);
    });
    try {
      checkServer(nc);
      const jsm = await jetstreamManager(nc, { checkAPI: false, timeout: 5_000 });
      await ensureStreams(jsm, settings);
      const js = jetstream(nc, { timeout: 5_000 });
      const connection: Connection = { nc, js, jsm, publisher: new NatsPublisher(nc, clock) };
      for (const worker of this.workers) await worker.attach(connection);
      // Before the first connection there was nothing to lose.
      this.led ??= await this.leads(connection).catch(() => undefined);
      if (this.closed) throw new Error("the bus is closed");
      this.connection = connection;
      this.up = true;
      this.told = "";
      void this.watch(connection);
      this.listening = Array.from(this.answers, ([node, reply]) =>
        listenTo(nc, this.subjects.nodes + node, reply, { log, peerLog: this.peerLog }),
      );
      for (const ear of this.ears) this.listen(ear, nc);
      log.info({ server: nc.getServer(), version: nc.info?.version }, "bus: connected to NATS");
    } catch (error) {
      await nc.close().catch(() => {});
      throw error;
    }
  }

  private connectLater(): void {
    if (this.closed) return;
    this.timer = this.options.clock.setTimeout(() => {
      this.connect().catch((error: Error) => {
        if (error.message !== this.told) this.options.log.error({ err: error }, "bus: NATS cannot be used");
        this.told = error.message;
        this.connectLater();
      });
    }, this.options.connectAgainMs ?? CONNECT_AGAIN_MS);
  }

  /**
   * Connects again when the connection is gone. Publications on their way are then rejected, since nobody knows whether
   * they arrived.
   */
  private async watch(connection: Connection): Promise<void> {
    const { log } = this.options;
    const { nc, publisher } = connection;
    for await (const status of nc.status()) {
      if (status.type === "disconnect") {
        this.up = false;
        publisher.abandon(new Error("the connection to NATS is gone"));
        log.warn({ server: status.server }, "bus: the connection to NATS is gone");
      } else if (status.type === "error") {
        const { error } = status;
        const { nodes, calls, witness, witnessStream } = this.subjects;
        const subject = "subject" in error ? String(error.subject) : "";
        const isAsked =
          subject.startsWith(nodes) ||
          subject === calls ||
          subject.startsWith(witness) ||
          subject.endsWith(`.${witnessStream}`);
        if (error.name === "PermissionViolationError" && !isAsked) publisher.abandon(error);
        if (error.message !== this.told) log.error({ err: error }, "bus: NATS says");
        this.told = error.message;
      }
    }
    if (this.connection === connection) this.lost(connection);
  }

  private lost({ publisher }: Connection): void {
    if (this.closed) return;
    this.up = false;
    this.connection = undefined;
    publisher.abandon(new Error("the connection to NATS is closed"));
    this.connectLater();
  }

  renew(why: string): boolean {
    const { connection } = this;
    if (this.closed || !connection) return false;
    this.options.log.warn({ server: connection.nc.getServer(), why }, "bus: the connection to NATS is given up");
    this.lost(connection);
    // Nothing waits for this: it may take long on a connection that carries nothing.
    void connection.nc.close().catch(() => {});
    return true;
  }

  private ready(): Connection {
    if (this.closed) throw new Error("the bus is closed");
    if (!this.connection || !this.up) throw new Error("not connected to NATS");
    return this.connection;
  }

  async isSure(): Promise<boolean> {
    const before = this.led;
    const led = await this.leads(this.ready());
    this.led = led;
    if (before && before.leader !== led.leader) this.elections++;
    return before?.leader === led.leader && before.connection === led.connection;
  }

  private async leads(connection: Connection): Promise<Led> {
    const { cluster, created } = await connection.jsm.streams.info(this.subjects.stream);
    if (cluster && !cluster.leader) throw new Error("the servers of NATS choose who leads");
    return { connection, leader: `${created} ${cluster?.leader ?? ""}` };
  }

  async publish(events: readonly ChargingEvent[], again?: "again"): Promise<void> {
    const { publisher, nc } = this.ready();
    if (events.length === 0) return;
    const most = (nc.info?.max_payload ?? DEFAULT_PAYLOAD) - HEADER_BYTES;
    const messages: Outgoing[] = [];
    let refused = "";
    for (const event of events) {
      const message = this.message(event, again);
      if (typeof message === "string") refused = message;
      else if (message.text.length * 3 <= most || Buffer.byteLength(message.text) <= most) messages.push(message);
      else refused = `the server takes messages of ${nc.info?.max_payload} bytes (max_payload), and it is larger`;
    }
    try {
      if (messages.length > 0) await publisher.publish(this.subjects.stream, messages);
    } catch (error) {
      if ((error as Error).message === NO_STREAM) await this.mend();
      throw error;
    }
    if (refused !== "") throw new EventError(`an event cannot be published: ${refused}`);
  }

  /** The message for an event, or why there is none. */
  private message(event: ChargingEvent, again: "again" | undefined): Outgoing | string {
    const { seal } = this;
    // A stream drops what it knows by its id. After an election it has known ids of messages that it had lost.
    const known = again === undefined || this.elections === 0 ? event.id : `${event.id} again ${this.elections}`;
    try {
      const [subject, text] = [this.subject(event.type), toCloudEvent(event, this.source)];
      const id = ["Nats-Msg-Id", seal ? seal.messageId(known) : messageId(known)] as const;
      const signed = seal ? [[SIGNATURE, seal.sign(text)] as const] : [];
      return { subject, text, headers: [id, IS_CLOUD_EVENT, ...signed] };
    } catch (error) {
      return (error as Error).message;
    }
  }

  /**
   * Makes the streams again if somebody removed them, or the server lost them. The next publication then finds them.
   */
  private async mend(): Promise<void> {
    const { log, settings } = this.options;
    const jsm = this.connection?.jsm;
    if (jsm) await ensureStreams(jsm, settings).catch((err) => log.error({ err }, "bus: the streams cannot be used"));
  }

  private subject(type: string): string {
    const known = this.bySubject.get(type);
    if (known !== undefined) return known;
    const subject = this.subjects.events + type;
    this.bySubject.set(type, subject);
    return subject;
  }

  async publishDead(letters: readonly DeadLetter[]): Promise<void> {
    if (letters.length === 0) return;
    const { publisher, nc } = this.ready();
    const most = nc.info?.max_payload ?? DEFAULT_PAYLOAD;
    await publisher.publish(
      this.subjects.deadStream,
      letters.map((letter) => deadMessage(this.subjects.dead, letter, most)),
    );
  }

  async consume(name: string, handle: HandleEvents): Promise<() => Promise<void>> {
    if (this.closed) throw new Error("the bus is closed");
    const { clock, log, retryLeastMs = 100, handleMostMs = 120_000 } = this.options;
    const { stream } = this.subjects;
    const { seal } = this;
    return this.work(new NatsWorker({ name, stream, handle, clock, log, retryLeastMs, handleMostMs, seal }));
  }

  async consumeInOrder(name: string, handle: HandleInOrder): Promise<() => Promise<void>> {
    if (this.closed) throw new Error("the bus is closed");
    const { clock, log, settings, leaseMs } = this.options;
    return this.work(new NatsOrderedWorker({ name, settings, handle, clock, log, seal: this.seal, leaseMs }));
  }

  async waiting(name: string): Promise<number> {
    const { num_pending, num_ack_pending } = await this.ready().jsm.consumers.info(this.subjects.stream, name);
    return num_pending + num_ack_pending;
  }

  private async work(worker: BusWorker): Promise<() => Promise<void>> {
    this.workers.add(worker);
    if (this.connection) await worker.attach(this.connection).catch((error) => this.refused(worker, error));
    return async () => {
      this.workers.delete(worker);
      await worker.stop();
      await this.flush();
    };
  }

  answer(node: string, reply: (question: string) => Promise<string | undefined>): void {
    this.answers.set(node, reply);
    const { connection, options, subjects, peerLog } = this;
    if (connection)
      this.listening.push(listenTo(connection.nc, subjects.nodes + node, reply, { log: options.log, peerLog }));
  }

  async ask(node: string, question: string, withinMs: number): Promise<string | undefined> {
    return ask(this.ready().nc, this.subjects.nodes + node, question, withinMs);
  }

  tell(topic: string, text: string): boolean {
    if (this.closed || !this.connection || !this.up) return false;
    try {
      tell(this.connection.nc, this.subjects.nodes, { topic, text }, this.seal);
      return true;
    } catch (err) {
      // The connection has just gone, or the server takes no messages as long as this one.
      this.peerLog.warn("bus: what other nodes are to know cannot be told", "", { err, topic, chars: text.length });
      return false;
    }
  }

  tellCalls(records: readonly CallRecord[]): boolean {
    const { connection, seal, source, subjects } = this;
    if (this.closed || !connection || !this.up) return false;
    try {
      for (const record of records) {
        const text = callEvent(record, source);
        const about = headers();
        about.set(...IS_CLOUD_EVENT);
        if (seal) about.set(SIGNATURE, seal.sign(text));
        connection.nc.publish(subjects.calls, text, { headers: about });
      }
      return true;
    } catch (err) {
      this.peerLog.warn("bus: what became of requests cannot be told", "", { err });
      return false;
    }
  }

  hear(topic: string, heard: (text: string) => void): () => void {
    const ear: Ear = { topic, heard, subscription: undefined };
    this.ears.add(ear);
    if (this.connection) this.listen(ear, this.connection.nc);
    return () => {
      this.ears.delete(ear);
      ear.subscription?.unsubscribe();
    };
  }

  keys(purpose: string): readonly Buffer[] {
    return this.seal?.keys(purpose) ?? [];
  }

  private listen(ear: Ear, nc: NatsConnection): void {
    const { seal, peerLog } = this;
    ear.subscription = hear(nc, this.subjects.nodes, ear, { seal, log: this.options.log, peerLog });
  }

  async handled(name: string, withinMs: number): Promise<void> {
    const { clock } = this.options;
    const until = clock.monotonic() + withinMs;
    const { jsm } = this.ready();
    const { stream } = this.subjects;
    const last = (await jsm.streams.info(stream)).state.last_seq;
    for (;;) {
      // Undefined: there is no such consumer yet, so nothing is handled.
      const info = await jsm.consumers.info(stream, name).catch(() => undefined);
      if (info && (info.ack_floor.stream_seq >= last || info.num_pending + info.num_ack_pending === 0)) return;
      if (clock.monotonic() >= until) throw new Error(`${name} is behind`);
      await pause(clock, LOOK_AGAIN_MS);
    }
  }

  private refused(worker: BusWorker, error: Error): void {
    if (isFatal(error)) {
      this.workers.delete(worker);
      throw error;
    }
    worker.attachLater();
  }

  /** When this resolves, the acknowledgements have been sent. */
  private async flush(): Promise<void> {
    if (this.up) await this.connection?.nc.flush().catch(() => {});
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    this.options.clock.clearTimeout(this.timer);
    for (const worker of this.workers) worker.release();
    await Promise.all([...this.workers].map((worker) => worker.stop()));
    this.workers.clear();
    for (const { subscription } of this.ears) subscription?.unsubscribe();
    this.peerLog.close();
    for (const subscription of this.listening) subscription.unsubscribe(); // first, so that no node waits for us
    await this.flush();
    this.connection?.publisher.close(new Error("the bus is closed"));
    await this.connection?.nc.close();
  }
}
