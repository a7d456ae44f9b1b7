import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { run } from "../support/peers.ts";
import { expectBuilt, ROOT } from "../support/project.ts";

describe("the package that npm pack makes", () => {
  let folder = "";
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it("runs `npx tollgate demo` where nothing but the package is installed", { timeout: 180_000 }, async () => {
    expectBuilt();
    folder = mkdtempSync(join(tmpdir(), "tollgate-pack-"));
    const quiet = ["--no-audit", "--no-fund", "--loglevel=error"];
    await run("npm pack", "npm", ["pack", "--ignore-scripts", "--pack-destination", folder, ...quiet], { cwd: ROOT });
    const packed = readdirSync(folder).filter((file) => file.endsWith(".tgz"));
    expect(packed).toHaveLength(1);

    const project = join(folder, "project");
    const npm = (...args: string[]) =>
      run(`npm ${args[0]}`, "npm", [...args, ...quiet, "--prefix", project], { cwd: folder });
    await npm("install", "--prefer-offline", "--omit=dev", join(folder, packed[0]!));
    const installed = readdirSync(join(project, "node_modules"));
    expect(installed).toContain("tollgate");
    expect(installed).not.toContain("vitest"); // What only developers need does not come along.

    const said = await run("npx tollgate demo", "npx", ["--no-install", "tollgate", "demo"], { cwd: project });
    expect(said).toContain("INVITE");
    expect(said).toMatch(/\d+\.\d\d EUR/);
  });
});
