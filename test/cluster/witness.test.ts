import { afterEach, describe, expect, it } from "vitest";
import { agrees, Nodes, type Run } from "./nodes.ts";

/*
 * A split: nodes that do not hear each other, each with clients and app servers that reach it. JetStream answers on one
 * side, or on none. The clock is turned, so each story ends the same way each time.
 */

let nodes: Nodes;
afterEach(() => nodes.close());

/** All that acts: at no time may two nodes act for one session. */
function watched(id: () => string | undefined): string[] {
  const faults: string[] = [];
  const look = () => {
    const session = id();
    const actors = session === undefined ? [] : nodes.actors(session);
    if (actors.length > 1) faults.push(`${nodes.clock.monotonic()}: ${actors.join(", ")}`);
    nodes.clock.setTimeout(look, 5);
  };
  nodes.clock.setTimeout(look, 5);
  return faults;
}

async function call(many: number, options: ConstructorParameters<typeof Nodes>[0] = {}) {
  nodes = await Nodes.of(many, options);
  agrees(nodes.client);
  agrees(nodes.server);
  const { id } = await nodes.established();
  const faults = watched(() => id);
  nodes.watch = (run) => {
    nodes.target = run.name; // the peers answer whoever asks
  };
  await nodes.run(1_500);
  return { id, faults };
}

/** From now on these nodes and the others do not hear each other. */
function split(alone: readonly string[], jetStreamIsWith: "alone" | "others" | "nobody"): void {
  const isAlone = (node: string) => alone.includes(node);
  nodes.courier.apart = (one, other) => isAlone(one) !== isAlone(other);
  nodes.records.isAway = (node) => jetStreamIsWith === "nobody" || isAlone(node) !== (jetStreamIsWith === "alone");
}

function heal(): void {
  nodes.courier.apart = () => false;
  nodes.records.isAway = () => false;
}

describe("NATS servers that do not hear each other, with nodes on both sides (P3)", () => {
  it("leave the session to the side with JetStream, and silence the owner before that", async () => {
    const { id, faults } = await call(3);
    split(["node00"], "others");
    const at = nodes.clock.monotonic();
    let takenAt = 0;
    nodes.watch = (run: Run) => {
      nodes.target = run.name;
      if (takenAt === 0 && run.name !== "node00") takenAt = nodes.clock.monotonic();
    };
    await nodes.run(500);
    expect(nodes.actors(id)).not.toContain("node00");
    await nodes.run(500);
    expect(nodes.actors(id)).toHaveLength(1);
    expect(takenAt - at).toBeLessThan(550);
    await nodes.run(20_000);
    heal();
    await nodes.run(3_000);
    expect([faults, nodes.owners(id)]).toEqual([[], nodes.actors(id)]);
    expect(nodes.actors(id)).not.toEqual(["node00"]);
  });

  it("leave the session to its owner, if JetStream is on that side; the others take it up when they have it", async () => {
    const { id, faults } = await call(3);
    split(["node00"], "alone");
    await nodes.run(20_000);
    expect(nodes.actors(id)).toEqual(["node00"]);
    heal();
    await nodes.run(3_000);
    expect([faults, nodes.owners(id)]).toEqual([[], ["node00"]]);
  });

  it("leave the session to its owner for nine seconds, if most nodes are on that side; then it is silent", async () => {
    const { id, faults } = await call(3);
    // The nodes that hear each other are without JetStream.
    split(["node00", "node01"], "others");
    await nodes.run(8_000);
    expect(nodes.actors(id)).toEqual(["node00"]);
    await nodes.run(14_000);
    heal();
    await nodes.run(3_000);
    expect([faults, nodes.actors(id).length, nodes.owners(id).length]).toEqual([[], 1, 1]);
  });

  it("leave the session to its owner, if nobody has JetStream and both go on hearing each other", async () => {
    const { id, faults } = await call(3);
    nodes.records.isAway = () => true;
    await nodes.run(60_000);
    expect([faults, nodes.actors(id)]).toEqual([[], ["node00"]]);
  });

  it("of which each sees JetStream have one owner all the same: the one who is there", async () => {
    const { id, faults } = await call(2);
    nodes.courier.apart = () => true;
    await nodes.run(30_000);
    expect(nodes.actors(id)).toEqual(["node00"]);
    heal();
    await nodes.run(3_000);
    expect([faults, nodes.owners(id)]).toEqual([[], ["node00"]]);
  });

  it("never have two owners, however the split changes (40 stories)", { timeout: 120_000 }, async () => {
    for (let seed = 1; seed <= 40; seed++) {
      let state = seed * 7_919;
      const chance = (below: number) => {
        state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
        return (state >>> 8) % below;
      };
      const { id, faults } = await call(3 + (seed % 2), {});
      const names = nodes.all.map(({ name }) => name);
      for (let step = 0; step < 6; step++) {
        const alone = names.filter(() => chance(2) === 0);
        const side = (["alone", "others", "nobody"] as const)[chance(3)]!;
        const pairs = new Set(names.flatMap((a) => names.filter(() => chance(4) === 0).map((b) => `${a} ${b}`)));
        const what = chance(4);
        if (what === 0) heal();
        else if (what === 1) nodes.courier.apart = (one, other) => pairs.has(`${one} ${other}`);
        else split(alone, side);
        const stopped = chance(3) === 0 ? names[chance(names.length)]! : undefined;
        if (stopped) nodes.stop(stopped);
        await nodes.run([120, 300, 450, 700, 2_000, 11_000][chance(6)]!);
        if (stopped) nodes.node(stopped).continue(chance(2) === 0 ? "timers" : "messages");
        await nodes.run([50, 400, 1_200][chance(3)]!);
      }
      heal();
      await nodes.run(25_000);
      expect([seed, faults]).toEqual([seed, []]);
      expect([seed, nodes.owners(id).length, nodes.actors(id).length]).toEqual([seed, 1, 1]);
      nodes.close();
    }
  });
});

describe("JetStream's leader that dies together with a node", () => {
  it("has sessions taken up later, by the time of the election; the other nodes go on with theirs", async () => {
    const { id, faults } = await call(3);
    nodes.target = "node01";
    const own = await nodes.established();
    await nodes.run(1_500);
    nodes.kill("node00");
    nodes.records.isAway = () => true;
    await nodes.run(6_000);
    expect([nodes.actors(id), nodes.actors(own.id)]).toEqual([[], ["node01"]]);
    const { gauges, nodes: seen } = nodes.node("node01").cluster;
    expect(gauges.call(nodes.node("node01").cluster)).toMatchObject({ clusterMissed: 1, clusterSilences: 0 });
    expect(seen.call(nodes.node("node01").cluster).map(({ state }) => state)).toEqual(["unheard", "up", "up"]);
    nodes.records.isAway = (node) => node === "node00";
    await nodes.run(2_000);
    expect([nodes.actors(id).length, faults]).toEqual([1, []]);
    expect(nodes.node("node01").cluster.gauges().clusterMissed).toBe(0);
  });
});

describe("a node on a machine that is too slow", () => {
  /** Beats take so long to each node; the first ones are as late as the others. */
  const slow = (ms: number) => {
    nodes.courier.delayMs = () => ms;
    nodes.records.tripMs = ms;
  };

  it("asks the others for patience, and neither it nor they fall silent; a node that dies is noticed later", async () => {
    const { id, faults } = await call(3);
    for (let ms = 40; ms <= 320; ms += 40) {
      slow(ms);
      await nodes.run(1_500);
    }
    const silences = () => nodes.all.map(({ cluster }) => cluster.gauges().clusterSilences);
    const before = silences();
    await nodes.run(20_000);
    expect(silences()).toEqual(before);
    const [patience = 0] = nodes.all.map(({ cluster }) => cluster.gauges().clusterPatienceMs!);
    expect(patience).toBeGreaterThan(600);
    expect(patience).toBeLessThan(2_000);
    nodes.kill("node00");
    await nodes.run(450);
    expect(nodes.actors(id)).toEqual([]);
    await nodes.run(4_000);
    expect([nodes.actors(id).length, faults]).toEqual([1, []]);
  });

  it("asks for no more when it has time to spare again: a death is noticed within half a second again", async () => {
    const { id } = await call(3);
    for (let ms = 40; ms <= 320; ms += 40) {
      slow(ms);
      await nodes.run(1_500);
    }
    slow(1);
    await nodes.run(25_000);
    expect(nodes.node("node00").cluster.gauges().clusterPatienceMs).toBe(450);
    nodes.kill("node00");
    await nodes.run(500);
    expect(nodes.actors(id)).toHaveLength(1);
  });
});
