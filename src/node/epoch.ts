import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { readIfThere } from "../support/small-file.ts";

const LARGEST = 2 ** 48;

/**
 * The number of this start of the node. It grows with each start. By it other nodes tell a node that was started again
 * from a node that was only silent. It is the wall clock in seconds, or one more than at the start before, whichever
 * is greater: so it grows if the clock was set back, and also if the data folder comes from a backup. Throws if the
 * folder cannot be written.
 */
export function nextEpoch(dataFolder: string, wallMs: number): number {
  const path = join(dataFolder, "epoch");
  const before = Number(readIfThere(path) ?? 0);
  const known = Number.isSafeInteger(before) && before > 0 && before < LARGEST ? before : 0;
  const epoch = Math.max(known + 1, Math.floor(wallMs / 1000));
  writeFileSync(path, `${epoch}\n`, { mode: 0o600 });
  return epoch;
}
