import { describe, expect, it } from "vitest";
import { Copies } from "../../src/cluster/copies.ts";
import { Holder } from "../../src/cluster/holder.ts";
import type { Place } from "../../src/cluster/placing.ts";
import { checkSessionState } from "../../src/relay/model/session-state.ts";
import { goOn, restore, snapshot } from "../../src/relay/session/snapshot.ts";
import { PeerLog } from "../../src/support/peer-log.ts";
import { silent } from "../charging/samples.ts";
import { lab } from "../relay/harness.ts";
import { TestClock } from "../support/test-clock.ts";
import { Wire } from "./wire.ts";

const SELF = { node: "node00", epoch: 7 };

function holderOf(node: string, wire: Wire, clock: TestClock): Holder {
  const holder = new Holder({ node, bus: wire.of(node), clock, peerLog: new PeerLog({ log: silent, clock }) });
  holder.start();
  return holder;
}

/** A relay whose app server has answered, with other nodes beside it. */
async function answered(nodes = ["node01", "node02"]) {
  const clock = new TestClock();
  const wire = new Wire();
  const places: Place[] = nodes.map((node) => ({ node, zone: "" }));
  const holders = new Map(nodes.map((node) => [node, holderOf(node, wire, clock)]));
  const peerLog = new PeerLog({ log: silent, clock });
  const bus = wire.of(SELF.node);
  const copies = new Copies({ self: SELF, zone: "", bus, clock, peerLog, places: () => places });
  const l = await lab({ clock, core: { kept: copies } });
  copies.start(l.core);
  const invite = l.client.invite();
  await l.settle();
  const server = l.server("a");
  server.answer(server.request("INVITE"), 200);
  await l.settle();
  clock.advance(5);
  await l.settle();
  const answer = l.client.response(200);
  const [session] = l.core.sessions.values();
  /** Where the copies are. */
  const held = () => Object.fromEntries([...holders].map(([node, { size }]) => [node, size]));
  const all = () => [...holders.values()].reduce((sum, { size }) => sum + size, 0);
  const standby = () => [...holders].find(([, { size }]) => size > 0)?.[0];
  return {
    ...l,
    l,
    clock,
    wire,
    places,
    holders,
    copies,
    invite,
    server,
    answer,
    session: session!,
    held,
    all,
    standby,
  };
}

async function established(nodes?: string[]) {
  const all = await answered(nodes);
  all.client.ack(all.invite, all.answer);
  await all.l.settle();
  all.server.request("ACK");
  all.clock.advance(5);
  return all;
}

type Established = Awaited<ReturnType<typeof established>>;
const copyOf = ({ holders, standby }: Established) => holders.get(standby()!)!.take(SELF).copies[0]!;

describe("a session's copy at another node (P3)", () => {
  it("is there a few milliseconds after the app server has answered, with the 2xx that waits for its ACK", async () => {
    const e = await answered();
    expect([e.all(), e.copies.size, e.copies.lagMs]).toEqual([1, 1, 0]);
    const copy = copyOf(e);
    expect(JSON.parse(copy.state)).toMatchObject({ chart: { value: "answered" }, answer: { seq: 1 } });
  });

  it("is at one node alone, and the session as it is", async () => {
    const e = await established();
    expect(Object.values(e.held()).sort()).toEqual([0, 1]);
    const copy = copyOf(e);
    expect(copy.session).toBe(e.session.id);
    const read = checkSessionState(JSON.parse(copy.state));
    expect(read).toEqual({ ok: true, value: JSON.parse(JSON.stringify(snapshot(e.session))) });
    expect(copy.offsetMs).toBe(e.session.now() - e.clock.monotonic());
  });

  it("is enough to go on with", async () => {
    const e = await established();
    const state = JSON.parse(copyOf(e).state);
    e.session.release();
    goOn(restore(e.core, state), state);
    e.client.inDialog("MESSAGE", e.invite, e.answer, 10, { body: "hello", type: "text/plain" });
    const passed = e.server.request("MESSAGE");
    expect(passed.cseq!.number).toBe(1_002);
    e.server.answer(passed, 200);
    expect(e.client.response(200).cseq!.number).toBe(10);
  });

  it("is enough to go on with where no ACK has come yet: the 2xx is sent again, as it was", async () => {
    const e = await answered();
    const state = JSON.parse(copyOf(e).state);
    e.session.release();
    goOn(restore(e.core, state), state);
    const again = e.client.response(200);
    expect(again.headers.get("via")).toBe(e.answer.headers.get("via"));
    for (const name of ["from", "to", "call-id", "cseq", "contact"])
      expect(again.headers.get(name)).toBe(e.answer.headers.get(name));
    e.client.ack(e.invite, again);
    e.server.request("ACK");
    expect([e.client.inbox, e.server.inbox]).toEqual([[], []]);
  });

  it("follows what changes, and takes the last state where there are many in 5 ms", async () => {
    const e = await established();
    const before = e.wire.told.length;
    for (let i = 0; i < 10; i++) e.copies.changed(e.session);
    e.clock.advance(5);
    expect(e.wire.told.slice(before).map(({ topic }) => topic)).toEqual([`copies-${e.standby()}`, "acks-node00"]);
    expect(e.all()).toBe(1);
  });

  it("is gone a few milliseconds after the session", async () => {
    const e = await established();
    e.client.inDialog("BYE", e.invite, e.answer, 2);
    e.server.answer(e.server.request("BYE"), 200);
    await e.l.settle();
    e.clock.advance(5);
    expect([e.all(), e.copies.size]).toEqual([0, 0]);
  });

  it("moves to another node when its own is gone", async () => {
    const e = await established();
    const first = e.standby()!;
    e.places.splice(0, 2, ...e.places.filter(({ node }) => node !== first));
    e.holders.get(first)!.forget(SELF.node);
    e.copies.gone(first);
    e.clock.advance(5);
    expect([e.held()[first], e.all()]).toEqual([0, 1]);
  });

  it("that came late does not stay when the session goes on elsewhere (rtpengine#2007: the deleted call comes back)", async () => {
    const e = await established(["node01"]);
    const late = e.wire.told.findLast(({ topic }) => topic === "copies-node01")!;
    const holder = e.holders.get("node01")!;
    expect(holder.take(SELF).copies).toHaveLength(1); // node01 has called this node dead, and taken it up
    e.wire.of(SELF.node).tell(late.topic, late.text);
    expect(holder.size).toBe(1);
    e.session.release();
    e.copies.takenElsewhere([e.session.id], ["node01"]);
    e.clock.advance(5);
    expect([holder.size, e.copies.size]).toEqual([0, 0]);
  });

  it("is made when the first other node comes", async () => {
    const e = await established([]);
    expect([e.copies.size, e.copies.withoutStandby]).toEqual([0, 1]);
    e.holders.set("node09", holderOf("node09", e.wire, e.clock));
    e.places.push({ node: "node09", zone: "" });
    e.copies.joined();
    e.clock.advance(5);
    expect([e.held(), e.copies.withoutStandby]).toEqual([{ node09: 1 }, 0]);
  });

  it("is sent again when it was lost on its way, and so is its end", async () => {
    const e = await answered(["node01"]);
    e.holders.get("node01")!.forget(SELF.node);
    e.wire.lost.add("copies-node01");
    e.copies.changed(e.session);
    e.clock.advance(500);
    expect([e.all(), e.copies.lagMs]).toEqual([0, 500]);
    e.wire.lost.clear();
    e.clock.advance(1_000);
    expect([e.all(), e.copies.lagMs]).toEqual([1, 0]);
    e.client.ack(e.invite, e.answer);
    await e.l.settle();
    e.clock.advance(5);
    e.wire.lost.add("copies-node01");
    e.client.inDialog("BYE", e.invite, e.answer, 2);
    e.server.request("ACK");
    e.server.answer(e.server.request("BYE"), 200);
    await e.l.settle();
    e.clock.advance(100);
    expect(e.all()).toBe(1);
    e.wire.lost.clear();
    e.clock.advance(1_500);
    expect(e.all()).toBe(0);
  });

  it("is sent again when the answer was lost: once is as good as twice", async () => {
    const e = await answered(["node01"]);
    e.wire.lost.add("acks-node00");
    e.clock.advance(3_000);
    expect([e.all(), e.copies.size]).toEqual([1, 1]);
    e.wire.lost.clear();
    e.clock.advance(1_500);
    expect([e.all(), e.copies.lagMs]).toEqual([1, 0]);
  });

  it("leaves no timer when the node ends", async () => {
    const e = await established();
    const before = e.clock.armed;
    e.copies.changed(e.session);
    e.copies.stop();
    e.copies.changed(e.session);
    expect(e.clock.armed).toBe(before - 1);
  });
});

describe("what a node keeps for others (P3)", () => {
  const parts = () => {
    const clock = new TestClock();
    const wire = new Wire();
    return { clock, wire, holder: holderOf("node01", wire, clock), owner: wire.of("node00") };
  };
  const ID = "0mk000000-node00-abcdef0123456789";

  it("of each of the owner's runs lies apart; an earlier run adds nothing any more", () => {
    const { holder, owner } = parts();
    owner.tell("copies-node01", `1 node00 7 1\n+ ${ID}1 0 {}\n+ ${ID}2 0 {}`);
    expect(holder.size).toBe(2);
    owner.tell("copies-node01", `1 node00 8 1\n+ ${ID}3 0 {}`);
    owner.tell("copies-node01", `1 node00 7 2\n+ ${ID}4 0 {}`); // late
    expect(holder.size).toBe(3);
    const earlier = holder.take({ node: "node00", epoch: 7 }).copies;
    expect(earlier.map(({ session }) => session)).toEqual([`${ID}1`, `${ID}2`]);
    expect(holder.take({ node: "node00", epoch: 8 }).copies.map(({ session }) => session)).toEqual([`${ID}3`]);
    expect(holder.size).toBe(0);
  });

  it("is answered for by frame; what cannot be read is neither kept nor answered for", () => {
    const { holder, owner, wire } = parts();
    for (const text of [
      "",
      "2 node00 7 1\n",
      "1 ../../ 7 1\n",
      "1 node00 -7 1\n",
      `1 node00 7 1\n+ ${ID} 0 []`,
      `1 node00 7 1\n+ ${ID} x {}`,
      `1 node00 7 1\n+ ${ID} 0 {}\nrubbish`,
      "1 node00 7 1\n+ ../../etc/passwd 0 {}",
      `1 node00 7 1\n- ${"a".repeat(200)}`,
    ])
      owner.tell("copies-node01", text);
    expect(holder.size).toBe(0);
    expect(wire.told.filter(({ topic }) => topic === "acks-node00")).toEqual([]);
    owner.tell("copies-node01", `1 node00 7 4\n+ ${ID} 12 {"a":1}`);
    expect(wire.told.at(-1)).toEqual({ topic: "acks-node00", text: "1 node01 7 4" });
    expect(holder.take({ node: "node00", epoch: 7 }).copies).toEqual([
      { session: ID, state: '{"a":1}', isSetUp: false, offsetMs: 12 },
    ]);
  });

  it("counts each session once, however often it is sent, and forgets a node whole", () => {
    const { holder, owner } = parts();
    for (let i = 1; i < 5; i++) owner.tell("copies-node01", `1 node00 7 ${i}\n+ ${ID} 0 {}`);
    owner.tell("copies-node01", `1 node00 7 9\n- ${ID}9`); // not here
    expect(holder.size).toBe(1);
    holder.forget("node00");
    holder.forget("node00");
    expect(holder.size).toBe(0);
  });
});

describe("a session that is given to another node", () => {
  it("has its copy from before taken away where it ends, if it did not arrive there", async () => {
    const { clock, wire, copies, session, standby, all, l } = await established();
    const to = standby()!;
    wire.cut.add(to);
    let lost = 0;
    expect(copies.give(session.id, session.now(), snapshot(session)!, undefined, { lost: () => lost++ })).toBe(true);
    clock.advance(1_500);
    await l.settle();
    expect(lost).toBe(1);
    wire.cut.delete(to);
    copies.closed(session);
    clock.advance(10);
    await l.settle();
    expect(all()).toBe(0);
  });
});
