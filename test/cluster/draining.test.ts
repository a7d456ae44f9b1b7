import { afterEach, describe, expect, it } from "vitest";
import { acksTopic, copiesTopic } from "../../src/cluster/frames.ts";
import { emptied } from "../../src/node/draining.ts";
import { agrees, Nodes } from "./nodes.ts";

let nodes: Nodes;
afterEach(() => nodes.close());

async function call(size: number) {
  nodes = await Nodes.of(size);
  const call = await nodes.established();
  await nodes.run(100);
  agrees(nodes.client);
  agrees(nodes.server);
  return call;
}

/** node00 stops: for `drainMs` it lets its sessions be. Without `gives`, none of them is given away in that time. */
function stops(drainMs: number, { gives = true, hurried = false } = {}) {
  const { l, cluster } = nodes.node("node00");
  const { core } = l;
  core.draining = true;
  core.hurried = hurried;
  if (gives) cluster.giveAway();
  return emptied({ core, clock: nodes.clock, drainMs, cluster }).then(() => {
    cluster.leave();
    nodes.kill("node00");
  });
}

const byes = () => nodes.log.filter(({ text }) => text.startsWith("BYE "));

describe("a node that stops (P3)", () => {
  it.each([
    { what: "in time", options: {} },
    { what: "at a second signal, too", options: { hurried: true } },
  ])("leaves what it could not give away to the other nodes, and hangs nobody up, $what", async ({ options }) => {
    const { id, invite, answer } = await call(3);
    const stopped = stops(300, { gives: false, ...options });
    await nodes.run(12_000); // a node alone waits for the witness
    await stopped;
    expect(byes()).toEqual([]);
    const [next = ""] = nodes.actors(id);
    expect(nodes.owners(id)).toEqual([next]);
    // Its clock and bill go on there.
    nodes.target = next;
    nodes.client.inDialog("BYE", invite, answer, 2);
    await nodes.run(100);
    nodes.server.request("BYE");
    expect(nodes.ended(id)).toEqual([]);
  });

  it("does so with a session that is on its way to a node that does not answer", async () => {
    const { id } = await call(3);
    const { standby } = nodes;
    nodes.courier.cut.add(standby);
    nodes.courier.loses = (topic) => topic === acksTopic("node00");
    const stopped = stops(100);
    await nodes.run(1_000);
    nodes.courier.loses = () => false;
    await nodes.run(4_000);
    await stopped;
    expect(byes()).toEqual([]);
    expect(nodes.actors(id)).toHaveLength(1);
  });

  it("does so with what was charged in the last moment", async () => {
    const { id, ...rest } = await call(2);
    const stopped = stops(300, { gives: false });
    await nodes.run(290);
    nodes.busTakesEvents = (node) => node !== "node00";
    nodes.charge({ id, ...rest }, 1, "wine");
    await nodes.run(12_000); // a node alone waits for the witness
    await stopped;
    expect(nodes.charges).toEqual(["wine"]);
    expect(nodes.actors(id)).toEqual(["node01"]);
  });

  it("leaves them to a node that stays, and not to one that is about to stop, too", async () => {
    const { id } = await call(3);
    const { standby } = nodes;
    nodes.node(standby).l.core.draining = true;
    await nodes.run(200);
    const stopped = stops(100, { gives: false });
    await nodes.run(300);
    await stopped;
    nodes.node(standby).cluster.leave();
    nodes.kill(standby);
    await nodes.run(12_000); // a node alone waits for the witness
    expect(byes()).toEqual([]);
    expect(nodes.actors(id)).toHaveLength(1);
  });

  it("lets no copy stay of a session that did not arrive and ended here", async () => {
    const { id, invite, answer } = await call(3);
    const { standby } = nodes;
    nodes.courier.loses = (topic) => topic === copiesTopic(standby);
    const { core } = nodes.node("node00").l;
    core.draining = true;
    nodes.node("node00").cluster.giveAway();
    await nodes.run(500);
    expect(nodes.actors(id)).toEqual([]);
    for (let ms = 0; ms < 1_000 && nodes.actors(id).length === 0; ms++) await nodes.run(1);
    expect(nodes.actors(id)).toEqual(["node00"]); // it has come back
    agrees(nodes.server, ["BYE"]);
    nodes.client.inDialog("BYE", invite, answer, 2);
    await nodes.run(20);
    nodes.courier.loses = () => false;
    expect(nodes.owners(id)).toEqual([]);
    await nodes.run(2_000);
    nodes.log.length = 0;
    nodes.kill("node00");
    await nodes.run(3_000);
    expect(nodes.owners(id)).toEqual([]);
    expect(nodes.log).toEqual([]);
  });

  it("ends its sessions by BYE if there is no other node, and when that is over it has stopped", async () => {
    const { id } = await call(2);
    agrees(nodes.client, ["BYE"]);
    agrees(nodes.server, ["BYE"]);
    nodes.kill("node01");
    await nodes.run(2_000);
    const stopped = stops(100);
    await nodes.run(2_000);
    await stopped;
    expect(byes()).toHaveLength(2);
    expect(nodes.onDisk("node00").map(({ type }) => type)).toContain("session.ended");
    expect(nodes.owners(id)).toEqual([]);
  });

  /** A call whose standby is dead, and whose copy does not arrive at the third node. */
  async function withoutCopy() {
    const { id } = await call(3);
    const { standby } = nodes;
    const third = ["node01", "node02"].find((name) => name !== standby)!;
    nodes.courier.loses = (topic) => topic === copiesTopic(third);
    nodes.kill(standby);
    await nodes.run(1_000);
    return { id, third };
  }

  it("waits for the copies of its sessions as long as NATS is away, and longer than it was to take", async () => {
    const { id, third } = await withoutCopy();
    const stopped = stops(100, { gives: false });
    await nodes.run(6_000);
    expect(nodes.node("node00").isDead).toBe(false);
    nodes.courier.loses = () => false;
    await nodes.run(12_000);
    await stopped;
    expect(byes()).toEqual([]);
    expect(nodes.actors(id)).toEqual([third]);
  });

  it("gives nothing away while it is cut off: what is on its way acts nowhere", async () => {
    const { id } = await call(3);
    nodes.courier.cut.add("node00");
    await nodes.run(300);
    const stopped = stops(3_000);
    await nodes.run(100);
    expect(nodes.owners(id)).toEqual(["node00"]);
    nodes.courier.cut.delete("node00");
    await nodes.run(20_000);
    await stopped;
    expect(byes()).toEqual([]);
    expect(nodes.actors(id)).toHaveLength(1);
  });

  it("takes back what did not arrive before it leaves, as soon as the other nodes can say so", async () => {
    const { id } = await call(3);
    const [first, second] = ["node01", "node02"].map(copiesTopic);
    // Nothing of the last seconds arrives, and no answer to whether it has.
    nodes.courier.loses = (topic) => topic === first || topic === second || topic.startsWith("whose");
    const stopped = stops(500);
    await nodes.run(7_000);
    nodes.courier.loses = () => false;
    await nodes.run(20_000);
    await stopped;
    expect(byes()).toEqual([]);
    expect(nodes.actors(id)).toHaveLength(1);
  });

  it("waits until it may act again, if it is silent for a moment as its time is over", async () => {
    const { id, third } = await withoutCopy();
    nodes.clock.setTimeout(() => nodes.courier.cut.add("node00"), 2_000);
    const stopped = stops(2_400, { gives: false });
    await nodes.run(2_500); // silent by now, and not called dead yet
    nodes.courier.cut.delete("node00");
    nodes.courier.loses = () => false;
    await nodes.run(20_000);
    await stopped;
    expect(byes()).toEqual([]);
    expect(nodes.actors(id)).toEqual([third]);
  });

  it("says nothing, and puts no end on record, if others may have its sessions already", async () => {
    const { id } = await call(3);
    nodes.courier.cut.add("node00");
    await nodes.run(1_000);
    const stopped = stops(100);
    await nodes.run(15_000);
    await stopped;
    expect(byes()).toEqual([]);
    expect(nodes.onDisk("node00").map(({ type }) => type)).not.toContain("session.ended");
    expect(nodes.actors(id)).toHaveLength(1);
  });
});
