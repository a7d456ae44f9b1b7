import { err, ok, type Result } from "../support/result.ts";
import { parseContentType, parseMaxForwards, parseNameAddr } from "./headers.ts";
import { type HeaderField, Headers, type SipMessage, SipRequest, SipResponse } from "./message.ts";
import { isToken, readNumber } from "./text.ts";
import { parseUri } from "./uri.ts";

/** Why bytes are no message that can be handled. */
export interface ParseError {
  /** For the reason phrase of the answer, and for the log. */
  readonly reason: string;
  /** What a request is to be answered with. */
  readonly status: number;
  /** There when enough of a request could be read to answer it. */
  readonly request?: SipRequest;
}

export interface ParseBounds {
  readonly maxHeaders: number;
}

const defaultBounds: ParseBounds = { maxHeaders: 256 };

/** Long names of the compact forms (RFC 3261 §7.3.3 and the registry). */
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

/** Names as they come, to key and name as they are kept: most messages have no other than these. */
const KNOWN = new Map<string, { key: string; name: string }>();
const COMMON =
  "Via From To Call-ID CSeq Contact Max-Forwards Content-Length Content-Type Route Record-Route Authorization WWW-Authenticate " +
  "Proxy-Authorization Proxy-Authenticate Allow Supported Require Proxy-Require Unsupported User-Agent Server Expires Accept Subject Date " +
  "Reason Retry-After Warning Info-Package Recv-Info Content-Disposition Session-Expires Min-SE P-Asserted-Identity Privacy Timestamp Allow-Events";
for (const name of COMMON.split(" ")) {
  const known = { key: name.toLowerCase(), name };
  KNOWN.set(name, known);
  KNOWN.set(known.key, known);
}
for (const [short, name] of Object.entries(COMPACT)) {
  const known = { key: name.toLowerCase(), name };
  KNOWN.set(short, known);
  KNOWN.set(short.toUpperCase(), known);
}

/** A request must have each of these exactly once (RFC 3261 §8.1.1, §20). */
const SINGLE = ["from", "to", "call-id", "cseq"] as const;

/**
 * Reads one message. `datagram`: the body ends by Content-Length or with the bytes, what follows is dropped (RFC 3261 §18.3). `stream`: the
 * bytes were cut by Content-Length before. Never throws, whatever the bytes are.
 */
export function parseMessage(
  bytes: Buffer,
  framing: "datagram" | "stream",
  bounds: ParseBounds = defaultBounds,
): Result<SipMessage, ParseError> {
  let start = 0;
  while (start < bytes.length && (bytes[start] === 13 || bytes[start] === 10)) start++; // RFC 3261 §7.5
  const end = headEnd(bytes, start);
  const text = bytes.toString("latin1", start, end < 0 ? bytes.length : end);
  const lineEnd = endOfLine(text, 0);
  const first = startLine(text.slice(0, lineEnd.end));
  const fields: HeaderField[] = [];
  const problem = readFields(text, lineEnd.next, fields, bounds.maxHeaders);
  const headers = new Headers(fields);
  if ("status" in first) {
    if (first.version !== "SIP/2.0") return failed(400, "not a SIP/2.0 response");
    const response = new SipResponse(first.status, first.reason, headers);
    if (Number.isNaN(first.status)) return failed(400, "status code must be three digits from 100 to 699");
    return finish(response, problem, bytes, end, framing);
  }
  const request = new SipRequest(first.method, first.uri, headers);
  const wrong =
    first.problem ??
    (first.version.toUpperCase() === "SIP/2.0" ? undefined : { status: 505, reason: "Version Not Supported" });
  return finish(request, wrong ?? problem, bytes, end, framing);
}

interface Problem {
  readonly status: number;
  readonly reason: string;
}

const bad = (reason: string): Problem => ({ status: 400, reason });
const failed = (status: number, reason: string): Result<never, ParseError> => err({ status, reason });

/** Index after the empty line that ends the header fields; -1 where there is none. */
function headEnd(bytes: Buffer, start: number): number {
  const crlf = bytes.indexOf("\r\n\r\n", start, "latin1");
  // Line feeds alone are borne with; they are looked for only before the proper end.
  const lf = bytes.indexOf("\n\n", start, "latin1");
  if (lf >= 0 && (crlf < 0 || lf < crlf)) return lf + 2;
  return crlf < 0 ? -1 : crlf + 4;
}

function endOfLine(text: string, from: number): { end: number; next: number } {
  const lf = text.indexOf("\n", from);
  if (lf < 0) return { end: text.length, next: text.length };
  return { end: lf > from && text.charCodeAt(lf - 1) === 13 ? lf - 1 : lf, next: lf + 1 };
}

type StartLine =
  | { readonly method: string; readonly uri: string; readonly version: string; readonly problem?: Problem }
  | { readonly status: number; readonly reason: string; readonly version: string };

function startLine(line: string): StartLine {
  const space = line.indexOf(" ");
  if (line.startsWith("SIP/") && space > 0) {
    const code = readNumber(line.slice(space + 1, space + 4), 699);
    const after = line[space + 4];
    const good = code !== undefined && code >= 100 && (after === " " || after === undefined);
    return { version: line.slice(0, space), status: good ? code : Number.NaN, reason: line.slice(space + 5) };
  }
  const last = line.lastIndexOf(" ");
  const method = line.slice(0, Math.max(0, space));
  const version = line.slice(last + 1);
  const uri = last > space ? line.slice(space + 1, last) : "";
  // RFC 4475 §3.1.2.9: exactly one space at each place, none at the end.
  if (space <= 0 || last <= space || !isToken(method))
    return { method, uri, version: "SIP/2.0", problem: bad("Request-Line cannot be read") };
  if (!/^[A-Za-z]+\/\d+\.\d+$/.test(version))
    return { method, uri, version: "SIP/2.0", problem: bad("Request-Line cannot be read") };
  for (let i = 0; i < uri.length; i++) {
    const code = uri.charCodeAt(i);
    if (code <= 32 || code === 60 || code === 62 || code === 34 || code === 127)
      return { method, uri, version, problem: bad("Request-URI has characters that must be escaped") };
  }
  return { method, uri, version };
}

/** Reads the header field lines from `at` on into `fields`. */
function readFields(text: string, at: number, fields: HeaderField[], max: number): Problem | undefined {
  let problem: Problem | undefined;
  let i = at;
  while (i < text.length) {
    let lf = text.indexOf("\n", i);
    if (lf < 0) lf = text.length;
    let end = lf > i && text.charCodeAt(lf - 1) === 13 ? lf - 1 : lf;
    if (end === i) break; // The empty line.
    const colon = text.indexOf(":", i);
    const first = i;
    i = lf + 1;
    // A line that begins with white space goes on with the one before (RFC 3261 §7.3.1).
    let folded = false;
    while (i < text.length && isSpace(text.charCodeAt(i))) {
      folded = true;
      lf = text.indexOf("\n", i);
      if (lf < 0) lf = text.length;
      end = lf > i && text.charCodeAt(lf - 1) === 13 ? lf - 1 : lf;
      i = lf + 1;
    }
    if (colon < 0 || colon >= end) {
      problem ??= bad("header line has no colon");
      continue;
    }
    if (fields.length >= max) return { status: 400, reason: "too many header fields" };
    const field = readField(text, first, colon, end, folded);
    if (field) fields.push(field);
    else problem ??= bad("header name cannot be read");
  }
  return problem;
}

function readField(text: string, start: number, colon: number, end: number, folded: boolean): HeaderField | undefined {
  let nameEnd = colon;
  while (nameEnd > start && isSpace(text.charCodeAt(nameEnd - 1))) nameEnd--;
  const written = text.slice(start, nameEnd);
  let from = colon + 1;
  let to = end;
  while (from < to && isSpaceOrBreak(text.charCodeAt(from))) from++;
  while (to > from && isSpaceOrBreak(text.charCodeAt(to - 1))) to--;
  let value = text.slice(from, to);
  if (folded) value = value.replace(/[ \t]*\r?\n[ \t]+/g, " ");
  const known = KNOWN.get(written);
  if (known) return { key: known.key, name: known.name, value };
  if (!isToken(written)) return undefined;
  const lower = written.toLowerCase();
  const other = KNOWN.get(lower);
  return { key: other?.key ?? lower, name: other?.name ?? written, value };
}

const isSpace = (code: number): boolean => code === 32 || code === 9;
const isSpaceOrBreak = (code: number): boolean => code === 32 || code === 9 || code === 13 || code === 10;

/** Checks what every message must have, and takes the body. */
function finish(
  message: SipMessage,
  problem: Problem | undefined,
  bytes: Buffer,
  end: number,
  framing: "datagram" | "stream",
): Result<SipMessage, ParseError> {
  const wrong =
    problem ??
    (end < 0 ? bad("header fields have no end") : undefined) ??
    headerProblem(message) ??
    takeBody(message, bytes, end, framing);
  if (!wrong) return ok(message);
  return err(message.isRequest && answerable(message) ? { ...wrong, request: message } : wrong);
}

/** The body: Content-Length octets of it, or all that is there (RFC 3261 §18.3, §20.14). */
function takeBody(
  message: SipMessage,
  bytes: Buffer,
  end: number,
  framing: "datagram" | "stream",
): Problem | undefined {
  const present = bytes.length - end;
  const text = message.headers.get("content-length");
  if (text === undefined) {
    if (framing === "stream" && present > 0) return bad("Content-Length is missing");
    if (present > 0) message.body = bytes.subarray(end);
    return undefined;
  }
  const length = readNumber(text, 2_147_483_647);
  if (length === undefined) return bad("Content-Length must be a number");
  if (length > present) return bad("body is shorter than Content-Length");
  if (
    message.headers.count("content-length") > 1 &&
    message.headers.all("content-length").some((other) => other !== text)
  )
    return bad("Content-Length stands twice");
  if (length > 0) message.body = bytes.subarray(end, end + length);
  return undefined;
}

/** RFC 3261 §8.1.1 and §16.3: what a message must have, and what must be readable before anything else is done with it. */
function headerProblem(message: SipMessage): Problem | undefined {
  const { fields } = message.headers;
  let seen = 0;
  for (let i = 0; i < fields.length; i++) {
    const { key, value } = fields[i]!;
    const which = SINGLE.indexOf(key as (typeof SINGLE)[number]);
    if (which >= 0) {
      if (seen & (1 << which)) return bad(`${fields[i]!.name} stands twice`); // RFC 4475 §3.3.9
      seen |= 1 << which;
    } else if (key === "max-forwards") {
      if (parseMaxForwards(value) === undefined) return bad("Max-Forwards must be a number from 0 to 255");
    } else if (key === "contact") {
      if (value !== "*" && !parseNameAddr(value).ok) return bad("Contact cannot be read");
    } else if (key === "content-type") {
      if (!parseContentType(value).ok) return bad("Content-Type cannot be read");
    } else if (key === "expires" && message.isRequest && readNumber(value, 4_294_967_295) === undefined) {
      return bad("Expires must be a number below 2**32");
    }
  }
  for (let i = 0; i < SINGLE.length; i++) if (!(seen & (1 << i))) return bad(`${SINGLE[i]} is missing`);
  if (!message.via) return bad("Via is missing or cannot be read");
  if (!message.from) return bad("From cannot be read");
  if (!message.to) return bad("To cannot be read");
  if (message.callId === "") return bad("Call-ID is empty");
  const { cseq } = message;
  if (!cseq) return bad("CSeq must be a number below 2**31 and a method");
  return message.isRequest ? requestProblem(message, cseq.method) : undefined;
}

function requestProblem(request: SipRequest, method: string): Problem | undefined {
  // RFC 4475 §3.1.2.18: a method that nobody knows is 501 before it is 400; the router says so where the two agree.
  if (method !== request.method) return bad("CSeq names another method");
  const uri = parseUri(request.uri);
  return uri.ok ? undefined : bad(`Request-URI: ${uri.error}`);
}

/** Enough of a request to answer it: the way back. What else is missing the answer lacks too (RFC 4475 §3.3.1). */
const answerable = (request: SipRequest): boolean =>
  request.method !== "ACK" && request.method !== "" && request.via !== undefined;
