import { describe, expect, it } from "vitest";
import { type AnyStateMachine, assign, createActor, setup } from "xstate";
import { charts } from "../../src/cli/machines-diagram.ts";
import { ChartActor } from "../../src/support/chart-actor.ts";
import { chartLogic } from "../../src/support/chart-logic.ts";
import { chartEvents, chartInputs } from "../machines/chart-events.ts";

/** Small, seeded, the same every run. */
function dice(seed: number) {
  let state = seed;
  return (below: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return (state >>> 8) % below;
  };
}

/** Each custom action notes its name, its params, and the context and event that it sees. */
function noting(chart: AnyStateMachine, notes: string[]): AnyStateMachine {
  const actions = Object.entries(chart.implementations.actions)
    .filter(([, action]) => !(typeof action === "function" && "resolve" in action))
    .map(([name]) => [
      name,
      ({ context, event }: { context: unknown; event: unknown }, params: unknown) => {
        notes.push(JSON.stringify([name, params, context, event]));
      },
    ]);
  return chart.provide({ actions: Object.fromEntries(actions) }) as AnyStateMachine;
}

describe.each(Object.entries(charts))("the table of the chart %s", (name, chart) => {
  it("does what XState does, for any events in any order (P1)", () => {
    const events = chartEvents[name]!;
    let steps = 0;
    for (let seed = 1; seed <= 300; seed++) {
      const roll = dice(seed);
      const inputs = chartInputs[name]!;
      const input = inputs[roll(inputs.length)] as never;
      const ours: string[] = [];
      const theirs: string[] = [];
      const light: string[] = [];
      const owner = { closed: false, crashed: () => {} };
      const table = createActor(chartLogic(noting(chart, ours)), { input });
      const actor = new ChartActor(chartLogic(noting(chart, light)), { id: "a", input, owner });
      const xstate = createActor(noting(chart, theirs), { input });
      for (const one of [table, xstate]) one.subscribe({ error: () => {} });
      for (const one of [table, actor, xstate]) one.start();
      for (let i = 0; i < 30; i++) {
        const event = events[roll(events.length)] as never;
        for (const one of [table, actor, xstate]) one.send(event);
        const [a, b, c] = [table.getSnapshot(), xstate.getSnapshot(), actor.getSnapshot()];
        expect([a.status, a.value, a.context]).toEqual([b.status, b.value, b.context]);
        expect([c.status, c.value, c.context]).toEqual([b.status, b.value, b.context]);
        steps++;
        if (b.status === "done") break;
      }
      expect(ours).toEqual(theirs);
      expect(light).toEqual(theirs);
    }
    expect(steps).toBeGreaterThan(500);
  });

  it("takes up a stored snapshot where it was left (DESIGN.md, decision 12)", () => {
    const logic = chartLogic(noting(chart, []));
    const input = chartInputs[name]![0] as never;
    const first = createActor(logic, { input });
    first.start();
    const stored = JSON.parse(JSON.stringify(first.getPersistedSnapshot()));
    const second = createActor(logic, { snapshot: stored, input } as never);
    second.start();
    expect(second.getSnapshot().value).toEqual(first.getSnapshot().value);
    expect(second.getSnapshot().context).toEqual(first.getSnapshot().context);
  });
});

describe("the table of a chart", () => {
  it("tells an actor's error observer what an action throws (DESIGN.md, decision 13)", () => {
    const machine = setup({
      actions: {
        fail: () => {
          throw new Error("no");
        },
      },
    }).createMachine({ initial: "a", states: { a: { on: { go: { actions: "fail" } } } } });
    const actor = createActor(chartLogic(machine));
    const errors: unknown[] = [];
    actor.subscribe({ error: (error) => errors.push(error) });
    actor.start();
    actor.send({ type: "go" });
    expect(String(errors[0])).toBe("Error: no");
  });

  it("takes an outer state's transition when the inner one's guard says no, and re-enters only when told", () => {
    const seen: string[] = [];
    const machine = setup({
      actions: {
        outer: () => void seen.push("outer"),
        inner: () => void seen.push("inner"),
        note: () => void seen.push("note"),
      },
      guards: { never: () => false },
    }).createMachine({
      initial: "a",
      states: {
        a: {
          entry: "outer",
          initial: "x",
          on: { go: { target: ".y", actions: "note" }, again: { target: "a", reenter: true } },
          states: { x: { entry: "inner", on: { go: { guard: "never", target: "y" } } }, y: {} },
        },
      },
    });
    const actor = createActor(chartLogic(machine));
    actor.start();
    actor.send({ type: "go" });
    expect(actor.getSnapshot().value).toEqual({ a: "y" });
    actor.send({ type: "again" });
    expect(actor.getSnapshot().value).toEqual({ a: "x" });
    expect(seen).toEqual(["outer", "inner", "note", "outer", "inner"]);
  });

  it.each([
    ["parallel states", { type: "parallel", states: { a: {}, b: {} } }],
    ["timers", { initial: "a", states: { a: { after: { 100: "b" } }, b: {} } }],
    ["wildcard events", { initial: "a", states: { a: { on: { "*": "b" } }, b: {} } }],
    ["exit actions", { initial: "a", states: { a: { exit: "bye", on: { go: "b" } }, b: {} } }],
    ["by name", { initial: "a", states: { a: { entry: () => {} } } }],
  ])("refuses at start what it does not hold: %s", (what, config) => {
    const machine = setup({ actions: { bye: assign({}) } }).createMachine(config as never);
    expect(() => chartLogic(machine as never)).toThrow(new RegExp(what === "parallel states" ? "parallel" : what));
  });
});
