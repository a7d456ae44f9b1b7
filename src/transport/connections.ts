import type { ParseError } from "../sip/parse.ts";
import type { Clock, TimerHandle } from "../support/clock.ts";
import { type ArrivalKind, Arrivals, type ArrivalsOptions, type Entrance } from "./arrivals.ts";
import {
  Connection,
  type ConnectionBounds,
  type ConnectionKind,
  type ConnectionOwner,
  type Wire,
} from "./connection.ts";
import { FailedFlow } from "./failed-flow.ts";
import { KINDS } from "./kinds.ts";
import type { Destination, Flow } from "./types.ts";

/** Limits of all connections, whatever their transport (decision 14). */
export interface ConnectionsBounds extends ConnectionBounds {
  /**
   * Connections that peers have opened to us. Those that we have opened have their own limit, so neither takes the room
   * of the other.
   */
  readonly maxConnections: number;
  readonly maxOutgoing: number;
  /** Connections that one address may have opened to us. */
  readonly maxConnectionsPerAddress: number;
  /** How many handshakes of TLS with those who come to us may begin in a second; 0: no bound. */
  readonly handshakesPerSecond: number;
  /** A connection on which nothing was sent or received for so long is closed. */
  readonly idleMs: number;
  /** How long the rest of a message may be awaited. */
  readonly partialMs: number;
  /** How long a connection that was opened to us may take to bring its first message. */
  readonly firstMessageMs: number;
  /** How long a peer may read nothing while bytes wait for it. */
  readonly stalledMs: number;
  /** What may wait on all connections together, to be sent or for the rest of messages. */
  readonly queueBytes: number;
  /** After so long without anything from the peer, the relay asks whether it is there, where the transport can. */
  readonly pingMs: number;
}

/** Whom a connection of ours goes to. `name`: what the peer's certificate must say, where there is one. */
export type Peer = Pick<Destination, "address" | "port" | "name">;

/** How the connections of one transport are made (`streams.ts`). */
export interface StreamKind extends ConnectionKind, ArrivalKind {
  connect(peer: Peer): Wire;
}

export interface ConnectionsOptions {
  readonly clock: Clock;
  readonly bounds: ConnectionsBounds;
  received(bytes: Buffer, connection: Connection): void;
  unreadable(error: ParseError, connection: Connection, bytes: Buffer): void;
  readonly sending?: ((bytes: Buffer, connection: Connection) => boolean) | undefined;
  sentTooLate(bytes: Buffer, connection: Connection): void;
  closed(flow: Flow, reason: string): void;
  serverFailed(error: Error): void;
  /** A connection was not accepted. */
  refused?(address: string, transport: string, why: string): void;
  readonly isBusy?: ArrivalsOptions["isBusy"];
  /** For whom an HTTP proxy asks. */
  readonly forwardedFor?: ArrivalsOptions["forwardedFor"];
}

/** A peer that is asked so many times whether it is there, and says nothing, is gone. */
const SILENT_PINGS = 3;

/** A peer that sends keep-alives and nothing else gets this many times `firstMessageMs`. */
const PINGING = 12;

export interface ConnectionStats {
  accepted: number;
  opened: number;
  /** Connections not accepted, or not opened, because of the bounds. */
  refused: number;
  /** Ended because others needed the room: connections that are not `proven`, and those with the most bytes waiting. */
  gaveWay: number;
  keepAlives: number;
  /** Not accepted because of their address: those are among `refused`, too. */
  denied: number;
  /** Peers that came by TLS or WebSocket and did not shake hands as they must, or not in time. */
  handshakesFailed: number;
  /** Peers whose connection was closed, since too many waited for their handshake. */
  handshakesPutOff: number;
}

/** RFC 5922 §7.3: a connection serves the name that was proved on it, and no other name at the same address. */
const peerKey = ({ transport }: StreamKind, { address, port, name }: Peer): string =>
  KINDS[transport].secure ? `${transport}|${address}|${port}|${name ?? address}` : `${transport}|${address}|${port}`;

const originKey = (transport: string, address: string, port: number): string => `${transport}|${address}|${port}`;
const originKeyOf = ({ transport, remoteAddress, remotePort }: Flow): string =>
  originKey(transport, remoteAddress, remotePort);

/** All connections: accepts, opens, reuses (RFC 3261 §18.1.1), and ends those that are idle. */
export class Connections implements ConnectionOwner {
  readonly clock: Clock;
  readonly bounds: ConnectionsBounds;
  readonly stats: ConnectionStats = {
    accepted: 0,
    opened: 0,
    refused: 0,
    gaveWay: 0,
    keepAlives: 0,
    denied: 0,
    handshakesFailed: 0,
    handshakesPutOff: 0,
  };
  private readonly options: ConnectionsOptions;
  private readonly arrivals: Arrivals;
  private readonly connections = new Set<Connection>();
  /** The connections that we have opened, by `peerKey`. */
  private readonly byPeer = new Map<string, Connection>();
  /** Those that peers have made, by `originKey`. */
  private readonly byOrigin = new Map<string, Connection>();
  private outgoing = 0;
  /** How many bytes wait on all connections, as far as they have reported. */
  private waiting = 0;
  /**
   * For each connection on which bytes wait: how many bytes had left it, and since when that number has not changed, as
   * the sweeps saw it.
   */
  private readonly stalled = new Map<Connection, { sentBytes: number; since: number }>();
  private made = 0;
  private sweeping: TimerHandle | undefined;
  private ending = false;

  constructor(options: ConnectionsOptions) {
    this.options = options;
    this.clock = options.clock;
    this.bounds = options.bounds;
    const { clock, bounds, serverFailed, refused, forwardedFor } = options;
    this.arrivals = new Arrivals({
      ...{ clock, bounds, serverFailed, refused, forwardedFor, stats: this.stats, isBusy: options.isBusy },
      held: () => this.connections.size - this.outgoing,
      makeRoom: (latest) => this.makeRoom(latest),
      ready: (kind, wire, { address, port }) => this.hold(kind as StreamKind, wire, address, port, true),
      began: () => this.sweepLater(),
    });
  }

  get sending(): ConnectionsOptions["sending"] {
    return this.options.sending;
  }

  /** How many connections are open or being opened. */
  get size(): number {
    return this.connections.size;
  }

  /** Listens on that address. Resolves to the port; rejects if it cannot listen there. */
  listen(kind: StreamKind, entrance: Entrance): Promise<number> {
    return this.arrivals.listen(kind, entrance);
  }

  /**
   * The connection to that peer: the one that we have opened already, or a new one. Beyond the bounds it is a flow that
   * fails in a moment.
   */
  to(kind: StreamKind, peer: Peer): Flow {
    const known = this.byPeer.get(peerKey(kind, peer));
    if (known) return known;
    if (this.ending || this.outgoing >= this.bounds.maxOutgoing) {
      this.stats.refused++;
      return this.failing(kind, peer, "too many connections");
    }
    try {
      const wire = kind.connect(peer);
      this.stats.opened++;
      const connection = this.hold(kind, wire, peer.address, peer.port, false);
      // Only a connection that we opened is used for requests to its address. The peer of an incoming one need not be
      // the server of that address and port: any program of that machine can use the port while nobody listens there.
      this.serves(connection, peerKey(kind, peer));
      return connection;
    } catch (error) {
      // The port number is not valid.
      return this.failing(kind, peer, (error as NodeJS.ErrnoException).code ?? String(error));
    }
  }

  /**
   * RFC 5923 §5, §8: requests to a peer that has proved its name may go by the connection that it has opened, if it has
   * asked for that by `alias`. `port` is the one of its Via. Without a proven name there is no such reuse.
   */
  reuse(connection: Connection, kind: StreamKind, port: number): void {
    const { peerNames, remoteAddress: address } = connection;
    if (!connection.incoming || connection.peerKeys.length > 0 || !peerNames) return;
    for (const name of peerNames) {
      const key = peerKey(kind, { address, port, name });
      if (!this.byPeer.has(key)) this.serves(connection, key);
    }
  }

  /** The connection that a peer has made from there. */
  from({ transport, address, port }: Pick<Flow, "transport"> & Pick<Peer, "address" | "port">): Flow | undefined {
    return this.byOrigin.get(originKey(transport, address, port));
  }

  private serves(connection: Connection, key: string): void {
    connection.peerKeys.push(key);
    this.byPeer.set(key, connection);
  }

  /** Stops listening and closes every connection. */
  async close(): Promise<void> {
    this.ending = true;
    if (this.sweeping !== undefined) this.clock.clearTimeout(this.sweeping);
    const closed = this.arrivals.close();
    for (const connection of [...this.connections]) connection.finish("relay stops");
    // A peer that does not close its side is not waited for.
    await new Promise<void>((resolve) => setImmediate(resolve));
    for (const connection of [...this.connections]) connection.close("relay stops");
    await closed;
  }

  // --- from the connections ---

  received(bytes: Buffer, connection: Connection): void {
    this.options.received(bytes, connection);
  }

  unreadable(error: ParseError, connection: Connection, bytes: Buffer): void {
    this.options.unreadable(error, connection, bytes);
  }

  keptAlive(): void {
    this.stats.keepAlives++;
  }

  sentTooLate(bytes: Buffer, connection: Connection): void {
    if (!this.ending) this.options.sentTooLate(bytes, connection);
  }

  closed(connection: Connection, reason: string): void {
    this.connections.delete(connection);
    this.stalled.delete(connection);
    this.waiting -= connection.counted;
    connection.counted = 0;
    for (const key of connection.peerKeys) if (this.byPeer.get(key) === connection) this.byPeer.delete(key);
    if (connection.incoming) {
      this.arrivals.left(connection.remoteAddress);
      const key = originKeyOf(connection);
      if (this.byOrigin.get(key) === connection) this.byOrigin.delete(key);
    } else this.outgoing--;
    this.options.closed(connection, `${connection.transport} ${reason}`);
  }

  queued(connection: Connection, bytes: number): void {
    this.waiting += bytes - connection.counted;
    connection.counted = bytes;
    if (this.waiting > this.bounds.queueBytes) this.makeRoomInQueues();
  }

  /**
   * Too many bytes wait in all. Ends the connections with the most waiting bytes, until a quarter of the room is free.
   */
  private makeRoomInQueues(): void {
    this.countAgain();
    const { queueBytes } = this.bounds;
    if (this.waiting <= queueBytes) return;
    const longest = [...this.connections].sort((a, b) => b.counted - a.counted);
    for (const connection of longest) {
      if (this.waiting <= 0.75 * queueBytes) return;
      this.stats.gaveWay++;
      connection.cut("too much waits on all connections, and most on this one");
    }
  }

  /** Counts the waiting bytes of all connections anew: a connection does not report when its bytes have left. */
  private countAgain(): void {
    this.waiting = 0;
    for (const connection of this.connections) {
      connection.counted = connection.waitingBytes;
      this.waiting += connection.counted;
    }
  }

  private hold(kind: StreamKind, wire: Wire, address: string, port: number, incoming: boolean): Connection {
    const connection = new Connection(this, kind, wire, ++this.made, address, port, incoming);
    this.connections.add(connection);
    if (incoming) this.byOrigin.set(originKeyOf(connection), connection);
    else this.outgoing++;
    this.sweepLater();
    return connection;
  }

  private failing({ transport }: StreamKind, peer: Peer, reason: string): Flow {
    return new FailedFlow(transport, peer.address, peer.port, (flow) =>
      this.options.closed(flow, `${transport} ${reason}`),
    );
  }

  /** One timer serves all connections, so a limit may be passed by up to a quarter of its time. */
  private sweepLater(): void {
    if (this.sweeping !== undefined || this.ending) return;
    const { idleMs, partialMs, firstMessageMs, stalledMs, pingMs } = this.bounds;
    const everyMs = Math.max(1, Math.min(idleMs, partialMs, firstMessageMs, stalledMs, pingMs || idleMs) / 4);
    this.sweeping = this.clock.setTimeout(() => {
      this.sweeping = undefined;
      this.sweep();
      if (this.connections.size + this.arrivals.size > 0) this.sweepLater();
    }, everyMs);
  }

  private sweep(): void {
    const now = this.clock.monotonic();
    const { idleMs, partialMs, firstMessageMs, pingMs } = this.bounds;
    for (const connection of [...this.connections]) {
      const { usedAt, partialSince, since, incoming, heard, pinged } = connection;
      if (now - usedAt >= idleMs) connection.close("idle");
      else if (partialSince >= 0 && now - partialSince >= partialMs) connection.cut("message not finished");
      else if (incoming && !heard && now - since >= (pinged ? PINGING : 1) * firstMessageMs)
        connection.cut("no message came");
      else if (this.isStalled(connection, now)) connection.cut("peer reads nothing");
      else if (pingMs > 0 && connection.pings) {
        if (now - connection.heardAt >= SILENT_PINGS * pingMs) connection.cut("it does not answer pings");
        else if (now - Math.max(connection.heardAt, connection.pingedAt) >= pingMs) connection.ping(now);
      }
    }
    this.arrivals.sweep(now);
    this.countAgain();
  }

  private isStalled(connection: Connection, now: number): boolean {
    if (!connection.isWaiting) {
      if (this.stalled.size > 0) this.stalled.delete(connection);
      return false;
    }
    const { sentBytes } = connection;
    const before = this.stalled.get(connection);
    if (before?.sentBytes === sentBytes) return now - before.since >= this.bounds.stalledMs;
    this.stalled.set(connection, { sentBytes, since: now });
    return false;
  }

  /**
   * Ends the oldest connection that is not `proven`, if it came at `latest` or before. Returns whether there was one.
   */
  private makeRoom(latest: number): boolean {
    for (const connection of this.connections) {
      if (connection.since > latest) return false;
      if (connection.proven) continue;
      this.stats.gaveWay++;
      connection.cut("others need the room");
      return true;
    }
    return false;
  }
}
