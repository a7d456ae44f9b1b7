import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";

const PREFIX = "tollgate-run-";

/**
 * Gives a run of the tests a folder of its own for temporary files, and removes it at the end. Whoever makes such files
 * may be killed, or may not get to know that its test file is over. Vitest calls this for each of its projects: all of
 * them have the folder of the first one.
 */
export default function setup(): () => void {
  if (basename(tmpdir()).startsWith(PREFIX)) return () => {};
  const before = process.env.TMPDIR;
  const folder = mkdtempSync(join(tmpdir(), PREFIX));
  process.env.TMPDIR = folder; // the processes of the tests inherit it
  return () => {
    if (before === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = before;
    rmSync(folder, { recursive: true, force: true });
  };
}
