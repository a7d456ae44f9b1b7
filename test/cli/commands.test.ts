import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Terminal } from "./terminal.ts";

let terminal: Terminal;
beforeEach(() => {
  terminal = new Terminal();
});
afterEach(() => terminal.remove());

const tollgate = (line: string, given?: { stdin?: string; env?: Record<string, string> }) =>
  terminal.tollgate(line.split(" "), given);

describe("tollgate", () => {
  it("prints its version", async () => {
    const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
      version: string;
    };
    expect(await tollgate("--version")).toEqual({ code: 0, out: `${version}\n`, err: "" });
  });

  it("has help with examples, for itself and for each command", async () => {
    const all = await tollgate("--help");
    expect(all.code).toBe(0);
    expect(all.out).toContain("Examples:");
    for (const command of [
      "start",
      "demo",
      "check-config",
      "user",
      "service",
      "appserver",
      "tariff",
      "sessions",
      "bill",
      "machines",
    ]) {
      expect(all.out).toMatch(new RegExp(`^  ${command} `, "m"));
      const help = await tollgate(`${command} --help`);
      expect(help.code).toBe(0);
      expect(help.out).toContain(`Usage: tollgate ${command}`);
      expect(help.out).toContain("--config");
    }
  });

  it.each([
    ["frobnicate", "unknown command 'frobnicate'"],
    ["strat", "Did you mean start?"],
    ["user add", "missing required argument 'id'"],
    ["user add alice --passwrod-stdin", "Did you mean --password-stdin?"],
    ["appserver add a", "required option '--uri <uri>'"],
    ["appserver add a --uri sip:x --service s --priority low", "It has to be a number"],
  ])("refuses the command line %s with exit code 2", async (line, why) => {
    const { code, err } = await tollgate(line);
    expect(code).toBe(2);
    expect(err).toContain(why);
  });
});

describe("tollgate user", () => {
  it("registers, lists and removes users, and keeps no password (M2)", async () => {
    expect(await tollgate("user add alice --password-stdin", { stdin: "correct horse\nmore\n" })).toMatchObject({
      code: 0,
      out: "user alice registered (realm localhost)\n",
    });
    expect((await tollgate("user add bob --no-md5", { env: { TOLLGATE_PASSWORD: "battery" } })).code).toBe(0);
    const list = await tollgate("user list --json");
    expect(JSON.parse(list.out)).toEqual([
      { id: "alice", realm: "localhost", algorithms: ["sha-256", "md5"], blocked: false },
      { id: "bob", realm: "localhost", algorithms: ["sha-256"], blocked: false },
    ]);
    for (const file of readdirSync(join(terminal.folder, "data"), { recursive: true, withFileTypes: true })) {
      if (file.isFile())
        expect(readFileSync(join(file.parentPath, file.name), "latin1")).not.toContain("correct horse");
    }
    expect((await tollgate("user remove alice")).code).toBe(0);
    expect((await tollgate("user list")).out).not.toContain("alice");
    expect(await tollgate("user remove alice")).toMatchObject({
      code: 1,
      err: "tollgate: no user alice; see: tollgate user list\n",
    });
  });

  it("gives a new password only when told to", async () => {
    await tollgate("user add alice --password-stdin", { stdin: "one" });
    const again = await tollgate("user add alice --password-stdin", { stdin: "two" });
    expect(again).toMatchObject({ code: 1, out: "" });
    expect(again.err).toContain("--replace");
    expect((await tollgate("user add alice --password-stdin --replace", { stdin: "two" })).out).toContain(
      "has a new password",
    );
  });

  it("asks for a password only at a terminal, and says what to do where there is none", async () => {
    const { code, err } = await tollgate("user add alice");
    expect(code).toBe(2);
    expect(err).toContain("--password-stdin");
  });

  it("refuses an empty password and an id that cannot stand in a SIP URI", async () => {
    expect((await tollgate("user add alice --password-stdin", { stdin: "\n" })).code).toBe(2);
    const { code, err } = await tollgate("user add al:ice --password-stdin", { stdin: "x" });
    expect(code).toBe(2);
    expect(err).toContain('found "al:ice"');
  });

  it("says who cannot sign in since the realm changed", async () => {
    await tollgate("user add alice --password-stdin", { stdin: "one" });
    terminal.write("tollgate.yaml", "portal: { domain: portal.example }\n");
    expect((await tollgate("user list")).out).toContain("cannot sign in: the realm is now portal.example");
  });
});

describe("tollgate service, appserver, tariff", () => {
  it("register, list, replace and remove", async () => {
    expect((await tollgate("tariff add lesson --currency EUR --price 0.50 --increment-s 30 --cap 25.00")).out).toBe(
      "tariff lesson registered\n",
    );
    const english =
      "service add english --tariff lesson --fork first --client-may-choose single,all --limit-charge 5 --limit-currency EUR";
    expect((await tollgate(english)).code).toBe(0);
    const add =
      "appserver add school --uri sip:127.0.0.1:5070;transport=tcp --service english --service maths,latin --capacity 5";
    expect(await tollgate(add)).toMatchObject({
      code: 2,
      err: expect.stringContaining("there is no service maths, and no service latin"),
    });
    expect((await tollgate(`${add} --force`)).code).toBe(0);
    expect(JSON.parse((await tollgate("tariff list --json")).out)).toEqual([
      { id: "lesson", currency: "EUR", price: "0.50", incrementS: 30, cap: "25.00", from: "store" },
    ]);
    expect(JSON.parse((await tollgate("service list --json")).out)).toEqual([
      {
        id: "english",
        tariff: "lesson",
        fork: "first",
        clientMayChoose: ["single", "all"],
        limits: { charge: "5", currency: "EUR" },
        from: "store",
      },
    ]);
    expect(JSON.parse((await tollgate("appserver list --json")).out)).toEqual([
      {
        id: "school",
        uri: "sip:127.0.0.1:5070;transport=tcp",
        services: ["english", "maths", "latin"],
        capacity: 5,
        from: "store",
      },
    ]);
    expect((await tollgate("tariff add lesson --currency EUR")).err).toContain("--replace");
    expect((await tollgate("tariff add lesson --currency EUR --replace")).out).toBe("tariff lesson replaced\n");
    expect((await tollgate("appserver list")).out).toMatch(
      /^school +sip:127\.0\.0\.1:5070;transport=tcp +10 +1 +5 +english,maths,latin +store$/m,
    );
    for (const thing of ["appserver remove school", "service remove english", "tariff remove lesson"])
      expect((await tollgate(thing)).code).toBe(0);
    expect((await tollgate("service list")).out).toBe(
      "no services; register one with: tollgate service add ID (see --help)\n",
    );
    expect((await tollgate("service remove english")).code).toBe(1);
  });

  it.each([
    ["tariff add t --currency Euro", '--currency: expected an ISO 4217 currency code such as EUR; found "Euro"'],
    [
      "tariff add t --currency EUR --setup-fee 0,50",
      '--setup-fee: expected a decimal amount in quotes, such as "0.25"; found "0,50"',
    ],
    ["service add s --fork both", '--fork: expected one of sequential, first, all; found "both"'],
    ["service add s --client-may-choose some", "--client-may-choose"],
    ["service add s --ring-s 0", "--ring-s: expected a number of at least 1; found 0"],
    ["service add s --limit-charge 5", "--limit-currency: expected"],
    ["service add ?", "id: expected an id of letters"],
    [
      "appserver add a --uri 10.0.0.1 --service s",
      '--uri: expected a SIP URI such as sip:10.0.0.5:5060;transport=tcp, or a URL such as https://shop.example/tollgate; found "10.0.0.1"',
    ],
  ])("%s is refused by the same schema as the configuration", async (line, why) => {
    const { code, err, out } = await tollgate(line);
    expect(code).toBe(2);
    expect(out).toBe("");
    expect(err).toContain(why);
  });

  it("leave alone what the configuration file defines, and show where it comes from", async () => {
    terminal.write("tollgate.yaml", "services: [{ id: wine, title: Wine shop }]\n");
    for (const line of ["service add wine --replace", "service remove wine"]) {
      const { code, err } = await tollgate(line);
      expect(code).toBe(1);
      expect(err).toBe(
        "tollgate: service wine is defined in tollgate.yaml, which wins over the store: change it there, then reload the relay (SIGHUP)\n",
      );
    }
    expect((await tollgate("service list")).out).toMatch(/^wine .*Wine shop +tollgate\.yaml$/m);
  });
});

describe("tollgate check-config", () => {
  it("says that all is well, and what is there", async () => {
    terminal.write(
      "tollgate.yaml",
      "services: [{ id: wine }]\nappServers: [{ id: shop, uri: sip:127.0.0.1:5070, services: [wine] }]\n",
    );
    expect(await tollgate("check-config")).toEqual({
      code: 0,
      out: "tollgate.yaml: ok (1 services, 1 app servers, 0 tariffs, 0 rules, with those in the store)\n",
      err: "",
    });
    expect(existsSync(join(terminal.folder, "data"))).toBe(false);
  });

  it("shows each mistake with its place and ends with 2", async () => {
    terminal.write("a.yaml", "services:\n  - id: wine\n    fork: frist\nlimits:\n  cals: 5\n");
    const { code, err } = await tollgate("check-config a.yaml");
    expect(code).toBe(2);
    expect(err).toContain('a.yaml:3:11 services[0].fork: expected one of sequential, first, all; found "frist"\n');
    expect(err).toContain("a.yaml:5:3 limits.cals: unknown key; did you mean calls?\n");
    expect(err).toContain("2 mistakes");
  });

  it("looks for names in the store too", async () => {
    terminal.write("tollgate.yaml", "services: [{ id: wine, tariff: flat }]\n");
    const before = await tollgate("check-config");
    expect(before.code).toBe(2);
    expect(before.err).toContain("\ntollgate.yaml:1:32 services[0].tariff: expected the id of a tariff");
    expect((await tollgate("tariff add flat --currency EUR")).code).toBe(0);
    expect((await tollgate("check-config")).code).toBe(0);
  });

  it("warns of rules by From that who calls himself anonymous passes, and of all where it need not match", async () => {
    const rules = `services: [{ id: wine }]
rules:
  - { name: a, when: { from: "sip:mallory@.*" }, then: { reject: 403 } }
  - { name: b, when: { user: mallory, from: "sip:.*" }, then: { reject: 403 } }
  - { name: c, when: { from: "sip:alice@.*" }, then: { service: wine } }
`;
    const warned = async () =>
      (await tollgate("check-config")).err.match(/rules\[\d\]\.when\.from: From is .*: say user/g);
    terminal.write("tollgate.yaml", rules);
    expect(await warned()).toEqual([expect.stringMatching(/^rules\[0\].* calls himself anonymous: say user$/)]);
    terminal.write("tollgate.yaml", `${rules}authentication: { fromMustMatch: false }\n`);
    expect(await warned()).toEqual([
      expect.stringMatching(/^rules\[0\].*fromMustMatch: false/),
      expect.stringMatching(/^rules\[2\].*fromMustMatch: false/),
    ]);
  });

  it("warns where a client could stop the meter by a change of service, in the file and in the store", async () => {
    const file = (more: string) =>
      terminal.write(
        "tollgate.yaml",
        `tariffs: [{ id: minute, currency: EUR, price: "0.50" }]
services: [{ id: lesson, tariff: minute }, { id: info${more} }, { id: exam, tariff: minute }]
appServers: [{ id: school, uri: "sip:127.0.0.1:5070", services: [lesson, info] }, { id: exams, uri: "sip:127.0.0.1:5071", services: [lesson, exam] }]
`,
      );
    file("");
    const open = await tollgate("check-config");
    expect([open.code, open.out]).toEqual([0, expect.stringContaining("tollgate.yaml: ok")]);
    expect(open.err).toMatch(
      /^warning: tollgate\.yaml:3:14 appServers\[0\]: app server school: .*info \(its time is free\).*change: confirmed/,
    );
    expect(open.err.split("\n")).toHaveLength(2);
    file(", change: confirmed");
    expect((await tollgate("check-config")).err).toBe("");
    file("");
    const add = "appserver add other --uri sip:127.0.0.1:5072 --service lesson --service info";
    expect((await tollgate(add)).code).toBe(0);
    expect((await tollgate("check-config")).err).toContain("warning: tollgate.yaml: app server other: ");
    expect((await tollgate(`${add} --replace --change answered`)).code).toBe(0);
    expect((await tollgate("check-config")).err).not.toContain("app server other");
    expect((await tollgate(`${add} --replace --change maybe`)).err).toContain(
      "--change: expected one of answered, confirmed",
    );
  });

  it("says what to do where there is no file", async () => {
    expect((await tollgate("check-config")).code).toBe(2);
    expect((await tollgate("check-config b.yaml")).err).toContain("b.yaml: cannot be read: ENOENT");
  });

  it("every command refuses to work with a wrong configuration", async () => {
    terminal.write("tollgate.yaml", "limit: 5\n");
    for (const line of ["user list", "service list", "start", "sessions", "bill alice"])
      expect((await tollgate(line)).code).toBe(2);
    expect((await tollgate("user list", { env: { TOLLGATE_CONFIG: "other.yaml" } })).err).toContain("other.yaml");
  });
});

describe("tollgate machines", () => {
  it("prints the charts, all or one (P1)", async () => {
    const all = await tollgate("machines");
    expect(all.code).toBe(0);
    expect(all.out).toContain("## session\n\n```mermaid\n");
    expect((await tollgate("machines session")).out).toMatch(/^stateDiagram/);
    expect((await tollgate("machines sesion")).code).toBe(2);
  });
});

describe("currencies that do not fit", () => {
  it("and may meet by a rule that is for any service are warned of", async () => {
    await tollgate("service add wine --limit-session 5 --limit-currency USD");
    const file = (then: string) =>
      terminal.write(
        "tollgate.yaml",
        `tariffs: [{ id: lesson, currency: EUR }]\nservices: [{ id: beer, limits: { currency: EUR } }]\nrules: [{ name: a, then: ${then} }]\nappServers: [{ id: shop, uri: sip:127.0.0.1:5070, services: [wine, beer] }]\n`,
      );
    file("{ tariff: lesson }");
    const { code, err } = await tollgate("check-config");
    expect([code, err]).toEqual([
      0,
      "warning: tollgate.yaml:3:36 rules[0].then.tariff: where this rule is for wine, whose limits are in USD, its app servers can charge nothing: tariff lesson is in EUR\n",
    ]);
    file("{ tariff: lesson, service: beer }");
    expect((await tollgate("check-config")).err).toBe("");
  });

  it("are refused by the command that brings them together, and found by check-config", async () => {
    terminal.write("tollgate.yaml", "tariffs: [{ id: file, currency: JPY }]\n");
    await tollgate("tariff add lesson --currency EUR --price 1");
    const wine = "service add wine --limit-session 5 --limit-currency USD";
    const refused = await tollgate(`${wine} --tariff lesson`);
    expect(refused).toMatchObject({ code: 2, out: "" });
    expect(refused.err).toContain(
      "the limits of service wine are in USD, its tariff lesson in EUR: its app servers could charge nothing",
    );
    expect((await tollgate(`${wine} --tariff file`)).code).toBe(2);
    expect((await tollgate(`${wine} --tariff later --force`)).code).toBe(0);
    expect((await tollgate("tariff add later --currency EUR")).code).toBe(2);
    expect((await tollgate("tariff add later --currency USD")).code).toBe(0);
    expect((await tollgate("tariff add later --currency EUR --replace")).code).toBe(2);
    expect((await tollgate("tariff add other --currency EUR")).code).toBe(0); // nothing has to do with it
    expect((await tollgate("check-config")).code).toBe(0);
    terminal.write("tollgate.yaml", "tariffs: [{ id: later, currency: JPY }]\n");
    const checked = await tollgate("check-config");
    expect(checked.code).toBe(2);
    expect(checked.err).toContain(
      'tollgate.yaml:1:34 tariffs[0].currency: expected USD, the currency of the limits of the service wine in the store; found "JPY" in its tariff later',
    );
    // What was wrong before does not stand in the way of what has nothing to do with it.
    expect((await tollgate("service add beer")).code).toBe(0);
  });
});
