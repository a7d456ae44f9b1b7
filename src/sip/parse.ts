import { err, ok, type Result } from "../support/result.ts";
import { COLON, COMMA, CR, LF, SP, TAB } from "./chars.ts";
import {
  type CSeq,
  cseqIn,
  formatVia,
  parseMaxForwards,
  parseViaLoosely,
  splitList,
  tagIn,
  type Via,
  viaIn,
} from "./headers.ts";
import { HeaderField, Headers, type SipMessage, type SipRequest } from "./message.ts";
import { type HeaderName, headerAt, headerNamed, knownMethod, Role } from "./names.ts";
import { find, numberAt, octetsOf, skipBlanks, skipBlanksBack, skipToken } from "./octets.ts";
import { readStartLine } from "./start-line.ts";
import { isRequestUri } from "./uri.ts";

/** Why bytes are no message that can be handled. */
export interface ParseError {
  /** For the reason phrase of the answer, and for the log. */
  readonly reason: string;
  /** What a request is to be answered with. */
  readonly status: number;
  /**
   * The request, if enough of it could be read to answer it: at least its Via. Never set for a response or an ACK (RFC
   * 3261 §17.1.1.3).
   */
  readonly request?: SipRequest;
}

/** How much of a message is read (decision 14). A longer message or field is answered 513, a longer start line 414. */
export interface ParseBounds {
  readonly maxMessageBytes: number;
  readonly maxHeaders: number;
  /**
   * The Request-Line or Status-Line. Shorter than a header field, since the relay writes the Request-URI into To as
   * well.
   */
  readonly maxStartLineBytes: number;
  /** One header field with all its continuation lines. */
  readonly maxHeaderBytes: number;
}

export const defaultBounds: ParseBounds = {
  maxMessageBytes: 65_535,
  maxHeaders: 256,
  maxStartLineBytes: 8_192,
  maxHeaderBytes: 16_384,
};

/**
 * What has been read so far. Only the first problem is kept. Reading goes on after it, to find what the answer needs.
 */
interface Reading {
  readonly text: string;
  readonly fields: HeaderField[];
  readonly bounds: ParseBounds;
  status: number;
  reason: string;
  via: Via | undefined;
  /** Null: the line is there, but has no tag. */
  fromTag: string | null | undefined;
  toTag: string | null | undefined;
  cseq: CSeq | undefined;
  callId: string | undefined;
  /** -1: there is none. */
  contentLength: number;
  /** Bits by role. */
  seen: number;
}

/**
 * Reads one message. `datagram`: the body ends where Content-Length says, and bytes behind it are dropped; without
 * Content-Length it ends with the bytes (RFC 3261 §18.3). `stream`: the bytes were cut by Content-Length before; a
 * missing one counts as 0. Never throws, whatever the bytes are.
 */
export function parseMessage(
  bytes: Buffer,
  framing: "datagram" | "stream",
  bounds: ParseBounds = defaultBounds,
): Result<SipMessage, ParseError> {
  const tooLong = bytes.length > bounds.maxMessageBytes;
  const text = bytes.toString("latin1", 0, tooLong ? bounds.maxMessageBytes : bytes.length);
  let start = 0;
  while (start < text.length && isLineBreak(bytes[start]!)) start++; // RFC 3261 §7.5
  const reading: Reading = {
    text,
    fields: [],
    bounds,
    status: 0,
    reason: "",
    via: undefined,
    fromTag: undefined,
    toTag: undefined,
    cseq: undefined,
    callId: undefined,
    contentLength: -1,
    seen: 0,
  };
  if (tooLong) fault(reading, "Message Too Large", 513);
  const lf = text.indexOf("\n", start);
  if (lf < 0) return err({ status: 400, reason: "No Start Line" });
  const lineEnd = endOfLine(bytes, start, lf);
  const { message, wrong } = readStartLine(text, bytes, start, lineEnd, new Headers(reading.fields));
  if (!message) return err(wrong);
  if (wrong.status !== 0) fault(reading, wrong.reason, wrong.status);
  // RFC 3261 §21.4.12
  if (lineEnd - start > bounds.maxStartLineBytes) fault(reading, "Request-URI Too Long", 414);
  if (hasLoneCr(text, start, lineEnd)) fault(reading, "Bad Start Line");
  const bodyStart = readFields(reading, bytes, lf + 1);
  if (bodyStart < 0) fault(reading, "Header Not Terminated");
  checkPresence(reading);
  message.known(reading.via, reading.fromTag, reading.toTag, reading.cseq);
  if (message.isRequest) checkRequest(reading, message, bytes, start + message.method.length + 1);
  if (reading.status === 0) takeBody(reading, message, bytes, bodyStart, framing);
  if (reading.status === 0) return ok(message);
  const { status, reason } = reading;
  // RFC 3261 §18.3: a bad response is dropped. §17.1.1.3: an ACK is never answered. An answer lacks the fields that the
  // request lacks (RFC 4475 §3.3.1).
  const answerable = message.isRequest && message.method !== "ACK" && reading.via !== undefined;
  return err(answerable ? { status, reason, request: message } : { status, reason });
}

/** Notes what is wrong. Only the first fault counts. */
function fault(reading: Reading, reason: string, status = 400): void {
  if (reading.status !== 0) return;
  reading.status = status;
  reading.reason = reason;
}

const isLineBreak = (c: number): boolean => c === CR || c === LF;
const isBlank = (c: number): boolean => c === SP || c === TAB;

/** Lines end with CRLF; LF alone is accepted. */
const endOfLine = (octets: Buffer, start: number, lf: number): number =>
  lf > start && octets[lf - 1] === CR ? lf - 1 : lf;

/**
 * Some parsers end a line at a lone CR, others do not. A message with one could be read in two ways, so it is refused.
 */
function hasLoneCr(text: string, start: number, end: number): boolean {
  const cr = text.indexOf("\r", start);
  return cr >= 0 && cr < end;
}

/** Reads the header fields from `at` on. Returns where the body begins, or -1 if the fields do not end. */
function readFields(reading: Reading, bytes: Buffer, at: number): number {
  const { text, bounds } = reading;
  let start = at;
  let count = 0;
  for (;;) {
    let lf = text.indexOf("\n", start);
    if (lf < 0) return -1;
    let end = endOfLine(bytes, start, lf);
    if (end === start) return lf + 1;
    const lineEnd = end;
    let folded = false;
    // RFC 3261 §7.3.1: a line that begins with SP or HT continues the one before.
    while (isBlank(bytes[lf + 1]!)) {
      const next = text.indexOf("\n", lf + 1);
      if (next < 0) return -1;
      end = endOfLine(bytes, lf + 1, next);
      lf = next;
      folded = true;
    }
    if (++count > bounds.maxHeaders || end - start > bounds.maxHeaderBytes) {
      fault(reading, "Message Too Large", 513);
      return -1;
    }
    if (hasLoneCr(text, start, lineEnd)) fault(reading, "Bad Header Line");
    const colon = find(bytes, COLON, start, lineEnd);
    if (colon < 0) fault(reading, "Bad Header Line");
    else readField(reading, bytes, start, colon, end, folded);
    start = lf + 1;
  }
}

/** Folded lines as one: each break with the blanks around it becomes one SP (RFC 3261 §7.3.1). */
function unfold(text: string, octets: Buffer, from: number, to: number): string {
  let value = "";
  for (let start = from; start < to; ) {
    const lf = text.indexOf("\n", start);
    const end = lf < 0 || lf >= to ? to : endOfLine(octets, start, lf);
    const first = skipBlanks(octets, start, end);
    const last = skipBlanksBack(octets, first, end);
    if (last > first) value += value === "" ? text.slice(first, last) : ` ${text.slice(first, last)}`;
    start = lf < 0 ? to : lf + 1;
  }
  return value;
}

function readField(reading: Reading, bytes: Buffer, start: number, colon: number, end: number, folded: boolean): void {
  const { text } = reading;
  const nameEnd = skipBlanksBack(bytes, start, colon);
  const known = headerAt(bytes, start, nameEnd);
  if (folded) {
    const value = unfold(text, bytes, colon + 1, end);
    if (value.includes("\r")) fault(reading, "Bad Header Line");
    if (known) readKnown(reading, known, value, octetsOf(value), 0, value.length);
    else readUnknown(reading, bytes, start, nameEnd, value);
    return;
  }
  const from = skipBlanks(bytes, colon + 1, end);
  const to = skipBlanksBack(bytes, from, end);
  if (known) readKnown(reading, known, text, bytes, from, to);
  else readUnknown(reading, bytes, start, nameEnd, text.slice(from, to));
}

function readUnknown(reading: Reading, bytes: Buffer, start: number, nameEnd: number, value: string): void {
  if (nameEnd === start || skipToken(bytes, start, nameEnd) < nameEnd) fault(reading, "Bad Header Name");
  else reading.fields.push(new HeaderField(headerNamed(reading.text.slice(start, nameEnd)), value));
}

/** Reads the value that stands in `text`, whose octets are `octets`, from `from` to `to`. */
function readKnown(reading: Reading, known: HeaderName, text: string, octets: Buffer, from: number, to: number): void {
  const { role } = known;
  if (role === Role.via) {
    readVia(reading, text, octets, from, to);
    return;
  }
  const value = text.slice(from, to);
  if (role !== Role.other && role !== Role.contact) {
    // RFC 4475 §3.3.8, §3.3.9: a field that may come only once must not come twice. If the second line says the same as
    // the first, it is ignored.
    const bit = 1 << role;
    if ((reading.seen & bit) !== 0) {
      const before = fieldOf(reading, known);
      if (before) {
        if (before.value !== value) fault(reading, `Two ${known.name}`);
        return;
      }
    }
    reading.seen |= bit;
  }
  reading.fields.push(new HeaderField(known, value));
  switch (role) {
    case Role.from:
      reading.fromTag = tagIn(text, false, octets, from, to);
      if (reading.fromTag === undefined) fault(reading, "Bad From");
      break;
    case Role.to:
      reading.toTag = tagIn(text, false, octets, from, to);
      if (reading.toTag === undefined) fault(reading, "Bad To");
      break;
    case Role.callId:
      reading.callId = value;
      if (from === to || find(octets, SP, from, to) >= 0 || find(octets, TAB, from, to) >= 0)
        fault(reading, "Bad Call-ID");
      break;
    case Role.cseq:
      reading.cseq = cseqIn(text, octets, from, to);
      if (reading.cseq === undefined) fault(reading, "Bad CSeq");
      break;
    case Role.contentLength:
      reading.contentLength = numberAt(octets, from, to, 10);
      if (reading.contentLength < 0) fault(reading, "Bad Content-Length");
      break;
    case Role.maxForwards:
      if (parseMaxForwards(value) === undefined) fault(reading, "Bad Max-Forwards");
      break;
  }
}

function fieldOf(reading: Reading, header: HeaderName): HeaderField | undefined {
  for (const field of reading.fields) if (field.header === header) return field;
  return undefined;
}

const VIA = headerNamed("Via");

/**
 * Several Vias on one line become lines of their own, so that the topmost can be taken off (RFC 3261 §7.3.1, §16.7).
 */
function readVia(reading: Reading, text: string, octets: Buffer, from: number, to: number): void {
  if (find(octets, COMMA, from, to) >= 0) {
    for (const one of splitList(text.slice(from, to))) addVia(reading, one, octetsOf(one), 0, one.length);
  } else addVia(reading, text, octets, from, to);
}

function addVia(reading: Reading, text: string, octets: Buffer, from: number, to: number): void {
  // One line may hold thousands of Vias, and every answer would carry them all.
  if (reading.fields.length >= reading.bounds.maxHeaders) {
    fault(reading, "Message Too Large", 513);
    return;
  }
  let value = text.slice(from, to);
  if (reading.via === undefined) {
    reading.via = viaIn(text, octets, from, to);
    if (reading.via === undefined) {
      fault(reading, "Bad Via");
      // The answer goes to where the readable part says, and carries no more than that.
      reading.via = parseViaLoosely(value);
      if (!reading.via) return;
      value = formatVia(reading.via);
    }
  }
  reading.fields.push(new HeaderField(VIA, value));
}

/**
 * RFC 3261 §8.1.1: these fields are mandatory in every request, and every response copies them. Max-Forwards may be
 * missing: RFC 2543 had none.
 */
function checkPresence(reading: Reading): void {
  if (reading.status !== 0) return;
  if (reading.via === undefined) fault(reading, "No Via");
  else if (reading.fromTag === undefined) fault(reading, "No From");
  else if (reading.toTag === undefined) fault(reading, "No To");
  else if (reading.callId === undefined) fault(reading, "No Call-ID");
  else if (reading.cseq === undefined) fault(reading, "No CSeq");
}

function checkRequest(reading: Reading, request: SipRequest, bytes: Buffer, uriFrom: number): void {
  if (reading.status !== 0) return;
  const { method } = request;
  if (reading.cseq?.method !== method) {
    // RFC 4475 §3.1.2.18: 501 is the better answer to an unknown method.
    if (knownMethod(method) === undefined) fault(reading, "Not Implemented", 501);
    else fault(reading, "CSeq Names Another Method");
  }
  // RFC 4475 §3.1.2.11
  if (!isRequestUri(reading.text, bytes, uriFrom, uriFrom + request.uri.length)) fault(reading, "Bad Request-URI");
  const contact = request.headers.get("contact");
  if (contact !== undefined && contact !== "*" && tagIn(contact, true) === undefined) fault(reading, "Bad Contact");
}

/** RFC 3261 §18.3, §20.14. */
function takeBody(
  reading: Reading,
  message: SipMessage,
  bytes: Buffer,
  start: number,
  framing: "datagram" | "stream",
): void {
  const present = bytes.length - start;
  let length = reading.contentLength;
  if (length < 0) {
    length = framing === "stream" ? 0 : present;
    message.lengthMissing = framing === "stream";
  }
  if (length > present || (framing === "stream" && length < present)) fault(reading, "Content-Length Does Not Fit");
  else if (length > 0) message.body = bytes.subarray(start, start + length);
}
