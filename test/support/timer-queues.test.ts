import { describe, expect, it } from "vitest";
import { TimerQueues } from "../../src/support/timer-queues.ts";
import type { TimerName } from "../../src/transaction/timers.ts";
import { TestClock } from "./test-clock.ts";

function setUp() {
  const clock = new TestClock(0);
  const errors: unknown[] = [];
  const timers = new TimerQueues(clock, (error) => errors.push(error));
  const fired: string[] = [];
  const owner = { timerFired: (name: TimerName) => fired.push(`${name} ${clock.monotonic()}`) };
  return { clock, timers, fired, owner, errors };
}

describe("timer queues", () => {
  it("fires timers of several durations, each at its own time", () => {
    const { clock, timers, fired, owner } = setUp();
    timers.start(owner, "B", 32_000);
    timers.start(owner, "A", 500);
    clock.advance(250);
    timers.start(owner, "E", 500);
    clock.advance(40_000);
    expect(fired).toEqual(["A 500", "E 750", "B 32000"]);
    expect(timers.size).toBe(0);
  });

  it("does not fire what was stopped, at the front, in the middle and at the end of its queue", () => {
    const { clock, timers, fired, owner } = setUp();
    const started = (["A", "B", "D", "E", "F"] as const).map((name) => timers.start(owner, name, 500));
    for (const at of [0, 2, 4]) timers.stop(started[at]);
    timers.stop(started[2]);
    expect(timers.size).toBe(2);
    clock.advance(1_000);
    expect(fired).toEqual(["B 500", "E 500"]);
  });

  it("fires timers that nobody stops, in their order, beside the others", () => {
    const { clock, timers, fired, owner } = setUp();
    timers.startForGood(owner, "L", 32_000);
    timers.start(owner, "B", 32_000);
    clock.advance(100);
    timers.startForGood(owner, "M", 32_000);
    timers.startForGood(owner, "K", 5_000);
    expect(timers.size).toBe(4);
    clock.advance(40_000);
    expect([...fired].sort()).toEqual(["B 32000", "K 5100", "L 32000", "M 32100"]);
    expect(timers.size).toBe(0);
    expect(clock.armed).toBe(0);
  });

  it("fires those together that nobody stops, never early and at most 0.1 s late", () => {
    const { clock, timers, fired, owner } = setUp();
    for (let i = 0; i < 1_000; i++) {
      timers.startForGood(owner, "K", 5_000);
      clock.advance(1);
    }
    clock.advance(10_000);
    const times = fired.map((one) => Number(one.split(" ")[1]));
    const late = times.map((at, i) => at - (5_000 + i));
    expect(Math.min(...late)).toBe(0);
    expect(Math.max(...late)).toBeLessThanOrEqual(100);
    expect(new Set(times).size).toBe(11); // not a thousand
  });

  it("keeps nothing of thousands that have fired, and goes on with those that have not", () => {
    const { clock, timers, fired, owner } = setUp();
    for (let i = 0; i < 5_000; i++) {
      timers.startForGood(owner, "J", 1_000);
      clock.advance(1);
    }
    expect(timers.size).toBe(999);
    clock.advance(500);
    expect(timers.size).toBe(499);
    timers.close();
    clock.advance(5_000);
    expect(fired).toHaveLength(4_501);
    expect(fired.at(-1)).toBe("J 5500");
    expect([timers.size, clock.armed]).toEqual([0, 0]);
  });

  it("uses one timeout of the clock for all timers of a duration", () => {
    const { clock, timers, owner } = setUp();
    for (let i = 0; i < 1_000; i++) timers.start(owner, "B", 32_000);
    expect(clock.armed).toBe(1);
  });

  it("fires the timers that follow on time when one starts another", () => {
    const { clock, timers, fired } = setUp();
    const again = {
      timerFired(name: TimerName) {
        fired.push(`${name} ${clock.monotonic()}`);
        if (clock.monotonic() < 2_000) timers.start(again, "E", 500);
      },
    };
    timers.start(again, "E", 500);
    clock.advance(10);
    timers.start(again, "F", 500);
    clock.advance(5_000);
    expect(fired.slice(0, 4)).toEqual(["E 500", "F 510", "E 1000", "E 1010"]);
  });

  it("goes on with the others when an owner throws", () => {
    const { clock, timers, fired, owner, errors } = setUp();
    timers.start(
      {
        timerFired() {
          throw new Error("of no use");
        },
      },
      "A",
      500,
    );
    timers.start(owner, "B", 500);
    clock.advance(500);
    expect(fired).toEqual(["B 500"]);
    expect(errors).toHaveLength(1);
  });

  it("leaves nothing behind when closed", () => {
    const { clock, timers, fired, owner } = setUp();
    const timer = timers.start(owner, "A", 500);
    timers.close();
    timers.stop(timer);
    expect(clock.armed).toBe(0);
    clock.advance(1_000);
    expect(fired).toEqual([]);
    expect(timers.size).toBe(0);
  });

  it.each(["start", "startForGood"] as const)("fires nothing more when closed by one that fired (%s)", (start) => {
    const { clock, timers, fired, owner } = setUp();
    timers[start]({ timerFired: () => timers.close() }, "A", 500);
    timers[start](owner, "B", 500);
    clock.advance(1_000);
    expect(fired).toEqual([]);
    expect([timers.size, clock.armed]).toEqual([0, 0]);
  });
});
