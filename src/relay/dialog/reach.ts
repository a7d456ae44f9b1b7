import { networkInterfaces } from "node:os";
import type { Config } from "../../config/schema.ts";
import { parseNameAddr, splitList } from "../../sip/headers.ts";
import type { SipRequest } from "../../sip/message.ts";
import { effectivePort, type SipUri, sipUriOf, targetHost } from "../../sip/uri.ts";
import { canonicalAddress, canonicalHost, sameHost, withoutZone } from "../../support/address.ts";
import type { Clock } from "../../support/clock.ts";
import { Networks } from "../../support/networks.ts";
import type { Destination, Flow } from "../../transport/types.ts";

/*
 * Where the relay sends the requests of a client's dialog. A client may write any address into Contact and
 * Record-Route. But app servers, and other machines near the relay, trust the relay and not the client (RFC 3261
 * §26.3.2.3). So requests go only where the client has come from, or to networks that the operator names, and never to
 * an app server or to the relay itself.
 */

/** Where a request of the client came from. */
export type CameFrom = Destination;

/** Addresses with their ports. In two steps, so that a look-up need not build a text. */
class Places {
  private readonly ports = new Map<string, Set<number>>();

  add(host: string, port: number): void {
    const ports = this.ports.get(host);
    if (ports) ports.add(port);
    else this.ports.set(host, new Set([port]));
  }

  has(host: string, port: number): boolean {
    const ports = this.ports.get(host);
    return ports?.has(port) ?? false;
  }
}

/** How long the tables are used: app servers come and go. */
const TABLES_MS = 1_000;
/** How long this machine's addresses, and those of names, are used. */
const NAMES_MS = 30_000;

/** What `Reach` needs. */
export interface Surroundings {
  readonly clock: Pick<Clock, "monotonic">;
  readonly directory: { appServers(): readonly { readonly uri: string }[] };
  /** Calls `found` with the addresses of a URI, best first. */
  resolve(uri: SipUri, found: (destinations: readonly Destination[]) => void): void;
}

interface Tables {
  readonly appServers: Places;
  /** Names of app servers with their ports, as their URIs have them. */
  readonly names: Places;
  readonly own: Places;
}

export class Reach {
  private readonly core: Surroundings;
  private readonly config: Config;
  private readonly listening: () => readonly Pick<Destination, "address" | "port">[];
  private readonly networks: Networks;
  private readonly proxies: Networks;
  private tables: Tables = { appServers: new Places(), names: new Places(), own: new Places() };
  private tablesUntil = Number.NEGATIVE_INFINITY;
  private machine: ReadonlySet<string> = new Set();
  private machineUntil = Number.NEGATIVE_INFINITY;
  /** The addresses of app servers' names, by URI. */
  private readonly resolved = new Map<string, { until: number; places: readonly Destination[] }>();

  /** `listening`: where the relay takes SIP. */
  constructor(
    core: Surroundings,
    config: Config,
    listening: () => readonly Pick<Destination, "address" | "port">[] = () => config.listen,
  ) {
    this.core = core;
    this.config = config;
    this.listening = listening;
    this.proxies = new Networks(config.trustedProxies);
    this.networks = new Networks([...config.clients.networks, ...config.trustedProxies]);
  }

  /**
   * The first of the destinations that a dialog's next request may go to; undefined: none. `cameFrom` is given for a
   * client's dialog. Without it the dialog is an app server's: only the relay's own addresses are forbidden then.
   */
  choose(destinations: readonly Destination[], cameFrom: CameFrom | undefined): Destination | undefined {
    for (const destination of destinations) if (this.may(destination, cameFrom)) return destination;
    // Whatever its Contact says, the client is where it came from. Over TCP that does not help: nobody listens there.
    return cameFrom?.transport === "udp" && this.may(cameFrom, cameFrom) ? cameFrom : undefined;
  }

  private may(destination: Destination, cameFrom: CameFrom | undefined): boolean {
    const { address, port } = destination;
    const { appServers, own } = this.current();
    const host = this.host(address);
    if (own.has(host, port)) return false;
    if (cameFrom === undefined) return true;
    if (appServers.has(host, port)) return false;
    return sameHost(address, cameFrom.address) || (this.networks.includes(address) && !isForMany(address));
  }

  /** Whether an app server is at that address and port. */
  isAppServer({ address, port }: Pick<Destination, "address" | "port">): boolean {
    return this.current().appServers.has(this.host(address), port);
  }

  /** Why a request that opens or moves a client's dialog cannot come from a client; undefined: it can. */
  whyNoClient(request: SipRequest, { remoteAddress, remotePort }: Flow): string | undefined {
    if (this.isAppServer({ address: remoteAddress, port: remotePort })) return "An App Server Is No Client";
    if (this.namesAppServer(request.contact?.uri)) return "Contact Is Not The Client's";
    const routes = request.headers.has("record-route") ? request.headers.all("record-route").flatMap(splitList) : NONE;
    for (const route of routes) {
      const address = parseNameAddr(route);
      if (address.ok && this.namesAppServer(address.value.uri)) return "Record-Route Is Not The Client's";
    }
    return undefined;
  }

  /** Whether a URI leads to the relay itself. */
  isOwn(uri: SipUri): boolean {
    return this.current().own.has(this.host(canonicalHost(targetHost(uri))), effectivePort(uri));
  }

  /** Whether a URI leads to an app server. */
  namesAppServer(named: string | SipUri | undefined): boolean {
    const uri = typeof named === "string" ? sipUriOf(named) : named;
    if (!uri) return false;
    const port = effectivePort(uri);
    return this.isAppServerAt(uri.host, port) || (uri.params.has("maddr") && this.isAppServerAt(targetHost(uri), port));
  }

  private isAppServerAt(written: string, port: number): boolean {
    const host = canonicalHost(written);
    const { appServers, names } = this.current();
    return names.has(host, port) || appServers.has(this.host(host), port);
  }

  private current(): Tables {
    const now = this.core.clock.monotonic();
    if (now >= this.tablesUntil) {
      this.tablesUntil = now + TABLES_MS;
      this.read(now);
    }
    return this.tables;
  }

  private read(now: number): void {
    if (now >= this.machineUntil) {
      this.machineUntil = now + NAMES_MS;
      this.machine = machineAddresses();
    }
    const appServers = new Places();
    const names = new Places();
    for (const { uri: text } of this.core.directory.appServers()) {
      const uri = sipUriOf(text);
      if (!uri) continue;
      const host = canonicalHost(targetHost(uri));
      const places = this.placesOf(text, uri, host, now);
      // One of the operator's proxies may stand before both clients and app servers. It can tell them apart.
      if (places.some(({ address }) => this.proxies.includes(address))) continue;
      names.add(host, effectivePort(uri));
      for (const { address, port } of places) appServers.add(this.host(address), port);
    }
    const { http, listen } = this.config;
    const own = new Places();
    for (const { address, port } of [...this.listening(), ...(http.listen ? [http.listen] : [])])
      own.add(this.host(address), port);
    for (const { advertised, port } of listen)
      if (advertised) own.add(this.host(advertised.host), advertised.port ?? port);
    this.tables = { appServers, names, own };
  }

  /** Where an app server is: at its address, or at the addresses that its name had last. */
  private placesOf(
    text: string,
    uri: SipUri,
    host: string,
    now: number,
  ): readonly Pick<Destination, "address" | "port">[] {
    if (canonicalAddress(host) !== undefined) return [{ address: host, port: effectivePort(uri) }];
    let known = this.resolved.get(text);
    if (known === undefined || now >= known.until) {
      known = { until: now + NAMES_MS, places: known?.places ?? NO_PLACES };
      if (this.resolved.size >= MOST_NAMES) this.resolved.clear();
      this.resolved.set(text, known);
      this.core.resolve(uri, (places) => {
        if (places.length === 0) return; // the addresses found before stay in use
        this.resolved.set(text, { until: now + NAMES_MS, places });
        this.tablesUntil = Number.NEGATIVE_INFINITY;
      });
    }
    return this.resolved.get(text)?.places ?? NO_PLACES;
  }

  /**
   * Gives one text for all ways to write this machine: any of its addresses, loopback, or 0.0.0.0 (RFC 1122 §3.2.1.3).
   */
  private host(address: string): string {
    const canonical = withoutZone(canonicalAddress(address) ?? address);
    return isHere(canonical) || this.machine.has(canonical) ? "here" : canonical;
  }
}

const NONE: readonly string[] = [];
const NO_PLACES: readonly Destination[] = [];
const MOST_NAMES = 10_000;

/** Loopback, and the unspecified address, which systems take for loopback as a destination. */
const isHere = (address: string): boolean =>
  address.startsWith("127.") || address === "::1" || address.startsWith("0.") || address === "::";

/** Multicast and broadcast. */
const isForMany = (address: string): boolean => /^(22[4-9]|23\d|255)\.|^ff/i.test(address);

function machineAddresses(): ReadonlySet<string> {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return new Set(all.map(({ address }) => withoutZone(canonicalAddress(address) ?? address)));
}
