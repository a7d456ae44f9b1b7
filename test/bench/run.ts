import { mkdtempSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { freePort, isInstalled, stopAll } from "../support/peers.ts";
import { isWhole, type KillFigures, measureKill } from "./kill.ts";
import { measureLatency } from "./latency.ts";
import type { Load } from "./load.ts";
import { measureMemory } from "./memory.ts";
import { nodeLoad } from "./node-load.ts";
import { measureRates } from "./rates.ts";
import { killLines, print, type Report } from "./report.ts";
import { sippLoad } from "./sipp-load.ts";
import { kamailioVersion, type SystemName, withoutKamailio, withoutKeeping, withoutServers } from "./systems.ts";

/*
 * `npm run bench`: what the relay costs, beside Kamailio where that is installed. Everything runs on this machine and
 * shares its cores; what other programs do here shows in the figures, and the ratios are there to take that out.
 */

const USAGE = `npm run bench -- [options]

  --quick            less than a minute in place of some ten: one rate, and less of everything
  --rates 500,1000   these calls a second only; otherwise 500 more each time until the relay does not hold them
  --seconds N        how long each rate is kept up (15)
  --rounds N         how often each rate is put on each system, in turn; the figures are the mean (1)
  --sessions N       how many sessions are held for the memory figures (10000; 0: leaves them out)
  --systems NAMES    which: tollgate,tollgate-cluster,kamailio (all that can be had here; --quick: without the second, which is the relay
                     over NATS JetStream and MongoDB, with a billing worker whose CPU is counted apart)
  --kill             nothing but this: 500 sessions over UDP and 100 over TCP stand, kill -9, a new start, and how many of them are still there; in the
                     full run it is the last part (SIPp)
  --own-load         load from Node even where SIPp is installed
  --profile FOLDER   writes a CPU profile of the relay at the rates into FOLDER
  --json             figures as JSON on standard output; what goes on is on standard error`;

const KILL = { udp: 500, tcp: 100, holdMs: 15_000, downMs: 500 };

const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    rates: { type: "string" },
    seconds: { type: "string" },
    rounds: { type: "string" },
    sessions: { type: "string" },
    systems: { type: "string" },
    kill: { type: "boolean", default: false },
    "own-load": { type: "boolean", default: false },
    profile: { type: "string" },
    json: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

if (values.help) console.log(USAGE);
else process.exitCode = await bench();

async function bench(): Promise<number> {
  if (process.platform !== "linux") {
    console.error("The benchmark reads /proc: it needs Linux.");
    return 1;
  }
  const folder = mkdtempSync(join(tmpdir(), "tollgate-bench-"));
  const say = (text: string) => console.error(text);
  try {
    if (values.kill) {
      const figures = await kill(folder, say);
      console.log(values.json ? JSON.stringify(figures, null, 2) : killLines(figures).join("\n"));
      return figures.every(isWhole) ? 0 : 1;
    }
    const load = values["own-load"] || !isInstalled("sipp") ? await nodeLoad() : await sippLoad(folder);
    const report = await measure(load, folder, say);
    if (values.json) console.log(JSON.stringify(report, null, 2));
    else print(report);
    return 0;
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    return 1;
  } finally {
    await stopAll();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function kill(folder: string, say: (text: string) => void): Promise<KillFigures[]> {
  if (!isInstalled("sipp")) {
    say("kill -9: sipp is not installed");
    return [];
  }
  const figures = [await measureKill({ ...KILL, system: "tollgate", folder, say })];
  const missing = withoutKeeping();
  if (missing === undefined) figures.push(await measureKill({ ...KILL, system: "kamailio", folder, say }));
  else say(`kill -9 of Kamailio: ${missing}`);
  return figures;
}

const LATENCY_RATES = [200, 1_000];
/** Calls a second; NATS, MongoDB, relay, billing worker and both ends share the machine. */
const CLUSTER_RATE = 500;

async function measure(load: Load, folder: string, say: (text: string) => void): Promise<Report> {
  const { quick } = values;
  const all = quick ? "tollgate,kamailio" : "tollgate,tollgate-cluster,kamailio";
  const wanted = (values.systems ?? all).split(",") as SystemName[];
  const kamailioMissing = wanted.includes("kamailio") ? withoutKamailio() : "not wanted";
  const clusterMissing = wanted.includes("tollgate-cluster") ? withoutServers() : "not wanted";
  const systems = wanted.filter(
    (name) => name === "tollgate" || (name === "kamailio" && kamailioMissing === undefined),
  );
  const seconds = Number(values.seconds ?? (quick ? 4 : 15));
  const rounds = Number(values.rounds ?? 1);
  const sessions = Number(values.sessions ?? (quick ? 1_000 : 10_000));
  const given = values.rates?.split(",").map(Number) ?? (quick ? [500] : undefined);
  const port = await freePort();

  say(`Rates, ${seconds} s each${rounds > 1 ? `, ${rounds} times` : ""}`);
  const rates = await measureRates({
    load,
    systems,
    rates: given,
    seconds,
    rounds,
    port,
    say,
    profileInto: values.profile,
  });
  // By themselves: NATS, MongoDB and the billing worker would take the cores from the others.
  const pair = { load, systems: ["tollgate", "tollgate-cluster"] as const, seconds, port, say };
  if (clusterMissing === undefined) say("Over NATS and MongoDB");
  const cluster =
    clusterMissing === undefined ? await measureRates({ ...pair, rates: [given?.[0] ?? CLUSTER_RATE] }) : [];
  say("Latency");
  const latency = await measureLatency({
    ...{ load, systems, port, say },
    rates: quick ? [200] : LATENCY_RATES,
    seconds: quick ? 3 : 15,
  });
  say("Memory");
  const memory =
    sessions === 0
      ? []
      : await measureMemory({
          load,
          systems: quick ? ["tollgate"] : systems,
          sessions,
          rate: quick ? 500 : 800,
          t1Ms: quick ? 40 : 100,
          port,
          say,
        });
  if (!quick) say("kill -9");
  const killed = quick ? [] : await kill(folder, say);
  return {
    machine: { cpu: cpus()[0]?.model ?? "?", cores: cpus().length, node: process.version },
    load: load.name,
    kamailio: kamailioMissing === undefined ? await kamailioVersion() : null,
    kamailioMissing: kamailioMissing ?? null,
    clusterMissing: clusterMissing ?? null,
    seconds,
    rounds,
    rates,
    cluster,
    latency,
    memory,
    killed,
  };
}
