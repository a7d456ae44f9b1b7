import { isIP, SocketAddress } from "node:net";

/*
 * IP addresses and host names have one canonical spelling here. Comparisons and tables use it. The same address may be
 * written in many ways (RFC 4291 §2.2, RFC 5118). If two spellings counted as two hosts, a peer would have two limits,
 * and a way past a check.
 */

/**
 * Results for addresses asked about before, by their spelling. The same few come with each call, and node needs a
 * regular expression to read one.
 */
const known = new Map<string, string>();
const MAX_KNOWN = 1_000;

/** Whether a text is an IPv4 or IPv6 address, without brackets. */
export function isAddress(text: string): boolean {
  return canonicalAddress(text) !== undefined;
}

/**
 * The canonical spelling of an address (RFC 5952), as node writes the addresses of sockets. Undefined if the text is no
 * address. Accepted are brackets, upper case, leading zeros in IPv6 groups, and the third colon of RFC 5118 §4.10. An
 * IPv4 address mapped into IPv6 becomes that IPv4 address (RFC 4291 §2.5.5.2). The zone of a link-local address stays:
 * without it, the address leads nowhere (RFC 4007 §11). An IPv4 address with leading zeros is refused, since some
 * programs read them as octal (RFC 6943 §3.1.1).
 */
export function canonicalAddress(text: string): string | undefined {
  const before = known.get(text);
  if (before !== undefined) return before;
  const read = readAddress(text);
  if (read === undefined) return undefined;
  if (known.size >= MAX_KNOWN) known.clear();
  known.set(inOnePiece(text), read);
  return read;
}

/** The longest address has 45 characters; a zone, the name of an interface, may follow. */
const MAX_CHARS = 128;

function readAddress(text: string): string | undefined {
  if (text.length > MAX_CHARS) return undefined;
  const bare = text.charCodeAt(0) === 0x5b && text.endsWith("]") ? text.slice(1, -1) : text;
  if (!bare.includes(":")) return bare === text && isIP(bare) === 4 ? inOnePiece(bare) : undefined;
  const zoneAt = bare.indexOf("%");
  const zone = zoneAt < 0 ? "" : bare.slice(zoneAt);
  const address = (zoneAt < 0 ? bare : bare.slice(0, zoneAt)).replace(":::", "::");
  if (zone === "%" || isIP(address) !== 6) return undefined;
  const written = new SocketAddress({ address, family: "ipv6" }).address;
  const mapped = MAPPED.exec(written)?.[1];
  return inOnePiece(mapped ?? written + zone);
}

const MAPPED = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/;

/** A copy: a piece cut out of a message would keep the whole message in memory. */
const inOnePiece = (text: string): string => Buffer.from(text, "latin1").toString("latin1");

/**
 * The canonical spelling of a host from a URI or Via, so that equal hosts are equal texts. An address is written as by
 * `canonicalAddress`, without brackets; a name in lower case, without the dot at its end (RFC 3261 §19.1.4, RFC 1034
 * §3.1).
 */
export function canonicalHost(host: string): string {
  const address = looksLikeAddress(host) ? canonicalAddress(host) : undefined;
  if (address !== undefined) return address;
  const lower = host.toLowerCase();
  return lower.endsWith(".") ? lower.slice(0, -1) : lower;
}

/** A quick test: most hosts are names, which end with a letter and have no colon. */
function looksLikeAddress(host: string): boolean {
  const last = host.charCodeAt(host.length - 1);
  return last === 0x5d || (last >= 0x30 && last <= 0x39) || host.includes(":");
}

/** Whether two hosts (names or addresses, in any spelling) are the same. Zones are compared only if both have one. */
export function sameHost(a: string, b: string): boolean {
  if (a === b) return true;
  const one = canonicalHost(a);
  const other = canonicalHost(b);
  if (one === other) return true;
  // An address in a SIP message has no zone (RFC 5954 §4.1), but the same address from a socket has one.
  return one.includes("%") !== other.includes("%") && withoutZone(one) === withoutZone(other);
}

/** An address without its zone. */
export function withoutZone(address: string): string {
  const at = address.indexOf("%");
  return at < 0 ? address : address.slice(0, at);
}

/** Whether an address in its canonical form is an IPv6 address. */
export const isV6 = (address: string): boolean => address.includes(":");

/** Whether an address leads to this machine and no other (RFC 1122 §3.2.1.3, RFC 4291 §2.5.3). */
export function isLoopback(address: string): boolean {
  const canonical = canonicalAddress(address);
  return canonical !== undefined && (canonical.startsWith("127.") || canonical === "::1");
}

/** An address as it stands in a URI or Via: IPv6 in brackets, and without a zone. */
export function formatHost(host: string): string {
  return host.includes(":") && !host.startsWith("[") ? `[${withoutZone(host)}]` : host;
}
