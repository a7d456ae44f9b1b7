import { describe, expect, it } from "vitest";
import { type AnyEventObject, type AnyStateMachine, assign, createActor, setup } from "xstate";
import { ChartActor } from "../../src/chart/actor.ts";
import { chartFrom } from "../../src/chart/table.ts";
import { charts } from "../../src/operations/machines.ts";
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

/** The three that must agree: the table under XState's actor, the table under ours, and XState's own interpreter. */
function three(chart: AnyStateMachine, from: { input: unknown } | { snapshots: Persisted[] }) {
  const notes: string[][] = [[], [], []];
  const owner = { closed: false, crashed: () => {} };
  const [a, b, c] = "snapshots" in from ? from.snapshots.map((snapshot) => ({ snapshot })) : [from, from, from];
  const options = { input: undefined, ...c } as never;
  const actors = [
    createActor(chartFrom(noting(chart, notes[0]!)), { input: undefined, ...a } as never),
    new ChartActor(chartFrom(noting(chart, notes[1]!)), { id: "a", owner, ...b } as never),
    createActor(noting(chart, notes[2]!), options),
  ] as Runs[];
  for (const actor of actors) actor.start();
  return { notes, actors };
}

interface Persisted {
  readonly status: string;
  readonly value: unknown;
  readonly context: unknown;
}

interface Runs {
  start(): void;
  send(event: unknown): void;
  getSnapshot(): Persisted;
  getPersistedSnapshot?(): Persisted;
}

/** Written as JSON and read again, as a store would have it. */
const written = (actor: Runs): Persisted =>
  JSON.parse(JSON.stringify(actor.getPersistedSnapshot ? actor.getPersistedSnapshot() : actor.getSnapshot()));

describe.each(Object.entries(charts))("the table of the chart %s", (name, chart) => {
  it("does what XState does, for any events in any order, also restored in between (P1)", { timeout: 60_000 }, () => {
    const events = chartEvents[name]!;
    let steps = 0;
    let restored = 0;
    for (let seed = 1; seed <= 120; seed++) {
      const roll = dice(seed);
      const inputs = chartInputs[name]!;
      let { notes, actors } = three(chart, { input: inputs[roll(inputs.length)] });
      for (let i = 0; i < 30; i++) {
        if (roll(6) === 0) {
          expect(notes[0]).toEqual(notes[2]);
          expect(notes[1]).toEqual(notes[2]);
          ({ notes, actors } = three(chart, { snapshots: actors.map(written) }));
          restored++;
        }
        const event = events[roll(events.length)] as never;
        for (const actor of actors) actor.send(event);
        const [a, b, c] = actors.map((actor) => actor.getSnapshot());
        expect([a!.status, a!.value, a!.context]).toEqual([c!.status, c!.value, c!.context]);
        expect([b!.status, b!.value, b!.context]).toEqual([c!.status, c!.value, c!.context]);
        steps++;
        if (c!.status === "done") break;
      }
      expect(notes[0]).toEqual(notes[2]);
      expect(notes[1]).toEqual(notes[2]);
    }
    expect(steps).toBeGreaterThan(500);
    expect(restored).toBeGreaterThan(50);
  });

  it("says of each step which arrow it takes and what is to be done, and does nothing by itself (P1)", () => {
    const notes: string[] = [];
    const table = chartFrom(noting(chart, notes));
    const known = new Set(table.transitions);
    expect(new Set(table.transitions.map(({ id }) => id)).size).toBe(table.transitions.length);
    for (let seed = 1; seed <= 50; seed++) {
      const roll = dice(seed);
      const inputs = chartInputs[name]!;
      let { snapshot } = table.begin(inputs[roll(inputs.length)] as never);
      for (let i = 0; i < 30 && snapshot.status === "active"; i++) {
        const event = chartEvents[name]![roll(chartEvents[name]!.length)] as AnyEventObject;
        const before = JSON.stringify(snapshot);
        const step = table.step(snapshot, event);
        expect(JSON.stringify(snapshot)).toBe(before);
        if (step.transition === undefined) expect(step.snapshot).toBe(snapshot);
        else {
          expect(known).toContain(step.transition);
          expect([step.transition.from, step.transition.event]).toEqual([pathOf(snapshot.value), event.type]);
          const last = [step.transition, ...step.onward].findLast(({ to }) => to !== undefined);
          expect(pathOf(step.snapshot.value)).toBe(last?.to ?? step.transition.from);
        }
        snapshot = step.snapshot;
      }
    }
    expect(notes).toEqual([]);
  });
});

const pathOf = (value: unknown): string =>
  typeof value === "string"
    ? value
    : Object.entries(value as object).map(([key, inner]) => `${key}.${pathOf(inner)}`)[0]!;

describe("the table of a chart", () => {
  it("gives each action the context at its place, also where transitions without an event follow that change it", () => {
    const seen: unknown[] = [];
    const machine = setup({
      types: { context: {} as { n: number } },
      actions: {
        see: ({ context }) => seen.push(context.n),
        add: assign({ n: ({ context }) => context.n + 1 }),
      },
    }).createMachine({
      context: { n: 1 },
      initial: "a",
      states: {
        a: { on: { go: { target: "b", actions: "see" }, stay: { actions: "see" } } },
        b: { always: { target: "c", actions: ["add", "see"] } },
        c: { entry: ["see", "add", "see"] },
      },
    });
    for (const logic of [chartFrom(machine), machine]) {
      const actor = createActor(logic as typeof machine).start();
      for (const type of ["stay", "go", "stay"] as const) actor.send({ type });
      expect(seen.splice(0)).toEqual([1, 1, 2, 2, 3]);
    }
  });

  it("tells an actor's error observer what an action throws (decision 13)", () => {
    const machine = setup({
      actions: {
        fail: () => {
          throw new Error("no");
        },
      },
    }).createMachine({ initial: "a", states: { a: { on: { go: { actions: "fail" } } } } });
    const actor = createActor(chartFrom(machine));
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
    const actor = createActor(chartFrom(machine));
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
    expect(() => chartFrom(machine as never)).toThrow(new RegExp(what === "parallel states" ? "parallel" : what));
  });
});
