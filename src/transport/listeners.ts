import type { networkInterfaces } from "node:os";
import type { Via } from "../sip/headers.ts";
import { canonicalAddress, canonicalHost, isLoopback, isV6, withoutZone } from "../support/address.ts";
import type { Clock } from "../support/clock.ts";
import { Networks } from "../support/networks.ts";
import { type Admits, admitsBy } from "./access.ts";
import { KINDS, TRANSPORTS, type TransportName } from "./kinds.ts";
import { LocalAddresses } from "./local-address.ts";
import type { UdpListener } from "./udp.ts";
import { hostPort, portOf } from "./via.ts";

/** One address to listen on. */
export interface ListenOptions {
  readonly transport: TransportName;
  /** An IP address of this machine; `0.0.0.0` or `::` for all of that family. */
  readonly address: string;
  /** 0: any free port. */
  readonly port: number;
  /** The address that peers are told to use, if it is not this one: e.g. behind a NAT, or a name. */
  readonly advertised?: { readonly host: string; readonly port?: number };
  /** Which networks may come, and which may not (`access.ts`); default: all may. */
  readonly allow?: readonly string[];
  readonly deny?: readonly string[];
  /** Networks of load balancers whose connections begin with the PROXY protocol; default: none. */
  readonly proxyProtocol?: readonly string[];
}

export interface Listener {
  readonly transport: TransportName;
  readonly address: string;
  /** The configured port; once bound, the port that was bound. */
  port: number;
  readonly advertised: ListenOptions["advertised"];
  readonly admits: Admits | undefined;
  readonly balancers: Networks | undefined;
  /** The host that stands in our Vias, in its canonical form. */
  readonly host: string;
  readonly ipv6: boolean;
  readonly loopback: boolean;
  readonly wildcard: boolean;
  socket: UdpListener | undefined;
  /** The result of `sentBy`, if it is the same for all peers. */
  shownAs: string | undefined;
}

/** All listeners. Says which of them a peer should see, and whether an address is ours. */
export class Listeners {
  readonly all: Listener[];
  /**
   * Whether two listeners of the same transport and family have different addresses: the machine is in several
   * networks.
   */
  private readonly several: boolean;
  private readonly local: LocalAddresses;
  /**
   * Addresses that stood in our Vias because a listener has the wildcard address. There are never more than this
   * machine has.
   */
  private readonly shown = new Set<string>();

  constructor(listen: readonly ListenOptions[], clock: Clock, interfaces?: typeof networkInterfaces) {
    this.local = new LocalAddresses(clock, interfaces);
    this.all = listen.map(({ transport, address: written, port, advertised, allow, deny, proxyProtocol = [] }) => {
      const address = canonicalAddress(written) ?? written;
      return {
        transport,
        address,
        port,
        advertised,
        admits: admitsBy({ allow, deny }),
        balancers: proxyProtocol.length > 0 ? new Networks(proxyProtocol) : undefined,
        host: canonicalHost(advertised?.host ?? address),
        ipv6: isV6(address),
        loopback: isLoopback(address),
        wildcard: address === "0.0.0.0" || address === "::",
        socket: undefined,
        shownAs: undefined,
      };
    });
    const own = this.all.filter(({ wildcard }) => !wildcard);
    this.several = own.some((one, i) => own.findIndex((other) => isAlike(one, other)) !== i);
  }

  of(socket: UdpListener): Listener | undefined {
    for (const listener of this.all) if (listener.socket === socket) return listener;
    return undefined;
  }

  /**
   * The listener for a peer at that address: the best of those of its transport and family. The port counts most, if
   * one is given; then, whether both are on loopback or neither; then an address in the peer's network; then the
   * wildcard address. Among equals the first is taken.
   */
  towards(transport: TransportName, remote: string, port?: number): Listener | undefined {
    const ipv6 = isV6(remote);
    const loopback = isLoopback(remote);
    const near = this.several && !loopback ? this.local.near(remote) : undefined;
    let found: Listener | undefined;
    let foundRank = -1;
    for (const listener of this.all) {
      if (listener.transport !== transport || listener.ipv6 !== ipv6) continue;
      const rank =
        (listener.port === port ? 4 : 0) +
        (listener.loopback === loopback ? 2 : 0) +
        (listener.wildcard ? 1 : 0) +
        (listener.address === near ? 1.5 : 0);
      if (rank > foundRank) {
        found = listener;
        foundRank = rank;
      }
    }
    return found;
  }

  /**
   * The listener by which a peer to whom we send by `transport` can reach us. If there is none of that transport, it is
   * the best of another, as secure if possible.
   */
  reachedBy(transport: TransportName, remote: string): Listener | undefined {
    const own = this.towards(transport, remote);
    if (own) return own;
    let found: Listener | undefined;
    for (const name of TRANSPORTS) {
      const other = KINDS[name].callsBack || name === transport ? this.towards(name, remote) : undefined;
      if (other && KINDS[name].secure === KINDS[transport].secure) return other;
      found ??= other;
    }
    return found;
  }

  /**
   * Our host:port in a Via or Contact that goes to `remote`. It is the advertised address if there is one, else the
   * address that we listen on. For the wildcard address it is the address of this machine that the peer sees (`local`
   * if that is known).
   */
  sentBy(listener: Listener | undefined, remote: string, local?: string): string {
    if (listener?.shownAs !== undefined) return listener.shownAs;
    const port = listener?.port ?? this.all[0]?.port ?? 5060;
    if (!listener || (listener.wildcard && !listener.advertised))
      return hostPort(this.show(local ?? this.local.towards(remote)), port);
    const { advertised, address } = listener;
    const same = advertised ? hostPort(advertised.host, advertised.port ?? port) : hostPort(address, port);
    listener.shownAs = same;
    return same;
  }

  /** Whether the sent-by of a Via is one of ours (RFC 3261 §18.1.2). */
  isOurs(via: Via | undefined): boolean {
    if (!via) return false;
    const written = canonicalHost(via.host);
    for (const { advertised, host, port } of this.all) {
      const shownPort = advertised?.port ?? port;
      if (portOf(via) !== shownPort) continue;
      if (written === host || this.shown.has(written)) return true;
    }
    return false;
  }

  private show(address: string): string {
    this.shown.add(withoutZone(address));
    return address;
  }
}

const isAlike = (a: Listener, b: Listener): boolean =>
  a.transport === b.transport && a.ipv6 === b.ipv6 && a.loopback === b.loopback;
