import { describe, expect, it } from "vitest";
import { createInProcessBus } from "../../src/bus/in-process.ts";
import { startBilling } from "../../src/charging/billing/billing.ts";
import { CHARGE_JSON, parseChargeBody, parseDirectBody } from "../../src/charging/charges/body.ts";
import { writeChargeXml } from "../../src/charging/charges/xml.ts";
import { type Charge, chargesAsText, isSameCharge } from "../../src/charging/events/charge-fields.ts";
import { type ChargingEvent, chargeMade, sessionEnded } from "../../src/charging/events/events.ts";
import { openEmbeddedStore } from "../../src/store/embedded.ts";
import { TestClock } from "../support/test-clock.ts";
import { freshFolder } from "./folders.ts";
import { aCharge, facts, JANUARY, numbers, silent } from "./samples.ts";

describe("the same charge, however it is written (M14)", () => {
  it.each<[string, Partial<Charge>, Partial<Charge>]>([
    ["zeros behind the point", { unitPrice: "12.5" }, { unitPrice: "12.50" }],
    ["a whole number with a point", { unitPrice: "5" }, { unitPrice: "5.00" }],
    ["zeros before it", { unitPrice: "5" }, { unitPrice: "005" }],
    ["nothing, with and without a point", { unitPrice: "0" }, { unitPrice: "0.000" }],
    ["hundreds, whose zeros count", { unitPrice: "100" }, { unitPrice: "100.0" }],
    ["quantities", { quantity: "2" }, { quantity: "2.000000" }],
    ["spaces around the item", { item: "Riesling" }, { item: " Riesling " }],
    ["spaces within it", { item: "Riesling 2019" }, { item: "Riesling  2019" }],
    ["the two forms of Unicode", { item: "Café" }, { item: "Cafe\u0301" }],
    ["spaces around the id", { id: "c1" }, { id: " c1" }],
    ["an id in the two forms of Unicode", { id: "é" }, { id: "e\u0301" }],
  ])("%s", (_, one, other) => {
    expect(isSameCharge(aCharge(one), aCharge(other))).toBe(true);
    expect(chargesAsText([aCharge(one)])).toBe(chargesAsText([aCharge(other)]));
    expect(chargeMade(facts(), 1, aCharge(one), "info").id).toBe(chargeMade(facts(), 1, aCharge(other), "info").id);
  });

  it.each<[string, Partial<Charge>]>([
    ["another price", { unitPrice: "12.51" }],
    ["ten times the price", { unitPrice: "125.0" }],
    ["a hundredth more than it is read with", { unitPrice: "12.500001" }],
    ["another quantity of the same sum", { unitPrice: "25.00", quantity: "1" }],
    ["another currency", { currency: "USD" }],
    ["another item", { item: "riesling" }],
  ])("is not one of %s", (_, other) => {
    expect(isSameCharge(aCharge(), aCharge(other))).toBe(false);
    expect(chargesAsText([aCharge()])).not.toBe(chargesAsText([aCharge(other)]));
  });
});

const PIECES = [
  ..."aZ09 .-_:;/\\\"'<>&{}",
  ..."é\u0301ワ赤🍷ｱ\u200d\u202e\ufeff",
  ..."\0\u0007\n\u0085\u2028\ud800\udfff\u00a0",
];

describe("whatever is answered with 200 can be billed (decision 17)", () => {
  it("an item of 200 characters of three bytes each", () => {
    const item = "汉".repeat(200);
    const read = parseChargeBody(CHARGE_JSON, Buffer.from(JSON.stringify(aCharge({ item, id: "汉".repeat(128) }))));
    expect(read.ok).toBe(true);
  });

  it("any charge that can be read, by sessions of the longest names, in both formats; what the door refuses, billing does too", async () => {
    const random = numbers(16);
    const pick = <T>(list: readonly T[]) => list[Math.floor(random() * list.length)]!;
    const text = (most: number) =>
      Array.from({ length: Math.floor(random() ** 2 * most * 1.1) }, () => pick(PIECES)).join("");
    const digits = (most: number) =>
      Array.from({ length: 1 + Math.floor(random() * most) }, () => pick([..."0123456789"])).join("");
    const decimal = (whole: number, parts: number) =>
      digits(whole) + (random() < 0.5 ? `.${digits(parts)}` : pick(["", "", ".", "e1", "-"]));
    const longest = "x".repeat(64);
    const session = facts({ id: "s".repeat(29), user: longest, service: longest, appServer: longest });
    const made: ChargingEvent[] = [];
    const refused: ChargingEvent[] = [];
    for (let i = 0; i < 600; i++) {
      const quiet = random() < 0.7;
      const charge = aCharge({
        id: `${i}${quiet ? "汉".repeat(Math.floor(random() * 127)) : text(128)}`.slice(0, 135),
        item: quiet ? pick(["汉", "é", "🍷", "x"]).repeat(1 + Math.floor(random() * 220)) : text(200),
        unitPrice: decimal(13, 7),
        quantity: decimal(10, 7),
      });
      const json = parseDirectBody(Buffer.from(JSON.stringify({ session: session.id, charges: [charge] })));
      const xml = parseChargeBody("application/vnd.tollgate.charge+xml", Buffer.from(writeChargeXml([charge])));
      if (json.ok) made.push(chargeMade(session, JANUARY, json.value.charges[0]!, "direct"));
      else refused.push({ ...chargeMade(session, JANUARY, charge, "direct"), id: `refused-${i}` });
      if (xml.ok) made.push(chargeMade(session, JANUARY, xml.value[0]!, "message"));
    }
    expect(made.length).toBeGreaterThan(100);
    expect(refused.length).toBeGreaterThan(100);
    const { entries, letters } = await billed([...made, ...refused]);
    expect(letters.map(({ id }) => id)).toEqual(refused.map(({ id }) => id).sort());
    expect(new Set(entries.map(({ id }) => id))).toEqual(new Set(made.map(({ id }) => id)));
  });

  it("however a session ended: what the relay says of it is cut to what a bill can have", async () => {
    const whys = ["", "\n", "relay: x".repeat(100_000), "relay: \ud800\0\r\nfoo", `relay: ${"🍷".repeat(150)}`];
    const ends = whys.map((why, i) => sessionEnded(facts({ id: `s${i}` }), JANUARY, JANUARY + 1, why));
    const { entries, letters } = await billed(ends);
    expect(letters).toEqual([]);
    expect(entries.map((entry) => entry.kind === "time" && entry.endedBy.slice(0, 14))).toEqual([
      "relay",
      "relay",
      "relay: xrelay:",
      "relay:     foo",
      "relay: 🍷🍷🍷\ud83c",
    ]);
  });
});

/** Bills these in the embedded store, the user's entries of the month and what was put aside. */
async function billed(events: readonly ChargingEvent[]) {
  const store = await openEmbeddedStore(freshFolder());
  const clock = new TestClock(JANUARY);
  const bus = createInProcessBus({ clock, log: silent });
  const worker = await startBilling({ bus, store, clock, log: silent });
  await bus.publish(events);
  await worker.stop();
  await bus.close();
  const { user } = events[0]!.session;
  const { entries } = await store.billing.entries(user, "2026-01", { limit: 10_000 });
  const letters = await store.billing.deadLetters(10_000);
  await store.close();
  return { entries, letters };
}
