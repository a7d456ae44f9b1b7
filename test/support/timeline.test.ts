import { describe, expect, it } from "vitest";
import { systemClock } from "../../src/support/clock.ts";
import { Timelines } from "../../src/support/timeline.ts";
import { TestClock } from "./test-clock.ts";

function setUp() {
  const clock = new TestClock();
  const steps: number[] = [];
  const timelines = new Timelines(clock, (byMs) => steps.push(byMs));
  return { clock, steps, timelines };
}

describe("the clock of the system", () => {
  it("is read in whole milliseconds, the monotonic one too", () => {
    for (let i = 0; i < 100; i++)
      expect([systemClock.wall(), systemClock.monotonic()].every(Number.isSafeInteger)).toBe(true);
  });
});

describe("a timeline (decision 16)", () => {
  it.each([-86_400_000, -60_000, 60_000, 86_400_000])(
    "goes on as if nobody had set the wall clock, by %i ms",
    (byMs) => {
      const { clock, timelines } = setUp();
      const timeline = timelines.current();
      const at = clock.wall();
      clock.advance(1_000);
      clock.setWall(byMs);
      clock.advance(1_000);
      timelines.current();
      expect(timeline.now()).toBe(at + 2_000);
      expect(timelines.first).toBe(timeline);
      expect(timelines.current().now()).toBe(clock.wall());
    },
  );

  it("is the same for all until the wall clock is set; then a new one knows by how much it was set in all", () => {
    const { clock, steps, timelines } = setUp();
    const first = timelines.current();
    clock.advance(100_000);
    expect(timelines.current()).toBe(first);
    clock.setWall(-60_000);
    const second = timelines.current();
    expect([second.stepMs, timelines.current()]).toEqual([-60_000, second]);
    clock.setWall(10_000);
    expect(timelines.current().stepMs).toBe(-50_000);
    expect(steps).toEqual([-60_000, 10_000]);
  });

  it("takes no notice of less than half a second, but of several that make more", () => {
    const { clock, steps, timelines } = setUp();
    for (let i = 0; i < 4; i++) {
      clock.setWall(200);
      timelines.current();
    }
    expect(steps).toEqual([600]);
  });

  it("takes no notice where the process was held up between the two readings", () => {
    const { clock, steps, timelines } = setUp();
    const wall = clock.wall.bind(clock);
    clock.wall = () => {
      clock.advance(700);
      return wall();
    };
    timelines.current();
    expect(steps).toEqual([]);
    clock.wall = wall;
    timelines.current();
    expect(steps).toEqual([]);
  });

  it("is looked after once a second, and a step is told once", () => {
    const { clock, steps, timelines } = setUp();
    timelines.watch();
    clock.advance(10_000);
    clock.setWall(3_600_000);
    expect(steps).toEqual([]);
    clock.advance(1_000);
    expect(steps).toEqual([3_600_000]);
    clock.advance(10_000);
    expect(steps).toEqual([3_600_000]);
    timelines.close();
    expect(clock.armed).toBe(0);
  });
});
