import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { loadConfig } from "../../src/config/load.ts";
import { ROOT } from "../support/project.ts";

interface Service {
  readonly volumes: readonly string[];
  readonly image: string;
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly ports?: readonly string[];
  readonly secrets?: readonly string[];
  readonly build?: { readonly context: string; readonly dockerfile_inline: string };
}

interface Compose {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, null>>;
  readonly secrets: Readonly<Record<string, { readonly environment: string }>>;
}

const ops = join(ROOT, "ops");
const text = (path: string) => readFileSync(join(ROOT, path), "utf8");

describe("ops/compose.yaml (P2)", () => {
  const source = text("ops/compose.yaml");
  const compose = parse(source, { merge: true }) as Compose;
  const all = Object.values(compose.services);

  it("has NATS, MongoDB, a relay and a billing worker, with files and volumes that are there", () => {
    expect(Object.keys(compose.services)).toEqual(["nats", "mongo", "relay", "billing"]);
    for (const volume of all.flatMap(({ volumes }) => volumes)) {
      const [from = ""] = volume.split(":");
      if (from.startsWith(".")) expect(existsSync(resolve(ops, from)), volume).toBe(true);
      else expect(compose.volumes).toHaveProperty([from]);
    }
  });

  it.each(["relay", "billing"])(
    "gives %s a configuration without mistakes, and passwords as files that it has",
    (role) => {
      const loaded = loadConfig(join(ops, `compose/${role}.yaml`));
      expect(loaded.ok ? loaded.value : loaded.error).toMatchObject({
        roles: [role],
        bus: {
          user: role,
          passwordFile: `/run/secrets/nats-${role}-password`,
          secretFile: "/run/secrets/event-secret",
        },
        store: {
          url: expect.stringMatching(/^mongodb:\/\/mongo:/),
          user: "tollgate",
          passwordFile: "/run/secrets/mongodb-password",
        },
      });
      expect(compose.services[role]!.secrets).toEqual([`nats-${role}-password`, "event-secret", "mongodb-password"]);
      expect(compose.services[role]!.environment ?? {}).toEqual({});
    },
  );

  it("opens nothing to other machines unless it is told to", () => {
    const ports = all.flatMap(({ ports = [] }) => ports);
    expect(ports).toHaveLength(2);
    for (const port of ports) expect(port).toMatch(/^\$\{SIP_ADDRESS:-127\.0\.0\.1\}:5060:5060\/(udp|tcp)$/);
  });

  it("has no password in it, and none in an argument; every one is named at its head", () => {
    const names = Object.values(compose.secrets).map(({ environment }) => environment);
    const nats = Object.keys(compose.services.nats!.environment!);
    expect(nats).toEqual(["NATS_RELAY_PASSWORD", "NATS_BILLING_PASSWORD", "NATS_SHOP_PASSWORD"]);
    expect(names).toEqual([
      "NATS_RELAY_PASSWORD",
      "NATS_BILLING_PASSWORD",
      "EVENT_SECRET",
      "MONGODB_PASSWORD",
      "MONGODB_ROOT_PASSWORD",
    ]);
    const head = /for name in ([A-Z_ ]+); do echo "\$\{name\}_PASSWORD=/.exec(source)![1]!.split(" ");
    const made = [...head.map((name) => `${name}_PASSWORD`), "EVENT_SECRET"];
    expect(new Set(made)).toEqual(new Set([...nats, ...names]));
    expect(source).toContain('echo "EVENT_SECRET=$(openssl rand -hex 32)"');
    expect(source).toContain("umask 077");
    for (const { command = [], environment = {}, secrets = [] } of all) {
      expect(command.join(" ")).not.toMatch(/password|\$/i);
      for (const secret of secrets) expect(compose.secrets).toHaveProperty([secret]);
      for (const [name, value] of Object.entries(environment))
        if (/PASSWORD/.test(name)) expect(value).toMatch(/^\/run\/secrets\/|^\$\{NATS_\w+_PASSWORD:\?/);
    }
    for (const file of ["compose/nats.conf", "compose/relay.yaml", "compose/billing.yaml"])
      expect(text(`ops/${file}`)).not.toMatch(/^\s*password:\s*[^$\s]/m);
  });

  it("has a user of MongoDB that may read and write Tollgate's database and nothing else; root is another", () => {
    const { environment } = compose.services.mongo!;
    expect(environment).toEqual({
      MONGO_INITDB_ROOT_USERNAME: "root",
      MONGO_INITDB_ROOT_PASSWORD_FILE: "/run/secrets/mongodb-root-password",
    });
    const made: unknown[] = [];
    const db = { getSiblingDB: (name: string) => ({ createUser: (user: object) => made.push({ in: name, ...user }) }) };
    const run = (password: string) => {
      const required = () => ({
        readFileSync: (path: string) => (path === "/run/secrets/mongodb-password" ? password : ""),
      });
      new Function("db", "require", text("ops/compose/mongodb-user.js"))(db, required);
    };
    run("s3cret\n");
    expect(made).toEqual([
      { in: "tollgate", user: "tollgate", pwd: "s3cret", roles: [{ role: "readWrite", db: "tollgate" }] },
    ]);
    expect(() => run("\n")).toThrow("MONGODB_PASSWORD is empty");
  });
});

describe("an image", () => {
  // The patterns of .dockerignore, as far as this file uses them: the last that fits decides; a folder that is out is
  // out with all in it.
  const rules = text(".dockerignore")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"));
  const fits = (pattern: string, path: string): boolean => {
    const source = pattern
      .split("/")
      .map((part) => (part === "**" ? ".*" : part.replace(/[.]/g, "\\.").replace(/\*/g, "[^/]*")))
      .join("/")
      .replace(/^\.\*\//, "(.*/)?");
    return new RegExp(`^${source}(/.*)?$`).test(path);
  };
  const isIn = (path: string): boolean =>
    rules.reduce(
      (is, rule) => (rule.startsWith("!") ? is || fits(rule.slice(1), path) : is && !fits(rule, path)),
      true,
    );

  it("has no history, no data, no password and no key in it", () => {
    for (const path of [
      ".git/config",
      "node_modules/x/index.js",
      "data/store/data.mdb",
      "ops/.env",
      ".env",
      "src/.env.local",
    ])
      expect(isIn(path), path).toBe(false);
    for (const path of [
      "identity-key.pem",
      "ops/identity.pem",
      "src/x.key",
      "dist/src/cli/main.js",
      "tollgate.yaml",
      "ops/compose.yaml",
    ])
      expect(isIn(path), path).toBe(false);
    expect(isIn("notes.txt")).toBe(false);
  });

  it("has what it is built from", () => {
    const build = parse(text("tsconfig.build.json")) as { include: string[] };
    for (const folder of build.include) expect(isIn(`${folder}/x.ts`), folder).toBe(true);
    const { files } = JSON.parse(text("package.json")) as { files: string[] };
    for (const file of files.filter((one) => !one.startsWith("dist/"))) expect(isIn(file), file).toBe(true);
    for (const file of ["package.json", "package-lock.json", "tsconfig.json"]) expect(isIn(file), file).toBe(true);
  });
});

describe("the repository", () => {
  it.each(["ops/.env", ".env", "ops/.env.old", "identity-key.pem", "data/store/data.mdb"])("never takes %s", (path) => {
    if (!existsSync(join(ROOT, ".git"))) return; // a copy without its history
    expect(execFileSync("git", ["check-ignore", path], { cwd: ROOT, encoding: "utf8" }).trim()).toBe(path);
  });
});
