import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { lines, openPortal } from "../e2e/portal.ts";
import { freePort, run, start, stopAll } from "../support/peers.ts";
import { expectBuilt, ROOT } from "../support/project.ts";

/*
 * Installed as npm would, without asking a registry: the tarball, and of node_modules what package-lock.json says that
 * it depends on.
 */

const folder = mkdtempSync(join(tmpdir(), "tollgate-pack-sdk-"));
const modules = join(folder, "node_modules");
const installed: string[] = [];

beforeAll(async () => {
  expectBuilt();
  const made = join(folder, "dist-sdk");
  await run("pack-sdk", process.execPath, [join(ROOT, "ops/pack-sdk.mjs"), made]);
  const quiet = ["--no-audit", "--no-fund", "--loglevel=error"];
  await run("npm pack", "npm", ["pack", "--ignore-scripts", "--pack-destination", folder, ...quiet], { cwd: made });
  const [tarball] = readdirSync(folder).filter((file) => file.endsWith(".tgz"));
  for (const name of ["tollgate-sdk", "tollgate"]) {
    mkdirSync(join(modules, name), { recursive: true });
    await run("tar", "tar", ["-xzf", join(folder, tarball!), "--strip-components=1", "-C", join(modules, name)]);
  }
  rmSync(made, { recursive: true });
  const lock = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8")).packages;
  const install = (needs: object = {}) => {
    for (const name of Object.keys(needs)) {
      const to = join(modules, name);
      if (existsSync(to)) continue;
      installed.push(name);
      mkdirSync(dirname(to), { recursive: true });
      cpSync(join(ROOT, "node_modules", name), to, { recursive: true, dereference: true });
      const { dependencies, optionalDependencies } = lock[`node_modules/${name}`];
      install({ ...dependencies, ...optionalDependencies });
    }
  };
  install(JSON.parse(readFileSync(join(modules, "tollgate-sdk/package.json"), "utf8")).dependencies);
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
}, 60_000);
afterAll(async () => {
  await stopAll();
  rmSync(folder, { recursive: true, force: true });
});

const bytesOf = (below: string): number =>
  readdirSync(below, { recursive: true, encoding: "utf8" })
    .map((name) => statSync(join(below, name)))
    .reduce((sum, found) => sum + (found.isFile() ? found.size : 0), 0);

describe("tollgate-sdk, the SDK as a package of its own", () => {
  it("is small: two packages come with it, no LMDB, MongoDB and NATS, and all of it is under 4 MB", () => {
    expect(installed.sort()).toEqual(["jose", "sip.js"]);
    expect(bytesOf(join(modules, "tollgate-sdk"))).toBeLessThan(500_000);
    expect(bytesOf(modules)).toBeLessThan(4_000_000);
  });

  it("has types that a strict program compiles with, under both names", { timeout: 60_000 }, async () => {
    mkdirSync(join(modules, "@types"));
    for (const name of ["@types/node", "undici-types"])
      symlinkSync(join(ROOT, "node_modules", name), join(modules, name));
    const text = (from: string) =>
      `import { type AppSession, type ServiceRequest, serve } from "${from}";\n` +
      "const wine = async (request: ServiceRequest): Promise<AppSession> => request.accept();\n" +
      'export const server = serve({ listen: { host: "127.0.0.1", port: 0 }, services: { wine } });\n';
    writeFileSync(join(folder, "own.ts"), text("tollgate-sdk"));
    writeFileSync(join(folder, "whole.ts"), text("tollgate/sdk"));
    const strict = ["--strict", "--noEmit", "--module", "nodenext", "--target", "es2023", "--types", "node"];
    const tsc = join(ROOT, "node_modules/typescript/bin/tsc");
    await run("tsc", process.execPath, [tsc, ...strict, "--skipLibCheck", "own.ts", "whole.ts"], { cwd: folder });
  });

  it("places a call, by its own examples", { timeout: 30_000 }, async () => {
    const examples = join(modules, "tollgate-sdk/examples");
    const port = String(await freePort());
    const { listen: _, ...config } = parse(readFileSync(join(examples, "tollgate.yaml"), "utf8").replace("5070", port));
    const portal = await openPortal({ config: { portal: { domain: "localhost" }, ...config } });
    const example = (name: string) => {
      const text = readFileSync(join(examples, name), "utf8");
      expect(text).toContain('from "tollgate-sdk"');
      writeFileSync(join(folder, name), text.replaceAll("5070", port).replaceAll("5060", String(portal.tcp)));
      return start(name, process.execPath, [join(folder, name)]);
    };
    await (await example("server.mjs")).says(/wine is served/);
    const client = await example("client.mjs");
    expect(await client.exit, client.output()).toEqual({ code: 0, signal: null });
    expect(lines(await portal.bill())).toContain("2 x Riesling by info: 25.00 EUR");
    await portal.close();
  });
});
