import { type Answering, COUNTERS_EVERY_MS, type Load } from "./load.ts";
import { cpuUs } from "./proc.ts";
import { type RunningSystem, type SystemName, startSystem } from "./systems.ts";

/** One system under one rate of calls. */
export interface RateFigures {
  readonly system: SystemName;
  readonly rate: number;
  readonly calls: number;
  readonly failed: number;
  /** At both ends. */
  readonly retransmissions: number;
  /** Whether the calls were begun as fast as they should be: otherwise the load's own side is what is too slow. */
  readonly loadKeptUp: boolean;
  /** No failure, no retransmission, and the load kept up. */
  readonly held: boolean;
  readonly cpuUsPerCall: number;
  /** CPU of the answering side of the load, in the same seconds. */
  readonly answeringUsPerCall: number;
  readonly ratioToAnswering: number;
  /** CPU of the billing worker, where there is one. */
  readonly workerUsPerCall?: number;
}

export interface RatesOptions {
  readonly load: Load;
  readonly systems: readonly SystemName[];
  /** Undefined: upwards from 500 until the relay does not hold it. */
  readonly rates: readonly number[] | undefined;
  readonly seconds: number;
  /** How often each rate is put on each system; the figures are the mean. Default 1. */
  readonly rounds?: number;
  /** For the answering side. */
  readonly port: number;
  readonly profileInto?: string | undefined;
  say(text: string): void;
}

const STEP = 500;
const MOST = 10_000;
const HOLD_MS = 50;
/**
 * A relay runs for months; what its first seconds cost, when the JIT compiler has not seen all of the code yet, is not
 * asked here.
 */
const WARM_UP = { rate: 500, calls: 8_000 };
const QUICK_WARM_UP = { rate: 300, calls: 1_500 };

/** Puts the same rates on each system in turn. A system that did not hold a rate, twice, is asked for no more. */
export async function measureRates(options: RatesOptions): Promise<RateFigures[]> {
  const { load, port, say } = options;
  const answering = await load.answering(port, false);
  const running: RunningSystem[] = [];
  const figures: RateFigures[] = [];
  try {
    for (const name of options.systems) {
      running.push(
        await startSystem(name, {
          appServerPort: port,
          ...(options.profileInto ? { profileInto: options.profileInto } : {}),
        }),
      );
    }
    for (const system of running) {
      const warmUp = options.seconds < 10 ? QUICK_WARM_UP : WARM_UP;
      await (await load.calling({ ...warmUp, port: system.port, holdMs: HOLD_MS })).done;
    }
    const out = new Set<SystemName>();
    for (const rate of options.rates ?? upwards()) {
      // Round by round, so that a machine that gets slower gets slower for all of them.
      const rounds = Array.from({ length: options.rounds ?? 1 }, () => running).flat();
      const results: RateFigures[] = [];
      for (const system of rounds) {
        if (out.has(system.name)) continue;
        let result = await measureRate(system, answering, rate, options);
        say(line(result));
        if (!result.held) {
          // Something else may have had the cores: a second chance.
          result = await measureRate(system, answering, rate, options);
          say(`${line(result)} (again)`);
        }
        results.push(result);
        if (!result.held) out.add(system.name);
      }
      for (const { name } of running) {
        const own = results.filter(({ system }) => system === name);
        if (own.length > 0) figures.push(meanOf(own));
      }
      if (out.has("tollgate")) break;
    }
    return figures;
  } finally {
    for (const system of running) await system.stop();
    await answering.stop();
  }
}

/** Several rounds of one system under one rate as one. */
function meanOf(rounds: readonly RateFigures[]): RateFigures {
  const sum = (of: (one: RateFigures) => number) => rounds.reduce((all, one) => all + of(one), 0);
  const { system, rate, workerUsPerCall } = rounds[0]!;
  const cpuUsPerCall = sum((one) => one.cpuUsPerCall) / rounds.length;
  const answeringUsPerCall = sum((one) => one.answeringUsPerCall) / rounds.length;
  return {
    system,
    rate,
    calls: sum((one) => one.calls),
    failed: sum((one) => one.failed),
    retransmissions: sum((one) => one.retransmissions),
    loadKeptUp: rounds.every((one) => one.loadKeptUp),
    held: rounds.every((one) => one.held),
    cpuUsPerCall,
    answeringUsPerCall,
    ratioToAnswering: cpuUsPerCall / answeringUsPerCall,
    ...(workerUsPerCall !== undefined && {
      workerUsPerCall: sum((one) => one.workerUsPerCall ?? 0) / rounds.length,
    }),
  };
}

function* upwards(): Generator<number> {
  for (let rate = STEP; rate <= MOST; rate += STEP) yield rate;
}

async function measureRate(
  system: RunningSystem,
  answering: Answering,
  rate: number,
  { load, seconds }: RatesOptions,
): Promise<RateFigures> {
  await settle();
  const calls = rate * seconds;
  const before = {
    own: cpuUs(system.pids),
    worker: cpuUs(system.workerPids ?? []),
    answering: cpuUs([answering.pid]),
    again: answering.counters().retransmissions,
  };
  const called = await (await load.calling({ port: system.port, rate, calls, holdMs: HOLD_MS })).done;
  const after = { own: cpuUs(system.pids), answering: cpuUs([answering.pid]) };
  await settle();
  // The worker may be behind: what it still does is for these calls, and would take the cores from the next to be
  // measured.
  if (system.workerPids) await idle(system.workerPids);
  const workerUsPerCall = system.workerPids && (cpuUs(system.workerPids) - before.worker) / calls;
  const retransmissions = called.retransmissions + answering.counters().retransmissions - before.again;
  const loadKeptUp = called.seconds < seconds * 1.02 + 1;
  const cpuUsPerCall = (after.own - before.own) / calls;
  const answeringUsPerCall = (after.answering - before.answering) / calls;
  return {
    system: system.name,
    rate,
    calls,
    failed: called.failed,
    retransmissions,
    loadKeptUp,
    held: called.failed === 0 && retransmissions === 0 && loadKeptUp,
    cpuUsPerCall,
    answeringUsPerCall,
    ratioToAnswering: cpuUsPerCall / answeringUsPerCall,
    ...(workerUsPerCall !== undefined && { workerUsPerCall }),
  };
}

/** Resolves when processes have nearly nothing to do any more, or after two minutes. */
async function idle(pids: readonly number[]): Promise<void> {
  let before = cpuUs(pids);
  for (let n = 0; n < 120; n++) {
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    const now = cpuUs(pids);
    if (now - before < IDLE_US) return;
    before = now;
  }
}

/** In a second. */
const IDLE_US = 20_000;

/** The counters of the answering side come once a second. */
const settle = () => new Promise((resolve) => setTimeout(resolve, 1.2 * COUNTERS_EVERY_MS));

const line = (one: RateFigures) =>
  `  ${one.system} ${one.rate}/s: ${one.held ? "held" : "not held"}, ${one.cpuUsPerCall.toFixed(0)} µs a call, ` +
  `${one.ratioToAnswering.toFixed(1)} x the answering side, ${one.failed} failed, ${one.retransmissions} retransmissions` +
  `${one.workerUsPerCall === undefined ? "" : `, billing worker ${one.workerUsPerCall.toFixed(0)} µs a call`}` +
  `${one.loadKeptUp ? "" : ", the load did not keep up"}`;
