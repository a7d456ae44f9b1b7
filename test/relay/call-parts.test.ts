// biome-ignore-all lint/suspicious/noThenProperty: a rule says when and then
import { describe, expect, it } from "vitest";
import { billEvent } from "../../src/charging/billing/billing.ts";
import { makeBill } from "../../src/charging/bills/bill.ts";
import { rebill } from "../../src/charging/bills/rebill.ts";
import { CHARGE_JSON } from "../../src/charging/charges/body.ts";
import { fromMicros } from "../../src/charging/credit/store.ts";
import { accountEvents } from "../../src/charging/events/events.ts";
import { formatAmount } from "../../src/charging/money/money.ts";
import { goOn, restore, snapshot } from "../../src/relay/session/snapshot.ts";
import type { SipMessage, SipRequest, SipResponse } from "../../src/sip/message.ts";
import { silent } from "../charging/samples.ts";
import { establish, type Lab, type LabOptions, lab } from "./harness.ts";

/*
 * The client goes to and fro between services: within its session what is once in a call is there once (M20-M22); by
 * moves the limits are.
 */

const SERVICE_XML = "application/vnd.tollgate.service+xml";
const named = (id: string) => ({
  name: `asks for ${id}`,
  when: { body: { "service.@name": id } },
  then: { service: id },
});
const WINE = { id: "wine", currency: "EUR", setupFee: "1.00", price: "0.10", freeS: 60 };

/** service1 is the wine shop, beer is the beer shop: of one house, or of two. */
function shops(
  houses: "one" | "two",
  options: LabOptions & { limits?: { session?: string; charge?: string }; besides?: object } = {},
) {
  const limits = options.limits && { limits: { currency: "EUR", ...options.limits } };
  const services = [
    { id: "service1", tariff: "wine", ...limits },
    { id: "beer", tariff: "beer" },
  ];
  const one = [{ id: "a", services: ["service1", "beer"] }];
  const two = [
    { id: "a", services: ["service1"] },
    { id: "b", services: ["beer"] },
  ];
  const servers = houses === "one" ? one : two;
  return lab({
    servers,
    ...options,
    limits: {},
    config: {
      portal: { domain: "portal.com" },
      listen: ["udp:192.0.2.1:5060"],
      services,
      tariffs: [WINE, { id: "beer", currency: "EUR", price: "0.20" }],
      appServers: servers.map((server, i) => ({ uri: `sip:192.0.2.${100 + i}:5060`, ...server })),
      rules: [...services.map(({ id }) => named(id)), { name: "by name", then: {} }],
      session: { probeS: 0 },
      health: { intervalS: 0 },
      credit: { intervalS: 60, warnS: 0 },
      ...options.besides,
      ...(options.limits?.charge !== undefined && { limits: { chargesPerSession: 2 } }),
    },
  });
}

type Call = Awaited<ReturnType<typeof establish>>;

/** A client in a call, and where it is. */
class Visitor {
  private seq = 1;
  private infos = 0;
  server: string;
  private at: SipRequest;
  private answer: SipResponse;
  private readonly l: Lab;
  private readonly call: Call;

  constructor(l: Lab, call: Call) {
    this.l = l;
    this.call = call;
    this.server = "a";
    this.at = call.inviteAtServer;
    this.answer = call.answerOfServer;
  }

  /** The service changes by re-INVITE. */
  async changeTo(service: string, server = "a"): Promise<void> {
    const { l, call } = this;
    const body = { type: SERVICE_XML, body: `<service name="${service}"/>` };
    const change = l.client.inDialog("INVITE", call.invite, call.answer, ++this.seq, body);
    const stays = server === this.server;
    await l.settle();
    const asked = l.server(server).request("INVITE");
    const answer = l.server(server).answer(asked, 200, { tag: stays ? undefined! : `t${this.seq}` });
    await l.settle();
    l.client.ack(change, l.client.response(200));
    l.server(server).request("ACK");
    await l.settle();
    if (!stays) {
      l.server(this.server).answer(l.server(this.server).request("BYE"), 200);
      this.at = asked;
      this.answer = answer;
      this.infos = 0;
    }
    this.server = server;
    await l.settle();
  }

  /** INFO of the app server where the client is. */
  async charge(id: string, price: string): Promise<string> {
    const { l } = this;
    const peer = l.server(this.server);
    const body = JSON.stringify({ id, item: "x", unitPrice: price, currency: "EUR" });
    peer.backInDialog("INFO", this.at, this.answer, ++this.infos, { body, type: CHARGE_JSON });
    await l.settle();
    const { status, reason } = peer.inbox.shift() as SipResponse;
    return status === 200 ? "OK" : reason;
  }

  /** Returns the 200 that it hears. */
  async hangUp(): Promise<SipResponse> {
    const { l, call } = this;
    l.client.inDialog("BYE", call.invite, call.answer, ++this.seq);
    l.server(this.server).answer(l.server(this.server).request("BYE"), 200);
    await l.settle();
    return l.client.response(200);
  }
}

/** What the client is told that it cost. */
function advised({ body }: SipMessage): string {
  const [, currency, amount] = /<currency-id>(.*?)<.*<currency-amount>(.*?)</.exec(body.toString()) ?? [];
  return `${amount} ${currency}`;
}

/** What stands on the bill for time, and that it can be made again from the events. */
async function timesOnBill(l: Lab): Promise<string[]> {
  for (const event of l.events) await billEvent({ store: { billing: l.billing }, clock: l.clock, log: silent }, event);
  const { entries } = await l.billing.entries("alice", "2026-01", { limit: 100 });
  const again = await rebill(l.billing, {
    month: "2026-01",
    write: false,
    onDifference: (one) => expect.fail(JSON.stringify(one)),
  });
  expect(again.entries).toBe(entries.length);
  return entries.filter(({ kind }) => kind === "time").map(({ service, amount }) => `${service} ${amount}`);
}

describe.each(["one", "two"] as const)("a service that is changed away and back, app servers of %s house", (houses) => {
  const beer = houses === "one" ? "a" : "b";

  it("costs its set-up fee once, and its free seconds are there once (M20, M21)", async () => {
    const l = await shops(houses);
    const visitor = new Visitor(l, await establish(l));
    l.clock.advance(40_000);
    await visitor.changeTo("beer", beer);
    l.clock.advance(30_000);
    await visitor.changeTo("service1");
    l.clock.advance(30_000); // 20 s of them are free
    await visitor.changeTo("beer", beer);
    await visitor.changeTo("service1");
    l.clock.advance(61_000);
    await visitor.hangUp();
    expect(await timesOnBill(l)).toEqual(["service1 1.00", "beer 0.20", "service1 0.10", "beer 0.00", "service1 0.20"]);
    const found = l.events.flatMap(accountEvents).filter(({ type }) => type === "session.started");
    expect(found.map(({ session }) => session.used?.freeMs)).toEqual([undefined, undefined, 40_000, 0, 60_000]);
  });

  it("is told to the client as one cost at the end, all parts of its dialog, with taxes (AOC-E, ETSI TS 124 647)", async () => {
    const taxes = [{ id: "vat", rate: "10", included: false }];
    const l = await shops(houses, { besides: { charging: { advice: true }, taxes } });
    const visitor = new Visitor(l, await establish(l));
    l.clock.advance(40_000);
    expect(await visitor.charge("c1", "30")).toBe("OK");
    await visitor.changeTo("beer", beer);
    l.clock.advance(30_000);
    expect(await visitor.charge("c2", "5")).toBe("OK");
    await visitor.changeTo("service1");
    const late = { id: "late", item: "x", unitPrice: "2", quantity: "1", currency: "EUR" };
    const first = l.events[0]!.session.id;
    expect(await l.core.direct.charge("a", { session: first, charges: [late], channel: "direct" })).toEqual({
      kind: "recorded",
    });
    const [running] = Array.from(l.core.sessions.values()).filter((one) => one.facts.previous && one.client);
    const state = JSON.parse(JSON.stringify(snapshot(running!)));
    running!.release(); // another process goes on with it
    goOn(restore(l.core, state), state);
    l.clock.advance(81_000); // 20 s of them are free
    expect(advised(await visitor.hangUp())).toBe("42.24 EUR"); // 1.00 + 0.20 + 0.20, 37.00, and a tenth of it
    await timesOnBill(l);
    const { totals } = await makeBill({ billing: l.billing }, "alice", "2026-01");
    expect(totals[0]!.due).toBe("42.24");
  });

  it("is told as no cost at all where its parts are in two currencies: there is no one figure", async () => {
    const tariffs = [WINE, { id: "beer", currency: "USD", price: "0.20" }];
    const l = await shops(houses, { besides: { charging: { advice: true }, tariffs } });
    const visitor = new Visitor(l, await establish(l));
    await visitor.changeTo("beer", beer);
    l.clock.advance(30_000);
    expect((await visitor.hangUp()).body).toHaveLength(0);
  });

  it("has used of its free seconds what its end on record says, which may be before its BYE (P7, M13)", async () => {
    const l = await shops(houses, { besides: { session: { probeS: 600 } } });
    const visitor = new Visitor(l, await establish(l));
    l.clock.advance(20_000);
    await visitor.changeTo("beer", beer);
    await visitor.changeTo("service1");
    l.clock.advance(10_000);
    const running = l.core.sessions.values().find(({ service }) => service.id === "service1")!;
    const state = JSON.parse(JSON.stringify(snapshot(running)));
    running.release();
    const again = restore(l.core, state, { lastHeardAt: l.clock.wall() }); // from here on nothing is heard of the client
    goOn(again, state);
    l.server("a").answer(l.server("a").request("OPTIONS"), 200);
    l.clock.advance(15_000);
    const parts = again.callParts;
    again.end({ code: "stops" });
    l.server("a").answer(l.server("a").request("BYE"), 200);
    l.clock.advance(40_000);
    await l.settle();
    expect(l.events.findLast(({ type }) => type === "session.ended")).toMatchObject({ durationMs: 10_000 });
    expect(parts.used(again.facts.tariff)).toMatchObject({ freeMs: 30_000 });
  });

  it("has its limit for a session once, over all of its parts", async () => {
    const l = await shops(houses, { limits: { session: "50" } });
    const visitor = new Visitor(l, await establish(l));
    expect(await visitor.charge("c1", "30")).toBe("OK");
    await visitor.changeTo("beer", beer);
    expect(await visitor.charge("c2", "40")).toBe("OK"); // of another service
    await visitor.changeTo("service1");
    expect(await visitor.charge("c3", "20.01")).toContain(
      "50.01 EUR is over the service's limit of 50.00 EUR for a session",
    );
    expect(await visitor.charge("c3", "20")).toBe("OK");
    await visitor.changeTo("beer", beer);
    await visitor.changeTo("service1");
    expect(await visitor.charge("c4", "0.01")).toContain("is over the service's limit of 50.00 EUR for a session");
    await visitor.hangUp();
  });

  it("has its number of charges once, too", async () => {
    const l = await shops(houses, { limits: { charge: "50" } });
    const visitor = new Visitor(l, await establish(l));
    expect(await visitor.charge("c1", "1")).toBe("OK");
    await visitor.changeTo("beer", beer);
    await visitor.changeTo("service1");
    expect(await visitor.charge("c2", "1")).toBe("OK");
    expect(await visitor.charge("c3", "1")).toContain("more than 2 charges in a session");
  });

  it("counts what is charged for an earlier part after that has ended (M15)", async () => {
    const l = await shops(houses, { limits: { session: "50" } });
    const visitor = new Visitor(l, await establish(l));
    const first = l.events[0]!.session.id;
    await visitor.changeTo("beer", beer);
    await visitor.changeTo("service1");
    const late = (unitPrice: string) =>
      l.core.direct.charge("a", {
        session: first,
        charges: [{ id: "late", item: "x", unitPrice, quantity: "1", currency: "EUR" }],
        channel: "direct",
      });
    expect(await visitor.charge("c1", "30")).toBe("OK");
    expect(await late("20.01")).toMatchObject({ kind: "refused" });
    expect(await late("20")).toEqual({ kind: "recorded" });
    expect(await visitor.charge("c2", "0.01")).toContain("for a session");
  });

  it("holds of a prepaid balance what the bill will say: no second set-up fee, no second free minute", async () => {
    const l = await shops(houses, { balance: "2.00" });
    const invite = l.client.invite({ body: "v=0" });
    await l.settle(); // the balance is asked
    const server = l.server("a");
    const inviteAtServer = server.request("INVITE");
    const answerOfServer = server.answer(inviteAtServer, 200);
    const answer = l.client.response(200);
    l.client.ack(invite, answer);
    const ack = server.request("ACK");
    const visitor = new Visitor(l, { server, invite, answer, inviteAtServer, answerOfServer, ack });
    const held = async () => {
      const { holds } = (await l.credit.account("alice"))!;
      return Object.values(holds).map(({ amount }) => formatAmount(fromMicros(amount, "EUR")));
    };
    expect(await held()).toEqual(["1.00"]); // the first minute is free
    l.clock.advance(40_000);
    await visitor.changeTo("beer", beer);
    await visitor.changeTo("service1");
    expect((await held()).at(-1)).toBe("0.10");
    l.clock.advance(20_000);
    expect(l.core.sessions.values().find(({ service }) => service.id === "service1")?.credit?.until).toBe(
      l.clock.wall() + 60_000,
    );
    await visitor.hangUp();
    expect(await timesOnBill(l)).toEqual(["service1 1.00", "beer 0.00", "service1 0.00"]);
  });
});

describe("a client that moves away and back (M23, M24)", () => {
  const replaces = ({ invite, answer }: { invite: SipRequest; answer: SipResponse }) =>
    `${invite.callId};to-tag=${answer.toTag};from-tag=${invite.fromTag}`;
  const targets = ({ invite, answer }: { invite: SipRequest; answer: SipResponse }) =>
    `${invite.callId};local-tag=${invite.fromTag};remote-tag=${answer.toTag}`;

  async function moveTo(l: Lab, service: string, server: string, header: [string, string], told: string[] = []) {
    const invite = l.client.invite({ uri: `sip:${service}@portal.com`, headers: [header] });
    await l.settle();
    l.server(server).answer(l.server(server).request("INVITE"), 200, { tag: `m${invite.callId}` });
    const answer = l.client.response(200);
    l.client.ack(invite, answer);
    l.server(server).request("ACK");
    await l.settle();
    if (header[0] === "Replaces")
      for (const peer of [l.client, ...["a", "b"].filter((id) => id !== server).map((id) => l.server(id))]) {
        const bye = peer.request("BYE");
        if (peer === l.client) told.push(advised(bye));
        peer.answer(bye, 200);
      }
    await l.settle();
    return { invite, answer };
  }

  it("has a set-up fee and free seconds in each session, as it would by calling again", async () => {
    const l = await shops("two");
    const first = await establish(l);
    l.clock.advance(40_000);
    const second = await moveTo(l, "beer", "b", ["Replaces", replaces(first)]);
    l.clock.advance(10_000);
    const third = await moveTo(l, "service1", "a", ["Replaces", replaces(second)]);
    l.clock.advance(30_000);
    l.client.inDialog("BYE", third.invite, third.answer, 2);
    l.server("a").answer(l.server("a").request("BYE"), 200);
    await l.settle();
    expect(await timesOnBill(l)).toEqual(["service1 1.00", "beer 0.20", "service1 1.00"]);
  });

  it("is told of each session by itself what it cost: each was a dialog of its own", async () => {
    const l = await shops("two", { besides: { charging: { advice: true } } });
    const told: string[] = [];
    const first = await establish(l);
    l.clock.advance(40_000);
    const second = await moveTo(l, "beer", "b", ["Replaces", replaces(first)], told);
    l.clock.advance(70_000);
    l.client.inDialog("BYE", second.invite, second.answer, 2);
    l.server("b").answer(l.server("b").request("BYE"), 200);
    await l.settle();
    told.push(advised(l.client.response(200)));
    expect(told).toEqual(["1.00 EUR", "0.40 EUR"]);
  });

  it("has them also where the first session goes on", async () => {
    const l = await shops("two");
    const first = await establish(l);
    const beside = await moveTo(l, "service1", "a", ["Target-Dialog", targets(first)]);
    l.clock.advance(50_000);
    for (const { invite, answer } of [first, beside]) {
      l.client.inDialog("BYE", invite, answer, 2);
      l.server("a").answer(l.server("a").request("BYE"), 200);
      await l.settle();
    }
    expect((await timesOnBill(l)).sort()).toEqual(["service1 1.00", "service1 1.00"]);
  });

  it("has a service's limit for a session once, over the sessions that it moves between", async () => {
    const l = await shops("two", { limits: { session: "50" } });
    const first = await establish(l);
    expect(await new Visitor(l, first).charge("c1", "30")).toBe("OK");
    const second = await moveTo(l, "beer", "b", ["Replaces", replaces(first)]);
    const third = await moveTo(l, "service1", "a", ["Replaces", replaces(second)]);
    const charge = (unitPrice: string) => {
      const { id } = l.core.sessions
        .values()
        .find(({ client }) => client?.dialog.callId === third.invite.callId)!.facts;
      const charges = [{ id: "c2", item: "x", unitPrice, quantity: "1", currency: "EUR" }];
      return l.core.direct.charge("a", { session: id, charges, channel: "direct" });
    };
    expect(await charge("20.01")).toMatchObject({ kind: "refused" });
    expect(await charge("20")).toEqual({ kind: "recorded" });
  });

  it("begins a call of its own by a plain second INVITE", async () => {
    const l = await shops("two");
    await establish(l);
    const second = await moveTo(l, "service1", "a", ["Subject", "again"]);
    l.clock.advance(30_000);
    l.client.inDialog("BYE", second.invite, second.answer, 2);
    l.server("a").answer(l.server("a").request("BYE"), 200);
    await l.settle();
    expect(await timesOnBill(l)).toEqual(["service1 1.00"]);
  });
});
