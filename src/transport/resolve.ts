import { promises as dns } from "node:dns";
import { type SipUri, targetHost, transportOf } from "../sip/uri.ts";
import { canonicalHost, isAddress } from "../support/address.ts";
import type { Clock } from "../support/clock.ts";
import type { Random } from "../support/random.ts";
import { err, ok, type Result } from "../support/result.ts";
import { isInside } from "./inside.ts";
import { isTransport, KINDS } from "./kinds.ts";
import { orderServers, type Server } from "./srv.ts";
import type { Destination, TransportName } from "./types.ts";

/** The questions to the domain name system. A test passes answers of its own. */
export interface Dns {
  resolveNaptr(name: string): Promise<Naptr[]>;
  resolveSrv(name: string): Promise<Srv[]>;
  /** A and AAAA records, and the system's own hosts file. */
  lookup(name: string): Promise<{ address: string }[]>;
}

/** RFC 3403 §4.1. */
export interface Naptr {
  readonly flags: string;
  readonly service: string;
  readonly replacement: string;
  readonly order: number;
  readonly preference: number;
}

/** RFC 2782. */
export interface Srv {
  readonly name: string;
  readonly port: number;
  readonly priority: number;
  readonly weight: number;
}

/** Why a URI leads nowhere, in words for a log and a Reason header. */
export interface ResolveError {
  readonly reason: string;
}

export type Resolved = Result<readonly Destination[], ResolveError>;

export interface ResolverOptions {
  /** The transports that this relay can send by, the preferred one first. */
  readonly transports: readonly TransportName[];
  readonly clock: Clock;
  readonly random: Random;
  readonly dns?: Dns;
  /** How long an answer is kept. A name without an answer is asked for again sooner (`FAILURE_TTL_MS`). */
  readonly ttlMs?: number;
  /** How many names are kept, and how many may be asked for at once. */
  readonly maxNames?: number;
  /** How long one URI's resolution may take in all. */
  readonly timeoutMs?: number;
}

interface Entry {
  readonly servers: readonly Server[];
  readonly until: number;
}

/** How many servers and addresses the records of one domain may make us try. */
const MAX_SERVERS = 16;
const MAX_DESTINATIONS = 32;
const FAILURE_TTL_MS = 2_000;

/** Finds the addresses behind SIP URIs (RFC 3263 §4). */
export class Resolver {
  private readonly options: ResolverOptions;
  private readonly dns: Dns;
  private readonly cache = new Map<string, Entry>();
  private readonly asking = new Map<string, Promise<readonly Server[]>>();

  constructor(options: ResolverOptions) {
    this.options = options;
    this.dns = options.dns ?? systemDns();
  }

  /**
   * Destinations of a SIP or SIPS URI, best first, or why there are none. The result comes at once if the URI names an
   * address, or if the name is known already. Else it is a promise, which never rejects. The sender tries one
   * destination after the other (RFC 3263 §4.3).
   */
  resolve(uri: SipUri): Resolved | Promise<Resolved> {
    const reason = whyUnreachable(uri, this.options.transports);
    if (reason !== undefined) return err({ reason });
    const secure = uri.scheme === "sips";
    const asked = transportAsked(uri, secure);
    const target = canonicalHost(targetHost(uri));
    if (isAddress(target)) {
      const transport = asked ?? (secure ? "tls" : "udp"); // RFC 3263 §4.1
      const destination = { transport, address: target, port: uri.port ?? KINDS[transport].port };
      return ok([named(destination, uri)]);
    }
    const key = `${secure ? "sips" : "sip"}:${target}:${uri.port ?? ""};${asked ?? ""}`;
    const known = this.cache.get(key);
    if (known && known.until > this.options.clock.monotonic()) return this.answer(uri, target, known.servers);
    return this.ask(key, target, uri.port, asked, secure).then((servers) => this.answer(uri, target, servers));
  }

  private answer(uri: SipUri, target: string, servers: readonly Server[]): Resolved {
    const found = orderServers(servers, this.options.random).slice(0, MAX_DESTINATIONS);
    if (found.length === 0) return err({ reason: `no address found for ${target}` });
    return ok(found.map((destination) => named(destination, uri)));
  }

  private ask(
    key: string,
    target: string,
    port: number | undefined,
    asked: TransportName | undefined,
    secure: boolean,
  ) {
    const underWay = this.asking.get(key);
    if (underWay) return underWay;
    if (this.asking.size >= this.maxNames) return Promise.resolve([]);
    const answer = this.inTime(this.find(target, port, asked, secure).catch(() => [])).then((servers) => {
      this.asking.delete(key);
      this.remember(key, servers);
      return servers;
    });
    this.asking.set(key, answer);
    return answer;
  }

  /** An empty answer when the time is up, whatever the system's resolver is still doing. */
  private inTime(work: Promise<readonly Server[]>): Promise<readonly Server[]> {
    const { clock, timeoutMs = 8_000 } = this.options;
    return new Promise((resolve, reject) => {
      const timer = clock.setTimeout(() => resolve([]), timeoutMs);
      work
        .then((servers) => {
          clock.clearTimeout(timer);
          resolve(servers);
        })
        .catch(reject);
    });
  }

  private remember(key: string, servers: readonly Server[]): void {
    const ttlMs = servers.length > 0 ? (this.options.ttlMs ?? 30_000) : FAILURE_TTL_MS;
    this.cache.delete(key);
    this.cache.set(key, { servers, until: this.options.clock.monotonic() + ttlMs });
    if (this.cache.size <= this.maxNames) return;
    const oldest = this.cache.keys().next().value;
    if (oldest !== undefined) this.cache.delete(oldest);
  }

  private get maxNames(): number {
    return this.options.maxNames ?? 1_000;
  }

  private async find(
    target: string,
    port: number | undefined,
    asked: TransportName | undefined,
    secure: boolean,
  ): Promise<readonly Server[]> {
    const fallback = asked ?? (secure ? "tls" : "udp");
    // RFC 3263 §4.2: with a port, A or AAAA records only.
    if (port !== undefined) return this.hosts(target, fallback, port);
    const services = asked
      ? [{ transport: asked, name: `${KINDS[asked].srv}.${target}` }]
      : await this.naptr(target, secure);
    const found = await Promise.all(
      services.map(async ({ transport, name }, rank) => {
        const records = await this.dns.resolveSrv(name).catch(() => [] as Srv[]);
        return records.map((record) => ({ ...record, transport, rank }));
      }),
    );
    const records = found.flat().slice(0, MAX_SERVERS);
    // RFC 3263 §4.2: no SRV records, so the name's own addresses at the default port.
    if (records.length === 0) return this.hosts(target, fallback, KINDS[fallback].port);
    const servers = records
      // RFC 2782: a target of "." says that there is no such service.
      .filter((record) => record.name !== "" && record.name !== ".")
      .map(async ({ name, port, transport, rank, priority, weight }) => {
        const addresses = await this.addresses(name);
        return { transport, port, addresses, rank, priority, weight };
      });
    return (await Promise.all(servers)).filter((server) => server.addresses.length > 0);
  }

  /** Which SRV names to ask for, by the domain's own preference if it states one (RFC 3263 §4.1). */
  private async naptr(target: string, secure: boolean): Promise<{ transport: TransportName; name: string }[]> {
    const wanted = this.options.transports.filter((name) => !KINDS[name].inside && (!secure || KINDS[name].secure));
    const records = await this.dns.resolveNaptr(target).catch(() => [] as Naptr[]);
    const usable = records
      .filter((record) => record.flags.toLowerCase() === "s")
      .sort((a, b) => a.order - b.order || a.preference - b.preference)
      .slice(0, MAX_SERVERS)
      .flatMap((record) => {
        const transport = wanted.find((name) => KINDS[name].naptr === record.service.toUpperCase());
        return transport ? [{ transport, name: record.replacement }] : [];
      });
    if (usable.length > 0) return usable;
    return wanted.map((transport) => ({ transport, name: `${KINDS[transport].srv}.${target}` }));
  }

  private async hosts(name: string, transport: TransportName, port: number): Promise<readonly Server[]> {
    if (!this.options.transports.includes(transport)) return [];
    const addresses = await this.addresses(name);
    return addresses.length > 0 ? [{ transport, port, addresses, rank: 0, priority: 0, weight: 0 }] : [];
  }

  private async addresses(name: string): Promise<string[]> {
    const found = await this.dns.lookup(name).catch(() => []);
    return found.slice(0, MAX_SERVERS).map(({ address }) => canonicalHost(address));
  }
}

/** RFC 5922 §7.3: the certificate must name the host of the URI, whatever the DNS says. */
const named = (destination: Destination, uri: SipUri): Destination =>
  KINDS[destination.transport].secure ? { ...destination, name: canonicalHost(uri.host) } : destination;

/**
 * Why a URI cannot be reached by those transports, as far as that is known without a question to the DNS. Undefined: it
 * can perhaps be reached.
 */
export function whyUnreachable(uri: SipUri, transports: readonly TransportName[]): string | undefined {
  const secure = uri.scheme === "sips";
  const asked = transportAsked(uri, secure);
  // RFC 3261 §19.1.2
  if (secure && asked && isTransport(asked) && !KINDS[asked].secure) return `a sips URI cannot be reached by ${asked}`;
  const target = canonicalHost(targetHost(uri));
  const address = isAddress(target);
  if (!address && !mayBeName(target)) return `${target} is no host name`;
  // RFC 7118 §8.1, RFC 6761 §6.4: a browser does not know its address, and writes a name that nobody has.
  if (target.endsWith(".invalid")) return `${target} is nobody's name`;
  const transport = asked ?? (secure ? "tls" : "udp");
  // What is within this process is reached by no other transport, and nothing else by that one.
  const fits = (isTransport(transport) && KINDS[transport].inside) === (address && isInside(target));
  if (fits && transports.includes(transport as TransportName)) return undefined;
  // The DNS records of the name may choose another transport (RFC 3263 §4.1).
  const others = transports.some((name) => !secure || KINDS[name].secure);
  return asked === undefined && !address && others ? undefined : `transport ${transport} is not supported`;
}

/**
 * The transport that the URI itself demands. A SIPS URI's `tcp` means TLS (RFC 3261 §26.2.2), its `ws` secure WebSocket
 * (RFC 7118 §5.5).
 */
function transportAsked(uri: SipUri, secure: boolean): TransportName | undefined {
  const asked = transportOf(uri);
  if (!asked) return undefined;
  if (!isTransport(asked)) return asked as TransportName; // unknown here, which `whyUnreachable` says
  return secure ? (SECURED[asked] ?? asked) : asked;
}

const SECURED: Partial<Record<TransportName, TransportName>> = { tcp: "tls", ws: "wss" };

/**
 * RFC 3261 §25.1: the last label of a name begins with a letter. Other texts could be an address that only the system's
 * resolver accepts: `127.1`, `2130706433`, `010.0.0.1`. They are refused.
 */
function mayBeName(host: string): boolean {
  const first = host.charCodeAt(host.lastIndexOf(".") + 1) | 0x20;
  return first >= 0x61 && first <= 0x7a;
}

function systemDns(): Dns {
  const resolver = new dns.Resolver({ timeout: 2_000, tries: 2 });
  return {
    resolveNaptr: (name) => resolver.resolveNaptr(name),
    resolveSrv: (name) => resolver.resolveSrv(name),
    // The system's resolver: it knows /etc/hosts, and orders addresses as RFC 6724 says.
    lookup: (name) => dns.lookup(name, { all: true, verbatim: true }),
  };
}
