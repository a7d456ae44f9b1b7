import { createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { Grammar, type Transport } from "sip.js/lib/core/index.js";
import { canonicalHost } from "../support/address.ts";
import { dial, TcpConnection, type TlsTrust } from "./tcp-connection.ts";
import { unbracketed } from "./user-agent.ts";

const MAX_CONNECTIONS = 1024;
const MAX_CALL_IDS = 65_536;

export interface ServerTransportOptions {
  readonly host: string;
  readonly port: number;
  /** Returns false for an address from which no connection is taken. */
  readonly admits?: (remoteAddress: string) => boolean;
  readonly tls?: ServerTls | undefined;
}

/** What a server by TLS shows, and whom it believes where it has to connect itself; PEM. */
export interface ServerTls extends TlsTrust {
  /** The certificate, with the chain behind it. */
  readonly cert: string | Buffer;
  /** Its private key. */
  readonly key: string | Buffer;
}

/**
 * SIP.js' transport for a server: takes connections by TCP, or by TLS alone, and serves one user agent on all of them.
 * A message goes out on the connection on which the last request with its Call-ID came. If that connection is gone, a
 * request dials its target (RFC 3261 §18.1.1).
 */
export class TcpServerTransport implements Transport {
  readonly protocol: "TCP" | "TLS";
  /** Must be set before the first connection comes. */
  onMessage: (message: string) => void = () => {};
  /** Is told which Call-IDs had the connection that was closed. */
  onClosed: (callIds: ReadonlySet<string>) => void = () => {};
  private readonly server: Server;
  private readonly tls: ServerTls | undefined;
  private readonly connections = new Set<TcpConnection>();
  /** In order of last use, the oldest first. */
  private readonly byCallId = new Map<string, TcpConnection>();
  private readonly dialling = new Map<string, Promise<TcpConnection>>();
  private readonly user = {
    received: (message: string, connection: TcpConnection) => this.received(message, connection),
    closed: (connection: TcpConnection) => this.closed(connection),
  };

  private constructor(options: ServerTransportOptions) {
    const { tls } = options;
    this.tls = tls;
    this.protocol = tls ? "TLS" : "TCP";
    const accept = (socket: Socket) => this.accept(socket, options.admits);
    this.server = tls
      ? createTlsServer({ cert: tls.cert, key: tls.key, minVersion: "TLSv1.2" }, accept)
      : createServer(accept);
    this.server.on("tlsClientError", (_error, socket: Socket) => void socket.destroy());
    this.server.maxConnections = MAX_CONNECTIONS;
  }

  /** Listens; rejects where the address is taken. */
  static async listen(options: ServerTransportOptions): Promise<TcpServerTransport> {
    const transport = new TcpServerTransport(options);
    await new Promise<void>((resolve, reject) => {
      transport.server.once("error", reject);
      transport.server.listen(options.port, options.host, () => {
        transport.server.off("error", reject);
        transport.server.on("error", () => {}); // a connection that could not be accepted is no reason to stop
        resolve();
      });
    });
    return transport;
  }

  get port(): number {
    const address = this.server.address();
    return typeof address === "object" && address ? address.port : 0;
  }

  async send(message: string): Promise<void> {
    const known = this.byCallId.get(callIdOf(message) ?? "");
    if (known?.open) return known.send(message);
    if (message.startsWith("SIP/2.0 ")) throw new Error("the connection on which the request came is closed");
    const connection = await this.dialTarget(message);
    return connection.send(message);
  }

  /** Stops listening and closes what is open, after what was written has gone out. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    for (const connection of this.connections) connection.finish("closed by this server");
    await closed;
  }

  /** Whether a message with this Call-ID would go out on a connection that is open. */
  reaches(callId: string): boolean {
    return this.byCallId.get(callId)?.open ?? false;
  }

  private closed(connection: TcpConnection): void {
    this.connections.delete(connection);
    const callIds = new Set<string>();
    for (const [callId, of] of this.byCallId) if (of === connection) callIds.add(callId);
    this.onClosed(callIds);
  }

  private accept(socket: Socket, admits: ServerTransportOptions["admits"]): void {
    if (admits && !admits(canonicalHost(socket.remoteAddress ?? ""))) return void socket.destroy();
    this.connections.add(new TcpConnection(socket, this.user, true));
  }

  private received(message: string, connection: TcpConnection): void {
    const callId = callIdOf(message);
    if (callId !== undefined && !message.startsWith("SIP/2.0 ")) {
      this.remember(callId, connection);
    }
    this.onMessage(message);
  }

  private remember(callId: string, connection: TcpConnection): void {
    this.byCallId.delete(callId);
    this.byCallId.set(callId, connection);
    if (this.byCallId.size > MAX_CALL_IDS) this.byCallId.delete(this.byCallId.keys().next().value!);
  }

  /** Sends what has this Call-ID over the connection of the `other` one, as long as that connection is open. */
  follow(callId: string, other: string): void {
    const connection = this.byCallId.get(other);
    if (connection?.open) this.remember(callId, connection);
  }

  private dialTarget(request: string): Promise<TcpConnection> {
    const target = targetOf(request, this.tls ? 5061 : 5060);
    if (!target) return Promise.reject(new Error("the request has no target that can be dialled"));
    const key = `${target.host}:${target.port}`;
    let dialled = this.dialling.get(key);
    if (!dialled) {
      dialled = dial(target.host, target.port, this.user, this.tls).then((connection) => {
        this.connections.add(connection);
        return connection;
      });
      this.dialling.set(key, dialled);
      const done = () => void this.dialling.delete(key);
      dialled.then(done, done);
    }
    return dialled;
  }
}

const CALL_ID = /\r\n(?:call-id|i)[ \t]*:[ \t]*([^\r\n]+)/i;

function callIdOf(message: string): string | undefined {
  return CALL_ID.exec(message)?.[1]?.trim();
}

/** Host and port of the topmost Route, else of the Request-URI (RFC 3261 §8.1.2). */
function targetOf(request: string, defaultPort: number): { host: string; port: number } | undefined {
  const text =
    /\r\nroute:[^<]*<([^>]+)>/i.exec(request)?.[1] ??
    request.slice(request.indexOf(" ") + 1, request.indexOf(" SIP/2.0\r\n"));
  const uri = Grammar.URIParse(text);
  return uri ? { host: unbracketed(uri.host), port: uri.port ?? defaultPort } : undefined;
}
