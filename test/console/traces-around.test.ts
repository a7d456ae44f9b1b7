import { afterEach, describe, expect, it } from "vitest";
import type { Everywhere } from "../../src/node/everywhere.ts";
import { TracesAround } from "../../src/node/traces-around.ts";
import { TracesHere } from "../../src/node/traces-here.ts";
import { Traces } from "../../src/trace/traces.ts";
import { Watching } from "../../src/trace/watching.ts";
import { openRequest } from "../trace/open-request.ts";
import { ApiLab, everywhereOf, idleRelay } from "./api-lab.ts";

/* A trace of a cluster: two nodes, each of which sees calls, and an operator at the first one. */

const labs: ApiLab[] = [];
afterEach(async () => {
  for (const lab of labs.splice(0)) await lab.close();
});

class Node {
  readonly watching = new Watching();
  readonly traces = new Traces((viewer) => this.watching.watch(viewer));
  readonly here = new TracesHere(this.traces, () => 5);

  /** A call whose messages come here; `id` is the same wherever it goes. */
  call(user: string, id: string) {
    const record = openRequest(id, `${id}@client`);
    record.signedIn(user);
    this.watching.known(record);
    return (text: string, at = 0) =>
      this.watching.message(
        {
          ...{ kind: "message", at, direction: "in", leg: "client", callId: `${id}@client`, bytes: Buffer.from(text) },
          local: { transport: "udp", address: "192.0.2.1", port: 5060 },
          peer: { transport: "udp", address: "192.0.2.9", port: 1 },
        },
        record,
      );
  }
}

async function cluster({ answers = true } = {}) {
  const [one, two] = [new Node(), new Node()];
  const said: string[] = [];
  const all = new Map<string, Everywhere>();
  for (const [node, { here }] of [
    ["n1", one],
    ["n2", two],
  ] as const) {
    const bus = {
      keys: () => [Buffer.alloc(32, 7)],
      ask: async (to: string, question: string) => {
        const answer = answers ? all.get(to)?.answer(question) : undefined;
        if (answer === undefined) throw new Error("timeout");
        said.push(answer);
        return answer;
      },
    };
    all.set(
      node,
      everywhereOf({ traces: here }, { node, bus, others: () => ["n1", "n2"].filter((it) => it !== node) }),
    );
  }
  const everywhere = all.get("n1")!;
  const lab = await ApiLab.create({}, idleRelay({ everywhere, traces: new TracesAround(one.here, everywhere) }));
  labs.push(lab);
  const token = await lab.token("operator");
  const ask = (method: string, path: string, body?: object) => lab.ask(method, path, { token, body });
  const exported = async (name: string, format = "text") =>
    (await ask("GET", `/v1/traces/${name}/export?format=${format}`)).text;
  return { one, two, said, ask, exported };
}

describe("a trace of a cluster (P5)", () => {
  it("records at all nodes, is listed as one, and is exported with the calls of all of them", async () => {
    const { one, two, ask, exported } = await cluster();
    expect((await ask("POST", "/v1/traces", { name: "why", user: "alice" })).json.missing).toBeUndefined();
    one.call("alice", "call-1")("INVITE sip:one SIP/2.0\r\n\r\n");
    two.call("alice", "call-2")("INVITE sip:two SIP/2.0\r\n\r\n");
    two.call("bob", "call-3")("INVITE sip:three SIP/2.0\r\n\r\n");
    const { traces } = (await ask("GET", "/v1/traces")).json;
    expect(traces).toMatchObject([{ name: "why", calls: 2, messages: 2, running: true }]);
    const text = await exported("why");
    expect(text.match(/^call .*$/gm)).toEqual(["call call-1", "call call-2"]);
    expect(text).toContain("INVITE sip:two SIP/2.0");
    expect(text).not.toContain("sip:three");
    expect((await exported("why", "pcap")).length).toBeGreaterThan(100);
    const parsed = JSON.parse(await exported("why", "json"));
    expect(parsed.map(({ id, items }: { id: string; items: object[] }) => [id, items.length])).toEqual([
      ["call-1", 1],
      ["call-2", 1],
    ]);
  });

  it("shows a call that went from one node to another as one, in the order of time", async () => {
    const { one, two, ask, exported } = await cluster();
    await ask("POST", "/v1/traces", { name: "why" });
    const [first, second] = [one.call("alice", "call-1"), two.call("alice", "call-1")];
    second("BYE sip:one SIP/2.0\r\n\r\n", 2_000);
    first("INVITE sip:one SIP/2.0\r\n\r\n", 1_000);
    const text = await exported("why");
    expect(text.match(/^call .*$/gm)).toEqual(["call call-1"]);
    expect(text.indexOf("INVITE sip:one")).toBeLessThan(text.indexOf("BYE sip:one"));
  });

  it("brings 12 MB of another node, in answers that each go into one message, and no secret", async () => {
    const { two, said, ask, exported } = await cluster();
    await ask("POST", "/v1/traces", { name: "why", most: 1_000 });
    for (let n = 0; n < 400; n++) {
      const say = two.call("alice", `call-${n}`);
      for (const method of ["INVITE", "ACK", "BYE"])
        say(`${method} sip:alice:geheim@portal.example SIP/2.0\r\nSubject: ${"x".repeat(10_000)}\r\n\r\n`);
    }
    const text = await exported("why");
    expect(text.match(/^call /gm)).toHaveLength(400);
    expect(text.match(/^ {4}(?:INVITE|ACK|BYE) sip:/gm)).toHaveLength(1_200);
    expect(Math.max(...said.map(({ length }) => length))).toBeLessThan(2 ** 20);
    expect(said.join("")).not.toContain("geheim");
  });

  it("is stopped and dropped at all nodes, also where the one that is asked has none of it", async () => {
    const { one, two, ask, exported } = await cluster();
    await ask("POST", "/v1/traces", { name: "why" });
    one.traces.stop("why", true);
    two.call("alice", "call-2")("INVITE sip:two SIP/2.0\r\n\r\n");
    expect(await exported("why")).toContain("sip:two");
    expect((await ask("POST", "/v1/traces/why/stop")).json.traces).toMatchObject([{ running: false, calls: 1 }]);
    expect((await ask("DELETE", "/v1/traces/why")).json.traces).toEqual([]);
    expect(two.traces.list()).toEqual([]);
    expect((await ask("DELETE", "/v1/traces/why")).status).toBe(404);
  });

  it("does not take the place of one that was stopped: what that has recorded is dropped first", async () => {
    const { one, ask, exported } = await cluster();
    await ask("POST", "/v1/traces", { name: "why" });
    one.call("alice", "call-1")("INVITE sip:one SIP/2.0\r\n\r\n");
    await ask("POST", "/v1/traces/why/stop");
    const again = await ask("POST", "/v1/traces", { name: "why" });
    expect([again.status, again.json.detail]).toEqual([409, expect.stringContaining("drop it first")]);
    expect(await exported("why")).toContain("sip:one");
    await ask("DELETE", "/v1/traces/why");
    expect((await ask("POST", "/v1/traces", { name: "why" })).status).toBe(200);
  });

  it("names the nodes that did not answer", async () => {
    const { ask } = await cluster({ answers: false });
    expect((await ask("POST", "/v1/traces", { name: "why" })).json.missing).toEqual(["n2"]);
    expect((await ask("GET", "/v1/traces")).json.missing).toEqual(["n2"]);
    expect((await ask("POST", "/v1/traces/other/stop")).json.detail).toContain("node n2 did not answer");
  });

  it("does not begin if it is to be sent to what is no host and port", async () => {
    const { one, two, ask } = await cluster();
    expect((await ask("POST", "/v1/traces", { name: "why", hep: "homer" })).status).toBe(422);
    expect([one.traces.list(), two.traces.list()]).toEqual([[], []]);
  });
});
