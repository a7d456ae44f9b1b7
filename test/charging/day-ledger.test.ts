import { describe, expect, it } from "vitest";
import { entryFor } from "../../src/charging/billing/entries.ts";
import { DayLedger } from "../../src/charging/charges/day-ledger.ts";
import { type ChargeMade, chargeMade } from "../../src/charging/events/events.ts";
import { formatMoney, money } from "../../src/charging/money/money.ts";
import { MemoryBilling } from "./memory-store.ts";
import { aCharge, facts, JANUARY } from "./samples.ts";

const DAY = 86_400_000;
const HOUR = 3_600_000;

async function bill(store: MemoryBilling, ...events: ChargeMade[]) {
  const entries = events.map((event) => entryFor(event)).map((read) => (read.ok ? read.value! : expect.fail()));
  await store.write({ accounts: [], entries });
}

const made = (id: string, over: { session?: Parameters<typeof facts>[0]; at?: number; unitPrice?: string } = {}) =>
  chargeMade(facts(over.session), over.at ?? JANUARY, aCharge({ id, unitPrice: over.unitPrice ?? "1" }), "direct");

const sum = (ledger: DayLedger, now = JANUARY) => formatMoney(ledger.sum(facts(), "EUR", now));

describe("what an app server has charged a user on a day (M17)", () => {
  it("is what the bill has of this service, app server and day of UTC", async () => {
    const store = new MemoryBilling();
    const midnight = Date.UTC(2026, 0, 5);
    await bill(
      store,
      made("1"),
      made("2", { session: { id: "s2" } }),
      made("3", { at: midnight }),
      made("4", { at: midnight - 1 }),
      made("5", { session: { id: "s3", service: "wine" } }),
      made("6", { session: { id: "s4", appServer: "teacher-2" } }),
      made("7", { session: { id: "s5", user: "bob" } }),
    );
    const ledger = new DayLedger(store);
    await ledger.load(facts(), JANUARY, 0);
    expect(sum(ledger)).toBe("6.00 EUR");
    await ledger.load(facts(), JANUARY + DAY, 0);
    expect(sum(ledger, JANUARY + DAY)).toBe("0.00 EUR");
  });

  it("counts what is on its way to the bill once, before and after it is there", async () => {
    const store = new MemoryBilling();
    const ledger = new DayLedger(store, { refreshMs: 10_000 });
    await ledger.load(facts(), JANUARY, 0);
    expect(ledger.load(facts(), JANUARY, 9_999)).toBeUndefined();
    ledger.note(made("1"));
    ledger.note(made("2"));
    expect(sum(ledger)).toBe("4.00 EUR");
    await bill(store, made("1"), made("9", { session: { id: "other-node" } }));
    await ledger.load(facts(), JANUARY, 10_000);
    expect(sum(ledger)).toBe("6.00 EUR");
    ledger.forget(made("2"));
    expect(sum(ledger)).toBe("4.00 EUR");
  });

  it("is read once for all that ask at the same time, and again after a failure", async () => {
    const store = new MemoryBilling();
    let reads = 0;
    const ledger = new DayLedger({
      entries: async (user, month, page) => {
        if (++reads === 1) throw new Error("the store is away");
        return store.entries(user, month, page);
      },
    });
    const first = ledger.load(facts(), JANUARY, 0);
    expect(ledger.load(facts(), JANUARY, 0)).toBe(first);
    await expect(first).rejects.toThrow("away");
    await ledger.load(facts(), JANUARY, 0);
    expect(reads).toBe(2);
    expect(ledger.load(facts(), JANUARY, 0)).toBeUndefined();
  });

  it("forgets the day used longest ago when there are too many", async () => {
    const ledger = new DayLedger(new MemoryBilling(), { maxDays: 2 });
    for (const user of ["alice", "bob", "carol"]) await ledger.load(facts({ user }), JANUARY, 0);
    expect(ledger.load(facts({ user: "carol" }), JANUARY, 0)).toBeUndefined();
    expect(ledger.load(facts(), JANUARY, 0)).toBeInstanceOf(Promise);
  });

  it("waits for no bill where the limit is there against slips: read at the first charge, and again after a quarter of it", async () => {
    const store = new MemoryBilling();
    await bill(store, made("1", { session: { id: "earlier" } }));
    let reads = 0;
    const ledger = new DayLedger({ entries: (...of) => store.entries(...of).finally(() => reads++) });
    const use = async (id: string, at = JANUARY) => {
      ledger.loadSeldom(facts(), money("100", "EUR"), at, at - JANUARY);
      ledger.note(made(id, { at, unitPrice: "5" }));
      await new Promise(setImmediate);
    };
    await use("2");
    expect(sum(ledger)).toBe("12.00 EUR");
    await use("3", JANUARY + HOUR);
    await use("4", JANUARY + HOUR);
    expect(reads).toBe(1);
    await bill(store, made("9", { session: { id: "other-node" } }), made("2", { unitPrice: "5" }));
    await use("5", JANUARY + HOUR);
    expect(reads).toBe(2);
    expect(sum(ledger)).toBe("44.00 EUR");
  });

  it("counts what was charged here where the bill cannot be read", async () => {
    const ledger = new DayLedger({ entries: () => Promise.reject(new Error("away")) });
    for (const id of ["1", "2"]) {
      ledger.loadSeldom(facts(), money("100", "EUR"), JANUARY, 0);
      ledger.note(made(id));
      await new Promise(setImmediate);
    }
    expect(sum(ledger)).toBe("4.00 EUR");
  });

  it("is not known while billing is behind, and then from what is in mind", async () => {
    const store = new MemoryBilling();
    let asked = 0;
    const ledger = new DayLedger(store, { caughtUp: async () => ++asked > 1, refreshMs: 0 });
    await expect(ledger.load(facts(), JANUARY, 0)).rejects.toThrow("behind");
    await ledger.load(facts(), JANUARY, 0);
    await ledger.load(facts(), JANUARY, 1);
    expect(asked).toBe(2);
  });
});
