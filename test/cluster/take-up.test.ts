import { afterEach, describe, expect, it } from "vitest";
import { copiesTopic } from "../../src/cluster/frames.ts";
import { agrees, Nodes, statuses } from "./nodes.ts";

let nodes: Nodes;
afterEach(() => nodes.close());

const PRICE = { price: "0.10", incrementS: 1 } as const;

describe("a session whose node is killed (P3)", () => {
  it("goes on at its standby: the clock has run on, it is charged once, and ends as it would have", async () => {
    nodes = await Nodes.of(2, { tariff: PRICE });
    const call = await nodes.established();
    agrees(nodes.client);
    agrees(nodes.server);
    nodes.charge(call, 2, "c1");
    await nodes.run(1_000);
    nodes.kill("node00");
    nodes.target = "node01";
    await nodes.run(60_000);
    nodes.charge(call, 3, "c2");
    nodes.client.inDialog("BYE", call.invite, call.answer, 2);
    await nodes.run(100);
    const bye = nodes.server.inbox.find((message) => message.isRequest && message.method === "BYE");
    nodes.server.answer(bye as never, 200);
    await nodes.run(500);
    expect(nodes.charges).toEqual(["c1", "c2"]);
    const ends = nodes.ended(call.id) as { durationMs?: number }[];
    expect(ends).toHaveLength(1);
    expect(ends[0]!.durationMs).toBeGreaterThan(61_000);
    expect(ends[0]!.durationMs).toBeLessThan(61_300);
    expect(nodes.owners(call.id)).toEqual([]);
  });

  it("knows charges of which only the events have arrived: what comes again is answered alike, and limits count them (M14)", async () => {
    nodes = await Nodes.of(2, {
      config: { services: [{ id: "service1", limits: { session: "1.00", currency: "EUR" } }] },
    });
    const call = await nodes.established();
    agrees(nodes.client);
    agrees(nodes.server);
    await nodes.run(500);
    // Killed before the session's copy has gone out anew; the event has, before the 200.
    nodes.courier.loses = (topic, text) => topic === copiesTopic("node01") && /^\+ /m.test(text);
    nodes.charge(call, 2, "c1");
    await nodes.run(20);
    expect(statuses(nodes.server).at(-1)).toBe(200);
    nodes.kill("node00");
    nodes.courier.loses = () => false;
    await nodes.run(2_000);
    nodes.target = "node01";
    nodes.server.inbox.length = 0;
    for (const [i, id] of ["c2", "c3", "c1"].entries()) {
      nodes.charge(call, 3 + i, id);
      await nodes.run(200);
    }
    expect(statuses(nodes.server)).toEqual([200, 403, 200]);
    expect(nodes.charges).toEqual(["c1", "c2"]);
  });

  it("tells both ends the new Contact by UPDATE, with a CSeq that none can have had (RFC 3311 §5.1, RFC 3261 §12.2.2)", async () => {
    nodes = await Nodes.of(2);
    await nodes.established();
    const told = [agrees(nodes.client), agrees(nodes.server)];
    nodes.kill("node00");
    nodes.target = "node01";
    await nodes.run(600);
    for (const [update, ...more] of told) {
      expect(more).toEqual([]);
      expect(update!.method).toBe("UPDATE");
      expect(update!.headers.get("contact")).toContain(nodes.hostOf("node01"));
      expect(update!.cseq!.number).toBeGreaterThan(1_000);
    }
  });

  it("goes on with ends that have no UPDATE (405)", async () => {
    nodes = await Nodes.of(2, { session: { probeS: 60 } });
    const { id } = await nodes.established();
    const told = [agrees(nodes.client, ["UPDATE"], 405), agrees(nodes.server, ["UPDATE"], 405)];
    const probed = [agrees(nodes.client, ["OPTIONS"]), agrees(nodes.server, ["OPTIONS"])];
    nodes.kill("node00");
    nodes.target = "node01";
    await nodes.run(61_000);
    expect(told.map(({ length }) => length)).toEqual([1, 1]);
    expect(probed.map(({ length }) => length)).toEqual([1, 1]);
    expect(nodes.owners(id)).toEqual(["node01"]);
  });

  it("repeats the 2xx of a call that waits for its ACK; the clock starts there (RFC 3261 §13.3.1.4)", async () => {
    nodes = await Nodes.of(2);
    const call = await nodes.answered();
    agrees(nodes.client);
    agrees(nodes.server);
    nodes.kill("node00");
    nodes.target = "node01";
    await nodes.run(1_500);
    expect(new Set(statuses(nodes.client))).toEqual(new Set([200]));
    nodes.client.ack(call.invite, call.answer);
    await nodes.run(200);
    expect(statuses(nodes.server)).toEqual(["ACK"]);
    const started = [...nodes.billed.values()].filter(({ type }) => type === "session.started");
    expect(started).toHaveLength(1);
    expect(nodes.actors(call.id)).toEqual(["node01"]);
  });

  it("keeps the money that is held for it", async () => {
    nodes = new Nodes({ balance: "10.00", tariff: { price: "0.60" } });
    await nodes.credit.pay("alice", "10.00");
    await nodes.start("node00");
    await nodes.start("node01");
    await nodes.run(300);
    const call = await nodes.established();
    agrees(nodes.client, ["OPTIONS", "UPDATE", "BYE"]);
    agrees(nodes.server, ["OPTIONS", "UPDATE", "BYE"]);
    const held = () => Object.values(nodes.credit.accounts.get("alice")!.holds).length;
    expect(held()).toBe(1);
    nodes.kill("node00");
    nodes.target = "node01";
    await nodes.run(90_000);
    expect(held()).toBe(1);
    expect(nodes.actors(call.id)).toEqual(["node01"]);
  });

  it("does not come back when it had ended before", async () => {
    nodes = await Nodes.of(2);
    const call = await nodes.established();
    agrees(nodes.server, ["BYE"]);
    nodes.client.inDialog("BYE", call.invite, call.answer, 2);
    await nodes.run(20);
    nodes.kill("node00");
    nodes.target = "node01";
    await nodes.run(1_500);
    expect(nodes.owners(call.id)).toEqual([]);
    expect(statuses(nodes.client)).toEqual([200]);
  });

  it("stays where it is when its standby is the one that dies, and gets another", async () => {
    nodes = await Nodes.of(3);
    const call = await nodes.established();
    const told = [agrees(nodes.client), agrees(nodes.server)];
    const { standby } = nodes;
    nodes.kill(standby);
    await nodes.run(1_000);
    expect(nodes.actors(call.id)).toEqual(["node00"]);
    expect(told).toEqual([[], []]);
    expect(Object.values(nodes.copies()).reduce((sum, copies) => sum + copies, 0)).toBe(1);
  });

  it("goes on at its standby when two of four nodes die at once, as long as that one lives", async () => {
    nodes = await Nodes.of(4);
    const call = await nodes.established();
    agrees(nodes.client);
    agrees(nodes.server);
    const { standby } = nodes;
    const other = ["node01", "node02", "node03"].find((name) => name !== standby)!;
    nodes.kill("node00");
    nodes.target = standby;
    nodes.kill(other);
    await nodes.run(1_000);
    expect(nodes.owners(call.id)).toEqual([standby]);
  });

  it("goes on at its own node when that is started anew at once", async () => {
    nodes = await Nodes.of(2);
    const call = await nodes.established();
    const told = [agrees(nodes.client), agrees(nodes.server)];
    await nodes.run(100);
    nodes.kill("node00");
    await nodes.again("node00");
    await nodes.run(6_000);
    expect(nodes.owners(call.id)).toEqual(["node00"]);
    expect(told.flat().map(({ method }) => method)).not.toContain("UPDATE");
  });
});

describe("what a node hears from others", () => {
  const HOSTILE = (node: string) => [
    "",
    "\n",
    "1",
    `1 ${node} 1 1`,
    `1 ${node} 999999999999999 1 ask ${node} 1`,
    `1 ${node} 1767225601 1 ask`,
    `1 ${node} 1767225601 999999999 have 0 0`,
    `1 ${node} 1767225601 5 have 9999 9999\n${"x".repeat(1_000)}`,
    `1 ${node} 1767225601 7 9 2 1\nx`,
    `1 ${node} 1767225601 1\n+ 0mk000000-node00-abcdef0123456789 0 {`,
    `1 ${node} 1767225601 2\n+ 0mk000000-node00-abcdef0123456789 0 {"version":1}\n! {}\n! {"type":"session.ended"}`,
    `1 ${node} 1767225601 3\n~ 0mk000000-node00-abcdef0123456780 {"call":1}`,
    `1 ${node} 1767225601 4\n> 0mk000000-node00-abcdef0123456789 -`,
    `1 ${node} 1767225601 5\n= 999999999999999`,
    `1 ${node} 1 1 ask 1 udp 0 0 :: 1 a -\nBYE`,
    `1 ${node} 1 1 tell 1 udp 0 0 192.0.2.1 99999 a -\nINVITE sip:a SIP/2.0\r\n\r\n`,
    `1 ${node} 1 1 ask 1 tcp 1 0 192.0.2.1 5060 a -\nBYE sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP a;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\nCall-ID: x\r\nCSeq: 1 BYE\r\n\r\n`,
    `1 ${node} 1 1 yes`,
    `1 ${node} 1 1 closed`,
    `1 ${node} 1 1 back\nrubbish`,
    "{".repeat(100_000),
    `1 ${node} 1\n${"[".repeat(10_000)}`,
  ];

  it("never makes it fail, whatever it is, and leaves its sessions as they are", async () => {
    nodes = await Nodes.of(2);
    const call = await nodes.established();
    agrees(nodes.client);
    agrees(nodes.server);
    const evil = nodes.courier.of("evil00", (what) => what());
    const topics = [
      "beats",
      "copies-node01",
      "acks-node01",
      "whose",
      "whose-node01",
      "handed",
      "handed-node01",
      "shared",
    ];
    for (const topic of topics)
      for (const node of ["node00", "evil00"]) for (const text of HOSTILE(node)) evil.tell(topic, text);
    await nodes.run(1_000);
    expect(nodes.actors(call.id)).toEqual(["node00"]);
    nodes.kill("node00");
    nodes.target = "node01";
    await nodes.run(2_000);
    expect(nodes.said.filter((line) => /crash|TypeError|Maximum call/.test(line))).toEqual([]);
  });

  it("is nothing any more when it has left, also while it asks", async () => {
    nodes = await Nodes.of(2);
    await nodes.established();
    const [one, two] = nodes.all;
    nodes.stop("node01");
    await nodes.run(600);
    nodes.node("node01").continue();
    await nodes.run(50); // it asks
    two!.cluster.leave();
    one!.cluster.leave();
    const told = nodes.courier.told.length;
    await nodes.run(5_000);
    expect(nodes.courier.told.slice(told).filter(({ topic }) => topic !== "beats")).toEqual([]);
  });
});
