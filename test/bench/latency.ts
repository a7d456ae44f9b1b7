import type { Load } from "./load.ts";
import { type SystemName, startSystem } from "./systems.ts";

export interface LatencyFigures {
  readonly system: SystemName;
  readonly rate: number;
  readonly calls: number;
  /** From the INVITE with credentials, milliseconds. */
  readonly ringing: Quantiles;
  readonly answer: Quantiles;
}

export interface Quantiles {
  readonly p50: number;
  readonly p99: number;
}

export interface LatencyOptions {
  readonly load: Load;
  readonly systems: readonly SystemName[];
  readonly rate: number;
  readonly seconds: number;
  readonly port: number;
  say(text: string): void;
}

/** The two ends with nothing between, then with each system between, at a rate that nobody has trouble with. */
export async function measureLatency({
  load,
  systems,
  rate,
  seconds,
  port,
  say,
}: LatencyOptions): Promise<LatencyFigures[]> {
  const figures: LatencyFigures[] = [];
  for (const name of ["direct", ...systems] as const) {
    const answering = await load.answering(port, name === "direct");
    const system = await startSystem(name, { appServerPort: port });
    try {
      const calls = { port: system.port, rate, holdMs: 50 };
      await (await load.calling({ ...calls, calls: rate * 3 })).done; // until the JIT compiler has seen it
      const called = await (await load.calling({ ...calls, calls: rate * seconds, latencies: true })).done;
      const one = {
        system: name,
        rate,
        calls: called.answerMs.length,
        ringing: quantiles(called.ringingMs),
        answer: quantiles(called.answerMs),
      };
      figures.push(one);
      say(`  ${name}: 180 after ${text(one.ringing)}, 200 after ${text(one.answer)}`);
    } finally {
      await system.stop();
      await answering.stop();
    }
  }
  return figures;
}

function quantiles(values: readonly number[]): Quantiles {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
  return { p50: at(0.5), p99: at(0.99) };
}

const text = ({ p50, p99 }: Quantiles) => `${p50.toFixed(2)} ms (p99 ${p99.toFixed(2)})`;
