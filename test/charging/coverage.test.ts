import { describe, expect, it } from "vitest";
import { coveredMs, FOREVER_MS } from "../../src/charging/money/coverage.ts";
import { compare, type Money, money } from "../../src/charging/money/money.ts";
import { rateDuration, type Tariff } from "../../src/charging/money/tariff.ts";
import { numbers } from "./samples.ts";

const eur = (text: string) => money(text, "EUR");
const paysFor = (amount: Money) => (price: Money) => compare(price, amount) <= 0;

describe("how long an amount lasts (M13)", () => {
  const tariff: Tariff = { id: "t", currency: "EUR", setupFee: "0.25", price: "0.10", incrementS: 60 };

  it.each([
    ["0.24", 0],
    ["0.25", 0],
    ["0.34", 0],
    ["0.35", 60_000],
    ["0.449999", 60_000],
    ["1.25", 600_000],
  ])("%s EUR are for %i ms", (amount, ms) => {
    expect(coveredMs(tariff, paysFor(eur(amount)))).toBe(ms);
  });

  it("lasts for ever where time costs nothing, or its cap is paid for", () => {
    expect(coveredMs(undefined, paysFor(eur("0")))).toBe(FOREVER_MS);
    expect(coveredMs({ id: "t", currency: "EUR", setupFee: "1" }, paysFor(eur("1")))).toBe(FOREVER_MS);
    expect(coveredMs({ ...tariff, cap: "2.00" }, paysFor(eur("2")))).toBe(FOREVER_MS);
    expect(coveredMs({ ...tariff, cap: "2.00" }, paysFor(eur("1.99")))).toBeLessThan(FOREVER_MS);
  });

  it("counts the free seconds, and they are not free of the set-up fee", () => {
    expect(coveredMs({ ...tariff, freeS: 30 }, paysFor(eur("0.25")))).toBe(30_000);
    expect(coveredMs({ ...tariff, freeS: 30 }, paysFor(eur("0.24")))).toBe(0);
    expect(coveredMs({ ...tariff, freeS: 30 }, paysFor(eur("0.35")))).toBe(90_000);
  });

  it("is paid for to its last millisecond and no further, by any tariff", () => {
    const random = numbers(11);
    const cents = (most: number) => (Math.floor(random() * most) / 100).toFixed(2);
    for (let i = 0; i < 300; i++) {
      const any: Tariff = {
        id: "t",
        currency: "EUR",
        setupFee: cents(50),
        price: (Math.floor(1 + random() * 5000) / 10000).toFixed(4),
        incrementS: [0.1, 1, 6, 60][i % 4]!,
        ...(i % 3 === 0 && { freeS: Math.floor(random() * 30) }),
        ...(i % 5 === 0 && { minimum: cents(100) }),
        rounding: (["half-up", "half-even", "up", "down"] as const)[i % 4]!,
      };
      const amount = eur(cents(500));
      const ms = coveredMs(any, paysFor(amount));
      if (ms > 0) expect(compare(rateDuration(any, ms), amount)).toBeLessThanOrEqual(0);
      expect(compare(rateDuration(any, ms + 1), amount)).toBeGreaterThan(0);
    }
  });
});
