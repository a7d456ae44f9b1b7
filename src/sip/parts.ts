import { err, ok, type Result } from "../support/result.ts";
import { CR, isToken, LF, SP, skipSpace, TAB } from "./chars.ts";
import { type ContentType, parseContentType } from "./headers.ts";
import { HeaderField, Headers } from "./message.ts";
import { headerNamed, knownHeader, unknownHeader } from "./names.ts";
import { quote } from "./params.ts";
import { oneLine } from "./text.ts";

/** Bodies of several parts (RFC 2046 §5.1, RFC 5621): e.g. a service description beside an SDP offer. */

export interface Part {
  readonly contentType: ContentType;
  /** The part's own header fields, Content-Type among them. */
  readonly headers: Headers;
  readonly body: Buffer;
}

const MAX_PARTS = 32;
const MAX_PART_HEADERS = 32;

/** RFC 2046 §5.1.1: what may stand in a boundary, 70 characters at most. */
const BOUNDARY = /^[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]$/;

/**
 * The parts of a body with that Content-Type; a body that is not multipart is its own only part. A multipart inside of
 * a part is not opened. The bodies are views of `body`, not copies. The error is a reason phrase.
 */
export function bodyParts(contentType: string, body: Buffer): Result<Part[], string> {
  const type = parseContentType(contentType);
  if (!type.ok) return type;
  if (!type.value.type.startsWith("multipart/")) {
    return ok([{ contentType: type.value, headers: new Headers().add("Content-Type", contentType), body }]);
  }
  const boundary = type.value.params.get("boundary");
  if (boundary === undefined || !BOUNDARY.test(boundary)) return err("Bad Multipart Boundary");
  return splitParts(body, `--${boundary}`);
}

/** A delimiter line. Behind it the next part begins; behind the last one nothing more comes. */
interface Delimiter {
  /** Where the line break before the line begins: that break belongs to the delimiter (RFC 2046 §5.1.1). */
  readonly before: number;
  readonly after: number;
  readonly last: boolean;
}

function splitParts(body: Buffer, mark: string): Result<Part[], string> {
  const parts: Part[] = [];
  let delimiter = nextDelimiter(body, mark, 0);
  if (!delimiter) return err("Bad Multipart Body");
  while (!delimiter.last) {
    const next = nextDelimiter(body, mark, delimiter.after);
    if (!next || parts.length === MAX_PARTS) return err("Bad Multipart Body");
    const part = readPart(body.subarray(delimiter.after, Math.max(delimiter.after, next.before)));
    if (!part.ok) return part;
    parts.push(part.value);
    delimiter = next;
  }
  return ok(parts);
}

/** The next delimiter line at or after `from`. A line must begin at `from`. */
function nextDelimiter(body: Buffer, mark: string, from: number): Delimiter | undefined {
  for (let at = body.indexOf(mark, from, "latin1"); at >= 0; at = body.indexOf(mark, at + 1, "latin1")) {
    if (at > from && body[at - 1] !== LF) continue;
    let end = at + mark.length;
    const last = body[end] === 0x2d && body[end + 1] === 0x2d;
    if (last) end += 2;
    while (body[end] === SP || body[end] === TAB) end++;
    if (body[end] === CR) end++;
    // The line break after the closing delimiter is optional (RFC 2046 §5.1.1).
    if (body[end] !== LF && !(last && end >= body.length)) continue;
    const before = at === from ? at : body[at - 2] === CR ? at - 2 : at - 1;
    return { before, after: end + 1, last };
  }
  return undefined;
}

function readPart(bytes: Buffer): Result<Part, string> {
  const headers = new Headers();
  let at = 0;
  for (let count = 0; ; count++) {
    let lf = bytes.indexOf(LF, at);
    // A part may consist of header fields alone, and the line break of the last one then belongs to the delimiter.
    if (lf < 0) lf = bytes.length;
    const line = bytes.toString("latin1", at, lf > at && bytes[lf - 1] === CR ? lf - 1 : lf);
    at = Math.min(lf + 1, bytes.length);
    if (line === "") break;
    if (count === MAX_PART_HEADERS || !addLine(headers, line)) return err("Bad Header In Multipart Body");
  }
  // RFC 2046 §5.2: without a Content-Type, plain text.
  const contentType = parseContentType(headers.get("content-type") ?? "text/plain");
  return contentType.ok ? ok({ contentType: contentType.value, headers, body: bytes.subarray(at) }) : contentType;
}

function addLine(headers: Headers, line: string): boolean {
  const first = line.charCodeAt(0);
  const before = headers.fields.at(-1);
  if ((first === SP || first === TAB) && before) {
    headers.fields[headers.fields.length - 1] = before.with(`${before.value} ${line.trim()}`.trim());
    return true;
  }
  const colon = line.indexOf(":");
  const name = line.slice(0, Math.max(0, colon)).trimEnd();
  // Compact forms are for message headers: in a part, `c` is not Content-Type (RFC 2045).
  if (!isToken(name)) return false;
  const header = (name.length === 1 ? undefined : knownHeader(name)) ?? unknownHeader(name);
  headers.fields.push(new HeaderField(header, line.slice(skipSpace(line, colon + 1)).trimEnd()));
  return true;
}

/** A part to be written. */
export interface NewPart {
  readonly contentType: string;
  readonly body: Buffer;
  readonly headers?: readonly (readonly [name: string, value: string])[];
}

/**
 * A body of several parts, and its Content-Type. `boundary` is a fresh token; if a part holds it, a number is added to
 * it. `subtype`: `mixed`, or `alternative` where the parts say the same thing in different ways.
 */
export function buildMultipart(
  parts: readonly NewPart[],
  boundary: string,
  subtype = "mixed",
): { readonly contentType: string; readonly body: Buffer } {
  let mark = boundary;
  for (let n = 1; parts.some(({ body }) => body.includes(`--${mark}`, 0, "latin1")); n++) mark = `${boundary}${n}`;
  const pieces: Buffer[] = [];
  for (const { contentType, body, headers = [] } of parts) {
    let head = `--${mark}\r\nContent-Type: ${oneLine(contentType)}\r\n`;
    for (const [name, value] of headers) head += `${headerNamed(name).name}: ${oneLine(value)}\r\n`;
    pieces.push(Buffer.from(`${head}\r\n`, "latin1"), body, Buffer.from("\r\n"));
  }
  pieces.push(Buffer.from(`--${mark}--\r\n`, "latin1"));
  return { contentType: `multipart/${subtype};boundary=${quote(mark)}`, body: Buffer.concat(pieces) };
}
