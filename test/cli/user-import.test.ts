import { createHash } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openEmbeddedStore } from "../../src/store/embedded.ts";
import { Terminal } from "./terminal.ts";

let terminal: Terminal;
beforeEach(() => {
  terminal = new Terminal();
  terminal.write("tollgate.yaml", "portal: { domains: [a.example, b.example], ownUsers: [b.example] }\n");
});
afterEach(() => terminal.remove());

const tollgate = (line: string, stdin?: string) =>
  terminal.tollgate(line.split(" "), stdin === undefined ? {} : { stdin });
const md5 = (text: string) => createHash("md5").update(text).digest("hex");
const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
const listed = async () => JSON.parse((await tollgate("user list --json")).out) as { id: string }[];

async function users() {
  const store = await openEmbeddedStore(`${terminal.folder}/data/store`);
  try {
    return new Map((await store.users.list()).map((user) => [user.id, user]));
  } finally {
    await store.close();
  }
}

describe("tollgate user import", () => {
  it("takes rows of Kamailio's subscriber table, as mysql prints them", async () => {
    const rows = `id\tusername\tdomain\tpassword\tha1\tha1b\n7\tann\ta.example\tNULL\t${md5("x")}\t${md5("y").toUpperCase()}\n8\tann\tb.example\t\t${md5("z")}\tNULL\n`;
    expect(await tollgate("user import -", rows)).toEqual({
      code: 0,
      out: "2 registered\n2 of them have an MD5 value alone, and sign in by MD5 alone\n",
      err: "",
    });
    expect(Object.fromEntries(await users())).toEqual({
      ann: { id: "ann", realm: "a.example", ha1: { md5: md5("x") }, ha1WithDomain: { md5: md5("y") } },
      "ann@b.example": { id: "ann@b.example", realm: "b.example", ha1: { md5: md5("z") } },
    });
  });

  it("takes OpenSIPS' ha1_sha256, and hashes a password where there is nothing else", async () => {
    const rows = `username,domain,password,ha1,ha1_sha256\nann,a.example,,${md5("x")},${sha256("x")}\nbo,,secret,,\n`;
    expect((await tollgate("user import -", rows)).out).toBe("2 registered\n");
    const found = await users();
    expect(found.get("ann")?.ha1).toEqual({ md5: md5("x"), sha256: sha256("x") });
    expect(found.get("bo")?.ha1).toEqual({ md5: md5("bo:a.example:secret"), sha256: sha256("bo:a.example:secret") });
  });

  it("reports each row that it does not take, takes the others, and exits with 1", async () => {
    await tollgate("user add known --password-stdin", "x\n");
    const rows = [
      "username,domain,ha1",
      `good,a.example,${md5("1")}`,
      `,a.example,${md5("1")}`,
      `a:b,a.example,${md5("1")}`,
      `far,c.example,${md5("1")}`,
      "short,a.example,123",
      "none,a.example,",
      `good,a.example,${md5("2")}`,
      `known,a.example,${md5("2")}`,
      "one",
    ];
    const { code, out, err } = await tollgate("user import -", rows.join("\n"));
    expect(code).toBe(1);
    expect(out).toContain("1 registered, 8 not taken\n");
    const lines = err.split("\n");
    expect(lines.slice(0, 8).map((line) => line.slice(0, 40).replace(/^(line \d+).*?(: .*)$/, "$1$2"))).toEqual([
      "line 3: it has no username",
      expect.stringMatching(/^line 4: a:b: username: expected a user/),
      expect.stringMatching(/^line 5: far: domain c.example is neither/),
      expect.stringMatching(/^line 6: short: ha1: expected 32 hex/),
      expect.stringMatching(/^line 7: none: it has no ha1/),
      "line 8: good: good stands on line 2 alre",
      expect.stringMatching(/^line 9: known: known is registered/),
      expect.stringMatching(/^line 10: it has another number/),
    ]);
    expect(err).toContain("tollgate: 8 of 9 rows were not taken");
  });

  it("may be repeated, and replaces only where it is told to", async () => {
    const rows = (hash: string) => `username,ha1,sessions\nann,${hash},2\n`;
    await tollgate("user import -", rows(md5("1")));
    await tollgate("user block ann");
    expect(await tollgate("user import -", rows(md5("1")))).toMatchObject({
      code: 0,
      out: "0 registered, 1 registered before\n",
    });
    expect(await tollgate("user import -", rows(md5("2")))).toMatchObject({ code: 1 });
    expect((await tollgate("user import - --replace --dry-run", rows(md5("2")))).out).toContain("1 would be replaced");
    expect((await users()).get("ann")?.ha1.md5).toBe(md5("1"));
    expect((await tollgate("user import - --replace", rows(md5("2")))).out).toContain("1 replaced");
    const ann = (await users()).get("ann");
    expect(ann).toMatchObject({ ha1: { md5: md5("2") }, limits: { sessions: 2 }, blocked: {} });
  });

  it("takes the hashes for another realm than the domain's where it is told to", async () => {
    const rows = `username,domain,ha1\nann,c.example,${md5("1")}\n`;
    expect(await tollgate("user import - --realm a.example", rows)).toMatchObject({ code: 0 });
    expect(await listed()).toMatchObject([{ id: "ann", realm: "a.example", algorithms: ["md5"] }]);
    expect((await tollgate("user import - --realm c.example", rows)).code).toBe(2);
  });

  it("gives a new person of an old id an account of their own, and opens a prepaid user's balance", async () => {
    await tollgate("user add ann --password-stdin", "x\n");
    await tollgate("user remove ann");
    await tollgate("user import -", `username,ha1,prepaid\nann,${md5("1")},EUR\n`);
    expect(await listed()).toMatchObject([{ id: "ann", account: "ann#2", prepaid: "EUR" }]);
    expect((await tollgate("credit show ann")).out).toContain("ann#2: 0.00 EUR");
  });

  it("takes 10,000 users in less than 10 s, and says how far it is", async () => {
    const rows = Array.from({ length: 10_000 }, (_, i) => `user${i},a.example,${md5(String(i))},${md5(`b${i}`)}`);
    terminal.write("users.csv", `username,domain,ha1,ha1b\n${rows.join("\n")}\n`);
    const began = performance.now();
    const { code, out, err } = await tollgate("user import users.csv");
    expect({ code, out }).toMatchObject({ code: 0, out: expect.stringContaining("10000 registered") });
    expect(performance.now() - began).toBeLessThan(10_000);
    expect(err).toBe("5000 rows\n10000 rows\n");
    expect((await users()).size).toBe(10_000);
  });

  it("says when a file cannot be read, and when a quote is left open", async () => {
    expect(await tollgate("user import nowhere.csv")).toMatchObject({
      code: 2,
      err: expect.stringContaining("nowhere.csv"),
    });
    expect(await tollgate("user import -", 'username,ha1\n"x')).toMatchObject({
      code: 2,
      err: expect.stringContaining("quote"),
    });
    const { code, err } = await tollgate("user import -", `username,ha1\nann,${md5("1")}\n"x`);
    expect({ code, err }).toEqual({
      code: 1,
      err: "line 3: a quote is left open\ntollgate: 1 of 2 rows were not taken\n",
    });
  });

  it.each([
    ["empty, since the command before the pipe failed", "", "it is empty, and has no header row"],
    ["blank", "\n\n", "it is empty, and has no header row"],
    ["rows alone", "ann,a.example,0123\nbo,a.example,4567\n", "no column username; it has ann, a.example, 0123"],
    ["something else", "\u0000\u0007\u001b[31m", "no column username"],
  ])("takes nothing of a file without a header row: %s", async (_what, rows, why) => {
    const { code, out, err } = await tollgate("user import -", rows);
    expect({ code, out, err }).toEqual({ code: 2, out: "", err: expect.stringContaining(why) });
    expect(err).not.toContain("--csv");
    expect(err).not.toMatch(/[^ -~\n]/);
    const tariffs = await tollgate("tariff import -", rows);
    expect({ ...tariffs, err: tariffs.err.replace("column id", "column username") }).toEqual({
      code: 2,
      out: "",
      err: expect.stringContaining(why),
    });
  });
});

describe("what a registered user may do", () => {
  it("is blocked, unblocked and limited by commands, and listed", async () => {
    await tollgate("user add ann --password-stdin", "x\n");
    expect((await tollgate("user block ann --end")).out).toBe(
      "user ann blocked; the sessions of this user are ended\n",
    );
    expect((await users()).get("ann")?.blocked).toMatchObject({ end: true });
    await tollgate("user limit ann --sessions 2");
    expect((await tollgate("user list")).out).toMatch(/^ann +a\.example +sha-256,md5 +blocked, 2 sessions at most$/m);
    await tollgate("user unblock ann");
    await tollgate("user limit ann --sessions none");
    expect((await users()).get("ann")).not.toHaveProperty("blocked");
    expect((await users()).get("ann")).not.toHaveProperty("limits");
  });

  it("is not changed for a user who is not registered, nor by a number that is none", async () => {
    expect((await tollgate("user block nobody")).code).toBe(1);
    await tollgate("user add ann --password-stdin", "x\n");
    expect((await tollgate("user limit ann --sessions 0")).code).toBe(2);
  });

  it("keeps a block when the user gets a new password", async () => {
    await tollgate("user add ann --password-stdin", "x\n");
    await tollgate("user block ann");
    await tollgate("user add ann --replace --password-stdin", "y\n");
    expect(await listed()).toMatchObject([{ blocked: true }]);
  });
});

describe("a user of a domain with users of its own", () => {
  it("is registered with the domain, and is another than the one without", async () => {
    await tollgate("user add ann --password-stdin", "x\n");
    expect((await tollgate("user add ann@b.example --password-stdin", "x\n")).out).toContain("(realm b.example)");
    expect(await listed()).toMatchObject([{ id: "ann" }, { id: "ann@b.example", realm: "b.example" }]);
    expect((await users()).get("ann@b.example")).toMatchObject({
      ha1: { md5: md5("ann:b.example:x") },
      ha1WithDomain: { md5: md5("ann@b.example:b.example:x") },
    });
  });

  it("is refused for another domain", async () => {
    expect(await tollgate("user add ann@c.example --password-stdin", "x\n")).toMatchObject({
      code: 2,
      err: expect.stringContaining("only b.example has"),
    });
  });
});
