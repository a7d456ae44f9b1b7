import { describe, expect, it } from "vitest";
import { createInProcessBus } from "../../src/bus/in-process.ts";
import { startBilling } from "../../src/charging/billing/billing.ts";
import type { BillingStore } from "../../src/charging/billing/store.ts";
import { type BookKeeping, ChargeBook, type Outcome } from "../../src/charging/charges/book.ts";
import { DayLedger } from "../../src/charging/charges/day-ledger.ts";
import {
  type ChargeableSession,
  type ComingSession,
  DirectCharges,
  type DirectChargesOptions,
} from "../../src/charging/charges/direct.ts";
import type { Charge } from "../../src/charging/events/charge-fields.ts";
import {
  type ChargingEvent,
  chargeMade,
  type SessionFacts,
  sessionChanged,
  sessionEnded,
  sessionStarted,
} from "../../src/charging/events/events.ts";
import { newSessionId } from "../../src/charging/events/session-ids.ts";
import type { Service } from "../../src/directory/types.ts";
import { Timelines } from "../../src/support/timeline.ts";
import { TestClock } from "../support/test-clock.ts";
import { MemoryBilling } from "./memory-store.ts";
import { aCharge, deferred, facts, JANUARY, silent, wholeSession } from "./samples.ts";

const HOUR = 3_600_000;

/** A relay's charging management beside a store that others bill into. */
function node(
  options: {
    billing?: Pick<BillingStore, "accounts" | "entriesOf">;
    local?: ChargeableSession | ComingSession;
    limit?: string;
    store?: MemoryBilling;
    more?: Partial<DirectChargesOptions>;
  } = {},
) {
  const store = options.store ?? new MemoryBilling();
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
      appServer: (id) => ({ id, uri: "sip:10.0.0.1", services: ["english", "wine"] }),
    },
    ...options.more,
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

  it("are taken no longer than their window, where the wall clock was set back before the session was read", async () => {
    const { charge, bill, clock } = node();
    await bill(...wholeSession(late(), 60_000));
    clock.setWall(-30 * DAY);
    expect(await charge("c1")).toEqual({ kind: "recorded" });
    clock.advance(HOUR - 1);
    expect(await charge("c2")).toEqual({ kind: "recorded" });
    clock.advance(1);
    expect(await charge("c3")).toMatchObject(refused("closed"));
  });

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

/** An id of the relay of this name, made now. */
const idOf = (node: string, at = JANUARY) => newSessionId(at, { token: () => "0123456789abcdef0123" }, node);
const MINE = idOf("node01");
const THEIRS = idOf("node02");
const putOff = { kind: "failed", unknown: true };

describe("one book for a session, wherever it is asked for (M15, M17)", () => {
  const me = { node: "node01" };

  it("puts off what is charged while billing is behind, be the session unknown, running or over on the bill", async () => {
    let behind = true;
    const { charge, bill, counters, clock } = node({ more: { ...me, caughtUp: async () => !behind } });
    const ask = (id: string) => charge(id, { session: MINE });
    expect(await ask("c1")).toMatchObject(putOff);
    await bill(sessionStarted(late({ id: MINE }), JANUARY));
    expect(await ask("c1")).toMatchObject(putOff);
    await bill(...wholeSession(late({ id: MINE }), 60_000));
    clock.advance(60_000);
    expect(await ask("c1")).toMatchObject(putOff);
    behind = false;
    expect(await ask("c1")).toEqual({ kind: "recorded" });
    expect(counters.charges).toBe(1);
  });

  it("says that there is no session, or that it is over, when it is known", async () => {
    const { charge, bill } = node({ more: { ...me, caughtUp: async () => true } });
    expect(await charge("c1", { session: MINE })).toMatchObject(refused("unknown"));
    const { lateChargesMs: _, ...closes } = late({ id: MINE });
    await bill(...wholeSession(closes, 60_000));
    expect(await charge("c1", { session: MINE })).toMatchObject(refused("closed"));
  });

  it("takes nothing for a session of its own that has ended and whose end is not on record yet", async () => {
    const { charge, bill } = node({ more: me });
    await bill(sessionStarted(late({ id: MINE }), JANUARY));
    expect(await charge("c1", { session: MINE })).toMatchObject(putOff);
    const alone = node({ more: { alone: true } });
    await alone.bill(sessionStarted(late(), JANUARY));
    expect(await alone.charge("c1")).toMatchObject(putOff);
  });

  it("takes nothing for a session that was charged and never stood", async () => {
    const { charge, bill } = node({ more: me });
    await bill(chargeMade(late({ id: MINE }), JANUARY, aCharge(), "bye"));
    expect(await charge("c1", { session: MINE })).toMatchObject({
      refusal: { kind: "closed", text: "the session came to nothing, and takes no charges" },
    });
  });

  it("has a session that is being set up charged later, and tells nobody else of it", async () => {
    const { charge } = node({ local: { appServer: "teacher-1" } });
    expect(await charge("c1")).toMatchObject(putOff);
    expect(await charge("c1", { appServer: "teacher-2" })).toMatchObject(refused("unknown"));
  });

  it("has the relay that the session's id names answer, also for what it refuses", async () => {
    const asked: unknown[] = [];
    const answers: (Outcome | Error)[] = [
      { kind: "recorded" },
      { kind: "refused", refusal: { kind: "conflict", text: "other terms", charge: "c1" } },
      new Error("no answer in time"),
    ];
    const elsewhere: DirectChargesOptions["elsewhere"] = async (...of) => {
      asked.push(of);
      const answer = answers.shift()!;
      if (answer instanceof Error) throw answer;
      return answer;
    };
    const { charge, events } = node({ more: { ...me, elsewhere } });
    expect(await charge("c1", { session: THEIRS })).toEqual({ kind: "recorded" });
    expect(await charge("c1", { session: THEIRS })).toMatchObject(refused("conflict"));
    expect(await charge("c1", { session: THEIRS })).toMatchObject(putOff);
    expect(asked[0]).toMatchObject(["node02", "teacher-1", { session: THEIRS, charges: [{ id: "c1" }] }]);
    expect(events).toEqual([]);
  });

  it("goes by the bill where that relay is gone: when the end is on it; until then it is put off", async () => {
    const { charge, bill, clock } = node({ more: { ...me, elsewhere: async () => undefined } });
    const ask = (id: string) => charge(id, { session: THEIRS });
    expect(await ask("c1")).toMatchObject(putOff);
    await bill(sessionStarted(late({ id: THEIRS }), JANUARY));
    expect(await ask("c1")).toMatchObject(putOff);
    await bill(...wholeSession(late({ id: THEIRS }), 60_000));
    expect(await ask("c1")).toEqual({ kind: "recorded" });
    clock.advance(HOUR + 60_000);
    expect(await ask("c2")).toMatchObject(refused("closed"));
  });

  it.each([
    ["that no relay makes", "nonsense"],
    ["of a relay that is gone, older than any session", idOf("node02", JANUARY - 71 * 24 * HOUR)],
    ["of a relay that is gone, of the day after tomorrow", idOf("node02", JANUARY + 48 * HOUR)],
  ])("knows of no session by an id %s", async (_, session) => {
    const { charge } = node({ more: { ...me, elsewhere: async () => undefined } });
    expect(await charge("c1", { session })).toMatchObject(refused("unknown"));
  });

  it("opens no second book while a body is under way, however many sessions are asked for in between", async () => {
    const slow = deferred();
    const { keeping, direct, bill, events } = node({ more: me, limit: "1.5" });
    const append = keeping.recorder.append.bind(keeping.recorder);
    await bill(...wholeSession(late({ id: MINE }), 1_000));
    const ids = Array.from({ length: 1_001 }, (_, i) => idOf("node01", JANUARY + 1 + i));
    await bill(...ids.flatMap((id) => wholeSession(late({ id }), 1_000)));
    const ask = (session: string, id: string) =>
      direct.charge("teacher-1", {
        session,
        charges: [aCharge({ id, unitPrice: "1", quantity: "1" })],
        channel: "direct",
      });
    keeping.recorder.append = () => slow.promise;
    const first = ask(MINE, "c1");
    await new Promise(setImmediate);
    keeping.recorder.append = append;
    for (const id of ids) await ask(id, "other");
    const second = ask(MINE, "c2");
    slow.resolve();
    expect(await first).toEqual({ kind: "recorded" });
    expect(await second).toMatchObject({
      refusal: { kind: "terms", text: expect.stringContaining("for a session") },
    }); // 2 in all
    expect(events.filter(({ session }) => session.id === MINE)).toMatchObject([{ type: "charge.refused" }]);
  });

  it("knows what was charged in other parts of the call: for limits, and as repetitions (M20)", async () => {
    const { charge, bill } = node({ more: me, limit: "40" });
    const [one, two, three] = ["a", "b", "c"].map((c, i) => idOf("node01", JANUARY + i).replace(/.$/, c)) as [
      string,
      string,
      string,
    ];
    const part = (id: string, service: string, previous?: string) =>
      late({ id, service, ...(previous !== undefined && { previous: { session: previous, by: "change" as const } }) });
    const parts = [part(one, "english"), part(two, "wine", one), part(three, "english", two)] as const;
    const sold = (id: string, price: string) => aCharge({ id, unitPrice: price, quantity: "1" });
    await bill(
      sessionStarted(parts[0], JANUARY),
      chargeMade(parts[0], JANUARY + 1, sold("x1", "20"), "info"),
      sessionChanged(parts[1], parts[0], JANUARY, JANUARY + 10),
      chargeMade(parts[1], JANUARY + 11, sold("x2", "30"), "info"),
      sessionChanged(parts[2], parts[1], JANUARY + 10, JANUARY + 20),
      chargeMade(parts[2], JANUARY + 21, sold("x3", "15"), "info"),
      sessionEnded(parts[2], JANUARY + 20, JANUARY + 30, "client"),
    );
    const ask = (session: string, id: string, unitPrice: string) => charge(id, { session, unitPrice });
    expect(await ask(three, "x4", "5.01")).toMatchObject(refused("terms")); // 20 + 15 of english before
    expect(await ask(one, "x4", "5.01")).toMatchObject(refused("terms"));
    expect(await ask(two, "x4", "10.01")).toMatchObject(refused("terms"));
    expect(await ask(three, "x1", "20")).toEqual({ kind: "recorded" }); // said again after the change
    expect(await ask(three, "x1", "21")).toMatchObject(refused("conflict"));
    expect(await ask(one, "x5", "5")).toEqual({ kind: "recorded" });
  });
});
