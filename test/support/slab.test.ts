import { describe, expect, it } from "vitest";
import { Slab } from "../../src/support/slab.ts";

describe("a slab", () => {
  it("gives out bytes one behind the other that nobody else gets, over as many pieces as it takes", () => {
    const slab = new Slab();
    const given = Array.from({ length: 2_000 }, (_, n) => slab.take(100).fill(n % 251));
    for (const [n, bytes] of given.entries())
      expect([bytes.length, bytes[0], bytes[99]]).toEqual([100, n % 251, n % 251]);
    expect(new Set(given.map(({ buffer }) => buffer)).size).toBe(4); // 655 to a piece
  });

  it("gives a large one a piece of its own, and leaves the present one as it is", () => {
    const slab = new Slab();
    const before = slab.take(10);
    const large = slab.take(60_000);
    const after = slab.take(10);
    expect(large.buffer).not.toBe(before.buffer);
    expect([after.buffer, after.byteOffset]).toEqual([before.buffer, 10]);
  });

  it("copies", () => {
    const bytes = Buffer.from("BYE");
    const copy = new Slab().copy(bytes);
    bytes.fill(0);
    expect(copy.toString()).toBe("BYE");
  });
});
