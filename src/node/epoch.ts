import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const LARGEST = 2 ** 48;

/**
 * Which start of this node it is. It grows with each: other nodes tell by it a node that was started anew from one
 * that was only silent. The seconds of the wall clock, or one more than at the start before: where the clock was set
 * back the data folder knows better, and where the folder comes from a backup the clock does. Throws where the folder
 * cannot be written.
 */
export function nextEpoch(dataFolder: string, wallMs: number): number {
  const path = join(dataFolder, "epoch");
  let before = 0;
  try {
    before = Number(readFileSync(path, "latin1").trim());
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  const known = Number.isSafeInteger(before) && before > 0 && before < LARGEST ? before : 0;
  const epoch = Math.max(known + 1, Math.floor(wallMs / 1000));
  writeFileSync(path, `${epoch}\n`, { mode: 0o600 });
  return epoch;
}
