import { describe, expect, it } from "vitest";
import { CallRecords } from "../../src/calls/records.ts";
import type { CallPage } from "../../src/calls/store.ts";
import type { Random } from "../../src/support/random.ts";
import { Timelines } from "../../src/support/timeline.ts";
import { TestClock } from "../support/test-clock.ts";
import { MemoryCalls } from "./memory-calls.ts";

/** What is done in one turn holds up every call that waits behind it: no more than this many records. */
const AT_ONCE = 32;
const CALLS = 100;

function open() {
  const clock = new TestClock();
  const lines: object[] = [];
  const note = (facts: object | string) => void lines.push(facts as object);
  const log = { trace: note, debug: note, info: note, warn: note, error: note, isLevelEnabled: () => true };
  const store = new MemoryCalls();
  let ids = 0;
  const random: Random = { token: () => String(ids++) };
  const calls = new CallRecords({
    clock,
    timelines: new Timelines(clock),
    random,
    log: { ...log, child: () => ({ ...log }) as never },
    settings: { keepDays: 1, keepMost: 10_000, keepStrangers: 100 },
    store,
    costOf: () => undefined,
  });
  /** Calls of users who have signed in, and that are under way. */
  const begin = () =>
    Array.from({ length: CALLS }, (_, n) => {
      const record = calls.resume(`call${n}`);
      record.isOf(`call${n}`, "alice", "service1", undefined);
      return record;
    });
  return { clock, lines, store, calls, begin };
}

const settled = async () => {
  for (let i = 0; i < 20; i++) await Promise.resolve();
};

describe("records of many calls that end together (P5)", () => {
  it("are logged a few in each turn, and all of them, in the order in which they ended", () => {
    const { clock, lines, begin } = open();
    for (const record of begin()) record.letGo();
    clock.advance(199);
    expect(lines).toHaveLength(0);
    let before = 0;
    for (let ms = 0; ms < 20; ms++) {
      clock.advance(1);
      expect(lines.length - before).toBeLessThanOrEqual(AT_ONCE);
      before = lines.length;
    }
    expect(lines.map((line) => (line as { call: string }).call)).toEqual(
      Array.from({ length: CALLS }, (_, n) => `call${n}`),
    );
    expect(clock.armed).toBe(1); // the page
  });

  it("are all in the store when the relay has stopped, also those whose turn had not come", async () => {
    const { clock, lines, store, calls, begin } = open();
    const all = begin();
    for (const record of all) record.letGo();
    clock.advance(201);
    expect(lines.length).toBeLessThan(CALLS);
    await calls.close();
    expect(lines).toHaveLength(CALLS);
    expect(store.records).toHaveLength(CALLS);
    expect(clock.armed).toBe(0);
  });
});

describe("records of many calls that go on (P5)", () => {
  it("are written a few in each turn, and no call that has just been answered before its time", () => {
    const { clock, calls, begin } = open();
    for (const record of begin()) calls.answered(record);
    const { writer } = calls as unknown as { writer: { waiting: readonly unknown[] } };
    clock.advance(4_999);
    expect(writer.waiting).toHaveLength(0);
    clock.advance(1);
    expect(writer.waiting).toHaveLength(AT_ONCE);
    for (const record of begin()) calls.answered(record);
    clock.advance(10);
    expect(writer.waiting).toHaveLength(CALLS);
  });

  it("are all written when the relay stops, also those whose turn had not come", async () => {
    const { clock, store, calls, begin } = open();
    for (const record of begin()) calls.answered(record);
    clock.advance(5_001);
    for (const record of begin()) calls.answered(record);
    await calls.close();
    expect(store.records).toHaveLength(2 * CALLS);
    expect(clock.armed).toBe(0);
  });
});

describe("a page of records", () => {
  it("works out what its records are looked up by for a store that asks, and has each once", async () => {
    const { calls, store, begin } = open();
    for (const record of begin()) record.letGo();
    const pages: CallPage[] = store.pages_;
    await calls.close();
    await settled();
    const tags = pages.flatMap((page) => page.tags());
    expect(new Set(tags).size).toBe(tags.length);
    expect(tags).toContain("call7");
    expect(tags).toContain("user:alice");
  });
});
