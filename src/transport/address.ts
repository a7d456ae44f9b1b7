import { isIP } from "node:net";

/** Texts that are known to be IP addresses: the same few are asked about with each call, and node matches them by a regular expression. */
const known = new Set<string>();
const MAX_KNOWN = 1_000;

/** Whether a text is an IPv4 or IPv6 address, without brackets. */
export function isAddress(text: string): boolean {
  if (known.has(text)) return true;
  if (isIP(text) === 0) return false;
  if (known.size >= MAX_KNOWN) known.clear();
  known.add(text);
  return true;
}
