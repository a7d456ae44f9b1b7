import { describe, expect, it } from "vitest";
import {
  find,
  numberAt,
  octetsOf,
  skipBlanks,
  skipBlanksBack,
  skipQuoted,
  skipToken,
  Words,
} from "../../src/sip/octets.ts";

const asOctets = (text: string): number[] => [...octetsOf(text).subarray(0, text.length)];

describe("the octets of a text", () => {
  it.each([0, 5, 32, 33, 2_000, 70_000])("are its characters, also at a length of %i", (length) => {
    const text = Array.from({ length }, (_, i) => String.fromCharCode(i % 256)).join("");
    expect(asOctets(text)).toEqual([...Buffer.from(text, "latin1")]);
  });

  it.each(["ab", "a".repeat(50)])("have 0xff for a character that is none, which never becomes another one", (rest) => {
    // U+010D and U+010A would end a line, were they cut to eight bits.
    expect(asOctets(`\u010d\u010a${rest}`).slice(0, 3)).toEqual([0xff, 0xff, 0x61]);
  });
});

describe("a scan", () => {
  it("never looks at what lies beyond the end that it was given", () => {
    const octets = Buffer.from('  ab"c;12;  ');
    expect(skipBlanks(octets, 0, 1)).toBe(1);
    expect(skipBlanks(octets, 0, 12)).toBe(2);
    expect(skipBlanksBack(octets, 10, 12)).toBe(10);
    expect(skipToken(octets, 2, 3)).toBe(3);
    expect(skipToken(octets, 2, 12)).toBe(4);
    expect(find(octets, 0x3b, 0, 6)).toBe(-1);
    expect(find(octets, 0x3b, 0, 7)).toBe(6);
    expect(numberAt(octets, 7, 8, 10)).toBe(1);
    expect(numberAt(octets, 7, 9, 10)).toBe(12);
    expect(numberAt(octets, 7, 10, 10)).toBe(-1);
    expect(numberAt(octets, 7, 9, 1)).toBe(-1);
  });

  it("of a quoted string minds the backslash", () => {
    const octets = Buffer.from('"a\\"b"c');
    expect(skipQuoted(octets, 0, octets.length)).toBe(6);
    expect(skipQuoted(octets, 0, 5)).toBe(-1);
  });
});

describe("words known beforehand", () => {
  const spelt = ["tag", "tga", "rport", "x"].map((word): [string, string] => [word, word]);
  const at = (words: Words<string>, text: string) => words.find(octetsOf(text), 0, text.length);

  it("are found as they are spelt", () => {
    const words = new Words(spelt);
    expect(["tag", "tga", "rport", "x"].map((text) => at(words, text))).toEqual(["tag", "tga", "rport", "x"]);
    expect(["Tag", "ta", "tagg", "taG", "", "\x18", "X"].map((text) => at(words, text))).toEqual(
      Array(7).fill(undefined),
    );
  });

  it("are found in any case where that is wanted, and nothing else is", () => {
    const words = new Words(spelt, true);
    expect(["Tag", "RPORT", "X"].map((text) => at(words, text))).toEqual(["tag", "rport", "x"]);
    expect(["\x18", "\xf8", "\x0dport", "t\x01g"].map((text) => at(words, text))).toEqual(Array(4).fill(undefined));
  });
});
