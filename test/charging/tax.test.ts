import { describe, expect, it } from "vitest";
import { payable } from "../../src/charging/bills/bill.ts";
import { minorDigits } from "../../src/charging/money/currency.ts";
import { add, formatAmount, money, zero } from "../../src/charging/money/money.ts";
import { type Tax, TaxedSums, taxesOn, taxSchema } from "../../src/charging/money/tax.ts";
import type { AppliedTax } from "../../src/charging/money/terms.ts";
import { numbers } from "./samples.ts";

interface Charged {
  readonly service: string;
  readonly amount: string;
  readonly currency: string;
}
const charged = (service: string, amount: string, currency = "EUR"): Charged => ({ service, amount, currency });
const tax = (rate: string, over: Partial<Tax> = {}): Tax => ({ id: "vat", rate, included: false, ...over });
const owed = (charges: readonly Charged[], taxes: readonly Tax[]) => {
  const sums = new TaxedSums();
  for (const { service, amount, currency } of charges) sums.add(money(amount, currency), taxesOn(service, taxes));
  return payable(sums);
};
const short = (charges: readonly Charged[], taxes: readonly Tax[]) =>
  owed(charges, taxes).taxes.map(({ tax, currency, net, amount }) => `${tax}: ${amount} of ${net} ${currency}`);

describe("taxes on a bill", () => {
  it("come on top of the charges", () => {
    expect(owed([charged("wine", "100.00")], [tax("19")])).toEqual({
      taxes: [{ tax: "vat", rate: "19", included: false, currency: "EUR", net: "100.00", amount: "19.00" }],
      totals: [{ currency: "EUR", amount: "100.00", tax: "19.00", due: "119.00" }],
    });
  });

  it("are shown where prices contain them, and nothing is added", () => {
    expect(owed([charged("wine", "119.00")], [tax("19", { included: true })])).toEqual({
      taxes: [{ tax: "vat", rate: "19", included: true, currency: "EUR", net: "100.00", amount: "19.00" }],
      totals: [{ currency: "EUR", amount: "119.00", due: "119.00" }],
    });
  });

  it("are rounded once for each tax and currency, half up, from the sum of all services", () => {
    // 0.03 at 19% is 0.0057: three times 0.01 if each service were rounded, 0.02 once.
    const sums = ["a", "b", "c"].map((service) => charged(service, "0.03"));
    expect(short(sums, [tax("19")])).toEqual(["vat: 0.02 of 0.09 EUR"]);
    expect(short([charged("a", "0.50")], [tax("19")])).toEqual(["vat: 0.10 of 0.50 EUR"]); // 0.095
    expect(short([charged("a", "-0.50")], [tax("19")])).toEqual(["vat: -0.10 of -0.50 EUR"]);
  });

  it("that prices contain leave what is due less the tax as the net (EN 16931)", () => {
    const included = [tax("20", { included: true })];
    expect(short([charged("a", "10.05")], included)).toEqual(["vat: 1.68 of 8.37 EUR"]); // 1.675
    expect(short([charged("a", "-10.05")], included)).toEqual(["vat: -1.68 of -8.37 EUR"]);
    expect(short([charged("a", "1005", "JPY")], included)).toEqual(["vat: 168 of 837 JPY"]); // 167.5
    expect(short([charged("a", "1.005", "KWD")], included)).toEqual(["vat: 0.168 of 0.837 KWD"]);
    const thirds = ["a", "b", "c"].map((service) => charged(service, "1.00"));
    expect(short(thirds, [tax("7", { included: true })])).toEqual(["vat: 0.20 of 2.80 EUR"]); // 3.00 × 7/107 = 0.19626
  });

  it("are taken of the services that they are for", () => {
    const sums = [charged("wine", "10.00"), charged("english", "20.00"), charged("", "-1.00")];
    const taxes = [tax("19", { services: ["wine"] }), tax("7", { id: "low", services: ["english"] })];
    expect(short(sums, taxes)).toEqual(["low: 1.40 of 20.00 EUR", "vat: 1.90 of 10.00 EUR"]);
    expect(short(sums, [tax("10")])).toEqual(["vat: 2.90 of 29.00 EUR"]);
  });

  it("that are on some of the services only are rounded once each all the same", () => {
    const sums = [charged("wine", "10.03"), charged("english", "20.03")];
    const taxes = [tax("19"), tax("2", { id: "levy", services: ["wine"] })];
    // 19% of each: 1.9057 and 3.8057.
    expect(short(sums, taxes)).toEqual(["levy: 0.20 of 10.03 EUR", "vat: 5.71 of 30.06 EUR"]);
  });

  it("are all taken of the price without any tax", () => {
    const taxes = [
      tax("19", { included: true }),
      tax("5", { id: "wine tax", included: true }),
      tax("10", { id: "levy" }),
    ];
    const { taxes: lines, totals } = owed([charged("wine", "124.00")], taxes);
    expect(lines.map(({ tax, amount }) => [tax, amount])).toEqual([
      ["levy", "10.00"],
      ["vat", "19.00"],
      ["wine tax", "5.00"],
    ]);
    expect(totals).toEqual([{ currency: "EUR", amount: "124.00", tax: "10.00", due: "134.00" }]);
  });

  it("are worked out for each currency, in its own minor unit", () => {
    const sums = [charged("wine", "10.00"), charged("wine", "105", "JPY")];
    expect(short(sums, [tax("10")])).toEqual(["vat: 1.00 of 10.00 EUR", "vat: 11 of 105 JPY"]);
  });

  it("make the total the sum of what is shown above it", () => {
    const { taxes, totals } = owed([charged("wine", "0.124"), charged("english", "3.3333")], [tax("7.7")]);
    expect(totals[0]).toMatchObject({ amount: "3.4573", tax: taxes[0]!.amount, due: "3.73" }); // 3.46 + 0.27
  });

  it("of two rates within a month are two lines, each of what it is on", () => {
    const sums = new TaxedSums();
    sums.add(money("100.00", "EUR"), [tax("19")]).add(money("10.00", "EUR"), [tax("21")]);
    sums.add(money("1.00", "EUR"), [tax("19")]);
    expect(payable(sums)).toEqual({
      taxes: [
        { tax: "vat", rate: "19", included: false, currency: "EUR", net: "101.00", amount: "19.19" },
        { tax: "vat", rate: "21", included: false, currency: "EUR", net: "10.00", amount: "2.10" },
      ],
      totals: [{ currency: "EUR", amount: "111.00", tax: "21.29", due: "132.29" }],
    });
  });

  it("are rounded with what they are added up within, and with nothing else", () => {
    const each = new TaxedSums();
    const all = new TaxedSums();
    for (const session of ["s1", "s2", "s3"]) {
      each.add(money("0.03", "EUR"), [tax("19")], session);
      all.add(money("0.03", "EUR"), [tax("19")]);
    }
    expect(formatAmount(each.due("EUR"))).toBe("0.12"); // three times 0.03 and 0.01
    expect(formatAmount(all.due("EUR"))).toBe("0.11");
    expect(formatAmount(each.due("JPY"))).toBe("0");
    expect(formatAmount(new TaxedSums(each).add(money("1", "EUR"), undefined, "s4").due("EUR"))).toBe("1.12");
    expect(formatAmount(each.due("EUR"))).toBe("0.12"); // the copy was another
  });

  it("and net come to what is due, for any rates, currencies and amounts", () => {
    const random = numbers(5);
    const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
    const rates = ["0", "5.5", "7", "7.7", "8.1", "17.333333", "19", "20", "25", "100", "999.999999"];
    const taxSets: (readonly AppliedTax[])[] = Array.from({ length: 40 }, (_, n) =>
      Array.from({ length: n % 4 }, (_, i) => tax(pick(rates), { id: `t${i}`, included: random() < 0.5 })),
    );
    for (let n = 0; n < 2_000; n++) {
      const currency = pick(["EUR", "JPY", "KWD"]);
      const sums = new TaxedSums();
      let exact = zero(currency);
      for (let i = 0; i < 1 + (n % 6); i++) {
        const amount = money(
          ((random() - 0.3) * 10 ** Math.floor(random() * 6)).toFixed(Math.floor(random() * 6)),
          currency,
        );
        exact = add(exact, amount);
        sums.add(amount, pick(taxSets), pick(["", "", "s1", "s2"]));
      }
      const [one] = sums.payable();
      expect(formatAmount(one!.charged)).toBe(formatAmount(exact));
      expect(one!.due.scale).toBe(minorDigits(currency));
      const taxed = one!.taxes.reduce((sum, { amount }) => add(sum, money(amount, currency)), one!.net);
      expect(formatAmount(taxed)).toBe(formatAmount(one!.due));
      const onTop = one!.taxes.filter(({ included }) => !included);
      const added = onTop.reduce((sum, { amount }) => add(sum, money(amount, currency)), zero(currency));
      expect(formatAmount(added)).toBe(formatAmount(one!.added));
    }
  });

  it("that prices contain come with their net to the gross of their own line, for any rate and currency", () => {
    const random = numbers(6);
    for (let n = 0; n < 2_000; n++) {
      const currency = ["EUR", "JPY", "KWD"][n % 3]!;
      const digits = minorDigits(currency);
      const gross = ((random() - 0.2) * 1_000).toFixed(digits);
      const rate = (random() * 100).toFixed(n % 7);
      const [line] = owed([charged("a", gross, currency)], [tax(rate, { included: true })]).taxes;
      const sum = add(money(line!.net, currency), money(line!.amount, currency));
      expect(Number(formatAmount(sum))).toBe(Number(gross));
      // No more than half a minor unit from the exact tax.
      const exact = (Number(gross) * Number(rate)) / (100 + Number(rate));
      expect(Math.abs(Number(line!.amount) - exact)).toBeLessThanOrEqual(0.5000001 / 10 ** digits);
    }
  });

  it.each([
    { rate: "nineteen" },
    { rate: "-1" },
    { rate: "1000" },
    { services: [] },
    { rates: "1" },
    { title: "a\nb" },
  ])("are not configured as %j", (over) => {
    expect(taxSchema.safeParse({ id: "vat", rate: "19", ...over }).success).toBe(false);
  });
});
