import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { monthOf } from "../../src/charging/money/months.ts";
import { openEmbeddedStore } from "../../src/store/embedded.ts";
import { Terminal } from "./terminal.ts";

let terminal: Terminal;
beforeEach(async () => {
  terminal = new Terminal();
  await terminal.tollgate(["user", "add", "alice", "--password-stdin"], { stdin: "x" });
  const store = await openEmbeddedStore(join(terminal.folder, "data", "store"));
  const shared = {
    user: "alice",
    month: "2026-01",
    service: "wine",
    appServer: "shop",
    session: "s1",
    currency: "EUR",
  };
  const at = Date.UTC(2026, 0, 5);
  await store.billing.write({
    accounts: [],
    entries: [
      { ...shared, kind: "time", id: "s1:time", at, amount: "0.50", durationMs: 60_000, endedBy: "client" },
      {
        ...shared,
        kind: "item",
        id: "s1:charge:1",
        at,
        amount: "12.30",
        item: "Rioja",
        unitPrice: "6.15",
        quantity: "2",
        channel: "info",
      },
    ],
  });
  await store.close();
});
afterEach(() => terminal.remove());

const bill = (line: string) => terminal.tollgate(["bill", ...line.split(" ")]);

describe("tollgate bill (M18)", () => {
  it("prints a month's bill for people, as JSON and as CSV", async () => {
    const text = await bill("alice --month 2026-01");
    expect(text.code).toBe(0);
    expect(text.out).toMatch(/^Bill for alice, 2026-01/);
    expect(text.out).toMatch(/Rioja .*12\.30 EUR/);
    expect(text.out).toMatch(/Total .*12\.80 EUR/);
    expect(JSON.parse((await bill("alice --month 2026-01 --json")).out)).toMatchObject({
      user: "alice",
      totals: [{ currency: "EUR", due: "12.80" }],
    });
    expect((await bill("alice --month 2026-01 --csv")).out).toMatch(/^user,month,service,.*\r\nalice,2026-01,wine,s1,/);
  });

  it("is for the present month where none is named", async () => {
    const { code, out } = await bill("alice");
    expect(code).toBe(0);
    expect(out).toContain(monthOf(Date.now()));
    expect(out).toContain("Nothing to pay.");
  });

  it("is there for a user who was removed, and not for one who never was", async () => {
    await terminal.tollgate(["user", "remove", "alice"]);
    expect((await bill("alice --month 2026-01")).code).toBe(0);
    expect(await bill("alcie --month 2026-01")).toMatchObject({ code: 1, out: "" });
  });

  it.each(["alice --month 2026-13", "alice --month January", "alice --json --csv"])(
    "refuses %s with 2",
    async (line) => {
      expect((await bill(line)).code).toBe(2);
    },
  );
});
