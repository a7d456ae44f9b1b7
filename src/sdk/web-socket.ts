import type { Connection, ConnectionUser, RelayAddress } from "./connection.ts";

/** What is used of a browser's WebSocket. */
interface Socket {
  readonly readyState: number;
  readonly bufferedAmount: number;
  onopen: (() => void) | null;
  onclose: ((event: { readonly code: number; readonly reason: string }) => void) | null;
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  binaryType: string;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

declare const WebSocket: new (url: string, protocol: string) => Socket;

const OPEN = 1;
const CONNECT_TIMEOUT_MS = 10_000;
const MAX_UNSENT_BYTES = 4 * 1024 * 1024;
const PING = "\r\n\r\n";

/** SIP over WebSocket (RFC 7118), with the platform's own WebSocket. */
class WebSocketConnection implements Connection {
  readonly localAddress = undefined;
  readonly localPort = undefined;
  private readonly socket: Socket;
  private readonly url: string;
  private reason: string | undefined;

  /** `socket` is open. */
  constructor(socket: Socket, url: string, user: ConnectionUser) {
    this.socket = socket;
    this.url = url;
    socket.onmessage = ({ data }) => {
      const message = typeof data === "string" ? data : new TextDecoder().decode(data as ArrayBuffer);
      if (message.trim() !== "") user.received(message, this); // RFC 7118 §6: a keep-alive is a message of its own
    };
    socket.onclose = ({ code, reason }) =>
      user.closed(this, this.reason ?? (reason === "" ? `closed by the relay, with code ${code}` : reason));
  }

  get open(): boolean {
    return this.socket.readyState === OPEN;
  }

  send(message: string): Promise<void> {
    if (!this.open) return Promise.reject(new Error(`the connection to ${this.url} is closed`));
    if (this.socket.bufferedAmount > MAX_UNSENT_BYTES) {
      this.finish("the relay has stopped reading");
      return Promise.reject(new Error(this.reason));
    }
    this.socket.send(message);
    return Promise.resolve();
  }

  ping(): void {
    if (this.open) this.socket.send(PING);
  }

  finish(reason: string): void {
    this.reason = reason;
    this.socket.close(1000);
  }
}

/** The relay at that URL. Throws a `TypeError` for anything but `ws:` and `wss:`. */
export function webSocketAddress(text: string): RelayAddress & { readonly url: URL } {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !/^wss?:$/.test(url.protocol) || url.username !== "" || url.hash !== "")
    throw new TypeError(`relay: ${text} is not a URL such as wss://portal.example`);
  return {
    url,
    connect: (user) =>
      new Promise((resolve, reject) => {
        const socket = new WebSocket(url.href, "sip");
        socket.binaryType = "arraybuffer";
        const fail = (why: string) => reject(new Error(`cannot connect to ${url.href}: ${why}`));
        const timer = setTimeout(() => {
          fail(`no answer in ${CONNECT_TIMEOUT_MS / 1000} s`);
          socket.close();
        }, CONNECT_TIMEOUT_MS);
        socket.onopen = () => {
          clearTimeout(timer);
          resolve(new WebSocketConnection(socket, url.href, user));
        };
        // A browser does not tell a page why: its console does.
        socket.onclose = ({ reason }) => {
          clearTimeout(timer);
          fail(reason === "" ? "refused, not reached, or its certificate is not trusted" : reason);
        };
      }),
  };
}
