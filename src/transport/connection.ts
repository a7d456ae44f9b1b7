import type { Frame } from "../sip/frame.ts";
import type { ParseError } from "../sip/parse.ts";
import type { Clock, TimerHandle } from "../support/clock.ts";
import { KINDS, type TransportName } from "./kinds.ts";
import type { Flow } from "./types.ts";
import { hostPort } from "./via.ts";

/** Limits of one connection (decision 14). */
export interface ConnectionBounds {
  /** The largest message; also the most that is kept of a message whose rest is still missing. */
  readonly messageBytes: number;
  /** What may wait for a peer that reads too slowly; beyond, the connection is closed. */
  readonly writeQueueBytes: number;
  /** The same for a peer that has proved nothing (see `proven`). */
  readonly unprovenQueueBytes: number;
  readonly connectTimeoutMs: number;
}

/** What carries the bytes: a socket of TCP or TLS, or a WebSocket on one. As much of `net.Socket` as is used here. */
export interface Wire {
  /** Undefined until it is connected. */
  readonly localAddress?: string | undefined;
  readonly localPort?: number | undefined;
  readonly writable: boolean;
  /** How many bytes wait to be sent; how many were given in all. */
  readonly writableLength: number;
  readonly bytesWritten: number;
  setNoDelay(on: boolean): unknown;
  cork(): void;
  uncork(): void;
  write(bytes: Buffer): unknown;
  pause(): unknown;
  resume(): unknown;
  destroy(): unknown;
  /** Ends it when what was written has gone out. */
  destroySoon(): void;
  on(event: "data", listener: (chunk: Buffer) => void): unknown;
  on(event: "error", listener: (error: NodeJS.ErrnoException) => void): unknown;
  on(event: "close", listener: () => void): unknown;
  once(event: string, listener: () => void): unknown;
}

/** What cuts that which comes into messages. */
export interface Framer {
  push(chunk: Buffer): Frame[];
  /** How many bytes of an unfinished message are kept. */
  readonly pendingBytes: number;
}

/** What is special in the connections of one transport. */
export interface ConnectionKind {
  readonly transport: TransportName;
  /** The event by which a wire of ours says that it is connected: `connect`, or `secureConnect` for TLS. */
  readonly readyEvent: string;
  /** The transport itself says where a message ends. */
  readonly framed?: true;
  framer(wire: Wire, maxMessageBytes: number): Framer;
  /** Asks the peer whether it is there, below the level of messages (RFC 6455 §5.5.2). */
  ping?(wire: Wire): void;
  /** The names in the peer's certificate, once the wire is connected. */
  peerNames?(wire: Wire): readonly string[] | undefined;
}

/** What a connection tells the transport that holds it. */
export interface ConnectionOwner {
  readonly clock: Clock;
  readonly bounds: ConnectionBounds;
  /** One whole message. */
  received(bytes: Buffer, connection: Connection): void;
  /**
   * The stream cannot be cut into messages any further: the connection is closed after this call. If `error.request` is
   * there, it can be answered first.
   */
  unreadable(error: ParseError, connection: Connection, bytes: Buffer): void;
  /** The peer has sent a keep-alive. The connection answers it by itself. */
  keptAlive(): void;
  /** Told of each message that is about to be sent. False: it must not be sent. */
  readonly sending?: ((bytes: Buffer, connection: Connection) => boolean) | undefined;
  /** Something was sent after the connection had ended. */
  sentTooLate(bytes: Buffer, connection: Connection): void;
  closed(connection: Connection, reason: string): void;
  /** `bytes` wait on the connection now: to be sent, or for the rest of their message. */
  queued(connection: Connection, bytes: number): void;
}

/** The peer, or its machine, has ended the connection: it was there until then. */
const PEERS_DOING = ["closed by peer", "ECONNRESET", "EPIPE"];

/**
 * Whether a connection was ended by the peer itself. `reason`: as `TransportUser.flowFailed` has it: `tcp ECONNRESET`.
 */
export const isPeersDoing = (reason: string): boolean => PEERS_DOING.some((one) => reason.endsWith(one));

/** A single CRLF: the answer to a keep-alive (RFC 5626 §4.4.1). */
const PONG = Buffer.from("\r\n");

/**
 * One connection of a reliable transport, opened by us or by the peer.
 */
export class Connection implements Flow {
  readonly id: string;
  readonly remoteAddress: string;
  readonly remotePort: number;
  /** True if the peer opened it. */
  readonly incoming: boolean;
  open = true;
  connectFailed = false;
  /**
   * We opened it, or somebody has signed in by it, or it belongs to a session. Such a connection does not give way to
   * others.
   */
  proven: boolean;
  /** When it was made (monotonic); `heard`: a whole message has come by it; `pinged`: a keep-alive has come by it. */
  readonly since: number;
  heard = false;
  pinged = false;
  wasCut = false;
  /** The waiting bytes of this connection that its owner has counted. */
  counted = 0;
  /** Under which keys its owner finds it for requests to the peer. */
  readonly peerKeys: string[] = [];
  /** When something was last read or written; monotonic. */
  usedAt: number;
  /** When something last came from the peer, and when it was last asked whether it is there; monotonic. */
  heardAt: number;
  pingedAt = 0;
  /** Since when an unfinished message has been waiting for its rest; -1: there is none. */
  partialSince = -1;
  private readonly owner: ConnectionOwner;
  private readonly kind: ConnectionKind;
  private readonly socket: Wire;
  private readonly framer: Framer;
  private connected: boolean;
  private connectTimer: TimerHandle | undefined;
  private corked = false;
  private reason = "closed by peer";

  constructor(
    owner: ConnectionOwner,
    kind: ConnectionKind,
    socket: Wire,
    number: number,
    address: string,
    port: number,
    incoming: boolean,
  ) {
    this.owner = owner;
    this.kind = kind;
    this.socket = socket;
    this.id = `${kind.transport}/${hostPort(address, port)}#${number}`;
    this.remoteAddress = address;
    this.remotePort = port;
    this.incoming = incoming;
    this.connected = incoming;
    this.proven = !incoming;
    this.usedAt = this.heardAt = this.since = owner.clock.monotonic();
    this.framer = kind.framer(socket, owner.bounds.messageBytes);
    this.listen();
  }

  get transport(): TransportName {
    return this.kind.transport;
  }

  get reliable(): true {
    return true;
  }

  get secure(): boolean {
    return KINDS[this.kind.transport].secure;
  }

  /** Whether the transport itself says where a message ends. */
  get framed(): boolean {
    return this.kind.framed === true;
  }

  get peerNames(): readonly string[] | undefined {
    return this.kind.peerNames?.(this.socket);
  }

  /** Our address as the peer sees it; undefined until the socket is connected. */
  get localAddress(): string | undefined {
    return this.socket.localAddress;
  }

  /**
   * Our port, if the peer came to one of our listeners. Undefined if we opened the connection: it then leaves from a
   * port of the system's choice.
   */
  get localPort(): number | undefined {
    return this.incoming ? this.socket.localPort : undefined;
  }

  send(bytes: Buffer): void {
    if (!this.open) {
      this.owner.sentTooLate(bytes, this);
      return;
    }
    const { socket } = this;
    if (!socket.writable) return; // `finish` was called: nothing more goes out.
    const waiting = socket.writableLength;
    if (waiting > 0 && !this.mayWait(waiting + bytes.length)) return;
    this.usedAt = this.owner.clock.monotonic();
    // What is sent within one turn goes out in one system call.
    if (!this.corked) {
      this.corked = true;
      socket.cork();
      process.nextTick(uncork, this);
    }
    if (this.owner.sending?.(bytes, this) === false) return;
    socket.write(bytes);
  }

  /** How many bytes wait now: to be sent, and for the rest of their message. */
  get waitingBytes(): number {
    return this.socket.writableLength + this.framer.pendingBytes;
  }

  /** How many bytes have left so far. */
  get sentBytes(): number {
    return this.socket.bytesWritten - this.socket.writableLength;
  }

  /** Whether there is something that the peer does not take. */
  get isWaiting(): boolean {
    return this.socket.writableLength > 0;
  }

  /** Called when the peer reads more slowly than we send. False: the connection had to be closed. */
  private mayWait(bytes: number): boolean {
    const { writeQueueBytes, unprovenQueueBytes } = this.owner.bounds;
    if (bytes > (this.proven ? writeQueueBytes : unprovenQueueBytes)) this.cut("peer reads too slowly");
    else this.owner.queued(this, bytes + this.framer.pendingBytes);
    return this.open;
  }

  /** Ends the connection because of what the peer does or fails to do. The log tells the operator. */
  cut(reason: string): void {
    this.wasCut = true;
    this.close(reason);
  }

  /** Ends the connection at once. The transactions that wait on it are told the `reason`. */
  close(reason: string): void {
    if (!this.open) return;
    this.reason = reason;
    this.socket.destroy();
    this.ended();
  }

  /** Whether the peer can be asked whether it is there. */
  get pings(): boolean {
    return this.kind.ping !== undefined && this.connected;
  }

  ping(now: number): void {
    this.pingedAt = now;
    this.kind.ping?.(this.socket);
  }

  /** Reads no further (`on`), so that the peer has to wait; or goes on. */
  hold(on: boolean): void {
    if (!this.open) return;
    if (on) this.socket.pause();
    else this.socket.resume();
  }

  private read(chunk: Buffer): void {
    this.usedAt = this.heardAt = this.owner.clock.monotonic();
    const frames = this.framer.push(chunk);
    for (const frame of frames) {
      if (!this.open) return;
      if (frame.kind === "message") this.owner.received(frame.bytes, this);
      else if (frame.kind === "ping") {
        this.pinged = true;
        this.owner.keptAlive();
        this.send(PONG);
      } else {
        this.owner.unreadable(frame.error ?? { reason: frame.reason, status: 400 }, this, frame.bytes);
        this.finish(frame.reason);
      }
    }
    const pending = this.framer.pendingBytes;
    if (pending === 0) this.partialSince = -1;
    else {
      if (this.partialSince < 0 || frames.length > 0) this.partialSince = this.usedAt;
      if (this.open) this.owner.queued(this, this.waitingBytes);
    }
  }

  /** Ends the connection after what was written has gone out. */
  finish(reason: string): void {
    this.reason = reason;
    this.socket.destroySoon();
  }

  uncork(): void {
    this.corked = false;
    this.socket.uncork();
  }

  private listen(): void {
    const { socket, owner } = this;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.read(chunk));
    socket.on("error", (error: NodeJS.ErrnoException) => {
      this.reason = error.code ?? error.message;
    });
    socket.on("close", () => this.ended());
    if (this.connected) return;
    socket.once(this.kind.readyEvent, () => {
      this.connected = true;
      this.stopConnectTimer();
    });
    this.connectTimer = owner.clock.setTimeout(() => this.close("connect timeout"), owner.bounds.connectTimeoutMs);
  }

  private stopConnectTimer(): void {
    if (this.connectTimer !== undefined) this.owner.clock.clearTimeout(this.connectTimer);
    this.connectTimer = undefined;
  }

  private ended(): void {
    if (!this.open) return;
    this.open = false;
    this.connectFailed = !this.connected;
    this.stopConnectTimer();
    this.owner.closed(this, this.reason);
  }
}

function uncork(connection: Connection): void {
  connection.uncork();
}
