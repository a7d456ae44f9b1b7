import { beforeEach, describe, expect, it } from "vitest";
import { type Beat, writeBeat } from "../../src/cluster/beat.ts";
import { Members } from "../../src/cluster/members.ts";
import { CUT_OFF_MS, DEAD_MS } from "../../src/cluster/patience.ts";
import { PeerLog } from "../../src/support/peer-log.ts";
import { silent } from "../charging/samples.ts";
import { TestClock } from "../support/test-clock.ts";

const SELF = { node: "node00", epoch: 7 };

let clock: TestClock;
let seen: string[];
let members: Members;
const numbers = new Map<string, number>();

beforeEach(() => {
  clock = new TestClock();
  seen = [];
  numbers.clear();
  members = membersOf(clock, seen);
});

const membersOf = (clock: TestClock, seen: string[]) =>
  new Members({
    self: SELF,
    clock,
    log: silent,
    peerLog: new PeerLog({ log: silent, clock }),
    listener: {
      joined: ({ node, epoch }) => void seen.push(`joined ${node} ${epoch}`),
      died: ({ node, epoch }) => void seen.push(`died ${node} ${epoch}`),
      restarted: ({ node, epoch }) => void seen.push(`restarted ${node} ${epoch}`),
      left: ({ node, epoch }) => void seen.push(`left ${node} ${epoch}`),
      together: () => void seen.push("together"),
    },
  });

function beatOf(node: string, more: Partial<Beat> = {}): Beat {
  const number = (numbers.get(node) ?? 0) + 1;
  numbers.set(node, number);
  const epoch = node === SELF.node ? SELF.epoch : 1;
  const rest = {
    host: "a",
    zone: "",
    release: "1.0.0",
    state: "up",
    sessions: 0,
    requests: 0,
    standbys: 0,
    lagMs: 0,
    busy: 0,
  } as const;
  return { version: 1, node, epoch, number, ...rest, ...more };
}

function hear(node: string): void {
  const beat = beatOf(node);
  if (node === SELF.node) members.says(beat.number);
  members.heard(writeBeat(beat));
}

/** Time goes by in beats of 100 ms, each heard from these nodes. */
function pass(ms: number, ...nodes: string[]): void {
  for (let passed = 0; passed < ms; passed += 100) {
    clock.advance(100);
    for (const node of nodes) hear(node);
    members.look();
  }
}

const states = () => Object.fromEntries(members.views().map(({ node, state }) => [node, state]));

describe("the nodes of a cluster (P3)", () => {
  it("are there as soon as they are heard, with what they say of themselves", () => {
    pass(100, SELF.node);
    members.heard(writeBeat(beatOf("node01", { zone: "fra", sessions: 12, busy: 40 })));
    clock.advance(30);
    expect(members.views()).toEqual([
      expect.objectContaining({ node: "node00", self: true, state: "up", heardMsAgo: 30 }),
      expect.objectContaining({ node: "node01", self: false, state: "up", zone: "fra", sessions: 12, busy: 40 }),
    ]);
    expect([members.up, seen]).toEqual([2, ["joined node01 1"]]);
  });

  it("are dead when they are not heard for half a second, without any message", () => {
    pass(200, SELF.node, "node01");
    pass(DEAD_MS - 50, SELF.node);
    expect(states()).toEqual({ node00: "up", node01: "up" });
    pass(100, SELF.node);
    expect(states()).toEqual({ node00: "up", node01: "dead" });
    expect([members.up, seen]).toEqual([1, ["joined node01 1", "died node01 1"]]);
  });

  it("are told to be dead once, and are there again when they are heard again", () => {
    pass(100, SELF.node, "node01");
    pass(2_000, SELF.node);
    pass(100, SELF.node, "node01");
    expect(seen).toEqual(["joined node01 1", "died node01 1", "joined node01 1"]);
  });

  it("are not dead when they said that they leave, however long they are silent", () => {
    pass(100, SELF.node, "node01");
    members.heard(writeBeat(beatOf("node01", { state: "leaving" })));
    pass(5_000, SELF.node);
    expect([states(), seen]).toEqual([{ node00: "up", node01: "left" }, ["joined node01 1", "left node01 1"]]);
  });

  it("are told apart that are heard straight, and not over NATS", () => {
    pass(200, SELF.node, "node01", "node02");
    const from = "192.0.2.1";
    for (let i = 0; i < 4; i++) {
      pass(100, SELF.node, "node02");
      members.heardDirectly(writeBeat(beatOf("node01")), { heard: 1, deaths: 0, from, isSigned: true });
    }
    expect([members.withoutNats(), members.others(), seen]).toEqual([
      ["node01"],
      ["node01", "node02"],
      ["joined node01 1", "joined node02 1"],
    ]);
    // Where both ways work, the slower one counts as well.
    const beat = writeBeat(beatOf("node01"));
    members.heardDirectly(beat, { heard: 1, deaths: 0, from, isSigned: true });
    members.heard(beat);
    expect(members.withoutNats()).toEqual([]);
  });

  it("show that they drain", () => {
    pass(100, SELF.node);
    members.heard(writeBeat(beatOf("node01", { state: "draining" })));
    expect(states()).toEqual({ node00: "up", node01: "draining" });
  });

  it("go on with what they have on disk when they come back with a later epoch before anybody missed them", () => {
    pass(100, SELF.node, "node01");
    members.heard(writeBeat(beatOf("node01", { epoch: 2, number: 1 })));
    expect(seen).toEqual(["joined node01 1", "restarted node01 1", "joined node01 2"]);
  });

  it("are not called dead by a node that does not hear itself: it is the one that is cut off", () => {
    pass(200, SELF.node, "node01");
    pass(3_000);
    expect([members.cutOff, states(), seen]).toEqual([true, { node00: "up", node01: "unheard" }, ["joined node01 1"]]);
  });

  it("get the whole time again once that node hears itself", () => {
    pass(200, SELF.node, "node01");
    pass(3_000);
    pass(DEAD_MS - 50, SELF.node);
    expect(seen).toEqual(["joined node01 1", "together"]);
    pass(200, SELF.node);
    expect(seen).toEqual(["joined node01 1", "together", "died node01 1"]);
  });

  it("are not called dead by a node that was stopped for a while and goes on", () => {
    pass(200, SELF.node, "node01");
    clock.advance(60_000); // SIGSTOP: neither timers nor messages
    members.look();
    pass(100, SELF.node, "node01");
    expect([states(), seen]).toEqual([{ node00: "up", node01: "up" }, ["joined node01 1", "together"]]);
  });

  it("are not called dead by a node whose event loop stood still for a moment: their beats may wait to be read", () => {
    pass(200, SELF.node, "node01");
    clock.advance(180);
    pass(400, SELF.node);
    expect(seen).toEqual(["joined node01 1"]);
    pass(200, SELF.node);
    expect(seen).toEqual(["joined node01 1", "died node01 1"]);
  });

  it("cannot call this node dead for a while after a beat was said that has come back", () => {
    expect(members.safeUntil).toBe(Number.POSITIVE_INFINITY);
    pass(100, SELF.node);
    expect(members.safeUntil).toBe(Number.POSITIVE_INFINITY); // there is nobody else
    pass(100, "node01");
    const said = beatOf(SELF.node);
    const saidAt = clock.monotonic();
    members.says(said.number);
    clock.advance(150);
    members.heard(writeBeat(said));
    expect(members.safeUntil).toBe(saidAt + CUT_OFF_MS);
    members.heard(writeBeat(beatOf("node01", { state: "leaving" })));
    expect(members.safeUntil).toBe(Number.POSITIVE_INFINITY);
  });

  it("cannot call this node dead where all that is heard of their new run is that it leaves", () => {
    pass(200, SELF.node, "node01");
    expect(members.safeUntil).toBeLessThan(Number.POSITIVE_INFINITY);
    members.heard(writeBeat(beatOf("node01", { epoch: 2, state: "leaving" })));
    expect([states(), members.safeUntil]).toEqual([{ node00: "up", node01: "left" }, Number.POSITIVE_INFINITY]);
  });

  it("know that they are cut off before others call them dead", () => {
    expect(CUT_OFF_MS).toBeLessThan(DEAD_MS);
    pass(100, SELF.node);
    clock.advance(CUT_OFF_MS - 1);
    expect(members.cutOff).toBe(false);
    clock.advance(1);
    expect(members.cutOff).toBe(true);
  });
});

describe("beats that nobody should believe", () => {
  it("that are sent again bring no dead node back", () => {
    const old = writeBeat(beatOf("node01"));
    pass(100, SELF.node);
    members.heard(old);
    pass(100, SELF.node, "node01");
    pass(1_000, SELF.node);
    members.heard(old);
    expect(states()).toEqual({ node00: "up", node01: "dead" });
  });

  it("of an earlier run of this node do not count as its own", () => {
    members.heard(writeBeat(beatOf(SELF.node, { epoch: SELF.epoch - 1 })));
    expect(members.cutOff).toBe(true);
    members.heard(writeBeat(beatOf(SELF.node, { epoch: SELF.epoch + 1 }))); // a copied data folder
    expect(members.cutOff).toBe(true);
  });

  it.each([
    ["no JSON", "{"],
    ["no object", "7"],
    ["another version", JSON.stringify({ ...beatOf("node01"), version: 2 })],
    ["a name that is none", JSON.stringify(beatOf("../../etc"))],
    ["half a number", JSON.stringify(beatOf("node01", { sessions: 1.5 }))],
    ["less than nothing", JSON.stringify(beatOf("node01", { epoch: -1 }))],
    ["control characters", JSON.stringify(beatOf("node01", { host: "a\u001b[2J" }))],
    ["too much", JSON.stringify({ ...beatOf("node01"), more: "x".repeat(5_000) })],
    ["too deep", JSON.stringify({ ...beatOf("node01"), more: [[[[]]]] })],
  ])("with %s are not heard", (_, text) => {
    members.heard(text);
    expect(members.views()).toEqual([]);
  });

  it("with fields of a later version are heard without these", () => {
    members.heard(JSON.stringify({ ...beatOf("node01"), colour: "red" }));
    expect(members.views()[0]).not.toHaveProperty("colour");
  });

  it("of any number of nodes take no more room than that of 256; those that are gone make room", () => {
    const name = (i: number) => i.toString(36).padStart(6, "x");
    pass(100, SELF.node);
    for (let i = 0; i < 400; i++) members.heard(writeBeat(beatOf(name(i))));
    expect(members.up).toBe(256);
    for (let i = 0; i < 10; i++) pass(100, SELF.node);
    members.heard(writeBeat(beatOf("late00")));
    expect([members.up, states().late00]).toEqual([2, "up"]);
  });

  it("of nodes that are gone are shown for an hour", () => {
    pass(100, SELF.node, "node01");
    pass(600, SELF.node);
    clock.advance(3_500_000);
    pass(100, SELF.node);
    expect(states()).toEqual({ node00: "up", node01: "dead" });
    clock.advance(200_000);
    pass(100, SELF.node);
    expect(states()).toEqual({ node00: "up" });
  });
});
