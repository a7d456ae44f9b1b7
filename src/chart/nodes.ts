import type { AnyStateMachine, AnyStateNode } from "xstate";

/* How the states of an XState chart are nested. */

/**
 * All states from `node` down that have no states in them. Throws where a state has something that the table cannot
 * hold.
 */
export function leavesUnder(node: AnyStateNode): AnyStateNode[] {
  if (node.type === "parallel" || node.type === "history")
    throw new Error(`${node.id}: the table holds no ${node.type} states`);
  if (node.invoke.length > 0) throw new Error(`${node.id}: the table holds no children`);
  if (node.after.length > 0) throw new Error(`${node.id}: the table holds no timers`);
  const children = Object.values(node.states);
  if (node.type === "final" && node.parent?.parent)
    throw new Error(`${node.id}: the table holds no final states within states`);
  return children.length === 0 ? [node] : children.flatMap(leavesUnder);
}

/** The initial states below a state, outer first. */
export function descend(node: AnyStateNode): AnyStateNode[] {
  const path: AnyStateNode[] = [];
  for (let at = node.initial?.target?.[0]; at; at = at.initial?.target?.[0]) path.push(at);
  return path;
}

/**
 * The innermost state that a transition does not leave: what is below it is left and entered (SCXML's transition
 * domain).
 */
export function domainOf(source: AnyStateNode, goal: AnyStateNode, reenter: boolean): AnyStateNode | undefined {
  if (!reenter && isBelow(goal, source)) return source;
  for (let at = source.parent; at; at = at.parent) if (isBelow(goal, at)) return at;
  return undefined;
}

function isBelow(node: AnyStateNode, ancestor: AnyStateNode): boolean {
  for (let at = node.parent; at; at = at.parent) if (at === ancestor) return true;
  return false;
}

/** `established.steady`; "" for the root. */
export const pathOf = (node: AnyStateNode): string => node.path.join(".");

/** The same text for equal state values. */
export const textOf = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));

/** As XState writes it: `"steady"`, `{ established: "steady" }`. */
export function stateValue(node: AnyStateNode): unknown {
  let value: unknown = node.key;
  for (let at = node.parent; at?.parent; at = at.parent) value = { [at.key]: value };
  return value;
}

/**
 * `machine` is `chart` with actions provided. Throws where an action was not provided: a programmer's error, found at
 * start.
 */
export function expectProvided(chart: AnyStateMachine, machine: AnyStateMachine): void {
  const before = chart.implementations.actions as Record<string, unknown>;
  const left = Object.entries(machine.implementations.actions)
    .filter(([name, action]) => action === before[name] && !(typeof action === "function" && "resolve" in action))
    .map(([name]) => name);
  if (left.length > 0) throw new Error(`the chart ${chart.id}: nobody provides ${left.join(", ")}`);
}
