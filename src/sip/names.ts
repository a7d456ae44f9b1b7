import { isToken, TOKEN } from "./chars.ts";
import { octetsOf, Words } from "./octets.ts";

/** The header fields that are known by name: RFC 3261 §20 and the extensions met in the field. */

/** What the parser must look at; everything else passes. */
export const Role = {
  other: 0,
  via: 1,
  from: 2,
  to: 3,
  callId: 4,
  cseq: 5,
  contentLength: 6,
  maxForwards: 7,
  /** May come only once. The parser checks nothing else about it. */
  single: 8,
  contact: 9,
} as const;

export type Role = (typeof Role)[keyof typeof Role];

export interface HeaderName {
  /** Lower-case long form. */
  readonly key: string;
  /**
   * The name as its lines are written with it. Always a token (RFC 3261 §25.1), even if the name that was asked for is
   * none.
   */
  readonly name: string;
  /** What each of its lines begins with, together with the end of the line before. */
  readonly lead: string;
  readonly role: Role;
}

const ROLES: Readonly<Record<string, Role>> = {
  Via: Role.via,
  From: Role.from,
  To: Role.to,
  "Call-ID": Role.callId,
  CSeq: Role.cseq,
  "Content-Length": Role.contentLength,
  "Max-Forwards": Role.maxForwards,
  Contact: Role.contact,
  "Content-Type": Role.single,
  "Content-Disposition": Role.single,
  "MIME-Version": Role.single,
  Expires: Role.single,
  "Min-Expires": Role.single,
  "Session-Expires": Role.single,
  "Min-SE": Role.single,
  RSeq: Role.single,
  RAck: Role.single,
  "Refer-To": Role.single,
  Replaces: Role.single,
  Event: Role.single,
  "Info-Package": Role.single,
};

const NAMES =
  `Accept Accept-Contact Accept-Encoding Accept-Language Alert-Info Allow Allow-Events Authentication-Info Authorization
 Call-ID Call-Info Contact Content-Disposition Content-Encoding Content-Language Content-Length Content-Type CSeq Date Diversion
 Error-Info Event Expires Feature-Caps Flow-Timer From Geolocation History-Info Identity In-Reply-To Info-Package Join Max-Forwards
 MIME-Version Min-Expires Min-SE Organization P-Access-Network-Info P-Asserted-Identity P-Called-Party-ID P-Charging-Vector
 P-Preferred-Identity Path Priority Privacy Proxy-Authenticate Proxy-Authorization Proxy-Require RAck Reason Record-Route Recv-Info
 Refer-Sub Refer-To Referred-By Reject-Contact Remote-Party-ID Replaces Reply-To Request-Disposition Require Resource-Priority
 Retry-After Route RSeq Server Service-Route Session-Expires Session-ID SIP-ETag SIP-If-Match Subject Subscription-State Supported
 Target-Dialog Timestamp To Unsupported User-Agent User-to-User Via Warning WWW-Authenticate`.split(/\s+/);

/** RFC 3261 §7.3.3 and the compact forms of the extensions (IANA, "SIP Parameters"). */
const COMPACT: Readonly<Record<string, string>> = {
  a: "Accept-Contact",
  b: "Referred-By",
  c: "Content-Type",
  d: "Request-Disposition",
  e: "Content-Encoding",
  f: "From",
  i: "Call-ID",
  j: "Reject-Contact",
  k: "Supported",
  l: "Content-Length",
  m: "Contact",
  n: "Identity-Info",
  o: "Event",
  r: "Refer-To",
  s: "Subject",
  t: "To",
  u: "Allow-Events",
  v: "Via",
  x: "Session-Expires",
  y: "Identity",
};

/** Header fields by the exact spelling of the name. */
const WRITTEN = new Map<string, HeaderName>();
/** Names may come from strangers: no more than this many are kept. */
const MOST_WRITTEN = 512;
const LONGEST_WRITTEN = 64;

const KNOWN = new Words(knownNames(), true);

function* knownNames(): Iterable<[spelt: string, header: HeaderName]> {
  for (const name of [...NAMES, "Identity-Info"]) {
    const key = interned(name.toLowerCase());
    const header = { key, name: interned(name), lead: interned(`\r\n${name}: `), role: ROLES[name] ?? Role.other };
    WRITTEN.set(header.name, header);
    yield [key, header];
  }
  for (const [short, name] of Object.entries(COMPACT)) yield [short, WRITTEN.get(name)!];
}

/** The copy of a text that V8 keeps for property names and for literals. V8 compares two such copies by address. */
function interned(text: string): string {
  return Object.keys({ [text]: 0 })[0]!;
}

/** A known header field by its name, long or compact, in any case; undefined if the name is not known. */
export function knownHeader(written: string): HeaderName | undefined {
  return headerAt(octetsOf(written), 0, written.length);
}

/** The same for a name that stands in octets. */
export const headerAt = (octets: Buffer, from: number, to: number): HeaderName | undefined =>
  KNOWN.find(octets, from, to);

/** The header field of that name, known or not; its lines are written with the name as given here. */
export function headerNamed(written: string): HeaderName {
  return WRITTEN.get(written) ?? newName(written);
}

function newName(written: string): HeaderName {
  if (!isToken(written)) return unknownHeader(written);
  const keep = WRITTEN.size < MOST_WRITTEN && written.length <= LONGEST_WRITTEN;
  const name = keep ? interned(written) : written;
  const known = knownHeader(name);
  const header = known ? { ...known, name, lead: `\r\n${name}: ` } : unknownHeader(name);
  if (keep) WRITTEN.set(name, header);
  return header;
}

/** A header field that is not known, by its name. */
export function unknownHeader(written: string): HeaderName {
  const name = tokenOf(written);
  return { key: name.toLowerCase(), name, lead: `\r\n${name}: `, role: Role.other };
}

/**
 * Makes a token of a text that cannot be a name: `_` in front, and `_` for each character that no token has. The result
 * can neither begin another line nor be the name of a known header field, since none of those has a `_`. Code that
 * takes names from strangers refuses such a text; this is the safety net where a check is missing.
 */
function tokenOf(written: string): string {
  if (isToken(written)) return written;
  let name = "_";
  for (let i = 0; i < written.length; i++) name += TOKEN[written.charCodeAt(i)] === 1 ? written[i] : "_";
  return name;
}

/** The key by which `Headers` finds a field: the lower-case long form. */
export function headerKey(written: string): string {
  return headerNamed(written).key;
}

const METHODS = new Words(
  ["INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REGISTER", "INFO", "UPDATE", "PRACK", "REFER", "SUBSCRIBE", "NOTIFY"]
    .concat(["MESSAGE", "PUBLISH"])
    .map((method) => [method, method]),
);

/** The one copy of a method's name, so that comparing costs nothing; undefined if no RFC defines the method. */
export const methodAt = (octets: Buffer, from: number, to: number): string | undefined =>
  METHODS.find(octets, from, to);

/** The same for a method that is already cut out of its text. */
export function knownMethod(written: string): string | undefined {
  return methodAt(octetsOf(written), 0, written.length);
}
