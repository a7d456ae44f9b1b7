import { describe, expect, it } from "vitest";
import { Guesses } from "../../src/directory/guesses.ts";
import type { ThrottleSettings } from "../../src/directory/throttle.ts";

const settings: ThrottleSettings = { failures: 3, windowS: 60, delayS: 2, maxDelayS: 300, sources: 100 };
const HOUR = 3_600_000;

/** A guesser and users, at one time after the other. */
function setUp(changes: Partial<ThrottleSettings> = {}) {
  const guesses = new Guesses({ ...settings, ...changes });
  let tries = 0;
  /** True: it was looked at. */
  const guess = (user: string, source: string, now = 0): boolean => {
    if (guesses.waitMs(user, source, now) > 0) return false;
    guesses.failed(user, source, now, `try ${++tries}`);
    return true;
  };
  const guessed = (times: number, user: string, source: string, now = 0) =>
    Array.from({ length: times }, () => guess(user, source, now)).filter((looked) => looked).length;
  return { guesses, guess, guessed };
}

describe("who guesses passwords (M2)", () => {
  it("waits, at one source and for one user", () => {
    const { guesses, guessed } = setUp();
    expect(guessed(100, "alice", "192.0.2.1")).toBe(3);
    expect(guesses.waitMs("alice", "192.0.2.1", 0)).toBe(2_000);
    expect(guesses.waitMs("alice", "192.0.2.2", 0)).toBe(0);
    expect(guesses.waitMs("bob", "192.0.2.1", 0)).toBe(0);
  });

  it("tries many users from one source: waits for all but those who have signed in from there", () => {
    const { guesses, guess } = setUp({ failuresBySource: 20 });
    guesses.succeeded("alice", "192.0.2.1", 0);
    let looked = 0;
    for (let i = 0; i < 1_000; i++) if (guess(`user ${i}`, "192.0.2.1")) looked++;
    expect(looked).toBe(20);
    expect(guesses.waitMs("bob", "192.0.2.1", 0)).toBe(2_000);
    expect(guesses.waitMs("alice", "192.0.2.1", 0)).toBe(0);
    expect(guesses.waitMs("bob", "192.0.2.2", 0)).toBe(0);
    expect(guesses.waitMs("bob", "192.0.2.1", 2_000)).toBe(0); // as soon as he is quiet
  });

  it("tries one user from many sources: no source that is new to the user has a second free guess, and the user gets in from anywhere at once", () => {
    const { guesses, guessed } = setUp({ failuresByUser: 30 });
    guesses.succeeded("alice", "198.51.100.7", 0);
    for (let i = 0; i < 11; i++) guessed(10, "alice", `192.0.2.${i}`);
    let looked = 0;
    for (let i = 100; i < 200; i++) looked += guessed(10, "alice", `192.0.2.${i}`);
    expect(looked).toBe(100);
    expect(guesses.waitMs("alice", "203.0.113.1", 0)).toBe(0); // a new place, at the first try
    expect(guessed(2, "alice", "198.51.100.7")).toBe(2); // and a slip of her own costs nothing where she is known
    expect(guesses.waitMs("alice", "198.51.100.7", 0)).toBe(0);
  });

  it("at the address of the user who is known there: the user is looked at all the same, so often that guessing does not pay", () => {
    const { guesses, guessed } = setUp();
    guesses.succeeded("alice", "192.0.2.1", 0);
    expect(guessed(3, "alice", "192.0.2.1")).toBe(3);
    expect(guesses.waitMs("alice", "192.0.2.1", 0)).toBe(0);
    let looked = 0;
    for (let now = 0; now < HOUR; now += 100) looked += guessed(10, "alice", "192.0.2.1", now);
    // 36,000 were tried: some 65 in each wait, of which there are a dozen and then one each five minutes.
    expect(looked).toBeLessThan(1_500);
  });

  it("is known no more after a week, and at eight places", () => {
    const { guesses, guessed } = setUp();
    for (let i = 0; i < 9; i++) guesses.succeeded("alice", `192.0.2.${i}`, 0);
    guessed(3, "alice", "192.0.2.0");
    expect(guesses.waitMs("alice", "192.0.2.0", 0)).toBe(2_000);
    guessed(3, "alice", "192.0.2.8");
    expect(guesses.waitMs("alice", "192.0.2.8", 0)).toBe(0);
    const later = 8 * 24 * HOUR;
    guessed(3, "alice", "192.0.2.8", later);
    expect(guesses.waitMs("alice", "192.0.2.8", later)).toBe(2_000);
  });

  it("cannot wash out a wait by noise", () => {
    const { guesses, guessed, guess } = setUp({ failuresBySource: 1_000_000 });
    guessed(10, "alice", "192.0.2.1");
    for (let i = 0; i < 10_000; i++) guess(`noise ${i}`, `192.0.2.${i % 200}`);
    expect(guesses.waitMs("alice", "192.0.2.1", 0)).toBe(2_000);
    expect(guesses.lockOuts(0).filter(({ user }) => user === "alice")).toHaveLength(1);
  });

  it("makes no memory of long names", () => {
    const { guesses, guess } = setUp();
    guess("x".repeat(16_000), "192.0.2.1");
    guess("x".repeat(16_000), "192.0.2.1");
    guess("x".repeat(16_000), "192.0.2.1");
    expect(guesses.lockOuts(0)[0]!.user!.length).toBeLessThan(100);
  });
});

describe("lock-outs", () => {
  it("are listed as long as they last, and lifted by user, by source, by both, or all", () => {
    const { guesses, guessed, guess } = setUp({ failuresBySource: 12 });
    for (const user of ["alice", "bob x"]) for (const source of ["a", "b"]) guessed(5, user, source);
    for (let i = 0; i < 20; i++) guess(`user ${i}`, "c");
    expect(
      guesses
        .lockOuts(0)
        .map(({ user, source }) => `${user}@${source}`)
        .sort(),
    ).toEqual(["alice@a", "alice@b", "bob x@a", "bob x@b", "undefined@c"]);
    expect(guesses.lift({ user: "bob x", source: "a" }, 0)).toBe(1);
    expect(guesses.lift({ user: "alice" }, 0)).toBe(2);
    expect(guesses.waitMs("alice", "a", 0)).toBe(0);
    expect(guesses.lift({ source: "c" }, 0)).toBe(1);
    expect(guesses.lift({ source: "c" }, 0)).toBe(0);
    expect(guesses.lift({}, 0)).toBe(1);
    expect(guesses.lockOuts(0)).toEqual([]);
    guessed(5, "alice", "a");
    expect(guesses.lockOuts(2_000)).toEqual([]);
  });
});
