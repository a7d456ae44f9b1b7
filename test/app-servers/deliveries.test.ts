import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Attempt, Deliveries } from "../../src/app-servers/deliveries.ts";
import { EventFile, type KeptEvent } from "../../src/app-servers/event-file.ts";
import { eventOf } from "../../src/app-servers/events.ts";
import { PeerLog } from "../../src/support/peer-log.ts";
import { temporaryFolder } from "../console/http-lab.ts";
import { keptLog } from "../support/lines.ts";
import { TestClock } from "../support/test-clock.ts";

/* What app servers that speak HTTP are told: until they take it, in order, and again after a restart. */

let folder: ReturnType<typeof temporaryFolder>;
let clock: TestClock;
let kept: ReturnType<typeof keptLog>;
let file: EventFile;
/** What was told, and what the app server says to it: taken, where it says nothing. */
let told: string[];
let says: Record<string, Attempt["kind"]>;

beforeEach(() => {
  folder = temporaryFolder();
  clock = new TestClock();
  kept = keptLog();
  file = EventFile.open(folder.path);
  told = [];
  says = {};
});
afterEach(async () => {
  await file.close();
  folder.remove();
});

function deliveries(more: { most?: number } = {}) {
  return new Deliveries({
    file: () => file,
    clock,
    log: kept.log,
    peerLog: new PeerLog({ log: kept.log, clock }),
    retry: { firstS: 1, mostS: 4, giveUpS: 60 },
    most: more.most ?? 100,
    tell: async ({ id }) => {
      told.push(id);
      const kind = says[id] ?? "taken";
      return kind === "taken" ? { kind } : { kind, why: "it says so" };
    },
  });
}

const event = (session: string, type: "established" | "ended", chain = session): KeptEvent =>
  eventOf(`session.${type}`, "shop", chain, clock.wall(), { session, service: "wine", user: "sip:alice@portal" });

const turns = async (holds: () => boolean) => {
  while (!holds()) await new Promise(setImmediate);
};

describe("events for app servers that speak HTTP", () => {
  it("are told once, and are then off the disk", async () => {
    const all = deliveries();
    await all.push(event("s1", "established"));
    expect(told).toEqual(["s1-established"]);
    await turns(() => all.size === 0);
    expect([...file.all()]).toEqual([]);
    expect(all.counters).toMatchObject({ appServerEventsTaken: 1 });
  });

  it("are told again at growing distances until they are taken, and those after them wait", async () => {
    const all = deliveries();
    says = { "s1-established": "retry" };
    await all.push(event("s1", "established"));
    const ended = all.push(event("s1", "ended"));
    await all.push(event("s2", "ended")); // another dialog does not wait
    expect(told).toEqual(["s1-established", "s2-ended"]);
    const times: number[] = [];
    for (let second = 1; second <= 12; second++) {
      const before = told.length;
      clock.advance(1_000);
      await turns(() => clock.armed > 0);
      if (told.length > before) times.push(second);
    }
    expect(times).toEqual([1, 3, 7, 11]);
    says = {};
    clock.advance(4_000);
    await ended;
    expect(told.slice(-2)).toEqual(["s1-established", "s1-ended"]);
    await turns(() => all.size === 0);
    expect(all.counters).toEqual({
      appServerEventsTaken: 3,
      appServerEventsRepeated: 5,
      appServerEventsGivenUp: 0,
    });
  });

  it("are given up when they are old, or refused for good: a line and a count say so", async () => {
    const all = deliveries();
    says = { "s1-ended": "refused", "s2-ended": "retry" };
    await all.push(event("s1", "ended"));
    await all.push(event("s2", "ended"));
    while (all.size > 0) {
      clock.advance(4_000);
      await turns(() => clock.armed > 0 || all.size === 0);
    }
    expect(all.counters.appServerEventsGivenUp).toBe(2);
    expect(kept.of("an app server is not told any more")).toMatchObject([
      { appServer: "shop", session: "s1", type: "session.ended", why: "it says so" },
      { session: "s2" },
    ]);
    expect([...file.all()]).toEqual([]);
  });

  it("are told by the next process, in the order in which they happened", async () => {
    const first = deliveries();
    says = { "s1-established": "retry" };
    await first.push(event("s1", "established"));
    void first.push(event("s1", "ended"));
    await first.close(1_000);
    await file.close();
    file = EventFile.open(folder.path);
    told = [];
    says = {};
    const next = deliveries();
    next.goOn();
    expect(next.size).toBe(2);
    await turns(() => next.size === 0);
    expect(told).toEqual(["s1-established", "s1-ended"]);
  });

  it("that wait already are not taken twice, and there is a bound", async () => {
    const all = deliveries({ most: 1 });
    says = { "s1-ended": "retry" };
    await all.push(event("s1", "ended"));
    await all.push(event("s1", "ended"));
    expect(all.size).toBe(1);
    await all.push(event("s2", "ended"));
    expect(told).toEqual(["s1-ended"]);
    expect(kept.of("an app server is not told any more")).toMatchObject([{ why: "too many events wait" }]);
  });
});
