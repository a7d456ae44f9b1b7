import { expect, it } from "vitest";
import type { AnyEventObject, AnyMachineSnapshot, AnyStateMachine, AnyStateNode } from "xstate";
import { ignored } from "./ignored.ts";

/*
 * Every pair of a state and an event is a transition that a test takes, or is listed as ignored with a reason (P1). A
 * chart's test plays it by `run` of harness.ts, which notes each transition taken here, and ends with
 * `itTakesEveryTransition`.
 */

const taken = new Map<string, Set<string>>();

/**
 * Ids of every state in which a chart can rest and not be done: the leaves, less those that it passes through at once.
 */
function restingLeaves(chart: AnyStateMachine): AnyStateNode[] {
  const under = (node: AnyStateNode): AnyStateNode[] => {
    const children = Object.values(node.states);
    return children.length > 0 ? children.flatMap(under) : [node];
  };
  return under(chart.root).filter((leaf) => leaf.type !== "final" && (leaf.always ?? []).length === 0);
}

const nameOf = (node: AnyStateNode): string => node.path.join(".");

/**
 * Names of the transitions that an event can take from a leaf, as XState looks for them: in the leaf, then in the
 * states around it, each list up to the first without a guard. `answered client.ack`, with a number where guards
 * choose: `answered client.ack #2`.
 */
function arrowsFrom(leaf: AnyStateNode, event: string): string[] {
  const all = candidates(leaf, event);
  const certain = all.findIndex((one) => !one.guard);
  const count = certain < 0 ? all.length : certain + 1;
  const name = `${nameOf(leaf)} ${event}`;
  return Array.from({ length: count }, (_, i) => (count > 1 ? `${name} #${i + 1}` : name));
}

function candidates(leaf: AnyStateNode, event: string) {
  const all = [];
  for (let node: AnyStateNode | undefined = leaf; node; node = node.parent)
    all.push(...(node.transitions.get(event) ?? []));
  return all;
}

/** Notes which transition the event takes; called before it is sent. */
export function noteTransition(chart: AnyStateMachine, snapshot: AnyMachineSnapshot, event: AnyEventObject): void {
  if (snapshot.status !== "active") return;
  const leaf = snapshot._nodes.find((node: AnyStateNode) => Object.keys(node.states).length === 0)!;
  // The snapshot's machine may be a copy of the chart with other actions.
  const chosen = snapshot.machine.getTransitionData(snapshot, event)[0];
  if (!chosen) return;
  const name = arrowsFrom(leaf, event.type)[candidates(leaf, event.type).indexOf(chosen)]!;
  if (!taken.has(chart.id)) taken.set(chart.id, new Set());
  taken.get(chart.id)!.add(name);
}

/** The last test of a chart's file: the tests before it have taken every transition of every state. */
export function itTakesEveryTransition(chart: AnyStateMachine): void {
  it("is taken by a test from every state by every event that means something there (P1)", () => {
    const all = restingLeaves(chart).flatMap((leaf) => chart.events.flatMap((event) => arrowsFrom(leaf, event)));
    expect(all.filter((name) => !taken.get(chart.id)?.has(name))).toEqual([]);
  });
}

/**
 * Pairs of a chart by what becomes of them; `stale` are entries of the list of what is ignored that name no pair, or
 * one that is a transition.
 */
export function pairsOf(name: string, chart: AnyStateMachine): { unsaid: string[]; stale: string[] } {
  const said = new Set<string>();
  const stale: string[] = [];
  const leaves = restingLeaves(chart);
  for (const { states, events } of ignored[name] ?? []) {
    for (const state of states) {
      const meant = leaves.filter((leaf) => nameOf(leaf) === state || nameOf(leaf).startsWith(`${state}.`));
      for (const event of events) {
        const pairs = meant.filter((leaf) => arrowsFrom(leaf, event).length === 0);
        for (const leaf of pairs) said.add(`${nameOf(leaf)} ${event}`);
        if (!chart.events.includes(event) || pairs.length === 0 || pairs.length < meant.length)
          stale.push(`${state} ${event}`);
      }
    }
  }
  const unsaid = leaves.flatMap((leaf) =>
    chart.events
      .filter((event) => arrowsFrom(leaf, event).length === 0)
      .map((event) => `${nameOf(leaf)} ${event}`)
      .filter((pair) => !said.has(pair)),
  );
  return { unsaid, stale };
}
