import { describe, expect, it } from "vitest";
import { systemRandom } from "../../src/support/random.ts";
import { TokenMap } from "../../src/support/token-map.ts";

describe("a map from the relay's own tokens", () => {
  it("holds what a Map holds, after any sequence of additions and deletions", () => {
    const map = new TokenMap<number>();
    const model = new Map<string, number>();
    // Few tokens of one or two characters, so that they meet in their slots.
    const tokens = Array.from({ length: 300 }, (_, i) => `t${i.toString(16)}`);
    let seed = 1;
    const next = (below: number) => {
      seed = (seed * 48_271) % 2_147_483_647;
      return seed % below;
    };
    for (let round = 0; round < 20_000; round++) {
      const token = tokens[next(tokens.length)]!;
      // By turns it grows and shrinks, past all its sizes.
      const grows = Math.floor(round / 2_000) % 2 === 0;
      if (next(10) < (grows ? 7 : 3)) {
        map.set(token, round);
        model.set(token, round);
      } else expect(map.delete(token)).toBe(model.delete(token));
      expect(map.size).toBe(model.size);
      const other = tokens[next(tokens.length)]!;
      expect(map.get(other)).toBe(model.get(other));
      expect(map.has(other)).toBe(model.has(other));
    }
    expect(map.values().sort()).toEqual([...model.values()].sort());
  });

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
