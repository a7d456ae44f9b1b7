import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The version of the package that this file belongs to, whether run from src/ or from dist/src/. */
export function version(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    try {
      const read = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as {
        name?: string;
        version?: string;
      };
      if (read.name === "tollgate" && read.version !== undefined) return read.version;
    } catch {
      // no package.json here: one folder up
    }
    if (folder === dirname(folder)) return "unknown";
  }
}
