import { connect, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { Connection, ConnectionUser } from "./connection.ts";
import { MessageFramer } from "./framing.ts";

const MAX_UNSENT_BYTES = 4 * 1024 * 1024;
const CONNECT_TIMEOUT_MS = 10_000;

export type TcpConnectionUser = ConnectionUser<TcpConnection>;

/** One TCP connection that carries SIP messages in both directions. */
export class TcpConnection implements Connection {
  readonly localAddress: string;
  readonly localPort: number;
  readonly remoteAddress: string;
  readonly remotePort: number;
  private readonly socket: Socket;
  private readonly user: TcpConnectionUser;
  private readonly accepted: boolean;
  private readonly framer = new MessageFramer();
  private reason = "closed by the peer";

  /**
   * `socket` is connected. `accepted`: the other side has opened the connection, so it sends the pings and we answer
   * them.
   */
  constructor(socket: Socket, user: TcpConnectionUser, accepted: boolean) {
    this.accepted = accepted;
    this.socket = socket;
    this.user = user;
    this.localAddress = socket.localAddress ?? "";
    this.localPort = socket.localPort ?? 0;
    this.remoteAddress = socket.remoteAddress ?? "";
    this.remotePort = socket.remotePort ?? 0;
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 30_000);
    socket.on("data", (chunk) => this.read(chunk));
    socket.on("error", (error) => {
      this.reason = error.message;
    });
    socket.on("close", () => this.user.closed(this, this.reason));
  }

  get open(): boolean {
    return this.socket.writable && !this.socket.destroyed;
  }

  /** Sends one message; rejects where the connection is gone or the peer has stopped reading. */
  send(message: string): Promise<void> {
    if (!this.open)
      return Promise.reject(new Error(`the connection to ${this.remoteAddress}:${this.remotePort} is closed`));
    if (this.socket.writableLength > MAX_UNSENT_BYTES) {
      this.close("the peer has stopped reading");
      return Promise.reject(new Error(this.reason));
    }
    return new Promise((resolve, reject) => {
      this.socket.write(message, "utf8", (error) => (error ? reject(error) : resolve()));
    });
  }

  /**
   * Sends a keep-alive (RFC 5626 §4.4.1), so that no NAT or idle timer on the way closes the connection during a
   * session.
   */
  ping(): void {
    if (this.open) this.socket.write("\r\n\r\n");
  }

  close(reason: string): void {
    this.reason = reason;
    this.socket.destroy();
  }

  /** Lets what is written reach the peer, then closes. */
  finish(reason: string): void {
    this.reason = reason;
    this.socket.end();
    this.socket.destroySoon();
  }

  private read(chunk: Buffer): void {
    const frames = this.framer.push(chunk);
    if (!frames.ok) {
      this.close(`the peer sent ${frames.error}`);
      return;
    }
    const pings = this.accepted ? frames.value.pings : 0; // not on our own connection: two pongs look like a ping
    for (let i = 0; i < pings && this.open; i++) this.socket.write("\r\n"); // RFC 5626 §4.4.1: pong
    for (const message of frames.value.messages) this.user.received(message, this);
  }
}

/** For connections by TLS. */
export interface TlsTrust {
  /** The authorities whose certificates are believed, PEM. Default: those that Node brings. */
  readonly ca?: string | Buffer | readonly (string | Buffer)[];
}

/**
 * Connects; by TLS if `tls` is given, and the other side's certificate must then be for `host`. The error says where it
 * could not connect to, and why.
 */
export function dial(host: string, port: number, user: TcpConnectionUser, tls?: TlsTrust): Promise<TcpConnection> {
  return new Promise((resolve, reject) => {
    const to = { host, port, timeout: CONNECT_TIMEOUT_MS };
    const socket = tls
      ? connectTls({
          ...to,
          minVersion: "TLSv1.2",
          ...(tls.ca !== undefined && { ca: tls.ca as string }),
          ...(isIP(host) === 0 && { servername: host }), // RFC 6066 §3: no address stands there
        })
      : connect(to);
    const failed = (why: string) => {
      socket.destroy();
      reject(new Error(`cannot connect to ${host}:${port}: ${why}`));
    };
    const onError = (error: Error) => failed(error.message);
    const onTimeout = () => failed(`no answer in ${CONNECT_TIMEOUT_MS / 1000} s`);
    socket.once("error", onError).once("timeout", onTimeout);
    socket.once(tls ? "secureConnect" : "connect", () => {
      socket.off("error", onError).off("timeout", onTimeout).setTimeout(0);
      resolve(new TcpConnection(socket, user, false));
    });
  });
}
