import { describe, expect, it } from "vitest";
import { WireMap } from "../../src/support/wire-map.ts";

class Open<T> extends WireMap<T> {
  hash(text: string): number {
    return this.hashOf(text);
  }
}

/** How many of so many slots the texts of that map would have for themselves or share. */
const slotsOf = (map: Open<unknown>, texts: readonly string[], slots: number) =>
  new Set(texts.map((text) => map.hash(text) & (slots - 1))).size;

const COUNT = 1_024;
const numbers = Array.from({ length: COUNT }, (_, i) => i);
/**
 * Of so many texts thrown at random into twice as many slots, about four fifths have one; far fewer would be a pattern.
 */
const SPREAD = COUNT * 0.7;

describe("a map from texts that others choose", () => {
  it("finds each of thousands, and none of those that are gone", () => {
    const map = new WireMap<number>();
    const branches = Array.from({ length: 10_000 }, (_, i) => `z9hG4bK-${i}\n192.0.2.1:5060\nINVITE`);
    branches.forEach((branch, i) => {
      map.set(branch, i);
    });
    expect(branches.every((branch, i) => map.get(branch) === i)).toBe(true);
    for (let i = 0; i < branches.length; i += 2) map.delete(branches[i]!);
    expect(branches.every((branch, i) => map.get(branch) === (i % 2 === 0 ? undefined : i))).toBe(true);
  });

  it.each([
    ["that count up", (i: number) => `z9hG4bK-${i}`],
    ["that differ only at their beginning", (i: number) => `${i.toString(2).padStart(10, "0")}${"x".repeat(300)}`],
    ["that differ only in the upper bits of their characters", (i: number) => wide(i, 0x10)],
    ["in which long stretches are exchanged", (i: number) => `${wide(i, 1)}${"-".repeat(54)}${wide(COUNT - 1 - i, 1)}`],
    ["of one character in all lengths", (i: number) => "a".repeat(i)],
  ])("spreads texts %s", (_, text) => {
    expect(slotsOf(new Open(), numbers.map(text), 2 * COUNT)).toBeGreaterThan(SPREAD);
  });

  it("puts the same text elsewhere each time, so that nobody can prepare texts that collide", () => {
    const hashes = new Set(numbers.map(() => new Open().hash("z9hG4bK-prepared")));
    expect(hashes.size).toBeGreaterThan(COUNT - 10);
  });

  it("takes a text without characters and one with characters that are no octets", () => {
    const map = new WireMap<string>();
    map.set("", "nothing");
    map.set("\u{10ffff}", "last");
    expect([map.get(""), map.get("\u{10ffff}"), map.get("\0")]).toEqual(["nothing", "last", undefined]);
  });
});

/** Ten characters for the ten bits of a number, each one of two that are `apart`. */
function wide(number: number, apart: number): string {
  return Array.from({ length: 10 }, (_, bit) => String.fromCharCode(0x40 + ((number >> bit) & 1) * apart)).join("");
}
