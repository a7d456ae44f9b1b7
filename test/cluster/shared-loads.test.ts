import { describe, expect, it } from "vitest";
import type { NodeRun } from "../../src/cluster/beat.ts";
import { Shared } from "../../src/cluster/shared.ts";
import { type UserLimits, UserLoads } from "../../src/relay/admission/user-loads.ts";
import { PeerLog } from "../../src/support/peer-log.ts";
import { numbers, silent } from "../charging/samples.ts";
import { TestClock } from "../support/test-clock.ts";

/** What nodes tell each other takes its time, another for each two of them, and keeps its order between them. */
class SlowWire {
  private readonly ears = new Map<string, Map<string, (text: string) => void>>();
  private readonly arrivals = new Map<string, number>();
  readonly cut = new Set<string>();
  /** How much of what is told is lost. */
  lost = 0;
  told = 0;
  private readonly clock: TestClock;
  private readonly delayMs: () => number;
  private readonly chance: () => number;

  constructor(clock: TestClock, delayMs: () => number, chance: () => number) {
    this.clock = clock;
    this.delayMs = delayMs;
    this.chance = chance;
  }

  of(node: string) {
    return {
      keys: () => [],
      tell: (topic: string, text: string) => {
        if (this.cut.has(node)) return false;
        this.told++;
        for (const [name, heard] of this.ears.get(topic) ?? []) {
          if (this.cut.has(name) || this.chance() < this.lost) continue;
          const way = `${node} ${name}`;
          const at = Math.max(this.arrivals.get(way) ?? 0, this.clock.monotonic() + this.delayMs());
          this.arrivals.set(way, at);
          this.clock.setTimeout(() => {
            if (!this.cut.has(name)) heard(text);
          }, at - this.clock.monotonic());
        }
        return true;
      },
      hear: (topic: string, heard: (text: string) => void) => {
        const all = this.ears.get(topic) ?? new Map<string, (text: string) => void>();
        this.ears.set(topic, all);
        all.set(node, heard);
        return () => void (all.get(node) === heard && all.delete(node));
      },
    };
  }
}

/** Nodes that see each other come and go, some time after it has happened. */
class Nodes {
  readonly clock = new TestClock();
  readonly wire: SlowWire;
  readonly all = new Map<string, Node>();
  private readonly chance: () => number;
  readonly limits: UserLimits;

  constructor(limits: UserLimits, { seed = 1, delayMs = 1 }: { seed?: number; delayMs?: number } = {}) {
    this.limits = limits;
    this.chance = numbers(seed);
    this.wire = new SlowWire(this.clock, () => Math.floor(this.chance() * 2 * delayMs), this.chance);
  }

  start(name: string, epoch = 1): Node {
    const node = new Node(this, { node: name, epoch });
    for (const other of this.all.values()) {
      this.sees(node, other.run, 100);
      this.sees(other, node.run, 100);
    }
    this.all.set(name, node);
    return node;
  }

  /** It is gone with all that it had, and the others notice. */
  kill(name: string): void {
    const node = this.all.get(name)!;
    this.all.delete(name);
    node.shared.stop();
    node.alive = false;
    for (const other of this.all.values())
      this.clock.setTimeout(() => {
        if (other.seen.get(name)?.epoch === node.run.epoch) other.seen.delete(name);
      }, 450);
  }

  private sees(node: Node, run: NodeRun, withinMs: number): void {
    this.clock.setTimeout(
      () => {
        const there = this.all.get(run.node);
        if (node.alive && there?.run.epoch === run.epoch) node.seen.set(run.node, run);
      },
      1 + Math.floor(this.chance() * withinMs),
    );
  }

  /** What that user has at all nodes together. */
  sum(user: string): { ringing: number; total: number } {
    let [ringing, total] = [0, 0];
    for (const { loads } of this.all.values()) {
      ringing += loads.of(user).ringing;
      total += loads.of(user).total;
    }
    return { ringing, total };
  }

  async pass(ms: number): Promise<void> {
    for (let i = 0; i < ms; i++) {
      this.clock.advance(1);
      await Promise.resolve();
    }
    for (let i = 0; i < 10; i++) await Promise.resolve();
  }

  get polls(): number {
    return [...this.all.values()].reduce((sum, { shared }) => sum + shared.loads.polls, 0);
  }
}

class Node {
  alive = true;
  readonly run: NodeRun;
  readonly seen = new Map<string, NodeRun>();
  readonly shared: Shared;
  readonly loads: UserLoads;
  heardSince: number | undefined;
  safeUntil = Number.POSITIVE_INFINITY;

  constructor({ clock, wire, limits }: Nodes, run: NodeRun) {
    this.run = run;
    this.heardSince = clock.monotonic();
    const peers = {
      heardSinceOf: () => this.heardSince,
      get heardSince(): number | undefined {
        return this.heardSinceOf();
      },
      safeUntilOf: () => this.safeUntil,
      get safeUntil(): number {
        return this.safeUntilOf();
      },
      runs: () => [...this.seen.values()],
      runOf: (node: string) => this.seen.get(node),
    };
    const peerLog = new PeerLog({ log: silent, clock });
    this.shared = new Shared({ self: run, bus: wire.of(run.node), clock, peerLog, peers });
    this.loads = new UserLoads(limits, this.shared.loads.keep(limits));
    this.shared.loads.attach(this.loads);
    this.shared.start();
  }

  /** Begins one more; what becomes of it stands in `is`. */
  begin(user: string, own?: number): { is: "waiting" | "begun" | string } {
    const request: { is: string } = { is: "waiting" };
    const begun = this.loads.begin(user, own);
    if (begun instanceof Promise)
      void begun.then((why) => {
        request.is = why ?? "begun";
      });
    else request.is = begun ?? "begun";
    return request;
  }

  answer(user: string): void {
    this.loads.sessionBegan(user);
    this.loads.requestEnded(user);
  }
}

async function setUp(count: number, limits: UserLimits, options?: { seed?: number; delayMs?: number }) {
  const nodes = new Nodes(limits, options);
  const all = Array.from({ length: count }, (_, i) => nodes.start(`node0${i}`));
  await nodes.pass(1_000);
  return { nodes, all };
}

describe("what one user may have, at several nodes together (decision 14)", () => {
  it("costs nothing for a user with few calls, and is decided at once", async () => {
    const { nodes, all } = await setUp(3, { ringing: 100, sessions: 1_000 });
    const told = nodes.wire.told;
    for (const node of all) {
      expect(node.begin("alice").is).toBe("begun");
      node.answer("alice");
    }
    await nodes.pass(1_000);
    expect(nodes.wire.told).toBe(told);
  });

  it("is never more than the limit, also where all nodes are asked in the same moment, and not less either", async () => {
    const { nodes, all } = await setUp(3, { ringing: 10, sessions: 12 });
    const requests = Array.from({ length: 30 }, (_, i) => all[i % 3]!.begin("alice"));
    await nodes.pass(20);
    expect(requests.filter(({ is }) => is === "begun")).toHaveLength(10);
    expect(requests.filter(({ is }) => is !== "begun").map(({ is }) => is)).toContain(
      "10 requests of this user wait for an answer, at all nodes together",
    );
    for (const node of all) while (node.loads.of("alice").ringing > 0) node.answer("alice");
    await nodes.pass(20);
    const more = Array.from({ length: 30 }, (_, i) => all[i % 3]!.begin("alice"));
    await nodes.pass(20);
    expect(more.filter(({ is }) => is === "begun")).toHaveLength(2);
    expect(more.at(-1)!.is).toMatch(/^this user has \d+ sessions/);
    expect(nodes.sum("alice")).toEqual({ ringing: 2, total: 12 });
    all.find(({ loads }) => loads.of("alice").total > loads.of("alice").ringing)!.loads.sessionEnded("alice");
    await nodes.pass(20);
    for (const node of all) node.begin("alice");
    await nodes.pass(20);
    expect(nodes.sum("alice").total).toBe(12);
  });

  it("asks all nodes once about a user, and then the user's home alone", async () => {
    const { nodes, all } = await setUp(3, { ringing: 100, sessions: 1_000 });
    for (let i = 0; i < 90; i++) all[i % 3]!.begin("alice");
    await nodes.pass(20);
    expect(nodes.sum("alice").ringing).toBe(90);
    expect(nodes.polls).toBe(1);
  });

  it("is a single user's own, where that user has one", async () => {
    const { nodes, all } = await setUp(3, { ringing: 0, sessions: 0 });
    const requests = Array.from({ length: 9 }, (_, i) => all[i % 3]!.begin("alice", 2));
    const others = Array.from({ length: 9 }, (_, i) => all[i % 3]!.begin("bob"));
    expect(others.map(({ is }) => is)).toEqual(Array(9).fill("begun"));
    await nodes.pass(20);
    expect(requests.filter(({ is }) => is === "begun")).toHaveLength(2);
  });

  it.each([
    ["its home", true],
    ["another node", false],
  ])("holds when %s dies, and what that node had is free some seconds later", async (_, ofHome) => {
    const { nodes, all } = await setUp(3, { ringing: 0, sessions: 9 });
    for (let i = 0; i < 9; i++) all[i % 3]!.begin("alice");
    await nodes.pass(20);
    const home = all.find(({ shared }) => shared.loads.size > 0)!;
    const dead = ofHome ? home : all.find((node) => node !== home)!;
    nodes.kill(dead.run.node);
    const left = all.filter((node) => node !== dead);
    for (let i = 0; i < 100; i++) {
      for (const node of left) node.begin("alice");
      await nodes.pass(10);
      expect(nodes.sum("alice").total).toBeLessThanOrEqual(9);
    }
    await nodes.pass(7_000);
    for (const node of left) for (let i = 0; i < 9; i++) node.begin("alice");
    await nodes.pass(50);
    expect(nodes.sum("alice").total).toBe(9);
  });

  it("holds when a node comes, though that node knows nothing yet", async () => {
    const { nodes, all } = await setUp(2, { ringing: 0, sessions: 100 });
    for (let i = 0; i < 100; i++) all[0]!.begin("alice");
    await nodes.pass(20);
    const late = nodes.start("node09");
    const requests = [];
    for (let i = 0; i < 100; i++) {
      requests.push(late.begin("alice"));
      await nodes.pass(10);
      expect(nodes.sum("alice").total).toBe(100);
    }
    await nodes.pass(1_000);
    expect(new Set(requests.map(({ is }) => is.replace(/\d+/, "n")))).toEqual(
      new Set(["this user has n sessions and requests for more, at all nodes together"]),
    );
  });

  it("counts sessions that were taken up, and that nobody asked for", async () => {
    const { nodes, all } = await setUp(3, { ringing: 0, sessions: 100 });
    for (let i = 0; i < 99; i++) all[1]!.loads.sessionBegan("alice");
    await nodes.pass(100);
    const requests = [all[0]!.begin("alice"), all[2]!.begin("alice"), all[1]!.begin("alice")];
    await nodes.pass(50);
    expect(requests.filter(({ is }) => is === "begun")).toHaveLength(1);
  });

  it("is each node's own while NATS is away, and the sum again after that", async () => {
    const { nodes, all } = await setUp(2, { ringing: 0, sessions: 3 });
    for (const node of all) {
      nodes.wire.cut.add(node.run.node);
      node.heardSince = undefined;
    }
    const early = all.map((node) => node.begin("carol"));
    expect(early.map(({ is }) => is)).toEqual(["waiting", "waiting"]); // perhaps it was only a moment
    await nodes.pass(1_100);
    expect(early.map(({ is }) => is)).toEqual(["begun", "begun"]);
    const away = all.flatMap((node) => Array.from({ length: 5 }, () => node.begin("alice")));
    expect(away.filter(({ is }) => is === "begun")).toHaveLength(6);
    nodes.wire.cut.clear();
    for (const node of all) node.heardSince = nodes.clock.monotonic();
    const requests = all.map((node) => node.begin("bob"));
    await nodes.pass(1_000);
    expect(requests.map(({ is }) => is)).toEqual(["begun", "begun"]);
    for (const node of all) node.loads.requestEnded("alice");
    await nodes.pass(50);
    for (const node of all) node.begin("alice");
    await nodes.pass(50);
    expect(nodes.sum("alice").total).toBe(4); // they ended two of six, and began none
  });

  it("is nothing that a node decides which stood still, before the others have told it anew", async () => {
    const { nodes, all } = await setUp(2, { ringing: 0, sessions: 1_000 });
    const [one, two] = [all[0]!, all[1]!];
    expect(one.begin("alice").is).toBe("begun");
    one.safeUntil = nodes.clock.monotonic(); // others may have called it dead
    const requests = Array.from({ length: 3 }, () => one.begin("alice"));
    expect(requests.map(({ is }) => is)).toEqual(["waiting", "waiting", "waiting"]);
    await nodes.pass(100);
    one.safeUntil = Number.POSITIVE_INFINITY;
    await nodes.pass(1_000);
    expect(requests.map(({ is }) => is)).toEqual(["begun", "begun", "begun"]);
    expect([one.begin("bob").is, two.begin("bob").is]).toEqual(["begun", "begun"]);
  });

  it("of a relay that is alone is decided at once, half a second after its start", async () => {
    const nodes = new Nodes({ ringing: 0, sessions: 2 });
    const one = nodes.start("node00");
    const early = one.begin("alice");
    expect(early.is).toBe("waiting");
    await nodes.pass(600);
    expect(early.is).toBe("begun");
    expect([one.begin("alice").is, one.begin("alice").is]).toEqual([
      "begun",
      "2 requests of this user wait for an answer".replace(/.*/, "this user has 0 sessions and asks for 2 more"),
    ]);
  });

  it("is refused when no answer comes, and not counted", async () => {
    const { nodes, all } = await setUp(2, { ringing: 0, sessions: 5 });
    nodes.wire.lost = 1;
    const requests = all.map((node) => node.begin("alice"));
    await nodes.pass(3_000);
    for (const { is } of requests) expect(is).toMatch(/cannot be known now$/);
    expect(nodes.sum("alice").total).toBe(0);
    nodes.wire.lost = 0;
    const again = all[0]!.begin("alice");
    await nodes.pass(500);
    expect(again.is).toBe("begun");
  });

  it.each(Array.from({ length: 12 }, (_, i) => [i + 1]))(
    "is never more than the limit, whatever happens: seed %i",
    async (seed) => {
      const chance = numbers(1_000 + seed);
      const among = (n: number) => Math.floor(chance() * n);
      const limits =
        seed % 3 === 0 ? { ringing: 70, sessions: 140 } : { ringing: 3 + among(4), sessions: 5 + among(10) };
      const nodes = new Nodes(limits, { seed, delayMs: 1 + among(30) });
      nodes.wire.lost = seed % 4 === 0 ? 0.02 : 0;
      let epoch = 1;
      for (let i = 0; i < 4; i++) nodes.start(`node0${i}`);
      await nodes.pass(1_000);
      const users = ["alice", "bob"];
      let begun = 0;
      for (let step = 0; step < 3_000; step++) {
        const all = [...nodes.all.values()];
        const node = all[among(all.length)]!;
        const user = users[among(2)]!;
        const what = among(100);
        const many = seed % 3 === 0 ? 10 : 1;
        if (what < 50)
          for (let i = 0; i < many; i++) {
            const before = nodes.sum(user).total;
            node.begin(user);
            begun += nodes.sum(user).total - before;
          }
        else if (what < 70) for (let i = 0; i < many && node.loads.of(user).ringing > 0; i++) node.answer(user);
        else if (what < 80)
          for (let i = 0; i < many && node.loads.of(user).ringing > 0; i++) node.loads.requestEnded(user);
        else if (what < 98)
          for (let i = 0; i < many && node.loads.of(user).total > node.loads.of(user).ringing; i++)
            node.loads.sessionEnded(user);
        else if (all.length > 2 && among(4) === 0) nodes.kill(node.run.node);
        else if (all.length < 5 && among(2) === 0) {
          const free = [0, 1, 2, 3, 4, 5].map((i) => `node0${i}`).find((name) => !nodes.all.has(name))!;
          nodes.start(free, ++epoch);
        }
        await nodes.pass(among(20));
        for (const name of users) {
          const { ringing, total } = nodes.sum(name);
          expect(ringing).toBeLessThanOrEqual(limits.ringing);
          expect(total).toBeLessThanOrEqual(limits.sessions);
        }
      }
      // And it is not less: when all is quiet, the limit can be reached at any node.
      nodes.wire.lost = 0;
      await nodes.pass(70_000);
      const [node] = nodes.all.values();
      for (const user of users) {
        for (const { loads } of nodes.all.values()) {
          while (loads.of(user).ringing > 0) loads.requestEnded(user);
          while (loads.of(user).total > 0) loads.sessionEnded(user);
        }
        await nodes.pass(500);
        for (let i = 0; i < limits.ringing + 2; i++) node!.begin(user);
        await nodes.pass(500);
        expect(nodes.sum(user).ringing).toBe(Math.min(limits.ringing, limits.sessions));
      }
      expect(begun).toBeGreaterThan(0);
    },
    60_000,
  );
});
