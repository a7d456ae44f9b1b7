// biome-ignore-all lint/suspicious/noThenProperty: a rule says when and then
import { describe, expect, it } from "vitest";
import type { ChargingEvent } from "../../src/charging/events/events.ts";
import type { SipRequest } from "../../src/sip/message.ts";
import { establish, type Lab, type LabOptions, lab, type Peer } from "./harness.ts";

/*
 * Whatever an app server is answered with 200 for is on disk by then, also what a BYE brings that crosses another (M16;
 * decision 8).
 */

const CHARGE = "application/vnd.tollgate.charge+json";
const charge = (id: string, unitPrice = "7.00") => ({
  type: CHARGE,
  body: JSON.stringify({ charges: [{ id, item: "Corkage", unitPrice, currency: "EUR" }] }),
});
type Call = Awaited<ReturnType<typeof establish>>;

const nothing = { sessions: 0, requests: 0, legs: 0, legsByFlow: 0, transactions: 0, timers: 0 };
const made = (l: Lab) => l.events.flatMap((event) => (event.type === "charge.made" ? [event.charge.id] : []));
const types = (l: Lab): ChargingEvent["type"][] => l.events.map(({ type }) => type);
const statuses = (peer: Peer) => peer.inbox.flatMap((message) => (message.isRequest ? [] : [message.status]));

const byeOf = ({ server, inviteAtServer, answerOfServer }: Call, filling = charge("x"), seq = 1) =>
  server.backInDialog("BYE", inviteAtServer, answerOfServer, seq, filling);

/**
 * Nothing is said before the disk has it; then 200, and both the charge and the end of the session are on record, in
 * this order.
 */
async function isTaken(l: Lab, server: Peer) {
  expect(statuses(server)).toEqual([]);
  await l.settle();
  server.response(200);
  expect(made(l)).toEqual(["x"]);
}

async function allOver(l: Lab) {
  l.clock.advance(130_000);
  await l.settle();
  expect(l.leftovers()).toEqual(nothing);
}

describe("a BYE of the app server that crosses another takes its charges with it to the bill (M16)", () => {
  it.each([200, 481])("the client's: also where the relay's BYE is answered with %i", async (status) => {
    const l = await lab();
    const call = await establish(l);
    l.client.inDialog("BYE", call.invite, call.answer, 2);
    const bye = call.server.request("BYE");
    byeOf(call);
    await isTaken(l, call.server);
    expect(l.client.inbox).toEqual([]);
    call.server.answer(bye, status);
    await l.settle();
    l.client.response(200);
    expect(types(l)).toEqual(["session.started", "charge.made", "session.ended"]);
    expect(l.events[1]).toMatchObject({ channel: "bye" });
    await allOver(l);
  });

  it("whose answer comes before the disk has the charge: the end waits for it", async () => {
    const l = await lab();
    const call = await establish(l);
    l.client.inDialog("BYE", call.invite, call.answer, 2);
    const bye = call.server.request("BYE");
    byeOf(call);
    call.server.answer(bye, 200, charge("y", "1.00"));
    await l.settle();
    call.server.response(200);
    l.client.response(200);
    expect(made(l)).toEqual(["x", "y"]);
    expect(types(l).at(-1)).toBe("session.ended");
    await allOver(l);
  });

  it("where the client's crosses its own, which is under way", async () => {
    const l = await lab();
    const call = await establish(l);
    byeOf(call);
    const bye = l.client.request("BYE");
    l.client.inDialog("BYE", call.invite, call.answer, 2);
    l.client.response(200);
    expect(statuses(call.server)).toEqual([]);
    l.client.answer(bye, 481);
    await l.settle();
    call.server.response(200);
    expect(types(l)).toEqual(["session.started", "charge.made", "session.ended"]);
    await allOver(l);
  });

  it.each<[string, (l: Lab, call: Call) => void, LabOptions]>([
    ["the greatest duration is over", (l) => l.clock.advance(600_000), { session: { maxDurationS: 600 } }],
    ["the relay stops", (l) => l.core.sessions.values()[0]!.end({ code: "stops" }), {}],
    ["the client's end is gone", (l) => l.core.sessions.values()[0]!.lost("client", "no answer to a probe"), {}],
  ])("the relay's own: %s", async (_, end, options) => {
    const l = await lab(options);
    const call = await establish(l);
    end(l, call);
    const bye = call.server.request("BYE");
    byeOf(call);
    await isTaken(l, call.server);
    call.server.answer(bye, 200);
    l.client.answer(l.client.request("BYE"), 200);
    await l.settle();
    expect(types(l)).toEqual(["session.started", "charge.made", "session.ended"]);
    await allOver(l);
  });

  it("the relay's own, for want of an ACK", async () => {
    const l = await lab();
    l.client.invite();
    const server = l.server("a");
    const inviteAtServer = server.request("INVITE");
    const answerOfServer = server.answer(inviteAtServer, 200);
    l.client.deaf = true;
    l.clock.advance(32_500);
    server.request("ACK");
    const bye = server.request("BYE");
    server.inbox.length = 0; // it came again meanwhile
    server.backInDialog("BYE", inviteAtServer, answerOfServer, 1, charge("x"));
    await isTaken(l, server);
    server.answer(bye, 200);
    await allOver(l);
  });

  it("the relay's own to an app server that lost the race of a fork", async () => {
    const l = await lab({ servers: [{ id: "a" }, { id: "b" }], service: { fork: "first" } });
    const invite = l.client.invite();
    const [a, b] = [l.server("a"), l.server("b")];
    const atB = b.request("INVITE");
    a.answer(a.request("INVITE"), 200);
    l.client.ack(invite, l.client.response(200));
    const answerOfB = b.answer(atB, 200);
    b.request("ACK");
    const bye = b.request("BYE");
    b.backInDialog("BYE", atB, answerOfB, 1, charge("x"));
    await isTaken(l, b);
    b.answer(bye, 200);
    await l.settle();
    expect(l.core.sessions.size).toBe(1);
  });

  it("and the CANCEL of an app server whose 200 was lost on the way", async () => {
    const l = await lab();
    const invite = l.client.invite();
    const server = l.server("a");
    const at = server.request("INVITE");
    const ringing = server.answer(at, 180);
    l.client.response(180);
    l.client.cancel(invite);
    server.request("CANCEL");
    server.backInDialog("BYE", at, ringing, 1, charge("x"));
    await isTaken(l, server);
  });

  it("the relay's own to the app server left at a change of service", async () => {
    const services = ["service1", "beer"].map((id) => ({ id, tariff: "t" }));
    const l = await lab({
      servers: [{ id: "a" }, { id: "b" }],
      config: {
        portal: { domain: "portal.com" },
        services,
        tariffs: [{ id: "t", currency: "EUR", price: "0.10" }],
        appServers: [
          { id: "a", uri: "sip:192.0.2.100:5060", services: ["service1"] },
          { id: "b", uri: "sip:192.0.2.101:5060", services: ["beer"] },
        ],
        rules: [
          ...services.map(({ id }) => ({
            name: id,
            when: { body: { "service.@name": id } },
            then: { service: id },
          })),
          { name: "by name", then: {} },
        ],
        health: { intervalS: 0 },
      },
    });
    const call = await establish(l);
    const change = l.client.inDialog("INVITE", call.invite, call.answer, 2, {
      type: "application/vnd.tollgate.service+xml",
      body: '<service name="beer"/>',
    });
    const b = l.server("b");
    b.answer(b.request("INVITE"), 200);
    l.client.ack(change, l.client.response(200));
    const bye = call.server.request("BYE");
    byeOf(call);
    await isTaken(l, call.server);
    call.server.answer(bye, 200);
    await l.settle();
    expect(l.events.find(({ type }) => type === "charge.made")?.session.service).toBe("service1");
    expect(l.core.sessions.size).toBe(1);
  });

  it("is answered with 500 where the disk does not take it, and is on the bill all the same later (decision 8)", async () => {
    const l = await lab();
    const call = await establish(l);
    l.client.inDialog("BYE", call.invite, call.answer, 2);
    const bye = call.server.request("BYE");
    l.breakRecorder(true);
    byeOf(call);
    await l.settle();
    call.server.response(500);
    call.server.answer(bye, 200);
    await l.settle();
    l.client.response(500);
    l.breakRecorder(false);
    l.clock.advance(5_000);
    await l.settle();
    expect(made(l)).toEqual(["x"]);
    expect(types(l)).toContain("session.ended");
  });

  it.each([
    ["the one that crosses", 400, { type: CHARGE, body: "{" }],
    ["the one that crosses", 403, charge("x", "99.00")],
    ["the one that hangs up", 400, { type: CHARGE, body: "{" }],
    ["the one that hangs up", 403, charge("x", "99.00")],
  ])("hears that its charges are refused, and the session ends: %s, %i", async (which, status, filling) => {
    const l = await lab({ service: { limits: { charge: "10", currency: "EUR" } } });
    const call = await establish(l);
    if (which === "the one that crosses") {
      l.client.inDialog("BYE", call.invite, call.answer, 2);
      const bye = call.server.request("BYE");
      byeOf(call, filling);
      call.server.answer(bye, 200);
    } else {
      byeOf(call, filling);
      l.client.answer(l.client.request("BYE"), 200);
    }
    await l.settle();
    expect(call.server.response(status).headers.get("warning")).toMatch(/^399 /);
    expect(types(l).sort()).toEqual(["charge.refused", "session.ended", "session.started"]);
    await allOver(l);
  });
});

describe("a session that fails by a fault of the relay", () => {
  it("ends for both, and what the app server charges in its answer to BYE counts (decision 13)", async () => {
    const l = await lab();
    const call = await establish(l);
    l.core.sessions.values()[0]!.charges.take = () => {
      throw new Error("a fault");
    };
    call.server.backInDialog("INFO", call.inviteAtServer, call.answerOfServer, 1, charge("y"));
    call.server.answer(call.server.request("BYE"), 200, charge("x"));
    l.client.answer(l.client.request("BYE"), 200);
    await l.settle();
    expect(made(l)).toEqual(["x"]);
    expect(types(l)).toContain("session.ended");
    await allOver(l);
  });

  it("answers whoever had hung up, and lives on where the end cannot be put on record", async () => {
    const l = await lab();
    const call = await establish(l);
    l.client.inDialog("BYE", call.invite, call.answer, 2);
    const bye = call.server.request("BYE");
    l.breakRecorder(true);
    l.core.sessions.values()[0]!.charges.take = () => {
      throw new Error("a fault");
    };
    call.server.backInDialog("INFO", call.inviteAtServer, call.answerOfServer, 1, charge("y"));
    await l.settle();
    l.client.response(500);
    l.breakRecorder(false);
    call.server.answer(bye, 200, charge("x"));
    l.clock.advance(5_000);
    await l.settle();
    expect(types(l).sort()).toEqual(["charge.made", "session.ended", "session.started"]);
    await allOver(l);
  });
});

describe("a prepaid user's", () => {
  const SECONDS = { price: "0.10", incrementS: 10 };
  it.each([
    ["10", 200, ["x"]],
    ["5", 402, []],
  ])("balance of %s covers what the crossing BYE charges, or it is told: %i", async (balance, status, ids) => {
    const l = await lab({ clientTransport: "tcp", balance, tariff: SECONDS });
    const c = await establish(l);
    l.client.inDialog("BYE", c.invite, c.answer, 2);
    const bye = c.server.request("BYE");
    byeOf(c);
    c.server.answer(bye, 200);
    await l.settle();
    await l.settle();
    c.server.response(status as number);
    l.client.response(200);
    expect(made(l)).toEqual(ids);
    expect(types(l).at(-1)).toBe("session.ended");
  });

  it("BYE crosses the relay's when the money is used up", async () => {
    const l = await lab({ clientTransport: "tcp", balance: "0.60", tariff: SECONDS, credit: { warnS: 0 } });
    const c = await establish(l);
    for (let i = 0; i < 61; i++) {
      l.clock.advance(1_000);
      await l.settle();
    }
    const bye = c.server.request("BYE");
    c.server.inbox.length = 0; // it came again meanwhile
    await l.credit.pay("alice", "20");
    byeOf(c);
    expect(statuses(c.server)).toEqual([]);
    await l.settle();
    await l.settle();
    c.server.response(200);
    c.server.answer(bye, 200);
    l.client.answer(l.client.request("BYE"), 200);
    await l.settle();
    expect(made(l)).toEqual(["x"]);
    expect(types(l).at(-1)).toBe("session.ended");
  });
});

describe("charges in a dialog that is over", () => {
  async function over(options: LabOptions = {}) {
    const l = await lab(options);
    const call = await establish(l);
    l.client.inDialog("BYE", call.invite, call.answer, 2);
    call.server.answer(call.server.request("BYE"), 200);
    await l.settle();
    l.client.response(200);
    return { l, call };
  }

  it.each(["BYE", "INFO", "MESSAGE"])("are taken as in INFO: %s (M15)", async (method) => {
    const { l, call } = await over();
    call.server.backInDialog(method, call.inviteAtServer, call.answerOfServer, 1, charge("x"));
    await isTaken(l, call.server);
  });

  it.each([
    ["without charges", {}, {}],
    ["when the time for late charges is over", { charging: { lateChargesS: 0 } }, charge("x")],
  ])("and a BYE gets 481 %s", async (_, options, filling) => {
    const { l, call } = await over(options);
    call.server.backInDialog("BYE", call.inviteAtServer, call.answerOfServer, 1, filling);
    await l.settle();
    call.server.response(481);
    expect(made(l)).toEqual([]);
  });
});

describe("charges in any other message of the app server are not passed on, nor answered with 200 without being taken", () => {
  it.each(["MESSAGE", "INFO of another package"])("%s: taken as in INFO (M14)", async (what) => {
    const l = await lab();
    const call = await establish(l, { inviteHeaders: [["Recv-Info", "menu"]] });
    const headers: [string, string][] = what === "MESSAGE" ? [] : [["Info-Package", "menu"]];
    const method = what.split(" ")[0]!;
    call.server.backInDialog(method, call.inviteAtServer, call.answerOfServer, 1, { ...charge("x"), headers });
    await isTaken(l, call.server);
    expect(l.client.inbox).toEqual([]);
  });

  it.each(["INVITE", "UPDATE", "OPTIONS", "NOTIFY", "REFER", "SUBSCRIBE", "PUBLISH", "UNHEARD"])(
    "%s: 415 (RFC 3261 §21.4.13)",
    async (method) => {
      const l = await lab();
      const call = await establish(l);
      call.server.backInDialog(method, call.inviteAtServer, call.answerOfServer, 1, charge("x"));
      expect(call.server.response(415).headers.get("accept")).toContain(`${CHARGE};q=0`);
      expect(l.client.inbox).toEqual([]);
      expect(l.core.counters.chargesRefused).toBe(1);
    },
  );

  it("OPTIONS outside of any dialog: 415", async () => {
    const l = await lab();
    const call = await establish(l);
    const to = "<sip:portal.com>";
    l.server("a").within("OPTIONS", "<sip:shop@192.0.2.100>;tag=o", to, "o1", "sip:portal.com", 1, charge("x"));
    await l.settle();
    call.server.response(415);
  });

  const refused = (l: Lab) => l.events.flatMap((event) => (event.type === "charge.refused" ? [event.reason] : []));

  it("in its answers to INVITE: on record as refused", async () => {
    const l = await lab();
    l.client.invite();
    const server = l.server("a");
    server.answer(server.request("INVITE"), 200, charge("x"));
    await l.settle();
    expect(l.client.response(200).body).toHaveLength(0);
    expect(refused(l)).toEqual([expect.stringContaining("200 to INVITE")]);
  });

  it.each(["INVITE", "UPDATE", "MESSAGE"])("in its answers to %s: on record as refused", async (method) => {
    const l = await lab();
    const call = await establish(l);
    l.client.inDialog(method, call.invite, call.answer, 2, { body: "v=0" });
    call.server.answer(call.server.request(method), 200, charge("x"));
    await l.settle();
    expect(l.client.response(200).body).toHaveLength(0);
    expect(refused(l)).toEqual([expect.stringContaining(`200 to ${method}`)]);
  });

  it("in its ACK of a change: on record as refused, and the client sees none of it", async () => {
    const l = await lab();
    const call = await establish(l);
    const change = call.server.backInDialog("INVITE", call.inviteAtServer, call.answerOfServer, 1, { body: "v=0" });
    l.client.answer(l.client.request("INVITE") as SipRequest, 200);
    const answer = call.server.response(200);
    const ack = call.server.backInDialog("ACK", call.inviteAtServer, call.answerOfServer, 1, charge("x"));
    expect([ack.cseq?.number, answer.status]).toEqual([change.cseq?.number, 200]);
    await l.settle();
    expect(l.client.request("ACK").body).toHaveLength(0);
    expect(refused(l)).toEqual([expect.stringContaining("ACK")]);
  });
});
