import { existsSync, writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { withoutKamailio } from "../bench/systems.ts";
import { mongoKind, NO_MONGO } from "../support/mongo-server.ts";
import { NO_NATS, natsProgram } from "../support/nats-server.ts";
import { isInstalled } from "../support/peers.ts";
import { COMMAND, ROOT } from "../support/project.ts";
import { play } from "./chaos.ts";
import { killKamailio } from "./kamailio.ts";
import { STEPS } from "./steps.ts";

/*
 * `npm run chaos`: a cluster under load, to which something is done every few seconds. Ends with 1 where something is
 * wrong.
 */

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: String(Math.floor(Math.random() * 1_000_000)) },
    minutes: { type: "string", default: "5" },
    rate: { type: "string", default: "200" },
    standing: { type: "string", default: "2000" },
    every: { type: "string", default: "5" },
    nodes: { type: "string", default: "3" },
    nats: { type: "string", default: "3" },
    workers: { type: "string", default: "2" },
    talk: { type: "string", default: "4" },
    tcp: { type: "string", default: "10" },
    beside: { type: "string" },
    "only-nats": { type: "boolean", default: false },
    logs: { type: "string" },
    only: { type: "string" },
    kamailio: { type: "boolean", default: false },
    help: { type: "boolean", short: "h" },
  },
});

const HELP = `Plays calls at a cluster of real processes (relays, NATS servers, MongoDB, billing workers), and kills, stops, cuts off, drains and
restarts one or two of them every few seconds. Then compares what was promised with what came.

  npm run chaos -- --minutes 30 --seed 7
  npm run chaos -- --rate 20 --standing 100 --only kill,stop

  --seed N        the same seed does the same things at about the same times; default: a new one
  --minutes N     how long calls are made (default 5)
  --rate N        calls a second (default 200); --standing N: how many stand at a time (default 2000)
  --every S       seconds between what is done (default 5)
  --talk S        seconds between what client and app server say in each session (default 4)
  --tcp N         of a hundred calls, how many come over TCP from clients made with the SDK (default 10); others: UDP
  --nodes N, --nats N, --workers N
  --only-nats     nodes hear each other over NATS alone, so that a node that is cut off must be silent
  --beside FOLDER another release of Tollgate, built there: each start of a process takes that one or this one
  --logs FOLDER   keeps what the nodes say
  --kamailio      instead: the same kill at two Kamailios that tell each other of their dialogs (DMQ), two minutes
  --only A,B      only these: ${STEPS.map(({ name }) => name).join(", ")}`;

async function beside(): Promise<number> {
  const missing = withoutKamailio() ?? (isInstalled("sipp") ? undefined : "sipp is not installed");
  if (missing !== undefined) {
    console.error(`npm run chaos -- --kamailio: ${missing}`);
    return 1;
  }
  for (const kills of [false, true]) {
    const { calls, ...figures } = await killKamailio(100, kills);
    console.log(`${calls} calls stand at one of two Kamailios that share an address; ${kills ? "it is killed" : "nobody is killed"}
  calls that hung up by themselves after that, and were answered: ${figures.hungUp} of ${calls}
  dialogs at the other Kamailio: ${figures.copied} before, ${figures.left} when all was over
  calls on record with their end: ${figures.recorded} of ${calls}, to the second ${figures.toTheSecond}
`);
  }
  return 0;
}

async function main(): Promise<number> {
  if (values.kamailio) return beside();
  if (!natsProgram || mongoKind() === undefined) {
    console.error(`npm run chaos: ${natsProgram ? NO_MONGO : NO_NATS}`);
    return 1;
  }
  if (values.beside !== undefined && !existsSync(join(values.beside, relative(ROOT, COMMAND)))) {
    console.error(
      `npm run chaos: --beside ${values.beside}: there is no ${relative(ROOT, COMMAND)}: npm run build there`,
    );
    return 2;
  }
  const seed = Number(values.seed);
  const { lines, faults } = await play({
    seed,
    rate: Number(values.rate),
    standing: Number(values.standing),
    seconds: Number(values.minutes) * 60,
    everyS: Number(values.every),
    nodes: Number(values.nodes),
    nats: Number(values.nats),
    workers: Number(values.workers),
    logs: values.logs,
    beside: values.beside === undefined ? undefined : resolve(values.beside),
    direct: !values["only-nats"],
    talkMs: Number(values.talk) * 1_000,
    tcp: Number(values.tcp),
    steps: values.only?.split(",").map((name) => name.trim()),
    say: (line) => console.log(line),
  });
  console.log(`\n${lines.join("\n")}`);
  if (faults.length === 0) console.log("\nNo fault.");
  else {
    const kinds = new Map<string, number>();
    for (const fault of faults) {
      const kind = fault
        .replace(/\d\d:\d\d:[\d.]+ /g, "")
        .split(/[:({]/, 2)
        .join(":");
      kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    }
    console.log(`\n${faults.length} FAULTS (npm run chaos -- --seed ${seed}):`);
    for (const [kind, many] of kinds) console.log(`  ${many} x ${kind}`);
    console.log(`  ${faults.slice(0, 60).join("\n  ")}`);
    if (values.logs !== undefined) writeFileSync(join(values.logs, "faults.txt"), `${faults.join("\n")}\n`);
  }
  return faults.length === 0 ? 0 : 1;
}

if (values.help) console.log(HELP);
else process.exitCode = await main();
process.exit();
