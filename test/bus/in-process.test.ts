import { describe, expect, it } from "vitest";
import { createInProcessBus } from "../../src/bus/in-process.ts";
import { type ChargingEvent, sessionStarted } from "../../src/charging/events/events.ts";
import type { Clock } from "../../src/support/clock.ts";
import { deferred, facts, JANUARY, silent } from "../charging/samples.ts";
import { busContract } from "../contract/bus.contract.ts";
import { TestClock } from "../support/test-clock.ts";

/** Runs every timer in the next turn of the event loop: repetition without waiting. */
const hasty: Clock = {
  wall: () => JANUARY,
  monotonic: () => JANUARY,
  setTimeout: (fn) => setImmediate(fn),
  clearTimeout: (handle) => clearImmediate(handle as NodeJS.Immediate),
};

busContract({
  name: "the same process",
  create: async () => ({ bus: createInProcessBus({ clock: hasty, log: silent }), destroy: async () => {} }),
});

const events = (count: number): ChargingEvent[] =>
  Array.from({ length: count }, (_, i) => sessionStarted(facts({ id: `s${i}` }), JANUARY));
const turn = () => new Promise(setImmediate);

describe("the bus within one process (P4)", () => {
  it("has nothing done before all consumers that will come have handled it", async () => {
    const bus = createInProcessBus({ clock: hasty, log: silent, expects: ["billing", "usage"] });
    const handled: string[] = [];
    let published = false;
    const publishing = bus.publish(events(3)).then(() => {
      published = true;
    });
    await bus.consume("usage", async ({ length }) => void handled.push(`usage ${length}`));
    await turn();
    await turn();
    expect([handled, published]).toEqual([["usage 3"], false]);
    await bus.consume("billing", async ({ length }) => void handled.push(`billing ${length}`));
    await publishing;
    expect(handled).toEqual(["usage 3", "billing 3"]);
    await bus.close();
  });

  it("takes responsibility only when every consumer has handled the events: it has no disk", async () => {
    const bus = createInProcessBus({ clock: hasty, log: silent });
    const release = deferred();
    await bus.consume("quick", async () => {});
    await bus.consume("slow", () => release.promise);
    let published = false;
    const publishing = bus.publish(events(1)).then(() => {
      published = true;
    });
    await turn();
    expect(published).toBe(false);
    release.resolve();
    await publishing;
    await bus.close();
  });

  it("waits longer after each failure, up to five seconds, and as short as at first after a success", async () => {
    const clock = new TestClock();
    const bus = createInProcessBus({ clock, log: silent });
    let attempts = 0;
    let fails = true;
    await bus.consume("billing", async () => {
      attempts++;
      if (fails) throw new Error("away");
    });
    const publishing = bus.publish(events(1));
    for (const waitMs of [100, 200, 400, 800, 1600, 3200, 5000, 5000]) {
      await turn();
      const before = attempts;
      clock.advance(waitMs - 1);
      await turn();
      expect(attempts).toBe(before);
      clock.advance(1);
      await turn();
      expect(attempts).toBe(before + 1);
    }
    fails = false;
    clock.advance(5000);
    await publishing;
    expect(clock.armed).toBe(0);
    await bus.close();
  });

  it("refuses what would wait beyond its bound", async () => {
    const bus = createInProcessBus({ clock: hasty, log: silent, maxWaiting: 10 });
    const first = bus.publish(events(8));
    await expect(bus.publish(events(3))).rejects.toThrow("too much waiting");
    const second = bus.publish(events(2));
    await bus.consume("billing", async () => {});
    await Promise.all([first, second]);
    await bus.publish(events(10));
    await bus.close();
  });

  it("rejects what is not handled yet when it is closed, so that the journal keeps it", async () => {
    const clock = new TestClock();
    const bus = createInProcessBus({ clock, log: silent });
    await bus.consume("billing", async () => {
      throw new Error("away");
    });
    const publishing = bus.publish(events(1));
    const rejected = expect(publishing).rejects.toThrow("closed");
    await turn();
    await bus.close();
    await rejected;
    expect(clock.armed).toBe(0);
  });
});
