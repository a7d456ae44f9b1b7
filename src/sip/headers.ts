import { err, ok, type Result } from "../support/result.ts";
import {
  COLON,
  COMMA,
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
import { knownMethod } from "./names.ts";
import { formatParams, Params, parseParams, quote, type ReadonlyParams, readParams, splitList } from "./params.ts";

export { type AuthParams, parseAuthParams } from "./auth-params.ts";
export { formatNameAddr, type NameAddr, parseNameAddr, parseOneNameAddr, tagIn, withTag } from "./name-addr.ts";
export { formatParams, Params, parseParams, quote, splitList, tokenList, unquote } from "./params.ts";

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

export interface CSeq {
  readonly number: number;
  readonly method: string;
}

export interface ContentType {
  /** Lower-case: `application/sdp`. */
  readonly type: string;
  readonly params: ReadonlyParams;
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
  const params = new Params();
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
  const params = new Params();
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
