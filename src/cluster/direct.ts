import { createHmac, timingSafeEqual } from "node:crypto";
import { createSocket, type Socket } from "node:dgram";
import { isIPv6 } from "node:net";
import type { Logger } from "../support/log.ts";
import type { PeerLog } from "../support/peer-log.ts";

/*
 * Beats that go from node to node without NATS, so that nodes that have lost NATS still know of each other. Each says
 * which beat of the receiver was heard last: whoever knows that it was heard cannot be called dead.
 *
 *   1 <signature or -> <number of the receiver's beat that was heard last> <how often the receiver was called dead>
 *   <beat>
 *
 * What is handed over goes this way, too, where NATS does not reach the other node (./handed.ts):
 *
 *   2 <signature or ->
 *   <what is handed over>
 */

/** Longer than any beat. */
const MAX_BYTES = 6_000;
const HEAD = /^1 ([0-9a-f]{64}|-) (\d{1,15}) (\d{1,9})\n/;
const PURPOSE = "direct beats";
/** What one datagram takes (RFC 768), less the head. */
const MAX_TOLD_BYTES = 60_000;
const TOLD = /^2 ([0-9a-f]{64}|-)\n/;

/** Another node, as far as is needed to write to it. */
export interface DirectPeer {
  readonly node: string;
  /** host:port */
  readonly direct: string;
  /** The number of its beat that was heard last. */
  readonly heard: number;
}

/** What a direct beat says beside the beat. */
export interface Told {
  /** The number of the beat of this node that was heard last. */
  readonly heard: number;
  /** How often the sender has called this node dead. */
  readonly deaths: number;
  /** The address that it came from. */
  readonly from: string;
  /** With the cluster's secret. */
  readonly isSigned: boolean;
}

export class Direct {
  private readonly host: string;
  private readonly log: Logger;
  private readonly peerLog: PeerLog;
  private readonly keys: readonly Buffer[];
  private readonly peers: () => readonly DirectPeer[];
  private readonly deaths: (node: string) => number;
  private readonly heard: (beat: string, told: Told) => void;
  private readonly refused: (node: string) => void;
  /** Hears what other nodes hand over. */
  told: ((text: string) => void) | undefined;
  private readonly comesFrom: (node: string, address: string) => boolean;
  private socket: Socket | undefined;
  private port = 0;
  /** A socket for each peer: only a connected one is told that nobody listens there any more. */
  private readonly sockets = new Map<string, { readonly to: string; readonly socket: Socket }>();

  constructor(options: {
    /** The address by which other nodes reach this one. */
    readonly host: string;
    readonly log: Logger;
    readonly peerLog: PeerLog;
    /** Keys for a purpose that all nodes share; none: they share no secret. */
    readonly keys: (purpose: string) => readonly Buffer[];
    readonly peers: () => readonly DirectPeer[];
    /** How often this node has called that one dead. */
    readonly deaths: (node: string) => number;
    readonly heard: (beat: string, told: Told) => void;
    /** Nobody listens at that node's address any more: its process is gone. */
    readonly refused: (node: string) => void;
    /** Whether that is the address at which the node says that it hears. */
    readonly comesFrom: (node: string, address: string) => boolean;
  }) {
    const { host, log, peerLog, keys, peers, deaths, heard, refused, comesFrom } = options;
    this.comesFrom = comesFrom;
    this.deaths = deaths;
    this.host = host;
    this.log = log;
    this.peerLog = peerLog;
    this.keys = keys(PURPOSE);
    this.peers = peers;
    this.heard = heard;
    this.refused = refused;
  }

  /** Where this node hears beats: host:port; "": it does not. */
  get address(): string {
    if (this.port === 0) return "";
    return isIPv6(this.host) ? `[${this.host}]:${this.port}` : `${this.host}:${this.port}`;
  }

  /** Without it, nodes know of each other by NATS alone. So a failure is logged, and no more. */
  start(): void {
    const socket = createSocket(isIPv6(this.host) ? "udp6" : "udp4");
    this.socket = socket;
    socket.on("error", (err) => this.log.warn({ err, host: this.host }, "cluster: no beats but by NATS"));
    socket.on("message", (bytes, { address }) => this.received(bytes, address));
    socket.bind({ port: 0, address: this.host, exclusive: true }, () => {
      this.port = socket.address().port;
    });
  }

  stop(): void {
    this.port = 0;
    this.socket?.close();
    this.socket = undefined;
    for (const { socket } of this.sockets.values()) socket.close();
    this.sockets.clear();
  }

  /** Says a beat to each node that has said where it hears. */
  say(beat: string): void {
    if (!this.socket) return;
    const peers = this.peers();
    for (const { node, direct, heard } of peers)
      this.socketTo(node, direct)?.send(this.write(`${heard} ${this.deaths(node)}\n${beat}`), ignore);
    if (this.sockets.size > peers.length) this.forget(new Set(peers.map(({ node }) => node)));
  }

  /** Hands something over to a node. False: there is no way to it, or it is too long. */
  tell(node: string, text: string): boolean {
    const peer = this.socket && this.peers().find((one) => one.node === node);
    const socket = peer && this.socketTo(node, peer.direct);
    if (!socket || Buffer.byteLength(text) > MAX_TOLD_BYTES) return false;
    const [key] = this.keys;
    socket.send(`2 ${key ? sign(key, `told\n${text}`).toString("hex") : "-"}\n${text}`, ignore);
    return true;
  }

  private write(text: string): string {
    const [key] = this.keys;
    return `1 ${key ? sign(key, text).toString("hex") : "-"} ${text}`;
  }

  private socketTo(node: string, to: string): Socket | undefined {
    const known = this.sockets.get(node);
    if (known?.to === to) return known.socket;
    known?.socket.close();
    this.sockets.delete(node);
    const at = to.lastIndexOf(":");
    const host = to.slice(0, at).replace(/^\[|\]$/g, "");
    const socket = createSocket(isIPv6(host) ? "udp6" : "udp4");
    socket.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ECONNREFUSED") this.refused(node);
    });
    try {
      socket.connect(Number(to.slice(at + 1)), host);
    } catch (err) {
      this.peerLog.warn("cluster: a node's address cannot be used", node, { err, to });
      socket.close();
      return undefined;
    }
    socket.once("connect", () => this.sockets.set(node, { to, socket }));
    return undefined;
  }

  private forget(present: ReadonlySet<string>): void {
    for (const [node, { socket }] of this.sockets) {
      if (present.has(node)) continue;
      socket.close();
      this.sockets.delete(node);
    }
  }

  private received(bytes: Buffer, from: string): void {
    if (bytes[0] === TWO) {
      this.receivedTold(bytes.toString("utf8"), from);
      return;
    }
    const text = bytes.length > MAX_BYTES ? "" : bytes.toString("utf8");
    const found = HEAD.exec(text);
    if (!found || !this.isSigned(found[1]!, text.slice(text.indexOf(" ", 2) + 1))) {
      this.peerLog.warn("cluster: a beat that no node has signed", from, {});
      return;
    }
    const [head, , heard, deaths] = found;
    const isSigned = this.keys.length > 0;
    this.heard(text.slice(head.length), { heard: Number(heard), deaths: Number(deaths), from, isSigned });
  }

  private receivedTold(all: string, from: string): void {
    const found = TOLD.exec(all);
    const text = all.slice(found?.[0].length ?? 0);
    // Without a secret, whoever says it must be where it says that it hears.
    const node = this.keys.length > 0 ? "" : (/^1 ([0-9a-z]{6}) /.exec(text)?.[1] ?? "");
    if (!found || !this.isSigned(found[1]!, `told\n${text}`) || (this.keys.length === 0 && !this.comesFrom(node, from)))
      this.peerLog.warn("cluster: what no node has signed was handed over", from, {});
    else this.told?.(text);
  }

  private isSigned(signature: string, text: string): boolean {
    if (this.keys.length === 0) return true; // whoever is told looks at where it came from
    if (signature === "-") return false;
    const given = Buffer.from(signature, "hex");
    return this.keys.some((key) => timingSafeEqual(sign(key, text), given));
  }
}

const TWO = "2".charCodeAt(0);

const sign = (key: Buffer, text: string): Buffer => createHmac("sha256", key).update(text).digest();

/** A failure comes as an event, too. */
const ignore = (): void => {};
