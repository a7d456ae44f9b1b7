import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { billEvent } from "../../src/charging/billing/billing.ts";
import type { Bill } from "../../src/charging/bills/bill.ts";
import { monthOf, monthSpan } from "../../src/charging/money/months.ts";
import { openEmbeddedStore } from "../../src/store/embedded.ts";
import { systemClock } from "../../src/support/clock.ts";
import { aCharge, facts, silent, wholeSession } from "../charging/samples.ts";
import { Terminal } from "./terminal.ts";

let terminal: Terminal;
beforeEach(() => {
  terminal = new Terminal();
});
afterEach(() => terminal.remove());

const tollgate = (line: string) => terminal.tollgate(line.split(" "), { env: { TOLLGATE_PASSWORD: "secret" } });

describe("tollgate credit", () => {
  it("registers a prepaid user with a balance, tops it up once for each id, and corrects it with a reason", async () => {
    const added = await tollgate("user add alice --prepaid EUR --balance 20.00");
    expect(added.out).toContain("balance of alice: 20.00 EUR");
    expect((await tollgate("credit topup alice 5.5 --id p-1")).out).toBe("balance of alice: 25.50 EUR\n");
    const again = await tollgate("credit topup alice 5.5 --id p-1");
    expect(again).toMatchObject({
      code: 0,
      out: "p-1 was posted before: nothing is changed; balance of alice: 25.50 EUR\n",
    });
    expect(await tollgate("credit topup alice 6 --id p-1")).toMatchObject({ code: 1 });
    const adjusted = await tollgate("credit adjust alice --by=-30 --id t-1 --reason typo");
    expect(adjusted.out).toBe("balance of alice: -4.50 EUR\n");
    const { out } = await tollgate("credit show alice");
    expect(out).toContain("alice: -4.50 EUR");
    expect(out).toMatch(/correction +-30\.00 +typo/);
    const shown = JSON.parse((await tollgate("credit show alice --json")).out) as { ledger: { amount: string }[] };
    expect(shown.ledger.map(({ amount }) => amount)).toEqual(["20.00", "5.50", "-30.00"]);
    expect((await tollgate("user list")).out).toContain("prepaid in EUR");
  });

  it("makes a user prepaid who was not, and a new password leaves it so", async () => {
    await tollgate("user add bob");
    expect((await tollgate("credit topup bob 1 --id a")).err).toContain("has no balance");
    expect((await tollgate("credit open bob --currency EUR")).out).toContain("prepaid in EUR");
    await tollgate("user add bob --replace");
    expect((await tollgate("user list")).out).toContain("prepaid in EUR");
    expect((await tollgate("credit open bob --currency USD")).err).toContain("EUR already");
  });

  it("gives who pays by the bill a limit of what may be owed and spent in a day", async () => {
    await tollgate("user add bob");
    expect((await tollgate("user limit bob --credit 100")).err).toContain("--currency: which one?");
    expect((await tollgate("user limit bob --credit 100 --day 20 --sessions 1 --currency EUR")).out).toBe(
      "user bob: 1 session at once, may owe 100.00 EUR, may spend 20.00 EUR a day\n",
    );
    expect((await tollgate("credit show bob")).out).toBe(
      "bob: 0.00 EUR\n  may owe 100.00 EUR, may spend 20.00 EUR a day\n",
    );
    expect((await tollgate("user list")).out).toContain("limited in EUR");
    await tollgate("user add bob --replace");
    expect((await tollgate("user limit bob --day none")).out).toContain("may owe 100.00 EUR\n");
    expect((await tollgate("user limit bob --credit none")).out).toBe("user bob: 1 session at once\n");
    expect((await tollgate("user list")).out).not.toContain("limited");
  });

  it("takes the limit from who becomes prepaid, and gives none to who is", async () => {
    await tollgate("user add bob");
    await tollgate("user limit bob --credit 100 --currency EUR");
    await tollgate("credit open bob --currency EUR");
    expect((await tollgate("credit show bob")).out).toBe("bob: 0.00 EUR\n");
    expect(await tollgate("user limit bob --credit 5")).toMatchObject({ code: 2 });
    expect((await tollgate("user limit bob --day 5")).out).toBe("user bob: may spend 5.00 EUR a day\n");
  });

  it.each([
    ["--credit -5 --currency EUR", "--credit"],
    ["--day 1.2345678 --currency EUR", "--day"],
    ["--day 5 --currency EURO", "ISO 4217"],
    ["--currency EUR", "say --sessions"],
  ])("refuses the limits %s", async (limits, why) => {
    await tollgate("user add bob");
    expect(await tollgate(`user limit bob ${limits}`)).toMatchObject({ code: 2, err: expect.stringContaining(why) });
  });

  describe("and corrections on the bill of what was paid from it", () => {
    const vat = { taxes: [{ id: "vat", rate: "19", included: false }] };
    const bill = async () => JSON.parse((await tollgate("bill alice --json")).out) as Bill;
    beforeEach(async () => {
      terminal.write("tollgate.yaml", "taxes: [{ id: vat, rate: 21 }]");
      await tollgate("user add alice --prepaid EUR --balance 20.00");
      const store = await openEmbeddedStore(join(terminal.folder, "data", "store"));
      const how = { store, clock: systemClock, log: silent };
      const session = facts({ hold: "h1", terms: vat });
      for (const event of wholeSession(
        session,
        61_000,
        [aCharge({ unitPrice: "2.00" })],
        Math.max(Date.now() - 100_000, monthSpan(monthOf(Date.now())).from),
      ))
        await billEvent(how, event);
      await store.close();
    });
    const agree = async () => {
      const { totals, prepaid } = await bill();
      expect(prepaid!.paid).toBe(totals[0]!.due);
      expect(Number(prepaid!.balance)).toBeCloseTo(20 - Number(totals[0]!.due), 9);
      return totals[0]!.due;
    };

    it("goes into the balance with the taxes of the entry, once for each id", async () => {
      expect(await agree()).toBe("5.30"); // 4.45 and 0.8455
      const correct = "correct alice --amount -1.99 --reason broken --entry s1:charge:teacher-1:1 --id t1";
      for (let i = 0; i < 2; i++) {
        const { code, out } = await tollgate(correct);
        expect(code).toBe(0);
        expect(out).toMatch(/\nin the balance of alice: 2\.37 EUR\n$/);
      }
      expect(await agree()).toBe("2.93");
      expect((await tollgate("credit show alice")).out).toMatch(/correction +2\.37 +broken/);
      expect((await tollgate("rebill --dry-run")).code).toBe(0);
    });

    it("goes there too where no entry is named, with the taxes of now", async () => {
      await tollgate("correct alice --amount 1.00 --currency EUR --reason forgotten");
      expect(await agree()).toBe("6.51");
    });

    it("does not of what was not paid from it, nor in another currency", async () => {
      await tollgate("correct alice --amount 1.00 --currency USD --reason forgotten");
      expect((await bill()).totals.map(({ due }) => due)).toEqual(["5.30", "1.21"]);
      expect((await bill()).prepaid!.balance).toBe("14.70");
      expect((await tollgate("correct alice --amount 99999999999 --currency EUR --reason typo")).code).toBe(2);
      await agree();
    });
  });

  it("says on the bill what was paid from the balance", async () => {
    await tollgate("user add alice --prepaid EUR --balance 20.00");
    await tollgate("user add bob");
    const store = await openEmbeddedStore(join(terminal.folder, "data", "store"));
    const session = { user: "alice", hold: "h1", session: "s1" };
    await store.credit!.settle({ ...session, totals: [{ amount: 1_250_000, at: Date.now() }] });
    await store.credit!.settle({ ...session, hold: "h2", totals: [{ amount: 3_000_000, at: 0 }] });
    await store.close();
    const { out } = await tollgate("bill alice");
    const said = "Paid from the prepaid balance: 1.25 EUR. It is now 15.75 EUR.";
    expect(out).toContain(said);
    expect((await tollgate("bill alice --html")).out).toContain(said);
    const prepaid = { currency: "EUR", paid: "1.25", balance: "15.75" };
    expect(JSON.parse((await tollgate("bill alice --json")).out)).toMatchObject({ prepaid });
    expect(JSON.parse((await tollgate("bill alice --json --all")).out)).toMatchObject({ prepaid });
    expect((await tollgate("bill alice --csv")).out).toMatch(/,prepaid,.*,paid from the balance,.*,-1\.25,EUR,/);
    expect(JSON.parse((await tollgate("bill bob --json")).out)).not.toHaveProperty("prepaid");
  });

  it.each([
    ["user add eve --prepaid XXX", "ISO 4217"],
    ["user add eve --balance 3", "only with --prepaid"],
    ["credit topup alice -3 --id x", "a top-up adds"],
    ["credit topup alice 1.2345678 --id x", "at most 6 decimals"],
    ["credit topup alice 3", "required option '--id"],
  ])("refuses %s with exit code 2", async (line, why) => {
    await tollgate("user add alice --prepaid EUR");
    const { code, err } = await tollgate(line);
    expect(code).toBe(2);
    expect(err).toContain(why);
  });

  it.each(["", "two\u2028lines", "x".repeat(201)])("refuses the reason %j with exit code 2", async (reason) => {
    await tollgate("user add alice --prepaid EUR");
    const line = ["credit", "adjust", "alice", "--by=1", "--id", "t", "--reason", reason];
    expect((await terminal.tollgate(line)).code).toBe(2);
    expect((await tollgate("credit show alice")).out).toContain("0.00 EUR");
  });
});
