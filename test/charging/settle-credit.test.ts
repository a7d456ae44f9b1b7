import { beforeEach, describe, expect, it } from "vitest";
import { createInProcessBus } from "../../src/bus/in-process.ts";
import { billEvent, startBilling } from "../../src/charging/billing/billing.ts";
import { makeBill } from "../../src/charging/bills/bill.ts";
import { balanceOf, LEASE_MS } from "../../src/charging/credit/store.ts";
import { type ChargingEvent, chargeMade } from "../../src/charging/events/events.ts";
import { openEmbeddedStore } from "../../src/store/embedded.ts";
import { TestClock } from "../support/test-clock.ts";
import { freshFolder } from "./folders.ts";
import { MemoryCredit } from "./memory-credit.ts";
import { MemoryBilling } from "./memory-store.ts";
import { aCharge, facts, JANUARY, numbers, shuffled, silent, wholeSession } from "./samples.ts";

const session = facts({ hold: "h1" });
/** Ten minutes at 0.25 and 0.10 a minute, and two bottles of Riesling: 26.25. */
const EVENTS = wholeSession(session, 600_000, [aCharge()]);

describe("billing of a prepaid session", () => {
  let billing: MemoryBilling;
  let credit: MemoryCredit;
  let clock: TestClock;
  beforeEach(async () => {
    billing = new MemoryBilling();
    credit = new MemoryCredit();
    clock = new TestClock(JANUARY);
    await credit.pay("alice", "100");
    await credit.reserve({
      ...{ user: "alice", hold: "h1", currency: "EUR", from: 0, to: 30e6, atLeast: 30e6, used: 26e6 },
      until: JANUARY + 60_000,
    });
  });
  const bill = (event: ChargingEvent) => billEvent({ store: { billing, credit }, clock, log: silent }, event);

  it("takes what it cost out of the balance at its end, and gives the rest of the hold back", async () => {
    await bill(EVENTS[0]!);
    await bill(EVENTS[1]!);
    expect(credit.available()).toBe(70);
    await bill(EVENTS[2]!);
    expect(credit.available()).toBe(73.75);
    expect(credit.entries.at(-1)).toMatchObject({ kind: "session", session: "s1", hold: "h1", amount: -26_250_000 });
    expect(credit.held()).toEqual([]);
  });

  it("comes to the same, whatever comes twice and in whatever order (decision 9)", async () => {
    for (let seed = 1; seed <= 30; seed++) {
      billing = new MemoryBilling();
      credit = new MemoryCredit();
      await credit.pay("alice", "100");
      await credit.reserve({
        ...{ user: "alice", hold: "h1", currency: "EUR", from: 0, to: 30e6, atLeast: 30e6, used: 0 },
        until: JANUARY,
      });
      for (const event of shuffled([...EVENTS, ...EVENTS, ...EVENTS], numbers(seed))) await bill(event);
      expect(credit.available()).toBe(73.75);
      expect(credit.held()).toEqual([]);
    }
  });

  it("is made good when it comes again, after a worker died between the entries and the balance", async () => {
    const settle = credit.settle.bind(credit);
    credit.settle = async () => {
      throw new Error("killed");
    };
    await bill(EVENTS[0]!);
    await bill(EVENTS[1]!);
    await expect(bill(EVENTS[2]!)).rejects.toThrow("killed");
    expect(credit.available()).toBe(70);
    credit.settle = settle;
    await bill(EVENTS[2]!);
    expect(credit.available()).toBe(73.75);
  });

  it("costs a postpaid session nothing more: the balances are not asked", async () => {
    credit.account = async () => {
      throw new Error("asked");
    };
    for (const event of wholeSession(facts({ id: "s2" }), 60_000)) await bill(event);
    expect(billing.stored.get("s2")?.state).toBe("closed");
  });

  it("takes exactly what the bills say, with taxes, whatever the amounts, over the end of a month (EN 16931)", async () => {
    const random = numbers(7);
    const pick = <T>(list: readonly T[]) => list[Math.floor(random() * list.length)]!;
    const taxSets = [
      [],
      [{ id: "vat", rate: "19", included: false }],
      [{ id: "vat", rate: "21", included: true }],
      [
        { id: "vat", rate: "7.7", included: false },
        { id: "levy", rate: "2.5", included: true },
      ],
    ];
    const end = Date.UTC(2026, 1);
    const events: ChargingEvent[] = [];
    for (let n = 0; n < 60; n++) {
      const at = end - Math.floor(random() * 1_200_000);
      const terms = () => ({ taxes: pick(taxSets) });
      const one = facts({ id: `p${n}`, hold: `p${n}`, terms: terms() });
      const [started, ended] = wholeSession(one, Math.floor(random() * 900_000), [], at);
      const charges = Array.from({ length: n % 5 }, (_, i) => {
        const unitPrice = (random() * 3).toFixed(Math.floor(random() * 5));
        return chargeMade({ ...one, terms: terms() }, at + i * 300_000, aCharge({ id: String(i), unitPrice }), "info");
      });
      events.push(started!, ...charges, ended!);
    }
    for (const event of shuffled([...events, ...events], random)) await bill(event);
    let due = 0;
    for (const month of ["2026-01", "2026-02"]) {
      const made = await makeBill({ billing, credit }, "alice", month);
      expect(made.totals).toHaveLength(1);
      expect(made.prepaid!.paid).toBe(made.totals[0]!.due);
      due += Math.round(Number(made.totals[0]!.due) * 100);
      // And so it is where only the sums are shown.
      const short = await makeBill({ billing, credit }, "alice", month, { maxEntries: 1 });
      expect([short.detailed, short.totals, short.taxes]).toEqual([false, made.totals, made.taxes]);
    }
    expect(Math.round(credit.available() * 100)).toBe(7_000 - due); // of 100, 30 are held by another session
  });

  it("is rounded with its session, once: charges of less than a cent are not lost", async () => {
    const terms = { taxes: [{ id: "vat", rate: "19", included: false }] };
    const { tariff: _tariff, ...cheap } = facts({ hold: "h1", terms });
    const charges = Array.from({ length: 100 }, (_, n) =>
      aCharge({ id: String(n), unitPrice: "0.0004", quantity: "1" }),
    );
    for (const event of wholeSession(cheap, 200_000, charges)) await bill(event);
    expect(credit.available()).toBe(99.95); // 0.04 and 0.0076
    const made = await makeBill({ billing, credit }, "alice", "2026-01");
    expect(made.totals).toEqual([{ currency: "EUR", amount: "0.04", tax: "0.01", due: "0.05" }]);
    expect(made.prepaid).toMatchObject({ paid: "0.05" });
  });

  it("puts aside an event whose hold is no name", async () => {
    await bill({ ...EVENTS[0]!, session: { ...session, hold: "a.b$c" } } as ChargingEvent);
    expect([...billing.letters.values()][0]?.reason).toContain("session.hold");
  });

  it("gives back what a dead relay held, but for what was used, and settles when the end is found", async () => {
    const bus = createInProcessBus({ clock, log: silent });
    const worker = await startBilling({ store: { billing, credit }, bus, clock, log: silent });
    const sweeps = async (ms: number) => {
      for (let left = ms; left > 0; left -= 10_000) {
        clock.advance(10_000);
        for (let i = 0; i < 50; i++) await Promise.resolve();
      }
    };
    await sweeps(50_000 + LEASE_MS);
    expect(credit.available()).toBe(70);
    await sweeps(10_000); // nobody has renewed it for as long as it stands
    expect(credit.available()).toBe(74);
    expect(credit.held()).toEqual([26]);
    for (const event of EVENTS) await bill(event);
    expect(credit.available()).toBe(73.75);
    await worker.stop();
    await bus.close();
  });
});

describe("50 prepaid sessions at once on one account (P2)", () => {
  it("are settled by two workers to the last millionth, with every event delivered twice", async () => {
    const store = await openEmbeddedStore(freshFolder());
    const credit = store.credit!;
    const clock = new TestClock(JANUARY);
    await credit.open("alice", "EUR");
    await credit.post({
      ...{ user: "alice", id: "topup:1", at: 0, kind: "topup", amount: 20e6, currency: "EUR" },
    });
    const held = await Promise.all(
      Array.from({ length: 50 }, (_, i) =>
        credit.reserve({
          ...{ user: "alice", hold: `h${i}`, currency: "EUR", from: 0, to: 0.5e6, atLeast: 0.5e6, used: 0 },
          until: JANUARY + 60_000,
        }),
      ),
    );
    expect(held.filter(({ ok }) => ok)).toHaveLength(40);
    const sessions = held.flatMap(({ ok }, i) => (ok ? [facts({ id: `s${i}`, hold: `h${i}` })] : []));
    const events = sessions.flatMap((one) => wholeSession(one, 60_000)); // 0.35 each
    await Promise.all([...events, ...events].map((event) => billEvent({ store, clock, log: silent }, event)));
    const account = (await credit.account("alice"))!;
    expect(account.holds).toEqual({});
    expect(account.available).toBe(20e6 - 40 * 350_000);
    expect(balanceOf(account)).toBe(account.available);
    await store.close();
  });
});
