import { setTimeout as pause } from "node:timers/promises";
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
  /** T1 of the relay: it forgets a finished transaction after 64 times that (RFC 3261 §17.2.2, RFC 6026 §8.7). */
  readonly t1Ms: number;
  readonly port: number;
  say(text: string): void;
}

export async function measureMemory(options: MemoryOptions): Promise<MemoryFigures[]> {
  const { load, systems, sessions, rate, t1Ms, port, say } = options;
  const transactionsGoneMs = 64 * t1Ms + 1_500;
  const figures: MemoryFigures[] = [];
  for (const name of systems) {
    const answering = await load.answering(port, false);
    const system = await startSystem(name, { appServerPort: port, memoryT1Ms: t1Ms });
    try {
      // What the first calls bring along (compiled code, tables, a young generation that has grown) is no session's.
      await (await load.calling({ port: system.port, rate, calls: 4 * rate, holdMs: 50 })).done;
      await pause(transactionsGoneMs);
      const before = await now(system);
      const holdMs = (sessions / rate) * 1_000 + transactionsGoneMs + 6_000;
      const calling = await load.calling({ port: system.port, rate, calls: sessions, holdMs });
      await pause((sessions / rate) * 1_000 + transactionsGoneMs + 2_000);
      const { current } = calling.counters();
      const held = await now(system);
      if (current !== sessions) say(`  ${name}: ${current} of ${sessions} sessions were up when memory was measured`);
      const called = await calling.done;
      await pause(transactionsGoneMs);
      const one = summary(name, sessions, called.failed, before, held, await now(system));
      figures.push(one);
      say(
        `  ${name}: ${one.bytesPerSession.toFixed(0)} bytes a session${one.heapBytesPerSession === null ? "" : `, ${one.heapBytesPerSession.toFixed(0)} on the heap`}`,
      );
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
  return {
    system,
    sessions,
    failed,
    before,
    held,
    after,
    bytesPerSession: (held.bytes - before.bytes) / sessions,
    heapBytesPerSession:
      held.heapBytes === null || before.heapBytes === null ? null : (held.heapBytes - before.heapBytes) / sessions,
  };
}
