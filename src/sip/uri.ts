import { err, ok, type Result } from "../support/result.ts";
import { readNumber } from "./text.ts";

/** A SIP or SIPS URI (RFC 3261 §19.1). Parts are as written: escapes are kept, an IPv6 host keeps its brackets. */
export interface SipUri {
  readonly scheme: "sip" | "sips";
  readonly user?: string;
  readonly password?: string;
  readonly host: string;
  readonly port?: number;
  /** By lower-case name; a parameter without a value has "". */
  readonly params: ReadonlyMap<string, string>;
  /** What follows "?", as written. */
  readonly headers?: string;
}

/** A URI of any other scheme; `name` is the scheme in lower case. */
export interface OtherUri {
  readonly scheme: "other";
  readonly name: string;
  readonly rest: string;
}

export type Uri = SipUri | OtherUri;

const NO_PARAMS: ReadonlyMap<string, string> = new Map();

/** Reads a URI as it stands in a Request-URI, between angle brackets, or in a configuration. */
export function parseUri(text: string): Result<Uri, string> {
  const colon = text.indexOf(":");
  if (colon <= 0) return err("URI has no scheme");
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code <= 32 || code === 127 || code === 60 || code === 62 || code === 34)
      return err("URI has a character that must be escaped");
  }
  const scheme = text.slice(0, colon).toLowerCase();
  if (scheme !== "sip" && scheme !== "sips") {
    return isScheme(scheme)
      ? ok({ scheme: "other", name: scheme, rest: text.slice(colon + 1) })
      : err("URI has no scheme");
  }
  return parseSip(scheme, text, colon + 1);
}

function parseSip(scheme: "sip" | "sips", text: string, start: number): Result<SipUri, string> {
  // The user part may itself hold ";" and "?": the last "@" before the headers ends it.
  const at = text.indexOf("@", start);
  let user: string | undefined;
  let password: string | undefined;
  let hostStart = start;
  if (at >= 0) {
    const end = at;
    const colon = text.indexOf(":", start);
    const hasPassword = colon >= 0 && colon < end;
    user = text.slice(start, hasPassword ? colon : end);
    if (hasPassword) password = text.slice(colon + 1, end);
    if (user === "") return err("URI has an empty user");
    if (!escapesAreRight(user) || (password !== undefined && !escapesAreRight(password)))
      return err("URI has a wrong escape");
    hostStart = end + 1;
  }
  const question = text.indexOf("?", hostStart);
  const end = question < 0 ? text.length : question;
  const semicolon = text.indexOf(";", hostStart);
  const hostEnd = semicolon < 0 || semicolon > end ? end : semicolon;
  const where = parseHostPort(text, hostStart, hostEnd);
  if (!where.ok) return where;
  const params = hostEnd === end ? ok(NO_PARAMS) : parseUriParams(text.slice(hostEnd + 1, end));
  if (!params.ok) return params;
  const uri: { -readonly [K in keyof SipUri]: SipUri[K] } = { scheme, host: where.value.host, params: params.value };
  if (user !== undefined) uri.user = user;
  if (password !== undefined) uri.password = password;
  if (where.value.port !== undefined) uri.port = where.value.port;
  if (question >= 0) uri.headers = text.slice(question + 1);
  return ok(uri);
}

/** host[:port]; an IPv6 host stands in brackets (RFC 3261 §25.1). */
export function parseHostPort(
  text: string,
  start = 0,
  end = text.length,
): Result<{ host: string; port?: number }, string> {
  let hostEnd: number;
  if (text[start] === "[") {
    hostEnd = text.indexOf("]", start) + 1;
    if (hostEnd === 0 || hostEnd > end) return err("IPv6 address has no closing bracket");
    if (!isIpv6(text.slice(start + 1, hostEnd - 1))) return err("IPv6 address cannot be read");
  } else {
    const colon = text.indexOf(":", start);
    hostEnd = colon < 0 || colon > end ? end : colon;
    if (!isHost(text, start, hostEnd)) return err("host cannot be read");
  }
  const host = text.slice(start, hostEnd);
  if (hostEnd === end) return ok({ host });
  if (text[hostEnd] !== ":") return err("host cannot be read");
  const port = readNumber(text.slice(hostEnd + 1, end), 65_535);
  return port === undefined ? err("port must be a number up to 65535") : ok({ host, port });
}

function isHost(text: string, start: number, end: number): boolean {
  if (start >= end || end - start > 255) return false;
  for (let i = start; i < end; i++) {
    const code = text.charCodeAt(i);
    const good =
      (code >= 97 && code <= 122) ||
      (code >= 48 && code <= 57) ||
      (code >= 65 && code <= 90) ||
      code === 46 ||
      code === 45 ||
      code === 95;
    if (!good) return false;
  }
  return true;
}

/** Hex groups, colons, an IPv4 tail. RFC 5118 §4.10 asks to bear with three colons. */
function isIpv6(text: string): boolean {
  if (text.length < 2 || text.length > 46 || !text.includes(":")) return false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    const good = (code >= 48 && code <= 58) || (code >= 97 && code <= 102) || (code >= 65 && code <= 70) || code === 46;
    if (!good) return false;
  }
  return true;
}

function parseUriParams(text: string): Result<ReadonlyMap<string, string>, string> {
  const params = new Map<string, string>();
  for (const part of text.split(";")) {
    const equals = part.indexOf("=");
    const name = (equals < 0 ? part : part.slice(0, equals)).toLowerCase();
    if (name === "" || !escapesAreRight(part)) return err("URI parameter cannot be read");
    if (params.has(name)) return err(`URI parameter ${name} stands twice`); // RFC 3261 §19.1.1
    params.set(name, equals < 0 ? "" : part.slice(equals + 1));
  }
  return ok(params);
}

const isScheme = (text: string): boolean => /^[a-z][a-z0-9+.-]*$/.test(text);

function escapesAreRight(text: string): boolean {
  for (let at = text.indexOf("%"); at >= 0; at = text.indexOf("%", at + 1)) {
    if (hexAt(text, at + 1) < 0 || hexAt(text, at + 2) < 0) return false;
  }
  return true;
}

function hexAt(text: string, at: number): number {
  const code = text.charCodeAt(at);
  if (code >= 48 && code <= 57) return code - 48;
  if (code >= 65 && code <= 70) return code - 55;
  if (code >= 97 && code <= 102) return code - 87;
  return -1;
}

/** Resolves escapes, once (RFC 3261 §19.1.2). A "%" without two hex digits stays. */
export function unescape(text: string): string {
  let at = text.indexOf("%");
  if (at < 0) return text;
  let out = "";
  let from = 0;
  for (; at >= 0; at = text.indexOf("%", at + 1)) {
    const high = hexAt(text, at + 1);
    const low = hexAt(text, at + 2);
    if (high < 0 || low < 0) continue;
    out += text.slice(from, at) + String.fromCharCode(high * 16 + low);
    from = at + 3;
    at += 2;
  }
  return out + text.slice(from);
}

/** The user part as it is compared: escapes resolved; undefined where the URI has none. */
export const unescapeUser = (uri: SipUri): string | undefined =>
  uri.user === undefined ? undefined : unescape(uri.user);

export function formatUri(uri: Uri): string {
  if (uri.scheme === "other") return `${uri.name}:${uri.rest}`;
  let text = `${uri.scheme}:`;
  if (uri.user !== undefined) text += `${uri.user}${uri.password === undefined ? "" : `:${uri.password}`}@`;
  text += uri.host;
  if (uri.port !== undefined) text += `:${uri.port}`;
  for (const [name, value] of uri.params) text += value === "" ? `;${name}` : `;${name}=${value}`;
  return uri.headers === undefined ? text : `${text}?${uri.headers}`;
}

/** Parameters that must match when only one URI has them (RFC 3261 §19.1.4). */
const DECIDING = ["user", "ttl", "method", "maddr"];

/** Whether two URIs are equivalent (RFC 3261 §19.1.4). */
export function sameUri(a: Uri, b: Uri): boolean {
  if (a.scheme === "other" || b.scheme === "other") return a.scheme === b.scheme && formatUri(a) === formatUri(b);
  if (a.scheme !== b.scheme || a.port !== b.port || a.host.toLowerCase() !== b.host.toLowerCase()) return false;
  if (unescapeUser(a) !== unescapeUser(b)) return false;
  if (unescape(a.password ?? "") !== unescape(b.password ?? "")) return false;
  for (const [name, value] of a.params) {
    const other = b.params.get(name);
    if (other === undefined ? DECIDING.includes(name) : unescape(other).toLowerCase() !== unescape(value).toLowerCase())
      return false;
  }
  for (const name of b.params.keys()) if (DECIDING.includes(name) && !a.params.has(name)) return false;
  return sameHeaders(a.headers, b.headers);
}

function sameHeaders(a: string | undefined, b: string | undefined): boolean {
  const sorted = (text: string | undefined) => (text ?? "").split("&").map(unescape).sort().join("&");
  return sorted(a) === sorted(b);
}

/** Whether a Route's URI says that its proxy routes loosely (RFC 3261 §19.1.1, lr). */
export function hasLooseRouting(text: string): boolean {
  const uri = parseUri(text);
  return uri.ok && uri.value.scheme !== "other" && uri.value.params.has("lr");
}
