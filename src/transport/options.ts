import type { SipMessage } from "../sip/message.ts";
import type { Clock } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import type { PeerLog } from "../support/peer-log.ts";
import type { TlsSettings } from "./certificates.ts";
import type { InsidePeers } from "./inside.ts";
import { MAY_WAIT_MS } from "./intake.ts";
import type { ListenOptions } from "./listeners.ts";
import type { Flow, TransportName, TransportUser } from "./types.ts";

/** How much the transports take on (decision 14). */
export interface TransportBounds {
  /** The largest message: as much as a datagram can hold (RFC 3261 §18.1.1). */
  readonly messageBytes: number;
  /** A larger request goes by TCP instead of UDP, if the peer has TCP (RFC 3261 §18.1.1). */
  readonly datagramBytes: number;
  /** How many header fields a message may have. */
  readonly headers: number;
  readonly receiveBufferBytes: number;
  readonly writeQueueBytes: number;
  readonly unprovenQueueBytes: number;
  readonly queueBytes: number;
  readonly connectTimeoutMs: number;
  readonly maxConnections: number;
  readonly maxOutgoing: number;
  readonly maxConnectionsPerAddress: number;
  readonly handshakesPerSecond: number;
  /** How long a request that begins something may wait before it gets 503; 0: no bound. */
  readonly mayWaitMs: number;
  readonly pingMs: number;
  readonly idleMs: number;
  readonly partialMs: number;
  readonly firstMessageMs: number;
  readonly stalledMs: number;
}

export const defaultTransportBounds: TransportBounds = {
  messageBytes: 65_535,
  datagramBytes: 1_300,
  headers: 256,
  receiveBufferBytes: 8 * 1024 * 1024,
  writeQueueBytes: 4 * 1024 * 1024,
  unprovenQueueBytes: 256 * 1024,
  queueBytes: 128 * 1024 * 1024,
  connectTimeoutMs: 5_000,
  maxConnections: 20_000,
  maxOutgoing: 20_000,
  maxConnectionsPerAddress: 500,
  handshakesPerSecond: 300,
  mayWaitMs: MAY_WAIT_MS,
  pingMs: 30_000,
  idleMs: 15 * 60_000,
  partialMs: 32_000,
  firstMessageMs: 60_000,
  stalledMs: 10_000,
};

/** A message that came in or goes out, for tools that show the traffic: a ladder diagram, a trace. */
export interface Tapped {
  readonly direction: "in" | "out";
  /** `host:port` of the other side. */
  readonly peer: string;
  readonly message: SipMessage;
  /** Milliseconds of the wall clock. */
  readonly at: number;
  /** The message as it was on the wire. */
  readonly bytes: Buffer;
  /** The relay's own place, as far as it is known. */
  readonly local: { readonly transport: TransportName; readonly address: string; readonly port: number };
  readonly flow: Flow;
}

export type Tap = (event: Tapped) => void;

export interface TransportLayerOptions {
  readonly listen: readonly ListenOptions[];
  /** The transaction layer. It can also be given later by `attach`, since each of the two layers needs the other. */
  readonly user?: TransportUser;
  readonly clock: Clock;
  /** Certificates, for listeners of TLS and for connections to others. */
  readonly tls?: TlsSettings;
  /** Proxies whose X-Forwarded-For is believed where somebody comes by WebSocket; default: none. */
  readonly trustedProxies?: readonly string[];
  /** Which pages may connect by WebSocket, by their `Origin`; default: all. */
  readonly origins?: readonly string[];
  /** Peers within this process, reached by `transport=http`; default: there are none. */
  readonly inside?: InsidePeers;
  readonly bounds?: Partial<TransportBounds>;
  readonly log?: Logger;
  /** Logs messages that could not be read. */
  readonly peerLog?: PeerLog;
  /**
   * Sees every message. It is expensive: each message that goes out is parsed again for it. Not for a relay under load.
   */
  readonly tap?: Tap;
  /** Asked before each message goes out. True: nothing may be sent now. */
  readonly mutes?: () => boolean;
  /** What must not go out now by a connection; it may be sent when nothing is muted any more. */
  readonly muted?: (bytes: number, send: () => void) => void;
}

/** What happened since the start, for metrics. */
export interface TransportStats {
  messagesIn: number;
  /** Requests and responses, retransmissions included. */
  messagesOut: number;
  malformed: number;
  /** Datagrams of CRLF, and pings on connections (RFC 5626 §4.4.1). */
  keepAlives: number;
  /** Requests that could not leave by UDP. */
  sendFailures: number;
  /** Responses that were not for us (RFC 3261 §18.1.2). */
  foreignResponses: number;
  /** Requests sent by UDP although they are large, because there is no TCP (RFC 3261 §18.1.1). */
  oversized: number;
  connectionsAccepted: number;
  connectionsOpened: number;
  connectionsRefused: number;
  /** Datagrams and connections from networks that may not come to the listener. */
  denied: number;
  /** Ended to make room for others. */
  connectionsGaveWay: number;
  /** Peers that came by TLS or WebSocket and did not shake hands as they must, or not in time. */
  handshakesFailed: number;
  /** Connections that were closed, since too many waited for their handshake of TLS. */
  handshakesPutOff: number;
  connections: number;
  /** How often more came than could be handled at once. */
  overloads: number;
  /** Requests that would have begun something, and were refused for that. */
  refusedInOverload: number;
  /** The INVITEs among them. */
  callsRefusedInOverload: number;
  /** Messages of sessions for which there was no room. */
  lostInOverload: number;
}
