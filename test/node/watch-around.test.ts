import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { WatchAround } from "../../src/node/watch-around.ts";
import type { Seen } from "../../src/trace/seen.ts";
import type { Story } from "../../src/trace/story.ts";
import type { Viewer } from "../../src/trace/watching.ts";
import { Wire } from "../cluster/wire.ts";
import { TestClock } from "../support/test-clock.ts";

const story = (name = "r1") =>
  ({ record: { name, user: "alice", service: "wine", call: "c1", ofCallId: "x@client" } }) as Story;
const timer = (n: number): Seen => ({ kind: "timer", at: n, session: "s", name: `t${n}` });
const ALL = { filter: {}, full: false };

let clock: TestClock;
let wire: Wire;
let warnings: string[];
const started: WatchAround[] = [];
beforeEach(() => {
  clock = new TestClock();
  wire = new Wire();
  warnings = [];
});
afterEach(() => {
  for (const node of started.splice(0)) node.stop();
});

function node(name: string) {
  const viewers = new Set<Viewer>();
  let ids = 0;
  const around = new WatchAround({
    node: name,
    bus: wire.of(name),
    clock,
    peerLog: { warn: (message: string) => void warnings.push(message) },
    newId: () => `${name}-${++ids}`,
    watch: (viewer) => {
      viewers.add(viewer);
      return () => void viewers.delete(viewer);
    },
  });
  around.start();
  started.push(around);
  const happens = (item: Seen, of = story()) => {
    for (const viewer of viewers) viewer.see(of, item);
  };
  return { around, viewers, happens };
}

/** Somebody who looks at a node, and what he has seen. */
function look(at: ReturnType<typeof node>, query: Parameters<WatchAround["watch"]>[0] = ALL) {
  const seen: object[] = [];
  const missed: (number | string)[] = [];
  const end = at.around.watch(query, {
    line: (line) => seen.push(line),
    missed: (lines, of) => missed.push(lines ?? `all of ${of}`),
  });
  return { seen, missed, end };
}

describe("who watches at one node (P5)", () => {
  it("sees what happens at the other nodes, each line with its node, and those that start later", () => {
    const [a, b] = [node("a"), node("b")];
    const { seen } = look(a);
    b.happens(timer(1));
    expect(seen).toEqual([]);
    clock.advance(100);
    expect(seen).toEqual([
      expect.objectContaining({ node: "b", kind: "timer", at: 1, call: "r1", user: "alice", callId: "x@client" }),
    ]);
    const c = node("c");
    clock.advance(5_000);
    c.happens(timer(2));
    clock.advance(100);
    expect(seen.slice(1)).toEqual([expect.objectContaining({ node: "c", at: 2 })]);
  });

  it("sees the one call that is asked for, and nothing of others", () => {
    const [a, b] = [node("a"), node("b")];
    const { seen } = look(a, { ...ALL, call: "r2" });
    b.happens(timer(1));
    b.happens(timer(2), story("r2"));
    clock.advance(100);
    expect(seen).toEqual([expect.objectContaining({ call: "r2", at: 2 })]);
  });

  it("has nobody watch for him when he has gone, or when his node is dead", () => {
    const [a, b] = [node("a"), node("b")];
    const { end } = look(a);
    look(a);
    expect(b.viewers.size).toBe(2);
    end();
    expect(b.viewers.size).toBe(1);
    clock.advance(60_000);
    expect(b.viewers.size).toBe(1);
    wire.cut.add("a");
    clock.advance(16_000);
    expect(b.viewers.size).toBe(0);
    b.happens(timer(1));
    expect(wire.told.filter(({ topic }) => topic === "seen-a")).toEqual([]);
  });

  it("hears how many lines are missing where more happens than can be told", () => {
    const [a, b] = [node("a"), node("b")];
    const { seen, missed } = look(a);
    for (let n = 0; n < 700; n++) b.happens(timer(n));
    clock.advance(100);
    expect(seen).toHaveLength(500);
    expect(missed).toEqual([200]);
    b.happens(timer(701));
    clock.advance(100);
    expect(seen).toHaveLength(501);
    expect(missed).toEqual([200]);
  });

  it("hears later how many lines were lost while the other node had no NATS", () => {
    const [a, b] = [node("a"), node("b")];
    const { seen, missed } = look(a);
    wire.cut.add("b");
    b.happens(timer(1));
    b.happens(timer(2));
    clock.advance(100);
    wire.cut.delete("b");
    b.happens(timer(3));
    clock.advance(100);
    expect(seen).toEqual([expect.objectContaining({ at: 3 })]);
    expect(missed).toEqual([2]);
  });

  it("costs the others a bounded number of watchers; the next one is told, once, and takes the room of one that ends", () => {
    const [a, b] = [node("a"), node("b")];
    const all = Array.from({ length: 65 }, () => look(a));
    expect(b.viewers.size).toBe(64);
    expect(warnings).toEqual(["cluster: as many watch at other nodes as there may be"]);
    clock.advance(20_000);
    expect(all.map(({ missed }) => missed.length)).toEqual([...new Array(64).fill(0), 1]);
    expect(all[64]!.missed).toEqual(["all of b"]);
    all[0]!.end();
    clock.advance(5_000);
    b.happens(timer(1));
    clock.advance(100);
    expect(all[64]!.seen).toEqual([expect.objectContaining({ at: 1, node: "b" })]);
  });

  it.each([
    ["what is no JSON", "watch", "{"],
    [
      "a filter that is none",
      "watch",
      JSON.stringify({ kind: "watch", by: "x", id: "1", query: { filter: { a: 1 } } }),
    ],
    ["lines that are none", "seen-a", JSON.stringify({ by: "b", id: "a-1", lines: [{ kind: "script" }], missed: 0 })],
    ["control characters", "seen-a", seenLine("\u001b[2J")],
  ])("is not reached by %s", (_, topic, text) => {
    const [a, b] = [node("a"), node("b")];
    const { seen } = look(a);
    wire.of("x").tell(topic, text);
    expect(seen).toEqual([]);
    expect(b.viewers.size).toBe(1);
    expect(warnings).toHaveLength(topic === "watch" ? 2 : 1);
  });

  it("is not shown lines of something that he does not look at", () => {
    const a = node("a");
    const { seen } = look(a);
    wire.of("b").tell("seen-a", seenLine("hello", "a-9"));
    expect(seen).toEqual([]);
    wire.of("b").tell("seen-a", seenLine("hello"));
    expect(seen).toEqual([{ kind: "timer", at: 1, text: "hello", node: "b" }]);
  });
});

function seenLine(text: string, id = "a-1"): string {
  return JSON.stringify({ by: "b", id, lines: [{ kind: "timer", at: 1, text }], missed: 0 });
}
