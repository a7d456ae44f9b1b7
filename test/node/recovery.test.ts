import { mkdtempSync, rmSync, statSync, utimesSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { billEvent } from "../../src/charging/billing/billing.ts";
import {
  type ChargingEvent,
  type SessionEnded,
  type SessionFacts,
  sessionStarted,
} from "../../src/charging/events/events.ts";
import type { Journal } from "../../src/charging/journal/journal.ts";
import { endedOf, endLeft, endOrphans, Heartbeat } from "../../src/node/recovery.ts";
import { Timelines } from "../../src/support/timeline.ts";
import { MemoryBilling } from "../charging/memory-store.ts";
import { facts, JANUARY, silent } from "../charging/samples.ts";
import { TestClock } from "../support/test-clock.ts";

/** A journal whose events are billed at once. */
function journalOf(billing: MemoryBilling, left: Journal["left"] = []) {
  const appended: ChargingEvent[] = [];
  const append = async (event: ChargingEvent) => {
    appended.push(event);
    await billEvent({ store: { billing }, clock: new TestClock(), log: silent }, event);
  };
  return { appended, journal: { append, left, drained: async () => {} } as unknown as Journal };
}

it("a session that an earlier run left running ends with all that was known of it: its hold, its window, its taxes, the part before it (M15, M20)", async () => {
  const billing = new MemoryBilling();
  const how = { store: { billing }, clock: new TestClock(), log: silent };
  const terms = { taxes: [{ id: "vat", rate: "19", included: false }], fee: { percent: "5" } };
  const previous = { session: "s1", by: "change" } as const;
  const session = facts({ id: "s2", hold: "h2", lateChargesMs: 60_000, terms, previous });
  await billEvent(how, sessionStarted(session, JANUARY));
  const { appended, journal } = journalOf(billing);
  expect(await endOrphans({ journal, billing, lastBeatAt: JANUARY + 7_000, log: silent })).toBe(1);
  expect(appended).toMatchObject([{ type: "session.ended", session, startedAt: JANUARY, durationMs: 7_000 }]);
  const [account] = await billing.accounts(["s2"]);
  expect(account).toMatchObject({ state: "chargeable", context: { dueAt: JANUARY + 67_000 } });
  expect(await billing.entriesOf("s2")).toMatchObject([
    { previous: { session: "s1", by: "change" }, terms, prepaid: true },
  ]);
});

it("sessions that go on are not ended, however many there are; and those that billing has ended do not go on (P7)", async () => {
  const billing = new MemoryBilling();
  const how = { store: { billing }, clock: new TestClock(), log: silent };
  const ids = Array.from({ length: 1_203 }, (_, i) => `s${i}`);
  for (const id of ids) await billEvent(how, sessionStarted(facts({ id }), JANUARY));
  const { appended, journal } = journalOf(billing);
  const goingOn = new Set(ids.slice(0, 1_200));
  const options = { journal, billing, lastBeatAt: JANUARY + 7_000, log: silent, goingOn };
  expect(await endOrphans(options)).toBe(3);
  expect(appended.map(({ session }) => session.id)).toEqual(["s1200", "s1201", "s1202"]);
  expect(await endedOf([...ids, "unknown"], journal, billing)).toEqual(new Set(["s1200", "s1201", "s1202"]));
});

it("a session of which an end had not come back since an earlier kill is charged until that end was last heard of (P7)", async () => {
  const billing = new MemoryBilling();
  const how = { store: { billing }, clock: new TestClock(), log: silent };
  const [gone, there, before] = ["s1", "s2", "s3"].map((id) => facts({ id })) as [
    SessionFacts,
    SessionFacts,
    SessionFacts,
  ];
  for (const session of [gone, there, before]) await billEvent(how, sessionStarted(session, JANUARY));
  const heardUntil = new Map([
    ["s1", JANUARY + 3_000],
    ["s3", JANUARY - 3_000], // its clock began later
  ]);
  const { appended, journal } = journalOf(billing);
  await endOrphans({ journal, billing, lastBeatAt: JANUARY + 7_000, log: silent, heardUntil });
  const durations = () => appended.map((event) => [event.session.id, (event as SessionEnded).durationMs]);
  expect(durations()).toEqual([
    ["s1", 3_000],
    ["s2", 7_000],
    ["s3", 0],
  ]);
  const left = journalOf(
    billing,
    [gone, there, before].map((session) => ({ session, startedAt: JANUARY })),
  );
  await endLeft({ journal: left.journal, lastBeatAt: JANUARY + 7_000, log: silent, heardUntil });
  expect(left.appended).toEqual(appended);
});

it("a session that cannot be ended keeps no relay from starting: the others are", async () => {
  const billing = new MemoryBilling();
  const how = { store: { billing }, clock: new TestClock(), log: silent };
  for (const id of ["s1", "s2", "s3"]) await billEvent(how, sessionStarted(facts({ id }), JANUARY));
  const { journal } = journalOf(billing);
  const append = journal.append;
  journal.append = async (event) => (event.session.id === "s2" ? undefined : append(event)); // it lies with the dead letters
  expect(await endOrphans({ journal, billing, lastBeatAt: JANUARY + 7_000, log: silent })).toBe(3);
  expect(await billing.findAccounts({ state: "running", limit: 10 })).toHaveLength(1);
});

describe("after kill -9", () => {
  let folder = "";
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "tollgate-alive-"));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it("what a session lasted is whole milliseconds, though a file's time is not", async () => {
    const clock = new TestClock(JANUARY);
    const before = new Heartbeat(folder, clock);
    before.start(new Timelines(clock).first);
    before.stop();
    const alive = join(folder, "alive");
    utimesSync(alive, JANUARY / 1000 + 7.0006, JANUARY / 1000 + 7.0006);
    expect(Number.isInteger(statSync(alive).mtimeMs)).toBe(false);
    const { lastBeatAt } = new Heartbeat(folder, clock);
    expect(lastBeatAt).toBe(JANUARY + 7_001);
    const billing = new MemoryBilling();
    const left = journalOf(billing, [{ session: facts(), startedAt: JANUARY }]);
    await endLeft({ journal: left.journal, lastBeatAt: JANUARY + 7_000.6, log: silent });
    expect(left.appended).toMatchObject([{ at: JANUARY + 7_001, durationMs: 7_001 }]);
  });

  it("the relay was alive until its last beat, and one that dies before it has ended that one's sessions says nothing", () => {
    const clock = new TestClock(JANUARY);
    const first = new Heartbeat(folder, clock);
    expect(first.lastBeatAt).toBeUndefined();
    first.start(new Timelines(clock).first);
    clock.advance(10_500);
    first.stop();
    expect(clock.armed).toBe(0);
    clock.advance(60_000);
    expect(new Heartbeat(folder, clock).lastBeatAt).toBe(JANUARY + 10_000);
    clock.advance(60_000);
    expect(new Heartbeat(folder, clock).lastBeatAt).toBe(JANUARY + 10_000);
  });

  it("the next relay's times go on by the first timeline of the one before, whatever became of the wall clock (P7)", () => {
    const clock = new TestClock(JANUARY);
    let machineMs = 500_000;
    const machine = { boot: "b007", now: () => machineMs };
    const pass = (ms: number) => {
      clock.advance(ms);
      machineMs += ms;
    };
    const before = new Heartbeat(folder, clock, machine);
    expect(before.downMs).toBeUndefined();
    before.start(new Timelines(clock).first);
    pass(5_300);
    before.stop(); // killed
    clock.setWall(3_600_000);
    pass(10_000);
    const after = new Heartbeat(folder, clock, machine);
    expect(after.firstNow).toBe(JANUARY + 15_300);
    expect(after.downMs).toBe(10_300);
    pass(2_500); // a start takes its time, and sessions go on meanwhile
    expect(after.firstNow).toBe(JANUARY + 17_800);
    expect(after.downMs).toBe(10_300);
    const steps: number[] = [];
    const timelines = new Timelines(clock, (byMs) => steps.push(byMs), after.firstNow);
    expect(timelines.first.now()).toBe(JANUARY + 17_800);
    expect(timelines.by(-7_000).now()).toBe(JANUARY + 10_800);
    expect(timelines.current().stepMs).toBe(3_600_000);
    expect(timelines.by(3_600_000)).toBe(timelines.latest);
    expect(steps).toEqual([3_600_000]);
    // Another run of the machine, of which nothing but the wall clock is known: the test's has nothing to do with the
    // file system's.
    const other = new Heartbeat(folder, Object.assign(Object.create(clock) as TestClock, { wall: () => Date.now() }), {
      ...machine,
      boot: "other",
    });
    expect(other.downMs).toBeGreaterThanOrEqual(-1);
    expect(other.downMs).toBeLessThan(60_000);
  });

  it.each([
    ["back an hour", -3_600_000],
    ["forward an hour", 3_600_000],
    ["back a minute", -60_000],
  ])("a session lasted what passed, though the wall clock was set %s while it ran, or before it", async (_, byMs) => {
    const clock = new TestClock(JANUARY);
    const timelines = new Timelines(clock);
    const heartbeat = new Heartbeat(folder, clock);
    heartbeat.start(timelines.first);
    const start = (id: string) => {
      const timeline = timelines.current();
      const { stepMs } = timeline;
      return sessionStarted(facts({ id, ...(stepMs !== 0 && { clockStepMs: stepMs }) }), timeline.now());
    };
    const billing = new MemoryBilling();
    const before = start("before");
    clock.advance(20_000);
    clock.setWall(byMs);
    clock.advance(5_000);
    const after = start("after");
    clock.advance(10_000);
    heartbeat.stop();
    for (const event of [before, after]) await billEvent({ store: { billing }, clock, log: silent }, event);
    const { lastBeatAt } = new Heartbeat(folder, clock);
    const { appended, journal } = journalOf(billing);
    await endOrphans({ journal, billing, lastBeatAt, log: silent });
    const lasted = appended.map((event) => [event.session.id, event.type === "session.ended" && event.durationMs]);
    expect(Object.fromEntries(lasted)).toEqual({ before: 35_000, after: 10_000 });
    const again = journalOf(
      new MemoryBilling(),
      [before, after].map(({ session, at }) => ({ session, startedAt: at })),
    );
    await endLeft({ journal: again.journal, lastBeatAt, log: silent });
    expect(again.appended).toMatchObject([{ durationMs: 35_000 }, { durationMs: 10_000 }]);
  });

  it("a part of a call pays no second set-up fee for that its relay was killed (M20)", async () => {
    const billing = new MemoryBilling();
    const clock = new TestClock(JANUARY);
    const used = { freeMs: 0, chargedMs: 60_000, amount: "0.35" };
    const part = sessionStarted(facts({ id: "part", used }), JANUARY);
    await billEvent({ store: { billing }, clock, log: silent }, part);
    const { appended, journal } = journalOf(billing);
    await endOrphans({ journal, billing, lastBeatAt: JANUARY + 60_000, log: silent });
    expect(appended).toMatchObject([{ session: { used } }]);
    await billEvent({ store: { billing }, clock, log: silent }, appended[0]!);
    expect(await billing.entriesOf("part")).toMatchObject([{ amount: "0.10" }]);
    expect(billing.stored.get("part")!.context.used).toBeUndefined();
  });
});
