import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { openNatsBus } from "../../src/bus/nats.ts";
import { busSchema } from "../../src/bus/settings.ts";
import type { Bus } from "../../src/bus/types.ts";
import { Heart } from "../../src/cluster/heart.ts";
import { Members } from "../../src/cluster/members.ts";
import { Witness } from "../../src/cluster/witness.ts";
import { systemClock } from "../../src/support/clock.ts";
import { PeerLog } from "../../src/support/peer-log.ts";
import { silent } from "../charging/samples.ts";
import { type NatsCluster, startNatsCluster } from "../support/nats-cluster.ts";
import { NO_NATS, natsProgram } from "../support/nats-server.ts";
import { until } from "../support/until.ts";

/*
 * Three real nats-servers, and a node at each. The servers lose each other; the nodes hear each other over NATS alone.
 */

let nats: NatsCluster;
const buses: Bus[] = [];
const cleanups: (() => unknown)[] = [];
const hearts: Heart[] = [];
const NODES = ["nodea0", "nodeb0", "nodec0"];
/** Each try starts its nodes anew: what the last one wrote of them is of runs that are over. */
let epoch = 0;

describe("the witness on three NATS servers (P3)", { timeout: 120_000 }, () => {
  beforeAll(async () => {
    if (natsProgram === undefined) return;
    nats = await startNatsCluster(3);
    cleanups.push(() => nats.destroy());
    for (const { url } of nats.servers) {
      const settings = busSchema.parse({ servers: [url], replicas: 3 })!;
      await until(async () => {
        const bus = await openNatsBus({ settings, clock: systemClock, log: silent, connectAgainMs: 100 });
        const found = await bus.records!.read("nobody").then(
          () => true,
          () => false,
        );
        if (found) {
          buses.push(bus);
          cleanups.push(() => bus.close());
        } else await bus.close();
        return found;
      });
    }
  }, 60_000);

  // A test that failed leaves no split and no node to the next try.
  afterEach(() => {
    for (const heart of hearts.splice(0)) heart.stop();
    nats?.heal();
  });

  afterAll(async () => {
    for (const clean of cleanups.splice(0).reverse()) await clean();
  });

  it("has one record for each node, and takes the next one from whoever knows the last one", async ({ skip }) => {
    skip(natsProgram === undefined, NO_NATS);
    const [a, b] = buses.map(({ records }) => records!) as [NonNullable<Bus["records"]>, NonNullable<Bus["records"]>];
    expect(await a.read("node00")).toBeUndefined();
    const first = await a.write("node00", "one", 0);
    expect(first).toBeGreaterThan(0);
    expect(await b.write("node00", "other", 0)).toBeUndefined();
    expect(await b.read("node00")).toEqual({ text: "one", sequence: first });
    const second = await b.write("node00", "two", first!);
    expect(await a.write("node00", "three", first!)).toBeUndefined();
    expect(await a.read("node00")).toEqual({ text: "two", sequence: second });
    // Of two who write at once one is first.
    const both = await Promise.all([a.write("node00", "a", second!), b.write("node00", "b", second!)]);
    expect(both.filter((sequence) => sequence !== undefined)).toHaveLength(1);
  });

  it("never lets a node be called dead that may act, whatever way the servers are split", async ({ skip }) => {
    skip(natsProgram === undefined, NO_NATS);
    /** A node that is called dead while it may act: two would act for its sessions. */
    const faults: string[] = [];
    const deaths: { readonly by: string; readonly node: string; readonly at: number }[] = [];
    const all = new Map<string, Members>();
    epoch += 1;
    for (const [i, node] of NODES.entries()) {
      const log = silent;
      const self = { node, epoch };
      const bus = buses[i]!;
      const now = () => systemClock.monotonic();
      const died = (other: string) => {
        deaths.push({ by: node, node: other, at: now() });
        if (now() < all.get(other)!.safeUntil) faults.push(`${node} calls ${other} dead, which may act`);
      };
      const witness = new Witness({
        ...{ self, log, now, records: bus.records! },
        listener: { dead: (run) => members.dead(run), taken: () => {}, wrote: () => members.reckon() },
      });
      const members: Members = new Members({
        ...{ self, clock: systemClock, log, peerLog: new PeerLog({ log, clock: systemClock }), witness },
        listener: { died: (beat) => died(beat.node), misses: () => heart.sayNow() },
      });
      const load = { state: "up", sessions: 0, requests: 0, standbys: 0, lagMs: 0, busy: 0 } as const;
      const identity = { ...self, host: "a", zone: "", release: "1.0.0" };
      const heart = new Heart({ bus, clock: systemClock, identity, load: () => load, members });
      all.set(node, members);
      heart.start();
      hearts.push(heart);
    }
    const isWhole = () => [...all.values()].every((members) => members.up === 3 && members.witnessed);
    const mayAct = (node: string) => systemClock.monotonic() < all.get(node)!.safeUntil;
    for (const alone of [0, 1, 2]) {
      await until(() => isWhole() && NODES.every(mayAct));
      await new Promise((resolve) => setTimeout(resolve, 1_500));
      const before = deaths.length;
      nats.split([alone]);
      await until(() => !mayAct(NODES[alone]!));
      const others = NODES.filter((_, i) => i !== alone);
      // At once, or after the servers have chosen another leader.
      await until(() =>
        others.every((by) => deaths.slice(before).some((one) => one.by === by && one.node === NODES[alone])),
      );
      // A machine that stood still for a moment silences them too, until they hear each other again.
      await until(() => others.every(mayAct));
      expect(deaths.slice(before).filter(({ by }) => by === NODES[alone])).toEqual([]);
      nats.heal();
    }
    await until(isWhole);
    expect(faults).toEqual([]);
  });
});
