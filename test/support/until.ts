import { setTimeout as pause } from "node:timers/promises";

const LOOK_MS = 5;

/**
 * Waits for what comes from outside of this process, where there is nothing else to wait for. Rejects with the
 * condition if it does not come. The processor is left to those who are waited for.
 */
export async function until(holds: () => boolean | Promise<boolean>, withinMs = 90_000): Promise<void> {
  for (const end = performance.now() + withinMs; !(await holds()); await pause(LOOK_MS))
    if (performance.now() > end) throw new Error(`not so after ${withinMs} ms: ${holds}`);
}
