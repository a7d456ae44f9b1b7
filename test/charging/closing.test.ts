import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Entry } from "../../src/charging/billing/store.ts";
import type { Bill } from "../../src/charging/bills/bill.ts";
import { closedBill, closeMonth } from "../../src/charging/bills/closing.ts";
import { openEmbeddedStore } from "../../src/store/embedded.ts";
import type { Store } from "../../src/store/types.ts";
import { freshFolder } from "./folders.ts";

/* Bills that are closed by several at once, or while more is charged (M18). */

let store: Store;
beforeEach(async () => {
  store = await openEmbeddedStore(freshFolder());
});
afterEach(() => store.close());

const NOW = Date.parse("2026-02-01T00:00:00Z");

async function sold(user: string, amount: string, id = "1"): Promise<void> {
  const entry: Entry = {
    ...{ kind: "item", id: `${user}:${id}`, user, month: "2026-01", service: "wine", appServer: "shop" },
    ...{ session: `s-${user}-${id}`, call: `c-${user}-${id}`, at: NOW - 1_000, item: "Rioja", unitPrice: amount },
    ...{ quantity: "1", channel: "info", currency: "EUR", amount },
  };
  await store.billing.write({ accounts: [], entries: [entry] });
}

const number = (user: string, text: string) => ({ user, number: text }) as unknown as Bill;
const close = (make: (user: string, number: string) => Promise<Bill> = async (user, text) => number(user, text)) =>
  closeMonth(store, "2026-01", { now: NOW, prefix: "", make });
const numberOf = async (user: string) => (await closedBill(store.closedBills, user, "2026-01"))?.number;

describe("closing a month", () => {
  it("gives no number twice and changes no bill, when two do it at once and see other users", async () => {
    await sold("carol", "3.00");
    await sold("dave", "4.00");
    let go!: () => void;
    const held = new Promise<void>((resolve) => (go = resolve));
    const first = close(async (user, text) => {
      await held; // has seen carol and dave
      return number(user, text);
    });
    await new Promise(setImmediate);
    await sold("bob", "2.00");
    const second = await close();
    const before = await Promise.all(["bob", "carol", "dave"].map(numberOf));
    go();
    const done = await first;
    const after = await Promise.all(["bob", "carol", "dave"].map(numberOf));
    expect(after).toEqual(before);
    expect(new Set(after).size).toBe(3);
    expect(second.count + done.count).toBe(3);
  });

  it("goes on with the number that a user was given, when the process died before the bill was there", async () => {
    for (const user of ["alice", "bob", "carol"]) await sold(user, "1.00");
    await expect(
      close(async (user, text) => {
        if (user === "bob") throw new Error("killed");
        return number(user, text);
      }),
    ).rejects.toThrow("killed");
    await sold("aaron", "1.00"); // he would come before bob
    expect(await close()).toEqual({ count: 3, first: "2026-01-0002", last: "2026-01-0004" });
    expect(await Promise.all(["alice", "bob", "aaron", "carol"].map(numberOf))).toEqual([
      "2026-01-0001",
      "2026-01-0002",
      "2026-01-0003",
      "2026-01-0004",
    ]);
  });

  it("bills what is charged meanwhile once: on this bill, or later", async () => {
    await sold("alice", "1.00");
    let bills = 0;
    await close(async (user, text) => {
      if (bills++ === 0) await sold("alice", "5.00", "2");
      return number(user, text);
    });
    expect(bills).toBe(2); // the first bill may have had it or not
    const closed = await closedBill(store.closedBills, "alice", "2026-01");
    expect(closed?.sums).toEqual(await store.billing.totals("alice", "2026-01"));
  });
});
