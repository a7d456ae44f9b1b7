import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { charts } from "../../src/operations/machines.ts";
import { ignored } from "./ignored.ts";
import { pairsOf } from "./pairs.ts";

/* A new state or event: write its transitions and their tests, and list the rest in ignored.ts. */

describe.each(Object.entries(charts))("the chart %s, each state with each event (P1)", (name, chart) => {
  it("has a transition, or is listed as ignored with a reason", () => {
    expect(pairsOf(name, chart).unsaid).toEqual([]);
    for (const { why } of ignored[name] ?? []) expect(why.length).toBeGreaterThan(10);
  });

  it("is not listed as ignored where it is a transition, or where there is no such state or event", () => {
    expect(pairsOf(name, chart).stale).toEqual([]);
  });

  it("has tests of its own, which take every transition", () => {
    const file = new URL(`./${name}.test.ts`, import.meta.url);
    expect(existsSync(file)).toBe(true);
    expect(readFileSync(file, "utf8")).toContain(`itTakesEveryTransition(${name}Machine)`);
  });
});
