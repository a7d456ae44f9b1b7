import { classOf, PERCENT } from "./chars.ts";
import type { ReadonlyParams } from "./params.ts";
import { escapeAt, type SipUri, type Uri, uriHeaders } from "./uri.ts";

/** The reserved set of RFC 2396 §2.2. */
const RESERVED = classOf(";/?:@&=+$,");

/** Whether two URIs are equivalent (RFC 3261 §19.1.4). It is not transitive. URIs of other schemes are compared as text. */
export function sameUri(a: Uri, b: Uri): boolean {
  if (a.scheme === "other" || b.scheme === "other")
    return a.scheme === "other" && b.scheme === "other" && a.name === b.name && a.rest === b.rest;
  return (
    a.scheme === b.scheme &&
    a.port === b.port &&
    a.host.toLowerCase() === b.host.toLowerCase() &&
    normal(a.user) === normal(b.user) &&
    normal(a.password) === normal(b.password) &&
    sameParams(a.params, b.params) &&
    sameHeaders(a, b)
  );
}

/**
 * These never match a URI without them; all others in one URI only are ignored. RFC 3261 §19.1.4 names transport where it speaks of
 * defaults, and in its examples.
 */
const NOT_IGNORED = ["user", "ttl", "method", "maddr", "transport"];

function sameParams(a: ReadonlyParams, b: ReadonlyParams): boolean {
  if (a.size === 0 && b.size === 0) return true;
  for (const name of NOT_IGNORED) if (a.has(name) !== b.has(name)) return false;
  for (const [name, value] of a) {
    const other = b.get(name);
    if (other !== undefined && normal(other)!.toLowerCase() !== normal(value)!.toLowerCase()) return false;
  }
  return true;
}

/** DEVIATION: RFC 3261 §19.1.4 compares each by the rules of its header field; here the values must be the same text. */
function sameHeaders(a: SipUri, b: SipUri): boolean {
  if (a.headers === b.headers) return true;
  const these = uriHeaders(a);
  const those = uriHeaders(b);
  return (
    these.length === those.length && these.every(([name, value], i) => name === those[i]![0] && value === those[i]![1])
  );
}

/** RFC 3261 §19.1.4: a character outside the reserved set is equivalent to its escape. */
function normal(text: string | undefined): string | undefined {
  if (text === undefined || !text.includes("%")) return text;
  let out = "";
  for (let i = 0; i < text.length; i++) {
    const octet = escapeAt(text, i);
    if (octet < 0) out += text[i];
    else {
      out +=
        RESERVED[octet] === 1 || octet === PERCENT ? text.slice(i, i + 3).toUpperCase() : String.fromCharCode(octet);
      i += 2;
    }
  }
  return out;
}
