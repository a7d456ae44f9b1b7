import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Bus } from "../../src/bus/types.ts";
import { CHARGE_JSON, PACKAGE } from "../../src/charging/charges/body.ts";
import type { ChargingEvent } from "../../src/charging/events/events.ts";
import { configSchema } from "../../src/config/schema.ts";
import { userLimits } from "../../src/node/assemble.ts";
import { joinCluster } from "../../src/node/cluster.ts";
import type { Cluster } from "../../src/node/cluster-ports.ts";
import { together } from "../../src/node/keepers.ts";
import type { UserLimits } from "../../src/relay/admission/user-loads.ts";
import { Router } from "../../src/relay/router.ts";
import { goOn, restore } from "../../src/relay/session/snapshot.ts";
import type { SipMessage, SipRequest, SipResponse } from "../../src/sip/message.ts";
import { serialize } from "../../src/sip/serialize.ts";
import type { Clock, TimerHandle } from "../../src/support/clock.ts";
import type { Logger } from "../../src/support/log.ts";
import { PeerLog } from "../../src/support/peer-log.ts";
import type { Destination, Flow, TransportLayer } from "../../src/transport/types.ts";
import { MemoryCredit } from "../charging/memory-credit.ts";
import { silent } from "../charging/samples.ts";
import { type Lab, type LabOptions, lab, Peer } from "../relay/harness.ts";
import { KeptDisk } from "../simulation/kept-disk.ts";
import { TestClock } from "../support/test-clock.ts";
import { Records } from "./records.ts";

/*
 * Whole nodes in one process: each a relay as in ../relay/harness.ts, joined to the others by an in-memory bus, on one
 * turned clock. A node can be killed, started anew, stopped and continued, cut off. Peers can write to any node.
 */

/** How long what is told takes to come to all who hear it. A cut node neither tells nor hears. */
export class Courier {
  readonly cut = new Set<string>();
  /** Nothing that this says yes to arrives. */
  loses: (topic: string, text: string, to: string) => boolean = () => false;
  /** Between these two nothing passes. */
  apart: (one: string, other: string) => boolean = () => false;
  /** Milliseconds to that node; what comes to one node keeps its order. */
  delayMs: (to: string) => number = () => 0;
  readonly told: { readonly topic: string; readonly text: string; readonly by: string; readonly at: number }[] = [];
  private readonly clock: TestClock;
  private readonly ears = new Map<string, Map<string, (text: string) => void>>();
  private readonly lastAt = new Map<string, number>();

  constructor(clock: TestClock) {
    this.clock = clock;
  }

  of(node: string, turn: (what: () => void) => void): Required<Pick<Bus, "tell" | "hear">> {
    let open = true;
    void open;
    return {
      tell: (topic, text) => {
        if (this.cut.has(node)) return false;
        this.told.push({ topic, text, by: node, at: this.clock.monotonic() });
        for (const [to, heard] of this.ears.get(topic) ?? [])
          if (!this.apart(node, to)) this.bring({ topic, text, to, heard, turn: this.turns.get(to) ?? turn });
        return true;
      },
      hear: (topic, heard) => {
        this.turns.set(node, turn);
        const all = this.ears.get(topic) ?? new Map<string, (text: string) => void>();
        this.ears.set(topic, all);
        all.set(node, heard);
        return () => {
          if (all.get(node) === heard) all.delete(node);
          open = false;
        };
      },
    };
  }

  private readonly turns = new Map<string, (what: () => void) => void>();

  private bring(one: {
    topic: string;
    text: string;
    to: string;
    heard: (text: string) => void;
    turn: (what: () => void) => void;
  }) {
    const { topic, text, to, heard, turn } = one;
    if (this.cut.has(to) || this.loses(topic, text, to)) return;
    const at = Math.max(this.lastAt.get(to) ?? 0, this.clock.monotonic() + this.delayMs(to));
    this.lastAt.set(to, at);
    this.clock.setTimeout(() => {
      if (!this.cut.has(to)) turn(() => heard(text));
    }, at - this.clock.monotonic());
  }
}

/** What one node sent to a peer. */
export interface Sent {
  readonly at: number;
  readonly node: string;
  readonly callId: string;
  readonly text: string;
}

type Options = Omit<LabOptions, "clock" | "network" | "core"> & {
  /** False: there is no JetStream that could say who is dead. */
  readonly witness?: boolean;
  /** The nodes share what clients have registered, and the limits per user. */
  readonly shares?: boolean;
};

/** One run of a node. */
export class Run {
  readonly cluster: Cluster;
  readonly name: string;
  l!: Lab;
  readonly disk: KeptDisk;
  isDead = false;
  isStopped = false;
  /** What came and was due while the process was stopped. */
  private readonly waiting: { readonly what: () => void; readonly isTimer: boolean }[] = [];
  private readonly nodes: Nodes;
  private readonly flows = new Map<Peer, Flow>();
  private readonly pending: ChargingEvent[] = [];
  ready = false;
  private readonly log: Logger;

  constructor(nodes: Nodes, name: string, data: string, disk: KeptDisk) {
    this.nodes = nodes;
    this.name = name;
    this.disk = disk;
    const { clock, config } = nodes;
    // No two machines have the same time.
    const index = Number.parseInt(name.slice(-2), 10);
    const own: Clock = {
      wall: () => clock.wall() + index * 700,
      monotonic: () => clock.monotonic() + index * 1_000_000,
      setTimeout: (fn, ms) => this.timer(fn, ms),
      clearTimeout: (handle) => (handle as { clear(): void } | undefined)?.clear(),
    };
    const note = (...what: unknown[]) => void nodes.said.push(`${clock.monotonic()} ${name} ${JSON.stringify(what)}`);
    const log = Object.assign(Object.create(silent), { info: note, warn: note, error: note });
    this.log = log;
    this.cluster = joinCluster({
      bus: {
        ...nodes.courier.of(name, (what) => this.turn(what)),
        ...(nodes.options.witness !== false && { records: nodes.records.of(name, (what) => this.turn(what)) }),
      },
      node: name,
      config: { ...config, data },
      clock: own,
      log,
      peerLog: new PeerLog({ log, clock: own }),
      goesOnElsewhere: (session) => disk.sessions.goesOnElsewhere(session),
      direct: false,
    });
    Object.defineProperty(this.cluster.clock, "armed", { get: () => 0 });
  }

  /** The time at which this node acts. */
  get acts(): boolean {
    return !this.isDead && !this.isStopped && this.ready && !this.cluster.mutes();
  }

  /** Does it now, or as soon as the process goes on; never, if the run is over. */
  turn(what: () => void, isTimer = false): void {
    if (this.isDead) return;
    if (this.isStopped) this.waiting.push({ what, isTimer });
    else what();
  }

  /** The process goes on: with the timers that are due, or with what has come. */
  continue(first: "timers" | "messages" = "timers"): void {
    this.isStopped = false;
    const all = this.waiting.splice(0);
    const isFirst = ({ isTimer }: { isTimer: boolean }) => isTimer === (first === "timers");
    for (const { what, isTimer } of [...all.filter(isFirst), ...all.filter((one) => !isFirst(one))])
      this.turn(what, isTimer);
  }

  private timer(fn: () => void, ms: number): TimerHandle {
    const { clock } = this.nodes;
    let cleared = false;
    const handle = clock.setTimeout(() => this.turn(() => cleared || fn(), true), ms);
    return {
      clear: () => {
        cleared = true;
        clock.clearTimeout(handle);
      },
    };
  }

  async start(options: Options): Promise<this> {
    const { nodes, cluster, disk, name } = this;
    const shares = options.shares ? cluster.shared : undefined;
    const found = new Map(disk.entries.filter(([id]) => !id.includes("\n")));
    const present = new Set(found.keys());
    const taken = present.size > 0 ? await cluster.takenBefore() : new Set<string>();
    if (this.isDead) return this;
    for (const id of present) if (taken.has(id)) disk.sessions.goesOnElsewhere(id);
    const recorder = {
      full: false,
      append: async (event: ChargingEvent) => {
        disk.commit([event]);
        this.nodes.onDisk(name).push(event);
        this.pending.push(event);
        this.publishSoon();
      },
    };
    const network = this.network();
    this.l = await lab({
      random: nodes.random,
      log: this.log,
      ...options,
      clock: cluster.clock as TestClock,
      network,
      core: {
        node: name,
        kept: together([disk.sessions, cluster.keeper])!,
        recorder: cluster.recording(recorder),
        credit: nodes.credit,
        ...(shares && { loadsElsewhere: shares.loads.keep(nodes.userLimits) }),
      },
    });
    const { core, transactions } = this.l;
    shares?.attach(core);
    const before = cluster.before(transactions);
    network.deliver = (message, flow) => before.received(message, flow);
    disk.sessions.attach(core);
    const states = [...present].filter((id) => !taken.has(id)).map((id) => disk.read(id)!);
    const sessions = states.map((state) => restore(core, state, { lastHeardAt: state.chart.context.startedAt ?? 0 }));
    this.ready = true;
    cluster.start(
      { core, transactions, router: new Router(core) },
      [...present].filter((id) => !taken.has(id)),
    );
    for (const [i, session] of sessions.entries()) goOn(session, states[i]!);
    return this;
  }

  private publishing = false;
  private publishSoon(): void {
    if (this.publishing) return;
    this.publishing = true;
    this.timer(() => {
      this.publishing = false;
      this.publish();
    }, this.nodes.publishMs);
  }

  private publish(): void {
    const events = this.pending.splice(0);
    if (this.nodes.busTakesEvents(this.name)) {
      for (const event of events) this.nodes.bill(event);
      this.cluster.published(events);
    } else {
      this.pending.push(...events);
      if (events.length > 0) this.publishSoon();
    }
  }

  /** This node's own flow to a peer. */
  flowTo(peer: Peer): Flow {
    const known = this.flows.get(peer);
    if (known) return known;
    const { flow } = peer;
    const own: Flow = Object.assign(Object.create(flow), {
      send: (bytes: Buffer) => {
        if (this.isDead || this.cluster.mutes()) return;
        this.nodes.sent(this, bytes);
        flow.send(bytes);
      },
    });
    this.flows.set(peer, own);
    return own;
  }

  /** A client is reached by the connection that it has made, and by no other. */
  private noWayTo({ flow }: Peer): Flow {
    const failing: Flow = Object.assign(Object.create(flow), {
      open: false,
      send: () => void this.timer(() => this.l.transactions.flowFailed(failing, "refused"), 1),
    });
    return failing;
  }

  private network(): TransportLayer & { deliver(message: SipMessage, flow: Flow): void } {
    const { nodes, name } = this;
    const host = nodes.hostOf(name);
    const flowTo = ({ address, port }: Destination) => {
      const peer = nodes.peerAt(address, port);
      return peer.flow.reliable && !this.flows.has(peer) ? this.noWayTo(peer) : this.flowTo(peer);
    };
    return {
      deliver: () => {},
      connectionFrom: ({ transport, address, port }) => {
        const peer = nodes.peerAt(address, port);
        return peer.flow.transport === transport ? this.flows.get(peer) : undefined;
      },
      sendRequest: (request, destination, branch, via) => {
        const flow = via ?? flowTo(destination);
        request.headers.prepend("Via", `SIP/2.0/${flow.transport.toUpperCase()} ${host}:5060;rport;branch=${branch}`);
        request.changed();
        const bytes = serialize(request);
        flow.send(bytes);
        return { flow, bytes };
      },
      wayTo: (destination) => (destination.transport === "udp" ? flowTo(destination) : undefined),
      flowFor: flowTo,
      contactFor: ({ transport, contact }) =>
        contact ?? (transport === "udp" ? `${host}:5060` : `${host}:5060;transport=${transport}`),
      contactTowards: () => `${host}:5060`,
    };
  }
}

const CLIENT = { address: "192.0.2.50", port: 5062 };

export class Nodes {
  readonly clock = new TestClock();
  readonly courier = new Courier(this.clock);
  readonly records = new Records(this.clock);
  readonly credit = new MemoryCredit();
  readonly runs = new Map<string, Run>();
  /** What billing has taken, by id: an event that comes twice counts once. */
  readonly billed = new Map<string, ChargingEvent>();
  readonly log: Sent[] = [];
  /** What the nodes said in their logs about each other. */
  readonly said: string[] = [];
  readonly client: Peer;
  readonly server: Peer;
  readonly config: ReturnType<typeof configSchema.parse>;
  private tokens = 0;
  /** The same in each story of the same steps. */
  readonly random = { token: () => `t${(++this.tokens).toString(16).padStart(8, "0")}` };
  publishMs = 100;
  busTakesEvents: (node: string) => boolean = () => true;
  /** Called with each message that a node sends to a peer, before the peer has it. */
  watch: (run: Run, sent: Sent) => void = () => {};
  /** To which node the peers write. */
  target = "node00";
  private readonly peers = new Map<string, Peer>();
  private readonly disks = new Map<string, KeptDisk>();
  private readonly journals = new Map<string, ChargingEvent[]>();
  private readonly folders: string[] = [];
  readonly options: Options;
  readonly userLimits: UserLimits;

  constructor(options: Options = {}) {
    this.options = options;
    this.records.isAway = (node) => this.courier.cut.has(node);
    this.config = configSchema.parse({
      portal: { domain: "portal.com" },
      listen: ["udp:192.0.2.1:5060"],
      services: [{ id: "service1" }],
      appServers: [{ id: "a", uri: "sip:192.0.2.100:5060", services: ["service1"] }],
      ...options.config,
    });
    this.userLimits = userLimits({ limits: { ...this.config.limits, ...options.limits } });
    this.client = this.peerAt(CLIENT.address, CLIENT.port, options.clientTransport);
    this.server = this.peerAt("192.0.2.100", 5060);
  }

  static async of(count: number, options: Options = {}): Promise<Nodes> {
    const nodes = new Nodes(options);
    for (let i = 0; i < count; i++) await nodes.start(`node0${i}`);
    await nodes.run(300);
    return nodes;
  }

  async start(name: string): Promise<Run> {
    const data = mkdtempSync(join(tmpdir(), "tollgate-nodes-"));
    this.folders.push(data);
    const disk = this.disks.get(name) ?? new KeptDisk(this.clock);
    this.disks.set(name, disk);
    // A new run grows the epoch, which counts in seconds.
    this.clock.setWall(1_000);
    const run = new Run(this, name, data, disk);
    this.runs.set(name, run);
    const ready = run.start(this.options);
    let isReady = false;
    void ready.then(() => {
      isReady = true;
    });
    for (let i = 0; !isReady && i < 20_000; i++) await this.run(1);
    return ready;
  }

  node(name: string): Run {
    return this.runs.get(name)!;
  }

  get all(): Run[] {
    return [...this.runs.values()];
  }

  hostOf(name: string): string {
    return `192.0.2.${10 + Number.parseInt(name.slice(-2), 10)}`;
  }

  peerAt(address: string, port: number, transport: "udp" | "tcp" = "udp"): Peer {
    const key = `${address}:${port}`;
    const known = this.peers.get(key);
    if (known) return known;
    const peer: Peer = new Peer(
      {
        deliver: (message, _flow) => {
          const run = this.node(this.target);
          if (!run.ready) return; // nobody listens there yet
          run.turn(() =>
            (run.l.core.transport as { deliver?(m: SipMessage, f: Flow): void }).deliver?.(message, run.flowTo(peer)),
          );
        },
      },
      address,
      port,
      transport,
    );
    this.peers.set(key, peer);
    return peer;
  }

  sent(run: Run, bytes: Buffer): void {
    const text = bytes.toString("latin1");
    const sent = {
      at: this.clock.monotonic(),
      node: run.name,
      callId: /\nCall-ID: ([^\r]*)/i.exec(text)?.[1] ?? "",
      text,
    };
    this.log.push(sent);
    this.watch(run, sent);
  }

  onDisk(name: string): ChargingEvent[] {
    const all = this.journals.get(name) ?? [];
    this.journals.set(name, all);
    return all;
  }

  bill(event: ChargingEvent): void {
    if (!this.billed.has(event.id)) this.billed.set(event.id, event);
  }

  /** Time passes; promises run. */
  async run(ms: number): Promise<void> {
    const end = this.clock.monotonic() + ms;
    await settle();
    while (this.clock.step(end)) await settle();
    this.clock.advance(end - this.clock.monotonic());
    await settle();
  }

  kill(name: string, { withDisk = false } = {}): void {
    this.node(name).isDead = true;
    this.courier.cut.add(name);
    if (withDisk) {
      this.disks.delete(name);
      this.journals.delete(name);
    }
  }

  /** Starts a killed node anew; what is in its journal goes out. */
  async again(name: string): Promise<Run> {
    this.courier.cut.delete(name);
    for (const event of this.onDisk(name)) this.bill(event);
    return this.start(name);
  }

  stop(name: string): void {
    this.node(name).isStopped = true;
  }

  /** Which nodes have a session and may act for it. */
  actors(session: string): string[] {
    return this.all.filter((run) => run.acts && run.l.core.sessions.has(session)).map(({ name }) => name);
  }

  /** Which nodes have a session, acting or not. */
  owners(session: string): string[] {
    return this.all
      .filter((run) => !run.isDead && run.ready && run.l.core.sessions.has(session))
      .map(({ name }) => name);
  }

  /** Where copies are: node and how many. */
  copies(): Record<string, number> {
    return Object.fromEntries(
      this.all.filter(({ isDead }) => !isDead).map((run) => [run.name, run.cluster.gauges().clusterStandbys!]),
    );
  }

  /** Which node has the copy of the only session. */
  get standby(): string {
    const found = Object.entries(this.copies()).filter(([, copies]) => copies > 0);
    if (found.length !== 1 || found[0]![1] !== 1) throw new Error(`not one copy: ${JSON.stringify(found)}`);
    return found[0]![0];
  }

  close(): void {
    for (const run of this.all) run.isDead = true;
    for (const folder of this.folders) rmSync(folder, { recursive: true, force: true });
  }

  /** Plays a call until the app server has answered and the client has heard of it. */
  async answered({ inviteHeaders = [], answerHeaders = [] }: CallHeaders = {}) {
    const { client, server } = this;
    const known = new Set(this.all.filter(({ isDead }) => !isDead).flatMap(({ l }) => l.core.sessions.allKeys()));
    const invite = client.invite({ body: "v=0", headers: inviteHeaders });
    await this.run(10);
    const inviteAtServer = server.request("INVITE");
    const answerOfServer = server.answer(inviteAtServer, 200, { body: "v=1", headers: answerHeaders });
    await this.run(60);
    client.inbox.splice(0, client.inbox.length - 1); // a provisional answer
    const answer = client.response(200);
    const ids = this.node(this.target).l.core.sessions.allKeys();
    return { invite, answer, inviteAtServer, answerOfServer, id: ids.find((id) => !known.has(id))! };
  }

  async established(headers?: CallHeaders) {
    const call = await this.answered(headers);
    this.client.ack(call.invite, call.answer);
    await this.run(10);
    this.server.request("ACK");
    return call;
  }

  /** The app server charges; its request. */
  charge(call: Call, seq: number, id: string): SipRequest {
    return this.server.backInDialog("INFO", call.inviteAtServer, call.answerOfServer, seq, {
      headers: [["Info-Package", PACKAGE]],
      body: JSON.stringify({ charges: [{ id, item: id, unitPrice: "0.50", currency: "EUR" }] }),
      type: CHARGE_JSON,
    });
  }

  /** Ids of the charges that are billed. */
  get charges(): string[] {
    return [...this.billed.values()].flatMap((event) => (event.type === "charge.made" ? [event.charge.id] : []));
  }

  ended(session: string): ChargingEvent[] {
    return [...this.billed.values()].filter((event) => event.type === "session.ended" && event.session.id === session);
  }
}

/** What the client's INVITE and the app server's answer have besides. */
interface CallHeaders {
  readonly inviteHeaders?: [string, string][];
  readonly answerHeaders?: [string, string][];
}

export type Call = Awaited<ReturnType<Nodes["answered"]>>;

/** Answers requests of these kinds with 200 as they come, and keeps the rest. Returns what was answered. */
export function agrees(peer: Peer, methods: readonly string[] = ["OPTIONS", "UPDATE"], status = 200): SipRequest[] {
  const came: SipRequest[] = [];
  const { inbox } = peer;
  const push = inbox.push.bind(inbox);
  inbox.push = (...messages: SipMessage[]) => {
    for (const message of messages) {
      if (message.isRequest && methods.includes(message.method)) {
        came.push(message);
        const headers: [string, string][] = message.method === "UPDATE" ? [["Contact", peer.contact]] : [];
        // Not before the relay has done with sending.
        void Promise.resolve().then(() => peer.answer(message, status, { headers }));
      } else push(message);
    }
    return inbox.length;
  };
  return came;
}

export async function settle(): Promise<void> {
  for (let i = 0; i < 12; i++) await null;
}

export const statuses = (peer: Peer): (number | string)[] =>
  peer.inbox.map((message) => (message.isRequest ? message.method : (message as SipResponse).status));
