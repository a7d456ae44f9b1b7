import { afterEach, describe, expect, it } from "vitest";
import { findCalls } from "../../src/calls/find.ts";
import type { CallRecord } from "../../src/calls/record.ts";
import { sealed } from "../../src/charging/charges/book-questions.ts";
import { type Here, livingOthers } from "../../src/node/everywhere.ts";
import { type Look, writeLook } from "../../src/node/looks.ts";
import type { SessionView } from "../../src/node/session-view.ts";
import { TracesAround } from "../../src/node/traces-around.ts";
import { TracesHere } from "../../src/node/traces-here.ts";
import { Traces } from "../../src/trace/traces.ts";
import { call } from "../contract/calls.contract.ts";
import { TestClock } from "../support/test-clock.ts";
import { ApiLab, everywhereOf, idleRelay } from "./api-lab.ts";

/* Two nodes and a bus between them: what an operator sees and does at one of them holds for both. */

const SECRET = [Buffer.alloc(32, 7)];
const clock = new TestClock();
const labs: ApiLab[] = [];
afterEach(async () => {
  for (const lab of labs.splice(0)) await lab.close();
});

const session = (id: string, user = "alice"): SessionView => ({
  ...{ id, call: `c-${id}`, user, service: "wine", appServer: "shop", state: "established.steady" },
});

interface Node {
  sessions?: SessionView[];
  running?: CallRecord[];
  story?: string;
  traces?: Traces;
  /** What it answers in place of the truth; undefined: nothing within a second. */
  says?: (question: string, right: string | undefined) => string | undefined;
  secret?: readonly Buffer[];
}

/** Nodes of these names, each with an API of its own; all of them share one secret unless told otherwise. */
async function cluster(nodes: Readonly<Record<string, Node>>) {
  const ended: string[] = [];
  const asked: { to: string; withinMs: number; question: string }[] = [];
  const names = Object.keys(nodes);
  const all = new Map<string, ReturnType<typeof everywhereOf>>();
  const heres = new Map<string, Here>();
  for (const [node, { sessions = [], running = [], story, traces, secret = SECRET }] of Object.entries(nodes)) {
    const here: Here = {
      sessions: (after, most) =>
        sessions
          .filter(({ id }) => id > after)
          .sort((a, b) => (a.id < b.id ? -1 : 1))
          .slice(0, most),
      endSession: (id) => sessions.some((one) => one.id === id) && ended.push(`${id} at ${node}`) > 0,
      present: () => running,
      calls: (query, elsewhere) => findCalls(undefined, [...running, ...elsewhere], query),
      story: (id) =>
        id === story ? { items: [{ kind: "timer", at: 5, text: `seen by ${node}` }], leftOut: 0 } : undefined,
      metrics: () => ({
        node,
        counters: { invites: 5 },
        gauges: { sessions: sessions.length },
        labelled: { counters: { requestsEnded: [{ labels: { node, status: "200" }, value: 2 }] }, histograms: {} },
      }),
      traces: new TracesHere(traces ?? new Traces(() => () => {}), () => 5),
    };
    const bus = {
      keys: () => secret,
      ask: async (to: string, question: string, withinMs: number) => {
        asked.push({ to, withinMs, question });
        const right = all.get(to)?.answer(question);
        const says = nodes[to]!.says;
        const answer = says ? says(question, right) : right;
        if (answer === undefined) throw new Error("timeout");
        return answer;
      },
    };
    heres.set(node, here);
    all.set(node, everywhereOf(here, { node, bus, clock, others: () => names.filter((other) => other !== node) }));
  }
  const everywhere = all.get(names[0]!)!;
  const around = new TracesAround(heres.get(names[0]!)!.traces, everywhere);
  const lab = await ApiLab.create({}, idleRelay({ everywhere, traces: around }));
  labs.push(lab);
  const token = await lab.token("operator");
  const get = async (path: string) => (await lab.ask("GET", path, { token })).json;
  const end = (id: string) => lab.ask("DELETE", `/v1/sessions/${id}`, { token });
  const ask = (method: string, path: string, body?: object) => lab.ask(method, path, { token, body });
  return { get, end, ask, ended, asked, all };
}

const running = (n: number): CallRecord => call(n, { running: true, user: "alice" });

describe("an operator at one node (P4)", () => {
  it("sees the sessions of all nodes, each with its node, and the calls that run there", async () => {
    const { get, asked } = await cluster({
      n1: { sessions: [session("s1"), session("s3")], running: [running(1)] },
      n2: { sessions: [session("s2", "bob")], running: [running(2)] },
    });
    expect((await get("/v1/sessions")).sessions.map((one: SessionView) => [one.id, one.user, one.node])).toEqual([
      ["s1", "alice", "n1"],
      ["s2", "bob", "n2"],
      ["s3", "alice", "n1"],
    ]);
    const { calls, missing } = await get("/v1/calls");
    expect(calls.map(({ id }: CallRecord) => id)).toEqual(["record0002", "record0001"]);
    expect(missing).toBeUndefined();
    for (const { withinMs } of asked) expect(withinMs).toBeLessThanOrEqual(1_000);
  });

  it("sees what all nodes count, added up, and by node", async () => {
    const { get } = await cluster({
      n1: { sessions: [session("s1")] },
      n2: { sessions: [session("s2"), session("s3")] },
    });
    const { counters, gauges, labelled, nodes, missing } = await get("/v1/status?everywhere=true");
    expect([counters.invites, gauges.sessions, nodes, missing]).toEqual([10, 3, 2, undefined]);
    expect(labelled.counters.requestsEnded.map(({ labels }: { labels: { node: string } }) => labels.node)).toEqual([
      "n1",
      "n2",
    ]);
    expect((await get("/v1/status")).nodes).toBeUndefined();
    const { get: ask } = await cluster({ n1: {}, n2: { says: () => undefined } });
    const alone = await ask("/v1/status?everywhere=true");
    expect([alone.counters.invites, alone.nodes, alone.missing]).toEqual([5, 1, ["n2"]]);
  });

  it("reads the story and the detail of a call that runs at another node", async () => {
    const { get } = await cluster({ n1: {}, n2: { story: "record0002", running: [running(2)] } });
    expect(await get("/v1/calls/record0002/story")).toEqual({
      items: [{ kind: "timer", at: 5, text: "seen by n2" }],
      leftOut: 0,
    });
    expect((await get("/v1/calls/record0002")).calls).toMatchObject([{ id: "record0002", running: true }]);
    expect(await get("/v1/calls/record0009/story")).toMatchObject({ title: "There is no such thing" });
  });

  it("ends a session wherever it is, once", async () => {
    const { end, ended } = await cluster({ n1: {}, n2: { sessions: [session("s2")] }, n3: {} });
    expect((await end("s2")).json).toEqual({ id: "s2", ended: true });
    expect(ended).toEqual(["s2 at n2"]);
    expect((await end("s9")).status).toBe(404);
  });

  it("gets 10,000 sessions of another node, in answers that each go into one message", async () => {
    const sessions = Array.from({ length: 10_000 }, (_, i) => session(`s${String(i).padStart(5, "0")}`));
    const sizes: number[] = [];
    const says = (_: string, right: string | undefined) => {
      sizes.push(Buffer.byteLength(right!));
      return right;
    };
    const { get } = await cluster({ n1: {}, n2: { sessions, says } });
    const { sessions: seen, missing } = await get("/v1/sessions");
    expect(seen).toHaveLength(10_000);
    expect(missing).toBeUndefined();
    expect(Math.max(...sizes)).toBeLessThan(2 ** 20);
  });
});

describe("a node that does not answer, or not as it must, is named", () => {
  const lie = (kind: string, more: object) => (question: string, right: string | undefined) => {
    const { nonce, look } = JSON.parse(question.slice(65));
    if (look.kind !== kind) return right;
    return sealed(SECRET[0]!, { nonce, ...more });
  };
  const evil = { ...session("s2"), user: "\u001b[31mroot" };

  it.each<[string, Node["says"]]>([
    ["it is silent", () => undefined],
    ["it speaks of something else", () => "no JSON at all"],
    [
      "somebody else has sealed the answer",
      (q) => sealed(Buffer.alloc(32, 9), { nonce: nonceOf(q), sessions: [], more: false }),
    ],
    ["it answers another question", () => sealed(SECRET[0]!, { nonce: "x", sessions: [], more: false })],
    ["its sessions are none", lie("sessions", { sessions: [{ id: 1 }], more: false })],
    ["its texts would write on a terminal", lie("sessions", { sessions: [evil], more: false })],
    ["its answer is too long", lie("sessions", { sessions: [], more: false, rest: "x".repeat(2 ** 21) })],
    ["its answer is nested too deep", lie("sessions", { sessions: [], more: false, rest: deep(50) })],
    ["it never comes to an end", lie("sessions", { sessions: [], more: true })],
    ["it says the same over and over", lie("sessions", { sessions: [session("s2")], more: true })],
  ])("in the list of sessions: %s", async (_, says) => {
    const { get } = await cluster({ n1: { sessions: [session("s1")] }, n2: { says: says! } });
    const { sessions, missing } = await get("/v1/sessions");
    expect(missing).toEqual(["n2"]);
    expect(sessions[0]).toEqual({ ...session("s1"), node: "n1" });
  });

  const erases = "\u001b[2J";
  const counted = { counters: {}, gauges: {}, labelled: { counters: {}, histograms: {} } };
  const recorded = { there: true, more: false };
  it.each<[string, [string, string, object?], string, object]>([
    ["a figure's name", ["GET", "/v1/status?everywhere=true"], "figures", { ...counted, counters: { [erases]: 1 } }],
    [
      "a figure's label",
      ["GET", "/v1/status?everywhere=true"],
      "figures",
      { ...counted, labelled: { counters: { calls: [{ labels: { node: erases }, value: 1 }] }, histograms: {} } },
    ],
    ["a trace's name", ["GET", "/v1/traces"], "traces", { traces: [{ ...aTrace, name: erases }] }],
    [
      "what is recorded of a charge",
      ["POST", "/v1/traces/t/hep", { to: "127.0.0.1:9" }],
      "traced",
      {
        ...recorded,
        calls: [{ id: "c", items: [{ kind: "charge", at: 1, session: "s", type: "made", text: erases }] }],
      },
    ],
  ])("where its text would write on a terminal: %s", async (_, asks, kind, answer) => {
    const traces = new Traces(() => () => {});
    traces.start({ name: "t", filter: {}, most: 9 }, 5);
    const { ask } = await cluster({ n1: { traces }, n2: { says: lie(kind, answer) } });
    const { status, json } = await ask(...asks);
    expect([status, json.missing]).toEqual([200, ["n2"]]);
  });

  it("in the list of calls of a Call-ID, once, though it is asked for those of strangers too", async () => {
    const { get, asked } = await cluster({ n1: { running: [running(1)] }, n2: { says: () => undefined } });
    const { missing } = await get("/v1/calls?callId=x");
    expect([missing, asked.length]).toEqual([["n2"], 2]);
  });

  it("in the list of calls, at a call, at its story, and where a session is to be ended", async () => {
    const { get, end } = await cluster({ n1: { running: [running(1)] }, n2: { says: () => undefined } });
    expect((await get("/v1/calls")).missing).toEqual(["n2"]);
    expect((await get("/v1/calls/record0001")).missing).toEqual(["n2"]);
    expect((await get("/v1/calls/record0005")).detail).toContain("node n2 did not answer");
    expect((await get("/v1/calls/record0005/story")).detail).toContain("node n2 did not answer");
    const { status, json } = await end("s2");
    expect([status, json.detail]).toEqual([409, "no node that answers has session s2; node n2 did not answer"]);
  });

  it("and what it makes up about another node's sessions changes nothing", async () => {
    const stolen = { ...session("s1", "mallory"), node: "n1" };
    const says = lie("sessions", { sessions: [stolen, { ...session("s2"), node: "n1" }], more: false });
    const { get } = await cluster({ n1: { sessions: [session("s1")] }, n2: { says } });
    const { sessions } = await get("/v1/sessions");
    expect(sessions).toEqual([
      { ...session("s1"), node: "n1" },
      { ...session("s2"), node: "n2" },
    ]);
  });
});

describe("a node is asked in vain", () => {
  const about = { nonce: "n", from: "n9", at: clock.wall() };
  const end: Look = { kind: "end", session: "s1" };

  it.each([
    ["without the secret", () => writeLook({ keys: () => [Buffer.alloc(32, 9)] }, { ...about, to: "n1" }, end)],
    ["by what was meant for another node", () => writeLook({ keys: () => SECRET }, { ...about, to: "n2" }, end)],
    [
      "by what is a minute old",
      () => writeLook({ keys: () => SECRET }, { ...about, to: "n1", at: clock.wall() - 61_000 }, end),
    ],
    [
      "for what there is not",
      () => writeLook({ keys: () => SECRET }, { ...about, to: "n1" }, { kind: "drop tables" } as never),
    ],
    [
      "for more than goes into an answer",
      () => writeLook({ keys: () => SECRET }, { ...about, to: "n1" }, { kind: "calls", query: { most: 1e9 } }),
    ],
  ])("%s", async (_, question) => {
    const { all, ended } = await cluster({ n1: { sessions: [session("s1")] }, n2: {} });
    expect(all.get("n1")!.answer(question())).toBeUndefined();
    expect(ended).toEqual([]);
  });

  it("when it has left, or others have its sessions; one that is unheard is asked", () => {
    const states = ["up", "draining", "unheard", "left", "dead"] as const;
    const nodes = states.map((state) => ({ node: state, self: false, state }));
    expect(livingOthers([...nodes, { node: "me", self: true, state: "up" }])).toEqual(["up", "draining", "unheard"]);
  });
});

const aTrace = {
  ...{ name: "t", filter: {}, since: 5, calls: 0, messages: 0, bytes: 0, running: true, full: false },
};
const nonceOf = (question: string): string => JSON.parse(question.slice(65)).nonce;
const deep = (levels: number): unknown => (levels === 0 ? 1 : [deep(levels - 1)]);
