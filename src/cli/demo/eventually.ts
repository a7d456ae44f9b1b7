import { setTimeout as pause } from "node:timers/promises";
import { systemClock } from "../../support/clock.ts";

const WITHIN_MS = 15_000;
const LOOK_MS = 20;

/** Waits until something is so. Throws after 15 s, with `what` was not. */
export async function eventually(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = systemClock.monotonic() + WITHIN_MS; !(await holds()); await pause(LOOK_MS))
    if (systemClock.monotonic() > end) throw new Error(`not so after ${WITHIN_MS / 1000} s: ${what}`);
}
