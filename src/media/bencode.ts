import { err, ok, type Result } from "../support/result.ts";

/*
 * Bencode, in which the NG protocol of rtpengine writes its messages: integers, byte strings, lists, dictionaries.
 * Strings are bytes: what is read gives a Buffer for each value, and text for each key.
 */

export type Bencoded = Buffer | number | readonly Bencoded[] | ReadonlyMap<string, Bencoded>;
/** What can be written: text goes as UTF-8. A field that is undefined is left out. */
export type Encodable =
  | string
  | Buffer
  | number
  | readonly Encodable[]
  | { readonly [key: string]: Encodable | undefined };

/** How deep lists and dictionaries may lie in one another, and how many values there may be. */
const MAX_DEPTH = 8;
const MAX_VALUES = 2_000;

export function encode(value: Encodable): Buffer {
  const pieces: Buffer[] = [];
  write(value, pieces);
  return Buffer.concat(pieces);
}

function write(value: Encodable, to: Buffer[]): void {
  if (typeof value === "number") to.push(Buffer.from(`i${value}e`));
  else if (typeof value === "string" || Buffer.isBuffer(value)) {
    const bytes = Buffer.isBuffer(value) ? value : Buffer.from(value);
    to.push(Buffer.from(`${bytes.length}:`), bytes);
  } else if (Array.isArray(value)) {
    to.push(LIST);
    for (const one of value as readonly Encodable[]) write(one, to);
    to.push(END);
  } else {
    to.push(DICTIONARY);
    const fields = value as { readonly [key: string]: Encodable | undefined };
    for (const key of Object.keys(fields).sort()) {
      const field = fields[key];
      if (field === undefined) continue;
      write(key, to);
      write(field, to);
    }
    to.push(END);
  }
}

const LIST = Buffer.from("l");
const DICTIONARY = Buffer.from("d");
const END = Buffer.from("e");

/** Reads one value, which must be all that there is. The error says what is wrong. */
export function decode(bytes: Buffer): Result<Bencoded, string> {
  const reader = new Reader(bytes);
  const value = reader.value(0);
  if (value === undefined) return err(reader.problem);
  return reader.at === bytes.length ? ok(value) : err("more bytes after the value");
}

class Reader {
  at = 0;
  problem = "cut short";
  private values = 0;
  private readonly bytes: Buffer;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  value(depth: number): Bencoded | undefined {
    if (depth > MAX_DEPTH || ++this.values > MAX_VALUES) {
      this.problem = "too many values";
      return undefined;
    }
    const byte = this.bytes[this.at];
    if (byte === 0x69) return this.integer(); // i
    if (byte === 0x6c) return this.list(depth); // l
    if (byte === 0x64) return this.dictionary(depth); // d
    return this.text();
  }

  private integer(): number | undefined {
    const end = this.bytes.indexOf(0x65, this.at);
    const written = end < 0 ? "" : this.bytes.toString("latin1", this.at + 1, Math.min(end, this.at + 21));
    if (!/^-?\d{1,15}$/.test(written)) return this.wrong("an integer cannot be read");
    this.at = end + 1;
    return Number(written);
  }

  private text(): Buffer | undefined {
    const colon = this.bytes.indexOf(0x3a, this.at);
    const written = colon < 0 ? "" : this.bytes.toString("latin1", this.at, Math.min(colon, this.at + 8));
    if (!/^\d{1,7}$/.test(written)) return this.wrong("a length cannot be read");
    const end = colon + 1 + Number(written);
    if (end > this.bytes.length) return this.wrong("cut short");
    const text = this.bytes.subarray(colon + 1, end);
    this.at = end;
    return text;
  }

  private list(depth: number): Bencoded[] | undefined {
    const found: Bencoded[] = [];
    for (this.at++; this.bytes[this.at] !== 0x65; ) {
      const value = this.value(depth + 1);
      if (value === undefined) return undefined;
      found.push(value);
    }
    this.at++;
    return found;
  }

  private dictionary(depth: number): Map<string, Bencoded> | undefined {
    const found = new Map<string, Bencoded>();
    for (this.at++; this.bytes[this.at] !== 0x65; ) {
      const key = this.text();
      const value = key && this.value(depth + 1);
      if (value === undefined) return undefined;
      found.set(key!.toString("utf8"), value);
    }
    this.at++;
    return found;
  }

  private wrong(problem: string): undefined {
    this.problem = problem;
    return undefined;
  }
}
