import { isUtf8 } from "node:buffer";
import { EventEmitter } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import { connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { WebSocket, WebSocketServer } from "ws";
import type { Frame } from "../sip/frame.ts";
import { formatHost } from "../support/address.ts";
import type { Door, DoorUser } from "./arrivals.ts";
import type { Certificates } from "./certificates.ts";
import type { Framer, Wire } from "./connection.ts";
import type { Peer, StreamKind } from "./connections.ts";
import { connectTls, peerNamesOn, tlsDoor } from "./tls.ts";

/** What WebSocket needs (RFC 7118). */
export interface WebSocketOptions {
  readonly certificates: Certificates;
  readonly maxMessageBytes: number;
  /** Which pages may connect, by their `Origin` (RFC 6455 §10.2); undefined: all. */
  readonly origins?: readonly string[] | undefined;
}

const SUBPROTOCOL = "sip";
/** RFC 6455 §5.2: what stands around a control frame's payload, and the key of what a client sends. */
const HEAD_BYTES = 2;
const MASK_BYTES = 4;
/** Less than this of an unfinished message is not counted: it may be what stands around fragments. */
const UNCOUNTED_BYTES = 1_024;
/** The answer to a ping is left out where so much waits already. */
const PONG_QUEUE_BYTES = 65_536;
const MAX_HANDSHAKE_BYTES = 8_192;

/** WebSocket (RFC 7118). */
export const ws = (options: WebSocketOptions): StreamKind => ({
  transport: "ws",
  readyEvent: "open",
  framed: true,
  framer: (wire) => wire as WebSocketWire,
  connect: (peer) => connectWs(options, "ws", peer, connect({ host: peer.address, port: peer.port, noDelay: true })),
  ping,
  door: (user) => webSocketDoor(options, user),
});

/** WebSocket over TLS. */
export const wss = (options: WebSocketOptions): StreamKind => ({
  transport: "wss",
  readyEvent: "open",
  framed: true,
  framer: (wire) => wire as WebSocketWire,
  peerNames: (wire) => peerNamesOn((wire as WebSocketWire).socket),
  connect: (peer) => connectWs(options, "wss", peer, connectTls(options.certificates, peer)),
  ping,
  door: ({ ready, failed, forwarded }) => {
    const sockets = new WeakMap<Socket, Socket>();
    const below = (socket: Socket) => sockets.get(socket) ?? socket;
    const inner = webSocketDoor(options, {
      ready: (wire, socket) => ready(wire, below(socket)),
      failed: (socket, why) => failed(below(socket), why),
      forwarded: (socket, written) => forwarded(below(socket), written),
    });
    return tlsDoor(
      options.certificates,
      (socket, tcp) => {
        sockets.set(socket, tcp);
        inner.take(socket);
      },
      failed,
    );
  },
});

function connectWs(
  { maxMessageBytes }: WebSocketOptions,
  scheme: string,
  { address, port, name = address }: Peer,
  socket: Socket,
): WebSocketWire {
  const webSocket = new WebSocket(`${scheme}://${formatHost(name)}:${port}/`, SUBPROTOCOL, {
    createConnection: () => socket,
    perMessageDeflate: false,
    maxPayload: maxMessageBytes,
    autoPong: false,
    followRedirects: false,
  });
  return new WebSocketWire(webSocket, socket, false);
}

/** Upgrades those who come to one listener. Nothing else of HTTP is served. */
function webSocketDoor({ maxMessageBytes, origins }: WebSocketOptions, { ready, failed, forwarded }: DoorUser): Door {
  const upgrades = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: maxMessageBytes,
    autoPong: false,
    handleProtocols: () => SUBPROTOCOL, // RFC 7118 §4.1; `whyNot` has looked whether the client offers it
  });
  const refuse = (socket: Duplex, status: string, why: string) => {
    failed(socket as Socket, why);
    socket.on("error", () => undefined);
    if (socket.writable) socket.write(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
    (socket as Socket).destroySoon();
  };
  upgrades.on("wsClientError", (error, socket) => refuse(socket, "400 Bad Request", error.message));
  const server = createServer({ maxHeaderSize: MAX_HANDSHAKE_BYTES }, ({ socket }, response) => {
    response.writeHead(426, { Upgrade: "websocket", Connection: "close" }).end();
    failed(socket, "HTTP without an upgrade to WebSocket");
  });
  server.on("clientError", (error: Error, socket) => refuse(socket, "400 Bad Request", error.message));
  server.on("upgrade", (request, socket, head) => {
    const no = whyNot(request, origins) ?? whyNotFor(request, socket as Socket, forwarded);
    if (no) refuse(socket, no.status, no.why);
    else
      upgrades.handleUpgrade(request, socket, head, (webSocket) =>
        ready(new WebSocketWire(webSocket, socket as Socket, true), socket as Socket),
      );
  });
  return { take: (socket) => void server.emit("connection", socket) };
}

function whyNot(
  { headers }: IncomingMessage,
  origins: readonly string[] | undefined,
): { readonly status: string; readonly why: string } | undefined {
  const offered = headers["sec-websocket-protocol"]?.split(",").map((name) => name.trim()) ?? [];
  if (!offered.includes(SUBPROTOCOL))
    return { status: "400 Bad Request", why: "the WebSocket is not for SIP (Sec-WebSocket-Protocol)" };
  const { origin } = headers;
  if (origins && origin !== undefined && !origins.includes(origin.toLowerCase()))
    return { status: "403 Forbidden", why: `its origin ${origin.slice(0, 100)} may not connect` };
  return undefined;
}

/** Whether whom a proxy asks for may come. */
function whyNotFor({ headers }: IncomingMessage, socket: Socket, forwarded: DoorUser["forwarded"]) {
  const written = headers["x-forwarded-for"];
  const why = written === undefined ? undefined : forwarded(socket, String(written));
  return why === undefined ? undefined : { status: "403 Forbidden", why };
}

const ping = (wire: Wire): void => (wire as WebSocketWire).ping();

/**
 * A WebSocket as a `Connection` sees it: each message is one chunk and one frame, text or binary (RFC 7118 §5). Sent as
 * text is what can be (§4.2).
 */
class WebSocketWire extends EventEmitter implements Wire, Framer {
  readonly socket: Socket;
  /** Roughly what has come of a message whose rest is missing. */
  pendingBytes = 0;
  private readonly webSocket: WebSocket;
  private readonly maskBytes: number;
  private unsent: Buffer[] | undefined;

  /** `incoming`: the peer has opened it. */
  constructor(webSocket: WebSocket, socket: Socket, incoming: boolean) {
    super();
    this.webSocket = webSocket;
    this.socket = socket;
    this.maskBytes = incoming ? MASK_BYTES : 0; // RFC 6455 §5.1: what a client sends is masked
    const count = () =>
      socket.prependListener("data", (chunk: Buffer) => {
        this.pendingBytes += chunk.length;
      });
    if (incoming) count();
    else this.unsent = [];
    this.on("error", () => undefined);
    webSocket.on("message", (data: Buffer) => this.message(data));
    webSocket.on("ping", (data: Buffer) => {
      this.control(data);
      if (socket.writableLength < PONG_QUEUE_BYTES) webSocket.pong(data, !incoming);
    });
    webSocket.on("pong", (data: Buffer) => this.control(data));
    webSocket.on("error", (error: NodeJS.ErrnoException) => this.emit("error", error));
    webSocket.on("close", () => this.emit("close"));
    webSocket.on("open", () => {
      const { unsent = [] } = this;
      this.unsent = undefined;
      count();
      this.emit("open");
      for (const bytes of unsent) this.write(bytes);
    });
  }

  get localAddress(): string | undefined {
    return this.socket.localAddress;
  }

  get localPort(): number | undefined {
    return this.socket.localPort;
  }

  get writable(): boolean {
    return this.webSocket.readyState <= WebSocket.OPEN;
  }

  get writableLength(): number {
    let waiting = this.socket.writableLength;
    for (const { length } of this.unsent ?? []) waiting += length;
    return waiting;
  }

  get bytesWritten(): number {
    return this.socket.bytesWritten;
  }

  setNoDelay(on: boolean): void {
    this.socket.setNoDelay(on);
  }

  cork(): void {
    this.socket.cork();
  }

  uncork(): void {
    this.socket.uncork();
  }

  write(bytes: Buffer): void {
    if (this.unsent) this.unsent.push(bytes);
    else if (this.webSocket.readyState === WebSocket.OPEN) this.webSocket.send(bytes, { binary: !isUtf8(bytes) });
  }

  pause(): void {
    this.webSocket.pause();
  }

  resume(): void {
    this.webSocket.resume();
  }

  ping(): void {
    if (this.webSocket.readyState === WebSocket.OPEN && this.socket.writableLength < PONG_QUEUE_BYTES)
      this.webSocket.ping();
  }

  destroy(): void {
    this.webSocket.terminate();
  }

  destroySoon(): void {
    if (this.webSocket.readyState === WebSocket.OPEN) this.webSocket.close(1000);
    this.socket.destroySoon();
  }

  push(chunk: Buffer): Frame[] {
    if (!isCrlf(chunk)) return [{ kind: "message", bytes: chunk }];
    return chunk.length === 4 ? [PING] : NOTHING; // a single CRLF is the answer to a keep-alive
  }

  private message(data: Buffer): void {
    const { length } = data;
    const head = length < 126 ? HEAD_BYTES : length < 65_536 ? HEAD_BYTES + 2 : HEAD_BYTES + 8;
    const left = this.pendingBytes - length - head - this.maskBytes;
    this.pendingBytes = left < UNCOUNTED_BYTES ? 0 : left;
    if (length > 0) this.emit("data", data);
  }

  private control(data: Buffer): void {
    this.pendingBytes = Math.max(0, this.pendingBytes - data.length - HEAD_BYTES - this.maskBytes);
    this.emit("data", EMPTY);
  }
}

const NOTHING: Frame[] = [];
const EMPTY = Buffer.alloc(0);
const PING: Frame = { kind: "ping" };

/** RFC 7118 §6: the keep-alive of RFC 5626 §3.5.1 comes as a message of its own. */
const isCrlf = (chunk: Buffer): boolean => chunk.length <= 4 && chunk.every((byte) => byte === 13 || byte === 10);
