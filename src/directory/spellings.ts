import { isUtf8 } from "node:buffer";
import { effectivePort, type SipUri, unescape as unescaped } from "../sip/uri.ts";
import { canonicalHost, formatHost } from "../support/address.ts";

/** Says which hosts are the portal's own. */
export interface PortalHosts {
  /** Whether a host in a URI means this portal. */
  isPortal(host: string): boolean;
  /** The names of the portal, the main one first. Its other hosts are addresses, and each stands for all names. */
  readonly portalDomains?: readonly string[];
}

/**
 * A SIP URI as rules see it, in one canonical spelling, so that no rule can be evaded by another spelling. The user
 * part is readable text, without a password. The host is in lower case. A port that means nothing is left out, and so
 * are all parameters: the service is taken from the rest. Further texts follow if the URI could also be written in
 * another way: a `sips:` URI as `sip:`, an address of the portal as its domains, and a port of the portal, which takes
 * any, as it was written. A pattern holds if it matches one of the texts.
 */
export function spellings(uri: SipUri, portal: PortalHosts): readonly string[] {
  const user = uri.user === undefined ? "" : `${readableUser(uri.user)}@`;
  const host = canonicalHost(uri.host);
  const own = portal.isPortal(uri.host);
  const port = uri.port === undefined || isDefaultPort(uri) ? "" : `:${uri.port}`;
  // Nearly all URIs have this form.
  const plain = `${user}${formatHost(host)}${own ? "" : port}`;
  const domains = portal.portalDomains ?? NO_DOMAINS;
  const others =
    own && domains.length > 0 && !domains.some((domain) => canonicalHost(domain) === host) ? domains : NO_DOMAINS;
  if (uri.scheme === "sip" && others.length === 0 && (port === "" || !own)) return [`sip:${plain}`];
  const hosts = [plain, ...others.map((domain) => `${user}${domain}`)];
  if (own && port !== "") hosts.push(...hosts.map((one) => one + port));
  const schemes = uri.scheme === "sips" ? ["sips", "sip"] : ["sip"];
  return schemes.flatMap((scheme) => hosts.map((one) => `${scheme}:${one}`));
}

const NO_DOMAINS: readonly string[] = [];

const isDefaultPort = (uri: SipUri): boolean => uri.port === effectivePort({ ...uri, port: undefined });

/**
 * A user part as text. Needless escapes are removed (RFC 3261 §19.1.2), the others are in upper case. Octets that are
 * not UTF-8 are escaped.
 */
export function readableUser(user: string): string {
  if (PLAIN.test(user)) return user;
  const octets = Buffer.from(unescaped(user), "latin1");
  const escaped = (c: string) => `%${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`;
  if (isUtf8(octets)) return octets.toString("utf8").replace(RESERVED, escaped);
  return octets.toString("latin1").replace(RESERVED_OR_HIGH, escaped);
}

/** user-unreserved and unreserved of RFC 3261 §25.1. */
const PLAIN = /^[A-Za-z0-9\-_.!~*'()&=+$,;?/]*$/;
const RESERVED = /[^A-Za-z0-9\-_.!~*'()&=+$,;?/\x80-\u{10ffff}]/gu;
const RESERVED_OR_HIGH = /[^A-Za-z0-9\-_.!~*'()&=+$,;?/]/g;
