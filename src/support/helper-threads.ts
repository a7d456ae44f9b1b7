import { readdirSync } from "node:fs";
import { getPriority, setPriority } from "node:os";

/** By so much they step back (nice): where both want the same core, the main thread gets nine tenths of it. */
const STEPS_BACK = 10;

/**
 * Lets the threads that collect garbage, compile and write to the disk step back before the main thread, which answers
 * calls: it does not wait until one of them has had its turn. Only on Linux, which takes the number of a thread where
 * others take that of a process. Where the system does not allow it, they stay as they are: nothing depends on it.
 */
export function letHelpersStepBack(): void {
  if (process.platform !== "linux") return;
  const back = Math.min(19, getPriority() + STEPS_BACK);
  for (const thread of threads()) {
    if (thread === process.pid) continue;
    try {
      setPriority(thread, back);
    } catch {}
  }
}

function threads(): number[] {
  try {
    return readdirSync("/proc/self/task").map(Number);
  } catch {
    return [];
  }
}
