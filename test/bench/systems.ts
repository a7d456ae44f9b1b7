import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mongoKind, NO_MONGO, startMongo } from "../support/mongo-server.ts";
import { NO_NATS, natsProgram, startNats } from "../support/nats-server.ts";
import { freePort, isInstalled, listens, type Peer, run, start } from "../support/peers.ts";
import { COMMAND, nodeFlags, ROOT } from "../support/project.ts";
import { startRelayProcess } from "../support/relay-process.ts";
import { SERVICE } from "./load.ts";
import { family } from "./proc.ts";

/* What is measured: the relay by itself, the relay over NATS and MongoDB, Kamailio, or nothing between the two ends. */

export type SystemName = "tollgate" | "tollgate-cluster" | "kamailio" | "direct";

export interface RunningSystem {
  readonly name: SystemName;
  /** Where the calls go. */
  readonly port: number;
  /** The processes that do the work; none for `direct`. */
  readonly pids: readonly number[];
  /** Of `tollgate-cluster`: the billing worker. NATS and MongoDB themselves are not counted. */
  readonly workerPids?: readonly number[];
  /** How long its event loop stood still at most lately, or a message waited; undefined: it does not tell. */
  longestWaitMs?(): Promise<number>;
  /** Memory on the JavaScript heap in bytes, after a collection; undefined where there is none. */
  heapBytes(): Promise<number | undefined>;
  stop(): Promise<void>;
}

export interface SystemOptions {
  /** Where the answering side listens. */
  readonly appServerPort: number;
  /** Tollgate, for measuring memory: collects garbage when asked, and has this T1, so that transactions go sooner. */
  readonly memoryT1Ms?: number;
  /** Kamailio: refuses new calls when it cannot keep up (ratelimit). */
  readonly overload?: boolean;
  /** Tollgate: writes a CPU profile into this folder. */
  readonly profileInto?: string;
}

export async function startSystem(name: SystemName, options: SystemOptions): Promise<RunningSystem> {
  if (name === "tollgate") return tollgate(options);
  if (name === "tollgate-cluster") return cluster(options);
  if (name === "kamailio") return kamailio(options);
  return { name, port: options.appServerPort, pids: [], heapBytes: async () => undefined, stop: async () => {} };
}

/** A relay process; `shared`: where events and bills go, if not into its data folder. */
function relayProcess({ appServerPort, memoryT1Ms, profileInto }: SystemOptions, shared: object = {}) {
  const forMemory = memoryT1Ms !== undefined;
  return startRelayProcess({
    appServers: [{ id: "server", port: appServerPort, services: [SERVICE] }],
    config: {
      tariffs: [{ id: "call", currency: "EUR", setupFee: "0.10", price: "0.05", incrementS: 60 }],
      limits: { perSourcePerSecond: 0 }, // All calls come from one address.
      drainS: 1,
      ...shared,
      ...(forMemory ? { timers: { t1Ms: memoryT1Ms } } : {}),
    },
    nodeArguments: [
      // A young generation of up to 3 x 64 MB, full or empty by chance, would hide what the sessions take.
      ...(forMemory ? ["--max-semi-space-size=1", "--import", join(ROOT, "test/bench/heap-probe.mjs")] : []),
      ...(profileInto === undefined ? [] : ["--cpu-prof", "--cpu-prof-dir", profileInto]),
    ],
    channel: forMemory,
  });
}

async function tollgate(options: SystemOptions): Promise<RunningSystem> {
  const relay = await relayProcess(options);
  return {
    name: "tollgate",
    port: relay.port,
    pids: [relay.peer.pid],
    heapBytes: () => (options.memoryT1Ms === undefined ? Promise.resolve(undefined) : askHeap(relay.peer)),
    longestWaitMs: async () => JSON.parse(await relay.command(["status", "--json"])).gauges.delayMs as number,
    async stop() {
      await ended(relay.peer);
      await relay.remove();
    },
  };
}

/** Why the relay cannot be measured over NATS and MongoDB here; undefined: it can. */
export function withoutServers(): string | undefined {
  if (!natsProgram) return NO_NATS;
  return mongoKind() === undefined ? NO_MONGO : undefined;
}

async function cluster(options: SystemOptions): Promise<RunningSystem> {
  const nats = await startNats();
  const mongo = await startMongo();
  const shared = { bus: nats.url, store: mongo.url(`bench_${process.pid}`) };
  const relay = await relayProcess(options, { ...shared, roles: ["relay"] });
  const file = join(relay.folder, "billing.yaml");
  const roles = ["billing"];
  writeFileSync(file, JSON.stringify({ ...shared, roles, data: "./billing", log: { level: "info", pretty: false } }));
  const worker = await start("billing worker", process.execPath, [...nodeFlags(), COMMAND, "start", "--config", file]);
  await worker.says(/billing worker started/);
  return {
    name: "tollgate-cluster",
    port: relay.port,
    pids: [relay.peer.pid],
    workerPids: [worker.pid],
    heapBytes: async () => undefined,
    async stop() {
      await ended(relay.peer);
      await ended(worker);
      await relay.remove();
      await mongo.stop();
      await nats.destroy();
    },
  };
}

async function ended(peer: Peer): Promise<void> {
  await peer.stop(30_000);
  const lines = peer.output().split("\n");
  const mistakes = lines.filter((line) => /"level":(50|60)/.test(line));
  if (mistakes.length > 0) console.error(`The relay logged ${mistakes.length} errors, the first: ${mistakes[0]}`);
}

const askHeap = (peer: Peer) =>
  new Promise<number>((resolve) => {
    peer.child.once("message", (bytes) => resolve(bytes as number));
    peer.child.send("heap");
  });

/** Why Kamailio cannot be measured here; undefined: it can. */
export const withoutKamailio = (): string | undefined =>
  isInstalled("kamailio") ? undefined : "kamailio is not installed";

export async function kamailioVersion(): Promise<string> {
  return /kamailio (\S+)/.exec(await run("kamailio", KAMAILIO, ["-v"]))?.[1] ?? "?";
}

const KAMAILIO = "kamailio";

interface KamailioOptions {
  readonly appServerPort: number;
  readonly port: number;
  readonly folder: string;
  /** It keeps its dialogs there, and takes calls over TCP too. */
  readonly kept?: string;
  readonly overload?: boolean | undefined;
}

async function startKamailio({ appServerPort, port, folder, kept, overload }: KamailioOptions): Promise<Peer> {
  const args = "-x fm -X fm -DD -E -m 1024 -M 16 -n 1 -b 4194304".split(" ");
  // It writes a line for each session: into a file, as the relay writes its journal.
  const command = `exec ${KAMAILIO} "$@" 2>>calls.log`;
  const own = [
    "-f",
    join(ROOT, "ops/bench/kamailio.cfg"),
    "-Y",
    folder,
    "-w",
    folder,
    ...["-l", `udp:127.0.0.1:${port}`],
    ...(kept === undefined ? [] : ["-l", `tcp:127.0.0.1:${port}`, "-A", `KEPT="sqlite:///${kept}"`]),
    ...(overload ? ["-A", "OVERLOAD=yes"] : []),
    ...["-A", `APP_SERVER="127.0.0.1:${appServerPort}"`],
  ];
  const peer = await start("kamailio", "sh", ["-c", command, "kamailio", ...args, ...own], {
    cwd: folder,
    env: { PATH: `${process.env.PATH}:/usr/sbin` },
  });
  await listens(peer, "udp", port);
  return peer;
}

async function kamailio({ appServerPort, overload }: SystemOptions): Promise<RunningSystem> {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), "tollgate-kamailio-"));
  const peer = await startKamailio({ appServerPort, port, folder, overload });
  return {
    name: "kamailio",
    port,
    get pids() {
      return family(peer.pid);
    },
    heapBytes: async () => undefined,
    stop: async () => {
      await peer.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** What is killed while sessions stand in it, once it takes calls. */
export interface Killable {
  readonly port: number;
  /** Kills it and starts it again; resolves when it takes calls. */
  again(downMs: number): Promise<void>;
  /** Ends it; resolves to how long each session on record lasted. */
  durationsMs(): Promise<number[]>;
  remove(): Promise<void>;
}

const TABLES = "/usr/share/kamailio/db_sqlite";

/** Why Kamailio cannot keep its dialogs here; undefined: it can. */
export function withoutKeeping(): string | undefined {
  const missing = withoutKamailio() ?? (isInstalled("sqlite3") ? undefined : "sqlite3 is not installed");
  return missing ?? (existsSync(TABLES) ? undefined : "kamailio-sqlite-modules is not installed");
}

/**
 * Kamailio with its dialogs in a database; what it has on record are the lines that it writes for sessions that ended.
 */
export async function kamailioThatKeeps(appServerPort: number): Promise<Killable> {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), "tollgate-kamailio-"));
  const kept = join(folder, "dialogs.sqlite");
  const tables = ["standard", "dialog"].map((name) => readFileSync(join(TABLES, `${name}-create.sql`), "utf8"));
  await run("sqlite3", "sqlite3", [kept, `PRAGMA journal_mode=WAL;\n${tables.join("\n")}`]);
  let peer = await startKamailio({ appServerPort, port, folder, kept });
  return {
    port,
    async again(downMs) {
      const all = family(peer.pid);
      for (const pid of all) process.kill(pid, "SIGKILL");
      await peer.exit;
      await new Promise((resolve) => setTimeout(resolve, downMs));
      peer = await startKamailio({ appServerPort, port, folder, kept });
    },
    async durationsMs() {
      await peer.stop();
      const text = readFileSync(join(folder, "calls.log"), "utf8");
      return Array.from(text.matchAll(/duration=([\d.]+)/g), ([, seconds]) => Number(seconds) * 1000);
    },
    async remove() {
      await peer.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
