import { once } from "node:events";
import { describe, expect, it } from "vitest";
import { createActor, type InspectionEvent, setup } from "xstate";
import { ChartActor } from "../../src/chart/actor.ts";
import { chartFrom } from "../../src/chart/table.ts";

/** Sends itself events from within actions, throws, ends: what there is to get wrong in running a chart. */
function machineThat(seen: string[], self: { send?: (event: { type: "go" | "on" | "fail" | "end" }) => void }) {
  return setup({
    types: { events: {} as { type: "go" | "on" | "fail" | "end" } },
    actions: {
      begin: () => {
        seen.push("begin");
        self.send?.({ type: "go" });
        seen.push("begun");
      },
      goOn: () => {
        seen.push("go");
        self.send?.({ type: "on" });
        seen.push("gone");
      },
      note: ({ event }) => void seen.push(event.type),
      fail: () => {
        throw new Error("no");
      },
    },
  }).createMachine({
    initial: "a",
    states: {
      a: { entry: "begin", on: { go: { target: "b", actions: "goOn" } } },
      b: { on: { on: { actions: "note" }, fail: { actions: "fail" }, end: "c" } },
      c: { type: "final", entry: "note" },
    },
  });
}

function both(seen: { ours: string[]; theirs: string[] }) {
  const errors: { ours: unknown[]; theirs: unknown[] } = { ours: [], theirs: [] };
  const us: Parameters<typeof machineThat>[1] = {};
  const them: Parameters<typeof machineThat>[1] = {};
  const ours = new ChartActor(chartFrom(machineThat(seen.ours, us)), {
    id: "a",
    input: undefined,
    owner: { closed: false, crashed: (error) => errors.ours.push(error) },
  });
  const theirs = createActor(machineThat(seen.theirs, them));
  us.send = (event) => ours.send(event);
  them.send = (event) => theirs.send(event);
  theirs.subscribe({ error: (error) => errors.theirs.push(error) });
  return { ours, theirs, errors };
}

describe("an actor that runs a chart", () => {
  it("goes on from a snapshot: without the actions of the state that it stands in, and with all that come after (P7)", () => {
    const seen: string[] = [];
    const actor = new ChartActor(chartFrom(machineThat(seen, {})), {
      id: "a",
      snapshot: { value: "b", context: {} },
      owner: { closed: false, crashed: () => {} },
    });
    actor.start();
    expect(seen).toEqual([]);
    actor.send({ type: "end" });
    expect(seen).toEqual(["end"]);
    expect(actor.getSnapshot().status).toBe("done");
  });

  it("does not begin from a snapshot whose state the chart has not, and names both", () => {
    const options = { id: "a", snapshot: { value: "z", context: {} }, owner: { closed: false, crashed: () => {} } };
    expect(() => new ChartActor(chartFrom(machineThat([], {})), options)).toThrow(/no state z/);
  });

  it("carries out the first state's actions when it starts, and takes events that actions send one after the other, as XState's does (P1)", () => {
    const seen = { ours: [] as string[], theirs: [] as string[] };
    const { ours, theirs } = both(seen);
    expect(seen).toEqual({ ours: [], theirs: [] });
    expect(ours.getSnapshot().value).toBe("a");
    ours.start();
    theirs.start();
    expect(seen.ours).toEqual(["begin", "begun", "go", "gone", "on"]);
    expect(seen.ours).toEqual(seen.theirs);
  });

  it("keeps what is sent before its start until then", () => {
    const seen = { ours: [] as string[], theirs: [] as string[] };
    const { ours, theirs } = both(seen);
    for (const actor of [ours, theirs]) actor.send({ type: "go" });
    for (const actor of [ours, theirs]) actor.start();
    expect(seen.ours).toEqual(seen.theirs);
    expect(ours.getSnapshot().value).toBe("b");
  });

  it("tells what an action throws, and does nothing more (decision 13)", () => {
    const seen = { ours: [] as string[], theirs: [] as string[] };
    const { ours, theirs, errors } = both(seen);
    for (const actor of [ours, theirs]) {
      actor.start();
      actor.send({ type: "fail" });
      actor.send({ type: "on" });
    }
    expect(errors.ours).toEqual([new Error("no")]);
    expect(errors.ours).toEqual(errors.theirs);
    expect(ours.getSnapshot().status).toBe("error");
    expect(ours.getSnapshot().status).toBe(theirs.getSnapshot().status);
    expect(seen.ours).toEqual(seen.theirs);
  });

  it("takes nothing after its last state", () => {
    const seen = { ours: [] as string[], theirs: [] as string[] };
    const { ours, theirs } = both(seen);
    for (const actor of [ours, theirs]) {
      actor.start();
      actor.send({ type: "end" });
      actor.send({ type: "on" });
    }
    expect(ours.getSnapshot().status).toBe("done");
    expect(seen.ours).toEqual(seen.theirs);
    expect(seen.ours.at(-1)).toBe("end");
  });

  it("lets an inspector look on, also one that comes later, by XState's protocol (P1)", () => {
    const tell = (into: unknown[]) => (event: InspectionEvent) => {
      if (/microstep|action/.test(event.type)) return;
      const snapshot = "snapshot" in event ? (event.snapshot as unknown as { value: unknown }).value : undefined;
      into.push([event.type, "event" in event && event.event.type, snapshot]);
    };
    const ours: unknown[] = [];
    const inspectors = new Set([tell(ours)]);
    const actor = new ChartActor(chartFrom(machineThat([], {})), {
      id: "a",
      input: undefined,
      owner: { closed: false, crashed: () => {} },
      inspectors,
    });
    const theirs: unknown[] = [];
    const xstate = createActor(machineThat([], {}), { inspect: tell(theirs) });
    for (const one of [actor, xstate]) {
      one.start();
      one.send({ type: "go" });
      one.send({ type: "on" });
    }
    expect(ours).toEqual(theirs);
    expect(ours.at(-1)).toEqual(["@xstate.snapshot", "on", "b"]);
    // By these Stately's inspector tells actors apart and draws their chart.
    expect(actor.sessionId).toBe("(machine):a");
    expect(actor.logic).toHaveProperty("config.states.a.on.go.target", "b");
    inspectors.clear();
    const before = ours.length;
    actor.send({ type: "end" });
    expect(ours).toHaveLength(before);
  });

  it("goes on where an inspector throws, and warns of it (P1)", async () => {
    const warned = once(process, "warning");
    const broken = () => {
      throw new Error("the page is gone");
    };
    const actor = new ChartActor(chartFrom(machineThat([], {})), {
      id: "a",
      input: undefined,
      owner: { closed: false, crashed: () => {} },
      inspectors: new Set([broken]),
    });
    actor.start();
    actor.send({ type: "go" });
    actor.send({ type: "on" });
    expect(actor.getSnapshot().value).toBe("b");
    expect(String((await warned)[0])).toContain("the page is gone");
  });
});
