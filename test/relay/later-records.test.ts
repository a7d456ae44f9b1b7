import { describe, expect, it } from "vitest";
import { LaterRecords } from "../../src/charging/events/later-records.ts";
import { JANUARY, silent } from "../charging/samples.ts";
import { TestClock } from "../support/test-clock.ts";

const turns = async () => {
  for (let i = 0; i < 20; i++) await new Promise(setImmediate);
};

describe("what could not be put on record", () => {
  it("goes together as soon as the disk takes it: a thousand ends do not wait for a commit each", async () => {
    const clock = new TestClock(JANUARY);
    const later = new LaterRecords({ clock, log: silent });
    let waiting: (() => void)[] = [];
    for (let n = 0; n < 1_000; n++) later.add(() => new Promise<void>((resolve) => waiting.push(resolve)));
    clock.advance(5_000);
    let commits = 0;
    for (await turns(); waiting.length > 0; await turns()) {
      commits++;
      for (const committed of waiting.splice(0)) committed();
    }
    expect(later.size).toBe(0);
    expect(commits).toBeLessThan(5);
    waiting = [];
  });

  it("is not held up by one that fails for a reason of its own, such as a balance that nobody knows", async () => {
    const clock = new TestClock(JANUARY);
    const later = new LaterRecords({ clock, log: silent });
    const recorded: string[] = [];
    let isKnown = false;
    later.add(async () => {
      if (!isKnown) throw new Error("the balance cannot be known now");
      recorded.push("charge");
    });
    for (const end of ["a", "b"]) later.add(async () => recorded.push(end));
    clock.advance(5_000);
    await turns();
    expect(recorded).toEqual(["a", "b"]);
    expect(later.size).toBe(1);
    isKnown = true;
    clock.advance(5_000);
    await turns();
    expect([recorded, later.size]).toEqual([["a", "b", "charge"], 0]);
  });
});
