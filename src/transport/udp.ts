import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { isIPv6 } from "node:net";
import type { Admits } from "./access.ts";
import { SHARED_PORT } from "./shared-ports.ts";
import type { Flow } from "./types.ts";
import { hostPort } from "./via.ts";

export interface UdpOptions {
  /** An IP address; `0.0.0.0` or `::` for all of that family. */
  readonly address: string;
  /** 0: any free port. */
  readonly port: number;
  /** What the kernel may hold for us while we are busy. It gives at most its own limit (`net.core.rmem_max`). */
  readonly receiveBufferBytes: number;
  received(datagram: Buffer, from: RemoteInfo): void;
  /** Whose datagrams are taken; undefined: everybody's. */
  readonly admits?: Admits | undefined;
  /** A datagram was not taken. */
  denied?(): void;
  /** Sees everything that is sent. */
  /** Told of each message that is about to be sent. False: it must not be sent. */
  readonly sending?: ((bytes: Buffer, flow: Flow) => boolean) | undefined;
  sendFailed(flow: Flow, reason: string): void;
  /** The socket itself failed, e.g. the interface went away. */
  socketFailed(error: Error): void;
}

const RECENT_FLOWS = 1_024;
/** How many bytes may wait for the kernel. The queue is checked when these bits of the datagram count are zero. */
const SEND_QUEUE_BYTES = 16 * 1024 * 1024;
const LOOK_EVERY = 0x3f;

/** One bound UDP socket. */
export class UdpListener {
  readonly address: string;
  port: number;
  /** Its name among our sockets (`Flow.cameTo`). Undefined if it is the only one of its family. */
  name: string | undefined;
  private readonly options: UdpOptions;
  private readonly socket: Socket;
  /**
   * Flows to peers that wrote lately, each at the place of its port. Most peers write again, and then need no new flow.
   */
  private readonly recent: (UdpFlow | undefined)[] = new Array(RECENT_FLOWS).fill(undefined);
  private closed = false;
  private sent = 0;
  private isFull = false;

  constructor(options: UdpOptions) {
    this.options = options;
    this.address = options.address;
    this.port = options.port;
    const family = isIPv6(options.address) ? 6 : 4;
    this.socket = createSocket({
      type: isIPv6(options.address) ? "udp6" : "udp4",
      // Two sockets for two families: an IPv4 peer never shows up as ::ffff:192.0.2.1.
      ipv6Only: isIPv6(options.address),
      ...SHARED_PORT,
      // We send only to addresses. Without this, node would ask the system's resolver about each of them.
      lookup: (host, _options, done) => done(null, host, family),
    });
    const { admits } = options;
    if (!admits) this.socket.on("message", (datagram, from) => options.received(datagram, from));
    else
      this.socket.on("message", (datagram, from) => {
        if (admits(from.address)) options.received(datagram, from);
        else options.denied?.();
      });
  }

  /** Resolves when bound; rejects if it cannot be, e.g. because the port is taken. */
  async start(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.socket.once("error", reject);
      this.socket.bind({ address: this.options.address, port: this.options.port }, () => {
        this.socket.off("error", reject);
        resolve();
      });
    });
    this.socket.on("error", (error) => this.options.socketFailed(error));
    this.port = this.socket.address().port;
    try {
      this.socket.setRecvBufferSize(this.options.receiveBufferBytes);
      this.socket.setSendBufferSize(this.options.receiveBufferBytes);
    } catch {
      // The kernel refuses these sizes: its defaults must do.
    }
  }

  /**
   * The flow for what is sent without waiting for a failure: answers and ACKs. Any other request has a flow of its own,
   * which reports a failure.
   */
  flowTo(address: string, port: number): UdpFlow {
    const place = port % RECENT_FLOWS;
    const known = this.recent[place];
    if (known && known.remotePort === port && known.remoteAddress === address) return known;
    const flow = new UdpFlow(this, address, port, false);
    this.recent[place] = flow;
    return flow;
  }

  send(bytes: Buffer, flow: UdpFlow): void {
    if (this.closed) return;
    // The kernel normally takes datagrams faster than they come. If it does not, they are dropped here, so that they do
    // not fill the memory.
    if (this.isFull || (++this.sent & LOOK_EVERY) === 0)
      this.isFull = this.socket.getSendQueueSize() > SEND_QUEUE_BYTES;
    if (this.isFull) {
      if (flow.watched) process.nextTick(() => this.failed(flow, new Error("too much waits to be sent")));
      return;
    }
    if (this.options.sending?.(bytes, flow) === false) return;
    const { remotePort, remoteAddress } = flow;
    try {
      if (flow.watched)
        this.socket.send(bytes, remotePort, remoteAddress, (error) => {
          if (error) this.failed(flow, error);
        });
      else this.socket.send(bytes, remotePort, remoteAddress);
    } catch (error) {
      // The port number is not valid: a peer may write anything into its Via. The failure is reported later, as other
      // failures are.
      process.nextTick(() => this.failed(flow, error as Error));
    }
  }

  private failed(flow: Flow, error: NodeJS.ErrnoException): void {
    if (!this.closed) this.options.sendFailed(flow, `udp ${error.code ?? error.message}`);
  }

  close(): Promise<void> {
    if (this.closed) return Promise.resolve();
    this.closed = true;
    return new Promise((resolve) => this.socket.close(() => resolve()));
  }
}

/** The way to one UDP peer. Cheap: one is made for each request that goes out. */
export class UdpFlow implements Flow {
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly listener: UdpListener;
  /**
   * Whether the sender must hear that a datagram could not leave. Then node calls back for every datagram, also for
   * those that did leave, which costs a tenth of the sending. An answer is not watched: if it is lost, the peer repeats
   * its request.
   */
  readonly watched: boolean;
  waiting: unknown = undefined;

  constructor(listener: UdpListener, remoteAddress: string, remotePort: number, watched = true) {
    this.watched = watched;
    this.listener = listener;
    this.remoteAddress = remoteAddress;
    this.remotePort = remotePort;
  }

  get id(): string {
    return `udp/${hostPort(this.remoteAddress, this.remotePort)}`;
  }

  get cameTo(): string | undefined {
    return this.listener.name;
  }

  get transport(): "udp" {
    return "udp";
  }

  get reliable(): false {
    return false;
  }

  get secure(): false {
    return false;
  }

  get open(): true {
    return true;
  }

  send(bytes: Buffer): void {
    this.listener.send(bytes, this);
  }
}
