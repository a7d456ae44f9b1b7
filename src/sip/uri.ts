import { err, ok, type Result } from "../support/result.ts";
import {
  AT,
  COLON,
  classOf,
  DIGIT,
  EQUALS,
  GREATER,
  LESS,
  PERCENT,
  QUESTION,
  QUOTE,
  SCHEME,
  SEMICOLON,
  SP,
  within,
} from "./chars.ts";
import { endOfHost } from "./headers.ts";
import { knownHeader } from "./names.ts";
import { find, numberAt, octetsOf, skipClass, Words } from "./octets.ts";
import { NO_PARAMS, Params, type ReadonlyParams } from "./params.ts";
import { encodeUtf8 } from "./text.ts";

/** A SIP or SIPS URI (RFC 3261 §19.1). Parts are as written, with their escapes, unless said otherwise. */
export interface SipUri {
  readonly scheme: "sip" | "sips";
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  /** An IPv6 address stands in brackets. */
  readonly host: string;
  readonly port?: number | undefined;
  /** uri-parameters: names lower-case and unescaped, values as written; without a value "". */
  readonly params: ReadonlyParams;
  /** What follows `?`: header fields for a request made from this URI; `uriHeaders` reads them. */
  readonly headers?: string | undefined;
}

/** A URI of any other scheme, e.g. tel, of which only the scheme is known. */
export interface OtherUri {
  readonly scheme: "other";
  /** Lower-case: `tel`. */
  readonly name: string;
  /** What stands behind the colon. */
  readonly rest: string;
}

export type Uri = SipUri | OtherUri;

const BAD_URI = err("Bad URI");

/** Characters that need no escape in a user part (RFC 3261 §25.1, user-unreserved and unreserved). */
const USER = classOf("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.!~*'()&=+$,;?/");

/** Reads a URI as it stands between angle brackets or in a request line. The error is a reason phrase. */
export function parseUri(text: string): Result<Uri, string> {
  const octets = octetsOf(text);
  const scheme = schemeIn(text, octets, 0, text.length);
  if (scheme === undefined) return BAD_URI;
  const start = scheme.length + 1;
  if (scheme !== "sip" && scheme !== "sips") return ok({ scheme: "other", name: scheme, rest: text.slice(start) });
  if (!locate(octets, start, text.length)) return BAD_URI;
  const { userEnd, hostStart, hostEnd, port, question } = places;
  const params = readUriParams(text, places.paramsStart, question < 0 ? text.length : question);
  if (!params) return BAD_URI;
  const hasPassword = userEnd < hostStart - 1;
  return ok({
    scheme,
    user: hostStart === start ? undefined : text.slice(start, userEnd),
    password: hasPassword ? text.slice(userEnd + 1, hostStart - 1) : undefined,
    host: text.slice(hostStart, hostEnd),
    port,
    params,
    headers: question < 0 ? undefined : text.slice(question + 1),
  });
}

/**
 * Whether a URI stands there that `parseUri` accepts and that may be a Request-URI: it must bring no header fields
 * along (RFC 3261 §19.1.1, table 1). Cuts nothing out of the text if the URI has at most one parameter.
 */
export function isRequestUri(text: string, octets: Buffer, from: number, to: number): boolean {
  const scheme = schemeIn(text, octets, from, to);
  if (scheme !== "sip" && scheme !== "sips") return scheme !== undefined;
  if (!locate(octets, from + scheme.length + 1, to) || places.question >= 0) return false;
  const { paramsStart } = places;
  if (paramsStart === to) return true;
  // A single parameter cannot come twice: it only needs a name.
  if (find(octets, SEMICOLON, paramsStart + 1, to) < 0)
    return octets[paramsStart] === SEMICOLON && paramsStart + 1 < to && octets[paramsStart + 1] !== EQUALS;
  return readUriParams(text.slice(0, to), paramsStart, to) !== undefined;
}

/**
 * Where `locate` found the parts of the last SIP URI. Without a user, `hostStart` and `userEnd` are both the place
 * behind the scheme. `question` is the place of the `?`, or -1 if there is none.
 */
const places = {
  userEnd: 0,
  hostStart: 0,
  hostEnd: 0,
  port: undefined as number | undefined,
  paramsStart: 0,
  question: -1,
};

/** Finds the parts of a SIP URI from behind its scheme. */
function locate(octets: Buffer, start: number, to: number): boolean {
  // An `@` may stand neither behind the host nor unescaped in the user part, so the first one ends the user part. `;`
  // and `?` cannot serve for that: the user part may hold them.
  const at = find(octets, AT, start, to);
  const hostStart = at < 0 ? start : at + 1;
  const hostEnd = endOfHost(octets, hostStart, to);
  if (hostEnd < 0 || at === start) return false;
  places.hostStart = places.userEnd = hostStart;
  places.hostEnd = places.paramsStart = hostEnd;
  places.port = undefined;
  if (hostEnd < to && octets[hostEnd] === COLON) {
    const end = skipClass(DIGIT, octets, hostEnd + 1, to);
    const port = numberAt(octets, hostEnd + 1, end, 5);
    if (port < 1 || port > 65_535) return false;
    places.port = port;
    places.paramsStart = end;
  }
  places.question = find(octets, QUESTION, places.paramsStart, to);
  if (at < 0) return true;
  const colon = find(octets, COLON, start, at);
  places.userEnd = colon < 0 ? at : colon;
  return places.userEnd > start && escapesAreRight(octets, start, at);
}

/** host[:port] from `start` to `end` and nothing else; an IPv6 host stands in brackets (RFC 3261 §25.1). */
export function parseHostPort(
  text: string,
  start = 0,
  end = text.length,
): Result<{ host: string; port?: number }, string> {
  const octets = octetsOf(text);
  const hostEnd = endOfHost(octets, start, text.length);
  if (hostEnd < 0 || hostEnd > end) return err("Bad Host");
  const host = text.slice(start, hostEnd);
  if (hostEnd === end) return ok({ host });
  const port = octets[hostEnd] === COLON ? numberAt(octets, hostEnd + 1, end, 5) : -1;
  return port < 1 || port > 65_535 ? err("Bad Port") : ok({ host, port });
}

function escapesAreRight(octets: Buffer, from: number, to: number): boolean {
  for (let i = from; i < to; i++) {
    if (octets[i] !== PERCENT) continue;
    if (i + 2 >= to || hexDigit(octets[i + 1]!) < 0 || hexDigit(octets[i + 2]!) < 0) return false;
  }
  return true;
}

/** The scheme in lower case; undefined if no URI stands there. */
function schemeIn(text: string, octets: Buffer, from: number, to: number): string | undefined {
  const colon = skipClass(SCHEME, octets, from, to);
  if (colon === from || colon + 1 >= to || octets[colon] !== COLON || !hasUriCharacters(octets, colon + 1, to))
    return undefined;
  return SIP_SCHEMES.find(octets, from, colon) ?? text.slice(from, colon).toLowerCase();
}

const SIP_SCHEMES = new Words(
  ["sip", "sips"].map((scheme) => [scheme, scheme]),
  true,
);

/** No spaces, no control characters, and none of the characters that end a URI: `"`, `<`, `>`. */
function hasUriCharacters(octets: Buffer, from: number, to: number): boolean {
  for (let i = from; i < to; i++) {
    const c = octets[i]!;
    if (c <= SP || c === QUOTE || c === LESS || c === GREATER || c === 0x7f) return false;
  }
  return true;
}

function readUriParams(text: string, from: number, end: number): ReadonlyParams | undefined {
  if (from === end) return NO_PARAMS;
  const params = new Params();
  // The next `=` is searched for only when the last one lies behind. Otherwise, each of thousands of parameters without
  // a value would search through the whole rest.
  let equals = from;
  for (let i = from; i < end; ) {
    if (text.charCodeAt(i) !== SEMICOLON) return undefined;
    let next = text.indexOf(";", i + 1);
    if (next < 0 || next > end) next = end;
    if (equals <= i) equals = text.indexOf("=", i + 1);
    if (equals < 0) equals = text.length;
    const nameEnd = Math.min(equals, next);
    const name = unescape(text.slice(i + 1, nameEnd)).toLowerCase();
    // RFC 3261 §19.1.1: any given parameter name must not appear more than once.
    if (name === "" || !params.add(name, text.slice(nameEnd + 1, next))) return undefined;
    i = next;
  }
  return params;
}

/** Writes a URI from its parts. */
export function formatUri(uri: Uri): string {
  if (uri.scheme === "other") return `${uri.name}:${uri.rest}`;
  let text = `${uri.scheme}:`;
  if (uri.user !== undefined) text += uri.password === undefined ? `${uri.user}@` : `${uri.user}:${uri.password}@`;
  text += uri.host;
  if (uri.port !== undefined) text += `:${uri.port}`;
  for (const [name, value] of uri.params)
    text += value === "" ? `;${escapeName(name)}` : `;${escapeName(name)}=${value}`;
  return uri.headers === undefined ? text : `${text}?${uri.headers}`;
}

/**
 * The header fields that the URI brings along (RFC 3261 §19.1.1): long names in lower case, with values, both without
 * escapes, sorted by name. A stranger may have written them: a name may be no token, and a value may hold line breaks.
 */
export function uriHeaders(uri: SipUri): [name: string, value: string][] {
  if (uri.headers === undefined) return [];
  const fields = uri.headers.split("&").map((pair): [string, string] => {
    const equals = pair.indexOf("=");
    return equals < 0
      ? [longName(unescape(pair)), ""]
      : [longName(unescape(pair.slice(0, equals))), unescape(pair.slice(equals + 1))];
  });
  return fields.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
}

const longName = (name: string): string => knownHeader(name)?.key ?? name.toLowerCase();

/** The octet that the escape at that place stands for, or -1 if there is none. */
export function escapeAt(text: string, i: number): number {
  if (text.charCodeAt(i) !== PERCENT) return -1;
  const high = hexDigit(text.charCodeAt(i + 1));
  const low = hexDigit(text.charCodeAt(i + 2));
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

function hexDigit(c: number): number {
  if (c >= 0x30 && c <= 0x39) return c - 0x30;
  const letter = c | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}

/**
 * The octets that a text with escapes stands for, one character each. Escapes are replaced once, never again in the
 * result (RFC 4475 §3.1.1.3).
 */
// biome-ignore lint/suspicious/noShadowRestrictedNames: RFC 3261 §19.1.2 calls it so; the global one is obsolete.
export function unescape(text: string): string {
  if (!text.includes("%")) return text;
  let out = "";
  for (let i = 0; i < text.length; i++) {
    const octet = escapeAt(text, i);
    if (octet < 0) out += text[i];
    else {
      out += String.fromCharCode(octet);
      i += 2;
    }
  }
  return out;
}

/** The user part of a URI without escapes; undefined if there is none. `decodeUtf8` makes it readable. */
export function unescapeUser(uri: SipUri): string | undefined {
  return uri.user === undefined ? undefined : unescape(uri.user);
}

/** A user name as people write it, as it stands in a URI. */
export function escapeUser(user: string): string {
  if (within(USER, user)) return user;
  let out = "";
  for (const octet of encodeUtf8(user)) out += USER[octet.charCodeAt(0)] === 1 ? octet : percent(octet.charCodeAt(0));
  return out;
}

/** Characters that need no escape in the name of a parameter (paramchar). */
const NAME = classOf("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.!~*'()[]/:+$");

function escapeName(name: string): string {
  if (within(NAME, name)) return name;
  let out = "";
  for (const octet of name) out += NAME[octet.charCodeAt(0)] === 1 ? octet : percent(octet.charCodeAt(0));
  return out;
}

const percent = (octet: number): string => `%${octet.toString(16).toUpperCase().padStart(2, "0")}`;

/**
 * Whether the URI says `lr`: its owner follows the routing of RFC 3261 and not that of RFC 2543 (§19.1.1). Takes text
 * or a read URI.
 */
export function hasLooseRouting(uri: string | Uri): boolean {
  const read = typeof uri === "string" ? sipUriOf(uri) : uri;
  return read !== undefined && read.scheme !== "other" && read.params.has("lr");
}

/** The transport that the URI names, lower-case; undefined if it names none (RFC 3263 §4.1 then decides). */
export function transportOf(uri: SipUri): string | undefined {
  return uri.params.get("transport")?.toLowerCase() || undefined;
}

/** The host to which a request for this URI is sent: maddr if there is one (RFC 3261 §19.1.1). */
export function targetHost(uri: SipUri): string {
  return uri.params.get("maddr") || uri.host;
}

/** The port of the URI, or the default port if it names none (RFC 3261 §19.1.2). */
export function effectivePort(uri: SipUri): number {
  return uri.port ?? (uri.scheme === "sips" || transportOf(uri) === "tls" ? 5061 : 5060);
}

/** The text as SIP or SIPS URI, or undefined if it is none. */
export function sipUriOf(text: string): SipUri | undefined {
  const uri = uriOf(text);
  return uri?.scheme === "other" ? undefined : uri;
}

/** The text as URI, or undefined if it is none. */
export function uriOf(text: string): Uri | undefined {
  const place = text.length & (LATEST - 1);
  if (latestTexts[place] === text) return latestUris[place];
  const uri = parseUri(text);
  latestTexts[place] = text;
  latestUris[place] = uri.ok ? uri.value : undefined;
  return latestUris[place];
}

/**
 * Several checks in a row ask about the same few URIs of a message, so the last results are kept, each at the place of
 * its text's length. Nobody changes what was read.
 */
const LATEST = 16;
const latestTexts: string[] = new Array(LATEST).fill("");
const latestUris: (Uri | undefined)[] = new Array(LATEST).fill(undefined);

/**
 * The number of a tel URI (RFC 3966), or of a SIP URI with `user=phone`, without visual separators; undefined for any
 * other URI.
 */
export function telephoneNumber(uri: Uri): string | undefined {
  let written: string | undefined;
  if (uri.scheme === "other") written = uri.name === "tel" ? uri.rest : undefined;
  else if (uri.params.get("user")?.toLowerCase() === "phone") written = uri.user;
  if (written === undefined) return undefined;
  const digits = unescape(written.split(";", 1)[0]!).replace(/[-.()]/g, "");
  return /^\+?[0-9A-Da-d*#]+$/.test(digits) ? digits : undefined;
}
