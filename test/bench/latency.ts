import type { Load } from "./load.ts";
import { type RunningSystem, type SystemName, startSystem } from "./systems.ts";

export interface LatencyFigures {
  readonly system: SystemName;
  readonly rate: number;
  readonly calls: number;
  /** From the INVITE with credentials, milliseconds. */
  readonly ringing: Quantiles;
  readonly answer: Quantiles;
  /** Of Tollgate: how long its loop stood still at most, or a message waited, in the half minute before its end. */
  readonly longestWaitMs?: number;
}

export interface Quantiles {
  readonly p50: number;
  readonly p99: number;
}

export interface LatencyOptions {
  readonly load: Load;
  readonly systems: readonly SystemName[];
  readonly rates: readonly number[];
  readonly seconds: number;
  readonly port: number;
  say(text: string): void;
}

/** One run of calls warms a system up until the next one is no better than this part of it, or there were so many. */
const BETTER = 0.9;
const MOST_WARM_UPS = 8;
const WARM_UP_S = 5;

/** The two ends with nothing between, then with each system between, at rates that nobody has trouble with. */
export async function measureLatency(options: LatencyOptions): Promise<LatencyFigures[]> {
  const { load, systems, rates, port } = options;
  const figures: LatencyFigures[] = [];
  for (const name of ["direct", ...systems] as const) {
    const answering = await load.answering(port, name === "direct");
    const system = await startSystem(name, { appServerPort: port });
    try {
      for (const rate of rates) figures.push(await measured(system, rate, options));
    } finally {
      await system.stop();
      await answering.stop();
    }
  }
  return figures;
}

async function measured(system: RunningSystem, rate: number, { load, seconds, say }: LatencyOptions) {
  const play = async (forS: number) => {
    const calls = { port: system.port, rate, holdMs: 50, calls: Math.round(rate * forS), latencies: true };
    return (await load.calling(calls)).done;
  };
  const forS = Math.min(seconds, WARM_UP_S);
  let p99 = Number.POSITIVE_INFINITY;
  for (let i = 0; i < MOST_WARM_UPS; i++) {
    const before = p99;
    p99 = quantiles((await play(forS)).answerMs).p99;
    if (p99 > before * BETTER) break;
  }
  const called = await play(seconds);
  const longestWaitMs = await system.longestWaitMs?.();
  const { name } = system;
  const ringing = quantiles(called.ringingMs);
  const answer = quantiles(called.answerMs);
  const stood = longestWaitMs === undefined ? "" : `; it stood still for ${longestWaitMs.toFixed(1)} ms at most`;
  say(`  ${name} at ${rate}/s: 180 after ${text(ringing)}, 200 after ${text(answer)}${stood}`);
  const calls = called.answerMs.length;
  return { system: name, rate, calls, ringing, answer, ...(longestWaitMs !== undefined && { longestWaitMs }) };
}

function quantiles(values: readonly number[]): Quantiles {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
  return { p50: at(0.5), p99: at(0.99) };
}

const text = ({ p50, p99 }: Quantiles) => `${p50.toFixed(2)} ms (p99 ${p99.toFixed(2)})`;
