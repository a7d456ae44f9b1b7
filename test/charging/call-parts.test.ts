import { describe, expect, it } from "vitest";
import { entryFor } from "../../src/charging/billing/entries.ts";
import { CallParts } from "../../src/charging/charges/call-parts.ts";
import { sessionEnded } from "../../src/charging/events/events.ts";
import { tariffSchema } from "../../src/charging/events/tariff-schema.ts";
import { coveredMs, FOREVER_MS } from "../../src/charging/money/coverage.ts";
import { add, compare, formatAmount, money, zero } from "../../src/charging/money/money.ts";
import { rateDuration, type Tariff, type TariffUse, useAfter } from "../../src/charging/money/tariff.ts";
import { facts, JANUARY, numbers } from "./samples.ts";

const base: Tariff = { id: "t", currency: "EUR" };

/** What each of the parts of a call costs that are by one tariff, one after the other. */
function costs(tariff: Partial<Tariff>, ...durationsMs: number[]): string[] {
  const whole = { ...base, ...tariff };
  let used: TariffUse | undefined;
  return durationsMs.map((durationMs) => {
    const amount = formatAmount(rateDuration(whole, durationMs, used));
    used = useAfter(whole, durationMs, used);
    return amount;
  });
}

describe("parts of a call by one tariff (M20-M24)", () => {
  it("pay its set-up fee once", () => {
    expect(costs({ setupFee: "0.25", price: "0.10" }, 60_000, 60_000, 0)).toEqual(["0.35", "0.10", "0.00"]);
  });

  it("have its free seconds once: the next part what the one before has left", () => {
    expect(costs({ price: "0.10", freeS: 60 }, 40_000, 40_000, 1)).toEqual(["0.00", "0.10", "0.10"]);
    expect(costs({ price: "0.10", freeS: 60, setupFee: "1" }, 0, 60_000, 60_000)).toEqual(["1.00", "0.00", "0.10"]);
  });

  it("pay each begun increment of each", () => {
    expect(costs({ price: "0.10" }, 1_000, 1_000)).toEqual(["0.10", "0.10"]);
  });

  it("come to its minimum together, and not above its cap", () => {
    const tariff = { price: "0.10", minimum: "0.50", cap: "0.75" };
    expect(costs(tariff, 60_000, 180_000, 180_000, 60_000, 60_000)).toEqual(["0.50", "0.00", "0.20", "0.05", "0.00"]);
    expect(costs({ price: "0.10", freeS: 60, minimum: "0.50" }, 30_000, 30_000, 1)).toEqual(["0.00", "0.00", "0.50"]);
  });

  it("are rounded together: their sum is what is rounded", () => {
    expect(costs({ price: "0.004" }, 60_000, 60_000, 60_000, 60_000)).toEqual(["0.00", "0.01", "0.00", "0.01"]);
  });

  it("never cost less than nothing, also where the tariff has become cheaper in the meantime", () => {
    const used = useAfter({ ...base, price: "5" }, 600_000);
    expect(formatAmount(rateDuration({ ...base, price: "0.10", cap: "1" }, 60_000, used))).toBe("0.00");
  });

  it("cost together what the whole costs where they end with an increment, and never less than that, by any tariff", () => {
    const random = numbers(20);
    const upTo = (most: number) => Math.floor(random() * most);
    const cents = (most: number) => (upTo(most) / 100).toFixed(2);
    for (let i = 0; i < 500; i++) {
      const tariff: Tariff = {
        ...base,
        setupFee: cents(100),
        price: (upTo(1000) / 1000).toFixed(3),
        incrementS: 1 + upTo(90),
        freeS: upTo(3) * 30,
        minimum: cents(100),
        cap: (1 + upTo(500) / 100).toFixed(2),
      };
      const exact = i % 2 === 0;
      const step = exact ? tariff.incrementS! * 1000 : 1;
      const free = tariff.freeS! * 1000;
      const parts = [free, ...Array.from({ length: upTo(5) }, () => upTo(300_000 / step) * step)];
      const sum = costs(tariff, ...parts).reduce((all, one) => add(all, money(one, "EUR")), zero("EUR"));
      const whole = rateDuration(
        tariff,
        parts.reduce((a, b) => a + b),
      );
      if (exact) expect(formatAmount(sum)).toBe(formatAmount(whole));
      else expect(compare(sum, whole)).toBeGreaterThanOrEqual(0);
    }
  });

  it("make bills from their events alone, in whatever order these come (decision 9)", () => {
    const tariff = { ...base, setupFee: "0.25", price: "0.10", freeS: 60 };
    const used = useAfter(tariff, 90_000);
    expect(used).toEqual({ freeMs: 60_000, chargedMs: 30_000, amount: "0.35" });
    const second = entryFor(sessionEnded(facts({ id: "s2", tariff, used }), JANUARY, JANUARY + 90_000, "client"));
    expect(second).toMatchObject({ ok: true, value: { amount: "0.20" } });
    const wrong = { ...used, amount: "-1" };
    const refused = entryFor(sessionEnded(facts({ tariff, used: wrong }), JANUARY, JANUARY, "client"));
    expect(refused).toMatchObject({ error: expect.stringContaining("session.used.amount must not be negative") });
  });
});

describe("how long an amount lasts in a later part of a call", () => {
  it.each<[Partial<Tariff>, number, string, number]>([
    [{ setupFee: "0.25", price: "0.10" }, 60_000, "0.10", 60_000],
    [{ price: "0.10", freeS: 60 }, 40_000, "0.00", 20_000],
    [{ price: "0.10", freeS: 60 }, 40_000, "0.10", 80_000],
    [{ price: "0.10", minimum: "0.50" }, 60_000, "0.00", 240_000],
    [{ price: "0.10", cap: "0.50" }, 600_000, "0.00", FOREVER_MS],
  ])("%j after %i ms: %s EUR are for %i ms", (tariff, before, amount, ms) => {
    const whole = { ...base, ...tariff };
    expect(coveredMs(whole, (price) => compare(price, money(amount, "EUR")) <= 0, useAfter(whole, before))).toBe(ms);
  });
});

describe("what the parts of a call have together", () => {
  const tariff = tariffSchema.parse({ id: "t", currency: "EUR", setupFee: "1", price: "0.10", freeS: 60 }) as Tariff;

  it("is given on from part to part, and nothing of it to a part by another tariff", () => {
    const call = new CallParts();
    expect(call.begin(tariff)).toBeUndefined();
    call.end(tariff, undefined, 45_000);
    expect(call.begin({ ...tariff, id: "other" })).toBeUndefined();
    const before = call.begin(tariff);
    expect(before).toEqual({ freeMs: 45_000, chargedMs: 0, amount: "1.00" });
    call.end(tariff, before, 30_000);
    expect(call.used(tariff)).toEqual({ freeMs: 60_000, chargedMs: 15_000, amount: "1.10" });
    expect(call.begin(undefined)).toBeUndefined();
  });

  it("is not there twice for two parts at the same time (M24), and what the one has left is for a third", () => {
    const call = new CallParts();
    call.begin(tariff);
    const beside = call.begin(tariff);
    expect(beside).toEqual({ freeMs: 60_000, chargedMs: 0, amount: "1.00" });
    call.end(tariff, undefined, 20_000);
    call.end(tariff, beside, 60_000);
    expect(call.begin(tariff)).toEqual({ freeMs: 20_000, chargedMs: 60_000, amount: "1.10" });
  });
});
