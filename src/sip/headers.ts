import { err, ok, type Result } from "../support/result.ts";
import {
  BACKSLASH,
  COLON,
  COMMA,
  endOfQuoted,
  GREATER,
  HOST,
  IPV6,
  LESS,
  numberIn,
  QUESTION,
  QUOTE,
  SCHEME,
  SEMICOLON,
  SLASH,
  SP,
  skipSpace,
  skipSpaceBack,
  TAB,
  TOKEN,
  within,
} from "./chars.ts";
import { knownMethod } from "./names.ts";
import { formatParams, type Params, parseParams, quote, readParams, splitList, unquote } from "./params.ts";

export { type AuthParams, parseAuthParams } from "./auth-params.ts";
export { formatParams, type Params, parseParams, quote, splitList, tokenList, unquote } from "./params.ts";

/**
 * The header values that the relay reads (RFC 3261 §20, §25.1). Errors are reason phrases, ready for a 400.
 */

/** One Via value (RFC 3261 §20.42). */
export interface Via {
  /** Where it is not `SIP/2.0`: name and version. */
  readonly protocol?: string;
  /** As written: `UDP`. */
  readonly transport: string;
  /** As written; an IPv6 address stands in brackets. */
  readonly host: string;
  readonly port?: number | undefined;
  /** Names lower-case; `rport` without a value is "". */
  readonly params: Params;
}

/** name-addr or addr-spec with the parameters of the header field: From, To, Contact, Route (RFC 3261 §20.10). */
export interface NameAddr {
  /** Without quotes and escapes. */
  readonly display?: string;
  /** As written; `parseUri` reads it. */
  readonly uri: string;
  readonly params: Params;
}

export interface CSeq {
  readonly number: number;
  readonly method: string;
}

export interface ContentType {
  /** Lower-case: `application/sdp`. */
  readonly type: string;
  readonly params: Params;
}

/** One value of Reason (RFC 3326). */
export interface Reason {
  /** As written: `SIP`, `Q.850`. */
  readonly protocol: string;
  readonly cause: number | undefined;
  readonly text: string | undefined;
}

const BAD_VIA = err("Bad Via");
const TRANSPORTS = new Map(["UDP", "TCP", "TLS", "WS", "WSS", "SCTP"].map((name) => [name, name]));

/** Reads a Via value; of several on one line the first. */
export function parseVia(text: string): Result<Via, string> {
  const read = readVia(text);
  if (!read) return BAD_VIA;
  const end = readParams(text, read.end, read.via.params, true);
  return end < 0 ? BAD_VIA : ok(read.via);
}

/**
 * Reads sent-protocol and sent-by and leaves the parameters: from a Via that is broken behind them, it is still known where an answer
 * is to go.
 */
export function parseViaLoosely(text: string): Via | undefined {
  return readVia(text)?.via;
}

function readVia(text: string): { via: Via; end: number } | undefined {
  let protocol: string | undefined;
  let at = 8;
  if (!text.startsWith("SIP/2.0/")) {
    // sent-protocol = protocol-name SLASH protocol-version SLASH transport, with spaces around each slash (RFC 4475 §3.1.1.1)
    const name = readToken(text, 0);
    if (name < 0) return undefined;
    const slash = skipSpace(text, name);
    const versionStart = skipSpace(text, slash + 1);
    const version = readToken(text, versionStart);
    if (text.charCodeAt(slash) !== SLASH || version < 0) return undefined;
    at = skipSpace(text, version);
    if (text.charCodeAt(at) !== SLASH) return undefined;
    const written = `${text.slice(skipSpace(text, 0), name)}/${text.slice(versionStart, version)}`;
    if (written.toUpperCase() !== "SIP/2.0") protocol = written;
    at++;
  }
  const transportStart = skipSpace(text, at);
  const transportEnd = readToken(text, transportStart);
  if (transportEnd < 0) return undefined;
  const hostStart = skipSpace(text, transportEnd);
  const hostEnd = endOfHost(text, hostStart);
  if (hostStart === transportEnd || hostEnd < 0) return undefined;
  const written = text.slice(transportStart, transportEnd);
  let end = skipSpace(text, hostEnd);
  let port: number | undefined;
  if (text.charCodeAt(end) === COLON) {
    const portStart = skipSpace(text, end + 1);
    let portEnd = portStart;
    while (isDigit(text.charCodeAt(portEnd))) portEnd++;
    port = numberIn(text, portStart, portEnd, 5);
    if (port < 1 || port > 65_535) return undefined;
    end = skipSpace(text, portEnd);
  }
  const next = text.charCodeAt(end);
  if (end < text.length && next !== SEMICOLON && next !== COMMA) return undefined;
  const transport = TRANSPORTS.get(written) ?? written;
  const host = text.slice(hostStart, hostEnd);
  const params: Params = new Map();
  return {
    via: protocol === undefined ? { transport, host, port, params } : { protocol, transport, host, port, params },
    end,
  };
}

/** Writes a Via value. */
export function formatVia(via: Via): string {
  const port = via.port === undefined ? "" : `:${via.port}`;
  return `${via.protocol ?? "SIP/2.0"}/${via.transport} ${via.host}${port}${formatParams(via.params)}`;
}

/** The place after the host that begins at `from`, or -1 where there is none: a name, an IPv4 address, or an IPv6 address in brackets. */
export function endOfHost(text: string, from: number): number {
  let i = from;
  if (text.charCodeAt(i) === 0x5b) {
    const close = text.indexOf("]", i);
    // RFC 5118 §4.10: three colons in a row come from a mistake in the ABNF of RFC 3261 and must be borne.
    return close > 0 && within(IPV6, text, i + 1, close) ? close + 1 : -1;
  }
  while (i < text.length && HOST[text.charCodeAt(i)] === 1) i++;
  return i === from ? -1 : i;
}

/** The place after the token at `from`, or -1. */
function readToken(text: string, from: number): number {
  let i = skipSpace(text, from);
  const start = i;
  while (i < text.length && TOKEN[text.charCodeAt(i)] === 1) i++;
  return i === start ? -1 : i;
}

const isDigit = (c: number): boolean => c >= 0x30 && c <= 0x39;

const BAD_ADDRESS = err("Bad Address");

/**
 * Reads the first name-addr or addr-spec of a line, with its parameters. Without angle brackets, all parameters belong to the header field, and the
 * URI may hold neither comma nor question mark (RFC 3261 §20.10).
 */
export function parseNameAddr(text: string): Result<NameAddr, string> {
  return readNameAddr(text, true);
}

/** The same for From and To, which hold one address and no more. */
export function parseOneNameAddr(text: string): Result<NameAddr, string> {
  return readNameAddr(text, false);
}

function readNameAddr(text: string, list: boolean): Result<NameAddr, string> {
  const start = skipSpace(text, 0);
  let display: string | undefined;
  let less: number;
  if (text.charCodeAt(start) === QUOTE) {
    const end = endOfQuoted(text, start);
    if (end < 0) return BAD_ADDRESS;
    display = unquote(text.slice(start, end));
    less = skipSpace(text, end);
    if (text.charCodeAt(less) !== LESS) return BAD_ADDRESS;
  } else {
    less = text.indexOf("<", start);
    const quoted = less < 0 ? -1 : text.indexOf('"', start);
    if (less < 0 || (quoted >= 0 && quoted < less)) return readAddrSpec(text, start, list);
    if (less > start) {
      const end = skipSpaceBack(text, start, less);
      if (!isDisplayName(text, start, end)) return BAD_ADDRESS;
      display = text.slice(start, end);
    }
  }
  const greater = text.indexOf(">", less);
  if (!isUriText(text, less + 1, greater)) return BAD_ADDRESS;
  return finishAddress(display, text.slice(less + 1, greater), text, greater + 1, list);
}

function readAddrSpec(text: string, start: number, list: boolean): Result<NameAddr, string> {
  let end = start;
  for (; end < text.length; end++) {
    const c = text.charCodeAt(end);
    if (c === SEMICOLON || c === SP || c === TAB) break;
    if (c === COMMA && list) break;
    if (c === COMMA || c === QUESTION) return BAD_ADDRESS;
  }
  return isUriText(text, start, end) ? finishAddress(undefined, text.slice(start, end), text, end, list) : BAD_ADDRESS;
}

function finishAddress(
  display: string | undefined,
  uri: string,
  text: string,
  from: number,
  list: boolean,
): Result<NameAddr, string> {
  const params: Params = new Map();
  if (readParams(text, from, params, list) < 0) return BAD_ADDRESS;
  return ok(display === undefined ? { uri, params } : { display, uri, params });
}

/** A scheme, a colon, and something behind it without spaces, controls, quotes or angle brackets. */
function isUriText(text: string, from: number, to: number): boolean {
  let i = from;
  while (i < to && SCHEME[text.charCodeAt(i)] === 1) i++;
  if (i === from || i + 1 >= to || text.charCodeAt(i) !== COLON) return false;
  for (i++; i < to; i++) {
    const c = text.charCodeAt(i);
    if (c <= SP || c === QUOTE || c === LESS || c === GREATER || c === 0x7f) return false;
  }
  return true;
}

/**
 * display-name = *(token LWS). DEVIATION: besides tokens, what phones in the field send unquoted is taken (`@`, `(`, `/`, octets of
 * UTF-8), as long as nobody can mistake it for a separator: `Bell, Alexander <sip:...>` is refused (RFC 4475 §3.1.2.15).
 */
function isDisplayName(text: string, from: number, to: number): boolean {
  for (let i = from; i < to; i++) {
    const c = text.charCodeAt(i);
    if (TOKEN[c] === 1 || c === SP || c === TAB) continue;
    if (c < SP || c === 0x7f || c === COMMA || c === SEMICOLON || c === COLON || c === GREATER || c === BACKSLASH)
      return false;
  }
  return true;
}

/** Writes name-addr, always with angle brackets. */
export function formatNameAddr(address: NameAddr): string {
  const display = address.display === undefined || address.display === "" ? "" : `${quote(address.display)} `;
  return `${display}<${address.uri}>${formatParams(address.params)}`;
}

/**
 * A From or To value with that tag in place of the one it may have; with `undefined`, without a tag (RFC 3261 §8.2.6.2). Everything
 * else stays as written.
 */
export function withTag(value: string, tag: string | undefined): string {
  const added = tag === undefined ? "" : `;tag=${tag}`;
  let at = startOfParams(value);
  while (at < value.length) {
    const name = skipSpace(value, at + 1);
    const end = nextSemicolon(value, name);
    if (isTag(value, name)) {
      const head = value.slice(0, skipSpaceBack(value, 0, at));
      return head + added + value.slice(end);
    }
    at = end;
  }
  return added === "" ? value : value.slice(0, skipSpaceBack(value, 0, value.length)) + added;
}

function startOfParams(value: string): number {
  let i = skipSpace(value, 0);
  if (value.charCodeAt(i) === QUOTE) i = Math.max(i, endOfQuoted(value, i));
  const greater = value.indexOf(">", i);
  return nextSemicolon(value, greater < 0 ? i : greater);
}

function nextSemicolon(value: string, from: number): number {
  for (let i = from; i < value.length; i++) {
    const c = value.charCodeAt(i);
    if (c === SEMICOLON) return i;
    if (c === QUOTE) {
      const end = endOfQuoted(value, i);
      if (end < 0) return value.length;
      i = end - 1;
    }
  }
  return value.length;
}

function isTag(value: string, at: number): boolean {
  const next = value.charCodeAt(skipSpace(value, at + 3));
  return value.slice(at, at + 3).toLowerCase() === "tag" && (next === 0x3d || next === SEMICOLON || Number.isNaN(next));
}

const BAD_CSEQ = err("Bad CSeq");

/** Reads CSeq. RFC 3261 §8.1.1.5: the number is less than 2^31. */
export function parseCSeq(text: string): Result<CSeq, string> {
  const start = skipSpace(text, 0);
  let i = start;
  while (isDigit(text.charCodeAt(i))) i++;
  const number = numberIn(text, start, i, 10);
  const methodStart = skipSpace(text, i);
  const end = skipSpaceBack(text, methodStart, text.length);
  if (number < 0 || number >= 0x8000_0000 || methodStart === i) return BAD_CSEQ;
  const method = text.slice(methodStart, end);
  const known = knownMethod(method);
  if (known === undefined && !within(TOKEN, method)) return BAD_CSEQ;
  return ok({ number, method: known ?? method });
}

export const formatCSeq = (cseq: CSeq): string => `${cseq.number} ${cseq.method}`;

/** Max-Forwards: 0 to 255, or undefined where it is no such number (RFC 3261 §20.22). */
export function parseMaxForwards(text: string): number | undefined {
  const start = skipSpace(text, 0);
  const number = numberIn(text, start, skipSpaceBack(text, start, text.length), 3);
  return number < 0 || number > 255 ? undefined : number;
}

/** Reads Content-Type (RFC 3261 §20.15). */
export function parseContentType(text: string): Result<ContentType, string> {
  const semicolon = text.indexOf(";");
  const type = (semicolon < 0 ? text : text.slice(0, semicolon)).toLowerCase();
  const slash = type.indexOf("/");
  const main = type.slice(0, Math.max(0, slash)).trim();
  const sub = type.slice(slash + 1).trim();
  if (!within(TOKEN, main) || !within(TOKEN, sub)) return err("Bad Content-Type");
  const params: Params = new Map();
  if (semicolon >= 0 && readParams(text, semicolon, params) < 0) return err("Bad Content-Type");
  return ok({ type: `${main}/${sub}`, params });
}

/** Reads a Reason line, which may hold several (RFC 3326 §2). */
export function parseReason(text: string): Result<Reason[], string> {
  const reasons: Reason[] = [];
  for (const element of splitList(text)) {
    const semicolon = element.indexOf(";");
    const protocol = (semicolon < 0 ? element : element.slice(0, semicolon)).trim();
    const params = parseParams(semicolon < 0 ? "" : element.slice(semicolon));
    if (!within(TOKEN, protocol) || !params.ok) return err("Bad Reason");
    const cause = params.value.get("cause");
    const number = cause === undefined ? -1 : numberIn(cause, 0, cause.length, 6);
    reasons.push({ protocol, cause: number < 0 ? undefined : number, text: params.value.get("text") });
  }
  return reasons.length === 0 ? err("Bad Reason") : ok(reasons);
}

/** Writes one value of Reason: `SIP;cause=200;text="Call completed elsewhere"`. */
export function formatReason({ protocol, cause, text }: Reason): string {
  return protocol + (cause === undefined ? "" : `;cause=${cause}`) + (text === undefined ? "" : `;text=${quote(text)}`);
}
