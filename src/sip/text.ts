/**
 * A copy of the text that stands alone. A substring of V8 keeps the whole message alive that it was cut from; whoever
 * stores a piece for longer than the message takes a copy.
 */
export function detach(text: string): string {
  return text.length < 13 ? text : Buffer.from(text, "latin1").toString("latin1");
}

/** Text of a message, held as one character for each octet, as people read it: UTF-8 (RFC 3261 §7.3.1). */
export const decodeUtf8 = (latin1: string): string => Buffer.from(latin1, "latin1").toString("utf8");

/** The reverse: text of people as it stands in a message. */
export const encodeUtf8 = (text: string): string => Buffer.from(text, "utf8").toString("latin1");

/** token of RFC 3261 §25.1, by character code. */
const TOKEN = new Uint8Array(128);
for (const c of "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.!%*_+`'~") TOKEN[c.charCodeAt(0)] = 1;

export function isToken(text: string): boolean {
  if (text.length === 0) return false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 127 || TOKEN[code] === 0) return false;
  }
  return true;
}

/** A whole number from 0 to `max`, digits only; undefined for anything else. */
export function readNumber(text: string, max: number): number | undefined {
  if (text.length === 0 || text.length > 10) return undefined;
  let value = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) return undefined;
    value = value * 10 + digit;
  }
  return value > max ? undefined : value;
}
