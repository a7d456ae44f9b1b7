import type { Server, Socket } from "node:net";
import type { ParseError } from "../sip/parse.ts";
import type { Clock, TimerHandle } from "../support/clock.ts";
import { sourceKey } from "../support/source.ts";
import { Connection, type ConnectionBounds, type ConnectionOwner } from "./connection.ts";
import { FailedFlow } from "./failed-flow.ts";
import type { Flow, TransportName } from "./types.ts";

/** Limits of all connections of one transport (decision 14). */
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

/**
 * What makes one stream transport differ from another: TCP here, TLS by passing `tls.connect` and `tls.createServer`.
 */
export interface StreamKind {
  readonly transport: TransportName;
  readonly secure: boolean;
  readonly readyEvent: string;
  connect(address: string, port: number): Socket;
  /** A server that does not listen yet. It hands over each connection when it is ready. */
  createServer(accepted: (socket: Socket) => void): Server;
}

export interface ConnectionsOptions {
  readonly kind: StreamKind;
  readonly clock: Clock;
  readonly bounds: ConnectionsBounds;
  received(bytes: Buffer, connection: Connection): void;
  unreadable(error: ParseError, connection: Connection, bytes: Buffer): void;
  readonly sending?: ((bytes: Buffer, connection: Connection) => boolean) | undefined;
  sentTooLate(bytes: Buffer, connection: Connection): void;
  closed(flow: Flow, reason: string): void;
  serverFailed(error: Error): void;
  /** A connection was not accepted. */
  refused?(address: string, why: string): void;
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
}

/** All connections of one stream transport: accepts, opens, reuses (RFC 3261 §18.1.1), and ends those that are idle. */
export class Connections implements ConnectionOwner {
  readonly clock: Clock;
  readonly bounds: ConnectionsBounds;
  readonly stats: ConnectionStats = { accepted: 0, opened: 0, refused: 0, gaveWay: 0, keepAlives: 0 };
  private readonly options: ConnectionsOptions;
  private readonly servers: Server[] = [];
  private readonly connections = new Set<Connection>();
  /** The connections that we have opened, by `address|port`. */
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

  get transport(): TransportName {
    return this.options.kind.transport;
  }

  get secure(): boolean {
    return this.options.kind.secure;
  }

  get sending(): ConnectionsOptions["sending"] {
    return this.options.sending;
  }

  get readyEvent(): string {
    return this.options.kind.readyEvent;
  }

  /** How many connections are open or being opened. */
  get size(): number {
    return this.connections.size;
  }

  /** Listens on that address. Resolves to the port; rejects if it cannot listen there. */
  async listen(address: string, port: number): Promise<number> {
    const server = this.options.kind.createServer((socket) => this.accept(socket));
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
  to(address: string, port: number): Flow {
    const known = this.byPeer.get(`${address}|${port}`);
    if (known) return known;
    if (this.ending || this.outgoing >= this.bounds.maxOutgoing) {
      this.stats.refused++;
      return this.failing(address, port, "too many connections");
    }
    try {
      const socket = this.options.kind.connect(address, port);
      this.stats.opened++;
      return this.hold(socket, address, port, false);
    } catch (error) {
      // The port number is not valid.
      return this.failing(address, port, (error as NodeJS.ErrnoException).code ?? String(error));
    }
  }

  /** Stops listening and closes every connection. */
  async close(): Promise<void> {
    this.ending = true;
    if (this.sweeping !== undefined) this.clock.clearTimeout(this.sweeping);
    const closed = this.servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve())));
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
    const { remoteAddress, remotePort } = connection;
    this.connections.delete(connection);
    this.stalled.delete(connection);
    this.waiting -= connection.counted;
    connection.counted = 0;
    const key = `${remoteAddress}|${remotePort}`;
    if (this.byPeer.get(key) === connection) this.byPeer.delete(key);
    if (connection.incoming) {
      const source = sourceKey(remoteAddress);
      const left = (this.incoming.get(source) ?? 1) - 1;
      if (left > 0) this.incoming.set(source, left);
      else this.incoming.delete(source);
    } else this.outgoing--;
    this.options.closed(connection, `${this.transport} ${reason}`);
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

  private accept(socket: Socket): void {
    const { remoteAddress, remotePort } = socket;
    const source = sourceKey(remoteAddress ?? "");
    const count = this.incoming.get(source) ?? 0;
    const why =
      count >= this.bounds.maxConnectionsPerAddress
        ? "its address has as many as it may"
        : this.connections.size - this.outgoing >= this.bounds.maxConnections && !this.makeRoom()
          ? "there are as many as there may be"
          : undefined;
    if (remoteAddress === undefined || remotePort === undefined || why !== undefined || this.ending) {
      this.stats.refused++;
      if (why !== undefined && remoteAddress !== undefined) this.options.refused?.(remoteAddress, why);
      socket.on("error", () => undefined);
      socket.destroy();
      return;
    }
    this.stats.accepted++;
    this.incoming.set(source, (this.incoming.get(source) ?? 0) + 1);
    this.hold(socket, remoteAddress, remotePort, true);
  }

  private hold(socket: Socket, address: string, port: number, incoming: boolean): Connection {
    const connection = new Connection(this, socket, ++this.made, address, port, incoming);
    this.connections.add(connection);
    if (!incoming) this.outgoing++;
    // Only a connection that we opened is used for requests to its address. The peer of an incoming one need not be the
    // server of that address and port: any program of that machine can use the port while nobody listens there. RFC
    // 5923 §5 lets requests go by such a connection only if TLS proves who the peer is.
    if (!incoming) this.byPeer.set(`${address}|${port}`, connection);
    this.sweepLater();
    return connection;
  }

  private failing(address: string, port: number, reason: string): Flow {
    return new FailedFlow(this.transport, address, port, (flow) =>
      this.options.closed(flow, `${this.transport} ${reason}`),
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
      if (this.connections.size > 0) this.sweepLater();
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
