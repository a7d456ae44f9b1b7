import { err, ok, type Result } from "../support/result.ts";

const MAX_HEADER_BYTES = 64 * 1024;
const MAX_BODY_BYTES = 1024 * 1024;
const EMPTY = Buffer.alloc(0);
const CR = 13;
const LF = 10;

/**
 * What has become complete with a piece of the stream: whole messages as text, and the number of keep-alive pings (RFC
 * 5626 §3.5.1).
 */
export interface Frames {
  readonly messages: string[];
  readonly pings: number;
}

/**
 * Cuts a TCP stream into SIP messages by Content-Length (RFC 3261 §18.3). It holds at most one incomplete message. A
 * message beyond the bounds, or without a Content-Length, is an error: after it nobody can say where the next message
 * begins.
 */
export class MessageFramer {
  private pending: Buffer = EMPTY;
  /** How far `pending` was searched for the end of the header, in vain. */
  private scanned = 0;
  /** Bytes of the message at the front, once its header has been read. */
  private length = 0;
  /** Pieces after `pending` that are not joined to it yet, so that a large body in small pieces is copied only once. */
  private pieces: Buffer[] = [];
  private pieceBytes = 0;
  private emptyLines = 0;

  push(chunk: Buffer): Result<Frames, string> {
    this.pieces.push(chunk);
    this.pieceBytes += chunk.length;
    const messages: string[] = [];
    let pings = 0;
    if (this.pending.length + this.pieceBytes < this.length) return ok({ messages, pings });
    this.pending =
      this.pending.length === 0 && this.pieces.length === 1 ? chunk : Buffer.concat([this.pending, ...this.pieces]);
    this.pieces = [];
    this.pieceBytes = 0;
    for (;;) {
      if (this.length === 0) {
        pings += this.skipEmptyLines();
        const head = this.readHeader();
        if (!head.ok) return head;
      }
      if (this.length === 0 || this.pending.length < this.length) return ok({ messages, pings });
      messages.push(this.pending.toString("utf8", 0, this.length));
      this.pending = this.pending.subarray(this.length);
      this.length = this.scanned = this.emptyLines = 0;
    }
  }

  /** RFC 3261 §7.5: empty lines before a message are ignored; two in a row are a ping. */
  private skipEmptyLines(): number {
    let at = 0;
    let pings = 0;
    while (this.pending[at] === CR && this.pending[at + 1] === LF) {
      at += 2;
      if (++this.emptyLines === 2) {
        pings++;
        this.emptyLines = 0;
      }
    }
    if (at > 0) this.pending = this.pending.subarray(at);
    return pings;
  }

  /** Sets `length` once the header is whole. */
  private readHeader(): Result<void, string> {
    const end = this.pending.indexOf("\r\n\r\n", Math.max(0, this.scanned - 3));
    if ((end < 0 ? this.pending.length : end) > MAX_HEADER_BYTES)
      return err(`a header of more than ${MAX_HEADER_BYTES} bytes`);
    if (end < 0) {
      this.scanned = this.pending.length;
      return ok(undefined);
    }
    const body = contentLength(this.pending.toString("latin1", 0, end));
    if (body === undefined) return err("a message without a Content-Length"); // RFC 3261 §18.3: required on streams
    if (body > MAX_BODY_BYTES) return err(`a body of more than ${MAX_BODY_BYTES} bytes`);
    this.length = end + 4 + body;
    return ok(undefined);
  }
}

const CONTENT_LENGTH = /\r\n(?:content-length|l)[ \t]*:[ \t]*([^\r\n]*)/gi;

/**
 * Undefined where there is no length, or one that is no number, or two that differ: then the message's end is not
 * known.
 */
function contentLength(header: string): number | undefined {
  let found: number | undefined;
  for (const [, text = ""] of header.matchAll(CONTENT_LENGTH)) {
    const digits = text.trimEnd();
    if (!/^\d{1,9}$/.test(digits) || (found !== undefined && found !== Number(digits))) return undefined;
    found = Number(digits);
  }
  return found;
}
