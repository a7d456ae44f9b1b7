import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { AnyStateMachine } from "xstate";
import { chartOf } from "../../../console/charts.mjs";
import { arrowIn, type ChartData } from "../../../console/src/charts-data.ts";
import { billingMachine } from "../../../machines/billing.ts";
import { chartLinks } from "../../../machines/links.ts";
import { requestMachine } from "../../../machines/request.ts";
import { sessionMachine } from "../../../machines/session.ts";
import { transferMachine } from "../../../machines/transfer.ts";
import { chartFrom } from "../../../src/chart/table.ts";

const root = new URL("../../../", import.meta.url);
const machines: Readonly<Record<string, AnyStateMachine>> = {
  request: requestMachine,
  session: sessionMachine,
  transfer: transferMachine,
  billing: billingMachine,
};

describe.each(Object.entries(machines))("the picture of the chart %s (P1)", (name, machine) => {
  const made: Promise<ChartData> = chartOf(machine, chartLinks[name] ?? {}, `machines/${name}.ts`, root);

  it("has an arrow for each transition that the relay may report, with its ends", async () => {
    const chart = await made;
    const { transitions } = chartFrom(machine);
    expect(transitions.length).toBeGreaterThan(5);
    for (const { id, from, event, to = from } of transitions) {
      const arrow = chart.arrows[chart.ids[id] ?? -1];
      expect(arrow, id).toBeDefined();
      expect(arrow!.event).toBe(event);
      expect(arrow!.from === "" || from === arrow!.from || from.startsWith(`${arrow!.from}.`), id).toBe(true);
      expect(arrow!.to === undefined || to === arrow!.to || to.startsWith(`${arrow!.to}.`), id).toBe(true);
      expect(arrowIn(chart, { arrow: id, event, from, to })).toBe(chart.ids[id]);
      // Without the name, it is at least an arrow with the same ends.
      const guessed = chart.arrows[arrowIn(chart, { event, from, to }) ?? -1];
      expect(guessed, id).toMatchObject({ event });
      expect(guessed!.to, id).toBe(arrow!.to);
    }
    expect(Object.keys(chart.ids).sort()).toEqual(transitions.map(({ id }) => id).sort());
  });

  it("shows the lines of the source in which a state stands", async () => {
    const chart = await made;
    const source = readFileSync(new URL(chart.file, root), "utf8").split("\n");
    for (const { path, lines } of chart.states) {
      const key = path.split(".").at(-1)!;
      expect(source[lines![0] - 1], path).toMatch(new RegExp(`^\\s*${key}: \\{`));
      expect(source[lines![1] - 1], path).toMatch(/\},?$/);
      expect(chart.source[lines![0] - chart.sourceFrom]).toBe(source[lines![0] - 1]);
    }
  });

  it("draws every state inside of the one that it belongs to, and none over another", async () => {
    const chart = await made;
    for (const { boxes, width, height } of [chart.full, chart.small]) {
      for (const { path, kind } of chart.states) {
        const [x, y, w, h] = boxes[path]!;
        expect(x >= 0 && y >= 0 && x + w <= width + 1 && y + h <= height + 1, path).toBe(true);
        const parent = boxes[path.slice(0, Math.max(0, path.lastIndexOf(".")))];
        if (parent)
          expect(
            x >= parent[0] && y >= parent[1] && x + w <= parent[0] + parent[2] && y + h <= parent[1] + parent[3],
          ).toBe(true);
        if (kind === "compound") continue;
        for (const other of chart.states) {
          if (other.path === path || other.kind === "compound") continue;
          const [ox, oy, ow, oh] = boxes[other.path]!;
          expect(x + w <= ox || ox + ow <= x || y + h <= oy || oy + oh <= y, `${path} ${other.path}`).toBe(true);
        }
      }
    }
  });

  it("says of each innermost state what it is, and draws each arrow that leads somewhere", async () => {
    const chart = await made;
    for (const { kind, is, test, path } of chart.states) if (kind !== "compound") expect(is && test, path).toBeTruthy();
    const drawn = new Set(chart.full.edges.flatMap(({ arrows }) => arrows));
    for (const [i, { from, to }] of chart.arrows.entries()) expect(drawn.has(i)).toBe(to !== undefined && from !== "");
  });
});
