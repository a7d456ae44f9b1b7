import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Entry } from "../../src/charging/billing/store.ts";
import type { Bill } from "../../src/charging/bills/bill.ts";
import { monthOf } from "../../src/charging/money/months.ts";
import { openEmbeddedStore } from "../../src/store/embedded.ts";
import { Terminal } from "./terminal.ts";

let terminal: Terminal;
beforeEach(async () => {
  terminal = new Terminal();
  terminal.write(
    "tollgate.yaml",
    `services: [{ id: wine, title: Wine shop }]
bills: { operator: { name: Portal Ltd, lines: [1 High Street] }, numberPrefix: TG- }
`,
  );
  await tollgate("user add alice --password-stdin", "x");
  await terminal.tollgate(["user", "name", "alice", "Alice Example"]);
});
afterEach(() => terminal.remove());

const tollgate = (line: string, stdin = "") => terminal.tollgate(line.split(" "), { stdin });
const bill = async (user: string, month: string) =>
  JSON.parse((await tollgate(`bill ${user} --month ${month} --json`)).out) as Bill;

/** Bills a bottle, with VAT on top. */
async function sold(user: string, day: string, amount: string, id = `${day}:${amount}`): Promise<void> {
  const store = await openEmbeddedStore(join(terminal.folder, "data", "store"));
  const taxes = [{ id: "vat", title: "VAT", rate: "19", included: false }];
  const entry: Entry = {
    ...{ kind: "item", id: `${user}:${id}`, user, month: day.slice(0, 7), service: "wine", appServer: "shop" },
    ...{ session: `s-${day}`, call: `c-${day}`, at: Date.parse(day), item: "Rioja", unitPrice: amount, quantity: "1" },
    ...{ channel: "info", currency: "EUR", amount, terms: { taxes } },
  };
  await store.billing.write({ accounts: [], entries: [entry] });
  await store.close();
}

describe("tollgate close", () => {
  it("gives each bill of the month a number of its own, and keeps it as it was", async () => {
    await sold("alice", "2026-01-05", "10.00");
    await sold("bob", "2026-01-06", "20.00");
    expect((await tollgate("bill alice --month 2026-01")).out).toContain("Bill for Alice Example (alice), 2026-01");
    expect((await tollgate("close 2026-01")).out).toBe("2026-01: 2 bills closed, TG-2026-01-0001 to TG-2026-01-0002\n");
    const text = (await tollgate("bill alice --month 2026-01")).out;
    expect(text).toMatch(
      /^Portal Ltd\n1 High Street\n\nBill TG-2026-01-0001 for Alice Example \(alice\), 2026-01 \(UTC\)\n/,
    );
    expect(text).toMatch(/^Wine shop$/m);
    await sold("alice", "2026-01-31", "5.00");
    await terminal.tollgate(["user", "name", "alice", "Alice Other"]);
    expect((await tollgate("bill alice --month 2026-01")).out).toBe(text);
    expect((await tollgate("bill alice --month 2026-01 --html")).out).toContain("TG-2026-01-0001");
  });

  it("puts what is charged afterwards on the next bill, once, with its taxes", async () => {
    await sold("alice", "2026-01-05", "10.00");
    await tollgate("close 2026-01");
    await sold("alice", "2026-01-31", "5.00");
    await sold("alice", "2026-02-03", "1.00");
    const february = await bill("alice", "2026-02");
    expect(february.late).toMatchObject([
      { month: "2026-01", number: "TG-2026-01-0001", service: "wine", amount: "5.00" },
    ]);
    expect(february.totals).toEqual([{ currency: "EUR", amount: "6.00", tax: "1.14", due: "7.14" }]);
    expect((await bill("alice", "2026-03")).late).toBeUndefined();
    expect((await tollgate("bill alice --month 2026-02")).out).toMatch(
      /charged later for earlier months\n {2}Wine shop, 2026-01 \(after bill TG-2026-01-0001\) +5\.00 EUR/,
    );
    expect((await tollgate("close 2026-02")).out).toContain("1 bill closed, TG-2026-02-0001");
    await sold("alice", "2026-01-31", "2.00");
    expect((await bill("alice", "2026-02")).totals[0]?.due).toBe("7.14");
    expect((await bill("alice", "2026-03")).late).toMatchObject([{ month: "2026-01", amount: "2.00" }]);
  });

  it("bills late charges also to who bought nothing else, in the first month that is not closed", async () => {
    await sold("alice", "2026-01-05", "10.00");
    await tollgate("close 2026-01");
    await tollgate("close 2026-02");
    await sold("alice", "2026-01-31", "5.00");
    expect((await bill("alice", "2026-02")).late).toMatchObject([{ amount: "5.00" }]);
    expect((await tollgate("close 2026-02")).out).toContain("1 bill closed");
    expect((await bill("alice", "2026-03")).late).toBeUndefined();
    expect((await tollgate("close 2026-03")).out).toBe("2026-03: 0 bills closed\n");
  });

  it("closes what was not there before when it is done again, with the next number", async () => {
    await sold("alice", "2026-01-05", "10.00");
    await tollgate("close 2026-01");
    expect((await tollgate("close 2026-01")).out).toBe("2026-01: 0 bills closed\n");
    await sold("bob", "2026-01-06", "20.00");
    expect((await tollgate("close 2026-01")).out).toContain("TG-2026-01-0002 to TG-2026-01-0002");
  });

  it("bills a late charge once, though a month is closed after a later one", async () => {
    await sold("alice", "2026-01-05", "10.00");
    await tollgate("close 2026-01");
    await tollgate("close 2026-02"); // nothing for alice
    await sold("alice", "2026-01-31", "5.00");
    await sold("alice", "2026-03-03", "1.00");
    await tollgate("close 2026-03");
    expect((await bill("alice", "2026-03")).late).toMatchObject([{ amount: "5.00" }]);
    expect((await tollgate("close 2026-02")).out).toBe("2026-02: 0 bills closed\n");
    expect((await bill("alice", "2026-02")).late).toBeUndefined();
  });

  it("refuses a month that is not over, and what is none", async () => {
    expect(await tollgate(`close ${monthOf(Date.now())}`)).toMatchObject({
      code: 1,
      err: expect.stringContaining("not over"),
    });
    expect(await tollgate("close 2026-13")).toMatchObject({
      code: 2,
      err: expect.stringMatching(/^tollgate: month: /),
    });
  });

  it("leaves an earlier user of the id without the name of the present one", async () => {
    await tollgate("user remove alice");
    await tollgate("user add alice --password-stdin", "x");
    await terminal.tollgate(["user", "name", "alice", "Somebody Else"]);
    await sold("alice", "2026-01-05", "10.00");
    expect((await bill("alice#1", "2026-01")).customer).toBeUndefined();
    expect((await bill("alice", "2026-01")).customer).toBe("Somebody Else");
  });
});
