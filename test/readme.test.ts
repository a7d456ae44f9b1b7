import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { parseChargeBody } from "../src/charging/charges/body.ts";
import { parseConfig } from "../src/config/load.ts";
import { configSchema } from "../src/config/schema.ts";
import { metricsText } from "../src/console/metrics.ts";
import { Terminal } from "./cli/terminal.ts";
import { openPortal } from "./e2e/portal.ts";
import { allPages, type Page } from "./support/pages.ts";
import { freePort, start, stopAll } from "./support/peers.ts";
import { nodeFlags, ROOT } from "./support/project.ts";

/* What the pages of this repository say is so. */

const pages = allPages();
const page = (path: string): Page => pages.find((one) => one.path === path)!;
const readme = page("README.md");
const guide = pages.filter(({ path }) => path.startsWith("ops/"));
/** Pages that name settings; those of the SDK name its own options. */
const forOperators = [readme, page("CHANGELOG.md"), ...guide];
/** Pages for people who run Tollgate or write for it; the others are for those who change it. */
const forUsers = pages.filter(({ path }) => /^(README|CHANGELOG|ops\/|src\/sdk\/)/.test(path));
const read = (file: string): string => readFileSync(join(ROOT, file), "utf8");
const filesOf = (below: string, ending: string): string[] =>
  readdirSync(join(ROOT, below), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(ending))
    .map((name) => join(below, name));
/** Rooms, from the top down. */
const { LAYERS } = (await import(join(ROOT, "layers.mjs"))) as { LAYERS: readonly (readonly string[])[] };
const everywhere = pages.map((one) => one.text).join("\n");

const folder = mkdtempSync(join(tmpdir(), "tollgate-readme-"));
mkdirSync(join(folder, "node_modules"));
symlinkSync(ROOT, join(folder, "node_modules/tollgate"));
writeFileSync(join(folder, "package.json"), "{}"); // else one of a folder above counts
afterAll(async () => {
  await stopAll();
  rmSync(folder, { recursive: true, force: true });
});

describe("the pages", () => {
  it("are found, the README in less than 200 lines", () => {
    expect(pages.length).toBeGreaterThan(14);
    expect(readme.lines.length).toBeLessThan(200);
  });

  it.each(pages.map((one) => [one.path, one]))("%s has no line of more than 120 columns, but in diagrams", (_, one) => {
    const written = one.text.replace(/^```mermaid\n[\s\S]*?^```$/gm, "").split("\n");
    expect(written.filter((line) => line.length > 120)).toEqual([]);
  });

  it.each(pages.map((one) => [one.path, one]))("%s links to what is there", (_, one) => {
    const broken = one.links.filter(({ file, anchor }) => {
      if (!existsSync(join(ROOT, file))) return true;
      return anchor !== "" && file.endsWith(".md") && !page(file).anchors.includes(anchor);
    });
    expect(broken.map(({ target }) => target)).toEqual([]);
    expect(new Set(one.anchors).size).toBe(one.anchors.length);
  });

  it("are each linked to from another", () => {
    const linked = new Set(
      pages.flatMap((one) => one.links.filter(({ file }) => file !== one.path)).map((to) => to.file),
    );
    const lost = pages.filter(({ path }) => path !== "README.md" && !linked.has(path) && !linked.has(join(path, "..")));
    expect(lost.map(({ path }) => path)).toEqual([]);
  });

  it("name files of this repository that are there", () => {
    const named = [...everywhere.matchAll(/`((?:src|test|ops|machines|\.github|\.ci)\/[\w./-]*[\w/])`/g)];
    expect(named.length).toBeGreaterThan(30);
    expect(named.map((found) => found[1]!).filter((file) => !existsSync(join(ROOT, file)))).toEqual([]);
  });

  it("for users speak to users: no ids of requirements", () => {
    const ids = forUsers.flatMap((one) =>
      [...one.text.matchAll(/\b[MP]\d{1,2}\b/g)].map((id) => `${one.path}: ${id[0]}`),
    );
    expect(ids).toEqual([]);
  });
});

describe("the requirements in test/README.md", () => {
  const coverage = page("test/README.md");
  const tests = coverage.links.filter(({ file }) => file.endsWith(".test.ts") && !file.endsWith("readme.test.ts"));
  const paragraphs = ["Requirements", "RFCs"].flatMap((title) =>
    coverage
      .section(title)
      .split(/^(?=\*\*(?:[MP]\d|RFC ))/m)
      .slice(1),
  );

  it("are M1-M25 and P1-P7, each with a test or the word that it is not done", () => {
    const ids = paragraphs.map((text) => /^\*\*([MP]\d+)\*\*/.exec(text)?.[1]).filter((id) => id !== undefined);
    const upTo = (letter: string, last: number) => Array.from({ length: last }, (_, i) => `${letter}${i + 1}`);
    expect(ids).toEqual([...upTo("M", 25), ...upTo("P", 7)]);
    expect(paragraphs.filter((text) => !text.includes(".test.ts)") && !/\*Not yet\b/.test(text))).toEqual([]);
    expect(tests.length).toBeGreaterThan(150);
  });

  it.each(tests.map(({ file, title }) => [file, title]))("%s has the test %j", (file, title) => {
    const source = read(file).replace(/\\"/g, '"').replace(/\s+/g, " ");
    expect(source.includes(title), `no test "${title}" in ${file}`).toBe(true);
  });

  it("name each RFC that a test names", () => {
    const titles = filesOf("test", ".test.ts").flatMap((file) =>
      [...read(file).matchAll(/\b(?:it|describe|test|\w+Test)(?:\.each\([\s\S]*?\))?\(\s*["`]([^"`]*)/g)].map(
        (title) => title[1]!,
      ),
    );
    const named = new Set(titles.flatMap((title) => [...title.matchAll(/\bRFC (\d{3,4})/g)].map((found) => found[1]!)));
    const listed = new Set([...coverage.section("RFCs").matchAll(/\b(\d{4})\b/g)].map((found) => found[1]!));
    expect([...named].filter((number) => !listed.has(number)).sort()).toEqual([]);
  });
});

describe("the walks in src/README.md", () => {
  const code = page("src/README.md");
  const walks = [...code.prose.matchAll(/^### (.+)$/gm)].map((heading) => heading[1]!);
  const stepsOf = (text: string) => [
    ...text.matchAll(/`((?:src|machines)\/[^`]+\.ts)`(?:[^(`]{0,4}\(((?:`[^`]+`[,\s]*)+)\))?/g),
  ];
  const steps = stepsOf(code.section("The way of a message through the files"));

  it("are of INVITE, INFO, BYE, a change of service and REFER, and go through every folder", () => {
    for (const one of ["an INVITE", "an INFO with a charge", "a BYE", "a change of service", "a REFER"])
      expect(walks).toContain(`The way of ${one}`);
    const folders = new Set(steps.map((step) => step[1]!.split("/").slice(0, 2).join("/")));
    for (const one of ["transport", "transaction", "relay", "sip", "directory", "charging", "bus", "store"])
      expect(folders).toContain(`src/${one}`);
  });

  it.each(steps.map((step) => [step[1]!, (step[2] ?? "").replace(/[`\s]/g, "")]))("%s has %s", (file, names) => {
    expect(existsSync(join(ROOT, file))).toBe(true);
    for (const name of names.split(",").filter(Boolean)) expect(read(file)).toMatch(new RegExp(`\\b${name}\\b`));
  });

  it.each(walks)("climb back nowhere: %s", (walk) => {
    /** The layer of a file: the longest room that it stands in. */
    const layerOf = (file: string): number => {
      const rooms = LAYERS.flatMap((layer, at) => layer.map((room) => ({ room, at })));
      const own = rooms.filter(({ room }) => file === room || file.startsWith(`${room}/`));
      return own.sort((a, b) => b.room.length - a.room.length)[0]!.at;
    };
    const files = stepsOf(code.section(walk)).map((step) => step[1]!);
    const climbs = files.flatMap((file, i) =>
      i > 0 && layerOf(file) < layerOf(files[i - 1]!) ? [`${files[i - 1]} -> ${file}`] : [],
    );
    expect(climbs).toEqual([]);
  });
});

describe("the commands on the pages", () => {
  const scripts = Object.keys(JSON.parse(read("package.json")).scripts);
  const inShell = (one: Page) => one.blocks("sh").flatMap((block) => block.replace(/\\\n/g, " ").split("\n"));

  it("are there: npm", () => {
    const named = [...everywhere.matchAll(/npm run ([\w:-]+)/g)].map((found) => found[1]!);
    expect(named.length).toBeGreaterThan(10);
    expect(named.filter((name) => !scripts.includes(name))).toEqual([]);
  });

  it("are there: tollgate, in the text", async () => {
    const named = new Set(
      pages.flatMap((one) => one.codes).flatMap((code) => /^(?:npx )?tollgate ([a-z][\w-]*)/.exec(code)?.[1] ?? []),
    );
    expect(named.size).toBeGreaterThan(7);
    const terminal = new Terminal();
    for (const name of named) expect(await terminal.tollgate([name, "--help"]), name).toMatchObject({ code: 0 });
    terminal.remove();
  });

  /** These want a relay that runs, or an event that could not be billed: that they know their options is looked at. */
  const ALONE_NO =
    /^(start|backup|restore|sessions|nodes|drain|lockouts|registrations|unregister|demo|events (show|repair|replay|drop)|usage (status|show|drop))\b/;

  it("of a page do what they should, one after the other: tollgate", { timeout: 30_000 }, async () => {
    const failed: string[] = [];
    let ran = 0;
    for (const one of guide) {
      const terminal = new Terminal();
      terminal.write("tollgate.yaml", "portal: { domains: [portal.example] }\n");
      const set = async (...argv: string[]) => expect(await terminal.tollgate(argv)).toMatchObject({ code: 0 });
      const env = { TOLLGATE_PASSWORD: "correct horse" };
      if (one.path.endsWith("money.md")) {
        await set("service", "add", "wine");
        await set("appserver", "add", "shop", "--uri", "sip:127.0.0.1:5070", "--service", "wine");
        await terminal.tollgate(["user", "add", "alice"], { env });
      }
      if (one.path.endsWith("users.md")) {
        terminal.write(
          "tollgate.yaml",
          "portal: { domains: [portal.example, second.example], ownUsers: [second.example] }\n",
        );
        terminal.write("subscribers.csv", "username,domain,password\nbob,c.example,secret\n");
        await terminal.tollgate(["user", "add", "alice"], { env });
      }
      if (one.path.endsWith("api.md")) await terminal.tollgate(["user", "add", "alice"], { env });
      if (one.path.endsWith("services.md")) await set("tariff", "add", "pint", "--currency", "EUR");
      for (const line of inShell(one)) {
        // What a relay elsewhere is asked for is done here; test/cli/remote.test.ts shows that it is the same.
        const command = /^(?:npx )?tollgate (?:--remote \S+ )?(.*?)(?:\s+#.*)?$/.exec(line)?.[1];
        if (command === undefined) continue;
        const argv = [...command.matchAll(/"([^"]*)"|(\S+)/g)].map((word) => word[1] ?? word[2]!);
        if (ALONE_NO.test(command)) {
          const name = argv.slice(0, /^(events|lockouts|usage)$/.test(argv[0]!) ? 2 : 1);
          const { out } = await terminal.tollgate([...name, "--help"]);
          for (const option of argv.filter((word) => word.startsWith("--"))) expect(out).toContain(option);
          continue;
        }
        ran++;
        const outcome = await terminal.tollgate(argv, { env });
        if (outcome.code !== 0) failed.push(`${one.path}: ${line}\n${outcome.err}${outcome.out}`);
      }
      terminal.remove();
    }
    expect(failed).toEqual([]);
    expect(ran).toBeGreaterThan(25);
  });

  it("say in their help what they do, and no ids of requirements", async () => {
    const terminal = new Terminal();
    const help = async (...argv: string[]): Promise<string[]> => {
      const { out } = await terminal.tollgate([...argv, "--help"]);
      const commands = /\nCommands:\n([\s\S]*?)(?:\n\n|$)/.exec(out)?.[1] ?? "";
      const names = [...commands.matchAll(/^ {2}([a-z][\w-]*)/gm)]
        .map((name) => name[1]!)
        .filter((name) => name !== "help");
      const below = [];
      for (const name of names) below.push(...(await help(...argv, name)));
      return [out, ...below];
    };
    const texts = await help();
    terminal.remove();
    expect(texts.length).toBeGreaterThan(30);
    expect(texts.flatMap((text) => text.match(/\b[MP]\d{1,2}\b/g) ?? [])).toEqual([]);
  });

  it("give node the flags that the command gives itself", () => {
    const unit = read("ops/systemd/tollgate.service");
    expect(nodeFlags().length).toBeGreaterThan(0);
    expect(unit).toContain(`/usr/bin/node ${nodeFlags().join(" ")} `);
  });
});

describe("the settings on the pages", () => {
  const schema = z.toJSONSchema(configSchema, { io: "input", unrepresentable: "any" }) as Node;
  const defaults = parseConfig("", "README.md");
  const everyName = new Set<string>();
  collect(schema);

  function collect(node: Node): void {
    for (const [name, value] of Object.entries(node.properties ?? {})) {
      everyName.add(name);
      collect(value);
    }
    for (const below of [...(node.anyOf ?? []), ...(node.oneOf ?? []), ...(node.allOf ?? [])]) collect(below);
    for (const below of [node.items, node.additionalProperties]) if (typeof below === "object") collect(below);
  }

  /** Every way to go on from `nodes` by a name. */
  const below = (nodes: readonly Node[], name: string): Node[] =>
    nodes.flatMap((node): Node[] => {
      const sides = [...(node.anyOf ?? []), ...(node.oneOf ?? []), ...(node.allOf ?? [])];
      const inside = [...sides, ...(typeof node.items === "object" ? [node.items] : [])];
      const own = node.properties?.[name];
      return [...(own ? [own] : []), ...(inside.length > 0 ? below(inside, name) : [])];
    });

  /** What app servers that speak HTTP are told of: the section of that name has nothing to do with it. */
  const events = Object.keys(parse(readFileSync(join(ROOT, "ops/openapi.yaml"), "utf8")).webhooks);

  const dotted = forOperators.flatMap((one) =>
    one.codes
      .filter((code) => !events.includes(code))
      .filter((code) => /^[a-z]\w*(\.[a-z]\w*)+$/.test(code) && schema.properties?.[code.split(".")[0]!] !== undefined)
      .map((code) => [one.path, code] as const),
  );

  it("are there, where they are named with their section", () => {
    expect(dotted.length).toBeGreaterThan(30);
    const missing = dotted.filter(([, code]) => {
      let nodes: Node[] = [schema];
      for (const name of code.split(".")) nodes = below(nodes, name);
      return nodes.length === 0;
    });
    expect(missing).toEqual([]);
  });

  it("are there, where they are named with a value", () => {
    const named = forOperators.flatMap((one) =>
      one.codes.flatMap((code) => /^([a-z]\w*): ?[[{\w]/.exec(code)?.[1] ?? []),
    );
    expect(named.length).toBeGreaterThan(10);
    // schemes, an option of the SDK, who ended a session, a text of the log
    const notSettings = ["sip", "sips", "proof", "relay", "api"];
    expect(named.filter((name) => !everyName.has(name) && !notSettings.includes(name))).toEqual([]);
  });

  it("have the defaults that stand behind them in brackets", () => {
    const units: Readonly<Record<string, number>> = { s: 1, MiB: 2 ** 20, GiB: 2 ** 30, days: 86_400, "": 1 };
    const said = forOperators.flatMap((one) => [
      ...one.prose.matchAll(/`([a-z]\w*(?:\.\w+)+)`,?\s+\((\d[\d,]*)(?:\s(s|MiB|GiB|days))?[),]/g),
    ]);
    expect(said.length).toBeGreaterThan(7);
    if (!defaults.ok) throw new Error("a configuration without anything in it is wrong");
    for (const [, path, number, unit = ""] of said) {
      let value: unknown = defaults.value;
      for (const name of path!.split(".")) value = (value as Record<string, unknown>)?.[name];
      // Those of a bus or a store that nobody has chosen have no value here.
      if (value !== undefined) expect([path, value]).toEqual([path, Number(number!.replace(/,/g, "")) * units[unit]!]);
    }
  });

  it("are listed by section, each of them, in ops/guide/configuration.md", () => {
    const listed = [
      ...page("ops/guide/configuration.md")
        .section("The sections")
        .matchAll(/^\| `(\w+)`/gm),
    ];
    expect(listed.map((row) => row[1]!).sort()).toEqual(Object.keys(schema.properties!).sort());
  });

  it("of the environment are those that the code reads", () => {
    const named = new Set(everywhere.match(/\bTOLLGATE_[A-Z_]+[A-Z]\b/g));
    for (const stream of ["DEAD", "LEASES", "WITNESS"]) named.delete(`TOLLGATE_${stream}`);
    // The id of the sink stands in the middle.
    for (const name of named) if (/^TOLLGATE_USAGE_STRIPE_(KEY|(FORMER_)?SECRET)$/.test(name)) named.delete(name);
    expect(named.size).toBeGreaterThan(6);
    const code = filesOf("src", ".ts").map(read).join("\n");
    expect([...named].filter((name) => !code.includes(name))).toEqual([]);
  });

  const yaml = forOperators.flatMap((one) => one.blocks("yaml").map((text) => [one.path, text] as const));

  it.each(yaml)("stand in examples without a mistake: %s %j", (path, text) => {
    expect(parseConfig(text, path)).toMatchObject({ ok: true });
  });

  it("of the example configuration are all that there are, or their section is", () => {
    const example = read("ops/tollgate.yaml");
    expect([...everyName].filter((name) => !new RegExp(`\\b${name}\\b`).test(example))).toEqual([]);
  });
});

describe("the defaults in the example configuration", () => {
  const lines = read("ops/tollgate.yaml").split("\n");
  const startOf = (section: string) => lines.findIndex((line) => new RegExp(`^(# )?${section}:`).test(line));
  /** A section as it stands there, commented out or not, up to the next one. */
  const block = (section: string) => {
    const from = startOf(section);
    const to = lines.findIndex((line, i) => i > from && /^(# )?[a-zA-Z]+:/.test(line));
    return lines.slice(from, to < 0 ? undefined : to).join("\n");
  };
  const leaves = (value: unknown, path: readonly string[]): [section: string, name: string, value: string][] => {
    if (Array.isArray(value) || value === undefined) return [];
    if (typeof value !== "object" || value === null) return [[path[0]!, path.at(-1)!, String(value)]];
    return Object.entries(value).flatMap(([name, one]) => leaves(one, [...path, name]));
  };
  // The realm's default is another setting.
  const all = leaves(configSchema.parse({}), []).filter(([section, name]) => `${section} ${name}` !== "portal realm");

  it.each(all)("%s: %s is %s", (section, name, value) => {
    expect(startOf(section)).toBeGreaterThanOrEqual(0);
    const shown = [...block(section).matchAll(new RegExp(`(?<!\\w)${name}: *"?([^,}\\s"]+)`, "g"))];
    expect(shown.map((found) => found[1])).toContain(value);
  });
});

const inCluster = (name: string): string => `tollgate_cluster_${name}`;

describe("the metrics on the pages", () => {
  it("are those of a relay, every one", async () => {
    const portal = await openPortal({ config: {} });
    const shown = [...metricsText(portal.relay.metrics()).matchAll(/^# TYPE (\w+)/gm)].map((found) => found[1]!);
    await portal.close();
    const withServers = [
      "tollgate_certificate_days_left",
      "tollgate_shaken_certificate_days_left",
      "tollgate_rtpengines_down",
      ...["commands", "refused", "unanswered"].map((name) => `tollgate_media_${name}_total`),
      "tollgate_store_clock_difference_ms",
      ...["delivered_total", "failures_total", "dead_letters_total", "lost_total", "sinks_failing", "waiting"].map(
        (name) => `tollgate_usage_${name}`,
      ),
      "tollgate_usage_oldest_seconds",
      ...["sent_total", "dropped_total", "waiting"].map((name) => `tollgate_spans_${name}`),
      ...["nodes_up", "cut_off", "standbys", "copied", "without_standby", "lag_ms", "copies_late"].map(inCluster),
      ...["events_copied", "taken_up", "given_away", "silent", "silences", "missed", "patience_ms"].map(inCluster),
      ...["bus_renewed_total", "witness_failures_total", "handed_total", "taken_total", "unknown_total"].map(inCluster),
      ...[
        "frames",
        "lines",
        "heard",
        "dropped",
        "refused",
        "nonces",
        "nonces_stale",
        "loads",
        "loads_unknown",
        "polls",
      ].map((name) => `tollgate_shared_${name}_total`),
    ];
    const listed = [
      ...page("ops/guide/running.md")
        .section("Metrics")
        .matchAll(/^\| `(tollgate_\w+)`/gm),
    ];
    expect(listed.map((row) => row[1]!).sort()).toEqual([...shown, ...withServers].sort());
    const named = new Set(everywhere.match(/\btollgate_[a-z_]+[a-z]\b/g));
    for (const meter of ["tollgate_seconds", "tollgate_charges"]) named.delete(meter); // in another system
    expect([...named].filter((name) => !shown.includes(name) && !withServers.includes(name))).toEqual([]);
  });
});

describe("the examples on the pages", () => {
  it("are charges that can be read", () => {
    const money = page("ops/guide/money.md");
    const fromJson = parseChargeBody("application/vnd.tollgate.charge+json", Buffer.from(money.blocks("json")[0]!));
    expect(fromJson).toMatchObject({ ok: true, value: [{ id: "c1" }, { id: "c2" }] });
    const [xml] = money.blocks("xml");
    expect(parseChargeBody("application/vnd.tollgate.charge+xml", Buffer.from(xml!))).toEqual(fromJson);
  });

  const example = (one: Page, name: string, ports: Readonly<Record<number, number>>): string => {
    const text = one.blocks("js").find((block) => block.startsWith(`// ${name}`));
    if (text === undefined) throw new Error(`${one.path} has no example ${name}`);
    const file = join(folder, name);
    writeFileSync(file, withPorts(text, ports));
    return file;
  };

  it("are a first call, from the README's commands to the bill that it shows", { timeout: 30_000 }, async () => {
    const ports = { 5060: await freePort(), 5070: await freePort() };
    const [commands] = readme.blocks("sh").filter((block) => block.includes("tollgate start"));
    const [printed] = readme.blocks("").filter((block) => block.startsWith("open http"));
    const terminal = new Terminal();
    const sip = `127.0.0.1:${ports[5060]}`;
    terminal.write("tollgate.yaml", `listen: ["udp:${sip}", "tcp:${sip}"]\nlog: { level: silent }\ndrainS: 0\n`);
    const relays: Promise<unknown>[] = [];
    let seen = "";
    for (const line of withPorts(commands!, ports).split("\n").filter(Boolean)) {
      const [, input, command, behind] = /^(?:echo "([^"]*)" \| )?npx tollgate (.*?)( &)?(?:\s+#.*)?$/.exec(line) ?? [];
      const argv = [...(command ?? "").matchAll(/"([^"]*)"|(\S+)/g)].map((word) => word[1] ?? word[2]!);
      if (command === "start") {
        relays.push(terminal.tollgate(argv));
        await expect.poll(async () => (await terminal.tollgate(["sessions"])).code).toBe(0);
      } else if (argv[0] === "bill") {
        await expect.poll(async () => (await terminal.tollgate(argv)).out).toMatch(/0\.20 EUR[\s\S]*25\.00 EUR/);
        seen += (await terminal.tollgate(argv)).out;
      } else if (command !== undefined) {
        expect(behind).toBeUndefined();
        expect(await terminal.tollgate(argv, input === undefined ? {} : { stdin: `${input}\n` })).toMatchObject({
          code: 0,
        });
      } else if (line.startsWith("node server.mjs")) {
        const server = await start("server.mjs", process.execPath, [example(readme, "server.mjs", ports)]);
        await server.says(/wine is served at sip:127\.0\.0\.1:\d+;transport=tcp/);
      } else if (line.startsWith("node client.mjs")) {
        const client = await start("client.mjs", process.execPath, [example(readme, "client.mjs", ports)]);
        expect(await client.exit).toEqual({ code: 0, signal: null });
        seen += client.output();
      } else expect(line).toMatch(/^(npm ci && npm pack|mkdir \.\.\/portal)/);
    }
    terminal.signal("SIGTERM");
    await Promise.all([...relays, stopAll()]);
    terminal.remove();
    const alike = (text: string) =>
      text
        .replace(/\d{4}-\d\d(-\d\d \d\d:\d\d:\d\d)?/g, "DATE")
        .replace(/session \w+/g, "session ID")
        .replace(/0:00:0\d/, "TIME");
    expect(alike(seen)).toBe(alike(printed!));
  });
});

/** What is used here of a JSON schema. */
interface Node {
  readonly properties?: Readonly<Record<string, Node>>;
  readonly items?: Node;
  readonly additionalProperties?: Node | boolean;
  readonly anyOf?: readonly Node[];
  readonly oneOf?: readonly Node[];
  readonly allOf?: readonly Node[];
}

/** With other ports than those that are free on the reader's machine. */
const withPorts = (text: string, ports: Readonly<Record<number, number>>): string =>
  Object.entries(ports).reduce((all, [from, to]) => all.replaceAll(new RegExp(`\\b${from}\\b`, "g"), String(to)), text);
