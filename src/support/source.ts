import { canonicalAddress, isV6, withoutZone } from "./address.ts";

/** A translator shows all of IPv4 within one IPv6 network, a /96 (RFC 6052 §2.1). */
const TRANSLATED = /^64:ff9b::(?:([0-9a-f]{1,4}):)?([0-9a-f]{1,4})$/;

/**
 * What counts as one source: an IPv4 address, also one that a translator shows as IPv6; or the /64 network of an IPv6
 * address, since each subscriber has a whole /64 or more (RFC 6177). A text that is no address comes back as it is.
 */
export function sourceKey(address: string): string {
  if (!isV6(address)) return address;
  const canonical = canonicalAddress(address);
  if (canonical === undefined || !isV6(canonical)) return canonical ?? address;
  const [, high = "0", low] = TRANSLATED.exec(canonical) ?? [];
  if (low !== undefined) {
    const octets = Buffer.from(high.padStart(4, "0") + low.padStart(4, "0"), "hex");
    return octets.join(".");
  }
  const [head = "", tail] = withoutZone(canonical).split("::");
  const groups = head === "" ? [] : head.split(":");
  if (tail !== undefined) {
    const after = tail === "" ? 0 : tail.split(":").length;
    while (groups.length + after < 8) groups.push("0");
    if (tail !== "") groups.push(...tail.split(":"));
  }
  return `${groups.slice(0, 4).join(":")}::/64`;
}
