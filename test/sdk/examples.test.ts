import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { lines, openPortal, type Portal } from "../e2e/portal.ts";
import { freePort, type Peer, start, stopAll } from "../support/peers.ts";
import { ROOT } from "../support/project.ts";

/* Each file of src/sdk/examples, as it stands, but for the ports: with a relay and with `tollgate/sdk` as it is built. */

const EXAMPLES = join(ROOT, "src/sdk/examples");
const files = readdirSync(EXAMPLES).filter((name) => name.endsWith(".mjs"));
const read = (name: string) => readFileSync(join(EXAMPLES, name), "utf8");
const folder = mkdtempSync(join(tmpdir(), "tollgate-examples-"));
const ports = new Map<string, number>();
const ran = new Set<string>();
let portal: Portal | undefined;

beforeAll(async () => {
  mkdirSync(join(folder, "node_modules"));
  symlinkSync(ROOT, join(folder, "node_modules/tollgate"));
  writeFileSync(join(folder, "package.json"), "{}"); // else one of a folder above counts
  for (const port of ["5070", "5071", "5072"]) ports.set(port, await freePort());
});
afterEach(async () => {
  await stopAll();
  await portal?.close();
  portal = undefined;
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const withPorts = (text: string) =>
  [...ports].reduce((all, [port, free]) => all.replaceAll(new RegExp(`\\b${port}\\b`, "g"), String(free)), text);

async function open(): Promise<void> {
  const { listen: _, ...config } = parse(withPorts(read("tollgate.yaml")));
  portal = await openPortal({ config: { portal: { domain: "localhost" }, ...config } });
  ports.set("5060", portal.tcp);
}

/** Starts one in a process of its own. */
async function run(name: string): Promise<Peer> {
  const file = join(folder, name);
  writeFileSync(file, withPorts(read(name)));
  ran.add(name);
  return start(name, process.execPath, [file], { keepInput: true });
}

/** What the comment at its end says that it says. */
const said = (name: string) =>
  [...(read(name).split("// Says:\n")[1] ?? "").matchAll(/^\/\/ {3}(.*)$/gm)].map((line) => `${line[1]}\n`).join("");

describe("the examples of the SDK", { timeout: 30_000 }, () => {
  it("an app server and a client are those of the README, and end with a charge (M5, M14)", async () => {
    const readme = readFileSync(join(ROOT, "README.md"), "utf8");
    for (const name of ["server.mjs", "client.mjs"]) expect(readme).toContain(`\`\`\`js\n${read(name)}\`\`\``);
    await open();
    await (await run("server.mjs")).says(/wine is served at/);
    const client = await run("client.mjs");
    expect(await client.exit).toEqual({ code: 0, signal: null });
    expect(client.output()).toBe("open http://127.0.0.1:8080/cellar\nhung up: remote\n");
    expect(lines(await portal!.bill())).toContain("2 x Riesling by info: 25.00 EUR");
  });

  it("charges.mjs charges once, hears 403, and charges at the end (M14, M16)", async () => {
    await open();
    const server = await run("charges.mjs");
    await server.says(/open/);
    const visit = await run("visit.mjs");
    await visit.says(/Enter hangs up/);
    await server.says(/not charged/);
    visit.child.stdin!.write("\n");
    expect(await visit.exit).toEqual({ code: 0, signal: null });
    expect(visit.output()).toBe(said("visit.mjs"));
    expect(server.output()).toBe(said("charges.mjs"));
    expect(lines(await portal!.bill()).slice(1)).toEqual([
      "2 x Riesling by info: 25.00 EUR",
      "1 x Corkage by bye: 4.00 EUR",
    ]);
  });

  it.each(["refusal.mjs", "fork.mjs", "change.mjs", "move.mjs"])("%s says what it says that it says", async (name) => {
    await open();
    const houses = await run("houses.mjs");
    await houses.says(/open/);
    const client = await run(name);
    expect(await client.exit, client.output()).toEqual({ code: 0, signal: null });
    expect(client.output()).toBe(said(name));
    expect(houses.output()).toBe(said("houses.mjs"));
  });

  it("are all run here, and README.md of the SDK names them", () => {
    expect([...ran].sort()).toEqual(files);
    const page = readFileSync(join(EXAMPLES, "../README.md"), "utf8");
    for (const name of [...files, "tollgate.yaml"]) expect(page).toContain(`(examples/${name})`);
  });
});
