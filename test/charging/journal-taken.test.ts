import { describe, expect, it } from "vitest";
import type { Bus } from "../../src/bus/types.ts";
import { type ChargingEvent, sessionStarted } from "../../src/charging/events/events.ts";
import { openJournal } from "../../src/charging/journal/journal.ts";
import type { Group } from "../../src/charging/journal/publisher.ts";
import { TakenGroups } from "../../src/charging/journal/taken.ts";
import { TestClock } from "../support/test-clock.ts";
import { until } from "../support/until.ts";
import { freshFolder } from "./folders.ts";
import { facts, JANUARY, silent } from "./samples.ts";

const event = (n: number): ChargingEvent => sessionStarted(facts({ id: `s${n}` }), JANUARY + n);

type Says = boolean | "nothing";

/** Groups that were taken, a clock that the test turns, and a bus that says what the test says. */
function lab({ maxBytes = 1_000_000, loses = true } = {}) {
  const clock = new TestClock();
  const forgotten: number[] = [];
  const again: number[] = [];
  let says: Says = true;
  const isSure = async () => {
    if (says === "nothing") throw new Error("NATS is away");
    return says;
  };
  const numbers = (groups: readonly Group[]) => groups.map(({ key }) => key[1]);
  const taken = new TakenGroups({
    ...{ bus: loses ? { isSure } : {}, clock, log: silent, maxBytes },
    forget: (groups) => forgotten.push(...numbers(groups)),
    again: (groups) => again.push(...numbers(groups)),
  });
  return {
    ...{ taken, clock, forgotten, again },
    add: (...keys: number[]) =>
      taken.add(keys.map((key) => ({ key: [1, key], bytes: 1_000, count: 2, events: [event(key)] }))),
    async pass(ms: number, now?: Says) {
      if (now !== undefined) says = now;
      for (let left = ms; left > 0; left -= 1_000) {
        clock.advance(1_000);
        await new Promise(setImmediate);
      }
    },
  };
}

describe("events that the bus has taken (P2, P3)", () => {
  it("are kept until it is sure that the bus does not lose them: half a minute with the same leader", async () => {
    const { add, pass, forgotten, again, clock } = lab();
    add(1);
    await pass(20_000);
    add(2);
    await pass(9_000);
    expect(forgotten).toEqual([]);
    await pass(12_000);
    expect(forgotten).toEqual([1]);
    await pass(20_000);
    expect([forgotten, again, clock.armed]).toEqual([[1, 2], [], 0]);
  });

  it("are published again when another server leads, and kept anew when they are taken again", async () => {
    const { add, pass, forgotten, again } = lab();
    add(1, 2);
    await pass(6_000, false);
    expect([again, forgotten]).toEqual([[1, 2], []]);
    add(1, 2);
    await pass(29_000, true);
    expect(forgotten).toEqual([]);
    await pass(10_000);
    expect([again, forgotten]).toEqual([
      [1, 2],
      [1, 2],
    ]);
  });

  it("are kept for as long as nobody knows who leads", async () => {
    const { add, pass, forgotten, again } = lab();
    add(1);
    await pass(600_000, "nothing");
    expect([forgotten, again]).toEqual([[], []]);
    await pass(6_000, false);
    expect([forgotten, again]).toEqual([[], [1]]);
  });

  it("take no more room than they may: the oldest give way", () => {
    const { add, forgotten } = lab({ maxBytes: 2_500 });
    add(1, 2);
    add(3, 4);
    expect(forgotten).toEqual([1, 2]);
  });

  it("are forgotten at once where the bus loses nothing, and when the journal is closed", () => {
    const within = lab({ loses: false });
    within.add(1);
    expect(within.forgotten).toEqual([1]);
    const { add, taken, forgotten, clock } = lab();
    add(1);
    taken.stop();
    add(2);
    expect([forgotten, clock.armed]).toEqual([[1, 2], 0]);
  });

  it("are read from the disk to be published again, and are not there after that: a journal and a bus that loses", async () => {
    const clock = new TestClock();
    const path = freshFolder();
    let stored: string[] = [];
    const how: unknown[] = [];
    let leader = true;
    const bus: Bus = {
      publish: async (events, again) => {
        stored.push(...events.map(({ id }) => id));
        how.push(again);
      },
      isSure: async () => leader,
      consume: () => Promise.reject(new Error("nobody consumes here")),
      close: async () => {},
    };
    const journal = await openJournal({ path, bus, clock, log: silent, minFreeDiskBytes: 0 });
    const passes = async (holds: () => boolean) =>
      until(() => {
        clock.advance(1_000);
        return holds();
      }, 5_000);
    for (const n of [1, 2, 3]) void journal.append(event(n));
    await passes(() => stored.length === 3);
    stored = []; // its servers have lost them
    leader = false;
    await passes(() => stored.length > 0);
    expect([...stored].sort()).toEqual([1, 2, 3].map((n) => event(n).id));
    expect(new Set(how)).toEqual(new Set([undefined, "again"]));
    leader = true;
    expect(journal.stats()).toMatchObject({ appended: 3, pendingEvents: 0 });
    await journal.close();
    stored = [];
    const next = await openJournal({ path, bus, clock, log: silent, minFreeDiskBytes: 0 });
    const drained = next.drained();
    clock.advance(1_000);
    await drained;
    expect(stored).toEqual([]);
    await next.close();
  });
});
