import { describe, expect, it } from "vitest";
import type { FlowFacts } from "../../src/cluster/handed.ts";
import { RemoteFlow } from "../../src/cluster/remote-flow.ts";
import { Bindings } from "../../src/registrar/bindings.ts";
import { Admission } from "../../src/relay/admission/admission.ts";
import { UserLoads } from "../../src/relay/admission/user-loads.ts";
import type { Flow } from "../../src/transport/types.ts";
import { binding } from "../registrar/samples.ts";
import { SharedNodes } from "./shared-nodes.ts";

const connection = (port: number): Flow => ({
  id: `tcp/192.0.2.50:${port}`,
  transport: "tcp",
  reliable: true,
  secure: false,
  remoteAddress: "192.0.2.50",
  remotePort: port,
  open: true,
  send() {},
});

function setUp(limits = { perUser: 3, all: 100 }) {
  const nodes = new SharedNodes();
  const { clock } = nodes;
  const node = (name: string) => {
    const shared = nodes.make(name);
    const bindings = new Bindings(limits);
    const authenticator = {
      authenticate: () => ({}) as never,
      challengesFor: () => undefined,
      names: () => true,
      idIn: ({ user = "" }) => user,
    };
    const loads = new UserLoads({ ringing: 0, sessions: 0 });
    shared.attach({
      authenticator,
      admission: new Admission(clock, 0, 0),
      loads,
      bindings,
      calls: { cameAgain() {}, checkedHere: undefined },
    });
    const flows = new Map<string, RemoteFlow>();
    shared.contacts.uses({
      factsOf: ({ transport, reliable, secure, remoteAddress, remotePort }): FlowFacts => {
        const where = { transport, reliable, secure, remoteAddress, remotePort };
        return { ...where, number: remotePort, contact: "192.0.2.1:5060;transport=tcp", cameTo: "" };
      },
      flowOf: (by, facts) => {
        const key = `${by.node} ${facts.number}`;
        const flow = flows.get(key) ?? new RemoteFlow(by, facts, () => {});
        flows.set(key, flow);
        return flow;
      },
    });
    shared.start();
    const seen = () =>
      bindings.of("alice", clock.monotonic()).map(({ contact, home, flow }) => [contact, home, flow?.id]);
    return { name, bindings, shared, seen };
  };
  const made = (over: Parameters<typeof binding>[0] = {}) =>
    binding({ since: clock.monotonic(), until: clock.monotonic() + 60_000, ...over });
  return { nodes, clock, node, made };
}

const URI = "sip:alice@192.0.2.50:5062";

describe("what clients have registered, in a cluster (RFC 3261 §10)", () => {
  it("is known at every node, with the way through the node that has the socket", () => {
    const { clock, node, made } = setUp();
    const [one, two] = [node("node00"), node("node01")];
    one.bindings.put(made({ flow: connection(1), survives: false }));
    clock.advance(20);
    expect(two.seen()).toEqual([[URI, "node00", "tcp/192.0.2.50:1@node00#1"]]);
    const late = node("node02");
    clock.advance(200);
    expect(late.seen()).toEqual(two.seen());
    clock.advance(60_000);
    for (const each of [one, two, late]) expect(each.seen()).toEqual([]);
  });

  it("may be long: with Path, and a push service's addresses (RFC 8599)", () => {
    const { clock, node, made } = setUp();
    const [one, two] = [node("node00"), node("node01")];
    one.bindings.put(
      made({ contact: `sip:a@192.0.2.9;pn-prid=${"x".repeat(2_000)}`, path: [`<sip:${"p".repeat(2_000)}>`] }),
    );
    clock.advance(20);
    expect(two.seen()).toHaveLength(1);
  });

  it("moves with the device: the node that it left says nothing of it any more", () => {
    const { clock, node, made } = setUp();
    const [one, two] = [node("node00"), node("node01")];
    const first = connection(1);
    one.bindings.put(made({ flow: first, survives: false }));
    clock.advance(20);
    two.bindings.put(made({ flow: connection(2), survives: false }));
    clock.advance(20);
    one.bindings.flowFailed(first);
    clock.advance(20);
    expect(one.seen()).toEqual([[URI, "node01", "tcp/192.0.2.50:2@node01#2"]]);
    expect(two.seen()).toEqual([[URI, undefined, "tcp/192.0.2.50:2"]]);
  });

  it("is gone everywhere with its connection, and when it is removed at any node", () => {
    const { clock, node, made } = setUp();
    const [one, two] = [node("node00"), node("node01")];
    const flow = connection(1);
    one.bindings.put(made({ flow, survives: false }));
    one.bindings.put(made({ key: "other", contact: "sip:other@192.0.2.9" }));
    clock.advance(20);
    one.bindings.flowFailed(flow);
    clock.advance(20);
    expect(two.seen()).toEqual([["sip:other@192.0.2.9", "node00", undefined]]);
    two.bindings.removeAll("alice");
    clock.advance(20);
    expect(one.seen()).toEqual([]);
  });

  it("is gone with its node, but for what is reached without its connection", () => {
    const { nodes, clock, node, made } = setUp();
    const [one, two] = [node("node00"), node("node01")];
    one.bindings.put(made({ flow: connection(1), survives: false }));
    one.bindings.put(made({ key: "udp", contact: "sip:udp@192.0.2.9" }));
    clock.advance(100);
    expect(two.seen()).toHaveLength(2);
    one.shared.stop();
    nodes.up.delete("node00");
    clock.advance(100);
    expect(two.seen()).toEqual([["sip:udp@192.0.2.9", undefined, undefined]]);
  });

  it("is nothing where a node says what is no binding, and bounded whatever it says", () => {
    const { nodes, clock, node, made } = setUp({ perUser: 3, all: 4 });
    const two = node("node01");
    nodes.up.set("node00", { node: "node00", epoch: 1 });
    const { flow: _, ...whole } = made();
    const tell = (lines: unknown[]) => nodes.wire.of("node00").tell("shared", `1 node00 1\n${JSON.stringify(lines)}`);
    const broken = [{ user: 1 }, { path: "x" }, { cameFrom: { transport: "smoke" } }, { until: "soon" }, { q: null }];
    tell([
      ["contact"],
      ["contact", 5],
      ["contact", "{"],
      ["contact", "null"],
      ...broken.map((part) => ["contact", JSON.stringify({ ...whole, ...part })]),
      ["no-contact", 5, 5, 5],
      ["no-contact"],
    ]);
    expect(two.bindings.size).toBe(0);
    tell(Array.from({ length: 9 }, (_, i) => ["contact", JSON.stringify({ ...whole, key: `k${i}` })]));
    expect(two.bindings.size).toBe(3);
    tell(Array.from({ length: 9 }, (_, i) => ["contact", JSON.stringify({ ...whole, user: `u${i}` })]));
    expect(two.bindings.size).toBe(4);
    clock.advance(0);
  });
});
