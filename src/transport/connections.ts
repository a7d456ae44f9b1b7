import { createServer, type Server, type Socket } from "node:net";
import type { ParseError } from "../sip/parse.ts";
import type { Clock, TimerHandle } from "../support/clock.ts";
import { sourceKey } from "../support/source.ts";
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
}

/** Whom a connection of ours goes to. `name`: what the peer's certificate must say, where there is one. */
export type Peer = Pick<Destination, "address" | "port" | "name">;

/** A listener's way from a TCP connection to one that carries messages. */
export interface Door {
  /** Shakes hands, and calls `ready`, or destroys the socket. */
  take(socket: Socket): void;
}

/** How the connections of one transport are made (`streams.ts`). */
export interface StreamKind extends ConnectionKind {
  connect(peer: Peer): Wire;
  /**
   * Called for each listener. Undefined: a TCP connection carries messages as it is. `failed`: the peer did not shake
   * hands as it must; the door closes the connection.
   */
  door?(ready: (wire: Wire, socket: Socket) => void, failed: (socket: Socket, why: string) => void): Door;
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
}

/** A peer that sends keep-alives and nothing else gets this many times `firstMessageMs`. */
const PINGING = 12;

/** When there is no room, a connection that is not `proven` gives way, but not before this age. */
const GIVES_WAY_MS = 2_000;

export interface ConnectionStats {
  accepted: number;
  opened: number;
  /** Connections not accepted, or not opened, because of the bounds. */
  refused: number;
  /** Ended because others needed the room: connections that are not `proven`, and those with the most bytes waiting. */
  gaveWay: number;
  keepAlives: number;
  /** Peers that came by TLS or WebSocket and did not shake hands as they must, or not in time. */
  handshakesFailed: number;
}

interface Shaking {
  readonly since: number;
  readonly address: string;
  readonly port: number;
}

/** RFC 5922 §7.3: a connection serves the name that was proved on it, and no other name at the same address. */
const peerKey = ({ transport }: StreamKind, { address, port, name }: Peer): string =>
  KINDS[transport].secure ? `${transport}|${address}|${port}|${name ?? address}` : `${transport}|${address}|${port}`;

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
    handshakesFailed: 0,
  };
  private readonly options: ConnectionsOptions;
  private readonly servers: Server[] = [];
  private readonly connections = new Set<Connection>();
  /** Peers that are still shaking hands, the oldest first, and since when. */
  private readonly shaking = new Map<Socket, Shaking>();
  /** The connections that we have opened, by `peerKey`. */
  private readonly byPeer = new Map<string, Connection>();
  /** How many connections each source has opened to us. */
  private readonly incoming = new Map<string, number>();
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
  }

  get sending(): ConnectionsOptions["sending"] {
    return this.options.sending;
  }

  /** How many connections are open or being opened. */
  get size(): number {
    return this.connections.size;
  }

  /** Listens on that address. Resolves to the port; rejects if it cannot listen there. */
  async listen(kind: StreamKind, address: string, port: number): Promise<number> {
    const door = kind.door?.(
      (wire, socket) => this.ready(kind, wire, socket),
      (socket, why) => this.refuse(kind, socket, why),
    );
    const server = createServer({ noDelay: true }, (socket) => this.accept(kind, door, socket));
    this.servers.push(server);
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      // Two sockets for two families, as with UDP.
      server.listen({ host: address, port, ipv6Only: true, backlog: 1024 }, () => {
        server.off("error", reject);
        resolve();
      });
    });
    server.on("error", (error) => this.options.serverFailed(error));
    const bound = server.address();
    return typeof bound === "object" && bound ? bound.port : port;
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

  private serves(connection: Connection, key: string): void {
    connection.peerKeys.push(key);
    this.byPeer.set(key, connection);
  }

  /** Stops listening and closes every connection. */
  async close(): Promise<void> {
    this.ending = true;
    if (this.sweeping !== undefined) this.clock.clearTimeout(this.sweeping);
    const closed = this.servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve())));
    for (const socket of [...this.shaking.keys()]) socket.destroy();
    for (const connection of [...this.connections]) connection.finish("relay stops");
    // A peer that does not close its side is not waited for.
    await new Promise<void>((resolve) => setImmediate(resolve));
    for (const connection of [...this.connections]) connection.close("relay stops");
    await Promise.all(closed);
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
    if (connection.incoming) this.left(connection.remoteAddress);
    else this.outgoing--;
    this.options.closed(connection, `${connection.transport} ${reason}`);
  }

  private left(address: string): void {
    const source = sourceKey(address);
    const left = (this.incoming.get(source) ?? 1) - 1;
    if (left > 0) this.incoming.set(source, left);
    else this.incoming.delete(source);
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

  private accept(kind: StreamKind, door: Door | undefined, socket: Socket): void {
    const { remoteAddress, remotePort } = socket;
    const source = sourceKey(remoteAddress ?? "");
    const count = this.incoming.get(source) ?? 0;
    const held = this.connections.size + this.shaking.size - this.outgoing;
    const why =
      count >= this.bounds.maxConnectionsPerAddress
        ? "its address has as many as it may"
        : held >= this.bounds.maxConnections && !this.makeRoom()
          ? "there are as many as there may be"
          : undefined;
    if (remoteAddress === undefined || remotePort === undefined || why !== undefined || this.ending) {
      this.stats.refused++;
      if (why !== undefined && remoteAddress !== undefined) this.options.refused?.(remoteAddress, kind.transport, why);
      socket.on("error", () => undefined);
      socket.destroy();
      return;
    }
    this.stats.accepted++;
    this.incoming.set(source, count + 1);
    if (!door) {
      this.hold(kind, socket, remoteAddress, remotePort, true);
      return;
    }
    this.shaking.set(socket, { since: this.clock.monotonic(), address: remoteAddress, port: remotePort });
    socket.on("error", () => undefined);
    socket.once("close", () => this.giveUp(socket));
    this.sweepLater();
    door.take(socket);
  }

  /** The peer has shaken hands. */
  private ready(kind: StreamKind, wire: Wire, socket: Socket): void {
    const peer = this.shaking.get(socket);
    if (!peer || !this.shaking.delete(socket)) wire.destroy();
    else this.hold(kind, wire, peer.address, peer.port, true);
  }

  private giveUp(socket: Socket): void {
    const peer = this.shaking.get(socket);
    if (!peer) return;
    this.shaking.delete(socket);
    this.left(peer.address);
    socket.destroy();
  }

  private refuse(kind: StreamKind, socket: Socket, why: string): void {
    const peer = this.shaking.get(socket);
    if (!peer) return;
    this.stats.handshakesFailed++;
    this.options.refused?.(peer.address, kind.transport, why);
  }

  private hold(kind: StreamKind, wire: Wire, address: string, port: number, incoming: boolean): Connection {
    const connection = new Connection(this, kind, wire, ++this.made, address, port, incoming);
    this.connections.add(connection);
    if (!incoming) this.outgoing++;
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
    const { idleMs, partialMs, firstMessageMs, stalledMs } = this.bounds;
    const everyMs = Math.max(1, Math.min(idleMs, partialMs, firstMessageMs, stalledMs) / 4);
    this.sweeping = this.clock.setTimeout(() => {
      this.sweeping = undefined;
      this.sweep();
      if (this.connections.size + this.shaking.size > 0) this.sweepLater();
    }, everyMs);
  }

  private sweep(): void {
    const now = this.clock.monotonic();
    const { idleMs, partialMs, firstMessageMs } = this.bounds;
    for (const connection of [...this.connections]) {
      const { usedAt, partialSince, since, incoming, heard, pinged } = connection;
      if (now - usedAt >= idleMs) connection.close("idle");
      else if (partialSince >= 0 && now - partialSince >= partialMs) connection.cut("message not finished");
      else if (incoming && !heard && now - since >= (pinged ? PINGING : 1) * firstMessageMs)
        connection.cut("no message came");
      else if (this.isStalled(connection, now)) connection.cut("peer reads nothing");
    }
    for (const [socket, { since }] of this.shaking) {
      if (now - since < firstMessageMs) break; // the oldest come first
      this.stats.handshakesFailed++;
      this.giveUp(socket);
    }
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

  /** Ends the oldest connection that is not `proven`, if it is old enough. Returns whether there was one. */
  private makeRoom(): boolean {
    const latest = this.clock.monotonic() - GIVES_WAY_MS;
    for (const [socket, { since }] of this.shaking) {
      if (since > latest) break;
      this.stats.gaveWay++;
      this.giveUp(socket);
      return true;
    }
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
