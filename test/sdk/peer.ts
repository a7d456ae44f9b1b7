import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { MessageFramer } from "../../src/sdk/framing.ts";

/**
 * The other end of a connection, by hand: messages as text, in order, so that a test decides what the relay says and
 * when.
 */
export class Peer {
  private readonly socket: Socket;
  private readonly framer = new MessageFramer();
  private readonly inbox: string[] = [];
  private waiting: (() => void) | undefined;
  pings = 0;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on("data", (chunk) => {
      const frames = this.framer.push(chunk);
      if (!frames.ok) throw new Error(frames.error);
      this.pings += frames.value.pings;
      this.inbox.push(...frames.value.messages);
      this.waiting?.();
    });
  }

  static async dial(port: number): Promise<Peer> {
    const socket = connect(port, "127.0.0.1");
    await once(socket, "connect");
    return new Peer(socket);
  }

  get localPort(): number {
    return this.socket.localPort!;
  }

  /** The next message; it must begin like that. */
  async next(start: string): Promise<string> {
    while (this.inbox.length === 0) {
      await new Promise<void>((resolve) => {
        this.waiting = resolve;
      });
    }
    const message = this.inbox.shift()!;
    if (!message.startsWith(start)) throw new Error(`expected ${start}, got ${message.split("\r\n", 1)[0]}`);
    return message;
  }

  /** Lines of the header, and the body; Content-Length is added. */
  send(lines: readonly string[], body = ""): void {
    this.socket.write(`${lines.join("\r\n")}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
  }

  /** Answers a request that came. */
  answer(request: string, status: string, more: readonly string[] = [], body = ""): void {
    const copied = request.split("\r\n").filter((line) => /^(via|from|call-id|cseq):/i.test(line));
    const to = header(request, "to")!;
    const tag = /;tag=/.test(to) || status.startsWith("100") ? "" : ";tag=relay";
    this.send([`SIP/2.0 ${status}`, ...copied, `To: ${to}${tag}`, ...more], body);
  }

  raw(text: string): void {
    this.socket.write(text);
  }

  async closed(): Promise<void> {
    if (!this.socket.destroyed) await once(this.socket, "close");
  }

  /** Closes so that the other end has seen it. */
  async finish(): Promise<void> {
    this.socket.end();
    await this.closed();
  }

  destroy(): void {
    this.socket.destroy();
  }
}

/** A relay by hand: gives the peers that connect to it. */
export class FakeRelay {
  readonly server: Server = createServer();
  private readonly peers: Peer[] = [];
  private readonly all: Peer[] = [];
  private waiting: (() => void) | undefined;

  static async listen(): Promise<FakeRelay> {
    const relay = new FakeRelay();
    relay.server.on("connection", (socket) => {
      const peer = new Peer(socket);
      relay.peers.push(peer);
      relay.all.push(peer);
      relay.waiting?.();
    });
    relay.server.listen(0, "127.0.0.1");
    await once(relay.server, "listening");
    return relay;
  }

  get port(): number {
    return (this.server.address() as { port: number }).port;
  }

  get uri(): string {
    return `sip:127.0.0.1:${this.port};transport=tcp`;
  }

  async peer(): Promise<Peer> {
    while (this.peers.length === 0) {
      await new Promise<void>((resolve) => {
        this.waiting = resolve;
      });
    }
    return this.peers.shift()!;
  }

  close(): void {
    for (const peer of this.all) peer.destroy();
    this.server.close();
  }
}

export function header(message: string, name: string): string | undefined {
  return new RegExp(`\\r\\n${name}:[ \\t]*([^\\r\\n]*)`, "i").exec(message)?.[1];
}

export const bodyOf = (message: string): string => message.slice(message.indexOf("\r\n\r\n") + 4);
