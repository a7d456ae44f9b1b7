import { describe, expect, it } from "vitest";
import { createInProcessBus } from "../../src/bus/in-process.ts";
import { startBilling } from "../../src/charging/billing/billing.ts";
import {
  type ChargingEvent,
  chargeMade,
  creditReserved,
  type SessionFacts,
  sessionChanged,
  sessionEnded,
  sessionMoved,
  sessionStarted,
} from "../../src/charging/events/events.ts";
import type { Logger } from "../../src/support/log.ts";
import { TestClock } from "../support/test-clock.ts";
import { MemoryBilling } from "./memory-store.ts";
import { aCharge, facts, JANUARY, lessonTariff, numbers, shuffled, silent, wholeSession } from "./samples.ts";

async function start() {
  const store = new MemoryBilling();
  const clock = new TestClock(JANUARY);
  const bus = createInProcessBus({ clock, log: silent });
  const errors: string[] = [];
  const log = { ...silent, error: (_: unknown, text: string) => void errors.push(text) } as unknown as Logger;
  const worker = await startBilling({ bus, store: { billing: store }, clock, log });
  const billed = () => [...store.lines.keys()].sort();
  const reasons = () => [...store.letters.values()].map(({ reason }) => reason);
  return { store, bus, errors, billed, reasons, stop: () => worker.stop().then(() => bus.close()) };
}

const forged = (over: Partial<SessionFacts>, id = "f"): ChargingEvent =>
  chargeMade(facts(over), JANUARY + 5_000, aCharge({ id }), "info");

describe("an event that speaks of somebody else's session", () => {
  it.each<[keyof SessionFacts, Partial<SessionFacts>]>([
    ["user", { user: "bob" }],
    ["service", { service: "wine" }],
    ["appServer", { appServer: "shop-1" }],
    ["call", { call: "c2" }],
    ["hold", { hold: "h1" }],
  ])("is with the dead letters, and on no bill: another %s", async (name, over) => {
    const { bus, billed, reasons, stop } = await start();
    await bus.publish([sessionStarted(facts(), JANUARY)]);
    await bus.publish([forged(over)]);
    await bus.publish([sessionEnded(facts(over), JANUARY, JANUARY + 999_000, "client")]);
    await bus.publish(wholeSession(facts(), 61_000, [aCharge()]));
    await bus.publish([forged(over, "later"), sessionStarted(facts(over), JANUARY)]);
    expect(billed()).toEqual(["s1:charge:teacher-1:1", "s1:ended"]);
    expect(reasons()).toHaveLength(4);
    for (const reason of reasons()) expect(reason).toMatch(new RegExp(`^session\\.${name} is .*, its session's is `));
    await stop();
  });

  it("is found in the same batch too, wherever it stands, and the others are billed", async () => {
    const random = numbers(2);
    for (let round = 0; round < 20; round++) {
      const { bus, billed, reasons, stop } = await start();
      const all = shuffled([...wholeSession(facts(), 61_000, [aCharge()]), forged({ user: "bob" })], random);
      await bus.publish([...all, ...wholeSession(facts({ id: "s2" }), 1_000)]);
      expect(billed()).toEqual(["s1:charge:teacher-1:1", "s1:ended", "s2:ended"]);
      expect(reasons()).toHaveLength(1);
      await stop();
    }
  });

  it("is no charge that comes before its session, in a batch of its own", async () => {
    const { bus, billed, errors, stop } = await start();
    const [started, charge, ended] = wholeSession(facts(), 61_000, [aCharge()]);
    for (const event of [charge!, ended!, started!]) await bus.publish([event]);
    expect(billed()).toEqual(["s1:charge:teacher-1:1", "s1:ended"]);
    expect(errors).toEqual([]);
    await stop();
  });

  it("and comes before that session: the session is billed as it is, and the log says what to look at", async () => {
    const { bus, store, errors, reasons, stop } = await start();
    await bus.publish([forged({ user: "bob" })]);
    await bus.publish(wholeSession(facts(), 61_000, [aCharge()]));
    expect(store.lines.get("s1:ended")).toMatchObject({ user: "alice" });
    expect(store.lines.get("s1:charge:teacher-1:1")).toMatchObject({ user: "alice" });
    expect(store.stored.get("s1")).toMatchObject({ state: "closed", context: { user: "alice" } });
    expect([errors.length, reasons()]).toEqual([1, []]);
    expect(errors[0]).toMatch(/charges of a session came before it, and said something else/);
    await stop();
  });

  it("or is of another tariff than it was set up with", async () => {
    const { bus, billed, reasons, stop } = await start();
    await bus.publish([sessionStarted(facts(), JANUARY)]);
    const cheap = facts({ tariff: { ...lessonTariff, price: "0.00" } });
    await bus.publish([sessionEnded(cheap, JANUARY, JANUARY + 61_000, "client")]);
    expect([billed(), reasons()]).toEqual([[], ["session.tariff is not that of its session"]]);
    await bus.publish([sessionEnded(facts(), JANUARY, JANUARY + 61_000, "client")]);
    // When it has ended nobody knows the tariff any more; nor does it matter.
    const { tariff: _, ...late } = facts();
    await bus.publish([chargeMade(late, JANUARY, aCharge(), "direct"), sessionEnded(cheap, JANUARY, JANUARY, "x")]);
    expect(billed()).toEqual(["s1:charge:teacher-1:1", "s1:ended"]);
    await stop();
  });
});

describe("an event that contradicts itself", () => {
  const changed = sessionChanged(
    facts({ id: "s2", service: "wine", previous: { session: "s1", by: "change" } }),
    facts(),
    JANUARY,
    JANUARY + 1000,
  );

  it.each<[string, unknown, RegExp]>([
    ["has another's id", { ...forged({}), id: "s2:ended" }, /^id must be "s1:charge:teacher-1:f", is "s2:ended"/],
    ["has no id of its own", { ...sessionStarted(facts(), JANUARY), id: "x" }, /^id must be "s1:started"/],
    ["says of two users", { ...changed, from: facts({ user: "bob" }) }, /^session\.user and from\.user differ/],
    ["says of two calls", { ...changed, from: facts({ call: "c9" }) }, /^session\.call and from\.call differ/],
    ["comes from elsewhere", { ...changed, from: facts({ id: "s9" }) }, /^session\.previous must be from/],
    ["comes from itself", { ...changed, session: facts(), id: "s1:changed" }, /^session\.previous must be from/],
  ])("is with the dead letters: %s", async (_, event, reason) => {
    const { bus, billed, reasons, stop } = await start();
    await bus.publish([event as ChargingEvent]);
    expect([billed(), reasons()]).toEqual([[], [expect.stringMatching(reason)]]);
    await stop();
  });

  it("is none of those that say what they should: changes, and notices", async () => {
    const { bus, billed, reasons, stop } = await start();
    const notice = creditReserved(facts(), JANUARY, 1, { currency: "EUR", amount: "1", until: JANUARY });
    await bus.publish([changed, notice, sessionMoved(facts({ id: "s3" }), facts(), JANUARY, true)]);
    expect([billed(), reasons()]).toEqual([["s1:ended"], []]);
    await stop();
  });
});
