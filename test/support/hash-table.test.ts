import { describe, expect, it } from "vitest";
import { HashTable } from "../../src/support/hash-table.ts";

/** Few hashes, 0 and negative ones among them, so that all meet in their slots. */
class Crowded extends HashTable<number> {
  protected hashOf(key: string): number {
    return (Number(key) % 7) - 3;
  }
}

class Spread extends HashTable<number> {
  protected hashOf(key: string): number {
    return Number(key);
  }
}

describe.each([
  ["whose keys collide", () => new Crowded()],
  ["whose keys do not collide", () => new Spread()],
])("a hash table %s", (_, make) => {
  it("holds what a Map holds, after any sequence of additions and deletions", () => {
    const table = make();
    const model = new Map<string, number>();
    const keys = Array.from({ length: 300 }, (_, i) => String(i));
    let seed = 1;
    const next = (below: number) => {
      seed = (seed * 48_271) % 2_147_483_647;
      return seed % below;
    };
    for (let round = 0; round < 20_000; round++) {
      const key = keys[next(keys.length)]!;
      // By turns it grows and shrinks, past all its sizes.
      const grows = Math.floor(round / 2_000) % 2 === 0;
      if (next(10) < (grows ? 7 : 3)) {
        table.set(key, round);
        model.set(key, round);
      } else expect(table.delete(key)).toBe(model.delete(key));
      expect(table.size).toBe(model.size);
      const other = keys[next(keys.length)]!;
      expect(table.get(other)).toBe(model.get(other));
      expect(table.has(other)).toBe(model.has(other));
    }
    expect(table.values().sort()).toEqual([...model.values()].sort());
    expect(table.allKeys().sort()).toEqual([...model.keys()].sort());
  });

  it("is empty after it was cleared, and takes more", () => {
    const table = make();
    for (let i = 0; i < 1_000; i++) table.set(String(i), i);
    table.clear();
    expect([table.size, table.values(), table.has("7")]).toEqual([0, [], false]);
    table.set("7", 7);
    expect([table.size, table.get("7")]).toEqual([1, 7]);
  });
});
