import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { configSchema } from "../../src/config/schema.ts";
import { Api } from "../../src/console/api.ts";
import type { HttpServer } from "../../src/console/http.ts";
import { lines, openPortal, type Portal } from "../e2e/portal.ts";
import { freePort, type Peer, start, stopAll } from "../support/peers.ts";
import { ROOT } from "../support/project.ts";

/*
 * Each file of src/sdk/examples, as it stands, but for the ports: with a relay and with `tollgate/sdk` as it is built.
 */

/** Debian's own has the packages of Debian. */
const PYTHONS = ["python3", "/usr/bin/python3"];
const EXAMPLES = join(ROOT, "src/sdk/examples");
const files = readdirSync(EXAMPLES).filter((name) => !name.endsWith(".yaml"));
const read = (name: string) => readFileSync(join(EXAMPLES, name), "utf8");
const folder = mkdtempSync(join(tmpdir(), "tollgate-examples-"));
const ports = new Map<string, number>();
const ran = new Set<string>();
let portal: Portal | undefined;
let server: HttpServer | undefined;

beforeAll(async () => {
  mkdirSync(join(folder, "node_modules"));
  symlinkSync(ROOT, join(folder, "node_modules/tollgate"));
  writeFileSync(join(folder, "package.json"), "{}"); // else one of a folder above counts
  const all = files.flatMap((name) => read(name).match(/\b(507\d|808[1-9])\b/g) ?? []);
  for (const port of new Set(all)) ports.set(port, await freePort());
});
afterEach(async () => {
  await stopAll();
  await portal?.close();
  await server?.close();
  portal = server = undefined;
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const withPorts = (text: string) =>
  [...ports].reduce((all, [port, free]) => all.replaceAll(new RegExp(`\\b${port}\\b`, "g"), String(free)), text);

async function open(health?: object): Promise<void> {
  const { listen: _, ...config } = parse(withPorts(read("tollgate.yaml")));
  const settings = { portal: { domain: "localhost" }, ...config, ...(health && { health }) };
  portal = await openPortal({ config: settings });
  ports.set("5060", portal.tcp);
  const { http } = configSchema.parse(settings);
  const api = new Api({ config: configSchema.parse(settings), log: pino({ level: "silent" }) });
  api.serve(portal.relay);
  server = await api.listen(http.listen!);
}

/** Starts one in a process of its own. */
async function run(name: string, program = process.execPath, ...more: string[]): Promise<Peer> {
  const file = join(folder, name);
  writeFileSync(file, withPorts(read(name)));
  ran.add(name);
  return start(name, program, [file, ...more], { keepInput: true });
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

  it("shop.mjs sells on a page for each visit, whose URL leads nowhere after it", async () => {
    await open();
    await (await run("shop.mjs")).says(/open/);
    const customer = await run("customer.mjs");
    expect(await customer.exit, customer.output()).toEqual({ code: 0, signal: null });
    expect(customer.output()).toBe(said("customer.mjs"));
    expect(lines(await portal!.bill())).toContain("1 x Riesling by info: 12.50 EUR");
  });

  it("lesson.mjs is charged by its time, and for the book at the end", async () => {
    await open();
    const lesson = await run("lesson.mjs");
    await lesson.says(/open/);
    const call = await run("call.mjs");
    expect(await call.exit, call.output()).toEqual({ code: 0, signal: null });
    expect(call.output()).toBe(withPorts(said("call.mjs")));
    await lesson.says(/has left/);
    expect(lesson.output()).toBe(said("lesson.mjs"));
    expect(lines(await portal!.bill())).toEqual([
      "english, ended by client: 0.50 EUR",
      "1 x Exercise book by bye: 4.90 EUR",
    ]);
  });

  it("assistant.mjs is charged by its minutes, and by its tokens", async () => {
    await open();
    const assistant = await run("assistant.mjs");
    await assistant.says(/open/);
    const call = await run("call.mjs", process.execPath, "assistant");
    expect(await call.exit, call.output()).toEqual({ code: 0, signal: null });
    expect(assistant.output()).toBe(said("assistant.mjs"));
    expect(lines(await portal!.bill())).toEqual([
      "assistant, ended by server: 0.06 EUR",
      "12000 x Tokens by info: 0.24 EUR",
      "19000 x Tokens by info: 0.38 EUR",
    ]);
  });

  it.each([
    ["shop.py", "python3", "python"],
    ["shop.php", "php", "php"],
  ])("%s sells without the SDK", async (name, program, service) => {
    ran.add(name);
    if (spawnSync(program, ["--version"]).error) {
      console.warn(`${name} is not tried: there is no ${program} here`);
      return;
    }
    await open();
    await (await run(name, program)).says(/open/);
    const customer = await run("customer.mjs", process.execPath, service);
    expect(await customer.exit, customer.output()).toEqual({ code: 0, signal: null });
    expect(customer.output()).toBe(said("customer.mjs"));
    expect(lines(await portal!.bill())).toContain("1 x Riesling by info: 12.50 EUR");
  });

  it.each([
    ["http-shop.py", PYTHONS, ["-c", "import jwt, cryptography"], []],
    ["http-shop.php", ["php"], ["-r", "openssl_verify(...);"], ["-S", "127.0.0.1:8086"]],
  ])("%s sells without SIP, and has 40 lines at most", async (name, programs, probe, more) => {
    ran.add(name);
    expect(read(name).trimEnd().split("\n").length).toBeLessThanOrEqual(40);
    const program = programs.find((one) => spawnSync(one, probe).status === 0);
    if (!program) {
      console.warn(`${name} is not tried: there is no ${programs.join(" or ")} with what it needs here`);
      return;
    }
    await open({ intervalS: 1 }); // it is asked by OPTIONS, too
    const file = join(folder, name);
    writeFileSync(file, withPorts(read(name)));
    const shop = await start(name, program, [...more.map(withPorts), file], { keepInput: true });
    await shop.says(/open|started/);
    await shop.says(/OPTIONS \/tollgate|Closing/);
    const service = name.replace(/shop\./, "").replace("py", "python");
    const customer = await run("customer.mjs", process.execPath, service);
    expect(await customer.exit, customer.output()).toEqual({ code: 0, signal: null });
    expect(customer.output()).toBe(said("customer.mjs"));
    expect(lines(await portal!.bill())).toContain("1 x Riesling by direct: 12.50 EUR");
    expect(shop.output()).not.toMatch(/warning|fatal|traceback/i);
  });

  it("are all run here, and README.md of the SDK names them", () => {
    expect([...ran].sort()).toEqual(files);
    const page = readFileSync(join(EXAMPLES, "../README.md"), "utf8");
    for (const name of [...files, "tollgate.yaml"]) expect(page).toContain(`(examples/${name})`);
  });
});
