import { describe, expect, it } from "vitest";
import { createActor, createMachine, type StateValue } from "xstate";
import { stateText } from "../../src/chart/state-text.ts";
import { viewsOf } from "../../src/node/session-view.ts";
import { establish, lab } from "../relay/harness.ts";

describe("a chart's state as text", () => {
  it.each<[StateValue, string]>([
    ["terminated", "terminated"],
    [{ established: "steady" }, "established.steady"],
    [{ inviting: { proceeding: "steady" } }, "inviting.proceeding.steady"],
    [{ a: { b: { c: { d: "e" } } } }, "a.b.c.d.e"],
    [{ line: "open", door: "shut" }, "(line.open door.shut)"],
    [{ up: { line: { open: "idle" }, door: "shut" } }, "up.(line.open.idle door.shut)"],
    [{ up: {} }, "up"],
  ])("of %j is %s", (value, text) => {
    expect(stateText(value)).toBe(text);
  });

  it("is what XState says of a chart with regions side by side", () => {
    const region = { initial: "on", states: { on: {}, off: {} } };
    const machine = createMachine({ type: "parallel", states: { left: region, right: region, alone: {} } });
    expect(stateText(createActor(machine).start().getSnapshot().value)).toBe("(left.on right.on alone)");
  });

  it("names every state of every session of a relay, from the INVITE on (P5)", async () => {
    const l = await lab();
    const states = () => viewsOf(l.core.sessions.values()).map(({ state }) => state);
    l.client.invite();
    expect(states()).toEqual(["inviting.proceeding.steady"]);
    l.server("a").answer(l.server("a").request("INVITE"), 180);
    expect(states()).toEqual(["inviting.proceeding.steady"]);
    l.client.inbox.length = 0;
    await establish(l);
    expect(states()).toEqual(["inviting.proceeding.steady", "established.steady"]);
  });
});
