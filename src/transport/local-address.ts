import { BlockList } from "node:net";
import { networkInterfaces } from "node:os";
import { isV6, withoutZone } from "../support/address.ts";
import type { Clock } from "../support/clock.ts";

/** How long the list of interfaces is used: they come and go, but asking the system takes some 100 µs. */
const REFRESH_MS = 10_000;

interface Local {
  readonly address: string;
  readonly internal: boolean;
  readonly subnet: BlockList;
}

/**
 * Which of this machine's addresses a peer sees when we send from a socket bound to the wildcard address: the one in
 * the peer's subnet, else the first that is not loopback. An operator behind a NAT or with several uplinks configures
 * `advertised` instead.
 */
export class LocalAddresses {
  private readonly clock: Clock;
  private readonly interfaces: typeof networkInterfaces;
  private readonly known: Record<"ipv4" | "ipv6", Local[]> = { ipv4: [], ipv6: [] };
  private readUntil = 0;

  constructor(clock: Clock, interfaces: typeof networkInterfaces = networkInterfaces) {
    this.clock = clock;
    this.interfaces = interfaces;
  }

  /** The local address towards `remote`, an IP address. */
  towards(remote: string): string {
    const near = this.near(remote);
    if (near !== undefined) return near;
    const family = familyOf(remote);
    const known = this.known[family];
    const chosen = known.find((local) => !local.internal) ?? known[0];
    return chosen?.address ?? (family === "ipv6" ? "::1" : "127.0.0.1");
  }

  /** The local address in the network of `remote`, if there is one. */
  near(remote: string): string | undefined {
    const now = this.clock.monotonic();
    if (now >= this.readUntil) this.read(now);
    const family = familyOf(remote);
    const bare = withoutZone(remote);
    return this.known[family].find((local) => local.subnet.check(bare, family))?.address;
  }

  private read(now: number): void {
    this.readUntil = now + REFRESH_MS;
    this.known.ipv4 = [];
    this.known.ipv6 = [];
    for (const entries of Object.values(this.interfaces()))
      for (const { address, cidr, family, internal } of entries ?? []) {
        const subnet = new BlockList();
        const name = family === "IPv6" ? "ipv6" : "ipv4";
        const bits = Number(cidr?.slice(cidr.indexOf("/") + 1));
        if (cidr && Number.isInteger(bits)) subnet.addSubnet(withoutZone(address), bits, name);
        this.known[name].push({ address, internal, subnet });
      }
  }
}

const familyOf = (address: string): "ipv4" | "ipv6" => (isV6(address) ? "ipv6" : "ipv4");
