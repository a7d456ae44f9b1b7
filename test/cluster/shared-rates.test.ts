import { describe, expect, it } from "vitest";
import { SourceRates } from "../../src/support/source-rates.ts";
import { SharedNodes } from "./shared-nodes.ts";

const LIMIT = 1_000;

function setUp(count: number, limit = LIMIT) {
  const nodes = new SharedNodes();
  const { clock } = nodes;
  const all = Array.from({ length: count }, (_, i) => {
    const shared = nodes.make(`node0${i}`);
    shared.start();
    const rates = new SourceRates(limit, shared.rates.rate("sources", limit));
    clock.advance(i * 37); // their seconds begin at different times
    return { shared, rates };
  });
  clock.advance(100);
  /** So many requests a second of one source at each node, for so long; returns what was taken in each second. */
  const flood = (perSecond: readonly number[], seconds: number, source = "192.0.2.7"): number[] => {
    const taken: number[] = [];
    for (let ms = 0; ms < seconds * 1_000; ms++) {
      for (const [i, rate] of perSecond.entries())
        for (let due = Math.floor(((ms + 1) * rate) / 1_000) - Math.floor((ms * rate) / 1_000); due > 0; due--)
          if (all[i]!.rates.take(source, clock.monotonic()))
            taken[Math.floor(ms / 1_000)] = (taken[Math.floor(ms / 1_000)] ?? 0) + 1;
      clock.advance(1);
    }
    return taken;
  };
  return { nodes, clock, all, flood };
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

describe("the rate of a source over several nodes (decision 14)", () => {
  it.each([
    ["evenly", [1_000, 1_000, 1_000]],
    ["evenly, ten times the limit", [3_333, 3_333, 3_333]],
    ["unevenly", [3_000, 400, 100]],
    ["at one node alone", [3_000, 0, 0]],
    ["a little over the limit", [400, 400, 400]],
  ])("holds in sum within 10 %%, spread %s", (_, perSecond) => {
    const { flood } = setUp(3);
    const taken = flood(perSecond, 20);
    expect(mean(taken)).toBeGreaterThan(0.9 * LIMIT);
    expect(mean(taken)).toBeLessThan(1.1 * LIMIT);
    // Before the nodes have heard of it, each takes what comes.
    const asked = perSecond.reduce((sum, rate) => sum + rate, 0);
    expect(taken[0]).toBeLessThan(1.05 * LIMIT + 0.015 * asked);
  });

  it("is not less than the limit for a source below it", () => {
    const { flood } = setUp(3);
    expect(flood([300, 300, 300], 5)).toEqual(Array(5).fill(900));
  });

  it("moves with the source from node to node", () => {
    const { flood } = setUp(2);
    flood([2_000, 0], 5);
    const taken = flood([0, 2_000], 5);
    expect(mean(taken.slice(1))).toBeGreaterThan(0.9 * LIMIT);
  });

  it("tells nothing of usual sources, and one line for each of the others in 10 ms", () => {
    const { all, flood } = setUp(3);
    for (let i = 0; i < 10; i++) flood([5, 5, 5], 1, `192.0.2.${i}`);
    expect(all[0]!.shared.counters().sharedLines).toBeLessThan(5); // its greetings
    const before = all[0]!.shared.counters().sharedLines!;
    flood([3_000, 0, 0], 1);
    const told = all[0]!.shared.counters().sharedLines! - before;
    expect(told).toBeGreaterThan(20);
    expect(told).toBeLessThanOrEqual(101);
  });

  it("is each node's own while the bus is away, and one again after that", () => {
    const { all, flood, nodes } = setUp(2);
    for (const name of ["node00", "node01"]) nodes.wire.cut.add(name);
    expect(mean(flood([2_000, 2_000], 3))).toBe(2 * LIMIT);
    nodes.wire.cut.clear();
    flood([2_000, 2_000], 2);
    expect(mean(flood([2_000, 2_000], 10))).toBeLessThan(1.1 * LIMIT);
    expect(all).toHaveLength(2);
  });

  it("takes no nonsense from other nodes, and remembers 50,000 of their sources at most", () => {
    const { all, nodes } = setUp(2);
    const tell = (lines: readonly unknown[]) =>
      nodes.wire.of("node01").tell("shared", `1 node01 1\n${JSON.stringify(lines)}`);
    tell([["rate"], ["rate", "sources", 5, 5], ["rate", "sources", "a", -5], ["rate", "constructor", "a", 5]]);
    for (let i = 0; i < 60_000; i += 1_000)
      tell(Array.from({ length: 1_000 }, (_, j) => ["rate", "sources", `source ${i + j}`, LIMIT]));
    const { rates } = all[0]!;
    expect(rates.take("source 59999", nodes.clock.monotonic())).toBe(false);
    expect(rates.take("source 1", nodes.clock.monotonic())).toBe(true);
    expect(rates.take("a", nodes.clock.monotonic())).toBe(true);
  });
});
