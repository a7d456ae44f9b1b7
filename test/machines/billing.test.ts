import { describe, expect, it } from "vitest";
import { initialTransition, transition } from "xstate";
import { getShortestPaths } from "xstate/graph";
import { type BillingContext, type BillingEvent, billingMachine } from "../../machines/billing.ts";
import { chargeMade, sessionEnded, sessionStarted } from "../../src/charging/events/events.ts";
import { aCharge, facts, JANUARY, numbers, shuffled } from "../charging/samples.ts";
import { itTakesEveryTransition, noteTransition } from "./pairs.ts";

const HOUR = 3_600_000;
const started = sessionStarted(facts(), JANUARY);
const charged = chargeMade(facts(), JANUARY + 1000, aCharge(), "info");
const ended = sessionEnded(facts(), JANUARY, JANUARY + 60_000, "client");
const closed: BillingEvent = { type: "window.closed" };

/** Takes an account through the events; says where it ends, and which actions were asked for by which event. */
function run(
  events: readonly BillingEvent[],
  windowMs = 0,
): { state: string; context: BillingContext; asked: string[] } {
  let [snapshot] = initialTransition(billingMachine, { session: facts(), windowMs });
  const asked: string[] = [];
  for (const event of events) {
    noteTransition(billingMachine, snapshot, event);
    const [next, actions] = transition(billingMachine, snapshot, event);
    for (const { type } of actions) asked.push(`${type} ${event.type}`);
    // As the store gives it back: nothing of the snapshot is lost.
    snapshot = billingMachine.resolveState({ value: next.value, context: JSON.parse(JSON.stringify(next.context)) });
  }
  return { state: snapshot.value as string, context: snapshot.context, asked };
}

describe("a session's account (M12-M18)", () => {
  it("waits open for the start, runs, and closes with the end where there is no time for late charges", () => {
    expect(run([]).state).toBe("open");
    expect(run([started]).state).toBe("running");
    expect(run([started, ended]).state).toBe("closed");
  });

  it("notes start, end and who ended it", () => {
    expect(run([started]).context).toMatchObject({ startedAt: JANUARY, endedAt: null, endedBy: null, dueAt: null });
    expect(run([started, ended]).context).toMatchObject({
      startedAt: JANUARY,
      endedAt: JANUARY + 60_000,
      endedBy: "client",
      dueAt: null,
    });
  });

  it("enters the time at the end, once (M13)", () => {
    expect(run([started, ended]).asked).toEqual(["enterTime session.ended"]);
    expect(run([started, ended, ended, started, ended]).asked).toEqual(["enterTime session.ended"]);
  });

  it("needs no start before the end: the end tells when it was", () => {
    expect(run([ended])).toMatchObject({
      state: "closed",
      context: { startedAt: JANUARY },
      asked: ["enterTime session.ended"],
    });
    expect(run([ended, started]).state).toBe("closed");
  });

  it("stays chargeable until its time for late charges is over (M15)", () => {
    const chargeable = run([started, ended], HOUR);
    expect(chargeable).toMatchObject({ state: "chargeable", context: { dueAt: JANUARY + 60_000 + HOUR } });
    expect(run([ended, started, ended], HOUR).state).toBe("chargeable");
    expect(run([started, ended, closed], HOUR)).toMatchObject({ state: "closed", context: { dueAt: null } });
  });

  it("closes no account that runs", () => {
    expect(run([closed]).state).toBe("open");
    expect(run([started, closed]).state).toBe("running");
  });

  it("enters a charge in every state: whoever answered for it had looked whether it was in time (M14, M16)", () => {
    for (const before of [[], [started], [started, ended], [started, ended, closed]] as BillingEvent[][]) {
      const { state } = run(before, HOUR);
      const after = run([...before, charged], HOUR);
      expect(after.state).toBe(state);
      expect(after.asked.at(-1)).toBe("enterCharge charge.made");
    }
  });

  it("arrives at the same account from any order and any repetition of its events", () => {
    const random = numbers(6);
    const events = [started, charged, ended];
    const expected = run(events, HOUR);
    for (let i = 0; i < 200; i++) {
      const some = Array.from({ length: Math.floor(random() * 5) }, () => events[Math.floor(random() * 3)]!);
      const { state, context, asked } = run(shuffled([...events, ...some], random), HOUR);
      expect({ state, context }).toEqual({ state: expected.state, context: expected.context });
      expect(new Set(asked)).toEqual(new Set(expected.asked));
      expect(asked.filter((what) => what === "enterTime session.ended")).toHaveLength(1);
    }
  });

  it("keeps a small context of plain JSON with a version (decision 12)", () => {
    const { context } = run([started, charged, ended], HOUR);
    expect(JSON.parse(JSON.stringify(context))).toEqual(context);
    expect(context.version).toBe(1);
    expect(JSON.stringify(context).length).toBeLessThan(400);
    const many = run([started, ...Array.from({ length: 50 }, () => charged)]);
    expect(JSON.stringify(many.context).length).toBe(JSON.stringify(run([started]).context).length);
  });

  it("can get into each of its states", () => {
    const paths = getShortestPaths(billingMachine, {
      input: { session: facts(), windowMs: HOUR },
      events: [started, charged, ended, closed],
      serializeState: (snapshot) => JSON.stringify(snapshot.value),
      limit: 1000,
    });
    expect(new Set(paths.map((path) => path.state.value))).toEqual(new Set(Object.keys(billingMachine.states)));
  });

  itTakesEveryTransition(billingMachine);
});
