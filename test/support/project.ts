import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";

/** The folder of package.json: two up from test/support, three up where it is built into dist/test/support. */
export const ROOT = findRoot(import.meta.dirname);

/** The command as it is published. */
export const COMMAND = join(ROOT, "dist/src/cli/main.js");

/** Throws where the command is not built, or a source is newer than it: a test of it would tell of yesterday's code. */
export function expectBuilt(): void {
  if (!existsSync(COMMAND)) throw new Error(`${COMMAND} is not there: npm run build`);
  const built = statSync(COMMAND).mtimeMs;
  for (const folder of ["src", "machines"]) {
    for (const name of readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })) {
      const file = join(folder, name);
      if (name.endsWith(".ts") && statSync(join(ROOT, file)).mtimeMs > built) {
        throw new Error(`${file} is newer than what is built in dist: npm run build`);
      }
    }
  }
}

/**
 * What its first line wants of node, such as `--max-semi-space-size=64`: so the relay runs here as where it is
 * installed.
 */
export const nodeFlags = (): string[] =>
  /^#!.*\bnode +(.*)/.exec(readFileSync(COMMAND, "utf8").split("\n", 1)[0]!)?.[1]?.split(" ") ?? [];

function findRoot(folder: string): string {
  if (existsSync(join(folder, "package.json"))) return folder;
  if (folder === dirname(folder)) throw new Error("no package.json above this file");
  return findRoot(dirname(folder));
}
