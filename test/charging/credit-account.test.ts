import { describe, expect, it } from "vitest";
import { MAX_HOLDS, postIn, reserveIn } from "../../src/charging/credit/account.ts";
import { type CreditAccount, fromMicros, type Hold, micros } from "../../src/charging/credit/store.ts";
import { formatMoney, money } from "../../src/charging/money/money.ts";
import { JANUARY } from "./samples.ts";

describe("millionths of a currency unit (decision 10)", () => {
  it.each([
    ["1", 1_000_000],
    ["0.10", 100_000],
    ["12.345678", 12_345_678],
    ["-12.34", -12_340_000],
    ["0", 0],
  ])("of %s are %i", (text, millionths) => {
    expect(micros(money(text, "EUR"))).toBe(millionths);
  });

  it("stay below what a number counts exactly", () => {
    expect(micros(money("123456789012345678", "EUR"))).toBe(9e15);
  });

  it("are written like any other money", () => {
    expect(formatMoney(fromMicros(12_340_000, "EUR"))).toBe("12.34 EUR");
    expect(formatMoney(fromMicros(-1, "JPY"))).toBe("-0.000001 JPY");
  });
});

describe("a prepaid account", () => {
  const hold: Hold = { amount: 1, used: 0, until: JANUARY };
  const account = (holds: Record<string, Hold> = {}): CreditAccount => ({
    user: "alice",
    currency: "EUR",
    available: 1_000_000,
    holds,
  });

  it("pays a bounded number of sessions at once", () => {
    const full = account(Object.fromEntries(Array.from({ length: MAX_HOLDS }, (_, i) => [`h${i}`, hold])));
    const request = { user: "alice", currency: "EUR", from: 0, to: 5, atLeast: 5, used: 0, until: JANUARY };
    expect(reserveIn(full, { ...request, hold: "new" })).toMatchObject({ error: { why: "too many sessions" } });
    expect(reserveIn(full, { ...request, hold: "h7" })).toMatchObject({ ok: true });
  });

  it("takes no top-up beyond what can be counted", () => {
    const entry = { user: "alice", id: "topup:1", at: JANUARY, kind: "topup", amount: 9e15, currency: "EUR" } as const;
    expect(() => postIn(account(), entry)).toThrow(RangeError);
  });
});
