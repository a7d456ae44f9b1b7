import type { AnyStateMachine, AnyStateNode } from "xstate";
import { chartLinks } from "../../machines/links.ts";
import { charts, nameOf } from "../operations/machines.ts";

/** Each chart as a Mermaid state diagram. */
export function renderMachines(): { readonly name: string; readonly mermaid: string }[] {
  return Object.entries(charts).map(([name, chart]) => ({ name, mermaid: mermaid(chart) }));
}

/** machines/README.md: the charts for people who read the repository. */
export function renderMachinesReadme(): string {
  const sections = renderMachines().map(
    ({ name, mermaid }) => `## ${name}\n\n\`\`\`mermaid\n${mermaid}\n\`\`\`\n\n${linksOf(name)}\n`,
  );
  return [
    "# The charts",
    "",
    "Drawn from the charts in this folder by `npm run machines`; a test fails when this page is stale. An arrow says the",
    "event, [the guard] and what is done. `*` stands for every state of the chart that does not say otherwise.",
    "",
    "Below each chart stands for each state what it is, a test that shows it, the section that it obeys, and the source of",
    "what is done in it. They are kept in [links.ts](links.ts); a test looks whether each state has them, and follows them.",
    "",
    sections.join("\n"),
  ].join("\n");
}

/** For each state: what it means, and where to read on. */
function linksOf(chart: string): string {
  return Object.entries(chartLinks[chart] ?? {})
    .map(([state, { is, test, rfc = [], source }]) => {
      const sections = rfc.map((section) => `[RFC ${section}](${rfcUrl(section)})`);
      const links = [`[${test}](../test/machines/${chart}.test.ts)`, ...sections, `[${source}](../${source})`];
      return filled(`- \`${state}\`: ${is} ${links.join(", ")}`);
    })
    .join("\n");
}

/** An item of a list on as many lines as it needs. */
function filled(item: string): string {
  const lines = [""];
  for (const word of item.split(" ")) {
    const line = lines.at(-1)!;
    if (line !== "" && line.length + 1 + word.length > 118) lines.push(`  ${word}`);
    else lines[lines.length - 1] = line === "" ? word : `${line} ${word}`;
  }
  return lines.join("\n");
}

/** `3261 §9.1` at the RFC editor's. */
function rfcUrl(section: string): string {
  const [number, at] = section.split(" §");
  return `https://www.rfc-editor.org/rfc/rfc${number}#section-${at}`;
}

function mermaid(chart: AnyStateMachine): string {
  const lines = ["stateDiagram-v2"];
  const root = chart.root;
  if (root.config.on) lines.push(`  any: *${entries(root)}`);
  drawChildren(root, lines, "  ");
  drawTransitions(root, lines);
  return lines.join("\n");
}

function drawChildren(parent: AnyStateNode, lines: string[], indent: string): void {
  const initial = parent.initial?.target?.[0];
  if (initial) lines.push(`${indent}[*] --> ${idOf(initial)}`);
  for (const node of Object.values(parent.states)) {
    const does = entries(node);
    lines.push(`${indent}state "${node.key}${does}" as ${idOf(node)}`);
    if (node.type === "compound") {
      lines.push(`${indent}state ${idOf(node)} {`);
      drawChildren(node, lines, `${indent}  `);
      lines.push(`${indent}}`);
    }
    if (node.type === "final") lines.push(`${indent}${idOf(node)} --> [*]`);
  }
}

function drawTransitions(node: AnyStateNode, lines: string[]): void {
  const from = node.parent ? idOf(node) : "any";
  const groups = [...node.transitions.values(), node.always ?? []];
  for (const transition of groups.flat()) {
    const event = transition.eventType === "" ? "" : transition.eventType;
    const guard = transition.guard ? ` [${nameOf(transition.guard)}]` : "";
    const actions = transition.actions.length > 0 ? ` / ${transition.actions.map(nameOf).join(", ")}` : "";
    const label = `${event}${guard}${actions}`.trim();
    for (const target of transition.target ?? [undefined]) {
      lines.push(`  ${from} --> ${target ? idOf(target) : from}${label ? `: ${label}` : ""}`);
    }
  }
  for (const child of Object.values(node.states)) drawTransitions(child, lines);
}

const entries = (node: AnyStateNode): string =>
  node.entry.length > 0 ? ` / ${node.entry.map(nameOf).join(", ")}` : "";

const idOf = (node: AnyStateNode): string => node.path.join("_");
