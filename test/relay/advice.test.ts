import { describe, expect, it } from "vitest";
import { chargeAdvice } from "../../src/charging/charges/advice.ts";
import { money } from "../../src/charging/money/money.ts";
import type { SipMessage } from "../../src/sip/message.ts";
import { createXmlReader } from "../../src/support/xml.ts";
import { establish, lab } from "./harness.ts";

const AOC = "application/vnd.etsi.aoc+xml";
const CHARGE = "application/vnd.tollgate.charge+json";
const charge = JSON.stringify({ id: "c1", item: "Riesling", unitPrice: "12.50", quantity: "2", currency: "EUR" });
const advised = { charging: { advice: true } };

/** What a client reads out of it. */
function cost(message: SipMessage): unknown {
  expect(message.headers.get("content-type")).toBe(AOC);
  expect(message.headers.get("content-disposition")).toBe("render;handling=optional");
  return read(message.body.toString());
}

function read(text: string): unknown {
  const xml = createXmlReader({ depth: 8 })(text);
  if (!xml.ok) throw new Error(xml.error);
  expect(text).toContain('<aoc xmlns="http://uri.etsi.org/ngn/params/xml/simservs/aoc">');
  const { aoc } = xml.value as { aoc: { "aoc-e": { "recorded-charges": unknown } } };
  return aoc["aoc-e"]["recorded-charges"];
}

const units = (amount: string) => ({
  "recorded-currency-units": { "currency-id": "EUR", "currency-amount": amount },
});

describe("charge advice at the end (ETSI TS 124 647)", () => {
  it("stands in the 200 to the client's BYE: time, and items up to those in the app server's 200", async () => {
    const l = await lab(advised);
    const { invite, answer, server, inviteAtServer, answerOfServer } = await establish(l);
    server.backInDialog("INFO", inviteAtServer, answerOfServer, 1, { body: charge, type: CHARGE });
    await l.settle();
    server.response(200);
    l.clock.advance(61_000);
    l.client.inDialog("BYE", invite, answer, 2);
    server.answer(server.request("BYE"), 200, { body: charge.replace("c1", "c2"), type: CHARGE });
    await l.settle();
    expect(cost(l.client.response(200))).toEqual(units("50.20")); // two begun minutes at 0.10, and twice 25.00
  });

  it("counts the taxes that come on top of prices, as the bill does", async () => {
    const taxes = [
      { id: "vat", rate: "19", included: false },
      { id: "levy", rate: "5", included: true },
    ];
    const l = await lab({ ...advised, config: { taxes } });
    const { server, inviteAtServer, answerOfServer } = await establish(l);
    l.clock.advance(1_000);
    server.backInDialog("BYE", inviteAtServer, answerOfServer, 1, { body: charge, type: CHARGE });
    expect(cost(l.client.request("BYE"))).toEqual(units("29.64")); // 25.10, of which 23.90 is taxed
  });

  it("stands in the BYE to the client when the app server hangs up", async () => {
    const l = await lab(advised);
    const { server, inviteAtServer, answerOfServer } = await establish(l);
    l.clock.advance(1_000);
    server.backInDialog("BYE", inviteAtServer, answerOfServer, 1, { body: charge, type: CHARGE });
    const bye = l.client.request("BYE");
    expect(cost(bye)).toEqual(units("25.10"));
    l.client.answer(bye, 200);
    await l.settle();
    expect(server.response(200).body).toHaveLength(0);
  });

  it("stands in the relay's own BYE, to the client only", async () => {
    const l = await lab({ ...advised, session: { maxDurationS: 60 } });
    const { server } = await establish(l);
    l.clock.advance(60_000);
    expect(cost(l.client.request("BYE"))).toEqual(units("0.10"));
    expect(server.request("BYE").body).toHaveLength(0);
  });

  it("says that a session was free", async () => {
    const l = await lab({ service: { advice: true, tariff: "free" }, tariffs: [{ id: "free", currency: "EUR" }] });
    const { invite, answer, server } = await establish(l);
    l.client.inDialog("BYE", invite, answer, 2);
    server.answer(server.request("BYE"), 200);
    await l.settle();
    expect(cost(l.client.response(200))).toEqual({ "free-charge": "" });
  });

  it("leaves a body of the app server's own as it is", async () => {
    const l = await lab(advised);
    const { invite, answer, server } = await establish(l);
    l.client.inDialog("BYE", invite, answer, 2);
    server.answer(server.request("BYE"), 200, { body: "goodbye", type: "text/plain" });
    await l.settle();
    const final = l.client.response(200);
    expect(final.headers.all("content-type")).toEqual(["text/plain"]);
    expect(final.body.toString()).toBe("goodbye");
  });

  it("is not there unless it is switched on, for all or for the service", async () => {
    for (const options of [{}, { ...advised, service: { advice: false } }]) {
      const l = await lab(options);
      const { invite, answer, server } = await establish(l);
      l.client.inDialog("BYE", invite, answer, 2);
      server.answer(server.request("BYE"), 200);
      await l.settle();
      const final = l.client.response(200);
      expect(final.body).toHaveLength(0);
      expect(final.headers.has("content-type")).toBe(false);
    }
  });

  it("has amounts exactly, as a decimal of XML", () => {
    expect(read(chargeAdvice(money("0.24975", "EUR")))).toEqual(units("0.24975"));
    expect(read(chargeAdvice(money("500", "JPY")))).toEqual({
      "recorded-currency-units": { "currency-id": "JPY", "currency-amount": "500" },
    });
    expect(read(chargeAdvice(undefined))).toEqual({ "free-charge": "" });
  });
});
