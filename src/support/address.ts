import { isIP, SocketAddress } from "node:net";

/*
 * IP addresses and host names as texts: the one way of writing each by which they are compared and stand in tables.
 * The same address may be written in many ways (RFC 4291 §2.2, RFC 5118), and two spellings that count as two hosts
 * are two peers, two limits, and a way past a check.
 */

/**
 * Addresses asked about before, as they were written: the same few come with each call, and node reads them by a
 * regular expression.
 */
const known = new Map<string, string>();
const MAX_KNOWN = 1_000;

/** Whether a text is an IPv4 or IPv6 address, without brackets. */
export function isAddress(text: string): boolean {
  return canonicalAddress(text) !== undefined;
}

/**
 * The one way in which an address is written (RFC 5952), as node writes those of sockets; undefined where the text is
 * none. Read are brackets, upper case, leading zeros of IPv6 groups and the third colon of RFC 5118 §4.10. An IPv4
 * address mapped into IPv6 is that IPv4 address (RFC 4291 §2.5.5.2). The zone of a link-local address stays: without
 * it nobody can be reached there (RFC 4007 §11). No IPv4 address is one with leading zeros, which some read as octal
 * (RFC 6943 §3.1.1).
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

/** `[...]` or an address with colons is IPv6; the longest has 45 characters, and a zone is the name of an interface. */
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

/** A piece of a message must not keep the message. */
const inOnePiece = (text: string): string => Buffer.from(text, "latin1").toString("latin1");

/**
 * A host as it stands in a URI or Via, so that two that are the same are the same text: an address as
 * `canonicalAddress` writes it and without brackets, a name in lower case and without the dot at its end (RFC 3261
 * §19.1.4, RFC 1034 §3.1).
 */
export function canonicalHost(host: string): string {
  const address = looksLikeAddress(host) ? canonicalAddress(host) : undefined;
  if (address !== undefined) return address;
  const lower = host.toLowerCase();
  return lower.endsWith(".") ? lower.slice(0, -1) : lower;
}

/** Most hosts are names, which end with a letter and have no colon. */
function looksLikeAddress(host: string): boolean {
  const last = host.charCodeAt(host.length - 1);
  return last === 0x5d || (last >= 0x30 && last <= 0x39) || host.includes(":");
}

/** Whether two hosts, names or addresses however written, are the same. A zone counts where both have one. */
export function sameHost(a: string, b: string): boolean {
  if (a === b) return true;
  const one = canonicalHost(a);
  const other = canonicalHost(b);
  if (one === other) return true;
  // In a SIP message an address has no zone (RFC 5954 §4.1 knows none), and the socket on which it came says one.
  return one.includes("%") !== other.includes("%") && withoutZone(one) === withoutZone(other);
}

/** An address without its zone. */
export function withoutZone(address: string): string {
  const at = address.indexOf("%");
  return at < 0 ? address : address.slice(0, at);
}

/** Whether an address, in its canonical form, is one of IPv6. */
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
