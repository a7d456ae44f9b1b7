import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { AnyStateMachine, AnyStateNode } from "xstate";
import { getShortestPaths } from "xstate/graph";
import { charts, renderMachinesReadme } from "../../src/cli/machines-diagram.ts";
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
  const silent = Object.fromEntries(
    Object.entries(chart.implementations.actions)
      .filter(([, action]) => !(typeof action === "function" && "resolve" in action))
      .map(([action]) => [action, () => undefined]),
  );
  const machine = chart.provide({ actions: silent }) as AnyStateMachine;

  it("reaches every one of its states by some way (P1)", () => {
    const reached = new Set<string>();
    for (const input of chartInputs[name]!) {
      const paths = getShortestPaths(machine, {
        events: chartEvents[name]!,
        serializeState: (state) => JSON.stringify([state.value, state.context]),
        limit: 20_000,
        input,
        stopWhen: (state) => state.status === "done",
      });
      for (const path of paths) reached.add(leaf(path.state.value));
    }
    expect([...reached].sort()).toEqual(restingStates(machine.root).sort());
  });

  it("is sent each of its events by the walk", () => {
    const declared = new Set(machine.events);
    const sent = new Set(chartEvents[name]!.map((event) => event.type));
    expect([...declared].filter((type) => !sent.has(type))).toEqual([]);
  });
});

it("machines/README.md is fresh: `npm run machines` writes it (P1)", () => {
  const written = readFileSync(new URL("../../machines/README.md", import.meta.url), "utf8");
  expect(written).toBe(renderMachinesReadme());
});
