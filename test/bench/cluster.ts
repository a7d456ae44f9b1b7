import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import { type MongoServer, mongoKind, NO_MONGO, startMongo } from "../support/mongo-server.ts";
import { type NatsServer, NO_NATS, natsProgram, startNats } from "../support/nats-server.ts";
import { freePort, isInstalled, type Peer, start, stopAll } from "../support/peers.ts";
import { COMMAND, nodeFlags } from "../support/project.ts";
import { type RelayProcess, startRelayProcess } from "../support/relay-process.ts";
import { median, modelOf } from "./cluster-model.ts";
import { type Load, SERVICE } from "./load.ts";
import { nodeLoad } from "./node-load.ts";
import { cpuUs } from "./proc.ts";
import { sippLoad } from "./sipp-load.ts";

/*
 * `npm run bench:cluster`: the whole bill of a call in a cluster, each part in µs of processor time: the relays, NATS,
 * the billing worker, MongoDB. For one node, which has no standby, for two and for three, under the same calls a second
 * in all. From that: what replication adds, and what a larger cluster carries. Everything shares this machine's cores.
 */

const USAGE = `npm run bench:cluster -- [options]

  --rate N       calls a second, of all nodes together (150)
  --warm-up N    calls of each node before that: the JIT compiler has to see all of the code (4000)
  --seconds N    how long (15)
  --rounds N     how often each number of nodes is measured, in turn; the figures are the medians (3)
  --nodes LIST   numbers of nodes (1,2,3)
  --json         figures as JSON on standard output`;

const { values } = parseArgs({
  options: {
    rate: { type: "string", default: "150" },
    "warm-up": { type: "string", default: "4000" },
    seconds: { type: "string", default: "15" },
    rounds: { type: "string", default: "3" },
    nodes: { type: "string", default: "1,2,3" },
    json: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

/** µs of processor time for each call; `idle`: percent of one core that all relays take when nobody calls. */
export interface ClusterFigures {
  readonly nodes: number;
  readonly relays: number;
  readonly nats: number;
  readonly worker: number;
  readonly mongo: number;
  readonly idle: number;
  readonly failed: number;
}

const HOLD_MS = 1_000;
const IDLE_S = 5;
const say = (text: string) => console.error(text);

/** The servers and nodes of one size. */
class Cluster {
  readonly relays: RelayProcess[] = [];
  worker!: Peer;
  private nats!: NatsServer;
  private mongo!: MongoServer;

  static async start(size: number, appServerPort: number, folder: string): Promise<Cluster> {
    const cluster = new Cluster();
    cluster.nats = await startNats();
    cluster.mongo = await startMongo();
    const own = mkdtempSync(join(folder, "cluster-"));
    const secretFile = join(own, "event-secret");
    writeFileSync(secretFile, "what relays sign events with: any 32 characters\n", { mode: 0o600 });
    const shared = {
      bus: { servers: [cluster.nats.url], secretFile },
      store: { url: cluster.mongo.url(`bench_${process.pid}_${size}`) },
    };
    for (let i = 0; i < size; i++)
      cluster.relays.push(
        await startRelayProcess({
          appServers: [{ id: "server", port: appServerPort, services: [SERVICE] }],
          config: {
            tariffs: [{ id: "call", currency: "EUR", setupFee: "0.10", price: "0.05", incrementS: 60 }],
            limits: { perSourcePerSecond: 0, perUnprovenSourcePerSecond: 0 },
            roles: ["relay"],
            ...shared,
          },
        }),
      );
    const file = join(own, "billing.yaml");
    const log = { level: "info", pretty: false };
    writeFileSync(file, JSON.stringify({ ...shared, roles: ["billing"], data: "./billing", log }));
    cluster.worker = await start("billing worker", process.execPath, [
      ...nodeFlags(),
      ...[COMMAND, "start", "--config", file],
    ]);
    await cluster.worker.says(/billing worker started/);
    return cluster;
  }

  /** What each part has used so far, µs. */
  used(): Record<"relays" | "nats" | "worker" | "mongo", number> {
    const of = (pid: number | undefined) => (pid === undefined ? Number.NaN : cpuUs([pid]));
    return {
      relays: cpuUs(this.relays.map(({ peer }) => peer.pid)),
      nats: of(this.nats.pid),
      worker: of(this.worker.pid),
      mongo: of(this.mongo.pid),
    };
  }

  async stop(): Promise<void> {
    for (const relay of this.relays) await relay.remove();
    await this.worker?.stop(30_000);
    await this.mongo?.stop();
    await this.nats?.destroy();
  }
}

async function measure(cluster: Cluster, load: Load, rate: number, seconds: number): Promise<ClusterFigures> {
  const { length: nodes } = cluster.relays;
  await settled(cluster);
  const still = cluster.used();
  await pause(IDLE_S * 1_000);
  const before = cluster.used();
  const idleUsPerS = (before.relays - still.relays) / IDLE_S;
  const each = Math.round(rate / nodes);
  const startedAt = performance.now();
  const calling = await Promise.all(
    cluster.relays.map(({ port }) => load.calling({ port, rate: each, calls: each * seconds, holdMs: HOLD_MS })),
  );
  const called = await Promise.all(calling.map(({ done }) => done));
  // What is gathered and sent later is for these calls, too.
  await settled(cluster);
  const tookS = (performance.now() - startedAt) / 1_000;
  const after = cluster.used();
  const calls = each * seconds * nodes;
  return {
    nodes,
    relays: (after.relays - before.relays - idleUsPerS * tookS) / calls,
    nats: (after.nats - before.nats) / calls,
    worker: (after.worker - before.worker) / calls,
    mongo: (after.mongo - before.mongo) / calls,
    idle: idleUsPerS / 10_000,
    failed: called.reduce((sum, { failed }) => sum + failed, 0),
  };
}

/** Resolves when the worker has nearly nothing to do any more, or after a minute. */
async function settled({ worker }: Cluster): Promise<void> {
  let before = cpuUs([worker.pid]);
  for (let n = 0; n < 60; n++) {
    await pause(1_000);
    const now = cpuUs([worker.pid]);
    if (now - before < 20_000) return;
    before = now;
  }
}

async function bench(): Promise<number> {
  const missing = !natsProgram ? NO_NATS : mongoKind() === undefined ? NO_MONGO : undefined;
  if (missing !== undefined) {
    say(`npm run bench:cluster: ${missing}`);
    return 1;
  }
  const [rate, seconds, rounds] = [Number(values.rate), Number(values.seconds), Number(values.rounds)];
  const warmUp = Number(values["warm-up"]);
  const sizes = values.nodes.split(",").map(Number);
  if (![rate, seconds, rounds, warmUp, ...sizes].every((number) => Number.isInteger(number) && number > 0)) {
    say(`npm run bench:cluster: expected whole numbers above zero\n\n${USAGE}`);
    return 2;
  }
  const folder = mkdtempSync(join(tmpdir(), "tollgate-bench-"));
  const load = isInstalled("sipp") ? await sippLoad(folder) : await nodeLoad();
  const port = await freePort();
  const answering = await load.answering(port, false);
  try {
    const all: ClusterFigures[] = [];
    for (const size of sizes) {
      say(`${size} ${size === 1 ? "node" : "nodes"}: starting and warming up`);
      const cluster = await Cluster.start(size, port, folder);
      try {
        await measure(cluster, load, rate, Math.ceil((warmUp * size) / rate));
        const measured: ClusterFigures[] = [];
        for (let round = 0; round < rounds; round++) {
          const one = await measure(cluster, load, rate, seconds);
          say(`  ${line(one)}`);
          measured.push(one);
        }
        all.push(median(measured));
      } finally {
        await cluster.stop();
      }
    }
    if (values.json) console.log(JSON.stringify({ rate, figures: all, model: modelOf(all) }, null, 2));
    else print(all, rate);
    return all.every(({ failed }) => failed === 0) ? 0 : 1;
  } finally {
    await answering.stop();
    await stopAll();
    rmSync(folder, { recursive: true, force: true });
  }
}

const us = (value: number): string => value.toFixed(0);
const sumOf = ({ relays, nats, worker, mongo }: ClusterFigures): number => relays + nats + worker + mongo;
const line = (one: ClusterFigures): string =>
  `relays ${us(one.relays)}, NATS ${us(one.nats)}, worker ${us(one.worker)}, MongoDB ${us(one.mongo)} µs a call; ` +
  `idle ${one.idle.toFixed(1)} % of a core; ${one.failed} failed`;

function print(all: readonly ClusterFigures[], rate: number): void {
  const store = mongoKind() === "stand-in" ? "the stand-in for MongoDB, which is slower than MongoDB" : "MongoDB";
  console.log(`${cpus()[0]?.model ?? "?"}, ${cpus().length} cores, Node ${process.version}; ${store}
${rate} calls a second in all; µs of processor time a call\n`);
  console.log("| nodes | relays | NATS | worker | MongoDB | sum | relays when idle, % of a core |");
  console.log("|---|---|---|---|---|---|---|");
  for (const one of all) {
    const cells = [one.relays, one.nats, one.worker, one.mongo, sumOf(one)].map(us);
    console.log(`| ${[one.nodes, ...cells, one.idle.toFixed(1)].join(" | ")} |`);
  }
  for (const text of modelOf(all)) console.log(`\n${text}`);
}

if (values.help) console.log(USAGE);
else process.exitCode = await bench();
