import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { billEvent } from "../../src/charging/billing/billing.ts";
import type { Bill } from "../../src/charging/bills/bill.ts";
import type { SessionFacts } from "../../src/charging/events/events.ts";
import { monthOf } from "../../src/charging/money/months.ts";
import { openEmbeddedStore } from "../../src/store/embedded.ts";
import type { Store } from "../../src/store/types.ts";
import { systemClock } from "../../src/support/clock.ts";
import { aCharge, facts, silent, wholeSession } from "../charging/samples.ts";
import { Terminal } from "./terminal.ts";

let terminal: Terminal;
beforeEach(() => {
  terminal = new Terminal();
});
afterEach(() => terminal.remove());

const tollgate = (line: string) => terminal.tollgate(line.split(" "), { env: { TOLLGATE_PASSWORD: "secret" } });
const out = async (line: string) => {
  const { code, out, err } = await tollgate(line);
  expect([code, err]).toEqual([0, ""]);
  return out;
};
const balance = async (user: string) =>
  (JSON.parse(await out(`credit show ${user} --json`)) as { balance: string }).balance;
const due = async (user: string) =>
  (JSON.parse(await out(`bill ${user} --json`)) as Bill).totals.map((total) => total.due).join();

async function inStore<T>(use: (store: Store) => Promise<T>): Promise<T> {
  const store = await openEmbeddedStore(join(terminal.folder, "data", "store"));
  try {
    return await use(store);
  } finally {
    await store.close();
  }
}

/** A session of half a minute now, with a charge of 25.00: 25.35 in all. */
const sold = (over: Partial<SessionFacts>) =>
  inStore(async (store) => {
    for (const event of wholeSession(facts(over), 30_000, [aCharge()], Date.now()))
      await billEvent({ store, clock: systemClock, log: silent }, event);
  });

describe("what is paid in with a new user", () => {
  it("is paid in once, however often the user is replaced", async () => {
    await out("user add bob --prepaid EUR --balance 20.00");
    for (let i = 0; i < 2; i++)
      expect(await out("user add bob --prepaid EUR --balance 20.00 --replace")).toContain("nothing is changed");
    expect(await balance("bob")).toBe("20.00");
    const other = await tollgate("user add bob --prepaid EUR --balance 30.00 --replace");
    expect(other).toMatchObject({ code: 1, out: "" });
    expect(other.err).toMatch(/--balance: .*another amount.*tollgate credit topup bob/);
    expect(await balance("bob")).toBe("20.00");
  });

  it("is paid in too where a user becomes prepaid by it", async () => {
    await out("user add bob");
    await out("user add bob --prepaid EUR --balance 20.00 --replace");
    expect(await balance("bob")).toBe("20.00");
  });

  it("is paid in before the user is registered: what was broken off is done again, and once", async () => {
    await inStore(async (store) => {
      await store.credit!.open("bob", "EUR");
      await store.credit!.post({
        ...{ user: "bob", id: "topup:with-user-add", at: 0, kind: "topup", amount: 20_000_000, currency: "EUR" },
      });
    });
    // The balance is there without a user: somebody's, as far as anybody can tell.
    expect(await out("user add bob --inherit --prepaid EUR --balance 20.00")).toContain("nothing is changed");
    expect(await balance("bob")).toBe("20.00");
  });

  it("is told of where no tariff is in its currency", async () => {
    await out("tariff add lesson --currency EUR");
    expect((await tollgate("user add bob --prepaid USD --balance 5")).err).toContain("no tariff is in USD");
    expect((await tollgate("user add eve --prepaid EUR")).err).toBe("");
    await out("user add carol");
    expect((await tollgate("credit open carol --currency USD")).err).toContain("no tariff is in USD");
  });
});

describe("an id that a user had who was removed", () => {
  beforeEach(async () => {
    await out("user add alice --prepaid EUR --balance 100.00");
    await sold({ hold: "h1" });
    expect(await out("user remove alice")).toBe(
      "user alice removed\na balance of 74.65 EUR stays: tollgate credit show alice#1\n",
    );
  });

  it("is somebody else's: bills and balance begin anew, and those of before stay", async () => {
    const added = await out("user add alice --prepaid USD --balance 5.00");
    expect(added).toContain(
      "bills and balance begin anew, as alice#2: those of alice#1 stay where they are, with a balance of 74.65 EUR",
    );
    expect([await balance("alice"), await balance("alice#1"), await balance("alice#2")]).toEqual([
      "5.00",
      "74.65",
      "5.00",
    ]);
    expect([await due("alice"), await due("alice#1")]).toEqual(["", "25.35"]);
    await sold({ id: "s2", user: "alice#2" });
    expect([await due("alice"), await due("alice#1")]).toEqual(["25.35", "25.35"]);
    expect(await out("user list")).toMatch(/alice .*prepaid in USD, account alice#2\n/);
    await out("credit topup alice 1 --id p1");
    await out("correct alice --amount -5.00 --currency EUR --reason broken");
    await out("correct alice#1 --amount -1.00 --currency EUR --reason broken --entry s1:charge:teacher-1:1");
    expect([await balance("alice"), await balance("alice#1")]).toEqual(["6.00", "75.65"]);
    expect([await due("alice"), await due("alice#1")]).toEqual(["20.35", "24.35"]);
    expect((await tollgate("rebill --user alice")).out).toContain("0 differences");
    expect((await tollgate("bill alice#3")).code).toBe(1);
    expect((await tollgate("correct alice#3 --amount 1 --currency EUR --reason x")).code).toBe(1);
  });

  it("is a third one's after that", async () => {
    await out("user add alice");
    await out("user remove alice");
    expect(await out("user add alice")).toContain("as alice#3: those of alice#2 stay where they are;");
    expect(await due("alice")).toBe("");
  });

  it("goes on with bills and balance where it is the same person, and what is paid in then counts", async () => {
    expect(await out("user add alice --inherit --prepaid EUR --balance 100.00")).toContain(
      "bills and balance of alice#1 go on",
    );
    expect([await balance("alice"), await due("alice")]).toEqual(["174.65", "25.35"]);
    await out("user add alice --prepaid EUR --balance 100.00 --replace");
    expect(await balance("alice")).toBe("174.65");
  });

  it("goes back to any of those who had it", async () => {
    await out("user add alice");
    await out("user remove alice");
    expect((await tollgate("user add alice --inherit alice#3")).code).toBe(2);
    expect((await tollgate("user add alice --inherit bob")).code).toBe(2);
    expect(await out("user add alice --inherit alice#1")).toContain("bills and balance of alice#1 go on");
    expect(await due("alice")).toBe("25.35");
    expect((await tollgate("user add alice --inherit --replace")).code).toBe(2);
    await out("user remove alice");
    expect(await out("user add alice")).toContain("as alice#3");
  });

  it("has its bill as long as nobody else has it", async () => {
    expect(await due("alice")).toBe("25.35");
    expect(await balance("alice")).toBe("74.65");
    expect((await tollgate("user add bob --inherit")).code).toBe(2);
  });
});

describe("an id that an app server had which was removed", () => {
  const add = "appserver add teacher-1 --uri sip:127.0.0.1 --service english";
  beforeEach(async () => {
    await out("service add english");
    await out(add);
  });
  const keys = async () => JSON.parse(await out("appserver key list --json")) as { appServer: string }[];

  it("has none of its keys any more", async () => {
    await out("appserver add other --uri sip:127.0.0.1 --service english");
    for (const id of ["teacher-1", "teacher-1", "other"]) await out(`appserver key add ${id}`);
    expect(await out("appserver remove teacher-1")).toBe("app server teacher-1 removed, and its 2 keys\n");
    expect((await keys()).map(({ appServer }) => appServer)).toEqual(["other"]);
    await out(add); // nothing was charged for it
    expect((await keys()).map(({ appServer }) => appServer)).toEqual(["other"]);
  });

  it("is not another one's as long as something of it is to be settled; the same one may have it again", async () => {
    await sold({});
    expect(await out("appserver remove teacher-1")).toBe("app server teacher-1 removed\n");
    const refused = await tollgate(add);
    expect(refused.code).toBe(1);
    expect(refused.err).toContain(
      `what was charged for it in ${monthOf(Date.now())} is settled under that id; --inherit`,
    );
    expect(await out("settlement teacher-1")).toContain("25.00 EUR");
    expect((await tollgate("appserver add new --uri sip:127.0.0.1 --service english --inherit")).code).toBe(2);
    expect(await out(`${add} --inherit`)).toBe("app server teacher-1 registered\n");
    expect(await out(`${add} --replace`)).toBe("app server teacher-1 replaced\n");
  });
});
