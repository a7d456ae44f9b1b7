import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { isNodeName, newNodeName } from "../charging/events/session-ids.ts";
import type { Random } from "../support/random.ts";
import { readIfThere } from "../support/small-file.ts";

/**
 * This relay's name in the ids of its sessions, by which other relays find it. It is made at the first start, and kept
 * in the data folder, since the books of its sessions are there too. Throws if the folder cannot be written.
 */
export function nodeNameIn(dataFolder: string, random: Random): string {
  const path = join(dataFolder, "node");
  const known = readIfThere(path);
  if (known !== undefined && isNodeName(known)) return known;
  const name = newNodeName(random);
  writeFileSync(path, `${name}\n`, { mode: 0o600 });
  return name;
}
