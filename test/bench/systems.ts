import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, isInstalled, listens, type Peer, run, start } from "../support/peers.ts";
import { ROOT } from "../support/project.ts";
import { startRelayProcess } from "../support/relay-process.ts";
import { SERVICE } from "./load.ts";
import { family } from "./proc.ts";

/* What is measured: the relay, Kamailio, or nothing between the two ends. */

export type SystemName = "tollgate" | "kamailio" | "direct";

export interface RunningSystem {
  readonly name: SystemName;
  /** Where the calls go. */
  readonly port: number;
  /** The processes that do the work; none for `direct`. */
  readonly pids: readonly number[];
  /** Memory on the JavaScript heap in bytes, after a collection; undefined where there is none. */
  heapBytes(): Promise<number | undefined>;
  stop(): Promise<void>;
}

export interface SystemOptions {
  /** Where the answering side listens. */
  readonly appServerPort: number;
  /** Tollgate, for measuring memory: collects garbage when asked, and has this T1, so that transactions go sooner. */
  readonly memoryT1Ms?: number;
  /** Tollgate: writes a CPU profile into this folder. */
  readonly profileInto?: string;
}

export async function startSystem(name: SystemName, options: SystemOptions): Promise<RunningSystem> {
  if (name === "tollgate") return tollgate(options);
  if (name === "kamailio") return kamailio(options);
  return { name, port: options.appServerPort, pids: [], heapBytes: async () => undefined, stop: async () => {} };
}

async function tollgate({ appServerPort, memoryT1Ms, profileInto }: SystemOptions): Promise<RunningSystem> {
  const forMemory = memoryT1Ms !== undefined;
  const relay = await startRelayProcess({
    appServers: [{ id: "server", port: appServerPort, services: [SERVICE] }],
    config: {
      tariffs: [{ id: "call", currency: "EUR", setupFee: "0.10", price: "0.05", incrementS: 60 }],
      limits: { perSourcePerSecond: 0 }, // All calls come from one address.
      drainS: 1,
      ...(forMemory ? { timers: { t1Ms: memoryT1Ms } } : {}),
    },
    nodeArguments: [
      // A young generation of up to 3 x 64 MB, full or empty by chance, would hide what the sessions take.
      ...(forMemory ? ["--max-semi-space-size=1", "--import", join(ROOT, "test/bench/heap-probe.mjs")] : []),
      ...(profileInto === undefined ? [] : ["--cpu-prof", "--cpu-prof-dir", profileInto]),
    ],
    channel: forMemory,
  });
  return {
    name: "tollgate",
    port: relay.port,
    pids: [relay.peer.pid],
    heapBytes: () => (forMemory ? askHeap(relay.peer) : Promise.resolve(undefined)),
    async stop() {
      await relay.peer.stop(30_000);
      const mistakes = relay.peer
        .output()
        .split("\n")
        .filter((line) => /"level":(50|60)/.test(line));
      if (mistakes.length > 0) console.error(`The relay logged ${mistakes.length} errors, the first: ${mistakes[0]}`);
      await relay.remove();
    },
  };
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

async function kamailio({ appServerPort }: SystemOptions): Promise<RunningSystem> {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), "tollgate-kamailio-"));
  const args = "-x fm -X fm -DD -E -m 1024 -M 16 -n 1 -b 4194304".split(" ");
  // It writes a line for each session: into a file, as the relay writes its journal.
  const command = `exec ${KAMAILIO} "$@" 2>calls.log`;
  const own = [
    "-f",
    join(ROOT, "ops/bench/kamailio.cfg"),
    "-Y",
    folder,
    "-w",
    folder,
    "-l",
    `udp:127.0.0.1:${port}`,
    "-A",
    `APP_SERVER="127.0.0.1:${appServerPort}"`,
  ];
  const peer = await start("kamailio", "sh", ["-c", command, "kamailio", ...args, ...own], {
    cwd: folder,
    env: { PATH: `${process.env.PATH}:/usr/sbin` },
  });
  await listens(peer, "udp", port);
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
