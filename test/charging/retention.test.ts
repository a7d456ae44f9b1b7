import { describe, expect, it } from "vitest";
import { createInProcessBus } from "../../src/bus/in-process.ts";
import { startBilling } from "../../src/charging/billing/billing.ts";
import { monthBefore, Retention, type RetentionSettings } from "../../src/charging/billing/retention.ts";
import type { Forgetting } from "../../src/charging/billing/store.ts";
import { openEmbeddedStore } from "../../src/store/embedded.ts";
import { TestClock } from "../support/test-clock.ts";
import { until } from "../support/until.ts";
import { freshFolder } from "./folders.ts";
import { MemoryBilling } from "./memory-store.ts";
import { aCharge, facts, silent, wholeSession } from "./samples.ts";

/** 2026-03-15. */
const NOW = Date.UTC(2026, 2, 15);
const HOUR_MS = 3_600_000;

function start(settings: RetentionSettings, newest: string | null = "2026-03", steps: readonly number[] = []) {
  const clock = new TestClock(NOW);
  const asked: Forgetting[] = [];
  const left = [...steps];
  const billing = Object.assign(new MemoryBilling(), {
    newestMonth: async () => newest ?? undefined,
    forget: async (what: Forgetting) => {
      asked.push(what);
      return { records: left.shift() ?? 0, more: left.length > 0 };
    },
  });
  return { clock, asked, retention: new Retention(billing, settings, { clock, log: silent }) };
}

describe("what is kept, and how long", () => {
  it("is everything, for ever, unless something else is set", async () => {
    const { retention, asked } = start({});
    await retention.round();
    expect(asked).toEqual([]);
  });

  it("are whole months before this one, and days", async () => {
    const { retention, asked } = start({ eventsMonths: 3, entriesMonths: 12, accountsDays: 40 });
    await retention.round();
    expect(asked).toEqual([
      { eventsBefore: "2025-12", entriesBefore: "2025-03", accountsBefore: NOW - 40 * 86_400_000 },
    ]);
  });

  it("are accounts as long as the lines on bills at most", async () => {
    const { retention, asked } = start({ entriesMonths: 3 });
    await retention.round();
    expect(asked).toEqual([{ eventsBefore: undefined, entriesBefore: "2025-12", accountsBefore: Date.UTC(2025, 11) }]);
  });

  it("goes in steps, one in each round, and then rests for an hour", async () => {
    const { retention, asked, clock } = start({ eventsMonths: 3 }, "2026-03", [1000, 1000, 7]);
    for (let n = 0; n < 6; n++) await retention.round();
    expect(asked).toHaveLength(3);
    clock.advance(HOUR_MS);
    await retention.round();
    expect(asked).toHaveLength(4);
  });

  it("forgets nothing by a wall clock that is set into the future: the newest entry counts", async () => {
    const { retention, asked, clock } = start({ eventsMonths: 3, entriesMonths: 12, accountsDays: 40 }, "2026-03");
    clock.advance(70 * 365 * 86_400_000);
    await retention.round();
    expect(asked).toEqual([
      { eventsBefore: "2026-01", entriesBefore: "2025-04", accountsBefore: Date.UTC(2026, 3) - 40 * 86_400_000 },
    ]);
  });

  it("is everything while there is no entry", async () => {
    const { retention, asked } = start({ eventsMonths: 3 }, null);
    await retention.round();
    expect(asked).toEqual([]);
  });

  it("is a part of the billing worker's rounds (embedded)", async () => {
    const store = await openEmbeddedStore(freshFolder());
    const clock = new TestClock(NOW);
    const bus = createInProcessBus({ clock, log: silent });
    const old = wholeSession(facts({ id: "old" }), 60_000, [aCharge()], Date.UTC(2025, 10, 1));
    const recent = wholeSession(facts({ id: "new" }), 60_000, [aCharge()], NOW - HOUR_MS);
    const retention = { eventsMonths: 3, entriesMonths: 3 };
    const worker = await startBilling({ store, bus, clock, log: silent, retention });
    await bus.publish([...old, ...recent]);
    expect((await store.billing.archived("2025-11", { limit: 9 })).events).toHaveLength(2);
    clock.advance(10_000);
    await until(async () => (await store.billing.entriesOf("old")).length === 0);
    expect((await store.billing.archived("2025-11", { limit: 9 })).events).toEqual([]);
    expect(await store.billing.accounts(["old"])).toEqual([undefined]);
    expect(await store.billing.entriesOf("new")).toHaveLength(2);
    await worker.stop();
    await bus.close();
    await store.close();
  });

  it("counts months over years", () => {
    expect([monthBefore("2026-03", 3), monthBefore("2026-01", 13), monthBefore("2025-12", -1)]).toEqual([
      "2025-12",
      "2024-12",
      "2026-01",
    ]);
  });
});
