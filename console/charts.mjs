/*
 * The statecharts of machines/ as the page shows them, worked out when the page is built: where each state and each
 * arrow stands (laid out by ELK), what each state is, and its source. The page itself needs no layout and no chart.
 */
import { readFileSync } from "node:fs";
import { parseSync } from "@swc/core";
import ELK from "elkjs";

const CHARACTER = 6.7;
const LINE = 15;
const ROOT = "any state";

const OPTIONS = {
  "elk.algorithm": "layered",
  "elk.direction": "DOWN",
  "elk.hierarchyHandling": "INCLUDE_CHILDREN",
  "elk.edgeRouting": "ORTHOGONAL",
  "elk.json.edgeCoords": "ROOT",
  "elk.json.shapeCoords": "ROOT",
  "elk.layered.spacing.nodeNodeBetweenLayers": "34",
  "elk.layered.spacing.edgeNodeBetweenLayers": "14",
  "elk.spacing.nodeNode": "30",
  "elk.spacing.edgeNode": "16",
  "elk.spacing.edgeEdge": "12",
  "elk.spacing.edgeLabel": "4",
  "elk.edgeLabels.inline": "false",
  "elk.layered.nodePlacement.strategy": "NETWORK_SIMPLEX",
  "elk.layered.cycleBreaking.strategy": "MODEL_ORDER",
  "elk.layered.considerModelOrder.strategy": "NODES_AND_EDGES",
};
/** Where there is less room: no names of events. */
const SMALL = {
  ...OPTIONS,
  "elk.layered.spacing.nodeNodeBetweenLayers": "20",
  "elk.layered.spacing.edgeNodeBetweenLayers": "8",
  "elk.spacing.nodeNode": "18",
  "elk.spacing.edgeNode": "10",
  "elk.spacing.edgeEdge": "7",
};
const TIGHT = { "elk.padding": "[top=28,left=10,bottom=10,right=10]" };
const FIRST = { "elk.layered.layering.layerConstraint": "FIRST" };
const INNER = { "elk.padding": "[top=32,left=16,bottom=16,right=16]" };

/**
 * One chart for the page. `machine`: as XState has it; `links`: what machines/links.ts says of its states; `file`: its
 * source, as a path from the top of the repository.
 */
export async function chartOf(machine, links, file, root) {
  const source = readFileSync(new URL(file, root), "utf8");
  const spans = spansOf(source);
  const arrows = [];
  const arrowOf = new Map();
  each(machine.root, (node) => {
    for (const definition of definitionsOf(node)) {
      arrowOf.set(definition, arrows.length);
      arrows.push({
        from: pathOf(node),
        to: definition.target?.[0] && pathOf(definition.target[0]),
        event: definition.eventType,
        guard: nameOf(definition.guard),
        actions: definition.actions.map(nameOf),
      });
    }
  });
  const states = [];
  each(machine.root, (node) => {
    if (node === machine.root) return;
    const path = pathOf(node);
    const { is, test, rfc, source: work } = links[path] ?? {};
    const span = spans.get(path);
    states.push({
      path,
      name: node.key,
      kind: node.type,
      initial: node.parent.initial?.target?.[0] === node || undefined,
      entry: node.entry.map(nameOf),
      is: is ?? span?.comment,
      requirements: requirementsIn(`${test ?? ""} ${span?.comment ?? ""}`),
      test,
      rfc,
      work,
      lines: span && [span.from, span.to],
    });
  });
  return {
    name: machine.id,
    file,
    about: spans.get("")?.comment,
    requirements: requirementsIn(spans.get("")?.comment ?? ""),
    states,
    arrows,
    full: await laidOut(machine, arrows, true),
    small: await laidOut(machine, arrows, false),
    ids: idsOf(machine, arrowOf),
    source: source.split("\n").slice(spans.get("").from - 1, spans.get("").to),
    sourceFrom: spans.get("").from,
  };
}

const pathOf = (node) => node.path.join(".");
const nameOf = (thing) => (thing === undefined ? undefined : typeof thing === "string" ? thing : String(thing.type));
const definitionsOf = (node) => [...[...node.transitions.values()].flat(), ...(node.always ?? [])];

function each(node, see) {
  see(node);
  for (const child of Object.values(node.states)) each(child, see);
}

/** M12, C 3, E 2, RFC sections are shown elsewhere. */
const requirementsIn = (text) => {
  const found = new Set();
  for (const [, from, to] of text.matchAll(/\b(M\d+|P\d+)(?:-(M\d+))?/g)) found.add(to ? `${from}-${to}` : from);
  return found.size > 0 ? [...found] : undefined;
};

/**
 * For the name that src/chart/table.ts gives a transition, the arrow that it is. The names go from each innermost
 * state; an arrow may leave an outer one.
 */
function idsOf(machine, arrowOf) {
  const ids = {};
  each(machine.root, (leaf) => {
    if (Object.keys(leaf.states).length > 0) return;
    const byEvent = new Map();
    const always = [];
    for (let at = leaf; at; at = at.parent) {
      for (const [event, all] of at.transitions) byEvent.set(event, [...(byEvent.get(event) ?? []), ...all]);
      always.push(...(at.always ?? []));
    }
    if (always.length > 0) byEvent.set("", always);
    for (const [event, all] of byEvent) {
      const certain = all.findIndex(({ guard }) => guard === undefined);
      const asked = certain < 0 ? all : all.slice(0, certain + 1);
      for (const [i, definition] of asked.entries()) {
        const name = `${pathOf(leaf)} ${event || "always"}`;
        ids[asked.length > 1 ? `${name} #${i + 1}` : name] = arrowOf.get(definition);
      }
    }
  });
  return ids;
}

/**
 * Where states and arrows stand. Arrows that lead from one state to the same other one are drawn as one line.
 * `withLabels`: there is room for the names of the events.
 */
async function laidOut(machine, arrows, withLabels) {
  const lines = new Map();
  for (const [i, { from, to }] of arrows.entries()) {
    if (to === undefined || from === "") continue;
    const key = `${from} ${to}`;
    lines.set(key, [...(lines.get(key) ?? []), i]);
  }
  const starts = [];
  const height = withLabels ? 34 : 28;
  const nodeOf = (node) => {
    const children = Object.values(node.states);
    const first = node.initial?.target?.[0];
    const start = first && `start ${pathOf(node)}`;
    if (start) starts.push([start, pathOf(first)]);
    const inner = [
      ...(start ? [{ id: start, width: 10, height: 10, layoutOptions: FIRST }] : []),
      ...children.map(nodeOf),
    ];
    return children.length === 0
      ? { id: pathOf(node), width: Math.max(64, node.key.length * 7.6 + 28), height }
      : {
          id: pathOf(node) || ROOT,
          children: inner,
          layoutOptions: pathOf(node) ? (withLabels ? INNER : TIGHT) : withLabels ? OPTIONS : SMALL,
        };
  };
  const graph = nodeOf(machine.root);
  graph.edges = [
    ...starts.map(([from, to]) => ({ id: `${from}>`, sources: [from], targets: [to] })),
    ...[...lines].map(([key, all]) => {
      const texts = all.map((i) => labelOf(arrows[i]));
      const width = Math.max(...texts.map((text) => text.length)) * CHARACTER + 8;
      const [from, to] = key.split(" ");
      const labels = withLabels ? [{ text: key, width, height: texts.length * LINE + 2 }] : [];
      return { id: key, sources: [from], targets: [to], labels };
    }),
  ];
  const done = await new ELK().layout(graph);
  const boxes = {};
  const collect = (node) => {
    for (const child of node.children ?? []) {
      boxes[child.id] = [child.x, child.y, child.width, child.height].map(Math.round);
      collect(child);
    }
  };
  collect(done);
  const edges = [];
  const dots = [];
  for (const edge of done.edges) {
    const { startPoint, endPoint, bendPoints = [] } = edge.sections[0];
    const path = roundedPath([startPoint, ...bendPoints, endPoint]);
    const all = lines.get(edge.id);
    if (!all) dots.push({ dot: boxes[edge.sources[0]], path });
    else {
      const [label] = edge.labels;
      edges.push({ arrows: all, path, label: label && [label.x, label.y, label.width].map(Math.round) });
    }
  }
  return { width: Math.ceil(done.width), height: Math.ceil(done.height), boxes, edges, starts: dots };
}

export const labelOf = ({ event, guard }) => `${event || "always"}${guard ? ` [${guard}]` : ""}`;

/** Lines with round corners, as the `d` of an SVG path. */
function roundedPath(points) {
  const round = (n) => Math.round(n * 10) / 10;
  const [first, ...rest] = points;
  let d = `M${round(first.x)} ${round(first.y)}`;
  for (const [i, at] of rest.entries()) {
    const next = rest[i + 1];
    if (!next) {
      d += `L${round(at.x)} ${round(at.y)}`;
      continue;
    }
    const before = i === 0 ? first : rest[i - 1];
    const length = (a, b) => Math.hypot(a.x - b.x, a.y - b.y);
    const radius = Math.min(6, length(before, at) / 2, length(at, next) / 2);
    const on = (from) => {
      const l = length(from, at) || 1;
      return { x: at.x + ((from.x - at.x) / l) * radius, y: at.y + ((from.y - at.y) / l) * radius };
    };
    const a = on(before);
    const b = on(next);
    d += `L${round(a.x)} ${round(a.y)}Q${round(at.x)} ${round(at.y)} ${round(b.x)} ${round(b.y)}`;
  }
  return d;
}

/** The lines of each state in the source, by path, and the comment above it; "": the whole chart. */
function spansOf(source) {
  const before = "0;\n"; // so that the module's span begins at the file's begin
  const bytes = Buffer.from(before + source);
  const module = parseSync(before + source, { syntax: "typescript" });
  const base = module.body[0].span.start;
  const lineAt = (position) =>
    bytes
      .subarray(0, position - base)
      .toString("utf8")
      .split("\n").length - 1;
  const lines = source.split("\n");
  const commentAbove = (line) => {
    const found = [];
    let at = line - 2;
    if (!/^\s*(\*\/|\/\*\*.*\*\/)\s*$/.test(lines[at] ?? "")) return undefined;
    for (; at >= 0; at--) {
      found.unshift(lines[at].replace(/^\s*(\/\*\*|\*\/|\*)?\s?/, "").replace(/\s*\*\/\s*$/, ""));
      if (/^\s*\/\*\*/.test(lines[at])) break;
    }
    return found.join(" ").replaceAll("`", "").trim() || undefined;
  };
  const spans = new Map();
  const fieldOf = (object, name) =>
    object?.properties?.find((one) => one.type === "KeyValueProperty" && one.key.value === name)?.value;
  const see = (object, path) => {
    for (const property of fieldOf(object, "states")?.properties ?? []) {
      const key = path === "" ? property.key.value : `${path}.${property.key.value}`;
      const [from, to] = [lineAt(property.key.span.start), lineAt(property.value.span.end)];
      spans.set(key, { from, to, comment: commentAbove(from) });
      see(property.value, key);
    }
  };
  for (const item of module.body) {
    const call = item.declaration?.declarations?.[0]?.init;
    if (call?.type !== "CallExpression" || call.callee.property?.value !== "createMachine") continue;
    const config = call.arguments[0].expression;
    const from = lineAt(call.arguments[0].expression.span.start);
    const declared = lineAt(item.span.start);
    spans.set("", { from, to: lineAt(call.span.end), comment: commentAbove(declared) });
    see(config, "");
  }
  return spans;
}
