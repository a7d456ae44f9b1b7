import { describe, expect, it } from "vitest";
import { Guesses } from "../../src/directory/guesses.ts";
import type { ThrottleSettings } from "../../src/directory/throttle.ts";
import { Bindings } from "../../src/registrar/bindings.ts";
import { Admission } from "../../src/relay/admission/admission.ts";
import { UserLoads } from "../../src/relay/admission/user-loads.ts";
import { SharedNodes } from "./shared-nodes.ts";

const SETTINGS: ThrottleSettings = { failures: 5, windowS: 60, delayS: 2, maxDelayS: 300, sources: 1_000 };
const SOURCE = "192.0.2.7";

function setUp(count: number, settings = SETTINGS) {
  const nodes = new SharedNodes();
  const { clock } = nodes;
  const node = (name: string) => {
    const shared = nodes.make(name);
    const guesses = new Guesses(settings, shared.lockOuts.elsewhere);
    shared.lockOuts.attach(guesses);
    shared.start();
    let tries = 0;
    const waitMs = (user: string, source = SOURCE, port = 0) => guesses.waitMs(user, source, clock.monotonic(), port);
    /** True: it was looked at. */
    const guess = (user: string, source = SOURCE, port = 0): boolean => {
      if (waitMs(user, source, port) > 0) return false;
      guesses.failed(user, source, clock.monotonic(), `${name} ${++tries}`, port);
      return true;
    };
    const lockOuts = () => guesses.lockOuts(clock.monotonic());
    return { name, shared, guesses, guess, waitMs, lockOuts };
  };
  const all = Array.from({ length: count }, (_, i) => node(`node0${i}`));
  clock.advance(100);
  return { nodes, clock, node, all };
}

describe("failed sign-ins over several nodes (M2)", () => {
  it("count in sum: five guesses, wherever they come, begin a wait at all nodes", () => {
    const { all, clock } = setUp(3);
    let looked = 0;
    for (let i = 0; i < 30; i++) {
      if (all[i % 3]!.guess("alice")) looked++;
      clock.advance(20);
    }
    expect(looked).toBe(5);
    for (const { waitMs, lockOuts } of all) {
      expect(waitMs("alice")).toBeGreaterThan(0);
      expect(waitMs("bob")).toBe(0);
      expect(lockOuts()).toMatchObject([{ user: "alice", source: SOURCE, failures: 5 }]);
    }
  });

  it.each([
    ["one source, one user", 3_600, (): [string, string] => ["alice", SOURCE]],
    ["one source, many users", 600, (i: number): [string, string] => [`user ${i}`, SOURCE]],
  ])(
    "are as many over time as at one node, also where all nodes are tried in the same moment: %s",
    (_, seconds, at) => {
      const guesses = (count: number) => {
        const { all, clock } = setUp(count);
        let looked = 0;
        for (let i = 0; i < seconds * 10; i++) {
          for (const { guess } of all) if (guess(...at(i))) looked++;
          clock.advance(100);
        }
        return looked;
      };
      const alone = guesses(1);
      const three = guesses(3);
      // The first burst is free at each node: so much more there may be, once.
      expect(three).toBeLessThanOrEqual(1.1 * alone + 2 * SETTINGS.failures);
    },
  );

  it("use up together what is checked in a wait", () => {
    const { all, clock } = setUp(3);
    const looks = (nodes: typeof all) => {
      let looked = 0;
      let port = 1_024;
      for (let i = 0; i < 600; i++) {
        for (const { guess } of nodes) if (guess("alice", "192.0.2.9", ++port)) looked++;
        clock.advance(500);
      }
      return looked;
    };
    const three = looks(all);
    const alone = setUp(1);
    let one = 0;
    let port = 1_024;
    for (let i = 0; i < 600; i++) {
      if (alone.all[0]!.guess("alice", "192.0.2.9", ++port)) one++;
      alone.clock.advance(500);
    }
    expect(three).toBeLessThanOrEqual(1.1 * one + 2 * SETTINGS.failures);
  });

  it("do not hold off a user who is known there, wherever that was", () => {
    const { all, clock } = setUp(2);
    all[0]!.guesses.succeeded("alice", SOURCE, clock.monotonic(), 5060);
    clock.advance(20);
    for (let i = 0; i < 8; i++) {
      all[0]!.guess("alice", SOURCE, 1);
      clock.advance(20);
    }
    expect(all[1]!.waitMs("alice", SOURCE, 5060)).toBe(0);
    expect(all[1]!.waitMs("alice", SOURCE, 1)).toBeGreaterThan(0);
  });

  it("are lifted at all nodes by one command", () => {
    const { all, clock } = setUp(3);
    for (let i = 0; i < 5; i++) for (const user of ["alice", "bob"]) all[0]!.guess(user);
    clock.advance(20);
    expect(all[1]!.guesses.lift({ user: "alice" }, clock.monotonic())).toBe(1);
    clock.advance(20);
    for (const { lockOuts } of all) expect(lockOuts().map(({ user }) => user)).toEqual(["bob"]);
    all[2]!.guesses.lift({}, clock.monotonic());
    clock.advance(20);
    for (const { lockOuts } of all) expect(lockOuts()).toEqual([]);
  });

  it("are known to a node that comes anew, and so is who is known where", () => {
    const { all, clock, node } = setUp(2);
    for (let i = 0; i < 7; i++) {
      for (let k = 0; k < 5; k++) all[0]!.guess("alice");
      clock.advance(all[0]!.waitMs("alice"));
    }
    all[0]!.guess("alice");
    all[0]!.guess("bob");
    all[1]!.guesses.succeeded("carol", SOURCE, clock.monotonic(), 5060);
    const waitMs = all[0]!.waitMs("alice");
    expect(waitMs).toBeGreaterThan(60_000);
    const late = node("node09");
    clock.advance(200);
    expect(Math.abs(late.waitMs("alice") - (waitMs - 200))).toBeLessThan(50);
    const shown = ({ lockOuts }: (typeof all)[0]) => lockOuts().map(({ waitMs: _, ...rest }) => rest);
    expect(shown(late)).toEqual(shown(all[0]!));
    for (let i = 0; i < 4; i++) late.guess("bob");
    expect(late.waitMs("bob")).toBeGreaterThan(0); // one of the five was elsewhere
    for (let i = 0; i < 5; i++) late.guess("carol", SOURCE, 7);
    expect(late.waitMs("carol", SOURCE, 5060)).toBe(0);
  });

  it("that were missed while the bus was away come afterwards, and nothing is counted twice", () => {
    const { all, clock, nodes } = setUp(2);
    nodes.wire.cut.add("node01");
    nodes.heardSince.set("node01", undefined);
    for (let i = 0; i < 5; i++) all[0]!.guess("alice");
    clock.advance(500);
    expect(all[1]!.waitMs("alice")).toBe(0);
    nodes.wire.cut.clear();
    nodes.heardSince.set("node01", clock.monotonic());
    clock.advance(200);
    expect(Math.abs(all[1]!.waitMs("alice") - all[0]!.waitMs("alice"))).toBeLessThan(50);
    expect(all[0]!.lockOuts()).toMatchObject([{ failures: 5 }]);
  });

  it("tell no passwords, and take no nonsense", () => {
    const { all, clock, nodes } = setUp(2);
    all[0]!.guesses.failed("alice", SOURCE, clock.monotonic(), "what was tried");
    clock.advance(20);
    expect(nodes.wire.told.map(({ text }) => text).join()).not.toContain("tried");
    const lines = [
      ["failed", 5, SOURCE, 1, 1],
      ["failed", "alice", "x".repeat(900), 1, 1],
      ["failed", "alice", SOURCE, 70_000, 1],
      ["used", "everything", SOURCE],
      ["known", "alice", SOURCE, -1],
      ["lift", 1, 5, 0, ""],
      ["failures", "constructor", "alice", 5, 5, 5],
      ["failures", "pair", "alice", 5, 5, 5],
      ["failures", "user", "alice", 5, 5, Number.MAX_SAFE_INTEGER],
      ["place", "alice", SOURCE, 5, -1],
    ];
    nodes.wire.of("node01").tell("shared", `1 node01 1\n${JSON.stringify(lines)}`);
    expect(all[0]!.lockOuts()).toEqual([]);
    expect(all[0]!.waitMs("alice")).toBe(0);
  });
});

describe("an address that has shown that it is not forged", () => {
  it("has shown it to all nodes, also to one that comes later", () => {
    const nodes = new SharedNodes();
    const { clock } = nodes;
    const node = (name: string) => {
      const shared = nodes.make(name);
      const limits = { perSourcePerSecond: 1_000, perUnprovenSourcePerSecond: 200 };
      const admission = new Admission(clock, 1_000, 200, shared.admission(limits));
      shared.attach({
        authenticator: {
          authenticate: () => ({}) as never,
          challengesFor: () => undefined,
          names: () => true,
          idIn: ({ user = "" }) => user,
        },
        admission,
        loads: new UserLoads({ ringing: 0, sessions: 0 }),
        bindings: new Bindings({ perUser: 10, all: 10 }),
        calls: { cameAgain() {}, checkedHere: undefined },
      });
      shared.start();
      return admission;
    };
    const source = { transport: "udp", remoteAddress: SOURCE, remotePort: 5060, secure: false } as const;
    const [one, two] = [node("node00"), node("node01")];
    clock.advance(100);
    expect(two.reaches(source)).toBe(false);
    one.prove(source);
    clock.advance(20);
    expect(two.reaches(source)).toBe(true);
    const late = node("node02");
    clock.advance(200);
    expect(late.reaches(source)).toBe(true);
    clock.advance(3_600_000);
    for (const admission of [one, two, late]) expect(admission.reaches(source)).toBe(false);
  });
});
