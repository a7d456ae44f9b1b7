import { createHash } from "node:crypto";
import { EventEmitter } from "node:events";
import { canonicalHost } from "../support/address.ts";
import type { Wire } from "./connection.ts";
import type { StreamKind } from "./connections.ts";
import { streamFramer } from "./tcp.ts";

/*
 * Peers within this process: they take and send SIP messages, but no socket stands between. To all above the transport
 * they are peers like others, with addresses. These are of RFC 6666's discard-only prefix, so that no packet can come
 * from there or go there.
 */

/** What SIP messages are sent to within this process, and what sends some. */
export interface InsidePeers {
  /**
   * A wire to the peer of that address was opened. `send` gives the relay a whole message on it. Undefined: there is no
   * peer of that address.
   */
  open(address: string, send: (bytes: Buffer) => void): InsidePeer | undefined;
}

export interface InsidePeer {
  /** One whole message, or a keep-alive. */
  received(bytes: Buffer): void;
  /** The wire is gone. */
  closed(): void;
}

const PREFIX = "100::";

/** The address of the peer of that name: the same at every node and at every start. */
export function insideAddress(name: string): string {
  const digits = createHash("sha256").update(name).digest("hex");
  const groups = [0, 4, 8, 12].map((at) => digits.slice(at, at + 4));
  return canonicalHost(`${PREFIX}${groups.join(":")}`);
}

export const isInside = (address: string): boolean => canonicalHost(address).startsWith(PREFIX);

/** The transport `http`: to app servers that speak HTTP, whose SIP part is in this process. */
export const inside = (peers: InsidePeers | undefined): StreamKind => ({
  transport: "http",
  readyEvent: "connect",
  framer: streamFramer,
  connect: ({ address }) => new InsideWire(peers, address),
});

/** What stands in place of a socket. Both directions take a turn of their own, as with a socket. */
class InsideWire extends EventEmitter implements Wire {
  /** Stands in our Vias. */
  readonly localAddress = PREFIX;
  readonly localPort = undefined;
  readonly writableLength = 0;
  bytesWritten = 0;
  private readonly peer: InsidePeer;
  private open = true;

  constructor(peers: InsidePeers | undefined, address: string) {
    super();
    const peer = peers?.open(address, (bytes) => process.nextTick(() => this.open && this.emit("data", bytes)));
    if (!peer) throw new Error("there is no such peer within this process");
    this.peer = peer;
    process.nextTick(() => this.open && this.emit("connect"));
  }

  get writable(): boolean {
    return this.open;
  }

  write(bytes: Buffer): void {
    this.bytesWritten += bytes.length;
    process.nextTick(() => this.open && this.peer.received(bytes));
  }

  /** It sends few new requests: there is nothing to hold back. */
  pause(): void {}

  resume(): void {}

  setNoDelay(): void {}

  cork(): void {}

  uncork(): void {}

  destroy(): void {
    if (!this.open) return;
    this.open = false;
    this.peer.closed();
    process.nextTick(() => this.emit("close"));
  }

  destroySoon(): void {
    // What was written before goes first.
    process.nextTick(() => this.destroy());
  }
}
