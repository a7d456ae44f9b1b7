import { err, ok, type Result } from "../support/result.ts";
import {
  COLON,
  COMMA,
  DIGIT,
  HOST,
  IPV6,
  numberIn,
  SEMICOLON,
  SLASH,
  skipSpace,
  skipSpaceBack,
  TOKEN,
  within,
} from "./chars.ts";
import { methodAt } from "./names.ts";
import { numberAt, octetsOf, skipBlanks, skipBlanksBack, skipClass, skipToken, standsAt, Words } from "./octets.ts";
import { formatParams, Params, quote, type ReadonlyParams, readParams } from "./params.ts";

export { type AuthParams, parseAuthParams } from "./auth-params.ts";
export { formatNameAddr, type NameAddr, parseNameAddr, parseOneNameAddr, tagIn, withTag } from "./name-addr.ts";
export { formatParams, Params, parseParams, quote, splitList, tokenList, unquote } from "./params.ts";

/**
 * The header values that the relay reads (RFC 3261 §20, §25.1). Errors are reason phrases, ready for a 400.
 */

/** One Via value (RFC 3261 §20.42). */
export interface Via {
  /** Name and version of the protocol, if they are not `SIP/2.0`. */
  readonly protocol?: string;
  /** As written: `UDP`. */
  readonly transport: string;
  /** As written; an IPv6 address stands in brackets. */
  readonly host: string;
  readonly port?: number | undefined;
  /** Names lower-case; `rport` without a value is "". */
  readonly params: Params;
}

export interface CSeq {
  readonly number: number;
  readonly method: string;
}

export interface ContentType {
  /** Lower-case: `application/sdp`. */
  readonly type: string;
  readonly params: ReadonlyParams;
}

const BAD_VIA = err("Bad Via");
const TRANSPORTS = new Words(["UDP", "TCP", "TLS", "WS", "WSS", "SCTP"].map((name) => [name, name]));

/** Reads a Via value; if several stand on the line, the first. */
export function parseVia(text: string): Result<Via, string> {
  const via = viaIn(text, octetsOf(text), 0, text.length);
  return via ? ok(via) : BAD_VIA;
}

/** The same for a value that stands in a text with those octets; undefined if it cannot be read. */
export function viaIn(text: string, octets: Buffer, from: number, to: number): Via | undefined {
  const via = readVia(text, octets, from, to);
  return via && readParams(text, octets, paramsStart, to, via.params, true) >= 0 ? via : undefined;
}

/**
 * Reads sent-protocol and sent-by, and leaves the parameters out. So even a Via with broken parameters tells where the
 * answer must go.
 */
export function parseViaLoosely(text: string): Via | undefined {
  return readVia(text, octetsOf(text), 0, text.length);
}

/** Where `readVia` stopped: the parameters begin there. */
let paramsStart = 0;

const PROTOCOL = Buffer.from("SIP/2.0/");

function readVia(text: string, octets: Buffer, from: number, to: number): Via | undefined {
  let protocol: string | undefined;
  let at = from + PROTOCOL.length;
  if (!standsAt(PROTOCOL, octets, from)) {
    // sent-protocol = protocol-name SLASH protocol-version SLASH transport, with spaces around each slash (RFC 4475
    // §3.1.1.1)
    const nameStart = skipBlanks(octets, from, to);
    const name = skipToken(octets, nameStart, to);
    const slash = skipBlanks(octets, name, to);
    const versionStart = skipBlanks(octets, slash + 1, to);
    const version = skipToken(octets, versionStart, to);
    if (name === nameStart || slash >= to || octets[slash] !== SLASH || version === versionStart) return undefined;
    at = skipBlanks(octets, version, to);
    if (at >= to || octets[at] !== SLASH) return undefined;
    const written = `${text.slice(nameStart, name)}/${text.slice(versionStart, version)}`;
    if (written.toUpperCase() !== "SIP/2.0") protocol = written;
    at++;
  }
  const transportStart = skipBlanks(octets, at, to);
  const transportEnd = skipToken(octets, transportStart, to);
  const hostStart = skipBlanks(octets, transportEnd, to);
  const hostEnd = endOfHost(octets, hostStart, to);
  if (transportEnd === transportStart || hostStart === transportEnd || hostEnd < 0) return undefined;
  let end = skipBlanks(octets, hostEnd, to);
  let port: number | undefined;
  if (end < to && octets[end] === COLON) {
    const portStart = skipBlanks(octets, end + 1, to);
    const portEnd = skipClass(DIGIT, octets, portStart, to);
    port = numberAt(octets, portStart, portEnd, 5);
    if (port < 1 || port > 65_535) return undefined;
    end = skipBlanks(octets, portEnd, to);
  }
  if (end < to && octets[end] !== SEMICOLON && octets[end] !== COMMA) return undefined;
  paramsStart = end;
  const transport = TRANSPORTS.find(octets, transportStart, transportEnd) ?? text.slice(transportStart, transportEnd);
  const host = text.slice(hostStart, hostEnd);
  const params = new Params();
  return protocol === undefined ? { transport, host, port, params } : { protocol, transport, host, port, params };
}

export function formatVia(via: Via): string {
  const port = via.port === undefined ? "" : `:${via.port}`;
  return `${via.protocol ?? "SIP/2.0"}/${via.transport} ${via.host}${port}${formatParams(via.params)}`;
}

/**
 * The place after the host that begins at `from`, or -1 if there is none: a name, an IPv4 address, or an IPv6 address
 * in brackets.
 */
export function endOfHost(octets: Buffer, from: number, to: number): number {
  if (from < to && octets[from] === 0x5b) {
    // RFC 5118 §4.10: three colons in a row come from a mistake in the ABNF of RFC 3261 and must be accepted.
    const close = skipClass(IPV6, octets, from + 1, to);
    return close > from + 1 && close < to && octets[close] === 0x5d ? close + 1 : -1;
  }
  const end = skipClass(HOST, octets, from, to);
  return end === from ? -1 : end;
}

const BAD_CSEQ = err("Bad CSeq");

/** Reads CSeq. RFC 3261 §8.1.1.5: the number is less than 2^31. */
export function parseCSeq(text: string): Result<CSeq, string> {
  const cseq = cseqIn(text, octetsOf(text), 0, text.length);
  return cseq ? ok(cseq) : BAD_CSEQ;
}

/** The same for a value that stands in a text with those octets; undefined if it cannot be read. */
export function cseqIn(text: string, octets: Buffer, from: number, to: number): CSeq | undefined {
  const start = skipBlanks(octets, from, to);
  const numberEnd = skipClass(DIGIT, octets, start, to);
  const number = numberAt(octets, start, numberEnd, 10);
  const methodStart = skipBlanks(octets, numberEnd, to);
  const end = skipBlanksBack(octets, methodStart, to);
  if (number < 0 || number >= 0x8000_0000 || methodStart === numberEnd) return undefined;
  const method = methodAt(octets, methodStart, end);
  if (method !== undefined) return { number, method };
  if (methodStart === end || skipToken(octets, methodStart, end) < end) return undefined;
  return { number, method: text.slice(methodStart, end) };
}

/** Max-Forwards: 0 to 255, or undefined if it is no such number (RFC 3261 §20.22). */
export function parseMaxForwards(text: string): number | undefined {
  const start = skipSpace(text, 0);
  const number = numberIn(text, start, skipSpaceBack(text, start, text.length), 3);
  return number < 0 || number > 255 ? undefined : number;
}

/**
 * Seconds of a Retry-After, whatever comments and parameters follow (RFC 3261 §20.33); undefined if there is none that
 * can be read.
 */
export function parseRetryAfter(text: string | undefined): number | undefined {
  const digits = text === undefined ? undefined : /^[ \t]*(\d+)[ \t]*(?:[;(]|$)/.exec(text)?.[1];
  return digits === undefined ? undefined : Math.min(Number(digits), 2 ** 32 - 1);
}

/** Reads Content-Type (RFC 3261 §20.15). */
export function parseContentType(text: string): Result<ContentType, string> {
  const semicolon = text.indexOf(";");
  const type = (semicolon < 0 ? text : text.slice(0, semicolon)).toLowerCase();
  const slash = type.indexOf("/");
  const main = type.slice(0, Math.max(0, slash)).trim();
  const sub = type.slice(slash + 1).trim();
  if (!within(TOKEN, main) || !within(TOKEN, sub)) return err("Bad Content-Type");
  const params = new Params();
  if (semicolon >= 0 && readParams(text, octetsOf(text), semicolon, text.length, params) < 0)
    return err("Bad Content-Type");
  return ok({ type: `${main}/${sub}`, params });
}

/** Writes a Reason with a SIP status (RFC 3326 §2): `SIP;cause=200;text="Call completed elsewhere"`. */
export const formatReason = (cause: number, text: string): string => `SIP;cause=${cause};text=${quote(text)}`;
