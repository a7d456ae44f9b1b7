import { execFileSync, spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ROOT } from "../support/project.ts";

/*
 * `npm run bench:core`: what the relay's own code costs a call, without sockets: both ends are played within its
 * process (core-ends.mjs). With another state of the code beside it, the two take turns, and the ratio of each pair is
 * what counts.
 */

const USAGE = `npm run bench:core -- [options]

  --of FOLDER        the project to measure (this one)
  --against FOLDER   another state of this project, built, with its packages: the two are measured in turn
  --starts N         how often each is started (5)
  --rounds N         rounds of a start; the least is taken (6)
  --calls N          calls of a round (2000)
  --warm-up N        calls before the first round (6000)
  --at-once N        calls under way (64)
  --standing N       holds so many sessions after that and says what each takes on the heap (0)
  --profile FOLDER   writes a CPU profile of each start into FOLDER
  --node ARGUMENTS   further arguments to node
  --ahead            before other programs of the machine (nice -n -20; as root)`;

const { values } = parseArgs({
  options: {
    of: { type: "string", default: ROOT },
    against: { type: "string" },
    starts: { type: "string", default: "5" },
    rounds: { type: "string", default: "6" },
    calls: { type: "string", default: "2000" },
    "warm-up": { type: "string", default: "6000" },
    "at-once": { type: "string", default: "64" },
    standing: { type: "string", default: "0" },
    profile: { type: "string" },
    node: { type: "string", default: "" },
    ahead: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

interface Round {
  readonly mainUs: number;
  readonly helpersUs: number;
  /** Of `mainUs`, what the ends took. */
  readonly endsUs: number;
  readonly perSecond: number;
}

interface Start {
  readonly rounds: readonly Round[];
  readonly failed: number;
  readonly standingBytes?: number;
}

const ahead = (command: readonly string[]) => (values.ahead ? ["nice", "-n", "-20", ...command] : [...command]);

/** A start that takes longer has come to a standstill. */
const LONGEST_MS = 180_000;

/** The relay of that folder, started once. */
function start(project: string): Start {
  const folder = mkdtempSync(join(tmpdir(), "tollgate-core-"));
  const log = openSync(join(folder, "log"), "w");
  try {
    const config = join(folder, "tollgate.yaml");
    writeFileSync(config, JSON.stringify(configuration(Number(values.standing))));
    const command = join(project, "dist/src/cli/main.js");
    const first = ahead([process.execPath, command, "user", "add", "alice", "--password-stdin", "--config", config]);
    execFileSync(first[0]!, first.slice(1), { input: "secret\n" });
    const flags = /^#!.*\bnode +(.*)/.exec(readFileSync(command, "utf8").split("\n", 1)[0]!)?.[1]?.split(" ") ?? [];
    const out = join(folder, "figures.json");
    const ends = { rounds: Number(values.rounds), calls: Number(values.calls), warmUp: Number(values["warm-up"]) };
    const node = [
      process.execPath,
      ...flags,
      ...(values.node === "" ? [] : values.node.split(" ")),
      ...(values.profile === undefined ? [] : ["--cpu-prof", "--cpu-prof-dir", values.profile]),
      ...(values.standing === "0" ? [] : ["--expose-gc"]),
      ...["--import", join(ROOT, "test/bench/core-ends.mjs"), command, "start", "--config", config],
    ];
    const [program, ...args] = ahead(node);
    const settings = { ...ends, atOnce: Number(values["at-once"]), standing: Number(values.standing), out };
    const { status } = spawnSync(program!, args, {
      env: { ...process.env, TOLLGATE_BENCH_CORE: JSON.stringify(settings) },
      stdio: ["ignore", log, log],
      timeout: LONGEST_MS,
      killSignal: "SIGKILL",
    });
    if (status !== 0)
      throw new Error(`${project}: ended with ${status}\n${readFileSync(join(folder, "log"), "utf8").slice(-3_000)}`);
    return JSON.parse(readFileSync(out, "utf8")) as Start;
  } finally {
    closeSync(log);
    rmSync(folder, { recursive: true, force: true });
  }
}

function configuration(standing: number): object {
  return {
    portal: { domain: "portal.example" },
    listen: ["udp:127.0.0.1:5060"],
    data: "./data",
    services: [{ id: "wine", tariff: "call" }],
    tariffs: [{ id: "call", currency: "EUR", setupFee: "0.10", price: "0.05", incrementS: 60 }],
    appServers: [{ id: "server", uri: "sip:127.0.0.1:5070", services: ["wine"] }],
    limits: { perSourcePerSecond: 0 }, // All calls come from one address.
    health: { intervalS: 0 },
    session: { probeS: 0 },
    log: { level: "info", pretty: false },
    ...(standing > 0 ? { timers: { t1Ms: 100 } } : {}),
  };
}

const median = (all: readonly number[]): number => {
  const sorted = [...all].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
};
const least = (all: readonly number[]): number => Math.min(...all);

/**
 * Of one start: the relay's part of its main thread. The ends are timed by the clock, which goes on where another
 * program has the core; so the least counts there, too.
 */
const own = ({ rounds }: Start) =>
  least(rounds.map(({ mainUs }) => mainUs)) - least(rounds.map(({ endsUs }) => endsUs));
const helpers = (one: Start) => median(one.rounds.map(({ helpersUs }) => helpersUs));

function print(name: string, starts: readonly Start[]): void {
  const figures = starts.map(own);
  const kB =
    starts[0]!.standingBytes === undefined
      ? ""
      : `, ${(median(starts.map((one) => one.standingBytes!)) / 1000).toFixed(1)} kB a standing session`;
  console.log(
    `${name}: main thread ${median(figures).toFixed(1)} µs a call (least ${least(figures).toFixed(1)}), helper threads ${median(
      starts.map(helpers),
    ).toFixed(
      1,
    )}, ${median(starts.flatMap(({ rounds }) => rounds.map(({ perSecond }) => perSecond))).toFixed(0)} calls/s, ends ${median(starts.map((one) => median(one.rounds.map(({ endsUs }) => endsUs)))).toFixed(1)}${kB}`,
  );
}

function bench(): void {
  const [here, there]: [Start[], Start[]] = [[], []];
  for (let i = 0; i < Number(values.starts); i++) {
    here.push(start(values.of));
    if (values.against === undefined) continue;
    there.push(start(values.against));
    const [a, b] = [here.at(-1)!, there.at(-1)!];
    console.log(`${own(a).toFixed(1)} against ${own(b).toFixed(1)}: ${(own(a) / own(b)).toFixed(3)}`);
  }
  print("this", here);
  if (values.against === undefined) return;
  print("that", there);
  const ratios = here.map((one, i) => own(one) / own(there[i]!));
  console.log(
    `ratio: median ${median(ratios).toFixed(3)}, from ${least(ratios).toFixed(3)} to ${Math.max(...ratios).toFixed(3)}`,
  );
}

if (values.help) console.log(USAGE);
else bench();
