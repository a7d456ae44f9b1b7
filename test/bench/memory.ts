import type { Load } from "./load.ts";
import { memoryBytes } from "./proc.ts";
import { type RunningSystem, type SystemName, startSystem } from "./systems.ts";

export interface MemoryFigures {
  readonly system: SystemName;
  readonly sessions: number;
  readonly failed: number;
  /** Memory of the processes: before the first call, with all sessions established, and when they have ended. */
  readonly before: MemoryNow;
  readonly held: MemoryNow;
  readonly after: MemoryNow;
  readonly bytesPerSession: number;
  readonly heapBytesPerSession: number | null;
  /** Part of what the sessions took that the process gave back; null: they took nothing that could be seen. */
  readonly givenBack: number | null;
}

export interface MemoryNow {
  readonly bytes: number;
  readonly heapBytes: number | null;
}

export interface MemoryOptions {
  readonly load: Load;
  readonly systems: readonly SystemName[];
  readonly sessions: number;
  /** Sessions begun each second. */
  readonly rate: number;
  readonly port: number;
  say(text: string): void;
}

/** After which the relay has forgotten a finished transaction: 64 x T1 of 100 ms, and a little. */
const TRANSACTIONS_GONE_MS = 8_000;

export async function measureMemory({
  load,
  systems,
  sessions,
  rate,
  port,
  say,
}: MemoryOptions): Promise<MemoryFigures[]> {
  const figures: MemoryFigures[] = [];
  for (const name of systems) {
    const answering = await load.answering(port, false);
    const system = await startSystem(name, { appServerPort: port, forMemory: true });
    try {
      // What the first calls bring along (compiled code, tables) is no session's.
      await (await load.calling({ port: system.port, rate: 200, calls: 1_000, holdMs: 50 })).done;
      await sleep(TRANSACTIONS_GONE_MS);
      const before = await now(system);
      const holdMs = (sessions / rate) * 1_000 + TRANSACTIONS_GONE_MS + 6_000;
      const calling = await load.calling({ port: system.port, rate, calls: sessions, holdMs });
      await sleep((sessions / rate) * 1_000 + TRANSACTIONS_GONE_MS + 2_000);
      const { current } = calling.counters();
      const held = await now(system);
      if (current !== sessions) say(`  ${name}: ${current} of ${sessions} sessions were up when memory was measured`);
      const called = await calling.done;
      await sleep(TRANSACTIONS_GONE_MS);
      const one = summary(name, sessions, called.failed, before, held, await now(system));
      figures.push(one);
      say(`  ${name}: ${one.bytesPerSession.toFixed(0)} bytes a session`);
    } finally {
      await system.stop();
      await answering.stop();
    }
  }
  return figures;
}

async function now(system: RunningSystem): Promise<MemoryNow> {
  const heapBytes = (await system.heapBytes()) ?? null;
  return { bytes: memoryBytes(system.pids), heapBytes };
}

function summary(
  system: SystemName,
  sessions: number,
  failed: number,
  before: MemoryNow,
  held: MemoryNow,
  after: MemoryNow,
): MemoryFigures {
  const taken = held.bytes - before.bytes;
  return {
    system,
    sessions,
    failed,
    before,
    held,
    after,
    bytesPerSession: taken / sessions,
    heapBytesPerSession:
      held.heapBytes === null || before.heapBytes === null ? null : (held.heapBytes - before.heapBytes) / sessions,
    givenBack: taken > 0 ? (held.bytes - after.bytes) / taken : null,
  };
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
