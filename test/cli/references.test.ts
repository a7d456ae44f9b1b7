import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Terminal } from "./terminal.ts";

let terminal: Terminal;
beforeEach(() => {
  terminal = new Terminal();
});
afterEach(() => terminal.remove());

const tollgate = (line: string, stdin?: string) =>
  terminal.tollgate(line.split(" "), stdin === undefined ? {} : { stdin });
const done = async (line: string) => expect(await tollgate(line), line).toMatchObject({ code: 0 });

describe("names that lead nowhere", () => {
  it.each([
    ["service add wine --tariff nowhere", "there is no tariff nowhere"],
    ["appserver add shop --uri sip:10.0.0.5 --service wine,beer", "there is no service wine, and no service beer"],
  ])("are refused when they are made: %s", async (line, why) => {
    expect(await tollgate(line)).toMatchObject({ code: 2, err: expect.stringContaining(`${why}; register it first`) });
    await done(`${line} --force`);
  });

  it("may be names of the configuration, which counts", async () => {
    terminal.write("tollgate.yaml", "tariffs: [{ id: lesson, currency: EUR }]\nservices: [{ id: english }]\n");
    await done("service add wine --tariff lesson");
    await done("appserver add shop --uri sip:10.0.0.5 --service wine,english");
  });
});

describe("what is in use", () => {
  it("is not removed, and its users are named", async () => {
    await done("tariff add lesson --currency EUR");
    await done("service add english --tariff lesson");
    await done("appserver add school --uri sip:10.0.0.5 --service english");
    terminal.write(
      "tollgate.yaml",
      "rules: [{ name: staff, then: { service: english, tariff: lesson, appServers: [school] } }]\ntaxes: [{ id: vat, rate: 19, services: [english] }]\n",
    );
    const refused = async (line: string) => (await tollgate(line)).err;
    expect(await refused("tariff remove lesson")).toContain("in use by service english, rule staff;");
    expect(await refused("service remove english")).toContain("in use by app server school, rule staff, tax vat;");
    expect(await refused("appserver remove school")).toContain("in use by rule staff;");
    await done("tariff remove lesson --force");
  });
});

describe("import of tariffs, services and app servers", () => {
  it("takes the fields of the configuration, however the columns are written", async () => {
    const tariffs = "id,currency,price,increment-s,setupFee\nlesson,EUR,0.50,60,\ncall,EUR,0.01,1,0.10\n";
    expect((await tollgate("tariff import -", tariffs)).out).toBe("2 registered\n");
    const services = "id;title;tariff;limits.day;Limits Currency;advice\nenglish;English lesson;lesson;20;EUR;yes\n";
    expect(await tollgate("service import -", services)).toMatchObject({ code: 0, out: "1 registered\n" });
    expect(
      (await tollgate("appserver import -", "id\turi\tservices\tcapacity\nschool\tsip:10.0.0.5\tenglish\t5\n")).out,
    ).toBe("1 registered\n");
    const list = async (kind: string) => JSON.parse((await tollgate(`${kind} list --json`)).out) as unknown[];
    expect(await list("tariff")).toMatchObject([
      { id: "call", price: "0.01", incrementS: 1, setupFee: "0.10" },
      { id: "lesson", price: "0.50", incrementS: 60 },
    ]);
    expect(await list("service")).toMatchObject([
      { id: "english", title: "English lesson", limits: { day: "20", currency: "EUR" }, advice: true },
    ]);
    expect(await list("appserver")).toMatchObject([{ id: "school", services: ["english"], capacity: 5 }]);
  });

  it("reports what it does not take, and takes the rest", async () => {
    const rows = "id,currency,price\nlesson,EUR,x\ncall,EUR,1\ncall,EUR,2\nother,EURO,1\nshort,EUR\n";
    const { code, out, err } = await tollgate("tariff import -", rows);
    expect([code, out]).toEqual([1, "1 registered\n"]);
    expect(err).toMatch(
      /^line 2: lesson: price: expected .*\nline 4: call: it stands on an earlier line already\nline 5: other: currency: /,
    );
    expect(err).toContain("line 6: it has another number of fields");
    expect(err).toContain("4 of 5 rows were not taken");
    expect((await tollgate("tariff import -", "id,currency\ncall,EUR\n")).err).toContain("--replace");
    expect((await tollgate("service import -", "id,tariff\nwine,nowhere\n")).err).toContain("no tariff nowhere");
    expect(await tollgate("tariff import -", "id,colour\nx,red\n")).toMatchObject({
      code: 2,
      err: expect.stringContaining("known: id"),
    });
  });

  it("does nothing with --dry-run", async () => {
    expect((await tollgate("tariff import - --dry-run", "id,currency\ncall,EUR\n")).out).toBe(
      "1 would be registered\n",
    );
    expect((await tollgate("tariff list")).out).toContain("no tariffs");
  });
});
