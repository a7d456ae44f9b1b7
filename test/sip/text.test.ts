import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { decodeUtf8, detach, encodeUtf8, isToken, readNumber } from "../../src/sip/text.ts";

describe("text of messages", () => {
  it("is UTF-8 for people, and ISO 8859-1 where it is no UTF-8", () => {
    expect(encodeUtf8("Grüße 大")).toBe("Gr\u00c3\u00bc\u00c3\u009fe \u00e5\u00a4\u00a7");
    expect(decodeUtf8(encodeUtf8("Grüße 大"))).toBe("Grüße 大");
    expect(decodeUtf8("Gr\u00fc\u00dfe")).toBe("Grüße");
    expect(decodeUtf8("plain")).toBe("plain");
  });

  it("is freed although a detached piece of it is kept", () => {
    setFlagsFromString("--expose-gc");
    const gc = runInNewContext("gc") as () => void;
    const pieces: string[] = [];
    gc();
    const before = process.memoryUsage().heapUsed;
    for (let i = 0; i < 50; i++)
      pieces.push(
        detach(
          Buffer.alloc(500_000, 97 + (i % 26))
            .toString("latin1")
            .slice(100, 140),
        ),
      );
    gc();
    const grown = process.memoryUsage().heapUsed - before;
    expect(pieces[1]).toBe("b".repeat(40));
    expect(grown).toBeLessThan(10_000_000); // 25 MB where the pieces held the messages
  });

  it("detached is the same text, of any length", () => {
    for (const text of ["", "a", "a".repeat(12), "a".repeat(13), "大".repeat(40)]) expect(detach(text)).toBe(text);
  });

  it("is a token or not (RFC 3261 §25.1)", () => {
    expect(isToken("-.!%*_+`'~aZ09")).toBe(true);
    for (const text of ["", "a b", "a:b", "a@b", "ü", "大", "a\u0000"]) expect(isToken(text)).toBe(false);
  });

  it("is a number or not", () => {
    expect(["0", "007", "12", "13", "-1", "", "1 ", "00000000001"].map((text) => readNumber(text, 12))).toEqual([
      0,
      7,
      12,
      undefined,
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });
});
