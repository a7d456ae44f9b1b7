import { describe, expect, it } from "vitest";
import { Overload } from "../../src/relay/admission/overload.ts";
import type { SipResponse } from "../../src/sip/message.ts";
import { TestClock } from "../support/test-clock.ts";
import { establish, lab } from "./harness.ts";

function overloaded({ busyPercent = 95, underWay = 500 } = {}) {
  const clock = new TestClock();
  const now = { busy: 0, underWay };
  const overload = new Overload({
    clock,
    busyPercent,
    busy: () => now.busy,
    underWay: () => now.underWay,
    salt: "here",
  });
  overload.start();
  const run = (ms: number, busy: number) => {
    now.busy = busy;
    clock.advance(ms);
  };
  return { overload, now, run };
}

/** Of so many calls, how many are refused. */
const refusedOf = (overload: Overload, many = 5_000) =>
  Array.from({ length: many }, (_, i) => overload.refuses(`call-${i}@example`)).filter(Boolean).length / many;

describe("a relay that cannot keep up", () => {
  it("takes ever fewer new calls while its event loop never rests, and all of them again when it does", () => {
    const { overload, run } = overloaded();
    run(1_000, 0.9);
    expect(refusedOf(overload)).toBe(0);
    run(2_000, 1);
    const [early] = [refusedOf(overload)];
    run(10_000, 1);
    expect(early).toBeGreaterThan(0);
    expect(refusedOf(overload)).toBeGreaterThan(early);
    expect(refusedOf(overload)).toBeLessThan(1); // so that it shows when there is room
    run(10_000, 0.5);
    expect(refusedOf(overload)).toBe(0);
  });

  it("settles where the event loop is as busy as it may be", () => {
    const { overload, run } = overloaded();
    // What it takes of calls that would need four times what there is.
    for (let ms = 0; ms < 60_000; ms += 100) run(100, Math.min(1, 4 * overload.share));
    expect(4 * overload.share).toBeGreaterThan(0.8);
    expect(4 * overload.share).toBeLessThan(1.1);
  });

  it("says the same to an INVITE that is sent again, and to the one with credentials", () => {
    const { overload, run } = overloaded();
    run(5_000, 1);
    const first = Array.from({ length: 200 }, (_, i) => overload.refuses(`call-${i}`));
    expect(new Set(first).size).toBe(2);
    expect(Array.from({ length: 200 }, (_, i) => overload.refuses(`call-${i}`))).toEqual(first);
  });

  it("is not overloaded by few calls, whatever else keeps the machine busy; nor where there is no bound", () => {
    const few = overloaded({ underWay: 29 });
    few.run(20_000, 1);
    expect(refusedOf(few.overload)).toBe(0);
    const without = overloaded({ busyPercent: 0 });
    without.run(20_000, 1);
    expect(refusedOf(without.overload)).toBe(0);
  });

  it("answers a new call 503 with Retry-After (RFC 3261 §21.5.4); what belongs to a session passes", async () => {
    let refuses = false;
    const overload = { refuses: () => refuses } as unknown as Overload;
    const l = await lab({ core: { overload } });
    const { invite, answer } = await establish(l);
    refuses = true;
    l.client.inbox.length = 0;
    l.client.invite();
    const refused = l.client.inbox.at(-1) as SipResponse;
    expect(refused.status).toBe(503);
    expect(refused.headers.get("retry-after")).toBe("5");
    expect(l.core.counters.overloaded).toBe(1);
    l.client.inDialog("INVITE", invite, answer, 2, { body: "v=0" });
    expect(l.server("a").request("INVITE").toTag).toBeDefined();
  });
});
