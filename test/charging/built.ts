import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll } from "vitest";
import { ROOT } from "../support/project.ts";

const folders: string[] = [];

// Here and not in `compiled`: a hook that is set up while another runs is never called.
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/**
 * Compiles one source file and what it imports, as it is now, for a process that a test may kill. Returns the folder
 * that stands for the project's; it lies where packages are found from.
 */
export function compiled(file: string): string {
  const cache = join(ROOT, "node_modules/.cache");
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, "tollgate-"));
  folders.push(folder);
  const config = join(folder, "tsconfig.json");
  const compilerOptions = { outDir: folder, rootDir: ROOT, noCheck: true, declaration: false, sourceMap: false };
  writeFileSync(
    config,
    JSON.stringify({ extends: join(ROOT, "tsconfig.json"), compilerOptions, files: [join(ROOT, file)], include: [] }),
  );
  writeFileSync(join(folder, "package.json"), '{"type": "module"}');
  execFileSync(process.execPath, [join(ROOT, "node_modules/typescript/bin/tsc"), "-p", config], { stdio: "pipe" });
  return folder;
}
