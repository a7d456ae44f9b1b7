import { describe, expect, it } from "vitest";
import { createInProcessBus } from "../../src/bus/in-process.ts";
import { startBilling } from "../../src/charging/billing/billing.ts";
import { correctionEntry } from "../../src/charging/billing/entries.ts";
import { settleEnded } from "../../src/charging/billing/settle-credit.ts";
import { makeBill } from "../../src/charging/bills/bill.ts";
import { type Difference, type RebillOptions, rebill } from "../../src/charging/bills/rebill.ts";
import {
  type ChargingEvent,
  type CorrectionMade,
  sessionChanged,
  sessionEnded,
} from "../../src/charging/events/events.ts";
import { openEmbeddedStore } from "../../src/store/embedded.ts";
import { TestClock } from "../support/test-clock.ts";
import { freshFolder } from "./folders.ts";
import { MemoryCredit } from "./memory-credit.ts";
import { MemoryBilling } from "./memory-store.ts";
import { aCharge, facts, JANUARY, numbers, shuffled, silent, wholeSession } from "./samples.ts";

async function billed(events: readonly ChargingEvent[], keepEvents = true): Promise<MemoryBilling> {
  const store = new MemoryBilling();
  const clock = new TestClock(JANUARY);
  const bus = createInProcessBus({ clock, log: silent });
  const worker = await startBilling({ bus, store: { billing: store }, clock, log: silent, keepEvents });
  for (let i = 0; i < events.length; i += 3) await bus.publish(events.slice(i, i + 3));
  await worker.stop();
  await bus.close();
  return store;
}

async function run(store: MemoryBilling, over: Partial<RebillOptions> = {}) {
  const found: Difference[] = [];
  const result = await rebill(store, {
    month: "2026-01",
    write: false,
    onDifference: (one) => found.push(one),
    ...over,
  });
  return { ...result, found };
}

const changed = sessionChanged(
  facts({ id: "s9b", service: "wine", previous: { session: "s9a", by: "change" } }),
  facts({ id: "s9a" }),
  JANUARY,
  JANUARY + 30_000,
);
const month: ChargingEvent[] = [
  ...Array.from({ length: 5 }, (_, n) => wholeSession(facts({ id: `s${n}` }), 61_000, [aCharge()])).flat(),
  changed,
  sessionEnded(changed.session, JANUARY + 30_000, JANUARY + 90_000, "client"),
];
const correction: CorrectionMade = {
  type: "correction.made",
  id: "correction:1",
  at: JANUARY,
  session: { id: "s1", user: "alice", service: "english", appServer: "teacher-1" },
  currency: "EUR",
  amount: "-1.00",
  reason: "late",
  of: "items",
};

describe("bills are made again from the events", () => {
  it("and are the same: time, items, changes of service, corrections; from any order and any repetition", async () => {
    const random = numbers(3);
    const store = await billed(shuffled([...month, ...month.slice(0, 9)], random));
    await store.write({
      accounts: [],
      entries: [correctionEntry(correction)],
      archive: [{ month: "2026-01", events: [correction] }],
    });
    expect(await run(store)).toMatchObject({ entries: 13, differences: 0, written: 0 });
    expect(store.lines.get("s9a:ended")).toMatchObject({ durationMs: 30_000, call: "c1" });
    expect(store.lines.get("s9b:ended")).toMatchObject({ previous: { session: "s9a", by: "change" } });
  });

  it("and what is written to a prepaid user's bill is taken out of the balance, as far as it was not", async () => {
    const paid = { hold: "h1", terms: { taxes: [{ id: "vat", rate: "19", included: false }] } };
    const events = wholeSession(facts({ ...paid, id: "p1" }), 61_000, [aCharge(), aCharge({ id: "2" })]);
    const store = await billed(events);
    const credit = new MemoryCredit();
    await credit.pay("alice", "100");
    store.lines.delete("p1:charge:teacher-1:2");
    await settleEnded({ billing: store, credit }, [{ user: "alice", session: "p1", hold: "h1" }], JANUARY);
    expect(credit.available()).toBe(69.71); // (25.00 + 0.45) * 1.19
    expect(await run(store, { credit })).toMatchObject({ written: 0 });
    expect(credit.available()).toBe(69.71);
    expect(await run(store, { credit, write: true })).toMatchObject({ written: 1 });
    expect(credit.available()).toBe(39.96); // (50.00 + 0.45) * 1.19
    const { totals, prepaid } = await makeBill({ billing: store, credit }, "alice", "2026-01");
    expect(prepaid!.paid).toBe(totals[0]!.due);
    expect(await run(store, { credit, write: true })).toMatchObject({ differences: 0 });
  });

  it("keeps each event that puts something on a bill once, though it was billed again and again", async () => {
    const store = await billed([...month, ...month, ...month]);
    const kept = month.filter(({ type }) => type !== "session.started");
    expect(store.archive.get("2026-01")!.map(({ id }) => id)).toEqual(kept.map(({ id }) => id));
  });

  it("keeps an event once though the account had to be worked out again", async () => {
    const store = new MemoryBilling();
    const clock = new TestClock(JANUARY);
    const bus = createInProcessBus({ clock, log: silent });
    const worker = await startBilling({ bus, store: { billing: store }, clock, log: silent });
    let meddle = true;
    store.beforeWrite = ({ accounts }) => {
      if (meddle) store.put({ ...accounts[0]!, state: "open" });
      meddle = false;
    };
    await bus.publish(wholeSession(facts(), 60_000, [aCharge()]));
    expect(worker.counters.conflicts).toBe(1);
    expect(store.archive.get("2026-01")).toHaveLength(2);
    await worker.stop();
  });

  it("shows an entry that is missing, and writes it where it may", async () => {
    const store = await billed(month);
    const lost = store.lines.get("s3:ended")!;
    store.lines.delete("s3:ended");
    const dry = await run(store);
    expect(dry.found).toEqual([{ kind: "missing", entry: lost }, expect.objectContaining({ kind: "sum" })]);
    expect(store.lines.has("s3:ended")).toBe(false);
    expect(await run(store, { write: true })).toMatchObject({ written: 1, differences: 1 });
    expect(store.lines.get("s3:ended")).toEqual(lost);
    expect(await run(store)).toMatchObject({ differences: 0 });
  });

  it("shows an entry that says something else than its event, and leaves it as it is", async () => {
    const store = await billed(month);
    const entry = store.lines.get("s3:ended")!;
    store.lines.set("s3:ended", { ...entry, amount: "99.00" });
    const { found } = await run(store, { write: true });
    expect(found[0]).toEqual({ kind: "different", entry, stored: { ...entry, amount: "99.00" } });
    expect(found[1]).toMatchObject({ kind: "sum", user: "alice" });
    expect(store.lines.get("s3:ended")!.amount).toBe("99.00");
  });

  it("shows an entry that no event explains", async () => {
    const store = await billed(month);
    const forged = { ...store.lines.get("s3:ended")!, id: "s77:ended", session: "s77" };
    store.lines.set(forged.id, forged);
    expect((await run(store)).found[0]).toEqual({ kind: "unexplained", stored: forged });
  });

  it("takes one user's alone where one is named", async () => {
    const store = await billed([...month, ...wholeSession(facts({ id: "b1", user: "bob" }), 1000)]);
    expect(await run(store, { user: "bob" })).toMatchObject({ entries: 1, differences: 0 });
    expect(await run(store, { month: "2026-02" })).toMatchObject({ entries: 0, differences: 0 });
  });

  it("finds no fault with what is billed while it looks", async () => {
    const store = await billed(month);
    const late = wholeSession(facts({ id: "late" }), 1000);
    const other = await billed(late);
    const { archived } = store;
    let looked = false;
    store.archived = async (month) => {
      const page = await archived.call(store, month);
      const events = [...page.events];
      if (!looked) {
        looked = true;
        for (const [id, line] of other.lines) store.lines.set(id, line);
        store.archive.get("2026-01")!.push(...other.archive.get("2026-01")!);
      }
      return { events };
    };
    expect(await run(store)).toMatchObject({ differences: 0 });
  });

  it("compares all others where an event cannot be read, and writes them where the store cannot take one", async () => {
    const store = await billed(month);
    const kept = store.archive.get("2026-01")!;
    const broken = [{ ...correction, at: -1e99 }, { ...kept[0]!, id: "odd", session: { id: { toString: 1 } } }, 7];
    store.archive.set("2026-01", [...(broken as never[]), ...kept]);
    expect((await run(store)).found.map(({ kind }) => kind)).toEqual(["unreadable", "unreadable", "unreadable"]);
    for (const id of ["s1:ended", "s2:ended", "s3:ended"]) store.lines.delete(id);
    store.beforeWrite = ({ entries }) => {
      if (entries.some(({ id }) => id === "s2:ended")) throw new RangeError("its key is too long");
    };
    expect(await run(store, { write: true })).toMatchObject({ written: 2 });
    expect([store.lines.has("s1:ended"), store.lines.has("s2:ended"), store.lines.has("s3:ended")]).toEqual([
      true,
      false,
      true,
    ]);
    store.beforeWrite = () => {
      throw new Error("the store is away");
    };
    await expect(run(store, { write: true })).rejects.toThrow("the store is away");
  });

  it("of an event that was in one batch twice (embedded)", async () => {
    const store = await openEmbeddedStore(freshFolder());
    const clock = new TestClock(JANUARY);
    const bus = createInProcessBus({ clock, log: silent });
    const worker = await startBilling({ bus, store, clock, log: silent });
    const events = wholeSession(facts(), 61_000, [aCharge(), aCharge({ id: "2" })]);
    await bus.publish([...events, ...events]);
    await bus.publish([...events, ...events]);
    const found: Difference[] = [];
    const options = { month: "2026-01", write: false, onDifference: (one: Difference) => found.push(one) };
    const result = await rebill(store.billing, options);
    expect([found, result.events, result.entries]).toEqual([[], 3, 3]);
    await worker.stop();
    await bus.close();
    await store.close();
  });

  it("keeps nothing where it is told not to", async () => {
    const store = await billed(month, false);
    expect(store.archive.size).toBe(0);
    expect((await run(store)).found.every(({ kind }) => kind === "unexplained")).toBe(true);
  });

  it("and a charge that came again written otherwise is no difference", async () => {
    const [started, made, ended] = wholeSession(facts(), 61_000, [aCharge()]);
    const store = await billed([started!, made!, ended!]);
    const again = wholeSession(facts(), 61_000, [
      aCharge({ unitPrice: "12.5", quantity: "2.0", item: "Riesling " }),
    ])[1]!;
    store.archive.set("2026-01", [again as never, ...(store.archive.get("2026-01") ?? [])]);
    expect(await run(store)).toMatchObject({ entries: 2, differences: 0 });
    const dearer = wholeSession(facts(), 61_000, [aCharge({ unitPrice: "12.51" })])[1]!;
    store.archive.set("2026-01", [dearer as never, ...(store.archive.get("2026-01") ?? [])]);
    expect((await run(store)).found).toMatchObject([{ kind: "different" }, { kind: "sum" }]);
  });
});
