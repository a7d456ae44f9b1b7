import type { Server, Socket } from "node:net";
import type { ParseError } from "../sip/parse.ts";
import type { Clock, TimerHandle } from "../support/clock.ts";
import { Connection, type ConnectionBounds, type ConnectionOwner } from "./connection.ts";
import { FailedFlow } from "./failed-flow.ts";
import type { Flow, TransportName } from "./types.ts";

/** Limits of all connections of one transport (DESIGN.md, decision 14). */
export interface ConnectionsBounds extends ConnectionBounds {
  readonly maxConnections: number;
  /** Connections that one address may have opened to us. */
  readonly maxConnectionsPerAddress: number;
  /** A connection on which nothing was said for so long is closed. */
  readonly idleMs: number;
  /** How long the rest of a message may be awaited. */
  readonly partialMs: number;
}

/** What makes one stream transport differ from another: TCP here, TLS by passing `tls.connect` and `tls.createServer`. */
export interface StreamKind {
  readonly transport: TransportName;
  readonly secure: boolean;
  readonly readyEvent: string;
  connect(address: string, port: number): Socket;
  /** A server that is not yet listening and hands over each connection that stands. */
  createServer(accepted: (socket: Socket) => void): Server;
}

export interface ConnectionsOptions {
  readonly kind: StreamKind;
  readonly clock: Clock;
  readonly bounds: ConnectionsBounds;
  received(bytes: Buffer, connection: Connection): void;
  unreadable(error: ParseError, connection: Connection, bytes: Buffer): void;
  readonly sending?: ((bytes: Buffer, connection: Connection) => void) | undefined;
  sentTooLate(bytes: Buffer, connection: Connection): void;
  closed(flow: Flow, reason: string): void;
  serverFailed(error: Error): void;
}

export interface ConnectionStats {
  accepted: number;
  opened: number;
  /** Not accepted, or not opened, because of the bounds. */
  refused: number;
  keepAlives: number;
}

/** All connections of one stream transport: accepts, opens, reuses (RFC 3261 §18.1.1), and ends those that are idle. */
export class Connections implements ConnectionOwner {
  readonly clock: Clock;
  readonly bounds: ConnectionsBounds;
  readonly stats: ConnectionStats = { accepted: 0, opened: 0, refused: 0, keepAlives: 0 };
  private readonly options: ConnectionsOptions;
  private readonly servers: Server[] = [];
  private readonly connections = new Set<Connection>();
  /** Those that we have opened. */
  private readonly byPeer = new Map<string, Connection>();
  private readonly incoming = new Map<string, number>();
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

  /** Listens on that address; resolves to the port, rejects where that is not possible. */
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

  /** The connection to that peer: the one that is there, or a new one. Beyond the bounds, a flow that fails in a moment. */
  to(address: string, port: number): Flow {
    const known = this.byPeer.get(`${address}|${port}`);
    if (known) return known;
    if (this.ending || this.connections.size >= this.bounds.maxConnections) {
      this.stats.refused++;
      return this.failing(address, port, "too many connections");
    }
    try {
      const socket = this.options.kind.connect(address, port);
      this.stats.opened++;
      return this.hold(socket, address, port, false);
    } catch (error) {
      // A port that is none.
      return this.failing(address, port, (error as NodeJS.ErrnoException).code ?? String(error));
    }
  }

  /** Stops listening and closes every connection. */
  async close(): Promise<void> {
    this.ending = true;
    if (this.sweeping !== undefined) this.clock.clearTimeout(this.sweeping);
    const closed = this.servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve())));
    for (const connection of [...this.connections]) connection.finish("relay stops");
    // Whoever does not close its side is not waited for.
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
    const key = `${remoteAddress}|${remotePort}`;
    if (this.byPeer.get(key) === connection) this.byPeer.delete(key);
    if (connection.incoming) {
      const left = (this.incoming.get(remoteAddress) ?? 1) - 1;
      if (left > 0) this.incoming.set(remoteAddress, left);
      else this.incoming.delete(remoteAddress);
    }
    this.options.closed(connection, `${this.transport} ${reason}`);
  }

  private accept(socket: Socket): void {
    const { remoteAddress, remotePort } = socket;
    const count = remoteAddress === undefined ? 0 : (this.incoming.get(remoteAddress) ?? 0);
    const full = this.connections.size >= this.bounds.maxConnections || count >= this.bounds.maxConnectionsPerAddress;
    if (remoteAddress === undefined || remotePort === undefined || full || this.ending) {
      this.stats.refused++;
      socket.on("error", () => undefined);
      socket.destroy();
      return;
    }
    this.stats.accepted++;
    this.incoming.set(remoteAddress, count + 1);
    this.hold(socket, remoteAddress, remotePort, true);
  }

  private hold(socket: Socket, address: string, port: number, incoming: boolean): Connection {
    const connection = new Connection(this, socket, ++this.made, address, port, incoming);
    this.connections.add(connection);
    // Whoever opened a connection to us is not who listens at that address, though its port may be the same: any program of that machine can have
    // it while nobody listens there. RFC 5923 §5 lets requests go by such a connection only where TLS says who it is.
    if (!incoming) this.byPeer.set(`${address}|${port}`, connection);
    this.sweepLater();
    return connection;
  }

  private failing(address: string, port: number, reason: string): Flow {
    return new FailedFlow(this.transport, address, port, (flow) =>
      this.options.closed(flow, `${this.transport} ${reason}`),
    );
  }

  /** One timer for all of them: a connection ends up to a quarter later than its time. */
  private sweepLater(): void {
    if (this.sweeping !== undefined || this.ending) return;
    const everyMs = Math.max(1, Math.min(this.bounds.idleMs, this.bounds.partialMs) / 4);
    this.sweeping = this.clock.setTimeout(() => {
      this.sweeping = undefined;
      this.sweep();
      if (this.connections.size > 0) this.sweepLater();
    }, everyMs);
  }

  private sweep(): void {
    const now = this.clock.monotonic();
    for (const connection of [...this.connections]) {
      const { usedAt, partialSince } = connection;
      if (now - usedAt >= this.bounds.idleMs) connection.close("idle");
      else if (partialSince >= 0 && now - partialSince >= this.bounds.partialMs)
        connection.close("message not finished");
    }
  }
}
