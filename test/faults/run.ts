import { parseArgs } from "node:util";
import { mongoKind, NO_MONGO } from "../support/mongo-server.ts";
import { NO_NATS, natsProgram } from "../support/nats-server.ts";
import { replays } from "./replay.ts";
import { FAULTS, play, type Report } from "./scenarios.ts";

/*
 * `npm run faults`: each fault in the middle of a load, on real servers; charges answered against charges on the bills.
 */

const { values } = parseArgs({
  options: {
    rate: { type: "string", default: "50" },
    seconds: { type: "string", default: "20" },
    down: { type: "string", default: "5" },
    only: { type: "string" },
    json: { type: "boolean" },
    help: { type: "boolean", short: "h" },
  },
});

const HELP = `Kills NATS, MongoDB, the relay, the billing worker in the middle of a load, fills the disk, and delivers events twice and backwards; then
compares what was answered with what is on the bills.

  npm run faults                                      all, 50 calls a second for 20 s, servers away for 5 s; some ten minutes
  npm run faults -- --only together --rate 200 --seconds 90 --down 60
  npm run faults -- --only "relay killed" --json`;

async function main(): Promise<number> {
  if (!natsProgram || mongoKind() === undefined) {
    console.error(`npm run faults: ${natsProgram ? NO_MONGO : NO_NATS}`);
    return 1;
  }
  const [rate, seconds, downMs] = [Number(values.rate), Number(values.seconds), Number(values.down) * 1000];
  const load = { rate, seconds, downMs, holdMs: 2_000, chargesPerCall: 1 };
  const wanted = (name: string) => values.only === undefined || name.includes(values.only);
  const reports: Report[] = [];
  const say = (line: string) => void (values.json ? console.error(line) : console.log(line));
  say(`${rate} calls a second for ${seconds} s, one charge in each; MongoDB: ${mongoKind()}`);
  const steps = [
    ...FAULTS.map((fault) => ({ name: fault.name, run: () => play(fault, load) })),
    ...replays.map(({ name, run }) => ({ name, run: () => run(load) })),
  ];
  for (const step of steps.filter(({ name }) => wanted(name))) {
    const startedAt = Date.now();
    const result = await step.run();
    if (typeof result === "string") {
      say(`${step.name}: left out, ${result}`);
      continue;
    }
    reports.push(result);
    say(
      `${step.name}: ${result.faults.length === 0 ? "right" : "WRONG"} (${Math.round((Date.now() - startedAt) / 1000)} s)`,
    );
    for (const fault of result.faults.slice(0, 10)) say(`  ${fault}`);
  }
  if (values.json) console.log(JSON.stringify(reports, null, 2));
  else console.log(`\n${table(reports)}`);
  return reports.some(({ faults }) => faults.length > 0) ? 1 : 0;
}

function table(reports: readonly Report[]): string {
  const head = [
    "fault",
    "calls",
    "sessions",
    "on the bills",
    "charges answered",
    "on the bills",
    "EUR answered",
    "EUR billed",
    "",
  ];
  const rows = reports.map((one) => [
    one.fault,
    one.calls,
    one.established,
    one.billedSessions,
    one.answered,
    one.billed,
    one.answeredSum,
    one.billedSum,
    one.faults.length === 0 ? "right" : "WRONG",
  ]);
  const cells = [head, ...rows].map((row) => row.map(String));
  const widths = head.map((_, i) => Math.max(...cells.map((row) => row[i]!.length)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
      .join("  ")
      .trimEnd();
  return cells.map(line).join("\n");
}

if (values.help) console.log(HELP);
else process.exitCode = await main();
process.exit();
