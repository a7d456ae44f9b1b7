import { describe, expect, it } from "vitest";
import { payable } from "../../src/charging/bill.ts";
import type { MonthTotal } from "../../src/charging/billing-store.ts";
import { noTotal } from "../../src/charging/month-total.ts";
import { type Tax, taxLines, taxSchema } from "../../src/charging/tax.ts";

const charged = (service: string, amount: string, currency = "EUR"): MonthTotal => ({
  ...noTotal(service, currency),
  charges: 1,
  itemAmount: amount,
});
const tax = (rate: string, over: Partial<Tax> = {}): Tax => ({ id: "vat", rate, included: false, ...over });
const short = (sums: MonthTotal[], taxes: Tax[]) =>
  taxLines(sums, taxes).map(({ tax, currency, net, amount }) => `${tax}: ${amount} of ${net} ${currency}`);

describe("taxes on a bill", () => {
  it("come on top of the charges", () => {
    expect(payable([charged("wine", "100.00")], [tax("19")])).toEqual({
      taxes: [{ tax: "vat", rate: "19", included: false, currency: "EUR", net: "100.00", amount: "19.00" }],
      totals: [{ currency: "EUR", amount: "100.00", tax: "19.00", due: "119.00" }],
    });
  });

  it("are shown where prices contain them, and nothing is added", () => {
    expect(payable([charged("wine", "119.00")], [tax("19", { included: true })])).toEqual({
      taxes: [{ tax: "vat", rate: "19", included: true, currency: "EUR", net: "100.00", amount: "19.00" }],
      totals: [{ currency: "EUR", amount: "119.00", due: "119.00" }],
    });
  });

  it("are rounded once for each tax and currency, half up, from the exact sum of all services", () => {
    // 0.03 at 19% is 0.0057: three times 0.01 if each service were rounded, 0.02 once.
    const sums = ["a", "b", "c"].map((service) => charged(service, "0.03"));
    expect(short(sums, [tax("19")])).toEqual(["vat: 0.02 of 0.09 EUR"]);
    expect(short([charged("a", "0.50")], [tax("19")])).toEqual(["vat: 0.10 of 0.50 EUR"]); // 0.095
    expect(short([charged("a", "-0.50")], [tax("19")])).toEqual(["vat: -0.10 of -0.50 EUR"]);
  });

  it("that prices contain are exact though they are no finite decimals", () => {
    const sums = ["a", "b", "c"].map((service) => charged(service, "1.00"));
    expect(short(sums, [tax("7", { included: true })])).toEqual(["vat: 0.20 of 2.80 EUR"]); // 3.00 × 7/107 = 0.19626
    // Net and tax of what was not rounded come to the price again, within a cent that the rounding of both may make.
    expect(short([charged("a", "10.70")], [tax("7", { included: true })])).toEqual(["vat: 0.70 of 10.00 EUR"]);
  });

  it("are taken of the services that they are for", () => {
    const sums = [charged("wine", "10.00"), charged("english", "20.00"), charged("", "-1.00")];
    const taxes = [tax("19", { services: ["wine"] }), tax("7", { id: "low", services: ["english"] })];
    expect(short(sums, taxes)).toEqual(["vat: 1.90 of 10.00 EUR", "low: 1.40 of 20.00 EUR"]);
    expect(short(sums, [tax("10")])).toEqual(["vat: 2.90 of 29.00 EUR"]);
  });

  it("are all taken of the price without any tax", () => {
    const taxes = [
      tax("19", { included: true }),
      tax("5", { id: "wine tax", included: true }),
      tax("10", { id: "levy" }),
    ];
    const { taxes: lines, totals } = payable([charged("wine", "124.00")], taxes);
    expect(lines.map(({ amount }) => amount)).toEqual(["19.00", "5.00", "10.00"]);
    expect(totals).toEqual([{ currency: "EUR", amount: "124.00", tax: "10.00", due: "134.00" }]);
  });

  it("are worked out for each currency, in its own minor unit", () => {
    const sums = [charged("wine", "10.00"), charged("wine", "105", "JPY"), noTotal("wine", "")];
    expect(short(sums, [tax("10")])).toEqual(["vat: 1.00 of 10.00 EUR", "vat: 11 of 105 JPY"]);
  });

  it("make the total the sum of what is shown above it", () => {
    const { taxes, totals } = payable([charged("wine", "0.124"), charged("english", "3.3333")], [tax("7.7")]);
    expect(totals[0]).toMatchObject({ amount: "3.4573", tax: taxes[0]!.amount, due: "3.73" }); // 3.46 + 0.27
  });

  it.each([{ rate: "nineteen" }, { rate: "-1" }, { rate: "1000" }, { services: [] }, { rates: "1" }])(
    "are not configured as %j",
    (over) => {
      expect(taxSchema.safeParse({ id: "vat", rate: "19", ...over }).success).toBe(false);
    },
  );
});
