import { createServer, type Server, type Socket } from "node:net";
import type { Clock } from "../support/clock.ts";
import type { Networks } from "../support/networks.ts";
import { sourceKey } from "../support/source.ts";
import type { Admits } from "./access.ts";
import type { Wire } from "./connection.ts";
import { Handshakes } from "./handshakes.ts";
import { KINDS, type TransportName } from "./kinds.ts";
import { type Announced, takeProxyHeader } from "./proxy-protocol.ts";
import { SHARED_PORT } from "./shared-ports.ts";

/** Where a peer is. */
export interface Place {
  readonly address: string;
  readonly port: number;
}

/** A listener's way from a TCP connection to one that carries messages. */
export interface Door {
  /** Shakes hands, and calls `ready`, or destroys the socket. */
  take(socket: Socket): void;
}

/** What a door tells. */
export interface DoorUser {
  ready(wire: Wire, socket: Socket): void;
  /** The peer did not shake hands as it must; the door closes the connection. */
  failed(socket: Socket, why: string): void;
  /** A proxy before the door says for whom it asks. Undefined: may come; else why not. */
  forwarded(socket: Socket, written: string): string | undefined;
}

/** How the connections of one transport are let in. */
export interface ArrivalKind {
  readonly transport: TransportName;
  /** Called for each listener. Undefined: a TCP connection carries messages as it is. */
  door?(user: DoorUser): Door;
}

/** One address at which connections are taken. */
export interface Entrance {
  readonly address: string;
  /** 0: any free port. */
  readonly port: number;
  /** Who may come; undefined: all. */
  readonly admits?: Admits | undefined;
  /** The load balancers whose connections begin with the PROXY protocol; undefined: none. */
  readonly balancers?: Networks | undefined;
}

export interface ArrivalsOptions {
  readonly clock: Clock;
  readonly bounds: {
    readonly maxConnections: number;
    readonly maxConnectionsPerAddress: number;
    readonly firstMessageMs: number;
    readonly handshakesPerSecond: number;
  };
  readonly stats: {
    accepted: number;
    refused: number;
    denied: number;
    gaveWay: number;
    handshakesFailed: number;
    handshakesPutOff: number;
  };
  /** Messages wait, and go before those who arrive. */
  readonly isBusy?: (() => boolean) | undefined;
  /** Says for whom an HTTP proxy asks: the address behind the last hop (X-Forwarded-For). */
  readonly forwardedFor?: ((written: string, last: string) => string) | undefined;
  /** How many connections that others have opened are held beside those that arrive. */
  held(): number;
  /** Ends one that is held, if one can give way. */
  makeRoom(latest: number): boolean;
  ready(kind: ArrivalKind, wire: Wire, place: Place): void;
  /** Something arrives: time-outs have to be looked after. */
  began(): void;
  serverFailed(error: Error): void;
  /** A connection was not accepted. */
  readonly refused?: ((address: string, transport: string, why: string) => void) | undefined;
}

/** When there is no room, what is younger than this does not give way. */
const GIVES_WAY_MS = 2_000;
const DENIED = "its network may not come to this listener";

interface Arrival extends Place {
  readonly kind: ArrivalKind;
  readonly entrance: Entrance;
  readonly door: Door | undefined;
  readonly since: number;
  /** What it counts for; undefined: the load balancer has not said yet for whom it comes. */
  readonly source: string | undefined;
}

/** Connections that others open, until they carry messages: who may come, how many, and how fast. */
export class Arrivals {
  private readonly options: ArrivalsOptions;
  private readonly servers: Server[] = [];
  /** Peers that are still shaking hands, the oldest first. */
  private readonly shaking = new Map<Socket, Arrival>();
  /** Those whose handshake has not begun. */
  private readonly queued = new Map<Socket, Arrival>();
  private readonly handshakes: Handshakes<Socket>;
  /** How many connections each source has opened to us. */
  private readonly incoming = new Map<string, number>();
  private ending = false;

  constructor(options: ArrivalsOptions) {
    this.options = options;
    this.handshakes = new Handshakes<Socket>({
      clock: options.clock,
      perSecond: options.bounds.handshakesPerSecond,
      isBusy: options.isBusy,
      begin: (socket) => this.shake(socket, this.queued.get(socket)!),
      giveUp: (socket) => this.putOff(socket),
    });
  }

  /** How many there are. */
  get size(): number {
    return this.shaking.size + this.queued.size;
  }

  /** Listens on that address. Resolves to the port; rejects if it cannot listen there. */
  async listen(kind: ArrivalKind, entrance: Entrance): Promise<number> {
    const door = kind.door?.({
      ready: (wire, socket) => this.ready(wire, socket),
      failed: (socket, why) => this.failed(socket, why),
      forwarded: (socket, written) => this.forwarded(socket, written),
    });
    const server = createServer({ noDelay: true }, (socket) => this.accept({ kind, entrance, door }, socket));
    this.servers.push(server);
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      // Two sockets for two families, as with UDP.
      const where = { host: entrance.address, port: entrance.port, ipv6Only: true };
      server.listen({ ...where, backlog: 1024, ...SHARED_PORT }, () => {
        server.off("error", reject);
        resolve();
      });
    });
    server.on("error", (error) => this.options.serverFailed(error));
    const bound = server.address();
    return typeof bound === "object" && bound ? bound.port : entrance.port;
  }

  /** Stops listening, and ends those that arrive. Resolves when no connection of a listener is left. */
  close(): Promise<unknown> {
    this.ending = true;
    const closed = this.servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve())));
    this.handshakes.close();
    for (const socket of [...this.shaking.keys()]) socket.destroy();
    return Promise.all(closed);
  }

  /** A connection of that address has ended. */
  left(address: string): void {
    this.leaves(sourceKey(address));
  }

  /** Gives up those that take too long to shake hands. */
  sweep(now: number): void {
    for (const [socket, { since }] of this.shaking) {
      if (now - since < this.options.bounds.firstMessageMs) break; // the oldest come first
      this.options.stats.handshakesFailed++;
      this.giveUp(socket);
    }
  }

  private accept(at: Pick<Arrival, "kind" | "entrance" | "door">, socket: Socket): void {
    const { remoteAddress: address, remotePort: port } = socket;
    socket.on("error", () => undefined);
    if (address === undefined || port === undefined || this.ending) {
      this.options.stats.refused++;
      socket.destroy();
      return;
    }
    const since = this.options.clock.monotonic();
    if (at.door || at.entrance.balancers) socket.once("close", () => this.gone(socket));
    if (!at.entrance.balancers?.includes(address)) {
      this.arrive(socket, { ...at, address, port, since, source: sourceKey(address) });
      return;
    }
    if (!this.hasRoom()) {
      this.refuse(socket, at.kind, address, FULL);
      return;
    }
    this.keep(socket, { ...at, address, port, since, source: undefined });
    takeProxyHeader(socket, (from) => this.announced(socket, from));
  }

  /** The load balancer has said for whom it comes. */
  private announced(socket: Socket, from: Announced | undefined): void {
    const arrival = this.shaking.get(socket);
    if (!arrival) return;
    if (!from) {
      this.failed(socket, "the load balancer does not begin with the PROXY protocol");
      socket.destroy();
      return;
    }
    this.shaking.delete(socket);
    const { address, port } = from === "own" ? arrival : from;
    this.arrive(socket, { ...arrival, address, port, source: sourceKey(address) });
  }

  private arrive(socket: Socket, arrival: Arrival & { readonly source: string }): void {
    const { kind, entrance, address, source, door } = arrival;
    const count = this.incoming.get(source) ?? 0;
    if (entrance.admits?.(address) === false) {
      this.options.stats.denied++;
      this.refuse(socket, kind, address, DENIED);
    } else if (count >= this.options.bounds.maxConnectionsPerAddress)
      this.refuse(socket, kind, address, "its address has as many as it may");
    else if (!this.hasRoom()) this.refuse(socket, kind, address, FULL);
    else {
      if (!door) {
        this.incoming.set(source, count + 1);
        this.options.stats.accepted++;
        this.options.ready(kind, socket, arrival);
        return;
      }
      const turn = KINDS[kind.transport].secure ? this.handshakes.take(source, socket) : "now";
      if (turn === "no") {
        this.options.stats.handshakesPutOff++;
        this.refuse(socket, kind, address, "too many wait for their handshake");
        return;
      }
      this.incoming.set(source, count + 1);
      this.options.stats.accepted++;
      if (turn === "now") this.shake(socket, arrival);
      else this.queued.set(socket, arrival);
    }
  }

  private hasRoom(): boolean {
    return this.options.held() + this.size < this.options.bounds.maxConnections || this.makeRoom();
  }

  private refuse(socket: Socket, { transport }: ArrivalKind, address: string, why: string): void {
    this.options.stats.refused++;
    this.options.refused?.(address, transport, why);
    socket.destroy();
  }

  private shake(socket: Socket, arrival: Arrival): void {
    this.queued.delete(socket);
    this.keep(socket, { ...arrival, since: this.options.clock.monotonic() });
    arrival.door!.take(socket);
  }

  private keep(socket: Socket, arrival: Arrival): void {
    this.shaking.set(socket, arrival);
    this.options.began();
  }

  /** The peer has gone before it had shaken hands. */
  private gone(socket: Socket): void {
    const waiting = this.queued.get(socket);
    if (!waiting) {
      this.giveUp(socket);
      return;
    }
    this.queued.delete(socket);
    this.handshakes.gone(waiting.source!, socket);
    this.leaves(waiting.source);
  }

  /** The peer has shaken hands. */
  private ready(wire: Wire, socket: Socket): void {
    const arrival = this.shaking.get(socket);
    if (!arrival || !this.shaking.delete(socket)) wire.destroy();
    else this.options.ready(arrival.kind, wire, arrival);
  }

  private forwarded(socket: Socket, written: string): string | undefined {
    const arrival = this.shaking.get(socket);
    if (!arrival) return undefined;
    const { entrance, address: last } = arrival;
    const address = this.options.forwardedFor?.(written, last) ?? last;
    if (address === last) return undefined;
    const source = sourceKey(address);
    this.leaves(arrival.source);
    this.incoming.set(source, (this.incoming.get(source) ?? 0) + 1);
    this.shaking.set(socket, { ...arrival, address, port: 0, source });
    if (entrance.admits?.(address) === false) {
      this.options.stats.denied++;
      return DENIED;
    }
    return this.incoming.get(source)! > this.options.bounds.maxConnectionsPerAddress
      ? "its address has as many as it may"
      : undefined;
  }

  private failed(socket: Socket, why: string): void {
    const arrival = this.shaking.get(socket);
    if (!arrival) return;
    this.options.stats.handshakesFailed++;
    this.options.refused?.(arrival.address, arrival.kind.transport, why);
  }

  private giveUp(socket: Socket): void {
    const arrival = this.shaking.get(socket);
    if (!arrival) return;
    this.shaking.delete(socket);
    this.leaves(arrival.source);
    socket.destroy();
  }

  /** Another source has the place of one that waited. */
  private putOff(socket: Socket): void {
    const arrival = this.queued.get(socket);
    if (!arrival) return;
    this.queued.delete(socket);
    this.leaves(arrival.source);
    this.options.stats.handshakesPutOff++;
    socket.destroy();
  }

  private leaves(source: string | undefined): void {
    if (source === undefined) return;
    const left = (this.incoming.get(source) ?? 1) - 1;
    if (left > 0) this.incoming.set(source, left);
    else this.incoming.delete(source);
  }

  /** Ends the oldest that still shakes hands, if it is old enough; else one that is held. */
  private makeRoom(): boolean {
    const latest = this.options.clock.monotonic() - GIVES_WAY_MS;
    for (const [socket, { since }] of this.shaking) {
      if (since > latest) break;
      this.options.stats.gaveWay++;
      this.giveUp(socket);
      return true;
    }
    return this.options.makeRoom(latest);
  }
}

const FULL = "there are as many as there may be";
