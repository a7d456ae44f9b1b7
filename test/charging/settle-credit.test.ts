import { beforeEach, describe, expect, it } from "vitest";
import { createInProcessBus } from "../../src/bus/in-process.ts";
import { billEvent, startBilling } from "../../src/charging/billing.ts";
import { balanceOf } from "../../src/charging/credit-store.ts";
import type { ChargingEvent } from "../../src/charging/events.ts";
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
      until: JANUARY + 660_000,
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

  it("comes to the same, whatever comes twice and in whatever order (DESIGN.md, decision 9)", async () => {
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

  it("puts aside an event whose hold is no name", async () => {
    await bill({ ...EVENTS[0]!, session: { ...session, hold: "a.b$c" } } as ChargingEvent);
    expect([...billing.letters.values()][0]?.reason).toContain("session.hold");
  });

  it("gives back what a dead relay held, but for what was used, and settles when the end is found", async () => {
    const bus = createInProcessBus({ clock, log: silent });
    const worker = await startBilling({ store: { billing, credit }, bus, clock, log: silent });
    clock.advance(670_001);
    for (let i = 0; i < 50; i++) await Promise.resolve();
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
