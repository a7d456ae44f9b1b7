import { parseArgs } from "node:util";
import { KINDS } from "./hand-over.ts";
import { type Outcome, play } from "./story.ts";

/*
 * `npm run simulate`: plays many seeds, or one with every datagram. Ends with 1 where something is not as it should be.
 */

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "10000" },
    from: { type: "string", default: "1" },
    seed: { type: "string" },
    help: { type: "boolean", short: "h" },
  },
});

/** Each so-manieth seed is played once more with a wall clock that nobody sets. */
const COMPARED = 10;

const HELP = `Plays a client, the relay and up to five app servers on a bad network, in simulated time, while somebody sets the wall clock and
sessions are written out, thrown away and restored.

  npm run simulate                          10,000 seeds
  npm run simulate -- --seeds 500 --from 1000
  npm run simulate -- --seed 1234           one seed, with every datagram`;

async function one(seed: number): Promise<number> {
  const outcome = await play(seed, { trace: true });
  console.log(outcome.trace.join("\n"));
  console.log(`seed ${seed}: ${outcome.sessions} sessions, ${outcome.charges} charges`);
  for (const fault of outcome.faults) console.log(`  ${fault}`);
  return outcome.faults.length === 0 ? 0 : 1;
}

/** What is charged otherwise where nobody sets the wall clock: nothing should be. */
async function moved({ seed, charged }: Outcome): Promise<string[]> {
  const { charged: unset } = await play(seed, { steps: false });
  const at = unset.findIndex((line, i) => line !== charged[i]);
  if (at < 0 && unset.length === charged.length) return [];
  const n = at < 0 ? unset.length : at;
  return [`with steps of the wall clock: ${charged[n] ?? "nothing"}; without: ${unset[n] ?? "nothing"}`];
}

async function many(from: number, count: number): Promise<number> {
  const failed: number[] = [];
  const total = { sessions: 0, changes: 0, moves: 0, charges: 0, exhausted: 0, events: 0, steps: 0 };
  const handedOver = new Map(KINDS.map((kind) => [kind, 0]));
  let toldAt = Date.now();
  for (let seed = from; seed < from + count; seed++) {
    const outcome = await play(seed);
    total.sessions += outcome.sessions;
    total.changes += outcome.changes;
    total.moves += outcome.moves;
    total.charges += outcome.charges;
    total.exhausted += outcome.exhausted;
    total.events += outcome.events;
    total.steps += outcome.steps;
    for (const kind of KINDS) handedOver.set(kind, handedOver.get(kind)! + (outcome.handedOver?.[kind] ?? 0));
    const faults = seed % COMPARED === 0 ? [...outcome.faults, ...(await moved(outcome))] : outcome.faults;
    if (faults.length > 0) {
      failed.push(seed);
      console.log(`seed ${seed} (npm run simulate -- --seed ${seed})\n  ${faults.slice(0, 5).join("\n  ")}`);
    }
    if (Date.now() - toldAt < 5_000) continue;
    toldAt = Date.now();
    console.log(`${seed - from + 1} of ${count} seeds, ${failed.length} with faults`);
  }
  const { sessions, changes, moves, charges, exhausted, events, steps } = total;
  const what = `${sessions} sessions, ${changes} changes of service, ${moves} moves, ${charges} charges, ${exhausted} times a prepaid balance at its end, ${steps} steps of the wall clock`;
  console.log(`${count} seeds: ${what}, ${events} events on record`);
  const kinds = Array.from(handedOver, ([kind, times]) => `${times} ${kind}`).join(", ");
  console.log(`written, thrown away, and restored from what was written: ${kinds}`);
  console.log(
    failed.length === 0 ? "No fault." : `Faults in ${failed.length} seeds: ${failed.slice(0, 50).join(", ")}`,
  );
  return failed.length === 0 ? 0 : 1;
}

if (values.help) console.log(HELP);
else if (values.seed !== undefined) process.exitCode = await one(Number(values.seed));
else process.exitCode = await many(Number(values.from), Number(values.seeds));
