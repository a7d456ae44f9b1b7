import { type CSeq, type NameAddr, parseCSeq, parseNameAddr, parseVia, tagIn, type Via } from "./headers.ts";
import { type HeaderName, headerNamed } from "./names.ts";
import { type Uri, uriOf } from "./uri.ts";

/**
 * SIP messages in memory (RFC 3261 §7).
 *
 * Text is held as latin1: one character for each octet of the wire. What the relay does not own passes through it octet
 * for octet, even if it is not valid UTF-8. Text for people is decoded where it is shown (`decodeUtf8`).
 */

/** One header field line. It never changes, so messages can share it. */
export class HeaderField {
  readonly header: HeaderName;
  /** Unfolded. */
  readonly value: string;

  constructor(header: HeaderName, value: string) {
    this.header = header;
    this.value = value;
  }

  /** The name in its lower-case long form, by which `Headers` finds the field. */
  get key(): string {
    return this.header.key;
  }

  /** How the name is written. */
  get name(): string {
    return this.header.name;
  }

  /** The same field with another value. */
  with(value: string): HeaderField {
    return new HeaderField(this.header, value);
  }
}

/** Header fields in the order of the wire. Keys are lower-case long forms (`call-id`, never `i` or `Call-ID`). */
export class Headers {
  readonly fields: HeaderField[];

  constructor(fields: HeaderField[] = []) {
    this.fields = fields;
  }

  /** The first value of that header, or undefined. */
  get(key: string): string | undefined {
    for (const field of this.fields) if (field.key === key) return field.value;
    return undefined;
  }

  /** Every field line of that header, as written; a line may itself hold several values between commas. */
  all(key: string): string[] {
    const values: string[] = [];
    for (const field of this.fields) if (field.key === key) values.push(field.value);
    return values;
  }

  has(key: string): boolean {
    return this.get(key) !== undefined;
  }

  count(key: string): number {
    let count = 0;
    for (const field of this.fields) if (field.key === key) count++;
    return count;
  }

  /** Adds a field line at the end; `name` is how it is written. */
  add(name: string, value: string): this {
    this.fields.push(new HeaderField(headerNamed(name), value));
    return this;
  }

  /** Adds a field line at the top, where Via and Record-Route go. */
  prepend(name: string, value: string): this {
    this.insert([new HeaderField(headerNamed(name), value)]);
    return this;
  }

  /**
   * Puts field lines before all others. It moves the others by hand: this is done for every message, and `unshift`
   * would call out of compiled code.
   */
  insert(lines: readonly HeaderField[]): void {
    const { fields } = this;
    const count = lines.length;
    for (const line of lines) fields.push(line);
    for (let i = fields.length - 1; i >= count; i--) fields[i] = fields[i - count]!;
    for (let i = 0; i < count; i++) fields[i] = lines[i]!;
  }

  /** Replaces the first field line of that name and drops the others, or adds one. */
  set(name: string, value: string): this {
    const header = headerNamed(name);
    const at = this.indexOf(header.key);
    if (at < 0) this.fields.push(new HeaderField(header, value));
    else {
      this.fields[at] = new HeaderField(header, value);
      this.removeFrom(at + 1, header.key);
    }
    return this;
  }

  remove(key: string): this {
    this.removeFrom(0, key);
    return this;
  }

  /** Where the first line of that header stands in `fields`, or -1. */
  indexOf(key: string): number {
    const { fields } = this;
    for (let i = 0; i < fields.length; i++) if (fields[i]!.key === key) return i;
    return -1;
  }

  private removeFrom(start: number, key: string): void {
    const { fields } = this;
    let kept = start;
    for (let i = start; i < fields.length; i++) {
      const field = fields[i]!;
      if (field.key !== key) fields[kept++] = field;
    }
    fields.length = kept;
  }
}

const EMPTY = Buffer.alloc(0);

abstract class Message {
  readonly headers: Headers;
  body: Buffer;
  /**
   * True for a message that came by a stream without Content-Length, though RFC 3261 §18.3 demands one there. It was
   * taken as 0.
   */
  lengthMissing = false;
  // Each value is read when it is first asked for, and then kept: the transaction layer and the router ask for the same
  // ones again and again.
  private viaRead: Via | undefined;
  private fromRead: NameAddr | undefined;
  private toRead: NameAddr | undefined;
  // Null: there is no tag. The two tags are read by themselves, since few callers need the rest of From and To.
  private fromTagRead: string | null | undefined;
  private toTagRead: string | null | undefined;
  private cseqRead: CSeq | undefined;
  private contactRead: NameAddr | undefined;

  constructor(headers: Headers, body: Buffer = EMPTY) {
    this.headers = headers;
    this.body = body;
  }

  /** Call-ID, or "" if there is none (a parsed message always has one). */
  get callId(): string {
    return this.headers.get("call-id") ?? "";
  }

  /** The topmost Via, read; undefined if there is none or it cannot be read. */
  get via(): Via | undefined {
    this.viaRead ??= readOr(parseVia, this.headers.get("via"));
    return this.viaRead;
  }

  get from(): NameAddr | undefined {
    this.fromRead ??= readOr(parseNameAddr, this.headers.get("from"));
    return this.fromRead;
  }

  get to(): NameAddr | undefined {
    this.toRead ??= readOr(parseNameAddr, this.headers.get("to"));
    return this.toRead;
  }

  get fromTag(): string | undefined {
    if (this.fromTagRead === undefined) this.fromTagRead = readTag(this.headers.get("from"));
    return this.fromTagRead ?? undefined;
  }

  get toTag(): string | undefined {
    if (this.toTagRead === undefined) this.toTagRead = readTag(this.headers.get("to"));
    return this.toTagRead ?? undefined;
  }

  get cseq(): CSeq | undefined {
    this.cseqRead ??= readOr(parseCSeq, this.headers.get("cseq"));
    return this.cseqRead;
  }

  /** The first Contact, read; undefined if there is none, or `*`, or it cannot be read. */
  get contact(): NameAddr | undefined {
    this.contactRead ??= readOr(parseNameAddr, this.headers.get("contact"));
    return this.contactRead;
  }

  /** Hands over what the parser has read already. */
  known(
    via: Via | undefined,
    fromTag: string | null | undefined,
    toTag: string | null | undefined,
    cseq: CSeq | undefined,
  ): void {
    this.viaRead = via;
    this.fromTagRead = fromTag;
    this.toTagRead = toTag;
    this.cseqRead = cseq;
  }

  /** Forgets what was read of Via, From, To, CSeq and Contact. Call it after a change to one of these headers. */
  changed(): void {
    this.known(undefined, undefined, undefined, undefined);
    this.fromRead = undefined;
    this.toRead = undefined;
    this.contactRead = undefined;
  }
}

export class SipRequest extends Message {
  readonly isRequest = true;
  method: string;
  /** The Request-URI as written; `target` is the same, read. */
  uri: string;

  constructor(method: string, uri: string, headers: Headers = new Headers(), body?: Buffer) {
    super(headers, body);
    this.method = method;
    this.uri = uri;
  }

  /** The Request-URI, read; undefined if it cannot be read (never so in a parsed request). */
  get target(): Uri | undefined {
    return uriOf(this.uri);
  }
}

export class SipResponse extends Message {
  readonly isRequest = false;
  status: number;
  reason: string;

  constructor(status: number, reason: string, headers: Headers = new Headers(), body?: Buffer) {
    super(headers, body);
    this.status = status;
    this.reason = reason;
  }
}

/** The tag of a From or To value; null if there is none. */
function readTag(value: string | undefined): string | null {
  return (value === undefined ? undefined : tagIn(value, true)) ?? null;
}

export type SipMessage = SipRequest | SipResponse;

function readOr<T>(
  read: (text: string) => { ok: true; value: T } | { ok: false },
  text: string | undefined,
): T | undefined {
  if (text === undefined) return undefined;
  const result = read(text);
  return result.ok ? result.value : undefined;
}
