import { pino } from "pino";
import { describe, expect, it } from "vitest";
import { ClockWatch } from "../../src/store/clock-watch.ts";
import { TestClock } from "../support/test-clock.ts";

/** A store's server whose clock is behind this machine's by `behindMs`, and that takes some time to answer. */
function setUp(behindMs: number, { mostS = 60, answersIn = [0, 0, 0] }: { mostS?: number; answersIn?: number[] } = {}) {
  const clock = new TestClock();
  const lines: string[] = [];
  const log = pino({ level: "info" }, { write: (line: string) => void lines.push(line) });
  const server = { behindMs, away: false, asked: 0 };
  const serverTime = async () => {
    if (server.away) throw new Error("away");
    const tookMs = answersIn[server.asked++ % answersIn.length]!;
    clock.advance(tookMs / 2);
    const time = clock.wall() - server.behindMs;
    clock.advance(tookMs / 2);
    return time;
  };
  const watch = new ClockWatch({ store: { serverTime }, clock, log, mostS });
  const minute = async () => {
    clock.advance(60_000);
    for (let i = 0; i < 20; i++) await Promise.resolve();
  };
  return { clock, lines, server, watch, minute };
}

describe("the clocks of a node and of the store's server", () => {
  it.each([
    [61_000, "ahead of"],
    [-61_000, "behind"],
    [86_400_000, "ahead of"],
  ])("must not be more than a minute apart at the start: %i ms", async (byMs, where) => {
    const { watch } = setUp(byMs);
    await expect(watch.check()).rejects.toThrow(
      `the clock of this machine is ${Math.abs(byMs) / 1000} s ${where} that of the store's server, more than 60 s: ` +
        "set both by NTP, or allow more by store.maxClockDifferenceS",
    );
  });

  it("may be as far apart as the operator says, and the difference is known", async () => {
    const { watch } = setUp(61_000, { mostS: 120 });
    await watch.check();
    expect(watch.differenceMs).toBe(61_000);
  });

  it("are compared by the answer that came soonest, whatever became of the wall clock meanwhile", async () => {
    const { watch } = setUp(0, { answersIn: [4_000, 20, 9_000] });
    await watch.check();
    expect(watch.differenceMs).toBe(0);
  });

  it("are looked at each minute: calls go on where they come to be too far apart, and it is said once", async () => {
    const { watch, server, lines, minute, clock } = setUp(0);
    await watch.check();
    watch.watch();
    for (const behindMs of [59_000, 3_600_000, 3_600_000]) {
      server.behindMs = behindMs;
      await minute();
      expect(watch.differenceMs).toBe(behindMs);
    }
    expect(lines).toMatchObject([expect.stringMatching(/"level":50.*is 3600 s ahead of that of the store's server/)]);
    clock.setWall(-3_600_000);
    server.behindMs = 0;
    await minute();
    expect(lines[1]).toContain("agree again");
    watch.close();
    expect(clock.armed).toBe(0);
  });

  it("are not known while the server is away, and that is no reason not to go on", async () => {
    const { watch, server } = setUp(3_600_000);
    server.away = true;
    await watch.check();
    expect(watch.differenceMs).toBeUndefined();
  });

  it("are one where the store is on this machine", async () => {
    const clock = new TestClock();
    const watch = new ClockWatch({ store: {}, clock, log: pino({ level: "silent" }), mostS: 1 });
    await watch.check();
    watch.watch();
    expect([watch.differenceMs, clock.armed]).toEqual([undefined, 0]);
  });
});
