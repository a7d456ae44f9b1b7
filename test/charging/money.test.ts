import { describe, expect, it } from "vitest";
import { isCurrency, minorDigits } from "../../src/charging/money/currency.ts";
import {
  add,
  compare,
  formatAmount,
  formatMoney,
  money,
  multiply,
  parseMoney,
  type Rounding,
  round,
} from "../../src/charging/money/money.ts";
import { numbers } from "./samples.ts";

describe("money is exact (decision 10)", () => {
  it("adds what floats cannot", () => {
    expect(formatMoney(add(money("0.1", "EUR"), money("0.2", "EUR")))).toBe("0.30 EUR");
    let sum = money("0", "EUR");
    for (let i = 0; i < 1000; i++) sum = add(sum, money("0.001", "EUR"));
    expect(formatAmount(sum)).toBe("1.00");
  });

  it("multiplies by a decimal quantity without a rest", () => {
    expect(formatAmount(multiply(money("0.333", "EUR"), "0.75"))).toBe("0.24975");
    expect(formatAmount(multiply(money("12.50", "EUR"), 2n))).toBe("25.00");
  });

  it("compares amounts of different scales", () => {
    expect(compare(money("1.5", "EUR"), money("1.50", "EUR"))).toBe(0);
    expect(compare(money("1.499999", "EUR"), money("1.5", "EUR"))).toBe(-1);
    expect(compare(money("-1", "EUR"), money("-2", "EUR"))).toBe(1);
  });

  it("does not add or compare two currencies", () => {
    expect(() => add(money("1", "EUR"), money("1", "USD"))).toThrow("EUR and USD");
    expect(() => compare(money("1", "EUR"), money("1", "USD"))).toThrow("EUR and USD");
  });

  it.each([
    "",
    ".",
    ".5",
    "1.",
    "+1",
    "1e3",
    "1,5",
    " 1",
    "1 ",
    "0x10",
    "NaN",
    "Infinity",
    "--1",
    "1.2.3",
    "١",
    "9".repeat(41),
    `0.${"1".repeat(21)}`,
  ])("does not read %j", (text) => {
    expect(parseMoney(text, "EUR").ok).toBe(false);
  });

  it("says what it expected", () => {
    expect(parseMoney("1,5", "EUR")).toEqual({
      ok: false,
      error: 'an amount must be a decimal number such as "0.25", is "1,5"',
    });
    expect(parseMoney("1", "EURO")).toEqual({
      ok: false,
      error: 'currency must be an ISO 4217 code such as EUR, is "EURO"',
    });
  });

  it("writes at least the minor unit's decimals, and no zeros behind them", () => {
    expect(formatAmount(money("5", "EUR"))).toBe("5.00");
    expect(formatAmount(money("5.5000", "EUR"))).toBe("5.50");
    expect(formatAmount(money("0.0125", "EUR"))).toBe("0.0125");
    expect(formatAmount(money("500", "JPY"))).toBe("500");
    expect(formatAmount(money("500.50", "JPY"))).toBe("500.5");
    expect(formatAmount(money("1", "KWD"))).toBe("1.000");
    expect(formatAmount(money("-0.05", "EUR"))).toBe("-0.05");
  });

  it("reads back what it writes", () => {
    const random = numbers(1);
    for (let i = 0; i < 2000; i++) {
      const amount = {
        units: BigInt(Math.floor((random() - 0.5) * 1e15)),
        scale: Math.floor(random() * 8),
        currency: "EUR",
      };
      expect(compare(money(formatAmount(amount), "EUR"), amount)).toBe(0);
    }
  });
});

describe("rounding to the minor unit", () => {
  const table: [string, Record<Rounding, string>][] = [
    ["0.005", { "half-up": "0.01", "half-even": "0.00", up: "0.01", down: "0.00" }],
    ["0.015", { "half-up": "0.02", "half-even": "0.02", up: "0.02", down: "0.01" }],
    ["0.0149", { "half-up": "0.01", "half-even": "0.01", up: "0.02", down: "0.01" }],
    ["0.0151", { "half-up": "0.02", "half-even": "0.02", up: "0.02", down: "0.01" }],
    ["0.01", { "half-up": "0.01", "half-even": "0.01", up: "0.01", down: "0.01" }],
    ["-0.005", { "half-up": "-0.01", "half-even": "0.00", up: "-0.01", down: "0.00" }],
  ];
  it.each(table)("brings %s EUR to cents", (text, expected) => {
    for (const [mode, amount] of Object.entries(expected))
      expect(formatAmount(round(money(text, "EUR"), mode as Rounding))).toBe(amount);
  });

  it("never moves an amount by more than a minor unit, nor the wrong way", () => {
    const random = numbers(2);
    const unit = money("0.01", "EUR");
    for (let i = 0; i < 2000; i++) {
      const amount = { units: BigInt(Math.floor(random() * 1e12)), scale: 6, currency: "EUR" };
      const down = round(amount, "down");
      const up = round(amount, "up");
      expect(compare(down, amount)).toBeLessThanOrEqual(0);
      expect(compare(up, amount)).toBeGreaterThanOrEqual(0);
      expect(compare(up, add(down, unit))).toBeLessThanOrEqual(0);
      for (const mode of ["half-up", "half-even"] as const) {
        const nearest = round(amount, mode);
        expect(compare(nearest, down) === 0 || compare(nearest, up) === 0).toBe(true);
      }
    }
  });
});

describe("currencies are those of ISO 4217", () => {
  it("knows codes that are money and no others", () => {
    for (const code of ["EUR", "JPY", "KWD", "XOF", "SLE", "ZWG", "VED", "HRK", "CLF", "UYW", "UYI"])
      expect(isCurrency(code)).toBe(true);
    for (const code of ["eur", "EURO", "", "XXX", "XAU", "XTS", "ABC", "__proto__"])
      expect(isCurrency(code)).toBe(false);
  });

  it("has the minor units of the standard where ICU has others", () => {
    expect(["EUR", "HUF", "IDR", "COP", "ISK", "JPY", "IQD", "KWD", "CLF"].map(minorDigits)).toEqual([
      2, 2, 2, 2, 0, 0, 3, 3, 4,
    ]);
  });
});
