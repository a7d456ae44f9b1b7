import { beforeEach, describe, expect, it } from "vitest";
import { Heart, type Load } from "../../src/cluster/heart.ts";
import { Members } from "../../src/cluster/members.ts";
import { PeerLog } from "../../src/support/peer-log.ts";
import { silent } from "../charging/samples.ts";
import { TestClock } from "../support/test-clock.ts";
import { Wire } from "./wire.ts";

let clock: TestClock;
let wire: Wire;
beforeEach(() => {
  clock = new TestClock();
  wire = new Wire();
});

function nodeOf(node: string, epoch = 1, renew: () => boolean = () => false) {
  const log = silent;
  const members = new Members({ self: { node, epoch }, clock, log, peerLog: new PeerLog({ log, clock }) });
  const load: { -readonly [K in keyof Load]: Load[K] } = {
    state: "up",
    sessions: 0,
    requests: 0,
    standbys: 0,
    lagMs: 0,
    busy: 0,
  };
  const identity = { node, epoch, host: "a", zone: "", release: "1.0.0" };
  const heart = new Heart({ bus: { ...wire.of(node), renew }, clock, identity, load: () => load, members });
  heart.start();
  return { heart, members, load, states: () => members.views().map(({ state }) => state) };
}

describe("beats (P3)", () => {
  it("tell all nodes of each other, and what each has now", () => {
    const [one, two] = [nodeOf("node01"), nodeOf("node02")];
    one.load.sessions = 3;
    clock.advance(100);
    expect([one.states(), two.states()]).toEqual([
      ["up", "up"],
      ["up", "up"],
    ]);
    expect(two.members.views()[0]).toMatchObject({ node: "node01", sessions: 3 });
  });

  it("tell within 600 ms that a node is gone that said nothing", () => {
    const [one, two] = [nodeOf("node01"), nodeOf("node02")];
    clock.advance(1_000);
    wire.cut.add("node02");
    clock.advance(600);
    expect(one.states()).toEqual(["up", "dead"]);
    expect([two.states(), two.members.cutOff]).toEqual([["unheard", "up"], true]);
    wire.cut.delete("node02");
    clock.advance(100);
    expect([one.states(), two.states()]).toEqual([
      ["up", "up"],
      ["up", "up"],
    ]);
  });

  it("that do not come back over a connection which seems to be there have it given up, ever less often", () => {
    const renewed: number[] = [];
    const two = nodeOf("node02", 1, () => renewed.push(clock.monotonic()) > 0);
    clock.advance(1_000);
    expect(renewed).toEqual([]);
    wire.lost.add("beats"); // told, and nothing arrives
    const lostAt = clock.monotonic();
    clock.advance(120_000);
    const after = renewed.map((at, i) => Math.round((at - (renewed[i - 1] ?? lostAt)) / 1_000));
    expect(after.slice(0, 5)).toEqual([3, 6, 12, 24, 48]);
    expect(two.heart.renewed).toBe(renewed.length);
    // Heard again: the next time it is as the first time.
    wire.lost.clear();
    clock.advance(500);
    wire.lost.add("beats");
    renewed.length = 0;
    clock.advance(5_000);
    expect(renewed).toHaveLength(1);
    // A bus that says itself that it is not connected is left alone.
    wire.lost.clear();
    clock.advance(500);
    wire.cut.add("node02");
    renewed.length = 0;
    clock.advance(60_000);
    expect(renewed).toEqual([]);
  });

  it("that come late, as on a machine that is too slow, are no reason to give the connection up", () => {
    const one = nodeOf("node01");
    let renewed = 0;
    nodeOf("node02", 1, () => ++renewed > 0);
    clock.advance(1_000);
    const { tell } = wire.of("node01");
    wire.lost.add("beats");
    for (let i = 0; i < 10; i++) {
      clock.advance(2_000);
      // A beat of another node that has waited for seconds.
      wire.lost.clear();
      tell("beats", wire.told.filter(({ text }) => text.includes("node01")).at(-1)!.text);
      wire.lost.add("beats");
    }
    expect([renewed, one.heart.renewed]).toEqual([0, 0]);
    clock.advance(10_000);
    expect(renewed).toBeGreaterThan(0);
  });

  it("end with one that says that the node leaves; no timer is left", () => {
    const [one, two] = [nodeOf("node01"), nodeOf("node02")];
    clock.advance(100);
    two.heart.stop();
    two.heart.stop();
    expect(one.states()).toEqual(["up", "left"]);
    one.heart.stop();
    expect(clock.armed).toBe(0);
  });
});
