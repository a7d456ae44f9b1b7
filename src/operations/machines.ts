import type { AnyStateMachine, AnyStateNode } from "xstate";
import { z } from "zod";
import { billingMachine } from "../../machines/billing.ts";
import { chartLinks } from "../../machines/links.ts";
import { requestMachine } from "../../machines/request.ts";
import { sessionMachine } from "../../machines/session.ts";
import { transferMachine } from "../../machines/transfer.ts";
import { nothing, operation } from "./operation.ts";

/** Every chart, in the order in which a call meets them (P1). */
export const charts: Readonly<Record<string, AnyStateMachine>> = {
  request: requestMachine,
  session: sessionMachine,
  transfer: transferMachine,
  billing: billingMachine,
};

/** One state of a chart. Ids are paths: `inviting.proceeding.steady`. */
export interface ChartState {
  readonly id: string;
  readonly key: string;
  readonly parent?: string;
  readonly type: string;
  readonly initial?: string;
  readonly entry: readonly string[];
  readonly exit: readonly string[];
  /** What it is, for people; sections of RFCs, the title of its test, and its source. */
  readonly is?: string;
  readonly rfc?: readonly string[];
  readonly test?: string;
  readonly source?: string;
}

/** `from` "": the whole chart. `to` missing: it stays where it is. `event` "": it needs none. */
export interface ChartTransition {
  readonly from: string;
  readonly to?: string;
  readonly event: string;
  readonly guard?: string;
  readonly actions: readonly string[];
}

export interface ChartData {
  readonly name: string;
  readonly initial: string;
  readonly states: readonly ChartState[];
  readonly transitions: readonly ChartTransition[];
}

const text = z.string();
export const listMachines = operation({
  id: "listMachines",
  method: "GET",
  path: "/v1/machines",
  summary: "The statecharts as data",
  right: "see",
  input: nothing,
  output: z.object({
    machines: z.array(
      z.object({
        name: text,
        initial: text,
        states: z.array(
          z.object({
            id: text,
            key: text,
            parent: text.optional(),
            type: z.enum(["atomic", "compound", "parallel", "final", "history"]),
            initial: text.optional(),
            entry: z.array(text),
            exit: z.array(text),
            is: text.optional(),
            rfc: z.array(text).optional(),
            test: text.optional(),
            source: text.optional(),
          }),
        ),
        transitions: z.array(
          z.object({
            from: text,
            to: text.optional(),
            event: text,
            guard: text.optional(),
            actions: z.array(text),
          }),
        ),
      }),
    ),
  }),
  run: () => ({ machines: machinesAsData() }),
});

export const machinesAsData = (): ChartData[] => Object.entries(charts).map(([name, chart]) => chartData(name, chart));

function chartData(name: string, { root }: AnyStateMachine): ChartData {
  const nodes = inside(root);
  return {
    name,
    initial: initialOf(root) ?? "",
    states: nodes.map((node) => stateOf(name, node)),
    transitions: [root, ...nodes].flatMap(transitionsOf),
  };
}

const inside = (node: AnyStateNode): AnyStateNode[] =>
  Object.values(node.states).flatMap((child) => [child, ...inside(child)]);

const idOf = (node: AnyStateNode): string => node.path.join(".");

function initialOf(node: AnyStateNode): string | undefined {
  const target = node.initial?.target?.[0];
  return target && idOf(target);
}

function stateOf(chart: string, node: AnyStateNode): ChartState {
  const initial = initialOf(node);
  const { parent } = node;
  const id = idOf(node);
  return {
    id,
    key: node.key,
    ...(parent && parent.path.length > 0 && { parent: idOf(parent) }),
    type: node.type,
    ...(initial !== undefined && { initial }),
    entry: node.entry.map(nameOf),
    exit: node.exit.map(nameOf),
    ...chartLinks[chart]?.[id],
  };
}

function transitionsOf(node: AnyStateNode): ChartTransition[] {
  const all = [...node.transitions.values(), node.always ?? []].flat();
  return all.flatMap(({ eventType, guard, actions, target }) =>
    (target ?? [undefined]).map((to) => ({
      from: idOf(node),
      ...(to && { to: idOf(to) }),
      event: eventType,
      ...(guard !== undefined && { guard: nameOf(guard) }),
      actions: actions.map(nameOf),
    })),
  );
}

/** The name of an action or a guard. */
export function nameOf(thing: unknown): string {
  if (typeof thing === "string") return thing;
  if (typeof thing === "object" && thing !== null && "type" in thing) return String(thing.type);
  return "?";
}
