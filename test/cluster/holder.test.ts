import { describe, expect, it } from "vitest";
import { acksTopic, copiesTopic, eventLine, goneLine, headOf, putLine } from "../../src/cluster/frames.ts";
import { Holder } from "../../src/cluster/holder.ts";
import { PeerLog } from "../../src/support/peer-log.ts";
import { silent } from "../charging/samples.ts";
import { TestClock } from "../support/test-clock.ts";
import { Wire } from "./wire.ts";

const OWNER = "node00";
const [BEFORE, AGAIN] = [
  { node: OWNER, epoch: 1 },
  { node: OWNER, epoch: 2 },
];

function setUp() {
  const [clock, wire] = [new TestClock(), new Wire()];
  const holder = new Holder({
    node: "node01",
    bus: wire.of("node01"),
    clock,
    peerLog: new PeerLog({ log: silent, clock }),
  });
  holder.start();
  const acks: string[] = [];
  wire.of(OWNER).hear(acksTopic(OWNER), (text) => void acks.push(text));
  const frames = new Map<number, number>();
  const tells = (epoch: number, ...lines: string[]) => {
    const number = (frames.get(epoch) ?? 0) + 1;
    frames.set(epoch, number);
    wire.of(OWNER).tell(copiesTopic("node01"), headOf(OWNER, epoch, number) + lines.join(""));
  };
  return { holder, tells, acks };
}

const session = (name: string) => `0mk000000-node00-${name}`;
const event = (id: string) => ({ type: "charge.made", id });
const ids = (events: readonly string[]) => events.map((text) => JSON.parse(text).id);

describe("what a node has left that is started again at once (P3)", () => {
  it("is there until it is asked for, also if the new run sends copies before that", () => {
    const { holder, tells, acks } = setUp();
    tells(1, putLine(session("a"), 1_000, { a: 1 }), eventLine(event("e1")));
    tells(2, putLine(session("b"), 1_000, { b: 1 }), eventLine(event("e2")));
    expect(acks).toHaveLength(2);
    expect([holder.runOf(OWNER), holder.has(BEFORE), holder.has(AGAIN), holder.size]).toEqual([BEFORE, true, true, 2]);
    expect([holder.sessionsOf(BEFORE), holder.sessionsOf(AGAIN)]).toEqual([[session("a")], [session("b")]]);
    const left = holder.take(BEFORE);
    expect([left.copies.map((copy) => copy.session), ids(left.events)]).toEqual([[session("a")], ["e1"]]);
    expect([holder.runOf(OWNER), holder.has(BEFORE), holder.size]).toEqual([AGAIN, false, 1]);
    const later = holder.take(AGAIN);
    expect([later.copies.map((copy) => copy.session), ids(later.events)]).toEqual([[session("b")], ["e2"]]);
    expect([holder.size, holder.nodes()]).toEqual([0, []]);
  });

  it("is there also after a third start, of every run, the oldest first", () => {
    const { holder, tells } = setUp();
    for (const epoch of [1, 2, 3]) tells(epoch, eventLine(event(`e${epoch}`)));
    for (const epoch of [1, 2, 3]) {
      expect(holder.runOf(OWNER)).toEqual({ node: OWNER, epoch });
      expect(ids(holder.take({ node: OWNER, epoch }).events)).toEqual([`e${epoch}`]);
    }
    expect(holder.runOf(OWNER)).toBeUndefined();
  });

  it("goes with a later run that is taken: nobody asks for it any more", () => {
    const { holder, tells } = setUp();
    for (const epoch of [1, 2]) tells(epoch, putLine(session(`${epoch}`), 1_000, {}), eventLine(event(`e${epoch}`)));
    const left = holder.take(AGAIN);
    expect([left.copies.length, ids(left.events).sort(), holder.size]).toEqual([1, ["e1", "e2"], 0]);
  });

  it("is not changed by what the new run says of its own, and takes nothing of the old one any more", () => {
    const { holder, tells, acks } = setUp();
    tells(1, putLine(session("a"), 1_000, {}));
    tells(2, goneLine(session("a")));
    tells(1, putLine(session("late"), 1_000, {}));
    expect(acks).toHaveLength(2);
    expect(holder.sessionsOf(BEFORE)).toEqual([session("a")]);
  });

  it("is forgotten with the node", () => {
    const { holder, tells } = setUp();
    for (const epoch of [1, 2]) tells(epoch, putLine(session("a"), 1_000, {}), eventLine(event("e")));
    holder.forget(OWNER);
    expect([holder.size, holder.runOf(OWNER), holder.take(BEFORE).events, holder.take(AGAIN).events]).toEqual([
      0,
      undefined,
      [],
      [],
    ]);
  });

  it("is of few runs: a node that starts again and again leaves no more than that", () => {
    const { holder, tells } = setUp();
    for (let epoch = 1; epoch <= 50; epoch++) tells(epoch, putLine(session(`s${epoch}`), 1_000, {}));
    expect(holder.size).toBeLessThanOrEqual(8);
    expect(holder.has({ node: OWNER, epoch: 50 })).toBe(true);
  });
});
