import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import { freePort, isInstalled, stopAll } from "../support/peers.ts";
import { sippClient, sippServer } from "../support/sipp.ts";
import { SERVICE } from "./load.ts";
import { cpuUs } from "./proc.ts";
import { kamailioVersion, type RunningSystem, type SystemName, startSystem, withoutKamailio } from "./systems.ts";

/*
 * `npm run bench:overload`: what becomes of calls when twice as many come as can be handled, beside Kamailio with its
 * own module for that (ratelimit). First the capacity of each system is looked for; then that is offered, and twice
 * that; two seconds later half of it. Load and systems share this machine.
 */

const USAGE = `npm run bench:overload -- [options]

  --seconds N        how long each load is kept up (10)
  --from N           the first rate in the search for the capacity, calls a second (400); each next one is a fifth more
  --capacity N       this capacity in place of a search
  --systems NAMES    which: tollgate,kamailio
  --json             figures as JSON on standard output`;

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "10" },
    from: { type: "string", default: "400" },
    capacity: { type: "string" },
    systems: { type: "string", default: "tollgate,kamailio" },
    json: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

const HOLD_MS = 1_000;
const STEP = 1.2;
const STEP_S = 5;
const MOST = 20_000;
const BUFFER_BYTES = "4194304";

/** What became of the calls of one load. */
interface Figures {
  readonly offered: number;
  readonly offeredPerSecond: number;
  readonly completedPerSecond: number;
  /** 503 before and after the sign-in. */
  readonly refusedFirst: number;
  readonly refusedSecond: number;
  readonly answered: number;
  readonly completed: number;
  /** Answered and then not completed: a request of a session that stands was lost. */
  readonly lost: number;
  /** Neither completed nor refused. */
  readonly failed: number;
  readonly byeP50Ms: number;
  readonly byeP99Ms: number;
  readonly answerP99Ms: number;
  /** CPU of the system. */
  readonly cpuUs: number;
}

interface SystemFigures {
  readonly system: SystemName;
  readonly capacity: number;
  readonly at: Figures;
  readonly twice: Figures;
  readonly after: Figures;
}

let runs = 0;
const say = (text: string) => console.error(text);

async function bench(): Promise<number> {
  if (!isInstalled("sipp")) {
    say("sipp is not installed");
    return 1;
  }
  const folder = mkdtempSync(join(tmpdir(), "tollgate-overload-"));
  try {
    const all: SystemFigures[] = [];
    for (const name of values.systems.split(",") as SystemName[]) {
      const missing = name === "kamailio" ? withoutKamailio() : undefined;
      if (missing === undefined) all.push(await measure(name, folder));
      else say(missing);
    }
    if (values.json)
      console.log(
        JSON.stringify(
          all.map((one) => ({ ...one, verdicts: verdicts(one) })),
          null,
          2,
        ),
      );
    else await print(all);
    return all.every((one) => one.system !== "tollgate" || verdicts(one).every(({ holds }) => holds)) ? 0 : 1;
  } finally {
    await stopAll();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measure(name: SystemName, folder: string): Promise<SystemFigures> {
  const appServerPort = await freePort();
  const server = await sippServer({
    scenario: "server-call",
    folder,
    port: appServerPort,
    calls: 100_000_000,
    holdMs: 1,
    trace: false,
    timeoutS: 7_200,
    more: ["-buff_size", BUFFER_BYTES],
  });
  const system = await startSystem(name, { appServerPort, overload: true });
  const seconds = Number(values.seconds);
  try {
    say(`${name}: warming up`);
    await load(system, folder, Number(values.from) / 2, 6);
    const capacity = values.capacity === undefined ? await capacityOf(system, folder) : Number(values.capacity);
    say(`${name}: capacity ${capacity} calls a second`);
    const at = await load(system, folder, capacity, seconds);
    say(line("  at capacity", at));
    const twice = await load(system, folder, 2 * capacity, seconds);
    say(line("  at twice   ", twice));
    await pause(2_000);
    const perCall = at.cpuUs / at.completed;
    const perRefusal =
      (twice.cpuUs - twice.completed * perCall) / Math.max(1, twice.refusedFirst + twice.refusedSecond);
    say(`  ${perCall.toFixed(0)} µs CPU a call, ${perRefusal.toFixed(0)} µs a refusal`);
    const after = await load(system, folder, capacity / 2, seconds / 2);
    say(line("  2 s later  ", after));
    return { system: name, capacity, at, twice, after };
  } finally {
    await system.stop();
    await server.stop();
  }
}

/**
 * What the system completes in a second at most. The rate grows until that has not for two steps, since one bad step
 * may be the machine's; then it is the mean of the three best steps around the best, each of which is a run of its own.
 */
async function capacityOf(system: RunningSystem, folder: string): Promise<number> {
  const steps: Figures[] = [];
  const best = () =>
    steps.reduce((most, one, i) => (one.completedPerSecond > steps[most]!.completedPerSecond ? i : most), 0);
  for (let rate = Number(values.from); rate < MOST; rate = Math.round(rate * STEP)) {
    const figures = await load(system, folder, rate, STEP_S);
    say(line(`  ${rate}/s`, figures));
    steps.push(figures);
    if (figures.offeredPerSecond < 0.9 * rate || steps.length - 1 - best() >= 2) break;
    await pause(2_000);
  }
  const most = steps
    .map(({ completedPerSecond }) => completedPerSecond)
    .sort((a, b) => b - a)
    .slice(0, 3);
  return Math.round(most.reduce((sum, one) => sum + one, 0) / most.length);
}

interface Verdict {
  readonly what: string;
  readonly is: string;
  readonly holds: boolean;
}

const MOST_BYE_MS = 1_000;

/** What is asked of a system that is offered twice what it can do. */
function verdicts({ at, twice, after }: SystemFigures): Verdict[] {
  const share = twice.completedPerSecond / at.completedPerSecond;
  const back = after.completed / after.offered;
  return [
    {
      what: "completes at twice at least 90 % of what it completes at capacity",
      is: percent(share),
      holds: share >= 0.9,
    },
    { what: "no session that stands loses a request", is: `${twice.lost} lost`, holds: twice.lost === 0 },
    { what: "every call is completed or refused", is: `${twice.failed} neither`, holds: twice.failed === 0 },
    {
      what: "BYE is answered within 1 s (p99)",
      is: `${twice.byeP99Ms.toFixed(0)} ms`,
      holds: twice.byeP99Ms <= MOST_BYE_MS,
    },
    {
      what: "whoever was let in stays in: 503 after the sign-in",
      is: `${twice.refusedSecond} of ${twice.refusedFirst + twice.refusedSecond}`,
      holds: twice.refusedSecond <= 0.01 * twice.offered,
    },
    { what: "2 s later all is as before", is: `${percent(back)} of half the capacity`, holds: back >= 0.99 },
  ];
}

const percent = (share: number): string => `${(100 * share).toFixed(0)} %`;

async function load(
  { port, pids }: RunningSystem,
  folder: string,
  perSecond: number,
  seconds: number,
): Promise<Figures> {
  const rate = Math.round(perSecond);
  const calls = Math.round(rate * seconds);
  const statistics = join(folder, `statistics-${++runs}.csv`);
  for (const file of timesIn(folder)) rmSync(file);
  const before = cpuUs(pids);
  const peer = await sippClient({
    scenario: "client-overload",
    folder,
    service: SERVICE,
    port: await freePort(),
    remotePort: port,
    calls,
    rate,
    holdMs: HOLD_MS,
    trace: false,
    timeoutS: seconds + 90,
    more: [
      ...["-buff_size", BUFFER_BYTES, "-trace_stat", "-stf", statistics, "-fd", "1"],
      ...["-trace_rtt", "-rtt_freq", "50", "-max_retrans", "4"],
    ],
  });
  await peer.exit;
  const used = cpuUs(pids) - before;
  const of = lastLine(statistics);
  const times = timesIn(folder).map((file) => readFileSync(file, "utf8"));
  for (const file of timesIn(folder)) rmSync(file);
  const byes = ofTimer(times, "bye");
  const completed = of("completed");
  const answered = of("answered");
  const refused = of("refusedFirst") + of("refusedSecond");
  // The calls begin evenly over this time, unless the load is too slow for that.
  const begunInS = Math.max(seconds, of("seconds") - HOLD_MS / 1000);
  return {
    offered: calls,
    offeredPerSecond: calls / begunInS,
    completedPerSecond: completed / begunInS,
    refusedFirst: of("refusedFirst"),
    refusedSecond: of("refusedSecond"),
    answered,
    completed,
    lost: answered - completed,
    failed: calls - completed - refused,
    byeP50Ms: quantile(byes, 0.5),
    byeP99Ms: quantile(byes, 0.99),
    answerP99Ms: quantile(ofTimer(times, "answer"), 0.99),
    cpuUs: used,
  };
}

const timesIn = (folder: string): string[] =>
  readdirSync(folder)
    .filter((name) => name.endsWith("_rtt.csv"))
    .map((name) => join(folder, name));

/** Of SIPp's response times: date; milliseconds; timer. */
function ofTimer(files: readonly string[], timer: string): number[] {
  const found: number[] = [];
  for (const text of files)
    for (const row of text.split("\n")) {
      const [, ms, name] = row.split(";");
      if (name?.trim() === timer) found.push(Number(ms));
    }
  return found.sort((a, b) => a - b);
}

const quantile = (sorted: readonly number[], share: number): number =>
  sorted.length === 0 ? Number.NaN : sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!;

/** By name, in the last whole line of SIPp's statistics; `seconds`: from the first call's start to the last one's. */
function lastLine(file: string): (name: string) => number {
  if (!existsSync(file)) throw new Error("SIPp has left no statistics");
  const rows = readFileSync(file, "utf8").trimEnd().split("\n");
  const names = rows[0]!.split(";");
  const cells = (row: string) => row.split(";");
  const of = (row: string, name: string) => {
    const at = names.findIndex((one) => one === name || one === `${name}(C)`);
    return at < 0 ? Number.NaN : Number(cells(row)[at]) || 0;
  };
  const last = rows[rows.length - 1]!;
  return (name) => {
    if (name !== "seconds") return of(last, name);
    const all = of(last, "TotalCallCreated");
    const done = rows.findIndex((row, i) => i > 0 && of(row, "TotalCallCreated") >= all);
    return Math.max(1, done - 1);
  };
}

const line = (what: string, one: Figures): string =>
  `${what}: ${one.offeredPerSecond.toFixed(0)}/s offered, ${one.completedPerSecond.toFixed(0)}/s completed, ` +
  `${one.refusedFirst} + ${one.refusedSecond} refused, ${one.lost} lost, ${one.failed} failed, ` +
  `${(one.cpuUs / Math.max(1, one.completed)).toFixed(0)} µs CPU for each that was completed, ` +
  `BYE p50 ${one.byeP50Ms.toFixed(0)} p99 ${one.byeP99Ms.toFixed(0)} ms, answer p99 ${one.answerP99Ms.toFixed(0)} ms`;

async function print(all: readonly SystemFigures[]): Promise<void> {
  const version = all.some(({ system }) => system === "kamailio") ? `, Kamailio ${await kamailioVersion()}` : "";
  console.log(`${cpus()[0]?.model ?? "?"}, ${cpus().length} cores, Node ${process.version}${version}\n`);
  console.log("| system | load | offered/s | completed/s | of capacity | 503 | lost | failed | BYE p99 ms |");
  console.log("|---|---|---|---|---|---|---|---|---|");
  for (const { system, at, twice, after } of all)
    for (const [what, one] of [
      ["capacity", at],
      ["twice", twice],
      ["half, 2 s later", after],
    ] as const) {
      const share = `${((100 * one.completedPerSecond) / at.completedPerSecond).toFixed(0)} %`;
      const cells = [
        ...[system, what, one.offeredPerSecond.toFixed(0), one.completedPerSecond.toFixed(0), share],
        ...[one.refusedFirst + one.refusedSecond, one.lost, one.failed, one.byeP99Ms.toFixed(0)],
      ];
      console.log(`| ${cells.join(" | ")} |`);
    }
  for (const one of all) {
    console.log(`\n${one.system}, ${one.capacity} calls a second:`);
    for (const { what, is, holds } of verdicts(one)) console.log(`${holds ? "yes" : "NO "}  ${what}: ${is}`);
  }
}

if (values.help) console.log(USAGE);
else process.exitCode = await bench();
