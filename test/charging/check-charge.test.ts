import { describe, expect, it } from "vitest";
import { checkCharge } from "../../src/charging/charges/check.ts";
import { formatMoney, money } from "../../src/charging/money/money.ts";
import { aCharge } from "./samples.ts";

const limits = { charge: "30.00", session: "50.00", currency: "EUR" };

describe("what a session allows its app server to charge (M14)", () => {
  it("answers with the session's new sum", () => {
    const first = checkCharge(aCharge(), {});
    expect(first.ok && formatMoney(first.value)).toBe("25.00 EUR");
    const second = checkCharge(aCharge({ unitPrice: "0.10", quantity: "3" }), {}, money("25", "EUR"));
    expect(second.ok && formatMoney(second.value)).toBe("25.30 EUR");
  });

  it("refuses a currency other than the tariff's, the limits' or the one charged before", () => {
    const expected = { ok: false, error: "currency must be EUR, is USD" };
    const dollars = aCharge({ currency: "USD" });
    expect(checkCharge(dollars, { tariffCurrency: "EUR" })).toEqual(expected);
    expect(checkCharge(dollars, { limits })).toEqual(expected);
    expect(checkCharge(dollars, {}, money("1", "EUR"))).toEqual(expected);
    expect(checkCharge(dollars, {}).ok).toBe(true);
  });

  it("refuses what is over the service's limit for one charge", () => {
    expect(checkCharge(aCharge({ unitPrice: "15.00" }), { limits }).ok).toBe(true);
    expect(checkCharge(aCharge({ unitPrice: "15.000001" }), { limits })).toEqual({
      ok: false,
      error: "30.000002 EUR is over the service's limit of 30.00 EUR for one charge",
    });
  });

  it("refuses what brings the session over its limit", () => {
    expect(checkCharge(aCharge(), { limits }, money("25.00", "EUR")).ok).toBe(true);
    expect(checkCharge(aCharge(), { limits }, money("25.01", "EUR"))).toEqual({
      ok: false,
      error: "50.01 EUR is over the service's limit of 50.00 EUR for a session",
    });
  });

  it("allows nothing by limits in a currency that the tariff does not have", () => {
    expect(checkCharge(aCharge({ currency: "USD" }), { tariffCurrency: "USD", limits })).toEqual({
      ok: false,
      error: "the service's limits are in EUR, the charge is in USD",
    });
  });

  it("refuses what brings the day over its limit (M17)", () => {
    const ofDay = { limits: { day: "60.00", currency: "EUR" } };
    expect(checkCharge(aCharge(), ofDay).ok).toBe(true);
    expect(checkCharge(aCharge(), ofDay, undefined, money("35.00", "EUR")).ok).toBe(true);
    expect(checkCharge(aCharge(), ofDay, undefined, money("35.01", "EUR"))).toEqual({
      ok: false,
      error: "60.01 EUR is over the service's limit of 60.00 EUR for a day",
    });
  });
});
