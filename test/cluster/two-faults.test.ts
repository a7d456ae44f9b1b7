import { afterEach, describe, expect, it } from "vitest";
import { acksTopic } from "../../src/cluster/frames.ts";
import { agrees, Nodes, statuses } from "./nodes.ts";

/*
 * Two things go wrong at once, or one after the other: no session is lost while its owner or its standby lives, and no
 * two nodes act for one session (P3).
 */

let nodes: Nodes;
afterEach(() => nodes.close());

/** A call at node00, with its copy at `standby`. */
async function call(size: number) {
  nodes = await Nodes.of(size);
  const call = await nodes.established();
  await nodes.run(100);
  const { standby } = nodes;
  const [other = ""] = nodes.all.map(({ name }) => name).filter((name) => name !== "node00" && name !== standby);
  agrees(nodes.client);
  agrees(nodes.server);
  return { ...call, call, standby, other };
}

describe("a standby that was stopped", () => {
  it("leaves a session to the node to which its owner has copied it meanwhile, before the owner died", async () => {
    const { id, standby, other } = await call(3);
    nodes.stop(standby);
    await nodes.run(1_000);
    expect(nodes.copies()[other]).toBe(1);
    nodes.kill("node00");
    await nodes.run(1_000);
    expect(nodes.owners(id)).toEqual([other]);
    nodes.node(standby).continue();
    await nodes.run(2_000);
    expect(nodes.owners(id)).toEqual([other]);
  });

  it("leaves it to that node also when both notice the death at the same time", async () => {
    const { id, standby, other } = await call(3);
    nodes.stop(standby);
    await nodes.run(1_000);
    nodes.kill("node00");
    nodes.node(standby).continue();
    await nodes.run(2_000);
    expect(nodes.owners(id)).toEqual([other]);
  });

  it("takes it up when all others were stopped, too, and have old copies, or none", async () => {
    const { id } = await call(3);
    nodes.stop("node01");
    nodes.stop("node02");
    await nodes.run(1_000);
    nodes.node("node01").continue();
    nodes.node("node02").continue("messages");
    nodes.kill("node00");
    await nodes.run(3_000);
    expect(nodes.actors(id)).toHaveLength(1);
    expect(nodes.owners(id)).toHaveLength(1);
  });

  it("takes up the session of an owner that was dead before it could copy it elsewhere", async () => {
    const { id, standby } = await call(3);
    nodes.stop(standby);
    nodes.kill("node00");
    await nodes.run(1_000);
    expect(nodes.owners(id)).toEqual([]);
    nodes.node(standby).continue();
    await nodes.run(2_000);
    expect(nodes.actors(id)).toEqual([standby]);
  });

  it("takes up nothing after a minute: what it has is too old by then, and the owner may be alone and cut off", async () => {
    const { id } = await call(2);
    nodes.stop("node01");
    await nodes.run(61_000);
    nodes.courier.cut.add("node00"); // it has been alone for long, and goes on
    nodes.node("node01").continue();
    await nodes.run(2_000);
    expect(nodes.actors(id)).toEqual(["node00"]);
  });

  it("takes up the session of an owner that was cut off as it came back, when that one is silent: it counts on itself", async () => {
    const { id } = await call(2);
    nodes.courier.cut.add("node01");
    await nodes.run(1_000);
    nodes.courier.cut.add("node00");
    nodes.courier.cut.delete("node01");
    await nodes.run(8_000);
    expect(nodes.actors(id)).toEqual(["node00"]);
    await nodes.run(1_600);
    expect(nodes.actors(id)).toEqual([]);
    await nodes.run(1_500);
    expect(nodes.actors(id)).toEqual(["node01"]);
    nodes.courier.cut.delete("node00");
    await nodes.run(3_000);
    expect(nodes.owners(id)).toEqual(["node01"]);
  });

  it("keeps its copies if it was not called dead, though its run before was", async () => {
    nodes = await Nodes.of(2);
    nodes.kill("node01");
    await nodes.run(1_000);
    await nodes.again("node01");
    await nodes.run(500);
    const { id } = await nodes.established();
    nodes.stop("node01");
    await nodes.run(350);
    nodes.node("node01").continue();
    await nodes.run(1_000);
    expect(nodes.copies().node01).toBe(1);
    nodes.kill("node00");
    await nodes.run(1_000);
    expect(nodes.owners(id)).toEqual(["node01"]);
  });
});

describe("an owner that was stopped", () => {
  it("acts only when all have answered, also if it is cut off again as it asks", async () => {
    const { id, standby } = await call(3);
    nodes.stop("node00");
    await nodes.run(600);
    expect(nodes.actors(id)).toEqual([standby]);
    nodes.courier.loses = (topic) => topic === "whose";
    nodes.node("node00").continue();
    await nodes.run(250);
    nodes.courier.cut.add("node00");
    await nodes.run(310);
    nodes.courier.cut.delete("node00");
    await nodes.run(250);
    expect(nodes.actors(id)).toEqual([standby]);
    nodes.courier.loses = () => false;
    await nodes.run(1_000);
    expect(nodes.owners(id)).toEqual([standby]);
  });

  it("lets go of a session that has had two owners since", async () => {
    const { id, standby, other } = await call(3);
    nodes.kill("node00");
    await nodes.run(1_000);
    expect(nodes.owners(id)).toEqual([standby]);
    await nodes.again("node00");
    await nodes.run(1_000);
    nodes.stop(standby);
    await nodes.run(1_000);
    const [second = ""] = nodes.actors(id);
    const third = second === other ? "node00" : other;
    nodes.kill(second);
    await nodes.run(1_000);
    expect(nodes.actors(id)).toEqual([third]);
    nodes.node(standby).continue();
    await nodes.run(1_000);
    expect(nodes.actors(id)).toEqual([third]);
    await nodes.run(1_000);
    expect(nodes.owners(id)).toEqual([third]);
  });
});

describe("a session that came back to a node that had it before", () => {
  it("stays there when that node was silent for a moment", async () => {
    const { id } = await call(2);
    nodes.stop("node00");
    await nodes.run(1_000);
    expect(nodes.actors(id)).toEqual(["node01"]);
    nodes.node("node00").continue();
    await nodes.run(1_500);
    nodes.stop("node01");
    await nodes.run(1_000);
    expect(nodes.actors(id)).toEqual(["node00"]);
    nodes.node("node01").continue();
    await nodes.run(1_500);
    expect(nodes.owners(id)).toEqual(["node00"]);
    nodes.stop("node00");
    await nodes.run(350);
    nodes.node("node00").continue();
    await nodes.run(1_500);
    expect(nodes.actors(id)).toEqual(["node00"]);
  });
});

describe("a node that is started anew", () => {
  it("keeps its sessions though the others have not heard which it has", async () => {
    const { id, standby } = await call(3);
    nodes.kill("node00");
    nodes.courier.loses = (_topic, text, to) => text.includes(" have ") && to === standby;
    await nodes.again("node00");
    await nodes.run(200);
    nodes.courier.loses = () => false;
    await nodes.run(6_000);
    expect(nodes.owners(id)).toEqual(["node00"]);
  });

  it("keeps them if the node that had taken them up is stopped, and cannot say so; that one lets go of them", async () => {
    const { id } = await call(2);
    nodes.kill("node00");
    await nodes.run(1_000);
    expect(nodes.actors(id)).toEqual(["node01"]);
    nodes.stop("node01");
    const stoppedAt = nodes.clock.monotonic();
    await nodes.again("node00");
    await nodes.run(1_000);
    // That one may act on its own for ten seconds, as long as nobody knows better.
    expect(nodes.clock.monotonic() - stoppedAt).toBeGreaterThan(10_000);
    expect(nodes.actors(id)).toEqual(["node00"]);
    nodes.node("node01").continue();
    await nodes.run(1_000);
    expect(nodes.owners(id)).toEqual(["node00"]);
  });

  it("waits for the node that has taken them up, if that one is only stopped for a while", async () => {
    const { id } = await call(2);
    nodes.kill("node00");
    await nodes.run(1_000);
    nodes.stop("node01");
    nodes.clock.setTimeout(() => nodes.node("node01").continue(), 3_000);
    await nodes.again("node00");
    await nodes.run(1_000);
    expect(nodes.owners(id)).toEqual(["node01"]);
  });
});

describe("a charge that waits for the bus", () => {
  it("lies at another node when its first one is dead; it is billed once when its own machine is lost, too", async () => {
    const { call: played, id, standby, other } = await call(3);
    nodes.busTakesEvents = (node) => node !== "node00";
    await nodes.run(300);
    nodes.charge(played, 2, "c1");
    await nodes.run(100);
    expect(statuses(nodes.server)).toEqual([200]);
    nodes.kill(standby, { withDisk: true });
    await nodes.run(1_000);
    nodes.kill("node00", { withDisk: true });
    await nodes.run(1_000);
    expect([nodes.actors(id), nodes.charges]).toEqual([[other], ["c1"]]);
  });
});

describe("a request that comes to another node while its own is dead", () => {
  it("is served there when that node has taken the session up", async () => {
    const { call: played, standby } = await call(3);
    nodes.kill("node00");
    nodes.target = standby;
    await nodes.run(100);
    nodes.client.inDialog("BYE", played.invite, played.answer, 2);
    await nodes.run(700);
    expect([statuses(nodes.client), statuses(nodes.server)]).toEqual([[], ["BYE"]]);
  });

  it("is served there when that node is alone now", async () => {
    const { call: played } = await call(2);
    nodes.kill("node00");
    nodes.target = "node01";
    await nodes.run(100);
    nodes.client.inDialog("BYE", played.invite, played.answer, 2);
    await nodes.run(700);
    expect([statuses(nodes.client), statuses(nodes.server)]).toEqual([[], ["BYE"]]);
  });

  // Some nodes notice the death a little before others.
  it.each([380, 410, 440, 460, 480, 500, 520])("is never answered 481, %i ms after the death", async (wait) => {
    const { call: played, other } = await call(3);
    await nodes.run(wait % 70);
    nodes.kill("node00");
    nodes.target = other;
    await nodes.run(wait);
    nodes.client.inDialog("BYE", played.invite, played.answer, 2);
    await nodes.run(300);
    expect(statuses(nodes.client)).toEqual([]);
    expect(statuses(nodes.server)).toEqual(["BYE"]);
  });
});

/** When it hears what the third node has: at some of these moments the draining node was about to let go. */
const OFFSETS = [0, 40, 80, 120, 160, 200, 240];

describe("a session that was taken up, and is given away when its node drains", () => {
  it.each(OFFSETS)("is not lost if the next node is cut off before its answer comes (%i ms)", async (offset) => {
    const { id, standby } = await call(4);
    nodes.kill("node00");
    await nodes.run(1_000);
    expect(nodes.actors(id)).toEqual([standby]);
    nodes.courier.loses = (topic) => topic === acksTopic(standby);
    nodes.node(standby).l.core.draining = true;
    nodes.node(standby).cluster.giveAway();
    await nodes.run(50);
    const [next = ""] = nodes.actors(id);
    const [third = ""] = nodes.all.map(({ name }) => name).filter((name) => !["node00", standby, next].includes(name));
    nodes.courier.cut.add(next);
    await nodes.run(350);
    nodes.courier.cut.delete(next);
    // It hears at once what the draining node has, and only later what the third one has.
    nodes.courier.loses = (topic, text) =>
      topic === acksTopic(standby) || (topic === `whose-${next}` && text.startsWith(`1 ${third} `));
    nodes.courier.delayMs = (to) => (to === next ? 60 : 0);
    await nodes.run(550 + offset);
    nodes.courier.loses = (topic) => topic === acksTopic(standby);
    await nodes.run(500);
    nodes.courier.loses = () => false;
    await nodes.run(3_000);
    expect(nodes.actors(id)).toHaveLength(1);
  });
});
