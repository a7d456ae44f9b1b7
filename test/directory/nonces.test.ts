import { describe, expect, it } from "vitest";
import { NonceCounts, Nonces } from "../../src/directory/nonces.ts";

const secret = Buffer.alloc(32, 1);

describe("stateless nonces (RFC 7616 §5.4)", () => {
  it("are known again, with their number, by the source to which they were issued", () => {
    const nonces = new Nonces(secret, 60_000);
    const first = nonces.issue(1_000_000, "a");
    const second = nonces.issue(1_000_000, "a");
    expect(second).not.toBe(first);
    expect(nonces.check(first, 1_060_000, "a")).toEqual({ kind: "fresh", sequence: 1 });
    expect(nonces.check(second, 1_060_000, "a")).toEqual({ kind: "fresh", sequence: 2 });
    expect(nonces.check(first, 1_000_000, "b")).toEqual({ kind: "foreign" });
  });

  it("expire", () => {
    const nonces = new Nonces(secret, 60_000);
    expect(nonces.check(nonces.issue(1_000_000, "a"), 1_060_001, "a")).toEqual({ kind: "expired", sequence: 1 });
  });

  it("cannot be changed, made up, or taken from a relay with another secret", () => {
    const nonces = new Nonces(secret, 60_000);
    const nonce = nonces.issue(1_000_000, "a");
    for (let i = 0; i < nonce.length; i++) {
      const changed = `${nonce.slice(0, i)}${nonce[i] === "0" ? "1" : "0"}${nonce.slice(i + 1)}`;
      expect(nonces.check(changed, 1_000_000, "a")).toEqual({ kind: "foreign" });
    }
    expect(nonces.check("", 1_000_000, "a")).toEqual({ kind: "foreign" });
    expect(new Nonces(Buffer.alloc(32, 2), 60_000).check(nonce, 1_000_000, "a")).toEqual({ kind: "foreign" });
  });

  it("are known after any number of others, and no better while they are remembered", () => {
    const nonces = new Nonces(secret, 60_000, "node-a");
    const first = nonces.issue(1_000_000, "a");
    for (let i = 0; i < 5_000; i++) nonces.issue(1_000_000, "a");
    const last = nonces.issue(1_000_000, "a");
    for (const nonce of [first, last]) {
      expect(nonces.check(nonce, 1_000_000, "a")).toMatchObject({ kind: "fresh" });
      expect(nonces.check(nonce, 1_000_000, "b")).toEqual({ kind: "foreign" });
      expect(nonces.check(nonce.slice(0, -1) + (nonce.endsWith("0") ? "1" : "0"), 1_000_000, "a").kind).toBe("foreign");
    }
    expect(new Nonces(secret, 60_000, "node-a").check(last, 1_000_000, "a")).toMatchObject({ kind: "fresh" });
  });

  it("want a secret worth the name", () => {
    expect(() => new Nonces(Buffer.alloc(8), 1000)).toThrow(RangeError);
  });
});

describe("nonce counts (RFC 7616 §3.4)", () => {
  it("are taken once each, and may swap places within a window", () => {
    const counts = new NonceCounts(16);
    expect(counts.use(1, 1)).toBe(true);
    expect(counts.use(1, 1)).toBe(false);
    expect(counts.use(1, 3)).toBe(true);
    expect(counts.use(1, 2)).toBe(true);
    expect(counts.use(1, 2)).toBe(false);
    expect(counts.use(1, 3)).toBe(false);
    expect(counts.use(1, 40)).toBe(true);
    expect(counts.use(1, 8)).toBe(false);
    expect(counts.use(1, 9)).toBe(true);
    expect(counts.use(1, 9)).toBe(false);
    expect(counts.use(1, 0)).toBe(false);
    expect(counts.use(1, 0xffffffff)).toBe(true);
    expect(counts.use(1, 0xffffffff)).toBe(false);
    expect(counts.use(1, 40)).toBe(false);
  });

  it("never take a count twice, in whatever order they come", () => {
    const counts = new NonceCounts(4);
    const taken = new Set<number>();
    let state = 7;
    for (let i = 0; i < 5000; i++) {
      state = (state * 1103515245 + 12345) % 2147483648;
      const count = 1 + (state % 200);
      if (counts.use(1, count)) {
        expect(taken.has(count)).toBe(false);
        taken.add(count);
      }
    }
    expect(taken.size).toBeGreaterThan(0);
  });

  it("give up a nonce whose slot went to a later one", () => {
    const counts = new NonceCounts(16);
    expect(counts.use(1, 1)).toBe(true);
    expect(counts.use(17, 1)).toBe(true);
    expect(counts.use(1, 2)).toBe(false);
    expect(counts.use(17, 2)).toBe(true);
  });
});
