import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ApiLab } from "../console/api-lab.ts";
import { selfSigned, temporaryFolder } from "../console/http-lab.ts";
import { Terminal } from "./terminal.ts";

let terminal: Terminal;
let lab: ApiLab;
let url: string;
beforeEach(async () => {
  terminal = new Terminal();
  lab = await ApiLab.create();
  url = `http://127.0.0.1:${lab.port}`;
});
afterEach(async () => {
  await lab.close();
  terminal.remove();
});

const remote = (line: string, token?: string, stdin = "") =>
  terminal.tollgate(["--remote", url, ...line.split(" ")], {
    stdin,
    ...(token !== undefined && { env: { TOLLGATE_TOKEN: token } }),
  });

describe("tollgate --remote", () => {
  it("does by HTTP what the command does on the machine, and prints the same", async () => {
    const token = await lab.token("operator");
    expect((await remote("user add alice --password-stdin --prepaid EUR", token, "secret\n")).out).toBe(
      "user alice registered (realm localhost)\n",
    );
    expect((await remote("tariff add lesson --currency EUR --price 0.50", token)).out).toBe(
      "tariff lesson registered\n",
    );
    expect((await remote("service add wine --tariff lesson", token)).out).toBe("service wine registered\n");
    expect((await remote("service list", token)).out).toContain("wine");
    expect((await remote("credit topup alice 20 --id p-1", token)).out).toBe("balance of alice: 20.00 EUR\n");
    expect((await remote("bill alice", token)).out).toContain("Bill for alice");
    expect((await remote("user block alice", token)).out).toBe("user alice blocked\n");
    expect(JSON.parse((await remote("user list --json", token)).out)).toMatchObject([{ id: "alice", blocked: true }]);
    expect((await remote("end s1", token)).out).toBe("session s1 ended\n");
    expect((await remote("audit", token)).out).toMatch(/a-operator +operator +127\.0\.0\.1 +blockUser +id alice +done/);
  });

  it("imports, makes a month's entries again, writes records, and repairs usage", async () => {
    const token = await lab.token("operator");
    const users = Array.from({ length: 2_000 }, (_, i) => `user${i},${String(i).padStart(32, "0")}\n`).join("");
    expect(await remote("user import -", token, `username,ha1\n${users}`)).toMatchObject({
      code: 0,
      out: expect.stringContaining("2000 registered\n"),
    });
    const tariffs = await remote("tariff import -", token, "id,currency,price\nlesson,EUR,0.50\nother,EURO,1\n");
    expect(tariffs).toMatchObject({ code: 1, out: "1 registered\n", err: expect.stringContaining("line 3: other: ") });
    expect((await remote("service import -", token, "id,tariff\nwine,lesson\n")).out).toBe("1 registered\n");
    expect(await lab.store.services.get("wine")).toEqual({ id: "wine", tariff: "lesson" });
    expect((await remote("rebill --month 2026-01", token)).out).toContain("2026-01: 0 events kept");
    expect((await remote("export cdr --month 2026-01", token)).out).toMatch(/^user,service,app_server,/);
    const letter = { sink: "lago", at: 1, reason: "400", event: "{}" };
    for (const id of ["lago:1", "lago:2"]) await lab.store.usage.put({ id, ...letter });
    expect((await remote("usage list", token)).out).toMatch(/lago:1 .*400\nlago:2 /);
    expect((await remote("usage drop lago:2", token)).out).toBe("lago:2 dropped\n");
    expect((await remote("usage resend all", token)).err).toContain("there is no sink lago in the configuration");
    const audit = (await remote("audit", token)).out;
    for (const what of ["importUsers", "importTariffs", "rebillMonth", "exportRecords", "dropUsageLetter"])
      expect(audit).toContain(what);
    expect(audit).not.toContain("00000000000000000000000000000007");
  });

  it("says what is wrong, with the exit code of the command on the machine", async () => {
    const token = await lab.token("operator");
    expect(await remote("user block nobody", token)).toMatchObject({ code: 1, err: "tollgate: no user nobody\n" });
    const usage = await remote("credit topup alice -- -5 --id x", token);
    expect(usage.code).toBe(2);
  });

  it("says that a token is missing, refused, or may not", async () => {
    const missing = await remote("user block alice");
    expect(missing).toMatchObject({ code: 1, err: expect.stringContaining("wants a token: --token-file") });
    const refused = await remote("sessions", "nobody.00");
    expect(refused).toMatchObject({ code: 1, err: expect.stringContaining("refuses the token") });
    const mayNot = await remote("user block alice", await lab.token("viewer"));
    expect(mayNot).toMatchObject({ code: 1, err: expect.stringContaining("may not do this: the role is viewer") });
  });

  it("takes the token from a file", async () => {
    terminal.write("ann.token", `${await lab.token("operator")}\n`);
    expect((await remote("token list --token-file ann.token")).out).toContain("a-operator");
    expect(await remote("token list --token-file nothing.token")).toMatchObject({ code: 2 });
  });

  it.each(["start", "check-config", "backup there", "token create ann --role viewer", "restore there", "dev"])(
    "says that tollgate %s needs the machine itself",
    async (line) => {
      const { code, err } = await remote(line, "a.b");
      expect(code).toBe(2);
      expect(err).toContain("needs the machine itself");
    },
  );

  it("sends no token where others could read it", async () => {
    url = "http://portal.example:8080";
    expect(await remote("sessions", "a.b")).toMatchObject({ code: 2, err: expect.stringContaining("expected https") });
    url = "portal.example";
    expect(await remote("sessions", "a.b")).toMatchObject({ code: 2, err: expect.stringContaining("expected a URL") });
  });

  it.each(["https://ann:geheim@portal.example", "https//ann:geheim@portal.example", "https://geheim@portal.example"])(
    "does not repeat a password that stands in the URL %s",
    async (written) => {
      url = written;
      const { code, out, err } = await remote("sessions", "a.b");
      expect([code, `${out}${err}`.includes("geheim")]).toEqual([2, false]);
    },
  );

  it.each(["--token-file ann.token", "--ca ca.pem"])("says that %s is of no use without it", async (option) => {
    const { code, err } = await terminal.tollgate(["sessions", ...option.split(" ")]);
    expect([code, err]).toEqual([2, expect.stringContaining("of use with --remote alone")]);
  });

  it("says that a port without TLS does not speak it", async () => {
    url = `https://127.0.0.1:${lab.port}`;
    expect((await remote("sessions", "a.b")).err).toContain("it does not answer in TLS there");
  });

  it("checks the relay's certificate", async () => {
    const folder = temporaryFolder();
    const { cert, key, pem } = selfSigned(folder.path);
    const other = await ApiLab.create({ http: { listen: "127.0.0.1:0", tls: { cert, key } } });
    const token = await other.token("operator");
    url = `https://127.0.0.1:${other.port}`;
    expect(await remote("sessions", token)).toMatchObject({
      code: 1,
      err: expect.stringContaining("its certificate is not believed"),
    });
    terminal.write("ca.pem", pem.toString());
    expect(await remote("sessions --ca ca.pem", token)).toMatchObject({ code: 0, out: "no sessions\n" });
    await other.close();
    folder.remove();
  });
});
