import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { Headers, type SipMessage, SipRequest, SipResponse } from "../../src/sip/message.ts";
import type { ParseError } from "../../src/sip/parse.ts";
import { serialize } from "../../src/sip/serialize.ts";
import { systemClock } from "../../src/support/clock.ts";
import { createTransportLayer, type TransportLayerOptions, type Transports } from "../../src/transport/layer.ts";
import type { Destination, Flow, TransportUser } from "../../src/transport/types.ts";

/** What happens later, in the order in which it does. */
export class Queue<T> {
  private readonly items: T[] = [];
  private readonly waiting: ((item: T) => void)[] = [];

  push(item: T): void {
    const next = this.waiting.shift();
    if (next) next(item);
    else this.items.push(item);
  }

  /** The next one, which may be there already. The test's own time limit ends the wait. */
  next(): Promise<T> {
    const item = this.items.shift();
    return item !== undefined ? Promise.resolve(item) : new Promise((resolve) => this.waiting.push(resolve));
  }

  get size(): number {
    return this.items.length;
  }
}

/** Writes down what the transport layer tells. */
export class Recorder implements TransportUser {
  readonly messages = new Queue<{ message: SipMessage; flow: Flow }>();
  readonly errors = new Queue<{ error: ParseError; flow: Flow }>();
  readonly failures = new Queue<{ flow: Flow; reason: string }>();

  received(message: SipMessage, flow: Flow): void {
    this.messages.push({ message, flow });
  }

  malformed(error: ParseError, flow: Flow): void {
    this.errors.push({ error, flow });
  }

  flowFailed(flow: Flow, reason: string): void {
    this.failures.push({ flow, reason });
  }
}

const closers: (() => Promise<unknown> | unknown)[] = [];

/** Call it in `afterEach`. */
export async function closeAll(): Promise<void> {
  for (const close of closers.splice(0).reverse()) await close();
}

/** A started layer on loopback. */
export async function start(options: Partial<TransportLayerOptions> = {}) {
  const user = new Recorder();
  const layer = createTransportLayer({
    listen: [
      { transport: "udp", address: "127.0.0.1", port: 0 },
      { transport: "tcp", address: "127.0.0.1", port: 0 },
    ],
    user,
    clock: systemClock,
    ...options,
  });
  await layer.start();
  closers.push(() => layer.close());
  return { layer, user, udpPort: portOf(layer, "udp"), tcpPort: portOf(layer, "tcp") };
}

function portOf(layer: Transports, transport: string): number {
  return layer.listening.find((listener) => listener.transport === transport)?.port ?? 0;
}

export interface UdpPeer {
  readonly port: number;
  readonly received: Queue<string>;
  send(text: string | Buffer, port: number): void;
}

export async function udpPeer(address = "127.0.0.1", port = 0): Promise<UdpPeer> {
  const socket: UdpSocket = createSocket(address.includes(":") ? "udp6" : "udp4");
  const received = new Queue<string>();
  socket.on("message", (bytes) => received.push(bytes.toString("latin1")));
  socket.bind(port, address);
  await once(socket, "listening");
  closers.push(() => new Promise<void>((resolve) => socket.close(() => resolve())));
  return { port: socket.address().port, received, send: (text, to) => socket.send(text, to, address) };
}

export interface TcpPeer {
  readonly socket: Socket;
  readonly received: Queue<string>;
  readonly closed: Promise<unknown>;
}

export function peerOf(socket: Socket): TcpPeer {
  const received = new Queue<string>();
  socket.on("data", (bytes) => received.push(bytes.toString("latin1")));
  socket.on("error", () => undefined);
  const closed = new Promise((resolve) => socket.once("close", resolve));
  closers.push(() => socket.destroy());
  return { socket, received, closed };
}

export async function tcpPeer(port: number, address = "127.0.0.1", localPort?: number): Promise<TcpPeer> {
  const peer = peerOf(connect({ port, host: address, ...(localPort !== undefined && { localPort }) }));
  await once(peer.socket, "connect");
  return peer;
}

/** A server that writes down its connections. */
export async function tcpServer(
  port = 0,
  host = "127.0.0.1",
): Promise<{ port: number; connections: Queue<TcpPeer>; close(): Promise<unknown> }> {
  const connections = new Queue<TcpPeer>();
  const server = createServer((socket) => connections.push(peerOf(socket)));
  server.listen(port, host);
  await once(server, "listening");
  const close = () => new Promise((resolve) => server.close(resolve));
  closers.push(close);
  const address = server.address();
  return { port: typeof address === "object" && address ? address.port : 0, connections, close };
}

export const to = (transport: Destination["transport"], port: number, address = "127.0.0.1"): Destination => ({
  transport,
  address,
  port,
});

/** A request as it is handed to the transport: without Via. */
export function request(method = "OPTIONS", bodyBytes = 0): SipRequest {
  const headers = new Headers()
    .add("Max-Forwards", "70")
    .add("From", "<sip:a@example.com>;tag=1")
    .add("To", "<sip:b@example.com>")
    .add("Call-ID", "c1")
    .add("CSeq", `1 ${method}`);
  return new SipRequest(method, "sip:b@example.com", headers, Buffer.alloc(bodyBytes, "x"));
}

/** The text of a request as a peer sends it. */
export function text(via: string, { body = "", method = "OPTIONS" } = {}): string {
  const lines = [
    `${method} sip:b@example.com SIP/2.0`,
    `Via: ${via}`,
    "Max-Forwards: 70",
    "From: <sip:a@example.com>;tag=1",
    "To: <sip:b@example.com>",
    "Call-ID: c1",
    `CSeq: 1 ${method}`,
    `Content-Length: ${body.length}`,
  ];
  return `${lines.join("\r\n")}\r\n\r\n${body}`;
}

/** A 200 to what was received. */
export function ok(message: SipMessage): Buffer {
  const headers = new Headers();
  for (const key of ["via", "from", "to", "call-id", "cseq"])
    for (const value of message.headers.all(key)) headers.add(key, value);
  return serialize(new SipResponse(200, "OK", headers));
}

export const viaOf = (message: string): string => /^Via: (.*)\r$/im.exec(message)?.[1] ?? "";
