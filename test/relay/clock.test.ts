import { describe, expect, it } from "vitest";
import { entryFor } from "../../src/charging/billing/entries.ts";
import { HoldWatch } from "../../src/charging/billing/hold-watch.ts";
import { accountEvents, type ChargingEvent } from "../../src/charging/events/events.ts";
import { viewsOf } from "../../src/node/session-view.ts";
import { TestClock } from "../support/test-clock.ts";
import { establish, type Lab, type LabOptions, lab } from "./harness.ts";

/* decision 16: time that passes is monotonic. Whoever sets the wall clock changes no timer, no duration and no bill. */

const S = 1_000;
const DAY = 86_400 * S;
/** By how much the wall clock is set in the middle. */
const STEPS = [
  ["back a day", -DAY],
  ["back an hour", -3_600 * S],
  ["back a minute", -60 * S],
  ["forward a minute", 60 * S],
  ["forward an hour", 3_600 * S],
  ["forward a day", DAY],
] as const;

const CHARGE = "application/vnd.tollgate.charge+json";
const charge = (id: string) =>
  JSON.stringify({ charges: [{ id, item: "Riesling", unitPrice: "1.00", quantity: "1", currency: "EUR" }] });
const nothing = { sessions: 0, requests: 0, legs: 0, legsByFlow: 0, transactions: 0, timers: 0 };

/** Lets time pass, in steps so small that what is promised is kept in between. */
async function pass(l: Lab, ms: number, step = 250): Promise<void> {
  for (let left = ms; left > 0; left -= step) {
    l.clock.advance(Math.min(step, left));
    await l.settle();
  }
}

const ends = (l: Lab) => l.events.flatMap(accountEvents).filter((event) => event.type === "session.ended");

/** A wall clock that shows another time whenever it is looked at. */
class Mad extends TestClock {
  private readings = 0;

  override wall(): number {
    const by = [7 * DAY, -3 * DAY, 0, 90 * S, -3_600 * S][++this.readings % 5]!;
    return super.wall() + by;
  }
}

describe.each(STEPS)("a wall clock that is set %s", (_, byMs) => {
  it("changes nothing at a session: its duration is what passed, and all of its times are in their order (M12, M13)", async () => {
    const l = await lab();
    const startedAt = l.clock.wall();
    const { invite, answer, server, inviteAtServer, answerOfServer } = await establish(l);
    l.clock.advance(2 * S);
    l.clock.setWall(byMs);
    l.clock.advance(S);
    server.backInDialog("INFO", inviteAtServer, answerOfServer, 1, { type: CHARGE, body: charge("1") });
    await l.settle();
    server.response(200);
    l.clock.advance(2 * S);
    l.client.inDialog("BYE", invite, answer, 2);
    server.answer(server.request("BYE"), 200);
    await l.settle();
    expect(l.events).toMatchObject([
      { type: "session.started", at: startedAt },
      { type: "charge.made", at: startedAt + 3 * S },
      { type: "session.ended", startedAt, at: startedAt + 5 * S, durationMs: 5 * S },
    ]);
  });

  it("is followed by the next session, which says by how much it was set since the relay began", async () => {
    const l = await lab();
    l.clock.advance(S);
    l.clock.setWall(byMs);
    l.clock.advance(S);
    await establish(l);
    expect(l.events).toMatchObject([{ at: l.clock.wall(), session: { clockStepMs: byMs } }]);
    expect(l.core.counters.clockSteps).toBe(1);
  });

  it("is followed by a session whose app server answers after it, also where it was asked before", async () => {
    const l = await lab();
    const invite = l.client.invite();
    const at = l.server("a").request("INVITE");
    l.server("a").answer(at, 180);
    l.clock.setWall(byMs);
    l.server("a").answer(at, 200);
    l.client.response(180);
    l.client.ack(invite, l.client.response(200));
    await l.settle();
    expect(l.events).toMatchObject([{ type: "session.started", at: l.clock.wall() }]);
  });

  it("neither stops nor hurries what is sent again while a call is set up (RFC 3261 §17, §13.3.1.4)", async () => {
    const l = await lab();
    const sent: [peer: string, what: string | number, at: number][] = [];
    const look = () => {
      for (const [name, peer] of [["client", l.client] as const, ["server", l.server("a")] as const])
        for (const message of peer.inbox.splice(0))
          sent.push([name, message.isRequest ? message.method : message.status, l.clock.monotonic()]);
    };
    l.client.invite();
    l.clock.advance(S / 4);
    l.clock.setWall(byMs);
    for (let i = 0; i < 8; i++, l.clock.advance(S / 4)) look();
    // T1 and its doublings; the first was sent at 0.
    expect(sent.filter(([, what]) => what === "INVITE").map(([, , at]) => at)).toEqual([250, 500, 1_500]);
    sent.length = 0;
    await pass(l, 40 * S);
    look();
    // Nobody answers: 408 (`session.silentS`, Timer B).
    expect(sent.filter(([name, what]) => name === "client" && what === 408).length).toBeGreaterThan(0);
  });

  it("neither stops nor hurries the 200 that waits for its ACK, nor its end after 64*T1 (RFC 3261 §13.3.1.4)", async () => {
    const l = await lab();
    l.client.invite();
    const server = l.server("a");
    server.answer(server.request("INVITE"), 200);
    l.client.response(200);
    l.clock.advance(S / 4);
    l.clock.setWall(byMs);
    let repeated = 0;
    for (let ms = 0; ms < 31_500; ms += 250, l.clock.advance(250))
      repeated += l.client.inbox.splice(0).filter((message) => !message.isRequest && message.status === 200).length;
    expect(repeated).toBe(10); // 0.5, 1.5, 3.5, 7.5, then each 4 s to 31.5
    expect(server.inbox).toEqual([]);
    await pass(l, S);
    server.request("ACK");
    server.answer(server.request("BYE"), 200);
    await pass(l, 70 * S);
    expect(l.leftovers()).toEqual(nothing);
  });

  it("changes nothing at a change of service: both parts are what passed, and the second begins where the first ends (M20)", async () => {
    const l = await lab({
      more: [{ id: "beer", tariff: "t" }],
      servers: [{ id: "a", services: ["service1", "beer"] }],
      config: twoServices(),
    });
    const { invite, answer, server } = await establish(l);
    l.clock.advance(4 * S);
    l.clock.setWall(byMs);
    l.clock.advance(3 * S);
    const wish = { type: "application/vnd.tollgate.service+xml", body: '<service name="beer"/>' };
    const change = l.client.inDialog("INVITE", invite, answer, 2, wish);
    server.answer(server.request("INVITE"), 200);
    l.client.ack(change, l.client.response(200));
    server.request("ACK");
    l.clock.advance(5 * S);
    l.clock.setWall(-byMs);
    l.client.inDialog("BYE", invite, answer, 3);
    server.answer(server.request("BYE"), 200);
    await l.settle();
    expect(ends(l)).toMatchObject([
      { durationMs: 7 * S, session: { service: "service1" } },
      { durationMs: 5 * S, session: { service: "beer" } },
    ]);
    const [first, second] = ends(l) as { at: number; startedAt: number }[];
    expect(second!.startedAt).toBe(first!.at);
  });

  it("changes nothing at a move: the second session begins where the first ends (M23)", async () => {
    const l = await lab({
      servers: [{ id: "a" }, { id: "b", services: ["beer"] }],
      more: [{ id: "beer", tariff: "t" }],
    });
    const { answer, server, invite } = await establish(l);
    l.clock.advance(4 * S);
    l.clock.setWall(byMs);
    const tag = /tag=(\S+)/.exec(invite.headers.get("from")!)![1];
    const replaces = `${invite.callId};to-tag=${answer.toTag};from-tag=${tag}`;
    const next = l.client.invite({ uri: "sip:beer@portal.com", headers: [["Replaces", replaces]] });
    const beer = l.server("b");
    beer.answer(beer.request("INVITE"), 200);
    l.client.ack(next, l.client.response(200));
    for (const peer of [l.client, server]) peer.answer(peer.request("BYE"), 200);
    await l.settle();
    const started = l.events.filter(({ type }) => type === "session.started").map(({ at }) => at);
    expect(started[1]! - started[0]!).toBe(4 * S);
    expect(ends(l)).toMatchObject([{ durationMs: 4 * S, at: started[1] }]);
  });

  it("neither ends a prepaid session early nor lets it go on: its money lasts as long as it lasts", async () => {
    const l = await prepaid("0.85");
    await establish(l);
    await pass(l, 10 * S);
    l.clock.setWall(byMs);
    await pass(l, 69 * S);
    expect(l.client.inbox).toEqual([]);
    await pass(l, S);
    expect(l.client.request("BYE").headers.get("reason")).toContain("credit exhausted");
    l.server("a").answer(l.server("a").request("BYE"), 200);
    await pass(l, 35 * S);
    expect(ends(l)).toMatchObject([{ durationMs: 80 * S, endedBy: "relay: credit exhausted" }]);
  });

  it("renews a prepaid session's hold in its turn", async () => {
    const l = await prepaid("10");
    await establish(l);
    expect(l.credit.held()).toEqual([0.6]);
    await pass(l, 30 * S);
    l.clock.setWall(byMs);
    await pass(l, 20 * S);
    expect(l.credit.held()).toEqual([0.6]);
    await pass(l, 5 * S);
    expect(l.credit.held()).toEqual([1.2]);
    await pass(l, 60 * S);
    expect(l.credit.held()).toEqual([1.8]);
    // What it says of it is by the session's times: `credit.intervalS` and `credit.graceS`.
    const told = l.events.flatMap((event) => (event.type === "credit.reserved" ? [event.until - event.at] : []));
    expect(told).toEqual([120 * S, 120 * S, 120 * S]);
  });

  it("lets no prepaid user spend more than the balance, where it is the billing worker's that is off by so much (P2)", async () => {
    const l = await prepaid("0.60");
    await establish(l);
    const clock = { wall: () => l.clock.wall() + byMs, monotonic: () => l.clock.monotonic() };
    const worker = new HoldWatch({ credit: l.credit, clock, log: l.core.log });
    for (let i = 0; i < 5; i++) {
      await pass(l, 10 * S);
      await worker.sweep();
      l.client.invite();
      await l.settle();
      l.client.response(402);
    }
    expect([l.credit.available(), l.credit.held()]).toEqual([0, [0.6]]);
  });

  it("shows how long a session has run, and not what the wall clock makes of it", async () => {
    const l = await lab();
    const startedAt = l.clock.wall();
    await establish(l);
    l.clock.advance(5 * S);
    l.clock.setWall(byMs);
    expect(viewsOf(l.core.sessions.values())).toMatchObject([{ startedAt, durationMs: 5 * S }]);
  });

  it("neither ends a session before its greatest duration nor after it", async () => {
    const l = await lab({ session: { maxDurationS: 700 } });
    await establish(l);
    await pass(l, 300 * S, S);
    l.clock.setWall(byMs);
    await pass(l, 399 * S, S);
    expect(l.client.inbox).toEqual([]);
    await pass(l, S);
    l.client.request("BYE");
  });

  it("neither shortens nor prolongs the time for late charges (M15)", async () => {
    const l = await lab({ service: { lateChargesS: 30 } });
    const { invite, answer, server, inviteAtServer, answerOfServer } = await establish(l);
    l.clock.advance(5 * S);
    l.client.inDialog("BYE", invite, answer, 2);
    server.answer(server.request("BYE"), 200);
    await l.settle();
    const { id } = l.events[0]!.session;
    l.clock.setWall(byMs);
    l.clock.advance(29 * S);
    const late = (id: string, seq: number) =>
      server.backInDialog("INFO", inviteAtServer, answerOfServer, seq, { type: CHARGE, body: charge(id) });
    late("1", 1);
    await l.settle();
    server.response(200);
    const [, ended, charged] = l.events as { at: number }[];
    expect(charged!.at - ended!.at).toBe(29 * S);
    l.clock.advance(S);
    late("2", 2);
    await l.settle();
    server.response(481);
    const direct = { session: id, charges: [], channel: "direct" } as const;
    expect(await l.core.direct.charge("a", direct)).toMatchObject({ kind: "refused", refusal: { kind: "closed" } });
  });

  it("neither ends the reports of a move early nor late (RFC 6665 §4.2.1)", async () => {
    const l = await lab({
      servers: [{ id: "a" }, { id: "b", services: ["beer"] }],
      more: [{ id: "beer" }],
      session: { moveReportsS: 60 },
    });
    const { invite, answer } = await establish(l);
    const headers: [string, string][] = [
      ["Contact", l.client.contact],
      ["Refer-To", "<sip:beer@portal.com>"],
    ];
    l.client.inDialog("REFER", invite, answer, 2, { headers });
    l.client.response(200);
    l.client.answer(l.client.request("NOTIFY"), 200);
    const beer = l.server("b");
    const asked = beer.request("INVITE");
    l.clock.advance(5 * S);
    l.clock.setWall(byMs);
    l.clock.advance(S);
    beer.answer(asked, 180);
    const ringing = l.client.request("NOTIFY");
    expect(ringing.headers.get("subscription-state")).toBe("active;expires=54");
    l.client.answer(ringing, 200);
    l.clock.advance(53 * S);
    expect(l.client.inbox).toEqual([]);
    l.clock.advance(S);
    expect(l.client.request("NOTIFY").headers.get("subscription-state")).toBe("terminated;reason=timeout");
  });

  it("neither hurries nor delays probes", async () => {
    const l = await lab({ session: { probeS: 60 } });
    await establish(l);
    l.clock.advance(30 * S);
    l.clock.setWall(byMs);
    l.clock.advance(29 * S);
    expect(l.client.inbox).toEqual([]);
    l.clock.advance(S);
    l.client.request("OPTIONS");
  });

  it("leaves a session's day as it is, for its limits: that of its own times", async () => {
    const l = await lab({ service: { limits: { day: "1.50", currency: "EUR" } } });
    const { server, inviteAtServer, answerOfServer } = await establish(l);
    let seq = 0;
    const info = async () => {
      const filling = { type: CHARGE, body: charge(String(++seq)) };
      server.backInDialog("INFO", inviteAtServer, answerOfServer, seq, filling);
      await l.settle();
      const answer = server.inbox.shift();
      return answer && !answer.isRequest && answer.status;
    };
    expect(await info()).toBe(200);
    l.clock.setWall(byMs);
    expect(await info()).toBe(403);
    await pass(l, 11 * S); // read anew from the bill, where nothing is yet
    expect(await info()).toBe(403);
  });

  it("leaves a session in its month; the next one is in the month that the clock shows", async () => {
    const clock = new TestClock(Date.UTC(2026, 1, 1) - (byMs > 0 ? byMs / 2 : byMs / -2) * Math.sign(byMs));
    const l = await lab({ clock });
    const [before, after] = byMs > 0 ? ["2026-01", "2026-02"] : ["2026-02", "2026-01"];
    const first = await establish(l);
    l.clock.advance(5 * S);
    l.clock.setWall(byMs);
    l.client.inDialog("BYE", first.invite, first.answer, 2);
    first.server.answer(first.server.request("BYE"), 200);
    await l.settle();
    l.client.response(200);
    const second = await establish(l);
    l.client.inDialog("BYE", second.invite, second.answer, 2);
    second.server.answer(second.server.request("BYE"), 200);
    await l.settle();
    const entries = ends(l).map((event) => entryFor(event));
    expect(entries).toMatchObject([
      { ok: true, value: { month: before, durationMs: 5 * S } },
      { ok: true, value: { month: after, durationMs: 0 } },
    ]);
  });

  it("leaves the limit for requests of a source as it is", async () => {
    const l = await lab({ limits: { perSourcePerSecond: 2 }, clientTransport: "tcp" });
    for (let i = 0; i < 2; i++) l.client.invite();
    l.clock.setWall(byMs);
    l.client.invite();
    l.client.response(503);
    l.clock.advance(S);
    l.client.inbox.length = 0;
    l.client.invite();
    expect(l.client.inbox).toEqual([]);
  });
});

describe("a wall clock that shows another time whenever it is looked at", () => {
  /** What of a story costs money, and when each message came. */
  async function story(clock: TestClock, options: LabOptions = {}) {
    const l = await prepaid("5", { ...options, clock, service: { lateChargesS: 20 } });
    const { invite, answer, inviteAtServer: at, answerOfServer } = await establish(l);
    const server = l.server("a");
    await pass(l, 61 * S);
    server.backInDialog("INFO", at, answerOfServer, 1, { type: CHARGE, body: charge("1") });
    await pass(l, 62 * S);
    l.client.inDialog("BYE", invite, answer, 2);
    await pass(l, S);
    const messages = [l.client, server].map(({ inbox }) =>
      inbox.splice(0).map((m) => (m.isRequest ? m.method : m.status)),
    );
    server.answer(server.inbox.length > 0 ? server.request("BYE") : at, 200);
    await pass(l, 70 * S);
    return { messages, bill: l.events.map(costs), held: l.credit.held(), left: l.leftovers() };
  }
  const costs = (event: ChargingEvent) => [
    event.type,
    ...("durationMs" in event ? [event.durationMs] : []),
    ...("amount" in event ? [event.amount] : []),
    ...("charge" in event ? [event.charge] : []),
  ];

  it("leaves every message, hold and duration as it is", async () => {
    const sane = await story(new TestClock());
    expect(sane.bill.length).toBeGreaterThan(4);
    expect(await story(new Mad())).toEqual(sane);
  });
});

/** 0.10 EUR for each begun ten seconds; a hold is for a minute: 0.60. */
const prepaid = (balance: string, options: LabOptions = {}) =>
  lab({ clientTransport: "tcp", balance, tariff: { price: "0.10", incrementS: 10 }, credit: { warnS: 5 }, ...options });

const twoServices = () => ({
  portal: { domain: "portal.com" },
  listen: ["udp:192.0.2.1:5060"],
  services: ["service1", "beer"].map((id) => ({ id, tariff: "t" })),
  tariffs: [{ id: "t", currency: "EUR", price: "0.10" }],
  appServers: [{ id: "a", uri: "sip:192.0.2.100:5060", services: ["service1", "beer"] }],
  rules: [
    // biome-ignore lint/suspicious/noThenProperty: a rule says when and then
    { name: "asks for beer", when: { body: { "service.@name": "beer" } }, then: { service: "beer" } },
    // biome-ignore lint/suspicious/noThenProperty: a rule says when and then
    { name: "by name", then: {} },
  ],
  session: { probeS: 0 },
  health: { intervalS: 0 },
});
