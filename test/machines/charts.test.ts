import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { type AnyStateMachine, type AnyStateNode, createActor } from "xstate";
import { getShortestPaths } from "xstate/graph";
import * as exported from "../../machines/index.ts";
import { chartLinks } from "../../machines/links.ts";
import { expectProvided } from "../../src/chart/nodes.ts";
import { renderMachinesReadme } from "../../src/cli/machines-diagram.ts";
import { charts } from "../../src/operations/machines.ts";
import { chartEvents, chartInputs } from "./chart-events.ts";

/** Ids of every state in which a chart can rest: the leaves, less those that it passes through at once. */
function restingStates(node: AnyStateNode): string[] {
  const children = Object.values(node.states);
  if (children.length > 0) return children.flatMap(restingStates);
  return node.always && node.always.length > 0 ? [] : [node.path.join(".")];
}

const leaf = (value: unknown): string =>
  typeof value === "string"
    ? value
    : Object.entries(value as object).map(([key, inner]) => `${key}.${leaf(inner)}`)[0]!;

describe.each(Object.entries(charts))("the chart %s", (name, chart) => {
  it("reaches every one of its states by some way (P1)", () => {
    const reached = new Set<string>();
    for (const input of chartInputs[name]!) {
      const paths = getShortestPaths(chart, {
        events: chartEvents[name]!,
        serializeState: (state) => JSON.stringify([state.value, state.context]),
        limit: 20_000,
        input,
        stopWhen: (state) => state.status === "done",
      });
      for (const path of paths) reached.add(leaf(path.state.value));
    }
    expect([...reached].sort()).toEqual(restingStates(chart.root).sort());
  });

  it("runs alone, with actions that do nothing (P1)", () => {
    for (const input of chartInputs[name]!) {
      const actor = createActor(chart as AnyStateMachine, { input });
      actor.start();
      for (const event of chartEvents[name]!) if (actor.getSnapshot().status === "active") actor.send(event);
      expect(actor.getSnapshot().status).not.toBe("error");
    }
  });

  it("says of each of its states what it is, and links to a test and a source that are there (P1)", () => {
    const leaves = (node: AnyStateNode): string[] => {
      const children = Object.values(node.states);
      return children.length > 0 ? children.flatMap(leaves) : [node.path.join(".")];
    };
    expect(Object.keys(chartLinks[name]!)).toEqual(leaves(chart.root));
    const tests = readFileSync(new URL(`${name}.test.ts`, import.meta.url), "utf8");
    for (const [state, { test, source }] of Object.entries(chartLinks[name]!)) {
      expect(tests.includes(`it("${test}"`), `${state}: no test "${test}"`).toBe(true);
      expect(existsSync(new URL(`../../${source}`, import.meta.url)), `${state}: no file ${source}`).toBe(true);
    }
  });

  it("is sent each of its events by the walk", () => {
    const declared = new Set(chart.events);
    const sent = new Set(chartEvents[name]!.map((event) => event.type));
    expect([...declared].filter((type) => !sent.has(type))).toEqual([]);
  });
});

it("machines/README.md is fresh: `npm run machines` writes it (P1)", () => {
  const written = readFileSync(new URL("../../machines/README.md", import.meta.url), "utf8");
  expect(written).toBe(renderMachinesReadme());
});

it("machines/index.ts exports every chart", () => {
  expect(Object.values(exported).filter((one) => typeof one === "object")).toEqual(
    expect.arrayContaining(Object.values(charts)),
  );
});

it("the relay does not start while an action of a chart is left that nobody provides, and is told which", () => {
  const { sessionMachine } = exported;
  const machine = sessionMachine.provide({ actions: { sendInvite: () => {} } });
  expect(() => expectProvided(sessionMachine, machine as AnyStateMachine)).toThrow(
    /session: nobody provides sendCancel,/,
  );
});
