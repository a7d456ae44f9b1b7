import { COLON, CR, LF, numberIn, SP, skipSpace, TAB, TOKEN } from "./chars.ts";
import { knownHeader, Role } from "./names.ts";
import { type ParseError, parseMessage } from "./parse.ts";

/** What a piece of a stream holds. */
export type Frame =
  | { readonly kind: "message"; readonly bytes: Buffer }
  /**
   * A double CRLF between messages: the peer asks whether the connection lives (RFC 5626 §4.4.1). At most one for
   * each piece.
   */
  | { readonly kind: "ping" }
  /**
   * The connection can't be read any further and must be closed. `error` says what to answer before that; it is there
   * if the head is complete. `bytes` is what has come of the message, for the log.
   */
  | { readonly kind: "error"; readonly reason: string; readonly error?: ParseError; readonly bytes: Buffer };

export interface FrameBounds {
  readonly maxHeadBytes: number;
  readonly maxBodyBytes: number;
}

const defaultBounds: FrameBounds = { maxHeadBytes: 65_535, maxBodyBytes: 65_535 };
const EMPTY = Buffer.alloc(0);
/** The end of a head is looked for in windows of this size: most heads fit into one. */
const WINDOW_BYTES = 2_048;
const PING: Frame = { kind: "ping" };

/**
 * Cuts a stream into messages by Content-Length (RFC 3261 §18.3). Each byte is scanned once and copied at most a few
 * times, in whatever pieces the stream arrives. A message that arrives in one piece is not copied.
 */
export class StreamFramer {
  private readonly bounds: FrameBounds;
  /** What is not yet handed out is `data` from `start` to `end`. */
  private data: Buffer = EMPTY;
  private start = 0;
  private end = 0;
  /** True when `data` is our own copy, with room behind `end`. */
  private owned = false;
  /** Up to here, `data` was searched for the end of the head. */
  private scanned = 0;
  /** Length in bytes of the message at the front; 0 until its head was read. */
  private need = 0;
  private lineBreaks = 0;
  private dead = false;

  constructor(bounds: FrameBounds = defaultBounds) {
    this.bounds = bounds;
  }

  /** How many bytes of an unfinished message are kept. */
  get pendingBytes(): number {
    return this.end - this.start;
  }

  /**
   * Takes the next piece of the stream and returns the frames that are now complete. After an error it returns nothing
   * more. The caller must not write to the piece afterwards, since frames may point into it.
   */
  push(chunk: Buffer): Frame[] {
    const frames: Frame[] = [];
    if (this.dead) return frames;
    this.append(chunk);
    let pinged = false;
    for (;;) {
      if (this.need === 0) {
        if (this.skipLineBreaks() && !pinged) {
          frames.push(PING);
          pinged = true;
        }
        if (this.start === this.end) break;
        const problem = this.readHead();
        if (problem) {
          frames.push(problem);
          break;
        }
      }
      if (this.need === 0 || this.end - this.start < this.need) break;
      frames.push({ kind: "message", bytes: this.data.subarray(this.start, this.start + this.need) });
      this.start += this.need;
      this.scanned = this.start;
      this.need = 0;
    }
    if (this.start === this.end) this.clear();
    return frames;
  }

  private clear(): void {
    this.data = EMPTY;
    this.start = this.end = this.scanned = 0;
    this.owned = false;
  }

  private append(chunk: Buffer): void {
    const unread = this.end - this.start;
    if (unread === 0) {
      this.data = chunk;
      this.start = this.scanned = 0;
      this.end = chunk.length;
      this.owned = false;
      return;
    }
    if (!this.owned || this.data.length - this.end < chunk.length) {
      // Twice what is needed now, so that a message that comes byte by byte is copied a logarithmic number of times.
      const grown = Buffer.allocUnsafeSlow(Math.max(2 * (unread + chunk.length), 1_024));
      this.data.copy(grown, 0, this.start, this.end);
      this.data = grown;
      this.scanned -= this.start;
      this.start = 0;
      this.end = unread;
      this.owned = true;
    }
    chunk.copy(this.data, this.end);
    this.end += chunk.length;
  }

  /** Empty lines between messages (RFC 3261 §7.5). True if there were two in a row. */
  private skipLineBreaks(): boolean {
    let pinged = false;
    for (; this.start < this.end; this.start++) {
      const c = this.data[this.start]!;
      if (c === LF) {
        if (++this.lineBreaks === 2) {
          pinged = true;
          this.lineBreaks = 0;
        }
      } else if (c !== CR) {
        this.lineBreaks = 0;
        break;
      }
    }
    if (this.scanned < this.start) this.scanned = this.start;
    return pinged;
  }

  /** Finds the end of the head and how long the message is. */
  private readHead(): Frame | undefined {
    const { bounds, data, start } = this;
    const headEnd = this.findHeadEnd();
    if (headEnd < 0) return this.end - start >= bounds.maxHeadBytes ? this.fail("Message Too Large", 513) : undefined;
    const length = contentLength(data.toString("latin1", start, headEnd));
    // RFC 4475 §3.1.2.3, §3.3.9: nobody knows where this message ends and the next begins.
    if (length === BAD) return this.fail("Bad Content-Length", 400, headEnd);
    if (length === MISSING) return this.fail("Missing Content-Length", 400, headEnd);
    if (length > bounds.maxBodyBytes) return this.fail("Message Too Large", 513, headEnd);
    this.need = headEnd - start + length;
    return undefined;
  }

  /**
   * The place after the empty line that ends the head, or -1 if it has not come yet. The parser ends the head at the
   * same place.
   */
  private findHeadEnd(): number {
    const limit = Math.min(this.end, this.start + this.bounds.maxHeadBytes);
    // An end that came in two pieces begins up to two bytes before what is new.
    let from = Math.max(this.start, this.scanned - 2);
    while (from < limit) {
      const to = Math.min(from + WINDOW_BYTES, limit);
      const text = this.data.toString("latin1", from, to);
      const crlf = text.indexOf("\n\r\n");
      const lf = text.indexOf("\n\n");
      if (lf >= 0 && (crlf < 0 || lf < crlf)) return from + lf + 2;
      if (crlf >= 0) return from + crlf + 3;
      if (to === limit) break;
      from = to - 2;
    }
    this.scanned = limit;
    return -1;
  }

  /** `headEnd` is given if the head is complete: its request can then be answered. */
  private fail(reason: string, status: number, headEnd?: number): Frame {
    let error: ParseError | undefined;
    if (headEnd !== undefined) {
      const read = parseMessage(this.data.subarray(this.start, headEnd), "stream");
      const request = read.ok ? (read.value.isRequest ? read.value : undefined) : read.error.request;
      error = request && request.method !== "ACK" ? { reason, status, request } : { reason, status };
    }
    const bytes = this.data.subarray(this.start, this.end);
    this.dead = true;
    this.clear();
    return error ? { kind: "error", reason, error, bytes } : { kind: "error", reason, bytes };
  }
}

/** The length cannot be read, or two Content-Length fields differ. */
const BAD = -1;
/** There is a body, but no Content-Length says how long it is. */
const MISSING = -2;

/**
 * What a head says of the length of the body, or why it says nothing.
 * DEVIATION: RFC 3261 §18.3 demands Content-Length on streams. Here it may be missing: if no other field tells of a
 * body, there is none.
 */
function contentLength(head: string): number {
  let found = MISSING;
  for (let line = head.indexOf("\n") + 1; line > 0; line = head.indexOf("\n", line) + 1) {
    const first = head.charCodeAt(line) | 0x20;
    if (first !== 0x63 && first !== 0x6c) continue; // c, l
    // The name must end within its own line. A search from each line for the next colon could run over all the lines
    // that follow: quadratic time.
    let nameEnd = line;
    while (TOKEN[head.charCodeAt(nameEnd)] === 1) nameEnd++;
    const colon = skipSpace(head, nameEnd);
    if (head.charCodeAt(colon) !== COLON) continue;
    if (knownHeader(head.slice(line, nameEnd))?.role !== Role.contentLength) continue;
    const text = head.slice(colon + 1, endOfField(head, colon)).trim();
    const length = numberIn(text, 0, text.length, 10);
    if (length < 0 || (found !== MISSING && found !== length)) return BAD;
    found = length;
  }
  return found === MISSING && !OF_BODY.test(head) ? 0 : found;
}

/**
 * Header fields of a body, in long and compact form (RFC 3261 §20). Only a head without Content-Length is searched
 * for them.
 */
const OF_BODY = /\n(?:content-(?:type|encoding|disposition|language)|mime-version|[ce])[ \t]*:/i;

/** Where a field ends. It may run over several lines (RFC 3261 §7.3.1). */
function endOfField(head: string, from: number): number {
  let end = head.indexOf("\n", from);
  while (end >= 0) {
    const next = head.charCodeAt(end + 1);
    if (next !== SP && next !== TAB) return end;
    end = head.indexOf("\n", end + 1);
  }
  return head.length;
}

/**
 * Whether a piece of a stream begins as a message does. Other bytes belong to another protocol, or are the rest of a
 * broken message. Nobody knows where they end.
 */
export function beginsAsMessage(bytes: Buffer): boolean {
  const end = bytes.indexOf(LF);
  const line = bytes.toString("latin1", 0, end < 0 ? bytes.length : end).trimEnd();
  return /^SIP\//i.test(line) || /\bSIP\/\d{1,3}\.\d{1,3}$/i.test(line.slice(-16));
}
