import { BlockList, isIP } from "node:net";
import { canonicalAddress, withoutZone } from "./address.ts";

/** How many results are kept: the same few addresses come again and again. */
const MAX_KNOWN = 1_000;

/** Whether a text names an address or a network: `10.0.0.5`, `10.0.0.0/8`, `2001:db8::/32`. */
export function isNetwork(text: string): boolean {
  return readNetwork(text) !== undefined;
}

/** A list of addresses and networks. Says whether an address is in it. */
export class Networks {
  private readonly list = new BlockList();
  private readonly known = new Map<string, boolean>();
  readonly isEmpty: boolean;

  /** A text that is no network is left out: the configuration was checked before. */
  constructor(texts: readonly string[]) {
    this.isEmpty = texts.length === 0;
    for (const text of texts) {
      const network = readNetwork(text);
      if (network) this.list.addSubnet(network.address, network.bits, network.family);
    }
  }

  /**
   * `address`: IPv4 or IPv6, in any spelling. An IPv4 address that is mapped into IPv6 counts as that IPv4 address. Any
   * other text is in no network.
   */
  includes(address: string): boolean {
    if (this.isEmpty) return false;
    const canonical = canonicalAddress(address);
    if (canonical === undefined) return false;
    const before = this.known.get(canonical);
    if (before !== undefined) return before;
    const bare = withoutZone(canonical);
    const found = this.list.check(bare, isIP(bare) === 4 ? "ipv4" : "ipv6");
    if (this.known.size >= MAX_KNOWN) this.known.clear();
    this.known.set(canonical, found);
    return found;
  }
}

function readNetwork(text: string): { address: string; bits: number; family: "ipv4" | "ipv6" } | undefined {
  const slash = text.indexOf("/");
  const address = canonicalAddress(slash < 0 ? text : text.slice(0, slash));
  const family = address === undefined || address.includes("%") ? 0 : isIP(address);
  if (address === undefined || family === 0) return undefined;
  const most = family === 4 ? 32 : 128;
  const bits = slash < 0 ? most : /^\d{1,3}$/.test(text.slice(slash + 1)) ? Number(text.slice(slash + 1)) : -1;
  return bits < 0 || bits > most ? undefined : { address, bits, family: family === 4 ? "ipv4" : "ipv6" };
}
