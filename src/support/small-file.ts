import { readFileSync } from "node:fs";

/**
 * The text of a small file, without blanks at its ends; undefined: there is no such file. Throws if it cannot be read.
 */
export function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "latin1").trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return undefined;
  }
}
