/** Characters and character classes of RFC 3261 §25.1, for scans by index. */

export const TAB = 0x09;
export const LF = 0x0a;
export const CR = 0x0d;
export const SP = 0x20;
export const QUOTE = 0x22;
export const PERCENT = 0x25;
export const COMMA = 0x2c;
export const SLASH = 0x2f;
export const COLON = 0x3a;
export const SEMICOLON = 0x3b;
export const LESS = 0x3c;
export const EQUALS = 0x3d;
export const GREATER = 0x3e;
export const QUESTION = 0x3f;
export const AT = 0x40;
export const BACKSLASH = 0x5c;

const LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const DIGITS = "0123456789";

/** A character class: 1 at each code that belongs to it. A code above 255 belongs to none. */
export function classOf(characters: string): Uint8Array {
  const table = new Uint8Array(256);
  for (let i = 0; i < characters.length; i++) table[characters.charCodeAt(i)] = 1;
  return table;
}

/** token = 1*(alphanum / "-" / "." / "!" / "%" / "*" / "_" / "+" / "`" / "'" / "~") */
export const TOKEN = classOf(`${LETTERS}${DIGITS}-.!%*_+\`'~`);
export const DIGIT = classOf(DIGITS);
/** A host name, or an IPv4 address; `_` is not in the grammar, but some host names in use have it. */
export const HOST = classOf(`${LETTERS}${DIGITS}-._`);
/** What stands between the brackets of an IPv6 address. */
export const IPV6 = classOf(`abcdefABCDEF${DIGITS}:.`);
export const SCHEME = classOf(`${LETTERS}${DIGITS}+-.`);

/** True if every character from `from` to `to` belongs to the class, and there is at least one. */
export function within(table: Uint8Array, text: string, from = 0, to = text.length): boolean {
  if (from >= to) return false;
  for (let i = from; i < to; i++) if (table[text.charCodeAt(i)] !== 1) return false;
  return true;
}

export const isToken = (text: string): boolean => within(TOKEN, text);

/** The first place at or after `from` that is neither SP nor HT. */
export function skipSpace(text: string, from: number): number {
  let i = from;
  for (; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c !== SP && c !== TAB) break;
  }
  return i;
}

/** The place after the last character before `to` that is neither SP nor HT, but not before `from`. */
export function skipSpaceBack(text: string, from: number, to: number): number {
  let i = to;
  for (; i > from; i--) {
    const c = text.charCodeAt(i - 1);
    if (c !== SP && c !== TAB) break;
  }
  return i;
}

/** The place after the closing quote of the quoted string that opens at `open`, or -1 if it is never closed. */
export function endOfQuoted(text: string, open: number): number {
  for (let i = open + 1; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === BACKSLASH) i++;
    else if (c === QUOTE) return i + 1;
  }
  return -1;
}

/** A number written in at most `maxDigits` digits (leading zeros apart) and nothing else, or -1. */
export function numberIn(text: string, from: number, to: number, maxDigits: number): number {
  if (from >= to) return -1;
  let value = 0;
  let digits = 0;
  for (let i = from; i < to; i++) {
    const digit = text.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
    if (value > 0 && ++digits > maxDigits) return -1;
  }
  return value;
}
