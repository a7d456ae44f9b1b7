import { err, ok, type Result } from "../support/result.ts";
import { COLON, CR, LF, numberIn, SP, skipSpace, skipSpaceBack, TAB, TOKEN, within } from "./chars.ts";
import {
  type CSeq,
  formatVia,
  parseCSeq,
  parseMaxForwards,
  parseVia,
  parseViaLoosely,
  splitList,
  tagIn,
  type Via,
} from "./headers.ts";
import { HeaderField, Headers, type SipMessage, type SipRequest } from "./message.ts";
import { type HeaderName, headerNamed, knownHeader, knownMethod, Role } from "./names.ts";
import { readStartLine } from "./start-line.ts";
import { isRequestUri } from "./uri.ts";

/** Why bytes are no message that can be handled. */
export interface ParseError {
  /** For the reason phrase of the answer, and for the log. */
  readonly reason: string;
  /** What a request is to be answered with. */
  readonly status: number;
  /** There when enough of a request could be read to answer it: its Via. Never there for a response or an ACK (RFC 3261 §17.1.1.3). */
  readonly request?: SipRequest;
}

/** How much of a message is read (DESIGN.md, decision 14); beyond it, 513. */
export interface ParseBounds {
  readonly maxMessageBytes: number;
  readonly maxHeaders: number;
  /** One header field with all its continuation lines. */
  readonly maxHeaderBytes: number;
}

export const defaultBounds: ParseBounds = { maxMessageBytes: 65_535, maxHeaders: 256, maxHeaderBytes: 16_384 };

/** What has been read so far. The first problem is kept, and reading goes on for what an answer needs. */
interface Reading {
  readonly text: string;
  readonly fields: HeaderField[];
  readonly bounds: ParseBounds;
  status: number;
  reason: string;
  via: Via | undefined;
  /** Null: the line is there, and has none. */
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
 * Reads one message. `datagram`: the body ends by Content-Length or with the bytes, and what follows is dropped (RFC 3261 §18.3).
 * `stream`: the bytes were cut by Content-Length before, which counts as 0 where it is missing. Never throws, whatever the bytes are.
 */
export function parseMessage(
  bytes: Buffer,
  framing: "datagram" | "stream",
  bounds: ParseBounds = defaultBounds,
): Result<SipMessage, ParseError> {
  const tooLong = bytes.length > bounds.maxMessageBytes;
  const text = bytes.toString("latin1", 0, tooLong ? bounds.maxMessageBytes : bytes.length);
  let start = 0;
  while (start < text.length && isLineBreak(text.charCodeAt(start))) start++; // RFC 3261 §7.5
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
  const lineEnd = endOfLine(text, start, lf);
  const line = readStartLine(text, start, lineEnd, new Headers(reading.fields));
  const { message } = line;
  if (!message) return err({ status: line.status, reason: line.reason });
  if (line.status !== 0) fault(reading, line.reason, line.status);
  if (hasLoneCr(text, start, lineEnd)) fault(reading, "Bad Start Line");
  const bodyStart = readFields(reading, bytes, lf + 1);
  if (bodyStart < 0) fault(reading, "Header Not Terminated");
  checkPresence(reading);
  message.known(reading.via, reading.fromTag, reading.toTag, reading.cseq);
  if (message.isRequest) checkRequest(reading, message);
  if (reading.status === 0) takeBody(reading, message, bytes, bodyStart, framing);
  if (reading.status === 0) return ok(message);
  const { status, reason } = reading;
  // RFC 3261 §18.3: a bad response is dropped. §17.1.1.3: an ACK is never answered. What is missing for an answer it lacks (RFC 4475 §3.3.1).
  const answerable = message.isRequest && message.method !== "ACK" && reading.via !== undefined;
  return err(answerable ? { status, reason, request: message } : { status, reason });
}

/** Takes note of what is wrong, unless something was before. */
function fault(reading: Reading, reason: string, status = 400): void {
  if (reading.status !== 0) return;
  reading.status = status;
  reading.reason = reason;
}

const isLineBreak = (c: number): boolean => c === CR || c === LF;
const isBlank = (c: number): boolean => c === SP || c === TAB;

/** Lines end with CRLF; LF alone is borne with. */
const endOfLine = (text: string, start: number, lf: number): number =>
  lf > start && text.charCodeAt(lf - 1) === CR ? lf - 1 : lf;

/** CR alone ends a line for some and not for others: whoever sends one wants to be read in two ways. */
function hasLoneCr(text: string, start: number, end: number): boolean {
  const cr = text.indexOf("\r", start);
  return cr >= 0 && cr < end;
}

/** Reads the header fields from `at` on. Returns where the body begins, or -1 where the fields do not end. */
function readFields(reading: Reading, bytes: Buffer, at: number): number {
  const { text, bounds } = reading;
  let start = at;
  let count = 0;
  for (;;) {
    // One look at each octet finds the end of the name, that of the line, and a CR that ends none.
    let colon = -1;
    let loneCr = false;
    let lf = start;
    for (; ; lf++) {
      if (lf >= text.length) return -1;
      const c = bytes[lf]!;
      if (c > COLON) continue;
      if (c === LF) break;
      if (c === COLON) {
        if (colon < 0) colon = lf;
      } else if (c === CR && bytes[lf + 1] !== LF) loneCr = true;
    }
    let end = lf > start && bytes[lf - 1] === CR ? lf - 1 : lf;
    if (end === start) return lf + 1;
    let folded = false;
    // RFC 3261 §7.3.1: a line that begins with SP or HT continues the one before.
    while (isBlank(text.charCodeAt(lf + 1))) {
      const next = text.indexOf("\n", lf + 1);
      if (next < 0) return -1;
      end = endOfLine(text, lf + 1, next);
      lf = next;
      folded = true;
    }
    if (++count > bounds.maxHeaders || end - start > bounds.maxHeaderBytes) {
      fault(reading, "Message Too Large", 513);
      return -1;
    }
    if (loneCr || colon < 0) fault(reading, "Bad Header Line");
    if (colon >= 0) readField(reading, start, colon, end, folded);
    start = lf + 1;
  }
}

/** Folded lines as one: each break with the blanks around it becomes one SP (RFC 3261 §7.3.1). */
function unfold(text: string, from: number, to: number): string {
  let value = "";
  for (let start = from; start < to; ) {
    const lf = text.indexOf("\n", start);
    const end = lf < 0 || lf >= to ? to : endOfLine(text, start, lf);
    const first = skipSpace(text, start);
    const last = skipSpaceBack(text, Math.min(first, end), end);
    if (last > first) value += value === "" ? text.slice(first, last) : ` ${text.slice(first, last)}`;
    start = lf < 0 ? to : lf + 1;
  }
  return value;
}

function readField(reading: Reading, start: number, colon: number, end: number, folded: boolean): void {
  const { text } = reading;
  const nameEnd = skipSpaceBack(text, start, colon);
  let value: string;
  if (folded) {
    value = unfold(text, colon + 1, end);
    if (value.includes("\r")) fault(reading, "Bad Header Line");
  } else {
    const from = skipSpace(text, colon + 1);
    value = text.slice(from, skipSpaceBack(text, Math.min(from, end), end));
  }
  const known = knownHeader(text, start, nameEnd);
  if (known) readKnown(reading, known, value);
  else if (within(TOKEN, text, start, nameEnd))
    reading.fields.push(new HeaderField(headerNamed(text.slice(start, nameEnd)), value));
  else fault(reading, "Bad Header Name");
}

function readKnown(reading: Reading, known: HeaderName, value: string): void {
  const { role } = known;
  if (role === Role.via) {
    readVia(reading, value);
    return;
  }
  if (role !== Role.other && role !== Role.contact) {
    // RFC 4475 §3.3.8, §3.3.9: what may come once comes once. The same thing said twice is said once.
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
      reading.fromTag = tagOf(reading, known, value);
      break;
    case Role.to:
      reading.toTag = tagOf(reading, known, value);
      break;
    case Role.callId:
      reading.callId = value;
      if (value === "" || value.includes(" ") || value.includes("\t")) fault(reading, "Bad Call-ID");
      break;
    case Role.cseq: {
      const cseq = parseCSeq(value);
      if (cseq.ok) reading.cseq = cseq.value;
      else fault(reading, cseq.error);
      break;
    }
    case Role.contentLength:
      reading.contentLength = numberIn(value, 0, value.length, 10);
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

function tagOf(reading: Reading, known: HeaderName, value: string): string | null | undefined {
  const tag = tagIn(value, false);
  if (tag === undefined) fault(reading, `Bad ${known.name}`);
  return tag;
}

const VIA = headerNamed("Via");

/** Several Vias on one line become lines of their own, so that the topmost can be taken off (RFC 3261 §7.3.1, §16.7). */
function readVia(reading: Reading, value: string): void {
  const values = value.includes(",") ? splitList(value) : [value];
  for (const one of values) {
    // One line may hold thousands, and every answer carries them all.
    if (reading.fields.length >= reading.bounds.maxHeaders) {
      fault(reading, "Message Too Large", 513);
      return;
    }
    let text = one;
    if (reading.via === undefined) {
      const via = parseVia(one);
      if (via.ok) reading.via = via.value;
      else {
        fault(reading, via.error);
        // The answer goes to where the readable part says, and carries no more than that.
        reading.via = parseViaLoosely(one);
        if (!reading.via) continue;
        text = formatVia(reading.via);
      }
    }
    reading.fields.push(new HeaderField(VIA, text));
  }
}

/** RFC 3261 §8.1.1: mandatory in every request, and copied into every response. Max-Forwards is not asked for: RFC 2543 had none. */
function checkPresence(reading: Reading): void {
  if (reading.status !== 0) return;
  if (reading.via === undefined) fault(reading, "No Via");
  else if (reading.fromTag === undefined) fault(reading, "No From");
  else if (reading.toTag === undefined) fault(reading, "No To");
  else if (reading.callId === undefined) fault(reading, "No Call-ID");
  else if (reading.cseq === undefined) fault(reading, "No CSeq");
}

function checkRequest(reading: Reading, request: SipRequest): void {
  if (reading.status !== 0) return;
  const { method } = request;
  if (reading.cseq?.method !== method) {
    // RFC 4475 §3.1.2.18: 501 is better where nobody knows the method.
    if (knownMethod(method) === undefined) fault(reading, "Not Implemented", 501);
    else fault(reading, "CSeq Names Another Method");
  }
  if (!isRequestUri(request.uri)) fault(reading, "Bad Request-URI"); // RFC 4475 §3.1.2.11
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
