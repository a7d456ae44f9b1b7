import { describe, expect, it } from "vitest";
import { billEvent } from "../../src/charging/billing/billing.ts";
import { makeBill } from "../../src/charging/bills/bill.ts";
import { type Difference, rebill } from "../../src/charging/bills/rebill.ts";
import { makeSettlement } from "../../src/charging/bills/settlement.ts";
import type { ChargingEvent } from "../../src/charging/events/events.ts";
import { monthOf } from "../../src/charging/money/months.ts";
import { MemoryBilling } from "../charging/memory-store.ts";
import { silent } from "../charging/samples.ts";
import { TestClock } from "../support/test-clock.ts";
import { establish, type Lab, type LabOptions, lab } from "./harness.ts";

const CHARGE = "application/vnd.tollgate.charge+json";
const charge = (id: string, unitPrice: string) =>
  JSON.stringify({ charges: [{ id, item: "Riesling", unitPrice, currency: "EUR" }] });
const vat = (rate: string) => ({ id: "vat", title: "VAT", rate, included: false });
const of = <T extends ChargingEvent["type"]>(l: Lab, type: T) =>
  l.events.filter((event): event is Extract<ChargingEvent, { type: T }> => event.type === type);

const taxed = (options: LabOptions = {}) =>
  lab({ ...options, config: { taxes: [vat("19")], settlement: { fee: { percent: "5" } }, ...options.config } });

/** As SIGHUP does it. */
const reload = (l: Lab, over: Partial<Lab["core"]["config"]>) => l.core.directory.reload({ ...l.core.config, ...over });

describe("taxes and what was agreed with the app server", () => {
  it("stand in every event of a session, those of its service and its app server", async () => {
    const l = await taxed({
      service: { timeShare: "50" },
      servers: [{ fee: { perSession: "0.10", currency: "EUR" } }],
      config: { taxes: [vat("19"), { ...vat("2"), id: "levy", services: ["another"] }] },
    });
    const { server, inviteAtServer, answerOfServer } = await establish(l);
    server.backInDialog("INFO", inviteAtServer, answerOfServer, 1, { type: CHARGE, body: charge("1", "4") });
    await l.settle();
    server.response(200);
    const terms = {
      taxes: [{ id: "vat", title: "VAT", rate: "19", included: false }],
      fee: { perSession: "0.10", currency: "EUR" },
      timeShare: "50",
    };
    expect(of(l, "session.started")[0]!.session.terms).toEqual(terms);
    expect(of(l, "charge.made")[0]!.session.terms).toEqual(terms);
  });

  it("are none where none are configured, and cost the events nothing", async () => {
    const l = await lab({ config: { settlement: { fee: { percent: "0" }, timeShare: "0.00" } } });
    await establish(l);
    expect(of(l, "session.started")[0]!.session).not.toHaveProperty("terms");
  });

  it("that change in the middle of a session hold for charges from then on; its time keeps those of its start", async () => {
    const l = await taxed();
    const { server, invite, answer, inviteAtServer, answerOfServer } = await establish(l);
    const info = async (seq: number) => {
      server.backInDialog("INFO", inviteAtServer, answerOfServer, seq, {
        type: CHARGE,
        body: charge(String(seq), "10.00"),
      });
      await l.settle();
      server.response(200);
    };
    await info(1);
    await reload(l, { taxes: [vat("21")], settlement: { fee: { percent: "50" } } });
    await info(2);
    l.clock.advance(60_000);
    l.client.inDialog("BYE", invite, answer, 2);
    server.answer(server.request("BYE"), 200, { type: CHARGE, body: charge("3", "10.00") });
    await l.settle();
    l.client.response(200);
    // After its end too: it is the time of the charge that counts.
    await reload(l, { taxes: [] });
    await l.core.direct.charge("a", {
      session: of(l, "session.started")[0]!.session.id,
      charges: [{ id: "4", item: "Late", unitPrice: "1.00", quantity: "1", currency: "EUR" }],
      channel: "direct",
    });
    const rates = [...of(l, "charge.made"), ...of(l, "session.ended")].map(
      ({ session }) => session.terms?.taxes?.[0]?.rate,
    );
    expect(rates).toEqual(["19", "21", "21", undefined, "19"]);

    const billing = new MemoryBilling();
    const how = { store: { billing }, clock: new TestClock(), log: silent };
    for (const event of l.events) await billEvent(how, event);
    const month = monthOf(l.clock.wall());
    const bill = await makeBill({ billing }, "alice", month);
    expect(bill.taxes.map(({ rate, net, amount }) => `${rate}% of ${net}: ${amount}`)).toEqual([
      "19% of 10.10: 1.92",
      "21% of 20.00: 4.20",
    ]);
    expect(bill.totals).toEqual([{ currency: "EUR", amount: "31.10", tax: "6.12", due: "37.22" }]);
    const settlement = await makeSettlement({ billing }, "a", month);
    expect(settlement.services.map(({ percent, part, percentFee }) => [percent, part, percentFee])).toEqual([
      ["5", "11.00", "0.55"],
      ["50", "20.00", "10.00"],
    ]);
    // And they are made again from the events as they were.
    const found: Difference[] = [];
    await rebill(billing, { month, write: false, onDifference: (one) => found.push(one) });
    expect(found).toEqual([]);
    const forged = billing.lines.get(of(l, "charge.made")[0]!.id)!;
    billing.lines.set(forged.id, { ...forged, terms: { taxes: [vat("7")] } });
    await rebill(billing, { month, write: false, onDifference: (one) => found.push(one) });
    expect(found.map(({ kind }) => kind)).toEqual(["different", "sum"]);
  });

  it("are those of its own begin for the next part of a session (M20)", async () => {
    const l = await taxed({
      servers: [{ services: ["service1", "beer"] }],
      more: [{ id: "beer", tariff: "t" }],
    });
    const { server, invite, answer } = await establish(l);
    await reload(l, { taxes: [vat("21")] });
    const described = '<service name="beer"/>';
    const reinvite = l.client.inDialog("INVITE", invite, answer, 2, {
      type: "application/vnd.tollgate.service+xml",
      body: described,
    });
    const asked = server.request("INVITE");
    server.answer(asked, 200, { tag: asked.headers.get("to")!.replace(/.*tag=/, "") });
    l.client.ack(reinvite, l.client.response(200));
    await l.settle();
    const [changed] = of(l, "session.changed");
    expect([changed!.from.terms?.taxes?.[0]?.rate, changed!.session.terms?.taxes?.[0]?.rate]).toEqual(["19", "21"]);
  });
});
