import { BACKSLASH, QUOTE, SP, TAB, TOKEN } from "./chars.ts";
import { WIDE } from "./text.ts";

/**
 * Scans over octets. They are several times faster than those over the characters of a text (`chars.ts`), since V8 asks
 * at each character anew what kind of text it stands in. A place in a text is the same place in its octets.
 */

let scratch = Buffer.allocUnsafeSlow(1_024);

/**
 * The octets of a text. The next call overwrites them. The buffer may be longer than the text. A character that is no
 * octet becomes 0xff, which belongs to no class either.
 */
export function octetsOf(text: string): Buffer {
  if (text.length > scratch.length) {
    if (text.length > 65_536) return fill(Buffer.allocUnsafeSlow(text.length), text);
    scratch = Buffer.allocUnsafeSlow(2 * text.length);
  }
  return fill(scratch, text);
}

/** Up to this length a loop is faster than a call out of JavaScript. */
const SHORT = 32;

function fill(octets: Buffer, text: string): Buffer {
  if (text.length > SHORT && !WIDE.test(text)) octets.write(text, 0, "latin1");
  else
    for (let i = 0; i < text.length; i++) {
      const c = text.charCodeAt(i);
      octets[i] = c > 0xff ? 0xff : c;
    }
  return octets;
}

/** The first place at or after `from` that is neither SP nor HT. */
export function skipBlanks(octets: Buffer, from: number, to: number): number {
  let i = from;
  while (i < to && (octets[i] === SP || octets[i] === TAB)) i++;
  return i;
}

/** The place after the last octet before `to` that is neither SP nor HT, but not before `from`. */
export function skipBlanksBack(octets: Buffer, from: number, to: number): number {
  let i = to;
  while (i > from && (octets[i - 1] === SP || octets[i - 1] === TAB)) i--;
  return i;
}

/** The first place at or after `from` whose octet does not belong to the class. */
export function skipClass(table: Uint8Array, octets: Buffer, from: number, to: number): number {
  let i = from;
  while (i < to && table[octets[i]!] === 1) i++;
  return i;
}

export const skipToken = (octets: Buffer, from: number, to: number): number => skipClass(TOKEN, octets, from, to);

/** The place after the closing quote of the quoted string that opens at `open`, or -1 if it is never closed. */
export function skipQuoted(octets: Buffer, open: number, to: number): number {
  for (let i = open + 1; i < to; i++) {
    const c = octets[i];
    if (c === BACKSLASH) i++;
    else if (c === QUOTE) return i + 1;
  }
  return -1;
}

/** Whether exactly those octets stand at `from`. */
export function standsAt(word: Buffer, octets: Buffer, from: number): boolean {
  for (let i = 0; i < word.length; i++) if (octets[from + i] !== word[i]) return false;
  return true;
}

/** The first place of that octet at or after `from`, or -1. */
export function find(octets: Buffer, octet: number, from: number, to: number): number {
  for (let i = from; i < to; i++) if (octets[i] === octet) return i;
  return -1;
}

/** A number written in at most `maxDigits` digits (leading zeros apart) and nothing else, or -1. */
export function numberAt(octets: Buffer, from: number, to: number, maxDigits: number): number {
  if (from >= to) return -1;
  let value = 0;
  let digits = 0;
  for (let i = from; i < to; i++) {
    const digit = octets[i]! - 0x30;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
    if (value > 0 && ++digits > maxDigits) return -1;
  }
  return value;
}

interface Word<T> {
  readonly octets: Uint8Array;
  readonly meaning: T;
}

/** A fixed set of words, found in octets without cutting a text out of them. */
export class Words<T> {
  /** The words by length and first letter. */
  private readonly shelves: Word<T>[][] = Array.from({ length: 32 * 32 }, () => []);
  private readonly lower: Uint8Array;

  /** `caseless`: the words are given in lower case, and found in upper and lower case. */
  constructor(words: Iterable<readonly [word: string, meaning: T]>, caseless = false) {
    this.lower = Uint8Array.from({ length: 256 }, (_, c) => (caseless && c >= 0x41 && c <= 0x5a ? c | 0x20 : c));
    for (const [word, meaning] of words)
      this.shelf(word.charCodeAt(0), word.length).push({
        octets: Uint8Array.from(Buffer.from(word, "latin1")),
        meaning,
      });
  }

  find(octets: Buffer, from: number, to: number): T | undefined {
    if (from >= to) return undefined;
    const shelf = this.shelf(octets[from]!, to - from);
    for (let i = 0; i < shelf.length; i++)
      if (this.stands(shelf[i]!.octets, octets, from, to)) return shelf[i]!.meaning;
    return undefined;
  }

  private shelf(first: number, length: number): Word<T>[] {
    return this.shelves[(length & 31) * 32 + (first & 31)]!;
  }

  private stands(word: Uint8Array, octets: Buffer, from: number, to: number): boolean {
    const { length } = word;
    if (length !== to - from) return false;
    const { lower } = this;
    for (let i = 0; i < length; i++) if (lower[octets[from + i]!] !== word[i]) return false;
    return true;
  }
}
