import { describe, expect, it } from "vitest";
import { createInProcessBus } from "../../src/bus/in-process.ts";
import { type Billing, startBilling } from "../../src/charging/billing/billing.ts";
import type { BillingStore } from "../../src/charging/billing/store.ts";
import { makeBill } from "../../src/charging/bills/bill.ts";
import { type ChargingEvent, sessionStarted } from "../../src/charging/events/events.ts";
import type { Terms } from "../../src/charging/money/terms.ts";
import { openEmbeddedStore } from "../../src/store/embedded.ts";
import { TestClock } from "../support/test-clock.ts";
import { freshFolder } from "./folders.ts";
import { MemoryBilling } from "./memory-store.ts";
import { aCharge, facts, JANUARY, numbers, shuffled, silent, wholeSession } from "./samples.ts";

const turn = () => new Promise(setImmediate);

async function start(billing: BillingStore, over: { clock?: TestClock } = {}) {
  const clock = over.clock ?? new TestClock(JANUARY);
  const bus = createInProcessBus({ clock, log: silent });
  const worker: Billing = await startBilling({ bus, store: { billing }, clock, log: silent });
  return { bus, clock, worker, stop: () => worker.stop().then(() => bus.close()) };
}

describe("the billing actor", () => {
  it("puts a session's time and charges on the bill (M13, M14)", async () => {
    const store = new MemoryBilling();
    const { bus, stop } = await start(store);
    await bus.publish(
      wholeSession(facts(), 61_000, [
        aCharge(),
        aCharge({ id: "2", item: "Kilo", unitPrice: "0.333", quantity: "0.75" }),
      ]),
    );
    expect(await store.entriesOf("s1")).toEqual([
      expect.objectContaining({
        kind: "time",
        id: "s1:ended",
        at: JANUARY,
        durationMs: 61_000,
        amount: "0.45",
        currency: "EUR",
        tariff: "lesson",
      }),
      expect.objectContaining({
        kind: "item",
        id: "s1:charge:teacher-1:1",
        item: "Riesling",
        amount: "25.00",
        month: "2026-01",
      }),
      expect.objectContaining({
        kind: "item",
        id: "s1:charge:teacher-1:2",
        item: "Kilo",
        amount: "0.24975",
        channel: "info",
      }),
    ]);
    expect(store.stored.get("s1")).toMatchObject({ state: "closed", context: { user: "alice", startedAt: JANUARY } });
    await stop();
  });

  it("charges nothing for the time of a session without a tariff, and shows how long it was", async () => {
    const store = new MemoryBilling();
    const { bus, stop } = await start(store);
    const { tariff: _, ...free } = facts();
    await bus.publish(wholeSession(free, 61_000));
    expect(await store.entriesOf("s1")).toEqual([
      expect.objectContaining({ kind: "time", amount: "0", currency: "", durationMs: 61_000 }),
    ]);
    await stop();
  });

  it("keeps an account between batches", async () => {
    const store = new MemoryBilling();
    const { bus, stop } = await start(store);
    const [first, ...others] = wholeSession(facts(), 60_000, [aCharge()]);
    await bus.publish([first!]);
    expect(store.stored.get("s1")).toMatchObject({ state: "running", revision: 1 });
    await bus.publish(others);
    expect(store.stored.get("s1")).toMatchObject({ state: "closed", revision: 2 });
    await stop();
  });

  it("writes accounts and entries of many sessions in one batch", async () => {
    const store = new MemoryBilling();
    const { bus, stop } = await start(store);
    await bus.publish(
      Array.from({ length: 100 }, (_, i) => wholeSession(facts({ id: `s${i}` }), 60_000, [aCharge()])).flat(),
    );
    expect(store.writes).toHaveLength(1);
    expect(store.writes[0]!.accounts).toHaveLength(100);
    expect(store.writes[0]!.entries).toHaveLength(200);
    await stop();
  });

  it("writes nothing for events that it has seen", async () => {
    const store = new MemoryBilling();
    const { bus, worker, stop } = await start(store);
    await bus.publish(wholeSession(facts({ lateChargesMs: 60_000 }), 60_000));
    await bus.publish(wholeSession(facts({ lateChargesMs: 60_000 }), 60_000));
    expect(store.writes).toHaveLength(1);
    expect(worker.counters).toMatchObject({ events: 4, entries: 1, conflicts: 0 });
    await stop();
  });

  it("acknowledges only what is stored: while the store fails, the same events come again", async () => {
    const store = new MemoryBilling();
    const { bus, clock, stop } = await start(store);
    let failures = 3;
    store.beforeWrite = () => {
      if (failures-- > 0) throw new Error("the disk is full");
    };
    let published = false;
    const publishing = bus.publish(wholeSession(facts(), 60_000, [aCharge()])).then(() => {
      published = true;
    });
    for (let i = 0; i < 3; i++) {
      await turn();
      expect(published).toBe(false);
      clock.advance(1000);
    }
    await publishing;
    expect([...store.lines.keys()].sort()).toEqual(["s1:charge:teacher-1:1", "s1:ended"]);
    await stop();
  });

  it("works an account out again when another worker wrote it first, and bills nothing twice", async () => {
    const store = new MemoryBilling();
    const { bus, worker, stop } = await start(store);
    let meddle = true;
    store.beforeWrite = ({ accounts }) => {
      if (meddle) store.put({ ...accounts[0]!, state: "running" });
      meddle = false;
    };
    await bus.publish(wholeSession(facts(), 60_000, [aCharge()]));
    expect(worker.counters.conflicts).toBe(1);
    expect(store.stored.get("s1")).toMatchObject({ state: "closed", revision: 2 });
    expect(store.lines.size).toBe(2);
    await stop();
  });

  it("bills nothing twice with several workers on one bus and store", async () => {
    const store = await openEmbeddedStore(freshFolder());
    const clock = new TestClock(JANUARY);
    const bus = createInProcessBus({ clock, log: silent });
    const workers = await Promise.all([1, 2, 3].map(() => startBilling({ bus, store, clock, log: silent })));
    const random = numbers(7);
    const events = Array.from({ length: 40 }, (_, i) =>
      wholeSession(facts({ id: `s${i}` }), 60_000, [aCharge()]),
    ).flat();
    await Promise.all(shuffled([...events, ...events], random).map((event) => bus.publish([event])));
    const bill = await makeBill(store, "alice", "2026-01");
    expect(bill.totals).toEqual([{ currency: "EUR", amount: "1014.00", due: "1014.00" }]); // 40 × (0.35 + 25.00)
    await Promise.all(workers.map((worker) => worker.stop()));
    await bus.close();
    await store.close();
  });

  it.each<[string, unknown]>([
    ["it is not an object", null],
    ["id must be text", { type: "session.started" }],
    ["at must be a time in milliseconds", { ...sessionStarted(facts(), JANUARY), at: "now" }],
    ["at must be a time in milliseconds", { ...sessionStarted(facts(), JANUARY), at: 9e15 }],
    ["session is missing", { type: "session.started", id: "x", at: 1 }],
    ["session.user must be text", sessionStarted(facts({ user: "" }), 1)],
    ["session.id must be text", { ...sessionStarted(facts({ id: "a\0b" }), 1), id: "x" }],
    ["session.id must be text", sessionStarted(facts({ id: "x".repeat(401) }), 1)],
    ['there is no event "session.paused"', { ...sessionStarted(facts(), 1), type: "session.paused" }],
    ["charge.unitPrice must be a decimal number", wholeSession(facts(), 1, [aCharge({ unitPrice: "x" })])[1]],
    ["charge.currency must be an ISO 4217 code", wholeSession(facts(), 1, [aCharge({ currency: "EURO" })])[1]],
    ["charge.quantity must be a decimal number", wholeSession(facts(), 1, [aCharge({ quantity: "1,5" })])[1]],
    ["charge.unitPrice must not be negative", wholeSession(facts(), 1, [aCharge({ unitPrice: "-5" })])[1]],
    ["charge is missing", { ...wholeSession(facts(), 1, [aCharge()])[1], charge: undefined }],
    ["from is missing", { ...sessionStarted(facts(), 1), type: "session.changed" }],
    ["durationMs must be milliseconds", { ...wholeSession(facts(), 1)[1], durationMs: -1 }],
    ...(
      [
        ["session.terms.taxes must be a list", { taxes: {} }],
        ["session.terms.taxes must be a list of at most 100", { taxes: Array.from({ length: 101 }, () => ({})) }],
        ["session.terms.taxes.0.rate must be a percentage", { taxes: [{ id: "vat", rate: 19, included: false }] }],
        ["session.terms.taxes.0.rate must be a percentage", { taxes: [{ id: "vat", rate: "-19", included: false }] }],
        ["session.terms.taxes.0.included must be true or false", { taxes: [{ id: "vat", rate: "19" }] }],
        [
          "session.terms.taxes.0.title must have no control",
          { taxes: [{ id: "v", title: "a\nb", rate: "19", included: false }] },
        ],
        ["session.terms.fee.percent must be a percentage from 0 to 100", { fee: { percent: "101" } }],
        ["session.terms.fee.currency is missing", { fee: { perSession: "1" } }],
        ["session.terms.timeShare must be a percentage", { timeShare: "half" }],
      ] as const
    ).map(([reason, terms]): [string, unknown] => [
      reason,
      wholeSession(facts({ terms: terms as unknown as Terms }), 1, [aCharge()])[1],
    ]),
    [
      "session.tariff.price must be a decimal number",
      wholeSession(facts({ tariff: { id: "t", currency: "EUR", price: "much" } }), 1000)[1],
    ],
    ["endedBy must have at most 200 characters", { ...wholeSession(facts(), 1)[1], endedBy: "x".repeat(900_000) }],
    ["endedBy must be text", { ...wholeSession(facts(), 1)[1], endedBy: { much: 1 } }],
    ["channel must be info", { ...wholeSession(facts(), 1, [aCharge()])[1], channel: "x".repeat(900_000) }],
    ["charge.item must have at most 200", wholeSession(facts(), 1, [aCharge({ item: "x".repeat(201) })])[1]],
    ["charge.id must have no control", { ...wholeSession(facts(), 1, [aCharge({ id: "a\ud800" })])[1], id: "x" }],
    ["session.tariff.id must be text", sessionStarted(facts({ tariff: { id: "x".repeat(401), currency: "EUR" } }), 1)],
    ["session.previous.by must be", sessionStarted(facts({ previous: { session: "s0", by: "x" as "move" } }), 1)],
    ["session.hold must be letters", sessionStarted(facts({ hold: "a.b" }), 1)],
    [
      "its time costs more than can be on a bill",
      wholeSession(facts({ tariff: { id: "t", currency: "EUR", price: "999999999999", incrementS: 0.001 } }), 1e9)[1],
    ],
  ])("puts aside an event that cannot be billed, with the reason (%s), and goes on", async (reason, broken) => {
    const store = new MemoryBilling();
    const { bus, worker, stop } = await start(store);
    await bus.publish([broken as ChargingEvent, ...wholeSession(facts({ id: "good" }), 60_000)]);
    expect([...store.letters.values()].map((letter) => letter.reason)).toEqual([expect.stringContaining(reason)]);
    expect([...store.letters.values()][0]!.event).toBe(JSON.stringify(broken));
    expect([...store.lines.keys()]).toEqual(["good:ended"]);
    expect(worker.counters.deadLetters).toBe(1);
    await stop();
  });

  it("closes no account early where the wall clock is set forward (M15)", async () => {
    const store = new MemoryBilling();
    const { bus, clock, stop } = await start(store);
    const state = () => store.stored.get("s1")?.state;
    await bus.publish(wholeSession(facts({ lateChargesMs: 60_000 }), 0));
    clock.setWall(86_400_000);
    for (const expected of ["chargeable", "chargeable", "chargeable", "chargeable", "chargeable", "closed"]) {
      clock.advance(10_000);
      await turn();
      expect(state()).toBe(expected);
    }
    await stop();
  });

  it("closes accounts when their time for late charges is over, also those of an earlier run (M15)", async () => {
    const store = new MemoryBilling();
    const clock = new TestClock(JANUARY);
    const first = await start(store, { clock });
    await first.bus.publish(wholeSession(facts({ lateChargesMs: 60_000 }), 60_000));
    expect(store.stored.get("s1")).toMatchObject({ state: "chargeable", context: { dueAt: JANUARY + 120_000 } });
    await first.stop();
    expect(clock.armed).toBe(0);

    const second = await start(store, { clock });
    for (let i = 0; i < 11; i++) {
      clock.advance(10_000);
      await turn();
    }
    expect(store.stored.get("s1")!.state).toBe("chargeable");
    clock.advance(10_000);
    await turn();
    expect(store.stored.get("s1")).toMatchObject({ state: "closed", context: { dueAt: null } });
    await second.bus.publish(wholeSession(facts({ lateChargesMs: 60_000 }), 60_000, [aCharge()]).slice(1, 2));
    expect(store.lines.has("s1:charge:teacher-1:1")).toBe(true); // it was answered for in time, and came late
    await second.stop();
  });

  it("makes the same bill from any order, any repetition and any division of the events (decision 9)", async () => {
    const random = numbers(8);
    const events = Array.from({ length: 6 }, (_, i) => {
      const session = facts({ id: `s${i}`, service: i % 2 ? "wine" : "english", appServer: `server-${i % 3}` });
      const charges = Array.from({ length: i }, (_, n) =>
        aCharge({ id: String(n), unitPrice: (random() * 10).toFixed(4), quantity: (0.1 + random()).toFixed(3) }),
      );
      return wholeSession(session, Math.floor(random() * 600_000), charges, JANUARY + i * 1000);
    }).flat();
    const bills = new Set<string>();
    for (let round = 0; round < 25; round++) {
      const store = new MemoryBilling();
      const { bus, stop } = await start(store);
      const repeated = events.filter(() => random() < 0.4);
      let rest = round === 0 ? events : shuffled([...events, ...repeated], random);
      while (rest.length > 0) {
        const size = 1 + Math.floor(random() * 8);
        await bus.publish(rest.slice(0, size));
        rest = rest.slice(size);
      }
      bills.add(JSON.stringify(await makeBill({ billing: store }, "alice", "2026-01")));
      await stop();
    }
    expect(bills.size).toBe(1);
  });
});
