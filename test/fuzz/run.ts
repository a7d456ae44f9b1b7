import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { seeded } from "../sip/messages.ts";
import { Coverage } from "./coverage.ts";
import { mutate } from "./mutate.ts";
import { TARGETS, type Target } from "./targets.ts";

/*
 * Fuzzing that is guided by coverage: what makes code run that has not run before is kept, and changed further. `npm
 * run fuzz [-- --minutes N] [TARGET...]`. The corpus stands in test/fuzz/corpus; the tests replay it.
 */

const USAGE = `npm run fuzz -- [--minutes N] [--seed N] [--keep] [TARGET...]

  --minutes N   in all, for all targets together (10)
  --seed N      of the random numbers (the time)
  --keep        writes what was found to be worth keeping into test/fuzz/corpus
  TARGET        ${TARGETS.map(({ name }) => name).join(", ")} (all)`;

const CORPUS = join(import.meta.dirname, "../../../test/fuzz/corpus");
const BATCH = 128;
const SLOW_MS = 1_000;
const MOST_KEPT = 4_000;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    minutes: { type: "string", default: "10" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    keep: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

const nameOf = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex").slice(0, 16);

function corpusOf({ name, seeds }: Target): Buffer[] {
  const folder = join(CORPUS, name);
  const kept = existsSync(folder) ? readdirSync(folder).map((file) => readFileSync(join(folder, file))) : [];
  return [...seeds.map((seed) => Buffer.from(seed, "latin1")), ...kept];
}

/** Runs one input. Returns what is wrong. */
async function fault(target: Target, bytes: Buffer): Promise<string | undefined> {
  const began = process.cpuUsage();
  try {
    await target.run(bytes);
  } catch (error) {
    return (error as Error).stack ?? String(error);
  }
  const { user, system } = process.cpuUsage(began);
  return (user + system) / 1_000 > SLOW_MS ? `it took ${Math.round((user + system) / 1_000)} ms of a core` : undefined;
}

async function fuzz(target: Target, ms: number, random: () => number): Promise<number> {
  const pick = (below: number) => Math.floor(random() * below);
  const coverage = new Coverage("/src/");
  await coverage.start();
  const pool: Buffer[] = [];
  const found = new Map<string, Buffer>();
  const tried = async (bytes: Buffer) => {
    const why = await fault(target, bytes);
    if (why === undefined) return;
    const key = why.split("\n").slice(0, 2).join(" ");
    if (!found.has(key) && found.size < 20) {
      found.set(key, bytes);
      console.log(`${target.name}: FOUND ${JSON.stringify(bytes.toString("latin1"))}\n${why}`);
    }
  };
  const seeds = corpusOf(target);
  for (const seed of seeds) {
    await tried(seed);
    if ((await coverage.fresh()) > 0) pool.push(seed);
  }
  const known = coverage.size;
  const until = performance.now() + ms;
  let runs = 0;
  for (; performance.now() < until; runs += BATCH) {
    const batch = Array.from({ length: BATCH }, () =>
      mutate(pool[pick(pool.length)]!, pool[pick(pool.length)]!, target.words, pick),
    );
    for (const bytes of batch) await tried(bytes);
    // Which one it was is not known; those that are of no use are left out at the end.
    if ((await coverage.fresh()) > 0 && pool.length < MOST_KEPT) pool.push(...batch);
  }
  const all = coverage.size;
  coverage.stop();
  if (values.keep) await keep(target, pool);
  console.log(
    `${target.name}: ${runs} runs in ${(ms / 1_000).toFixed(0)} s, ${all} characters of code ran (${all - known} beyond the corpus), ${found.size} faults`,
  );
  return found.size;
}

/** Writes the inputs that each bring something of their own, the shortest first. */
async function keep(target: Target, pool: readonly Buffer[]): Promise<void> {
  const folder = join(CORPUS, target.name);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const coverage = new Coverage("/src/");
  await coverage.start();
  for (const bytes of [...pool].sort((a, b) => a.length - b.length)) {
    await fault(target, bytes);
    if ((await coverage.fresh()) > 0) writeFileSync(join(folder, nameOf(bytes)), bytes);
  }
  coverage.stop();
}

async function main(): Promise<number> {
  const unknown = positionals.filter((name) => !TARGETS.some((target) => target.name === name));
  if (values.help || unknown.length > 0) {
    console.log(USAGE);
    return values.help ? 0 : 2;
  }
  const targets = TARGETS.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
  console.log(`seed ${values.seed}`);
  const random = seeded(Number(values.seed));
  let faults = 0;
  for (const target of targets)
    faults += await fuzz(target, (Number(values.minutes) * 60_000) / targets.length, random);
  return faults === 0 ? 0 : 1;
}

process.exit(await main());
