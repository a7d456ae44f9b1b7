import { describe, expect, it } from "vitest";
import type { Entry } from "../../src/charging/billing/store.ts";
import { settlementCsv, settlementHtml, settlementText } from "../../src/charging/bills/format-settlement.ts";
import { makeSettlement } from "../../src/charging/bills/settlement.ts";
import { type SettlementTerms, settlementFor } from "../../src/charging/money/settlement-terms.ts";
import { correction, item, time } from "../contract/store.contract.ts";
import { MemoryBilling } from "./memory-store.ts";

const month: Entry[] = [
  time("s1", { amount: "2.00" }),
  time("s2", { amount: "1.00", user: "bob" }),
  time("s3", { currency: "", amount: "0" }),
  item(1, { amount: "25.00" }),
  item(2, { amount: "10.00", user: "bob", session: "s2" }),
  item(3, { amount: "99.00", appServer: "shop-2" }),
  item(4, { amount: "77.00", month: "2026-02" }),
  correction("1", { amount: "-5.00" }),
];
type Agreed = (service: string) => readonly (SettlementTerms | undefined)[];
const everyone =
  (terms: SettlementTerms): Agreed =>
  () => [terms];

/** A month whose every entry was made when this was agreed. */
const agreed = (terms: Agreed, entries: readonly Entry[] = month): Entry[] =>
  entries.map((entry) => {
    const of = settlementFor(terms(entry.service));
    return of ? { ...entry, terms: of } : entry;
  });

async function settled(entries: readonly Entry[]) {
  const billing = new MemoryBilling();
  await billing.write({ accounts: [], entries });
  const settlement = await makeSettlement({ billing }, "shop-1", "2026-01");
  let csv = "";
  for await (const part of settlementCsv(settlement, { billing })) csv += part;
  return { settlement, csv };
}
const settle = (terms: Agreed, entries: readonly Entry[] = month) => settled(agreed(terms, entries));
const due = async (terms: Agreed) =>
  (await settle(terms)).settlement.totals.map((total) => `${total.due} ${total.currency}`);

describe("a settlement with an app server (M19)", () => {
  it("owes it the items, corrections included, and nothing of the time", async () => {
    const { settlement } = await settle(everyone({}));
    expect(settlement.services).toEqual([
      expect.objectContaining({ service: "wine", currency: "", sessions: 1, part: "0" }),
      expect.objectContaining({
        currency: "EUR",
        sessions: 2,
        charges: 2,
        time: "3.00",
        items: "30.00",
        part: "30.00",
      }),
    ]);
    expect(settlement).toMatchObject({ entries: 6, totals: [{ currency: "EUR", due: "30.00" }] });
  });

  it("is exact and can be written for the longest amounts and shares that there may be", async () => {
    const long = "999999999999999.999999999999";
    const terms = everyone({
      timeShare: "33.333333",
      fee: { percent: "12.345678", perSession: "999999999999.123456789", currency: "EUR" },
    });
    const entries = [
      ...Array.from({ length: 50 }, (_, i) => time(`s${i}`, { amount: long })),
      ...Array.from({ length: 50 }, (_, i) => item(i, { amount: long })),
      correction("1", { amount: `-${long}` }),
    ];
    const { settlement, csv } = await settle(terms, entries);
    // 50 × time × 0.33333333 and 49 × items, less 12.345678 percent of both and 50 fees
    expect(settlement.totals).toEqual([expect.objectContaining({ due: "57509671300576173.83" })]);
    expect(settlementText(settlement)).toContain("57509671300576173.83");
    expect(csv).toContain(long);
  });

  it("takes off a percentage, an amount for each session, or both", async () => {
    expect(await due(everyone({ fee: { percent: "5" } }))).toEqual(["28.50 EUR"]);
    expect(await due(everyone({ fee: { perSession: "0.10", currency: "EUR" } }))).toEqual(["29.70 EUR"]); // of three
    expect(await due(everyone({ fee: { percent: "5", perSession: "0.10", currency: "EUR" } }))).toEqual(["28.20 EUR"]);
  });

  it("gives the app server its share of the time where that is agreed", async () => {
    expect(await due(everyone({ timeShare: "50" }))).toEqual(["31.50 EUR"]);
    expect(await due(everyone({ timeShare: "50", fee: { percent: "10" } }))).toEqual(["28.35 EUR"]);
    const refunded = [...month, correction("2", { of: "time", amount: "-1.00" })];
    expect((await settle(everyone({ timeShare: "50" }), refunded)).settlement.totals[0]!.due).toBe("31.00");
  });

  it("goes by the app server's terms, then the service's, then those for everyone", async () => {
    const service = (id: string): SettlementTerms => (id === "wine" ? { fee: { percent: "10" } } : {});
    const all = { fee: { percent: "1" }, timeShare: "100" };
    expect(await due((id) => [{ fee: { percent: "20" } }, service(id), all])).toEqual(["26.40 EUR"]);
    expect(await due((id) => [{}, service(id), all])).toEqual(["29.70 EUR"]); // (30 + 3) less 10%
    expect(await due(() => [undefined, undefined, all])).toEqual(["32.67 EUR"]);
  });

  it("leaves what was charged before by what was agreed then, when a fee or a share changes", async () => {
    const before = agreed(everyone({ fee: { percent: "5" } }), month.slice(0, 5));
    const after = agreed(everyone({ fee: { percent: "20", perSession: "0.10", currency: "EUR" }, timeShare: "50" }), [
      item(11, { amount: "100.00" }),
      time("s11", { amount: "4.00" }),
    ]);
    const { settlement, csv } = await settled([...before, ...after]);
    const eur = settlement.services.filter(({ currency }) => currency === "EUR");
    expect(eur.map(({ percent, timeShare, part, percentFee }) => [percent, timeShare, part, percentFee])).toEqual([
      ["5", "0", "35.00", "1.75"],
      ["20", "50", "102.00", "20.40"],
    ]);
    expect(settlement.totals).toMatchObject([{ part: "137.00", sessions: 1, sessionFee: "0.10", due: "114.75" }]);
    const head = csv.split("\r\n")[0]!.split(",");
    const rows = csv
      .trimEnd()
      .split("\r\n")
      .slice(1)
      .map((row) => row.split(","));
    const owed = rows.reduce((sum, row) => sum + Number(row[head.indexOf("owed")]), 0);
    expect(owed.toFixed(2)).toBe("114.75");
    expect(rows.find((row) => row[head.indexOf("id")] === "s11:ended")!.slice(-4)).toEqual(["50", "20", "0.10", "EUR"]);
    expect(settlementText(settlement)).toMatch(/fee, 5%[\s\S]*fee, 20%/);
  });

  it("rounds once, at the end", async () => {
    const entries = ["a", "b", "c"].map((service, n) => item(n, { service, amount: "0.10" }));
    const { settlement } = await settle(everyone({ fee: { percent: "5" } }), entries); // three times 0.005, once 0.015
    expect(settlement.totals[0]).toMatchObject({ part: "0.30", percentFee: "0.015", due: "0.29" }); // 0.285
  });

  it("says so where the app server owes more than it earned", async () => {
    const { settlement } = await settle(everyone({ fee: { perSession: "20", currency: "EUR" } }));
    expect(settlement.totals[0]!.due).toBe("-30.00");
    expect(settlementText(settlement)).toMatch(/Due from the app server +-30\.00 EUR/);
  });

  it("is the sum of its rows as CSV", async () => {
    const terms = everyone({ timeShare: "50", fee: { percent: "5", perSession: "0.10", currency: "EUR" } });
    const { settlement, csv } = await settle(terms);
    const rows = csv.trimEnd().split("\r\n").slice(1);
    expect(rows).toHaveLength(8); // six entries, two fees
    const place = csv.split("\r\n")[0]!.split(",").indexOf("owed");
    const owed = rows.reduce((sum, row) => sum + Math.round(Number(row.split(",")[place]) * 1000), 0) / 1000;
    expect(owed).toBeCloseTo(Number(settlement.totals[0]!.due), 1);
    expect(owed).toBe(29.625); // 31.5 - 1.575 - 0.3
    expect(settlement.totals[0]!.due).toBe("29.63");
  });

  it("is written for people, and as a page that runs nothing", async () => {
    const odd = [item(9, { service: "<script>alert(1)</script>", amount: "1.00" })];
    const { settlement } = await settle(everyone({ fee: { percent: "5" } }), [...month, ...odd]);
    expect(settlementText(settlement)).toMatch(/fee, 5% +-1\.50 EUR/);
    const html = settlementHtml(settlement);
    expect(html).not.toContain("<script");
    expect(html).toContain("&lt;script&gt;");
  });

  it("says so where there is nothing", async () => {
    expect(settlementText((await settle(everyone({}), [])).settlement)).toContain("Nothing was charged.");
  });
});
