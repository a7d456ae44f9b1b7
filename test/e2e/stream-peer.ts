import { isUtf8 } from "node:buffer";
import { once } from "node:events";
import { createServer as createHttp } from "node:http";
import { createServer as createHttps } from "node:https";
import { connect, createServer, type Server, type Socket } from "node:net";
import { connect as connectTls, createServer as createTls } from "node:tls";
import { WebSocket, WebSocketServer } from "ws";
import { StreamFramer } from "../../src/sip/frame.ts";
import type { SipMessage } from "../../src/sip/message.ts";
import { serialize } from "../../src/sip/serialize.ts";
import type { TransportName } from "../../src/transport/kinds.ts";
import { hostPort } from "../../src/transport/via.ts";
import type { Issued } from "../support/certificates.ts";
import { LivePeer } from "./live-peer.ts";

export type Stream = Exclude<TransportName, "udp">;

/** What carries a peer's messages: they go out by `send`, and come by `received`. */
export interface Line {
  send(bytes: Buffer): void;
  /** Says that nothing more comes. */
  end(): void;
  close(): void;
  readonly localPort: number;
  readonly closed: Promise<unknown>;
}

/** `ca`: whom to believe; `name`: what the relay's certificate must say; `own`: a certificate to show. */
export interface Trust {
  readonly ca?: string;
  readonly name?: string;
  readonly own?: Issued;
  /** Where the relay is; default 127.0.0.1. */
  readonly address?: string;
}

/** Connects to the relay. Each whole message that comes is handed to `received`. */
export async function dialLine(
  transport: Stream,
  port: number,
  { ca = "", name = "portal.example", own, address = "127.0.0.1" }: Trust,
  received: (bytes: Buffer) => void,
): Promise<Line> {
  const trust = { ca, servername: name, ...own };
  if (transport === "tcp" || transport === "tls") {
    const socket: Socket = transport === "tcp" ? connect(port, address) : connectTls({ port, host: address, ...trust });
    await once(socket, transport === "tcp" ? "connect" : "secureConnect");
    return socketLine(socket, received);
  }
  const url = `${transport}://${hostPort(address, port)}/`;
  const socket = new WebSocket(url, "sip", transport === "wss" ? (trust as object) : {});
  await once(socket, "open");
  return webSocketLine(socket, received);
}

/** A peer on connections, by any reliable transport: as client it has dialled the relay, as app server it listens. */
export class StreamPeer extends LivePeer {
  readonly transport: Stream;
  /** The connections, the newest last: by that one everything goes out. */
  readonly lines: Line[];
  private readonly listening: Server | undefined;

  private constructor(transport: Stream, host: string, port: number, listening?: Server) {
    const lines: Line[] = [];
    super({ deliver: (message: SipMessage) => lines.at(-1)?.send(serialize(message)) }, host, port, transport);
    this.lines = lines;
    this.transport = transport;
    this.listening = listening;
    this.contact = `<sip:peer@${host}:${port};transport=${transport === "wss" ? "ws" : transport}>`;
  }

  static async dial(transport: Stream, port: number, trust: Trust = {}): Promise<StreamPeer> {
    const peer: { received?: (bytes: Buffer) => void } = {};
    const line = await dialLine(transport, port, trust, (bytes) => peer.received?.(bytes));
    // A browser does not know its address (RFC 7118 §5).
    const host = transport === "ws" || transport === "wss" ? "df7jal23ls0d.invalid" : "127.0.0.1";
    const made = new StreamPeer(transport, host, line.localPort);
    made.lines.push(line);
    peer.received = (bytes) => made.received(bytes);
    return made;
  }

  static async listen(transport: Stream, own?: Issued): Promise<StreamPeer> {
    const peer: { made?: StreamPeer } = {};
    const received = (bytes: Buffer) => peer.made?.received(bytes);
    const take = (line: Line) => void peer.made?.lines.push(line);
    const server: Server =
      transport === "tcp"
        ? createServer((socket) => take(socketLine(socket, received)))
        : transport === "tls"
          ? createTls({ ...own }, (socket) => take(socketLine(socket, received)))
          : transport === "ws"
            ? createHttp()
            : createHttps({ ...own });
    server.on("tlsClientError", () => {});
    if (transport === "ws" || transport === "wss")
      new WebSocketServer({ server: server as never, handleProtocols: () => "sip" }).on("connection", (socket) =>
        take(webSocketLine(socket, received)),
      );
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const made = new StreamPeer(transport, "127.0.0.1", (server.address() as { port: number }).port, server);
    peer.made = made;
    return made;
  }

  get uri(): string {
    return `sip:127.0.0.1:${this.port};transport=${this.transport}`;
  }

  async close(): Promise<void> {
    for (const line of this.lines) line.close();
    this.listening?.close();
  }
}

function socketLine(socket: Socket, received: (bytes: Buffer) => void): Line {
  const framer = new StreamFramer();
  socket.on("error", () => {});
  socket.on("data", (chunk: Buffer) => {
    for (const frame of framer.push(chunk)) if (frame.kind === "message") received(frame.bytes);
  });
  return {
    send: (bytes) => socket.write(bytes),
    end: () => socket.end(),
    close: () => socket.destroy(),
    localPort: socket.localPort ?? 0,
    closed: new Promise((resolve) => socket.once("close", resolve)),
  };
}

function webSocketLine(socket: WebSocket, received: (bytes: Buffer) => void): Line {
  socket.on("error", () => {});
  socket.on("message", (data: Buffer) => received(data));
  return {
    send: (bytes) => socket.send(bytes, { binary: !isUtf8(bytes) }),
    end: () => socket.close(),
    close: () => socket.terminate(),
    localPort: 9,
    closed: new Promise((resolve) => socket.once("close", resolve)),
  };
}
