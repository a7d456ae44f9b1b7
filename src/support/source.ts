import { canonicalHost, isV6, withoutZone } from "./address.ts";

/**
 * What counts as one source: an IPv4 address, or the /64 network of an IPv6 address, since a subscriber has a whole one (RFC 6177).
 */
export function sourceKey(address: string): string {
  if (!isV6(address)) return address;
  const canonical = canonicalHost(address);
  if (!isV6(canonical)) return canonical;
  const [head = "", tail] = withoutZone(canonical).split("::");
  const groups = head === "" ? [] : head.split(":");
  if (tail !== undefined) {
    const after = tail === "" ? 0 : tail.split(":").length;
    while (groups.length + after < 8) groups.push("0");
    if (tail !== "") groups.push(...tail.split(":"));
  }
  return `${groups.slice(0, 4).join(":")}::/64`;
}
