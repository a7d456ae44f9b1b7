import { readNumber } from "./text.ts";

/** What a piece of a stream holds. */
export type Frame =
  | { readonly kind: "message"; readonly bytes: Buffer }
  /** A double CRLF between messages: the peer asks whether the connection lives (RFC 5626 §4.4.1). */
  | { readonly kind: "ping" }
  /** The connection can't be read any further and must be closed. */
  | { readonly kind: "error"; readonly reason: string };

export interface FrameBounds {
  readonly maxHeadBytes: number;
  readonly maxBodyBytes: number;
}

const defaultBounds: FrameBounds = { maxHeadBytes: 65_535, maxBodyBytes: 65_535 };
const EMPTY = Buffer.alloc(0);

/** Cuts a stream into messages by Content-Length (RFC 3261 §18.3). Each byte is looked at once or twice, however it is cut. */
export class StreamFramer {
  private readonly bounds: FrameBounds;
  private buffered: Buffer = EMPTY;
  private chunks: Buffer[] = [];
  private chunkBytes = 0;
  /** Bytes of the message at the front, once its head was read. */
  private need = 0;
  /** How far the end of the head was looked for. */
  private scanned = 0;
  private dead = false;

  constructor(bounds: FrameBounds = defaultBounds) {
    this.bounds = bounds;
  }

  /** Takes what came and returns what is complete. After an error nothing more comes. */
  push(chunk: Buffer): Frame[] {
    const frames: Frame[] = [];
    if (this.dead) return frames;
    this.chunks.push(chunk);
    this.chunkBytes += chunk.length;
    // A long body that comes in small pieces is put together once, when it is whole.
    if (this.need > 0 && this.buffered.length + this.chunkBytes < this.need) return frames;
    this.gather();
    while (this.next(frames));
    return frames;
  }

  private gather(): void {
    this.buffered =
      this.buffered.length === 0 && this.chunks.length === 1
        ? this.chunks[0]!
        : Buffer.concat([this.buffered, ...this.chunks]);
    this.chunks = [];
    this.chunkBytes = 0;
  }

  private next(frames: Frame[]): boolean {
    if (this.need === 0 && !this.readHead(frames)) return false;
    if (this.buffered.length < this.need) return false;
    frames.push({ kind: "message", bytes: this.buffered.subarray(0, this.need) });
    this.drop(this.need);
    return this.buffered.length > 0;
  }

  private drop(bytes: number): void {
    this.buffered = bytes >= this.buffered.length ? EMPTY : this.buffered.subarray(bytes);
    this.need = 0;
    this.scanned = 0;
  }

  /** Finds the end of the head and how long the message is. */
  private readHead(frames: Frame[]): boolean {
    while (this.buffered.length >= 2 && this.buffered[0] === 13 && this.buffered[1] === 10) {
      if (this.buffered.length >= 4 && this.buffered[2] === 13 && this.buffered[3] === 10) {
        frames.push({ kind: "ping" });
        this.drop(4);
      } else if (this.buffered.length === 3 || this.buffered.length === 2) {
        return false; // Half a ping, or an empty line before a message: what comes next tells.
      } else {
        this.drop(2);
      }
    }
    const end = this.buffered.indexOf("\r\n\r\n", Math.max(0, this.scanned - 3), "latin1");
    this.scanned = this.buffered.length;
    const head = end < 0 ? this.buffered.length : end + 4;
    if (head > this.bounds.maxHeadBytes) return this.fail(frames, "header fields are too long");
    if (end < 0) return false;
    const length = contentLength(this.buffered.toString("latin1", 0, end + 2));
    if (length === undefined) return this.fail(frames, "Content-Length is missing or cannot be read");
    if (length > this.bounds.maxBodyBytes) return this.fail(frames, "body is too long");
    this.need = head + length;
    return true;
  }

  private fail(frames: Frame[], reason: string): false {
    this.dead = true;
    this.buffered = EMPTY;
    frames.push({ kind: "error", reason });
    return false;
  }
}

/** What the head says of the body's length; undefined where it says nothing that can be relied on: several, or none (RFC 3261 §20.14). */
function contentLength(head: string): number | undefined {
  let found: string | undefined;
  for (let line = head.indexOf("\n") + 1; line > 0; line = head.indexOf("\n", line) + 1) {
    const c = head[line];
    if (c !== "C" && c !== "c" && c !== "l" && c !== "L") continue;
    const match = /^(?:content-length|l)[ \t]*:[ \t]*(?:\r\n[ \t]+)?([^\r\n]*?)[ \t]*\r\n/i.exec(
      head.slice(line, line + 120),
    );
    if (!match) continue;
    if (found !== undefined && found !== match[1]) return undefined;
    found = match[1]!;
  }
  return found === undefined ? undefined : readNumber(found, 2_147_483_647);
}
