import { describe, expect, it } from "vitest";
import { type BookKeeping, ChargeBook } from "../../src/charging/charges/book.ts";
import { checkCharge } from "../../src/charging/charges/check.ts";
import { DayLedger } from "../../src/charging/charges/day-ledger.ts";
import type { ChargingEvent } from "../../src/charging/events/events.ts";
import { money } from "../../src/charging/money/money.ts";
import { completed, PortalLimits } from "../../src/charging/money/portal-limits.ts";
import { configSchema } from "../../src/config/schema.ts";
import { Timelines } from "../../src/support/timeline.ts";
import { TestClock } from "../support/test-clock.ts";
import { MemoryBilling } from "./memory-store.ts";
import { aCharge, facts, JANUARY, silent } from "./samples.ts";

const portal = new PortalLimits();
const charge = (unitPrice: string, currency = "EUR") => aCharge({ unitPrice, quantity: "1", currency });
const error = (result: ReturnType<typeof checkCharge>) => (result.ok ? "" : result.error);

describe("what app servers may charge where nobody has set limits", () => {
  it.each([
    ["EUR", "1000", "5000", "10000"],
    ["USD", "1000", "5000", "10000"],
    ["KWD", "1000", "5000", "10000"],
    ["SEK", "10000", "50000", "100000"],
    ["JPY", "100000", "500000", "1000000"],
    ["KRW", "1000000", "5000000", "10000000"],
    ["VND", "10000000", "50000000", "100000000"],
    ["IRR", "1000000000", "5000000000", "10000000000"],
  ])("is the same in each currency's own units: %s", (currency, atOnce, session, day) => {
    expect(portal.for(currency)).toEqual({ charge: atOnce, session, day, currency });
    expect(checkCharge(charge(atOnce, currency), {}).ok).toBe(true);
    const more = (amount: string) => `${amount}.01`;
    expect(error(checkCharge(charge(more(atOnce), currency), {}))).toContain("is over the portal's limit of");
    expect(error(checkCharge(charge("0.01", currency), {}, money(session, currency)))).toContain("for a session");
    expect(error(checkCharge(charge("0.01", currency), {}, undefined, money(day, currency)))).toContain("for a day");
  });

  it("no single message puts 10^21 on a bill", () => {
    const most = aCharge({ unitPrice: "999999999999", quantity: "999999999" });
    expect(error(checkCharge(most, {}))).toContain("is over the portal's limit of 1000.00 EUR for one charge");
  });

  it("is one for a day, whichever currencies an app server changes to from session to session", async () => {
    const days = new DayLedger(new MemoryBilling());
    const events: ChargingEvent[] = [];
    const timelines = new Timelines(new TestClock(JANUARY));
    const keeping: BookKeeping = {
      recorder: { append: async (event) => void events.push(event), full: false },
      clock: new TestClock(JANUARY),
      timelines,
      log: silent,
      counters: { charges: 0, chargesRefused: 0 },
      chargesPerSession: 100,
      days,
      terms: () => undefined,
    };
    const { tariff: _tariff, ...free } = facts();
    let n = 0;
    const sell = (currency: string, unitPrice: string) =>
      new ChargeBook(keeping, { ...free, id: `s${++n}` }, undefined).enter(
        [aCharge({ id: "1", quantity: "1", currency, unitPrice })],
        "info",
      );
    await days.load(free, JANUARY, 0);
    for (let i = 0; i < 5; i++) expect(await sell("EUR", "1000")).toEqual({ kind: "recorded" });
    for (let i = 0; i < 4; i++) expect(await sell("JPY", "100000")).toEqual({ kind: "recorded" });
    expect(await sell("CLF", "9")).toEqual({ kind: "recorded" }); // of 100 a day
    expect(await sell("KWD", "200")).toMatchObject({
      kind: "refused",
      refusal: { text: "charge 1: with what was charged in other currencies it is over the portal's limits for a day" },
    });
    expect(await sell("USD", "100")).toEqual({ kind: "recorded" });
    for (const currency of ["EUR", "USD", "KWD"])
      expect(await sell(currency, "0.01")).toMatchObject({ kind: "refused" });
  });

  it("is what the operator says for a currency, and the rest as it holds without", () => {
    const own = new PortalLimits([{ currency: "EUR", charge: "20", session: "30" }]);
    expect(own.for("EUR")).toEqual({ charge: "20", session: "30", day: "10000", currency: "EUR" });
    expect(own.for("USD")).toEqual(portal.for("USD"));
    expect(error(checkCharge(charge("20.5"), { portal: own }))).toContain("the portal's limit of 20.00 EUR");
  });

  it("completes a service's limits, and takes nothing back of what these allow", () => {
    const limits = (over: object) => completed({ currency: "EUR", ...over }, portal.for("EUR"));
    expect(limits({ charge: "50" })).toMatchObject({ charge: "50", session: "5000", day: "10000" });
    expect(limits({ session: "90000" })).toMatchObject({ charge: "90000", session: "90000", day: "90000" });
    expect(limits({ day: "20000.5" })).toMatchObject({ charge: "20000.5", session: "20000.5", day: "20000.5" });
    expect(error(checkCharge(charge("50.5"), { limits: { charge: "50", currency: "EUR" } }))).toContain(
      "the service's",
    );
    expect(
      error(checkCharge(charge("1"), { limits: { charge: "50", currency: "EUR" } }, money("5000", "EUR"))),
    ).toContain("the portal's limit of 5000.00 EUR for a session");
  });
});

describe("amounts have bounded digits wherever an operator writes one", () => {
  const year = "a price by which a year comes to less than 1,000,000,000,000,000";
  it.each<[object, string, string]>([
    [{ tariffs: [{ id: "t", currency: "EUR", price: "1".repeat(13) }] }, "tariffs.0.price", "a decimal amount"],
    [
      { tariffs: [{ id: "t", currency: "EUR", setupFee: `1.${"1".repeat(10)}` }] },
      "tariffs.0.setupFee",
      "a decimal amount",
    ],
    [{ tariffs: [{ id: "t", currency: "EUR", price: "999999999999", incrementS: 0.001 }] }, "tariffs.0.price", year],
    [
      { services: [{ id: "s", limits: { charge: "1".repeat(13), currency: "EUR" } }] },
      "services.0.limits.charge",
      "a decimal",
    ],
    [{ charging: { limits: [{ day: "1e9", currency: "EUR" }] } }, "charging.limits.0.day", "a decimal amount"],
    [
      { settlement: { fee: { perSession: "1".repeat(13), currency: "EUR" } } },
      "settlement.fee.perSession",
      "a decimal",
    ],
    [{ credit: { reserveCharges: "1".repeat(13) } }, "credit.reserveCharges", "a decimal amount"],
  ])("%j", (config, path, message) => {
    const read = configSchema.safeParse(config);
    const issue = read.error!.issues[0]!;
    expect([issue.path.join("."), issue.message]).toEqual([path, expect.stringContaining(message)]);
  });

  it("and a tariff with the longest price of a minute can be used", () => {
    const tariffs = [{ id: "t", currency: "EUR", price: "99999999.999999999", setupFee: "999999999999.999999999" }];
    expect(configSchema.safeParse({ tariffs }).success).toBe(true);
  });
});
