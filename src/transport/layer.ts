import type { SecureContext } from "node:tls";
import { beginsAsMessage } from "../sip/frame.ts";
import type { SipMessage, SipRequest } from "../sip/message.ts";
import { defaultBounds, type ParseBounds, type ParseError, parseMessage } from "../sip/parse.ts";
import { serialize } from "../sip/serialize.ts";
import { isAddress, isV6, sameHost } from "../support/address.ts";
import { forwardedFor } from "../support/forwarded.ts";
import { listenError } from "../support/listen-error.ts";
import { Networks } from "../support/networks.ts";
import { sourceKey } from "../support/source.ts";
import { Certificates } from "./certificates.ts";
import { Connection } from "./connection.ts";
import { Connections, type StreamKind } from "./connections.ts";
import { DroppedMessages } from "./dropped.ts";
import { FailedFlow } from "./failed-flow.ts";
import { OverloadFeedback } from "./feedback.ts";
import { Intake } from "./intake.ts";
import { KINDS, type TransportName } from "./kinds.ts";
import { type Listener, Listeners } from "./listeners.ts";
import {
  defaultTransportBounds,
  type Tap,
  type Tapped,
  type TransportBounds,
  type TransportLayerOptions,
  type TransportStats,
} from "./options.ts";
import { streamsOf } from "./streams.ts";
import { bindingResponse } from "./stun.ts";
import type { Destination, Flow, TransportLayer, TransportUser } from "./types.ts";
import { UdpFlow, UdpListener } from "./udp.ts";
import { hostPort, portOf, responseTarget, stampVia, viaFor } from "./via.ts";

export type { ListenOptions } from "./listeners.ts";
export * from "./options.ts";

/** The transport layer, and how it is started and stopped. */
export interface Transports extends TransportLayer {
  readonly stats: Readonly<TransportStats>;
  /** The addresses it listens on; for port 0, with the port that the system chose. */
  readonly listening: readonly Destination[];
  /** How long a message has waited at most lately, or the event loop stood still, milliseconds (`Intake`). */
  readonly longestDelayMs: number;
  /** TLS for connections that the relay opens, as its files say now. */
  readonly secureClient: SecureContext;
  /** Days until the relay's certificate expires; undefined: it has none. */
  readonly certificateDaysLeft: number | undefined;
  /** Who sees every message; may change at any time. */
  tap: Tap | undefined;
  attach(user: TransportUser): void;
  /** Reads the certificates again; connections stay. If they cannot be used, the log says so and the former stay. */
  reloadCertificates(): void;
  /** Binds all sockets. If one cannot be bound, it closes them all and rejects. */
  start(): Promise<void>;
  close(): Promise<void>;
}

export function createTransportLayer(options: TransportLayerOptions): Transports {
  return new Layer(options);
}

/** How long a peer counts as one without TCP after it refused a connection. */
const NO_TCP_MS = 60_000;
const MAX_NO_TCP = 1_000;

class Layer implements Transports {
  private readonly options: TransportLayerOptions;
  private readonly bounds: TransportBounds;
  private readonly parseBounds: ParseBounds;
  private readonly listeners: Listeners;
  readonly dropped: DroppedMessages;
  private readonly udp: UdpListener[] = [];
  /** All messages come through it. */
  private readonly intake: Intake<UdpListener | Connection>;
  private readonly feedback: OverloadFeedback;
  /** The message at hand has waited too long, and begins something. */
  private isLate = false;
  private readonly connections: Connections;
  private readonly certificates: Certificates;
  private readonly streams: Partial<Readonly<Record<TransportName, StreamKind>>>;
  private readonly noTcp = new Map<string, number>();
  private readonly counts = { messagesIn: 0, messagesOut: 0, malformed: 0, keepAlives: 0, sendFailures: 0 };
  private readonly rare = { foreignResponses: 0, oversized: 0, denied: 0 };
  private user: TransportUser | undefined;
  tap: Tap | undefined;

  constructor(options: TransportLayerOptions) {
    this.options = options;
    this.user = options.user;
    this.tap = options.tap;
    const { maxConnections: maxOutgoing = defaultTransportBounds.maxOutgoing } = options.bounds ?? {};
    this.bounds = { ...defaultTransportBounds, maxOutgoing, ...options.bounds };
    const { messageBytes, headers } = this.bounds;
    this.parseBounds = { ...defaultBounds, maxMessageBytes: messageBytes, maxHeaders: headers };
    this.listeners = new Listeners(options.listen, options.clock);
    this.dropped = new DroppedMessages(options.clock, options.peerLog);
    this.intake = new Intake(
      {
        handle: (bytes, origin, address, port) => this.handle(bytes, origin, address, port),
        refuse: (bytes, origin, address, port) => {
          this.isLate = true;
          this.handle(bytes, origin, address, port);
          this.isLate = false;
        },
        hold: (origin, on) => {
          if (origin instanceof Connection) origin.hold(on);
        },
        fellBehind: () =>
          this.options.peerLog?.warn(
            "more comes than can be handled: sessions go first, new requests may get 503",
            "",
            {
              refused: this.intake.stats.refused,
            },
          ),
      },
      options.clock,
      this.bounds.mayWaitMs,
    );
    this.feedback = new OverloadFeedback(options.clock, () => ({
      handled: this.counts.messagesIn - this.intake.stats.refused,
      refused: this.intake.stats.refused,
    }));
    this.certificates = new Certificates(options.tls ?? {}, options.clock, options.log);
    this.streams = streamsOf({
      certificates: this.certificates,
      maxMessageBytes: this.bounds.messageBytes,
      origins: options.origins,
      inside: options.inside,
    });
    const proxies = new Networks(options.trustedProxies ?? []);
    this.connections = new Connections({
      ...(!proxies.isEmpty && {
        forwardedFor: (written, last) => forwardedFor(written, last, (address) => proxies.includes(address)),
      }),
      clock: options.clock,
      bounds: this.bounds,
      isBusy: () => this.intake.isBehind,
      received: (bytes, connection) => this.intake.take(bytes, connection, connection.remoteAddress, 0),
      unreadable: (error, connection, bytes) => this.malformed(error, connection, bytes),
      sending: (bytes, flow) => this.sending(bytes, flow),
      sentTooLate: (bytes, connection) => this.rerouteResponse(bytes, connection),
      closed: (flow, reason) => this.connectionClosed(flow, reason),
      serverFailed: (error) => this.options.log?.error({ err: error }, "a listener failed"),
      refused: (address, transport, why) =>
        this.options.peerLog?.info("a connection is not taken", sourceKey(address), { address, transport, why }),
    });
  }

  get stats(): TransportStats {
    const { accepted, opened, refused, gaveWay, keepAlives, denied, handshakesFailed, handshakesPutOff } =
      this.connections.stats;
    return {
      ...this.counts,
      ...this.rare,
      overloads: this.intake.stats.overloads,
      refusedInOverload: this.intake.stats.refused,
      callsRefusedInOverload: this.intake.stats.calls,
      lostInOverload: this.intake.stats.lost,
      keepAlives: this.counts.keepAlives + keepAlives,
      connectionsAccepted: accepted,
      connectionsOpened: opened,
      connectionsRefused: refused,
      connectionsGaveWay: gaveWay,
      denied: this.rare.denied + denied,
      handshakesFailed,
      handshakesPutOff,
      connections: this.connections.size,
    };
  }

  get listening(): readonly Destination[] {
    return this.listeners.all.map(({ transport, address, port }) => ({ transport, address, port }));
  }

  attach(user: TransportUser): void {
    this.user = user;
  }

  async start(): Promise<void> {
    try {
      for (const listener of this.listeners.all) {
        await this.open(listener).catch((error) => {
          throw listenError(`${listener.transport}:${hostPort(listener.address, listener.port)}`, error);
        });
      }
      for (const socket of this.udp) {
        const hasSibling = this.udp.some((other) => other !== socket && isV6(other.address) === isV6(socket.address));
        socket.name = hasSibling ? hostPort(socket.address, socket.port) : undefined;
      }
      this.certificates.watch();
      this.intake.start();
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  private async open(listener: Listener): Promise<void> {
    if (listener.transport === "udp") {
      const socket = this.udpListener(listener);
      this.udp.push(socket);
      await socket.start();
      listener.port = socket.port;
      listener.socket = socket;
    } else {
      const kind = this.streams[listener.transport]!;
      listener.port = await this.connections.listen(kind, listener);
    }
  }

  get longestDelayMs(): number {
    return this.intake.longestDelayMs;
  }

  get secureClient(): SecureContext {
    return this.certificates.client;
  }

  get certificateDaysLeft(): number | undefined {
    return this.certificates.daysLeft;
  }

  reloadCertificates(): void {
    this.certificates.reload(true);
  }

  async close(): Promise<void> {
    this.certificates.close();
    this.intake.close();
    await Promise.all([this.connections.close(), ...this.udp.map((socket) => socket.close())]);
  }

  // --- sending ---

  sendRequest(
    request: SipRequest,
    destination: Destination,
    branch: string,
    via?: Flow,
  ): { flow: Flow; bytes: Buffer } {
    let flow = via?.open ? via : this.flowTo(destination, request.method !== "ACK");
    request.headers.prepend("Via", this.viaValue(flow, branch));
    request.changed();
    let bytes = serialize(request);
    if (flow.transport === "udp" && bytes.length > this.bounds.datagramBytes) {
      const stream = this.streamInstead(flow);
      if (stream) {
        // RFC 3261 §18.1.1: too large for a datagram, so it goes by TCP. The Via is written anew, since it names the
        // transport.
        flow = stream;
        request.headers.fields.shift();
        request.headers.prepend("Via", this.viaValue(flow, branch));
        request.changed();
        bytes = serialize(request);
      }
    }
    flow.send(bytes);
    return { flow, bytes };
  }

  wayTo({ transport, address, port, leavesBy }: Destination): Flow | undefined {
    if (transport !== "udp" || !isAddress(address)) return undefined;
    return this.socketTo(address, leavesBy)?.flowTo(address, port);
  }

  connectionFrom(place: Pick<Destination, "transport" | "address" | "port">): Flow | undefined {
    return this.connections.from(place);
  }

  flowFor(destination: Destination): Flow {
    return this.flowTo(destination, false);
  }

  contactFor(flow: Flow): string {
    return flow.contact ?? contact(flow.transport, this.sentByOf(flow));
  }

  contactTowards(destination: Destination): string {
    const { transport, address, leavesBy } = destination;
    const socket = transport === "udp" ? this.socketTo(address, leavesBy) : undefined;
    const listener = socket ? this.listeners.of(socket) : this.listeners.reachedBy(transport, address);
    return contact(listener?.transport ?? transport, this.listeners.sentBy(listener, address));
  }

  /** `watched`: the sender must hear if sending fails. An ACK needs no watching: if it is lost, the 2xx comes again. */
  private flowTo(destination: Destination, watched: boolean): Flow {
    const { transport, address, port, leavesBy } = destination;
    if (!isAddress(address)) return this.failing(transport, address, port, "no address");
    const stream = this.streams[transport];
    if (stream) return this.connections.to(stream, destination);
    const socket = transport === "udp" ? this.socketTo(address, leavesBy) : undefined;
    if (!socket) return this.failing(transport, address, port, "no such transport here");
    return watched ? new UdpFlow(socket, address, port) : socket.flowTo(address, port);
  }

  private socketTo(address: string, leavesBy: string | undefined): UdpListener | undefined {
    const named = leavesBy === undefined ? undefined : this.udp.find(({ name }) => name === leavesBy);
    return named ?? this.listeners.towards("udp", address)?.socket;
  }

  private failing(transport: Destination["transport"], address: string, port: number, reason: string): Flow {
    return new FailedFlow(transport, address, port, (flow) => this.user?.flowFailed(flow, `${transport}: ${reason}`));
  }

  /** The connection for a request that is too large for UDP; undefined if the peer is known to have no TCP. */
  private streamInstead(flow: Flow): Flow | undefined {
    const key = `${flow.remoteAddress}|${flow.remotePort}`;
    const until = this.noTcp.get(key);
    if (until !== undefined && until > this.options.clock.monotonic()) {
      this.rare.oversized++;
      return undefined;
    }
    return this.connections.to(this.streams.tcp!, { address: flow.remoteAddress, port: flow.remotePort });
  }

  private viaValue(flow: Flow, branch: string): string {
    const via = viaFor(flow.transport, this.sentByOf(flow), branch);
    return this.offersReuse(flow) ? `${via};alias` : via;
  }

  /**
   * RFC 5923 §8.1: the peer may send requests back by this connection. Only by one that we opened and where both sides
   * can prove their names (§9), and only with a sent-by that is a listener of that transport: it is what the peer would
   * connect to.
   */
  private offersReuse(flow: Flow): boolean {
    if (!(flow instanceof Connection) || flow.incoming || flow.transport !== "tls") return false;
    return this.certificates.hasOwn && this.listeners.towards("tls", flow.remoteAddress) !== undefined;
  }

  private sentByOf(flow: Flow): string {
    const { remoteAddress, contact: elsewhere } = flow;
    if (elsewhere !== undefined) return elsewhere.replace(/;.*/s, "");
    const listener =
      flow instanceof UdpFlow
        ? this.listeners.of(flow.listener)
        : this.listeners.towards(flow.transport, remoteAddress, (flow as Connection).localPort);
    return this.listeners.sentBy(listener, remoteAddress, flow instanceof Connection ? flow.localAddress : undefined);
  }

  // --- receiving ---

  private udpListener({ address, port, admits }: Listener): UdpListener {
    const listener = new UdpListener({
      address,
      port,
      admits,
      denied: () => this.rare.denied++,
      receiveBufferBytes: this.bounds.receiveBufferBytes,
      received: (datagram, from) => this.receivedDatagram(datagram, listener, from.address, from.port),
      sending: (bytes, flow) => this.sending(bytes, flow),
      sendFailed: (flow, reason) => {
        this.counts.sendFailures++;
        this.user?.flowFailed(flow, reason);
      },
      socketFailed: (error) => this.options.log?.error({ err: error }, "udp socket failed"),
    });
    return listener;
  }

  private receivedDatagram(datagram: Buffer, listener: UdpListener, address: string, port: number): void {
    const first = datagram[0];
    // RFC 5626 §4.4: CRLF and STUN keep a NAT binding open. No SIP message begins with the first byte of STUN (0 to 3).
    if (first === undefined || first <= 3 || ((first === 13 || first === 10) && datagram.length <= 4)) {
      this.counts.keepAlives++;
      const answer = first === 0 ? bindingResponse(datagram, address, port) : undefined;
      if (answer) listener.flowTo(address, port).send(answer);
      return;
    }
    this.intake.take(datagram, listener, address, port);
  }

  private handle(bytes: Buffer, origin: UdpListener | Connection, address: string, port: number): string | undefined {
    const message =
      origin instanceof UdpListener
        ? this.handleDatagram(bytes, origin, address, port)
        : this.receivedFrame(bytes, origin);
    return message?.isRequest && message.method === "INVITE" && message.toTag === undefined
      ? message.callId
      : undefined;
  }

  private handleDatagram(
    datagram: Buffer,
    listener: UdpListener,
    address: string,
    port: number,
  ): SipMessage | undefined {
    const parsed = parseMessage(datagram, "datagram", this.parseBounds);
    const message = parsed.ok ? parsed.value : parsed.error.request;
    const request = message?.isRequest ? message : undefined;
    // An ACK is never answered, so its Via needs no stamp.
    if (request && request.method !== "ACK") stampVia(request, address, port, this.feedback);
    const flow = listener.flowTo(address, request ? responsePort(request, port) : port);
    if (parsed.ok) this.deliver(parsed.value, flow, datagram);
    else this.countMalformed(parsed.error, flow, datagram);
    return message;
  }

  private receivedFrame(bytes: Buffer, connection: Connection): SipMessage | undefined {
    // A WebSocket has message boundaries, so Content-Length may be missing there (RFC 7118 §5).
    const parsed = parseMessage(bytes, connection.framed ? "datagram" : "stream", this.parseBounds);
    if (!parsed.ok) {
      this.malformed(parsed.error, connection, bytes);
      if (!parsed.error.request && !beginsAsMessage(bytes)) connection.finish("what came is no SIP");
      return parsed.error.request;
    }
    connection.heard = true;
    if (parsed.value.isRequest) {
      if (connection.peerNames) this.lookForAlias(parsed.value, connection);
      stampVia(parsed.value, connection.remoteAddress, connection.remotePort, this.feedback);
    }
    this.deliver(parsed.value, connection, bytes);
    return parsed.value;
  }

  /** RFC 5923 §5: the peer wants requests to its sent-by port to come by this connection. */
  private lookForAlias({ via }: SipRequest, connection: Connection): void {
    const stream = this.streams[connection.transport];
    if (stream && via?.params.has("alias")) this.connections.reuse(connection, stream, portOf(via));
  }

  /** Bytes that came by a connection and are no message. */
  private malformed(error: ParseError, flow: Flow, bytes: Buffer): void {
    if (error.request) stampVia(error.request, flow.remoteAddress, flow.remotePort);
    this.countMalformed(error, flow, bytes);
  }

  private countMalformed(error: ParseError, flow: Flow, bytes: Buffer): void {
    this.counts.malformed++;
    this.dropped.unreadable(flow, error.reason, bytes, error.request && error.status);
    this.user?.malformed(error, flow);
  }

  /** Everything that goes out passes here, retransmissions too. False: it must not go out. */
  private sending(bytes: Buffer, flow: Flow): boolean {
    if (this.options.mutes?.()) {
      if (flow.reliable) this.options.muted?.(bytes.length, () => flow.open && flow.send(bytes));
      return false;
    }
    if (bytes.length <= 4 || bytes[0]! <= 3) return true; // The answer to a keep-alive: CRLF, STUN.
    this.counts.messagesOut++;
    if (!this.tap) return true;
    const parsed = parseMessage(bytes, "stream");
    if (parsed.ok) this.tapped("out", parsed.value, flow, bytes);
    return true;
  }

  private tapped(direction: "in" | "out", message: SipMessage, flow: Flow, bytes: Buffer): void {
    const peer = hostPort(flow.remoteAddress, flow.remotePort);
    const at = this.options.clock.wall();
    this.tap?.({ direction, peer, message, at, bytes, local: this.localOf(flow), flow });
  }

  private localOf(flow: Flow): Tapped["local"] {
    const { transport, remoteAddress } = flow;
    if (flow instanceof UdpFlow) return { transport, address: flow.listener.address, port: flow.listener.port };
    const { localAddress, localPort } = flow as Partial<Pick<Connection, "localAddress" | "localPort">>;
    const listener = this.listeners.towards(transport, remoteAddress, localPort);
    return { transport, address: localAddress ?? listener?.address ?? "", port: localPort ?? listener?.port ?? 0 };
  }

  private deliver(message: SipMessage, flow: Flow, bytes: Buffer): void {
    this.counts.messagesIn++;
    if (this.tap) this.tapped("in", message, flow, bytes);
    // RFC 3261 §18.1.2: a response to a request that we did not send.
    if (!message.isRequest && !this.listeners.isOurs(message.via)) {
      this.rare.foreignResponses++;
      this.dropped.useless(flow, "its Via says that the response is for another");
    } else if (this.isLate && message.isRequest && this.user?.refuse) this.user.refuse(message, flow);
    else this.user?.received(message, flow);
  }

  // --- connections that end ---

  private connectionClosed(flow: Flow, reason: string): void {
    if (flow instanceof Connection && flow.wasCut)
      this.options.peerLog?.info("a connection is ended", sourceKey(flow.remoteAddress), {
        address: flow.remoteAddress,
        port: flow.remotePort,
        transport: flow.transport,
        why: reason,
      });
    if (flow.connectFailed && flow.transport === "tcp") {
      if (this.noTcp.size >= MAX_NO_TCP) {
        const oldest = this.noTcp.keys().next().value;
        if (oldest !== undefined) this.noTcp.delete(oldest);
      }
      this.noTcp.set(`${flow.remoteAddress}|${flow.remotePort}`, this.options.clock.monotonic() + NO_TCP_MS);
    }
    this.user?.flowFailed(flow, reason);
  }

  /**
   * RFC 3261 §18.2.2: the connection of the request is gone, so the response goes by a new one, to the Via's address
   * and port.
   */
  private rerouteResponse(bytes: Buffer, connection: Connection): void {
    const stream = this.streams[connection.transport];
    const parsed = parseMessage(bytes, "stream");
    if (!stream || !KINDS[connection.transport].callsBack || !parsed.ok || parsed.value.isRequest) return;
    const target = responseTarget(parsed.value);
    // Only to the address that the request came from: otherwise a Via could make us open connections to others.
    if (!target || !sameHost(target.host, connection.remoteAddress)) return;
    const { host: name = "" } = parsed.value.via ?? {};
    this.connections.to(stream, { address: connection.remoteAddress, port: target.port, name }).send(bytes);
  }
}

/**
 * The port for the response to a datagram: its source port if the client asked for that, else its sent-by port (RFC
 * 3581 §4, RFC 3261 §18.2.2).
 */
function responsePort(request: SipRequest, from: number): number {
  const via = request.via;
  // DEVIATION: RFC 3261 §18.2.2 sends to the Via's maddr. That would let anyone aim our responses, and their
  // repetitions, at anyone.
  return !via || via.params.has("rport") ? from : portOf(via);
}

const contact = (transport: string, sentBy: string): string =>
  transport === "udp" ? sentBy : `${sentBy};transport=${transport}`;
