import { describe, expect, it } from "vitest";
import { tariffSchema } from "../../src/charging/events/tariff-schema.ts";
import { compare, formatAmount, money } from "../../src/charging/money/money.ts";
import { rateDuration, type Tariff } from "../../src/charging/money/tariff.ts";
import { numbers } from "./samples.ts";

const base: Tariff = { id: "t", currency: "EUR" };
const cost = (tariff: Partial<Tariff>, durationMs: number): string =>
  formatAmount(rateDuration({ ...base, ...tariff }, durationMs));

describe("a session's duration is charged by the service's tariff (M13)", () => {
  it("costs nothing by a tariff that says nothing", () => expect(cost({}, 3_600_000)).toBe("0.00"));

  it("charges the set-up fee once, however short", () => {
    expect(cost({ setupFee: "0.25" }, 0)).toBe("0.25");
    expect(cost({ setupFee: "0.25" }, 3_600_000)).toBe("0.25");
  });

  it.each([
    [0, "0.00"],
    [1, "0.10"],
    [59_999, "0.10"],
    [60_000, "0.10"],
    [60_001, "0.20"],
    [600_000, "1.00"],
  ])("charges each begun increment: %i ms", (durationMs, amount) =>
    expect(cost({ price: "0.10" }, durationMs)).toBe(amount),
  );

  it("has increments of any length", () => {
    expect(cost({ price: "0.01", incrementS: 1 }, 61_000)).toBe("0.61");
    expect(cost({ price: "0.01", incrementS: 0.1 }, 1_050)).toBe("0.11");
  });

  it("leaves the free seconds out before it counts increments", () => {
    const tariff = { price: "0.10", freeS: 30 };
    expect([29_999, 30_000, 30_001, 90_000, 90_001].map((ms) => cost(tariff, ms))).toEqual([
      "0.00",
      "0.00",
      "0.10",
      "0.10",
      "0.20",
    ]);
  });

  it("keeps to the minimum and the cap, set-up fee included", () => {
    const tariff = { setupFee: "0.25", price: "0.10", minimum: "0.50", cap: "1.00" };
    expect([0, 60_000, 180_000, 300_000, 3_600_000].map((ms) => cost(tariff, ms))).toEqual([
      "0.50",
      "0.50",
      "0.55",
      "0.75",
      "1.00",
    ]);
  });

  it("asks no minimum of a session that ended in its free seconds", () => {
    const tariff = { price: "0.10", freeS: 10, minimum: "0.50" };
    expect([10_000, 10_001].map((ms) => cost(tariff, ms))).toEqual(["0.00", "0.50"]);
  });

  it("rounds once, at the end", () => {
    const tariff = { price: "0.0033", incrementS: 1 };
    expect(cost(tariff, 3_000)).toBe("0.01");
    expect(cost({ ...tariff, rounding: "up" }, 4_000)).toBe("0.02");
    expect(cost({ ...tariff, rounding: "down" }, 6_000)).toBe("0.01");
    expect(cost({ ...tariff, currency: "JPY", price: "0.5" }, 3_000)).toBe("2");
  });

  it("takes a negative duration, from a clock that was set back, as none", () =>
    expect(cost({ price: "0.10" }, -5_000)).toBe("0.00"));

  it("is exact where floats are not", () => {
    // 0.1 + 0.7, and a year in seconds at a price that no float holds
    expect(cost({ setupFee: "0.1", price: "0.7" }, 60_000)).toBe("0.80");
    expect(cost({ price: "0.000000001", incrementS: 1, rounding: "up" }, 31_536_000_000)).toBe("0.04");
    expect(cost({ price: "999999999999999.99", incrementS: 1 }, 3_000)).toBe("2999999999999999.97");
  });
});

describe("any tariff", () => {
  const random = numbers(3);
  const decimal = (most: number) => (random() * most).toFixed(Math.floor(random() * 5));
  const anyTariff = (): Tariff => ({
    ...base,
    currency: ["EUR", "JPY", "KWD"][Math.floor(random() * 3)]!,
    ...(random() < 0.5 && { setupFee: decimal(2) }),
    ...(random() < 0.9 && { price: decimal(1) }),
    ...(random() < 0.5 && { incrementS: 1 + Math.floor(random() * 90) }),
    ...(random() < 0.5 && { freeS: Math.floor(random() * 60) }),
    ...(random() < 0.3 && { minimum: decimal(2) }),
    ...(random() < 0.3 && { cap: (2 + random() * 3).toFixed(2) }),
    rounding: (["half-up", "half-even", "up", "down"] as const)[Math.floor(random() * 4)]!,
  });

  it("costs no less for a longer session, and never more than its cap rounded", () => {
    for (let i = 0; i < 300; i++) {
      const tariff = anyTariff();
      let before = rateDuration(tariff, 0);
      for (let ms = 0; ms < 400_000; ms += Math.floor(random() * 40_000)) {
        const now = rateDuration(tariff, ms);
        expect(compare(now, before), `${JSON.stringify(tariff)} at ${ms} ms`).toBeGreaterThanOrEqual(0);
        before = now;
      }
      if (tariff.cap !== undefined) {
        const most = rateDuration(
          { ...base, currency: tariff.currency, setupFee: tariff.cap, rounding: tariff.rounding! },
          0,
        );
        expect(compare(before, most)).toBeLessThanOrEqual(0);
      }
    }
  });

  it("costs what whole increments come to, counted one by one", () => {
    for (let i = 0; i < 300; i++) {
      const [price, setup, incrementS, freeS] = [
        Math.floor(random() * 100),
        Math.floor(random() * 100),
        1 + Math.floor(random() * 60),
        Math.floor(random() * 20),
      ];
      const cents = (n: number) => `${Math.floor(n / 100)}.${String(n % 100).padStart(2, "0")}`;
      const durationMs = Math.floor(random() * 300_000);
      let expected = setup;
      for (let ms = freeS * 1000; ms < durationMs; ms += incrementS * 1000) expected += price;
      expect(cost({ price: cents(price), setupFee: cents(setup), incrementS, freeS }, durationMs)).toBe(
        cents(expected),
      );
    }
  });
});

describe("the tariff schema", () => {
  const good = {
    id: "lesson",
    currency: "EUR",
    setupFee: "0.25",
    price: "0.10",
    incrementS: 60,
    freeS: 0,
    minimum: "0.10",
    cap: "5.00",
    rounding: "up",
  };
  const problems = (value: unknown): string[] => {
    const read = tariffSchema.safeParse(value);
    return read.success ? [] : read.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`);
  };

  it("takes a whole tariff and the shortest one", () => {
    expect(problems(good)).toEqual([]);
    expect(problems({ id: "free", currency: "JPY" })).toEqual([]);
  });

  it("says what it expected", () => {
    expect(problems({ ...good, price: 0.1 })).toHaveLength(1);
    expect(problems({ ...good, price: "0,10" })).toEqual(['price: a decimal amount in quotes, such as "0.25"']);
    expect(problems({ ...good, price: "-1" })).toEqual(['price: a decimal amount in quotes, such as "0.25"']);
    expect(problems({ ...good, currency: "EURO" })).toEqual(["currency: an ISO 4217 currency code such as EUR"]);
    expect(problems({ ...good, cap: "0.05" })).toEqual(["cap: a cap that is not below the minimum"]);
    expect(problems({ ...good, incrementS: 0 })).toEqual(["incrementS: seconds, at least 0.001"]);
    expect(problems({ ...good, pirce: "1" })).toHaveLength(1);
  });

  it("leaves rateDuration nothing to throw at", () => {
    expect(compare(rateDuration(tariffSchema.parse(good), 1), money("0.35", "EUR"))).toBe(0);
  });
});
