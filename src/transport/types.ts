import type { SipMessage, SipRequest } from "../sip/message.ts";
import type { ParseError } from "../sip/parse.ts";
import type { DroppedMessages } from "./dropped.ts";

export type TransportName = "udp" | "tcp" | "tls" | "ws" | "wss";

/** Those that this relay listens on and sends by. */
export const TRANSPORTS: readonly TransportName[] = ["udp", "tcp"];

/** Where a request is to go: an address, not a name (names are resolved before, RFC 3263). */
export interface Destination {
  readonly transport: TransportName;
  readonly address: string;
  readonly port: number;
  /**
   * UDP: by which of our sockets, as `Flow.cameTo` has it, where a peer is to be answered from where it came to; else
   * the one that suits.
   */
  readonly leavesBy?: string | undefined;
}

/**
 * A way to one peer: a UDP socket with the peer's address, or one TCP connection (RFC 5626's term). Answers leave by
 * the flow on which the request came (RFC 3261 §18.2.2, RFC 3581 §4).
 */
export interface Flow {
  /** Names the flow in logs and keys: `udp/198.51.100.7:5060`, `tcp/198.51.100.7:41002#17`. */
  readonly id: string;
  readonly transport: TransportName;
  readonly reliable: boolean;
  /** TLS or WSS: the peer cannot be overheard. */
  readonly secure: boolean;
  readonly remoteAddress: string;
  readonly remotePort: number;
  /**
   * UDP: to which of our sockets the peer came, where there are several that could answer it; a NAT lets nothing
   * through from another.
   */
  readonly cameTo?: string | undefined;
  /** False once the connection is gone; a UDP flow is always open. */
  readonly open: boolean;
  /**
   * True when the connection could never be made (refused, no answer): a request sent by TCP for its size may be
   * tried by UDP (RFC 3261 §18.1.1).
   */
  readonly connectFailed?: boolean;
  /** On a connection: somebody has signed in by it, or it belongs to a session. Whoever knows that says so. */
  proven?: boolean;
  /**
   * What waits for an answer by a flow of its own, and must hear if that fails; whoever sends looks after it. Only
   * where the flow has room for it.
   */
  waiting?: unknown;
  /** Sends whole messages. Never throws: an error reaches `TransportUser.flowFailed`. */
  send(bytes: Buffer): void;
}

/** What the transport layer tells whoever stands above it: the transaction layer. */
export interface TransportUser {
  /** A message was read. Its topmost Via already carries received and rport (RFC 3261 §18.2.1, RFC 3581 §4). */
  received(message: SipMessage, flow: Flow): void;
  /** Bytes that are no SIP message. `error.request` is there when enough could be read to answer. */
  malformed(error: ParseError, flow: Flow): void;
  /** A connection ended, or a datagram could not be sent (ICMP): what waits on that flow will get nothing more. */
  flowFailed(flow: Flow, reason: string): void;
}

/** The transport layer as those above it see it (RFC 3261 §18). */
export interface TransportLayer {
  /** What came and was let fall; undefined: nobody keeps that. */
  readonly dropped?: DroppedMessages;
  /**
   * Puts a Via with `branch` and our sent-by on top of the request and sends it. A request of more than 1300 bytes
   * that was to go by UDP goes by TCP where that can be had (RFC 3261 §18.1.1). Returns the flow and the bytes for
   * retransmission at once; a connection still to be made keeps what is sent until it stands, and a failure is told
   * by `TransportUser.flowFailed`.
   */
  sendRequest(request: SipRequest, destination: Destination, branch: string, via?: Flow): { flow: Flow; bytes: Buffer };
  /**
   * The way to a peer for answers, where there need be no connection of the peer's own making; undefined: there must.
   */
  wayTo?(destination: Destination): Flow | undefined;
  /**
   * host[:port] and transport parameter for a Contact that leads back here when reached by `flow`, e.g.
   * `127.0.0.1:5060;transport=tcp`.
   */
  contactFor(flow: Flow): string;
  /** The same before there is a flow: what a Contact to that destination says. */
  contactTowards(destination: Destination): string;
}
