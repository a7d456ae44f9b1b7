import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { StreamFramer } from "../../src/sip/frame.ts";
import type { SipMessage } from "../../src/sip/message.ts";
import { parseMessage } from "../../src/sip/parse.ts";

const PATIENCE_MS = 5_000;

/** One TCP connection, by hand: writes bytes as it is told, reads messages and keep-alives. */
export class TcpPeer {
  readonly socket: Socket;
  private readonly framer = new StreamFramer();
  private readonly inbox: (SipMessage | "pong")[] = [];
  private wake: () => void = () => {};

  constructor(socket: Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on("error", () => {});
    socket.on("data", (chunk: Buffer) => {
      if (chunk.equals(PONG)) this.inbox.push("pong");
      else this.read(chunk);
      this.wake();
    });
  }

  static async dial(port: number, address = "127.0.0.1"): Promise<TcpPeer> {
    const socket = connect(port, address);
    await once(socket, "connect");
    return new TcpPeer(socket);
  }

  get localPort(): number {
    return this.socket.localPort!;
  }

  /** The next message, or `pong` for a CRLF alone. */
  async next(): Promise<SipMessage | "pong"> {
    const deadline = setTimeout(() => this.socket.destroy(new Error("nothing came")), PATIENCE_MS);
    while (this.inbox.length === 0 && !this.socket.destroyed) {
      await new Promise<void>((resolve) => {
        this.wake = resolve;
        this.socket.once("close", resolve);
      });
    }
    clearTimeout(deadline);
    const first = this.inbox.shift();
    if (first === undefined) throw new Error("the connection was closed, or nothing came in time");
    return first;
  }

  /** Writes the bytes in pieces that end at `cuts`, each on its way before the next. */
  async write(bytes: Buffer, cuts: readonly number[] = []): Promise<void> {
    let from = 0;
    for (const to of [...cuts, bytes.length]) {
      await new Promise<void>((resolve) => this.socket.write(bytes.subarray(from, to), () => setImmediate(resolve)));
      from = to;
    }
  }

  private read(chunk: Buffer): void {
    for (const frame of this.framer.push(chunk)) {
      if (frame.kind !== "message") continue;
      const read = parseMessage(frame.bytes, "stream");
      if (!read.ok) throw new Error(`the relay sent what cannot be read: ${read.error.reason}\n${frame.bytes}`);
      this.inbox.push(read.value);
    }
  }
}

const PONG = Buffer.from("\r\n");

/** Listens on a TCP port; hands over each connection as a peer. */
export async function tcpServer(port: number, connected: (peer: TcpPeer) => void): Promise<Server> {
  const server = createServer((socket) => connected(new TcpPeer(socket)));
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  return server;
}
