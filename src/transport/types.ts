import type { SipMessage, SipRequest } from "../sip/message.ts";
import type { ParseError } from "../sip/parse.ts";
import type { DroppedMessages } from "./dropped.ts";
import type { TransportName } from "./kinds.ts";

export { TRANSPORTS, type TransportName } from "./kinds.ts";

/** Where a request is to go: an address, not a name (names are resolved before, RFC 3263). */
export interface Destination {
  readonly transport: TransportName;
  readonly address: string;
  readonly port: number;
  /**
   * UDP: the name of our socket to send from (`Flow.cameTo`), if the peer must hear from the socket that it wrote to.
   * Else the relay chooses the socket.
   */
  readonly leavesBy?: string | undefined;
  /**
   * A secure transport: the host that the peer's certificate must name (RFC 5922 §7.3), which is the one of the URI and
   * not what the DNS made of it. Default: the address.
   */
  readonly name?: string | undefined;
}

/** The destination, where the peer must prove that it is `name` (if the transport is one where it proves anything). */
export const provenAs = (destination: Destination, name: string | undefined): Destination =>
  name !== undefined && destination.name !== undefined ? { ...destination, name } : destination;

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
   * UDP: the name of our socket that the peer wrote to, if several could answer it. A NAT lets only answers from that
   * socket through.
   */
  readonly cameTo?: string | undefined;
  /** The names in the peer's certificate, if it has shown one that we trust (RFC 5922 §7.1). */
  readonly peerNames?: readonly string[] | undefined;
  /**
   * Another node has the socket: host[:port] and transport parameter by which the peer reaches that node. Responses
   * come to it, and it hands them over.
   */
  readonly contact?: string;
  /** False once the connection is gone; a UDP flow is always open. */
  readonly open: boolean;
  /**
   * True when the connection could never be made (refused, no answer): a request sent by TCP for its size may be
   * tried by UDP (RFC 3261 §18.1.1).
   */
  readonly connectFailed?: boolean;
  /** On a connection: somebody has signed in by it, or it belongs to a session. The code that learns this sets it. */
  proven?: boolean;
  /**
   * The transaction that this flow was made for, which must hear if the flow fails. The transaction layer sets it. Only
   * flows that serve one transaction have this field (UDP).
   */
  waiting?: unknown;
  /** Ends a connection because of what the peer does, at once. The log has the reason. */
  cut?(reason: string): void;
  /** Sends whole messages. Never throws: an error reaches `TransportUser.flowFailed`. */
  send(bytes: Buffer): void;
}

/** What the transport layer tells the layer above it, the transaction layer. */
export interface TransportUser {
  /** A message was read. Its topmost Via already carries received and rport (RFC 3261 §18.2.1, RFC 3581 §4). */
  received(message: SipMessage, flow: Flow): void;
  /** Instead of `received`: more comes than can be handled, and this request begins something new. */
  refuse?(request: SipRequest, flow: Flow): void;
  /** Bytes that are no SIP message. `error.request` is there when enough could be read to answer. */
  malformed(error: ParseError, flow: Flow): void;
  /** A connection ended, or a datagram could not be sent (ICMP): nothing more will come by that flow. */
  flowFailed(flow: Flow, reason: string): void;
}

/** The transport layer as the layers above see it (RFC 3261 §18). */
export interface TransportLayer {
  /** Messages that were dropped, with the reasons; undefined: they are not kept. */
  readonly dropped?: DroppedMessages;
  /**
   * Puts a Via with `branch` and our sent-by on top of the request and sends it. A request for UDP of more than 1300
   * bytes goes by TCP, if the peer has TCP (RFC 3261 §18.1.1). Returns at once, with the flow, and the bytes for
   * retransmissions. A new connection keeps the bytes until it is ready; a failure comes later, by
   * `TransportUser.flowFailed`.
   */
  sendRequest(request: SipRequest, destination: Destination, branch: string, via?: Flow): { flow: Flow; bytes: Buffer };
  /**
   * The flow for an answer to a peer, if it needs no connection that the peer has opened (UDP). Undefined: it needs
   * one.
   */
  wayTo?(destination: Destination): Flow | undefined;
  /** The open connection that a peer has made from there; undefined: there is none. */
  connectionFrom?(place: Pick<Destination, "transport" | "address" | "port">): Flow | undefined;
  /** The flow for a message that is sent as it is, with the Via that it has. */
  flowFor?(destination: Destination): Flow;
  /**
   * host[:port] and transport parameter for a Contact that leads back here when reached by `flow`, e.g.
   * `127.0.0.1:5060;transport=tcp`.
   */
  contactFor(flow: Flow): string;
  /** The same before there is a flow: what a Contact to that destination says. */
  contactTowards(destination: Destination): string;
}
