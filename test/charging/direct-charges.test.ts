import { describe, expect, it } from "vitest";
import { createInProcessBus } from "../../src/bus/in-process.ts";
import { startBilling } from "../../src/charging/billing.ts";
import type { BillingStore } from "../../src/charging/billing-store.ts";
import { type BookKeeping, ChargeBook } from "../../src/charging/charge-book.ts";
import { DayLedger } from "../../src/charging/day-ledger.ts";
import { type ChargeableSession, DirectCharges } from "../../src/charging/direct-charges.ts";
import {
  type Charge,
  type ChargingEvent,
  chargeMade,
  type SessionFacts,
  sessionStarted,
} from "../../src/charging/events.ts";
import type { Service } from "../../src/directory/types.ts";
import { Timelines } from "../../src/support/timeline.ts";
import { TestClock } from "../support/test-clock.ts";
import { MemoryBilling } from "./memory-store.ts";
import { aCharge, facts, JANUARY, silent, wholeSession } from "./samples.ts";

const HOUR = 3_600_000;

/** A relay's charging management beside a store that others bill into. */
function node(
  options: { billing?: Pick<BillingStore, "accounts" | "entriesOf">; local?: ChargeableSession; limit?: string } = {},
) {
  const store = new MemoryBilling();
  const clock = new TestClock(JANUARY);
  const events: ChargingEvent[] = [];
  const counters = { charges: 0, chargesRefused: 0 };
  const keeping: BookKeeping = {
    recorder: { full: false, append: async (event) => void events.push(event) },
    clock,
    timelines: new Timelines(clock),
    log: silent,
    counters,
    chargesPerSession: 1_000,
    days: new DayLedger(store),
    terms: () => undefined,
  };
  const limits = { session: options.limit ?? "100", currency: "EUR" };
  const direct = new DirectCharges({
    keeping,
    local: () => options.local,
    billing: options.billing ?? store,
    directory: {
      service: (id): Service => ({ id, limits }),
      appServer: (id) => ({ id, uri: "sip:10.0.0.1", services: ["english"] }),
    },
  });
  const charge = (id: string, over: { unitPrice?: string; appServer?: string; session?: string } = {}) =>
    direct.charge(over.appServer ?? "teacher-1", {
      session: over.session ?? "s1",
      charges: [aCharge({ id, quantity: "1", unitPrice: over.unitPrice ?? "10" })],
      channel: "direct",
    });
  const bill = async (...billed: ChargingEvent[]) => {
    const bus = createInProcessBus({ clock, log: silent });
    const worker = await startBilling({ bus, store: { billing: store }, clock, log: silent });
    await bus.publish(billed);
    await worker.stop();
    await bus.close();
  };
  return { store, clock, events, counters, keeping, direct, charge, bill };
}

const DAY = 24 * HOUR;

const late = (over: Partial<SessionFacts> = {}) => facts({ lateChargesMs: HOUR, ...over });
const refused = (kind: string) => ({ kind: "refused", refusal: { kind } });

describe("charges outside of a session's dialog, for sessions of other nodes (M15, M17)", () => {
  it("are taken while the session runs, and in time after its end, by what is on the bill", async () => {
    const { charge, bill, events, clock } = node();
    await bill(sessionStarted(late(), JANUARY));
    expect(await charge("c1")).toEqual({ kind: "recorded" });
    await bill(...wholeSession(late(), 60_000));
    clock.advance(HOUR + 59_999);
    expect(await charge("c2")).toEqual({ kind: "recorded" });
    clock.advance(1);
    expect(await charge("c3")).toMatchObject(refused("closed"));
    expect(events.map(({ type }) => type)).toEqual(["charge.made", "charge.made", "charge.refused"]);
    expect(events[1]!.session).toMatchObject({ id: "s1", user: "alice", service: "english", call: "c1" });
  });

  it.each([-DAY, -HOUR, HOUR, DAY])(
    "are in time by what passes since the session was read, though the wall clock is set by %i ms",
    async (byMs) => {
      const { charge, bill, clock, events } = node();
      await bill(...wholeSession(late(), 0));
      expect(await charge("c1")).toEqual({ kind: "recorded" });
      clock.setWall(byMs);
      clock.advance(HOUR - 1);
      expect(await charge("c2")).toEqual({ kind: "recorded" });
      expect(events[1]!.at - events[0]!.at).toBe(HOUR - 1);
      clock.advance(1);
      expect(await charge("c3")).toMatchObject(refused("closed"));
    },
  );

  it("are read anew after a second, though the wall clock is set back", async () => {
    const { charge, bill, clock } = node({ limit: "30" });
    await bill(sessionStarted(late(), JANUARY));
    await charge("c1");
    await bill(chargeMade(late(), JANUARY, aCharge({ id: "other", quantity: "1", unitPrice: "15" }), "info"));
    clock.setWall(-HOUR);
    clock.advance(1_000);
    expect(await charge("c2")).toMatchObject(refused("terms"));
  });

  it("count what other nodes have charged, once it is on the bill and a second has passed", async () => {
    const { charge, bill, clock } = node({ limit: "30" });
    await bill(sessionStarted(late(), JANUARY));
    expect(await charge("c1")).toEqual({ kind: "recorded" });
    await bill(chargeMade(late(), JANUARY, aCharge({ id: "other", quantity: "1", unitPrice: "15" }), "info"));
    clock.advance(1_000);
    expect(await charge("c2")).toMatchObject(refused("terms"));
    expect(await charge("other", { unitPrice: "15" })).toEqual({ kind: "recorded" });
    expect(await charge("other", { unitPrice: "16" })).toMatchObject(refused("conflict"));
    expect(await charge("c2", { unitPrice: "5" })).toEqual({ kind: "recorded" });
  });

  it("keep in mind what is not on the bill yet, from reading to reading", async () => {
    const { charge, bill, clock, events } = node({ limit: "30" });
    await bill(sessionStarted(late(), JANUARY));
    await Promise.all(["c1", "c2"].map((id) => charge(id)));
    clock.advance(60_000);
    expect(await charge("c1")).toEqual({ kind: "recorded" });
    expect(await charge("c3", { unitPrice: "10.01" })).toMatchObject(refused("terms"));
    expect(events.filter(({ type }) => type === "charge.made")).toHaveLength(2);
  });

  it("are refused alike for no session and for another's, and nothing is put on record", async () => {
    const { charge, bill, events, counters } = node();
    await bill(sessionStarted(late(), JANUARY));
    const foreign = await charge("c1", { appServer: "teacher-2" });
    expect(foreign).toMatchObject(refused("unknown"));
    expect(await charge("c1", { session: "s2" })).toEqual(foreign);
    expect(events).toEqual([]);
    expect(counters.chargesRefused).toBe(2);
  });

  it("find a session that comes onto the bill later, and answer for a store that cannot be read", async () => {
    const { charge, bill, store } = node();
    expect(await charge("c1")).toMatchObject(refused("unknown"));
    await bill(sessionStarted(late(), JANUARY));
    expect(await charge("c1")).toEqual({ kind: "recorded" });
    let broken = true;
    const away = node({
      billing: {
        accounts: (sessions) => (broken ? Promise.reject(new Error("away")) : store.accounts(sessions)),
        entriesOf: (session) => store.entriesOf(session),
      },
    });
    expect(await away.charge("c2")).toMatchObject({ kind: "failed" });
    broken = false;
    expect(await away.charge("c2")).toEqual({ kind: "recorded" });
  });

  it("are not taken for a prepaid session, but where it runs", async () => {
    const elsewhere = node();
    await elsewhere.bill(sessionStarted(late({ hold: "h1" }), JANUARY));
    expect(await elsewhere.charge("c1")).toMatchObject(refused("prepaid"));
    const { keeping } = node();
    const book = new ChargeBook(keeping, late({ hold: "h1" }), undefined);
    expect(await node({ local: { book, dueAt: null } }).charge("c1")).toEqual({ kind: "recorded" });
    expect(await node({ local: { book, dueAt: JANUARY + 1 } }).charge("c2")).toMatchObject(refused("prepaid"));
  });

  it("know a charge again that is written otherwise, on the bill or on its way there, and make what is new beside it", async () => {
    const { direct, bill, events } = node();
    await bill(sessionStarted(late(), JANUARY), chargeMade(late(), JANUARY, aCharge({ id: "c1" }), "info"));
    const again = [
      aCharge({ id: " c1", item: "Riesling ", unitPrice: "12.5", quantity: "02.0" }),
      aCharge({ id: "c2", unitPrice: "5" }),
    ];
    const ask = (charges: readonly Charge[]) =>
      direct.charge("teacher-1", { session: "s1", charges, channel: "direct" });
    expect(await ask(again)).toEqual({ kind: "recorded" });
    expect(await ask([aCharge({ id: "c2", unitPrice: "5.00" }), aCharge({ id: "c3" })])).toEqual({ kind: "recorded" });
    expect(events.map((event) => event.id)).toEqual(["s1:charge:teacher-1:c2", "s1:charge:teacher-1:c3"]);
    expect(await ask([aCharge({ id: "c2", unitPrice: "5.01" })])).toMatchObject(refused("conflict"));
  });
});
