import type { X509Certificate } from "node:crypto";
import { canonicalAddress, canonicalHost } from "../support/address.ts";

/*
 * RFC 5922: which SIP domains a certificate is for. Chain, dates and usage have been checked by TLS before.
 */

/** What is read of a certificate. */
type Certificate = Pick<X509Certificate, "subjectAltName" | "subject">;

/**
 * The SIP domain identities in a certificate, in canonical spelling (§7.1). DNS names count only if there is no `sip:`
 * URI, and the common name only if there are no alternative names at all.
 * DEVIATION: addresses count, too. §7.1 knows names only, but an app server may be configured by its address alone.
 */
export function peerNamesOf({ subjectAltName, subject }: Certificate): readonly string[] {
  if (subjectAltName === undefined) return commonName(subject);
  const uris: string[] = [];
  const hosts: string[] = [];
  const addresses: string[] = [];
  for (const [type, value] of alternatives(subjectAltName)) {
    if (type === "URI") {
      const host = /^sip:([^@;?]+)$/i.exec(value)?.[1];
      if (host !== undefined) uris.push(canonicalHost(host));
    } else if (type === "DNS") hosts.push(canonicalHost(value));
    else if (type === "IP Address") addresses.push(canonicalAddress(value) ?? value);
  }
  return [...(uris.length > 0 ? uris : hosts), ...addresses];
}

/**
 * Whether a certificate is for that host (§7.2, §7.3): the same name as a whole. A wildcard matches nothing, and the
 * end of a name neither.
 */
export const isFor = (certificate: Certificate, host: string): boolean =>
  peerNamesOf(certificate).includes(canonicalHost(host));

/**
 * Pairs of type and value out of node's text: `DNS:a.example, URI:"sip:b, c"`; quoted are values with odd characters.
 */
function* alternatives(text: string): Iterable<[type: string, value: string]> {
  for (const [, type, quoted, plain] of text.matchAll(
    /(?:^|, )([A-Za-z ]+):(?:("(?:[^"\\]|\\.)*")|([^,"]*))(?=, |$)/g,
  )) {
    if (type !== undefined) yield [type, quoted === undefined ? (plain ?? "") : String(JSON.parse(quoted))];
  }
}

function commonName(subject: string): string[] {
  const name = /(?:^|\n)CN=([A-Za-z0-9.-]+)(?:\n|$)/.exec(subject)?.[1];
  return name === undefined ? [] : [canonicalHost(name)];
}
