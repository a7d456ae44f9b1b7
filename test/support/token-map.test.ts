import { describe, expect, it } from "vitest";
import { systemRandom } from "../../src/support/random.ts";
import { TokenMap } from "../../src/support/token-map.ts";

describe("a map from the relay's own tokens", () => {
  it("finds each of thousands, and none of those that are gone", () => {
    const map = new TokenMap<number>();
    const tokens = Array.from({ length: 10_000 }, () => systemRandom.token(96));
    tokens.forEach((token, i) => {
      map.set(token, i);
    });
    expect(tokens.every((token, i) => map.get(token) === i)).toBe(true);
    for (let i = 0; i < tokens.length; i += 2) map.delete(tokens[i]!);
    expect(tokens.every((token, i) => map.get(token) === (i % 2 === 0 ? undefined : i))).toBe(true);
    expect(map.size).toBe(5_000);
  });

  it("does not mistake one token for another with the same end", () => {
    const map = new TokenMap<string>();
    map.set("a-0123456789", "a");
    map.set("b-0123456789", "b");
    map.set("", "nothing");
    map.delete("a-0123456789");
    expect([map.get("a-0123456789"), map.get("b-0123456789"), map.get("c-0123456789"), map.get("")]).toEqual([
      undefined,
      "b",
      undefined,
      "nothing",
    ]);
  });

  it("takes a stranger's key of any characters for one that is not there", () => {
    const map = new TokenMap<number>();
    map.set("0123456789abcdef", 1);
    for (const key of ["", "\u{10ffff}", "~~~~~~~~", "x".repeat(10_000), "0123456789ABCDEF"])
      expect(map.has(key)).toBe(false);
  });
});
