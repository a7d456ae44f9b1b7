import { describe, expect, it } from "vitest";
import { billEvent } from "../../src/charging/billing/billing.ts";
import { makeBill } from "../../src/charging/bills/bill.ts";
import type { ChargingEvent, SessionEnded } from "../../src/charging/events/events.ts";
import { monthOf } from "../../src/charging/money/months.ts";
import { rateDuration } from "../../src/charging/money/tariff.ts";
import type { User } from "../../src/directory/types.ts";
import { creditForNextPart } from "../../src/relay/charges/credits.ts";
import type { SipRequest, SipResponse } from "../../src/sip/message.ts";
import { deferred, silent } from "../charging/samples.ts";
import { establish, type Lab, type LabOptions, lab } from "./harness.ts";

const CHARGE = "application/vnd.tollgate.charge+json";
const charge = (id: string, unitPrice: string, currency = "EUR") =>
  JSON.stringify({ charges: [{ id, item: "Riesling", unitPrice, quantity: "1", currency }] });

/** 0.10 EUR for each begun ten seconds; a hold is for a minute: 0.60. */
const SECONDS = { price: "0.10", incrementS: 10 };
const prepaid = (balance: string, options: LabOptions = {}) =>
  lab({ clientTransport: "tcp", balance, tariff: SECONDS, session: { probeS: 0 }, ...options });

/** Lets time pass, in steps so small that what the store says is heard in between. */
async function pass(l: Lab, ms: number, step = 250): Promise<void> {
  for (let left = ms; left > 0; left -= step) {
    l.clock.advance(Math.min(step, left));
    await l.settle();
  }
}

const of = <T extends ChargingEvent["type"]>(l: Lab, type: T) =>
  l.events.filter((event): event is Extract<ChargingEvent, { type: T }> => event.type === type);
const nothing = { sessions: 0, requests: 0, legs: 0, legsByFlow: 0, transactions: 0, timers: 0 };

describe("a postpaid user", () => {
  it("is asked for no credit: the INVITE goes out at once, and the store hears nothing", async () => {
    const l = await lab();
    l.client.invite();
    l.server("a").request("INVITE");
    await l.settle();
    expect(l.credit.asked).toEqual([]);
  });
});

describe("a prepaid user", () => {
  it("has the first interval held before the INVITE goes out, and renewed while the session lasts", async () => {
    const l = await prepaid("10", { credit: { warnS: 5 } });
    const invite = l.client.invite();
    expect(l.server("a").inbox).toEqual([]);
    await l.settle();
    expect(l.credit.held()).toEqual([0.6]);
    const at = l.server("a").request("INVITE");
    l.server("a").answer(at, 200);
    const answer = l.client.response(200);
    l.client.ack(invite, answer);
    await l.settle();
    const [started] = of(l, "session.started");
    expect(started?.session.hold).toBe(started?.session.call);
    expect(of(l, "credit.reserved")).toMatchObject([{ currency: "EUR", amount: "0.60" }]);

    await pass(l, 54_000);
    expect(l.credit.held()).toEqual([0.6]);
    await pass(l, 1_000);
    expect(l.credit.held()).toEqual([1.2]);
    await pass(l, 60_000);
    expect(l.credit.held()).toEqual([1.8]);
    expect(of(l, "credit.reserved").map(({ amount }) => amount)).toEqual(["0.60", "1.20", "1.80"]);
    expect(l.core.sessions.values()[0]?.context.creditUntil).toBe(started!.at + 180_000);
    const [hold] = Object.values(l.credit.accounts.get("alice")!.holds);
    expect(hold).toMatchObject({ used: 1_200_000 });
  });

  it("keeps its hold alive while an app server rings, and while no more is needed", async () => {
    const l = await prepaid("10", { service: { ringS: 600 } });
    l.client.invite();
    await l.settle();
    const at = l.server("a").request("INVITE");
    l.server("a").answer(at, 180);
    await pass(l, 500_000, 1000);
    expect((await l.credit.overdue(l.clock.wall())).accounts).toEqual([]);
    expect(l.credit.held()).toEqual([0.6]);
    l.client.inbox.length = 0;
  });

  it("gets 402 without credit for the first interval, and no app server is asked (RFC 3261 §21.4.3)", async () => {
    const l = await prepaid("0.59");
    const invite = l.client.invite();
    await l.settle();
    const refused = l.client.response(402);
    expect(refused.headers.get("warning")).toBe('399 tollgate "the balance does not cover it"');
    l.client.ack(invite, refused);
    expect(l.server("a").inbox).toEqual([]);
    expect(l.credit.available()).toBe(0.59);
    expect(l.core.counters.creditRefused).toBe(1);
    await pass(l, 70_000, 1000);
    expect(l.leftovers()).toEqual(nothing);
  });

  it("gets 402 where the service costs another currency, or there is no account", async () => {
    const dollars = await prepaid("10", { tariff: { price: "1", currency: "USD" } });
    dollars.client.invite();
    await dollars.settle();
    expect(dollars.client.response(402).reason).toContain("USD");
    const none = await prepaid("10");
    none.credit.accounts.clear();
    none.client.invite();
    await none.settle();
    none.client.response(402);
  });

  it("is told of when what is free falls below the operator's mark, once in a session", async () => {
    const l = await prepaid("10", { credit: { low: [{ currency: "EUR", below: "9" }] } });
    await establish(l);
    await pass(l, 30_000);
    expect(of(l, "credit.low")).toEqual([]);
    await pass(l, 120_000);
    expect(of(l, "credit.low")).toMatchObject([{ currency: "EUR", below: "9", session: { user: "alice" } }]);
    expect(Number(of(l, "credit.low")[0]!.free)).toBeLessThan(9);
  });

  it("is held for a user who pays by the bill and may owe only so much: 402 beyond", async () => {
    const alice: User = { id: "alice", realm: "portal.com", ha1: { sha256: "" }, postpaid: { currency: "EUR" } };
    const l = await prepaid("0.10", { users: [alice] });
    await l.credit.setTerms("alice", { limit: 1_000_000 });
    await establish(l);
    expect(l.credit.held()).toEqual([0.6]);
    const invite = l.client.invite();
    await l.settle();
    const refused = l.client.response(402);
    l.client.ack(invite, refused);
  });

  it("uses a service whose time is free without asking the store, until something is charged", async () => {
    const l = await prepaid("10", { tariff: { price: "0" } });
    const { inviteAtServer: at, answerOfServer } = await establish(l);
    expect(l.credit.asked).toEqual([]);
    l.server("a").backInDialog("INFO", at, answerOfServer, 1, { type: CHARGE, body: charge("1", "4") });
    await l.settle();
    l.server("a").response(200);
    expect(l.credit.held()).toEqual([4]);
    await pass(l, 300_000, 1000);
    expect((await l.credit.overdue(l.clock.wall())).accounts).toEqual([]);
  });

  describe("who has used up the money", () => {
    it("is warned of, then both ends get BYE with Reason at that moment (RFC 3326 §2)", async () => {
      const l = await prepaid("0.85", { credit: { warnS: 10 } });
      await establish(l);
      const startedAt = of(l, "session.started")[0]!.at;
      await pass(l, 55_000);
      expect(l.credit.held()).toEqual([0.85]);
      expect(of(l, "credit.exhausted")).toEqual([]);
      await pass(l, 15_000);
      expect(of(l, "credit.exhausted")).toMatchObject([
        { at: startedAt + 70_000, endsAt: startedAt + 80_000, currency: "EUR" },
      ]);
      await pass(l, 9_750);
      expect(l.core.sessions.size).toBe(1);
      await pass(l, 250);
      const reason = 'SIP;cause=402;text="credit exhausted"';
      for (const peer of [l.client, l.server("a")]) {
        const bye = peer.request("BYE");
        expect(bye.headers.get("reason")).toBe(reason);
        peer.answer(bye, 200);
      }
      await l.settle();
      const [ended] = of(l, "session.ended");
      expect(ended).toMatchObject({ durationMs: 80_000, endedBy: "relay: credit exhausted" });
      expect(Number(rateDuration(ended!.session.tariff!, ended!.durationMs).units)).toBe(80);
      expect(l.core.counters.creditExhausted).toBe(1);
      await pass(l, 70_000, 1000);
      expect(l.leftovers()).toEqual(nothing);
    });

    it("pays for no time after that moment, however late the store answers", async () => {
      const l = await prepaid("0.60");
      await establish(l);
      await pass(l, 59_500);
      const store = deferred();
      l.credit.before = () => store.promise;
      await pass(l, 2_500);
      expect(l.client.inbox).toEqual([]);
      store.resolve();
      await l.settle();
      for (const peer of [l.client, l.server("a")]) peer.answer(peer.request("BYE"), 200);
      await l.settle();
      expect(of(l, "session.ended")[0]).toMatchObject({ durationMs: 60_000, endedBy: "relay: credit exhausted" });
    });

    it("goes on when the balance grows before the end", async () => {
      const l = await prepaid("0.60");
      await establish(l);
      await pass(l, 51_000);
      expect(of(l, "credit.exhausted")).toHaveLength(1);
      await l.credit.pay("alice", "5");
      await pass(l, 30_000);
      expect(l.core.sessions.size).toBe(1);
      expect(l.credit.held()).toEqual([1.3]);
      await pass(l, 600_000);
      expect(l.core.sessions.size).toBe(0);
      expect(of(l, "credit.exhausted").length).toBe(2);
    });

    it("uses what was held for charges too before the end", async () => {
      const l = await prepaid("0.80", { credit: { reserveCharges: "0.20" } });
      await establish(l);
      expect(l.credit.held()).toEqual([0.8]);
      await pass(l, 79_000);
      expect(l.core.sessions.size).toBe(1);
      await pass(l, 1_000);
      expect(l.core.sessions.size).toBe(1); // both ends have not answered yet
      l.client.request("BYE");
    });
  });

  describe("with taxes on top of the prices", () => {
    const vat = { id: "vat", rate: "19", included: false };
    const taxed = (balance: string, options: LabOptions = {}) =>
      prepaid(balance, { ...options, config: { taxes: [vat], ...options.config } });

    it("has the first interval held with them, and gets 402 where the balance has the price alone", async () => {
      const refused = await taxed("0.70");
      refused.client.invite();
      await refused.settle();
      refused.client.response(402);
      const l = await taxed("10");
      await establish(l);
      expect(l.credit.held()).toEqual([0.71]); // 0.60 and 0.114
      await pass(l, 50_000);
      expect(l.credit.held()).toEqual([1.43]); // 1.20 and 0.228
    });

    it("is ended when price and taxes are used up, and pays what the bill says", async () => {
      const l = await taxed("0.85");
      await establish(l);
      await pass(l, 70_500);
      for (const peer of [l.client, l.server("a")]) peer.answer(peer.request("BYE"), 200);
      await l.settle();
      expect(of(l, "session.ended")[0]).toMatchObject({ durationMs: 70_000 }); // 0.70 and 0.133; 0.80 and 0.152 is too much
      const { bill } = await billed(l);
      expect(bill.totals).toEqual([{ currency: "EUR", amount: "0.70", tax: "0.13", due: "0.83" }]);
      expect(bill.prepaid).toEqual({ currency: "EUR", paid: "0.83", balance: "0.02" });
    });

    it("is refused a charge that the balance covers without them only", async () => {
      const l = await taxed("5");
      const c = await establish(l);
      const info = async (seq: number, price: string) => {
        l.server("a").backInDialog("INFO", c.inviteAtServer, c.answerOfServer, seq, {
          type: CHARGE,
          body: charge(String(seq), price),
        });
        await l.settle();
        return (l.server("a").inbox.shift() as SipResponse).status;
      };
      expect(await info(1, "3.61")).toBe(402); // (0.60 + 3.61) * 1.19 = 5.0099
      expect(await info(2, "3.60")).toBe(200); // 4.998
      expect(l.credit.available()).toBe(0);
      l.client.inDialog("BYE", c.invite, c.answer, 2);
      l.server("a").answer(l.server("a").request("BYE"), 200);
      await l.settle();
      l.client.response(200);
      const { bill } = await billed(l);
      expect(bill.totals).toMatchObject([{ amount: "3.60", due: "4.28" }]);
      expect(bill.prepaid).toMatchObject({ paid: "4.28", balance: "0.72" });
    });

    it("has charges covered with the taxes of their own time, as the bill will have them", async () => {
      const l = await taxed("100", { tariff: { price: "0" } });
      const c = await establish(l);
      const info = async (seq: number) => {
        l.server("a").backInDialog("INFO", c.inviteAtServer, c.answerOfServer, seq, {
          type: CHARGE,
          body: charge(String(seq), "10"),
        });
        await l.settle();
        l.server("a").response(200);
      };
      await info(1);
      expect(l.credit.held()).toEqual([11.9]);
      await l.core.directory.reload({ ...l.core.config, taxes: [{ ...vat, rate: "50" }] });
      await info(2);
      expect(l.credit.held()).toEqual([26.9]);
      l.client.inDialog("BYE", c.invite, c.answer, 2);
      l.server("a").answer(l.server("a").request("BYE"), 200);
      await l.settle();
      l.client.response(200);
      const { bill } = await billed(l);
      expect(bill.totals).toMatchObject([{ amount: "20.00", due: "26.90" }]);
      expect(bill.prepaid).toMatchObject({ paid: "26.90", balance: "73.10" });
    });

    it("has them in what is held for charges to come", async () => {
      const l = await taxed("10", { credit: { reserveCharges: "2.00" } });
      await establish(l);
      expect(l.credit.held()).toEqual([3.09]); // 2.60 and 0.494
    });

    it("pays those that are in the prices with them, and no more", async () => {
      const l = await taxed("10", { config: { taxes: [{ ...vat, included: true }] } });
      await establish(l);
      expect(l.credit.held()).toEqual([0.6]);
    });
  });

  describe("whose app server charges", () => {
    const charged = async (l: Lab, c: Awaited<ReturnType<typeof establish>>, seq: number, body: string) => {
      l.server("a").backInDialog("INFO", c.inviteAtServer, c.answerOfServer, seq, { type: CHARGE, body });
      await l.settle();
      const answer = l.server("a").inbox.shift() as SipResponse;
      return [answer.status, answer.reason] as const;
    };

    it("has it covered together with the time, and the hold extended first where it does not fit", async () => {
      const l = await prepaid("10", { credit: { reserveCharges: "2" } });
      const c = await establish(l);
      expect(l.credit.held()).toEqual([2.6]);
      expect(await charged(l, c, 1, charge("1", "2.00"))).toEqual([200, "OK"]);
      expect(l.credit.asked).toHaveLength(1); // it fitted
      expect(await charged(l, c, 2, charge("2", "1.50"))).toEqual([200, "OK"]);
      expect(l.credit.held()).toEqual([6.1]); // 0.60 + 3.50, and 2 more
      await pass(l, 55_000);
      expect(l.credit.held()).toEqual([6.7]);
    });

    it("is refused with 402 what the balance does not cover, and the session goes on", async () => {
      const l = await prepaid("5");
      const c = await establish(l);
      expect(await charged(l, c, 1, charge("1", "4.41"))).toEqual([
        402,
        "Charge refused: the balance does not cover it",
      ]);
      expect(await charged(l, c, 2, charge("2", "4.40"))).toEqual([200, "OK"]);
      expect(await charged(l, c, 3, charge("2", "4.40"))).toEqual([200, "OK"]); // a repetition costs nothing
      expect(of(l, "charge.made").map(({ charge: { id } }) => id)).toEqual(["2"]);
      expect(l.credit.available()).toBe(0);
      expect(l.core.sessions.size).toBe(1);
      expect(await charged(l, c, 4, charge("3", "0.01"))).toMatchObject([402, expect.anything()]);
      await pass(l, 60_000);
      l.client.request("BYE");
    });

    it("is refused what is charged in another currency", async () => {
      const l = await prepaid("5", { tariff: null });
      const c = await establish(l);
      expect((await charged(l, c, 1, charge("1", "1", "USD")))[0]).toBe(402);
    });

    it("has two charges covered that come while the balance is asked", async () => {
      const l = await prepaid("10");
      const c = await establish(l);
      const store = deferred();
      l.credit.before = () => store.promise;
      for (const [seq, price] of [
        [1, "3"],
        [2, "2"],
      ] as const)
        l.server("a").backInDialog("INFO", c.inviteAtServer, c.answerOfServer, seq, {
          type: CHARGE,
          body: charge(String(seq), price),
        });
      await l.settle();
      store.resolve();
      for (let i = 0; i < 5; i++) await l.settle();
      expect(of(l, "charge.made")).toHaveLength(2);
      expect(l.credit.held()).toEqual([5.6]);
    });

    it("is charged once where the same charge comes twice while the balance is asked", async () => {
      const l = await prepaid("5");
      const c = await establish(l);
      const store = deferred();
      l.credit.before = () => store.promise;
      for (const seq of [1, 2])
        l.server("a").backInDialog("INFO", c.inviteAtServer, c.answerOfServer, seq, {
          type: CHARGE,
          body: charge("1", "3"),
        });
      await l.settle();
      expect(l.server("a").inbox).toEqual([]);
      store.resolve();
      await l.settle();
      await l.settle();
      l.server("a").response(200);
      l.server("a").response(200);
      expect(of(l, "charge.made")).toHaveLength(1);
      expect(l.credit.held()).toEqual([3.6]);
    });

    it("has what stands in the 200 to BYE covered too, or not charged (M16)", async () => {
      const l = await prepaid("5");
      for (const [price, made] of [
        ["4.41", 0],
        ["4.40", 1],
      ] as const) {
        const c = await establish(l);
        l.client.inDialog("BYE", c.invite, c.answer, 2);
        l.server("a").answer(l.server("a").request("BYE"), 200, { type: CHARGE, body: charge("1", price) });
        await l.settle();
        await l.settle();
        l.client.response(200);
        expect(of(l, "charge.made")).toHaveLength(made);
        const { facts } = { facts: of(l, "session.ended").at(-1)!.session };
        await l.credit.settle(settle(l, facts.hold!, made * 5_000_000));
      }
      expect(l.credit.available()).toBe(0);
    });
  });

  describe("of whose call nothing comes gets the hold back", () => {
    const given = async (l: Lab) => {
      await l.settle();
      expect(l.credit.held()).toEqual([]);
      expect(l.credit.available()).toBe(10);
      expect(l.credit.entries).toHaveLength(1);
    };

    it("when it is cancelled while the balance is asked (RFC 3261 §9.2)", async () => {
      const l = await prepaid("10");
      const store = deferred();
      l.credit.before = () => store.promise;
      const invite = l.client.invite();
      l.client.cancel(invite);
      l.client.response(200);
      const cancelled = l.client.response(487);
      l.client.ack(invite, cancelled);
      await l.settle();
      store.resolve();
      await given(l);
      expect(l.server("a").inbox).toEqual([]);
      await pass(l, 70_000, 1000);
      expect(l.leftovers()).toEqual(nothing);
    });

    it("when it is cancelled while the app server rings", async () => {
      const l = await prepaid("10");
      const invite = l.client.invite();
      await l.settle();
      l.server("a").answer(l.server("a").request("INVITE"), 180);
      l.client.cancel(invite);
      await given(l);
    });

    it("when the app server refuses", async () => {
      const l = await prepaid("10");
      l.client.invite();
      await l.settle();
      l.server("a").answer(l.server("a").request("INVITE"), 486);
      await given(l);
    });

    it("when the ACK never comes", async () => {
      const l = await prepaid("10");
      l.client.invite();
      await l.settle();
      l.server("a").answer(l.server("a").request("INVITE"), 200);
      l.client.inbox.length = 0;
      await pass(l, 33_000);
      l.server("a").request("ACK");
      l.server("a").answer(l.server("a").request("BYE"), 200);
      l.client.answer(l.client.inbox.findLast((m) => m.isRequest) as SipRequest, 200);
      await given(l);
      expect(of(l, "session.ended")).toEqual([]);
    });

    it("when the store answers only after the call was refused", async () => {
      const l = await prepaid("10");
      const store = deferred();
      l.credit.before = () => store.promise;
      const invite = l.client.invite();
      await l.settle();
      await pass(l, 3_000);
      l.client.response(100);
      const refused = l.client.response(503);
      expect(refused.headers.get("retry-after")).toBe("10");
      l.client.ack(invite, refused);
      store.resolve();
      await given(l);
    });
  });

  describe("who asks several app servers", () => {
    const servers = [
      { id: "a", priority: 1 },
      { id: "b", priority: 2 },
      { id: "c", priority: 3 },
    ];

    it("one after the other, or all for the first answer, has one hold, which is the session's that comes to be (M5, M8)", async () => {
      for (const fork of ["sequential", "first"] as const) {
        const l = await prepaid("0.60", { servers, service: { fork } });
        const invite = l.client.invite();
        await l.settle();
        l.server("a").answer(l.server("a").request("INVITE"), 486);
        const at = l.server("b").request("INVITE");
        expect(l.credit.held()).toEqual([0.6]);
        l.server("b").answer(at, 200);
        l.client.ack(invite, l.client.response(200));
        await l.settle();
        expect(l.credit.held()).toEqual([0.6]);
        expect(of(l, "session.started")[0]?.session).toMatchObject({ appServer: "b", hold: expect.any(String) });
        expect(l.credit.asked).toHaveLength(1);
      }
    });

    it("for every answer has a hold for each, as far as the money goes; who refuses gives it back (M25)", async () => {
      const l = await prepaid("1.50", { servers, service: { fork: "all" } });
      const invite = l.client.invite();
      await l.settle();
      expect(l.credit.held()).toEqual([0.6, 0.6]);
      const a = l.server("a").request("INVITE");
      const b = l.server("b").request("INVITE");
      expect(l.server("c").inbox).toEqual([]); // no credit for it
      l.server("a").answer(a, 486);
      l.server("b").answer(b, 200);
      await l.settle();
      expect(l.credit.held()).toEqual([0.6]);
      l.client.ack(invite, l.client.response(200));
      await l.settle();
      const { hold } = of(l, "session.started")[0]!.session;
      expect(Object.keys(l.credit.accounts.get("alice")!.holds)).toEqual([hold]);
    });

    it("for every answer gets 402 where there is credit for none (M25)", async () => {
      const l = await prepaid("0.50", { servers, service: { fork: "all" } });
      l.client.invite();
      await l.settle();
      l.client.response(402);
    });
  });

  it("has a hold of its own for the next part of a session, by that part's tariff (M20)", async () => {
    const l = await prepaid("3");
    await establish(l);
    const [first] = l.core.sessions.values();
    const costs = (price: string) => ({ tariff: { id: "other", currency: "EUR", price } });
    expect(await creditForNextPart(l.core, first!, costs("2.50"))).toMatchObject({ ok: false, error: { status: 402 } });
    expect(l.credit.held()).toEqual([0.6]);
    const next = await creditForNextPart(l.core, first!, costs("2.40"));
    expect(l.credit.held()).toEqual([0.6, 2.4]);
    if (next.ok) next.value?.close(false);
    await l.settle();
    expect(l.credit.held()).toEqual([0.6]);
    const postpaid = await lab();
    await establish(postpaid);
    const [other] = postpaid.core.sessions.values();
    expect(await creditForNextPart(postpaid.core, other!, costs("1"))).toEqual({ ok: true, value: undefined });
  });

  describe("while the store is away", () => {
    const away = async () => {
      throw new Error("no connection");
    };

    it("gets 503 with Retry-After, and no app server is asked", async () => {
      const l = await prepaid("10");
      l.credit.before = away;
      l.client.invite();
      await l.settle();
      expect(l.client.response(503).headers.get("retry-after")).toBe("10");
      expect(l.server("a").inbox).toEqual([]);
    });

    it("goes on until what is held is used up, and is ended then, unless the store comes back", async () => {
      for (const comesBack of [false, true]) {
        const l = await prepaid("10");
        await establish(l);
        l.credit.before = away;
        await pass(l, 55_000);
        if (comesBack) l.credit.before = async () => {};
        await pass(l, 5_000);
        expect(l.core.sessions.values()[0]?.context.endedBy ?? null).toEqual(
          comesBack ? null : { code: "credit-unknown" },
        );
        if (comesBack) expect(l.credit.held()[0]).toBeGreaterThan(1.1);
        else expect(l.client.request("BYE").headers.get("reason")).toContain("cause=503");
      }
    });

    it("calls and goes on where the operator allows it, and pays as soon as the store is back", async () => {
      const l = await prepaid("10", { credit: { whenUnknown: "allow" } });
      l.credit.before = away;
      const c = await establish(l);
      await pass(l, 200_000);
      expect(l.core.sessions.size).toBe(1);
      l.server("a").backInDialog("INFO", c.inviteAtServer, c.answerOfServer, 1, {
        type: CHARGE,
        body: charge("1", "2"),
      });
      await l.settle();
      l.server("a").response(200);
      l.credit.before = async () => {};
      await pass(l, 61_000);
      expect(l.credit.held()[0]).toBeGreaterThan(2 + 2.6);
    });
  });

  describe("whose hold was given back while nobody could renew it", () => {
    const giveBack = (l: Lab) => l.credit.release("alice", l.credit.accounts.get("alice")!.holds);

    it("has it held anew as far as the balance goes, and is not cut off", async () => {
      const l = await prepaid("10");
      const { answer, invite } = await establish(l);
      await giveBack(l);
      expect([l.credit.held(), l.credit.available()]).toEqual([[], 10]);
      await pass(l, 90_000);
      expect(l.core.sessions.size).toBe(1);
      expect(l.credit.held()).toEqual([1.2]);
      l.client.inDialog("BYE", invite, answer, 2);
      l.server("a").answer(l.server("a").request("BYE"), 200);
      await l.settle();
      const { bill } = await billed(l);
      expect([bill.totals[0]!.due, bill.prepaid!.paid, bill.prepaid!.balance]).toEqual(["0.90", "0.90", "9.10"]);
      expect(l.credit.available()).toBe(9.1);
    });

    it("is ended at the end of what was held where somebody else has spent it", async () => {
      const l = await prepaid("0.60");
      await establish(l);
      await giveBack(l);
      await l.credit.settle({ ...settle(l, "other", 600_000) });
      await pass(l, 70_000);
      expect(of(l, "session.ended")).toMatchObject([{ durationMs: 60_000, endedBy: "relay: credit exhausted" }]);
    });

    it("has a charge covered by it anew", async () => {
      const l = await prepaid("10");
      const { inviteAtServer: at, answerOfServer } = await establish(l);
      await giveBack(l);
      l.server("a").backInDialog("INFO", at, answerOfServer, 1, { body: charge("1", "5"), type: CHARGE });
      await pass(l, 1_000);
      l.server("a").response(200);
      expect(l.credit.held()).toEqual([5.6]);
    });
  });

  it("has all that it owes kept back when its session has ended and billing is far behind", async () => {
    const l = await prepaid("10", { credit: { reserveCharges: "1" } });
    const { server, invite, answer, inviteAtServer, answerOfServer } = await establish(l);
    server.backInDialog("INFO", inviteAtServer, answerOfServer, 1, { body: charge("1", "0.30"), type: CHARGE });
    await pass(l, 5_000);
    server.response(200);
    l.client.inDialog("BYE", invite, answer, 2);
    server.answer(server.request("BYE"), 200);
    await pass(l, 3_000);
    const holds = l.credit.accounts.get("alice")!.holds;
    expect(Object.values(holds)).toMatchObject([{ used: 400_000 }]);
    // Nobody renews it; the worker takes its relay for dead.
    await l.credit.release("alice", holds);
    expect(Object.values(l.credit.accounts.get("alice")!.holds)).toMatchObject([{ amount: 400_000, until: null }]);
    expect(l.credit.accounts.get("alice")!.available).toBe(9_600_000);
  });

  it("pays for no time after the money was used up, also while BYE waits for its answer", async () => {
    const l = await prepaid("0.60");
    const { invite, answer } = await establish(l);
    await pass(l, 59_000);
    l.client.inDialog("BYE", invite, answer, 2);
    await pass(l, 2_000);
    l.server("a").answer(l.server("a").request("BYE"), 200);
    await l.settle();
    l.client.response(200);
    expect(of(l, "session.ended")).toMatchObject([{ durationMs: 60_000, endedBy: "client" }]);
    const { bill } = await billed(l);
    expect([bill.totals[0]!.due, bill.prepaid!.paid, bill.prepaid!.balance]).toEqual(["0.60", "0.60", "0.00"]);
  });

  it("pays with what is left what stands in the answer to BYE after the time was used up (M16)", async () => {
    const l = await prepaid("1.05");
    await establish(l);
    await pass(l, 101_000);
    l.client.answer(l.client.inbox.findLast((m) => m.isRequest) as SipRequest, 200);
    l.server("a").answer(l.server("a").request("BYE"), 200, { body: charge("1", "0.05"), type: CHARGE });
    await pass(l, 2_000);
    const { bill } = await billed(l);
    expect([bill.totals[0]!.due, bill.prepaid!.paid, bill.prepaid!.balance]).toEqual(["1.05", "1.05", "0.00"]);
  });

  describe("whose session never began, for the ACK did not come", () => {
    /** Billed in the end; `charging`: what the app server does once it has been sent BYE. */
    async function unacknowledged(
      charging: (l: Lab, bye: SipRequest, at: SipRequest, answer: SipResponse) => Promise<void>,
    ) {
      const l = await prepaid("10", { credit: { reserveCharges: "3" } });
      l.client.invite();
      await l.settle();
      const at = l.server("a").request("INVITE");
      const answer = l.server("a").answer(at, 200);
      l.client.inbox.length = 0;
      await pass(l, 33_000);
      l.server("a").request("ACK");
      await charging(l, l.server("a").request("BYE"), at, answer);
      l.client.answer(l.client.inbox.findLast((m) => m.isRequest) as SipRequest, 200);
      await pass(l, 40_000);
      l.breakRecorder(false);
      await pass(l, 10_000);
      const { bill } = await billed(l);
      expect(l.credit.held()).toEqual([]);
      expect(l.credit.available()).toBe(10 - Number(bill.prepaid!.paid));
      expect(bill.prepaid!.paid).toBe(bill.totals[0]?.due ?? "0.00");
      return bill.prepaid!.paid;
    }

    it.each([0, 2, 6])(
      "pays what was charged in the answer to BYE, or is not charged it: after %i s (M16)",
      async (lateS) => {
        await unacknowledged(async (l, bye) => {
          await pass(l, lateS * 1_000);
          l.server("a").inbox.length = 0;
          l.server("a").answer(bye, 200, { body: charge("2", "2"), type: CHARGE });
          await pass(l, 1_000);
        });
      },
    );

    it("pays nothing for what could not be put on record", async () => {
      const paid = await unacknowledged(async (l, bye, at, answer) => {
        l.breakRecorder(true);
        l.server("a").backInDialog("INFO", at, answer, 1, { body: charge("1", "1.19"), type: CHARGE });
        await pass(l, 1_000);
        expect(l.server("a").inbox).toContainEqual(expect.objectContaining({ status: 500 }));
        l.server("a").answer(bye, 200);
        await pass(l, 1_000);
      });
      expect(paid).toBe("0.00");
    });

    it("pays once what is put on record later, or nothing", async () => {
      await unacknowledged(async (l, bye) => {
        l.breakRecorder(true);
        l.server("a").answer(bye, 200, { body: charge("1", "1.19"), type: CHARGE });
        await pass(l, 1_000);
      });
    });
  });

  it("never spends more than the balance with 50 sessions at once on one account (P2)", async () => {
    // Enough for 50 first intervals and a little more; each wants to go on for ever, and some are charged for goods.
    const l = await prepaid("45", { limits: { perSourcePerSecond: 0 } });
    const invites = Array.from({ length: 80 }, () => l.client.invite());
    await pass(l, 1_000, 50);
    const asked = l
      .server("a")
      .inbox.splice(0)
      .filter((message) => message.isRequest) as SipRequest[];
    const unique = [...new Map(asked.map((invite) => [invite.callId, invite])).values()];
    expect(unique).toHaveLength(75); // 45 EUR / 0.60
    expect(l.credit.available()).toBe(0);
    const answers = unique.slice(0, 50).map((invite) => ({ invite, answer: l.server("a").answer(invite, 200) }));
    for (const invite of unique.slice(50)) l.server("a").answer(invite, 486);
    for (const message of l.client.inbox.splice(0)) {
      if (message.isRequest || message.status < 200) continue;
      l.client.ack(invites.find(({ callId }) => callId === message.callId)!, message);
    }
    await pass(l, 1_000, 50);
    expect(l.core.sessions.size).toBe(50);
    for (const [i, { invite, answer }] of answers.entries())
      l.server("a").backInDialog("INFO", invite, answer, 1, { type: CHARGE, body: charge(`g${i}`, "0.33") });
    await pass(l, 240_000, 500);
    for (const peer of [l.client, l.server("a")]) {
      const byes = peer.inbox.filter((message) => message.isRequest && message.method === "BYE") as SipRequest[];
      for (const bye of byes) peer.answer(bye, 200);
    }
    await pass(l, 40_000, 500);
    expect(l.core.sessions.size).toBe(0);
    const ended = of(l, "session.ended");
    expect(ended).toHaveLength(50);
    const goods = of(l, "charge.made").length * 0.33;
    const time = ended.reduce((sum, event) => sum + timeOf(event), 0);
    expect(time + goods).toBeLessThanOrEqual(45);
    expect(time + goods).toBeGreaterThan(45 - 50 * 0.1); // and no session was ended that had an increment left
    // As the billing worker settles them.
    for (const event of ended) {
      const goods = of(l, "charge.made").filter(({ session }) => session.id === event.session.id).length * 330_000;
      const total = Math.round(timeOf(event) * 1e6) + goods;
      await l.credit.settle(settle(l, event.session.hold!, total));
    }
    expect(l.credit.lowest).toBe(0);
    expect(l.credit.available()).toBeCloseTo(45 - time - goods, 6);
  });
});

/** Bills what was recorded, and makes the bill of the month. */
async function billed(l: Lab) {
  const { billing, credit, clock } = l;
  for (const event of l.events) await billEvent({ store: { billing, credit }, clock, log: silent }, event);
  return { bill: await makeBill({ billing, credit }, "alice", monthOf(clock.wall())) };
}

const timeOf = ({ session, durationMs }: SessionEnded) => Number(rateDuration(session.tariff!, durationMs).units) / 100;

const settle = (l: Lab, hold: string, amount: number) => ({
  ...{ user: "alice", hold, session: "s" },
  totals: [{ amount, at: l.clock.wall() }],
});
