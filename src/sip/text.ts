import { isUtf8 } from "node:buffer";
import { numberIn } from "./chars.ts";

/** Below this many characters V8 copies a slice instead of pointing into the text that it was cut from. */
const SLICE_IS_COPY_BELOW = 13;

/**
 * A copy that does not point into another text. A piece cut out of a message keeps the whole message in memory. So
 * whatever outlives the message (a session, a table of dialogs) must keep a detached copy.
 */
export function detach(text: string): string {
  if (text.length < SLICE_IS_COPY_BELOW) return text;
  const half = text.length >> 1;
  return inOnePiece(text.slice(0, half) + text.slice(half));
}

/**
 * The same text, in one piece. V8 keeps joined texts as a tree, and the tree keeps alive what its pieces were cut from.
 * Reading a character makes V8 copy the text into one piece, and the next garbage collection drops the tree. Both
 * results are the same text; the choice between them keeps V8 from optimizing the read away.
 */
export function inOnePiece(text: string): string {
  return text.charCodeAt(0) === 0 ? text.concat() : text;
}

/** True if every character is ASCII. */
export function isAscii(text: string): boolean {
  return !BEYOND_ASCII.test(text);
}

const BEYOND_ASCII = /[^\x00-\x7f]/;

/**
 * Text of a message (one character for each octet) as people read it. Octets that are not UTF-8 are taken as ISO
 * 8859-1.
 */
export function decodeUtf8(text: string): string {
  if (isAscii(text)) return text;
  const octets = Buffer.from(text, "latin1");
  return isUtf8(octets) ? octets.toString("utf8") : text;
}

/** Text as people write it, as octets of UTF-8, one character each: the form in which messages hold it. */
export function encodeUtf8(text: string): string {
  return isAscii(text) ? text : Buffer.from(text, "utf8").toString("latin1");
}

/** A character that is no octet. V8 needs no scan to know that a text of octets has none. */
export const WIDE = /[^\x00-\xff]/;

/**
 * A text made fit for a line of a message: line breaks become spaces, and a character that is no octet is written in
 * UTF-8.
 */
export function oneLine(text: string): string {
  const octets = WIDE.test(text) ? encodeUtf8(text) : text;
  return octets.includes("\n") || octets.includes("\r") ? octets.replace(/[\r\n]+/g, " ") : octets;
}

export { isToken } from "./chars.ts";

/** A whole number from 0 to `max`, digits only, at most ten of them; undefined for anything else. */
export function readNumber(text: string, max: number): number | undefined {
  if (text.length > 10) return undefined;
  const value = numberIn(text, 0, text.length, 10);
  return value < 0 || value > max ? undefined : value;
}
