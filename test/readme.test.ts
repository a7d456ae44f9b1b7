import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { parseChargeBody } from "../src/charging/charges/body.ts";
import { parseConfig } from "../src/config/load.ts";
import { Terminal } from "./cli/terminal.ts";
import { lines, openPortal } from "./e2e/portal.ts";
import { freePort, start, stopAll } from "./support/peers.ts";
import { ROOT } from "./support/project.ts";

/* What the README says is so. */

const readme = readFileSync(join(ROOT, "README.md"), "utf8");
const section = (title: string): string => {
  const from = readme.indexOf(`\n## ${title}\n`);
  if (from < 0) throw new Error(`the README has no section ${title}`);
  const to = readme.indexOf("\n## ", from + 4);
  return readme.slice(from, to < 0 ? undefined : to);
};
const blocks = (language: string, text = readme): string[] =>
  [...text.matchAll(new RegExp(`\`\`\`${language}\\n([^]*?)\`\`\``, "g"))].map((found) => found[1]!);
const read = (file: string): string => readFileSync(join(ROOT, file), "utf8");

const folder = mkdtempSync(join(tmpdir(), "tollgate-readme-"));
mkdirSync(join(folder, "node_modules"));
symlinkSync(ROOT, join(folder, "node_modules/tollgate"));
afterAll(async () => {
  await stopAll();
  rmSync(folder, { recursive: true, force: true });
});

describe("the table of requirements in the README", () => {
  const rows = section("What is done, and the test that shows it")
    .split("\n")
    .filter((line) => /^\| [MP]?\d/.test(line));
  const ids = rows.map((row) => row.split("|")[1]!.trim()).filter((id) => /^[MP]\d/.test(id));
  const tests = rows.flatMap((row) => [...row.matchAll(/`(test\/[^`]+)`: "(.*?)"(?=;| \||$)/g)]);

  it("has a row for each of M1-M25, P1-P4 and P7", () => {
    const wanted = [...Array.from({ length: 25 }, (_, i) => `M${i + 1}`), "P1", "P2", "P3", "P4", "P7"];
    expect(ids).toEqual(wanted);
  });

  it("names a test for whatever it calls done", () => {
    const unproven = rows.filter((row) => /\| (done|in part)/.test(row) && !row.includes("`test/"));
    expect(unproven).toEqual([]);
    expect(tests.length).toBeGreaterThan(60);
  });

  it.each(tests.map((found) => [found[1]!, found[2]!]))("%s has the test %j", (file, title) => {
    const source = read(file).replace(/\\"/g, '"');
    expect(source.includes(title), `no test "${title}" in ${file}`).toBe(true);
  });
});

describe("the way of one INVITE in the README", () => {
  const steps = [
    ...section("The way of one INVITE through the files").matchAll(
      /`((?:src|machines)\/[^`]+\.ts)`(?:[^(`]{0,4}\(((?:`[^`]+`[, ]*)+)\))?/g,
    ),
  ];

  it("goes through every folder", () => {
    const folders = new Set(steps.map((step) => step[1]!.split("/").slice(0, 2).join("/")));
    for (const one of ["transport", "transaction", "relay", "sip", "directory", "charging", "bus", "store"])
      expect(folders).toContain(`src/${one}`);
  });

  it.each(steps.map((step) => [step[1]!, (step[2] ?? "").replace(/`/g, "")]))("%s has %s", (file, names) => {
    expect(existsSync(join(ROOT, file))).toBe(true);
    for (const name of names.split(", ").filter(Boolean)) expect(read(file)).toMatch(new RegExp(`\\b${name}\\b`));
  });
});

describe("the commands in the README", () => {
  const scripts = Object.keys(JSON.parse(read("package.json")).scripts);
  const code = [...blocks("sh"), ...[...readme.matchAll(/`([^`\n]+)`/g)].map((found) => found[1]!)].join("\n");

  it("are there: npm", () => {
    const named = [...code.matchAll(/npm run ([\w:-]+)/g)].map((found) => found[1]!);
    expect(named.length).toBeGreaterThan(3);
    expect(named.filter((name) => !scripts.includes(name))).toEqual([]);
  });

  it("are there: tollgate", async () => {
    const named = new Set([...code.matchAll(/(?:npx |^)tollgate ([a-z][\w-]*)/gm)].map((found) => found[1]!));
    expect(named.size).toBeGreaterThan(7);
    const missing: string[] = [];
    const terminal = new Terminal();
    for (const name of named) if ((await terminal.tollgate([name, "--help"])).code !== 0) missing.push(name);
    terminal.remove();
    expect(missing).toEqual([]);
  });
});

describe("the examples in the README", () => {
  it.each(blocks("yaml").map((text) => [text.slice(0, 60), text]))(
    "are configurations without a mistake: %j",
    (_, text) => {
      expect(parseConfig(text, "README.md")).toMatchObject({ ok: true });
    },
  );

  it("are charges that can be read", () => {
    const charges = section("Run it for real");
    const [json] = blocks("json", charges).filter((text) => text.includes('"charges"'));
    const [xml] = blocks("xml", charges);
    const fromJson = parseChargeBody("application/vnd.tollgate.charge+json", Buffer.from(json!));
    expect(fromJson).toMatchObject({ ok: true, value: [{ id: "c1" }, { id: "c2" }] });
    expect(parseChargeBody("application/vnd.tollgate.charge+xml", Buffer.from(xml!))).toEqual(fromJson);
  });

  const example = (name: string, ports: Readonly<Record<number, number>>): string => {
    const text = blocks("js").find((one) => one.startsWith(`// ${name}`));
    if (text === undefined) throw new Error(`the README has no example ${name}`);
    const file = join(folder, name);
    writeFileSync(file, withPorts(text, ports));
    return file;
  };

  it("run as they stand: an app server and a client of the SDK, through a relay", { timeout: 30_000 }, async () => {
    const port = await freePort();
    const portal = await openPortal({
      config: {
        services: [{ id: "wine" }],
        appServers: [{ id: "shop", uri: `sip:127.0.0.1:${port};transport=tcp`, services: ["wine"] }],
      },
    });
    const server = await start("server.mjs", process.execPath, [example("server.mjs", { 5070: port })]);
    await server.says(/wine is served at sip:127\.0\.0\.1:\d+;transport=tcp/);
    const client = await start("client.mjs", process.execPath, [example("client.mjs", { 5060: portal.tcp })]);
    await client.says(/open http:\/\/127\.0\.0\.1:8080\/cellar\nhung up: remote/);
    expect(await client.exit).toEqual({ code: 0, signal: null });
    await server.stop();
    expect(lines(await portal.bill())).toContain("2 x Riesling by info: 25.00 EUR");
    await portal.close();
  });

  it("run as they stand: a change, a move, several sessions (M20-M25)", { timeout: 30_000 }, async () => {
    const ports = { 5071: await freePort(), 5072: await freePort() };
    const config = blocks("yaml").find((text) => text.includes("brewery, uri"));
    const portal = await openPortal({ config: parse(withPorts(config!, ports)) });
    const houses = await start("houses.mjs", process.execPath, [example("houses.mjs", ports)]);
    await houses.says(/open/);
    const client = await start("evening.mjs", process.execPath, [example("evening.mjs", { 5060: portal.tcp })]);
    const said = ["beer", "cider", "books", "books"].map((service) => `${service}: http://127.0.0.1:8080/${service}`);
    await client.says(new RegExp([...said, "sent on from cider to beer"].join("\\n")));
    expect(await client.exit).toEqual({ code: 0, signal: null });
    await houses.stop();
    const bill = await portal.bill();
    expect(bill.services.map(({ service, sessions }) => [service, sessions.length])).toEqual([
      ["beer", 2],
      ["books", 2],
      ["cider", 3],
      ["tasting", 1],
    ]);
    expect(bill.calls.map(({ parts }) => parts.map(({ service }) => service))).toEqual([
      ["cider", "beer", "cider"],
      ["tasting", "cider", "beer"],
    ]);
    await portal.close();
  });
});

/** With other ports than those that are free on the reader's machine. */
const withPorts = (text: string, ports: Readonly<Record<number, number>>): string =>
  Object.entries(ports).reduce((all, [from, to]) => all.replaceAll(new RegExp(`\\b${from}\\b`, "g"), String(to)), text);
