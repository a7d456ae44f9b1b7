import { describe, expect, it, onTestFinished } from "vitest";
import { createInProcessBus } from "../../src/bus/in-process.ts";
import { startBilling } from "../../src/charging/billing/billing.ts";
import { replay } from "../../src/charging/billing/dead-letters.ts";
import { readied } from "../../src/charging/billing/readied.ts";
import type { BillingBatch } from "../../src/charging/billing/store.ts";
import { type ChargingEvent, chargeMade, chargeRefused, sessionEnded } from "../../src/charging/events/events.ts";
import { type Fault, plainFault } from "../../src/charging/events/faults.ts";
import { openEmbeddedStore } from "../../src/store/embedded.ts";
import { TestClock } from "../support/test-clock.ts";
import { until } from "../support/until.ts";
import { freshFolder } from "./folders.ts";
import { MemoryBilling } from "./memory-store.ts";
import { aCharge, facts, JANUARY, numbers, silent, wholeSession } from "./samples.ts";

const turn = () => new Promise(setImmediate);

/** Billing in memory that can be away as a whole. */
class Billing extends MemoryBilling {
  checks = 0;
  away = false;
  fault: ((error: unknown) => Fault) | undefined;

  async check() {
    this.checks++;
    if (this.away) throw new Error("away");
  }

  faultOf(error: unknown) {
    return this.fault?.(error) ?? plainFault(error);
  }

  /** What holds these is refused. */
  refuse(error: Error, ...sessions: readonly string[]) {
    this.beforeWrite = ({ entries }: BillingBatch) => {
      if (this.away) throw new Error("away");
      if (entries.some(({ session }) => sessions.includes(session))) throw error;
    };
  }
}

async function start(store = new Billing()) {
  const clock = new TestClock(JANUARY);
  const bus = createInProcessBus({ clock, log: silent });
  const worker = await startBilling({ bus, store: { billing: store }, clock, log: silent });
  const publish = (events: readonly ChargingEvent[]) => {
    const state = { published: false };
    void bus.publish(events).then(() => {
      state.published = true;
    });
    return state;
  };
  /** As often as the bus tries again within so many rounds. */
  const rounds = async (count: number) => {
    for (let i = 0; i < count; i++) {
      for (let n = 0; n < 100; n++) await turn();
      clock.advance(5_000);
    }
    for (let n = 0; n < 100; n++) await turn();
  };
  return { store, bus, clock, worker, publish, rounds, stop: () => worker.stop().then(() => bus.close()) };
}

const sessions = (count: number) =>
  Array.from({ length: count }, (_, n) => wholeSession(facts({ id: `s${n}` }), 60_000, [aCharge()])).flat();
const entryIds = (count: number, ...without: readonly string[]) =>
  Array.from({ length: count }, (_, n) => `s${n}`)
    .filter((session) => !without.includes(session))
    .flatMap((session) => [`${session}:charge:teacher-1:1`, `${session}:ended`])
    .sort();

describe("one event never stops the stream", () => {
  it("that the store cannot take: its batch is halved until it lies with the dead letters, and all others are billed", async () => {
    const { store, worker, publish, rounds, stop } = await start();
    store.refuse(new RangeError("its key is too long"), "s7", "s21");
    const state = publish(sessions(30));
    await rounds(1);
    expect(state.published).toBe(true);
    expect([...store.lines.keys()].sort()).toEqual(entryIds(30, "s7", "s21"));
    expect([...store.letters.keys()].sort()).toEqual(entryIds(30).filter((id) => /^s(7|21):/.test(id)));
    expect([...store.letters.values()].map(({ reason }) => reason)).toContain(
      "it cannot be billed: its key is too long",
    );
    expect(worker.counters.deadLetters).toBe(4);
    await stop();
  });

  it("also where nobody knows the error: not at once, and not without a look at the store", async () => {
    const { store, publish, rounds, stop } = await start();
    store.refuse(new Error("E4711"), "s1");
    const state = publish(sessions(3));
    await rounds(2);
    expect([state.published, store.letters.size]).toEqual([false, 0]);
    await rounds(3);
    expect(state.published).toBe(true);
    expect([...store.lines.keys()].sort()).toEqual(entryIds(3, "s1"));
    expect(store.letters.size).toBe(2);
    expect(store.checks).toBeGreaterThan(2);
    await stop();
  });

  it("but a store that is away puts nothing aside, however long and whatever it says", async () => {
    const { store, publish, rounds, stop } = await start();
    store.refuse(new Error("E4711"));
    store.away = true;
    const state = publish(sessions(3));
    await rounds(60);
    store.fault = () => "event";
    await rounds(5);
    store.fault = () => "store";
    await rounds(60);
    expect([state.published, store.letters.size]).toEqual([false, 0]);
    store.away = false;
    await rounds(1);
    expect(state.published).toBe(true);
    expect([...store.lines.keys()].sort()).toEqual(entryIds(3));
    await stop();
  });

  it("nor does a store that fails each time and works when it is looked at, for one event after the other: that is not the events", async () => {
    const { store, publish, rounds, stop } = await start();
    store.beforeWrite = () => {
      throw new Error("a quota");
    };
    publish(sessions(40));
    await rounds(10);
    expect(store.letters.size).toBeLessThanOrEqual(20 * 7);
    store.beforeWrite = () => {};
    await rounds(1);
    for (const letter of [...store.letters.values()])
      await replay({ store: { billing: store }, clock: new TestClock(JANUARY), log: silent }, letter);
    expect([...store.lines.keys()].sort()).toEqual(entryIds(40)); // nothing is lost
    await stop();
  });

  it("whatever its fields hold", async () => {
    const { store, bus, stop } = await start();
    const random = numbers(5);
    const odd: unknown[] = [
      null,
      true,
      -1,
      1e300,
      "",
      "x".repeat(100_000),
      "\ud800",
      "\0",
      [],
      {},
      [[[]]],
      { toString: 1 },
    ];
    const pick = () => odd[Math.floor(random() * odd.length)];
    const broken: unknown[] = [...odd];
    for (const event of wholeSession(facts({ hold: "h1", lateChargesMs: 5 }), 60_000, [aCharge()])) {
      const whole = event as unknown as Record<string, unknown>;
      for (const name of Object.keys(whole)) broken.push({ ...whole, [name]: pick() });
      const session = whole.session as Record<string, unknown>;
      for (const name of Object.keys(session)) broken.push({ ...whole, session: { ...session, [name]: pick() } });
    }
    let deep: unknown = [];
    for (let n = 0; n < 20_000; n++) deep = [deep];
    broken.push({ ...wholeSession(facts(), 1)[0], type: deep }, { ...wholeSession(facts(), 1)[1], more: deep });
    for (const event of broken) expect(() => readied(event as ChargingEvent)).not.toThrow();
    await bus.publish([...(broken as ChargingEvent[]), ...wholeSession(facts({ id: "good" }), 60_000)]);
    expect(store.lines.has("good:ended")).toBe(true);
    expect(store.letters.size).toBeGreaterThan(20);
    for (const { event, reason } of store.letters.values()) {
      expect(event.length).toBeLessThanOrEqual(2 ** 20);
      expect(reason.length).toBeLessThan(700);
    }
    await stop();
  });

  it("nor one whose account cannot be read any more", async () => {
    const { store, bus, stop } = await start();
    store.stored.set("s0", { revision: 3, state: "lost" as never, context: {} as never });
    await bus.publish(sessions(2));
    expect([...store.lines.keys()].sort()).toEqual(entryIds(2, "s0"));
    expect(store.letters.size).toBeGreaterThan(0);
    await stop();
  });

  it("nor one that nobody can be told of", async () => {
    const { store, bus, stop } = await start();
    bus.publishDead = () => Promise.reject(new Error("no permission"));
    await bus.publish([{ ...sessions(1)[0], at: -1 } as ChargingEvent, ...sessions(2)]);
    expect(store.letters.size).toBe(1);
    expect(store.lines.size).toBe(4);
    await stop();
  });
});

describe("a dead letter", () => {
  it("is not replaced by another event of the same id", async () => {
    const { store, bus, stop } = await start();
    const lost = chargeMade(facts(), JANUARY, aCharge({ quantity: "two" }), "info");
    const other = { ...lost, charge: 7 } as unknown as ChargingEvent;
    await bus.publish([lost]);
    await bus.publish([other]);
    await bus.publish([lost]);
    await bus.publish([other]);
    expect([...store.letters.values()].map(({ event }) => event).sort()).toEqual(
      [JSON.stringify(lost), JSON.stringify(other)].sort(),
    );
    await stop();
  });

  it("without an id is one, however often it comes", async () => {
    const { store, bus, stop } = await start();
    for (let n = 0; n < 3; n++) await bus.publish([{ type: "x", id: 7 } as unknown as ChargingEvent]);
    expect(store.letters.size).toBe(1);
    await stop();
  });

  it("stays where replaying it fails", async () => {
    const store = new Billing();
    const event = sessionEnded(facts(), JANUARY, JANUARY + 1000, "client");
    const letter = { id: event.id, at: JANUARY, reason: "repaired", event: JSON.stringify(event) };
    await store.putDeadLetter(letter);
    store.refuse(new RangeError("too long"), "s1");
    const options = { store: { billing: store }, clock: new TestClock(JANUARY), log: silent };
    expect(await replay(options, letter)).toEqual({ ok: false, error: "it cannot be billed: too long" });
    expect(store.letters.get(event.id)).toMatchObject({ reason: "it cannot be billed: too long" });
    store.refuse(new Error("away"), "s1");
    await expect(replay(options, letter)).rejects.toThrow("away");
    expect(store.letters.size).toBe(1);
    store.beforeWrite = () => {};
    expect(await replay(options, letter)).toMatchObject({ ok: true });
    expect([store.letters.size, store.lines.size]).toEqual([0, 1]);
  });
});

describe("a charge that a relay has refused", () => {
  it("is kept once for people to look at, in the order of time, and is on no bill (M14)", async () => {
    const store = await openEmbeddedStore(freshFolder());
    onTestFinished(() => store.close());
    const clock = new TestClock(JANUARY);
    const bus = createInProcessBus({ clock, log: silent });
    const worker = await startBilling({ bus, store, clock, log: silent });
    const one = chargeRefused(facts({ user: "alice" }), JANUARY, 1, "the currency is not the session's", "b1");
    const other = chargeRefused(facts({ user: "bob" }), JANUARY + 1, 1, "x".repeat(1_000));
    await bus.publish([one, other]);
    await until(() => worker.counters.events === 2);
    await bus.publish([one]); // as after a restart
    await until(() => worker.counters.events === 3);
    const { entries } = await store.refusedCharges.page({ most: 10 });
    expect(entries).toMatchObject([
      { at: JANUARY + 1, user: "bob", reason: "x".repeat(300) },
      { at: JANUARY, user: "alice", session: one.session.id, charge: "b1", reason: one.reason },
    ]);
    expect(await store.billing.entriesOf(one.session.id)).toEqual([]);
    await worker.stop();
    await bus.close();
  });
});
