// biome-ignore-all lint/suspicious/noThenProperty: a rule says when and then
import { describe, expect, it } from "vitest";
import type { SipRequest, SipResponse } from "../../src/sip/message.ts";
import { establish, type Lab, type LabOptions, lab } from "./harness.ts";

/* 3xx of an app server: it must not lead a client past sign-in, clock and bill (RFC 3261 §16.7, §21.3). */

const OUTSIDE = "<sip:wine@203.0.113.9:5060>";
const nothing = { sessions: 0, requests: 0, legs: 0, legsByFlow: 0, transactions: 0, timers: 0 };

/** a offers service1, b beer, c both. */
function portal(options: LabOptions = {}): Promise<Lab> {
  return lab({
    servers: [{ id: "a" }, { id: "b", services: ["beer"] }, { id: "c", services: ["service1", "beer"], priority: 50 }],
    more: [{ id: "beer", tariff: "t" }],
    ...options,
  });
}

type Redirection = { status?: number; contacts: string[]; invite?: Parameters<Lab["client"]["invite"]>[0] };

/** The client's INVITE, which app server a answers by a redirection. */
function redirected(l: Lab, { status = 302, contacts, invite = {} }: Redirection): SipRequest {
  const request = l.client.invite({ body: "v=0", ...invite });
  const at = l.server("a").request("INVITE");
  l.server("a").answer(at, status, { headers: contacts.map((contact) => ["Contact", contact]) });
  l.server("a").request("ACK");
  return request;
}

/** The app server takes it, and the session is played to its end. */
async function served(l: Lab, id: string, invite: SipRequest): Promise<{ at: SipRequest; answer: SipResponse }> {
  await l.settle();
  const server = l.server(id);
  const at = server.request("INVITE");
  server.answer(at, 200, { body: "v=1" });
  await l.settle();
  const answer = l.client.response(200);
  l.client.ack(invite, answer);
  server.request("ACK");
  await l.settle();
  l.clock.advance(61_000);
  l.client.inDialog("BYE", invite, answer, 2);
  server.answer(server.request("BYE"), 200);
  await l.settle();
  l.client.response(200);
  return { at, answer };
}

const started = (l: Lab) => l.events.filter(({ type }) => type === "session.started").map(({ session }) => session);

describe("a redirection in answer to INVITE", () => {
  it.each([
    ["another app server's address", "<sip:192.0.2.102:5060>"],
    ["its address with a user of its own", "<sip:pool7@192.0.2.102>"],
    ["the service that was asked for", "<sip:service1@portal.com>"],
  ])("to %s is followed by the relay, and charged", async (_what, contact) => {
    // One is asked only: without the redirection c is nobody's next.
    const l = await portal({ config: { limits: { branches: 1 } } });
    const invite = redirected(l, { contacts: [contact] });
    const { at } = await served(l, "c", invite);
    expect(at.headers.all("p-asserted-identity")).toEqual(["<sip:alice@portal.com>"]);
    expect(at.body.toString()).toBe("v=0");
    expect(started(l)).toMatchObject([{ user: "alice", service: "service1", appServer: "c" }]);
    expect(l.events.at(-1)).toMatchObject({ type: "session.ended", durationMs: 61_000 });
    l.clock.advance(70_000);
    expect(l.leftovers()).toEqual(nothing);
  });

  it("to another service of the portal goes there by the rules, with that one's tariff, and the client is told which", async () => {
    const l = await portal({
      servers: [{ id: "a" }, { id: "b", services: ["beer"] }],
      more: [{ id: "beer", tariff: "pint" }],
      tariffs: [{ id: "pint", currency: "EUR", setupFee: "4.50" }],
    });
    const invite = redirected(l, { contacts: [OUTSIDE, "<sip:beer@portal.com>"] });
    const { at, answer } = await served(l, "b", invite);
    expect(at.headers.get("tollgate-service")).toBe("beer");
    expect(answer.headers.get("tollgate-service")).toBe("beer");
    expect(started(l)).toMatchObject([{ service: "beer", appServer: "b", tariff: { id: "pint" } }]);
    expect(l.core.counters).toMatchObject({ requests: 1, redirected: 1, rejected: 0, established: 1 });
  });

  it("to an app server's address with another of its services is a request for that one, at that one", async () => {
    const l = await portal({
      servers: [{ id: "a" }, { id: "b", services: ["beer"] }, { id: "c", services: ["beer"], priority: 1 }],
    });
    const invite = redirected(l, { contacts: ["<sip:beer@192.0.2.101>"] });
    await served(l, "b", invite);
    expect(started(l)).toMatchObject([{ service: "beer", appServer: "b" }]);
  });

  it("of several the one with the best q counts (RFC 3261 §20.10)", async () => {
    const l = await portal({
      servers: [{ id: "a" }, { id: "b", services: ["beer"] }, { id: "c", services: ["wine"] }],
      more: [{ id: "beer" }, { id: "wine" }],
    });
    const invite = redirected(l, { contacts: ["<sip:beer@portal.com>;q=0.3, <sip:wine@portal.com>;q=0.7"] });
    await served(l, "c", invite);
  });

  it.each([
    ["elsewhere", [OUTSIDE]],
    ["nowhere", []],
    ["itself", ["<sip:192.0.2.100:5060>"]],
    ["a service that nobody offers", ["<sip:none@portal.com>"]],
    ["an app server that does not offer it", ["<sip:192.0.2.101:5060>"]],
    ["another scheme", ["<tel:+491234>", "<https://inside.example/>"]],
    ["what cannot be read", ["sip:, <>", "*"]],
  ])("to %s is a refusal: 480, and no address", async (_what, contacts) => {
    const l = await portal({ servers: [{ id: "a" }, { id: "b", services: ["beer"] }] });
    const invite = redirected(l, { contacts });
    const refused = l.client.response(480);
    expect(refused.headers.has("contact")).toBe(false);
    l.client.ack(invite, refused);
    expect(l.server("b").inbox).toEqual([]);
    l.clock.advance(70_000);
    expect(l.leftovers()).toEqual(nothing);
  });

  it.each([305, 380, 399])("with %i is a refusal, wherever it leads", async (status) => {
    const l = await portal();
    const invite = redirected(l, { status, contacts: ["<sip:beer@portal.com>"] });
    // c offers the service too and is asked as without it.
    l.server("c").answer(l.server("c").request("INVITE"), 404);
    l.client.ack(invite, l.client.response(480));
    expect(l.server("b").inbox).toEqual([]);
  });

  it("leads round in circles no more than once", async () => {
    const l = await portal({ servers: [{ id: "a", services: ["service1", "beer"] }] });
    const invite = redirected(l, { contacts: ["<sip:beer@portal.com>"] });
    const again = l.server("a").request("INVITE");
    expect(again.headers.get("tollgate-service")).toBe("beer");
    l.server("a").answer(again, 302, { headers: [["Contact", "<sip:service1@portal.com>"]] });
    l.client.ack(invite, l.client.response(480));
  });

  it("is followed five times at most", async () => {
    const more = "abcdefgh".split("").map((id) => ({ id: `s-${id}` }));
    const l = await lab({ servers: [{ services: ["service1", ...more.map(({ id }) => id)] }], more });
    redirected(l, { contacts: ["<sip:s-a@portal.com>"] });
    for (const { id } of more.slice(1, 6)) {
      const at = l.server("a").request("INVITE");
      l.server("a").answer(at, 302, { headers: [["Contact", `<sip:${id}@portal.com>`]] });
      l.server("a").request("ACK");
    }
    l.client.response(480);
    expect(l.server("a").inbox).toEqual([]);
  });

  it("is not followed past the app servers that a rule allows, nor a rule that refuses", async () => {
    const rules = [
      { name: "no beer", when: { uri: "sip:beer@.*" }, then: { reject: 403 } },
      { name: "only a", when: {}, then: { service: "service1", appServers: ["a"] } },
    ];
    const l = await portal({ config: { rules } });
    redirected(l, { contacts: ["<sip:beer@portal.com>", "<sip:192.0.2.102:5060>"] });
    l.client.response(480);
    expect([...l.server("b").inbox, ...l.server("c").inbox]).toEqual([]);
  });

  it("is not followed where the client or the operator says so (RFC 3841 §9.1)", async () => {
    const wish = await portal({ servers: [{ id: "a" }, { id: "b", services: ["beer"] }] });
    redirected(wish, {
      contacts: ["<sip:beer@portal.com>"],
      invite: { headers: [["Request-Disposition", "no-recurse"]] },
    });
    wish.client.response(480);
    for (const [redirects, status] of [
      ["off", 480],
      ["service", 480],
    ] as const) {
      const l = await portal({ session: { redirects }, servers: [{ id: "a" }, { id: "b", services: ["beer"] }] });
      redirected(l, { contacts: ["<sip:beer@portal.com>"] });
      l.client.response(status);
    }
  });

  it("is taken back by CANCEL like any request", async () => {
    const l = await portal({ servers: [{ id: "a" }, { id: "b", services: ["beer"] }] });
    const invite = redirected(l, { contacts: ["<sip:beer@portal.com>"] });
    const at = l.server("b").request("INVITE");
    l.server("b").answer(at, 180);
    l.client.response(180);
    l.client.cancel(invite);
    l.client.response(200);
    l.server("b").answer(l.server("b").request("CANCEL"), 200);
    l.server("b").answer(at, 487);
    l.client.ack(invite, l.client.response(487));
    l.clock.advance(70_000);
    expect(l.leftovers()).toEqual(nothing);
  });

  it("costs a prepaid user one hold, not two", async () => {
    const l = await portal({
      balance: "0.15",
      credit: { intervalS: 60 },
      servers: [{ id: "a" }, { id: "b", services: ["beer"] }],
    });
    const invite = l.client.invite();
    await l.settle();
    const at = l.server("a").request("INVITE");
    l.server("a").answer(at, 302, { headers: [["Contact", "<sip:beer@portal.com>"]] });
    await l.settle();
    const there = l.server("b").request("INVITE");
    expect(l.credit.held()).toEqual([0.1]);
    l.server("b").answer(there, 486);
    await l.settle();
    l.client.ack(invite, l.client.response(486));
    expect(l.credit.available()).toBe(0.15);
  });

  it("of one branch of a fork is followed when the others have refused", async () => {
    const l = await portal({
      service: { fork: "first" },
      servers: [{ id: "a" }, { id: "b" }, { id: "c", services: ["beer"] }],
    });
    const invite = redirected(l, { contacts: ["<sip:beer@portal.com>"] });
    expect(l.server("c").inbox).toEqual([]);
    l.server("b").answer(l.server("b").request("INVITE"), 486);
    l.server("b").request("ACK");
    await served(l, "c", invite);
  });

  it("of one branch means nothing where another declines for all, or answers", async () => {
    for (const status of [603, 200]) {
      const l = await portal({
        service: { fork: "first" },
        servers: [{ id: "a" }, { id: "b" }, { id: "c", services: ["beer"] }],
      });
      redirected(l, { contacts: ["<sip:beer@portal.com>"] });
      l.server("b").answer(l.server("b").request("INVITE"), status);
      l.client.response(status);
      expect(l.server("c").inbox).toEqual([]);
    }
  });
});

describe("a redirection inside a session", () => {
  it.each(["INVITE", "UPDATE", "MESSAGE", "INFO", "OPTIONS"])(
    "in answer to %s is a refusal for either end",
    async (method) => {
      const l = await portal();
      const call = await establish(l);
      l.client.inDialog(method, call.invite, call.answer, 2);
      l.server("a").answer(l.server("a").request(method), 302, { headers: [["Contact", OUTSIDE]] });
      const refused = l.client.response(480);
      expect(refused.headers.has("contact")).toBe(false);
      l.server("a").inbox.length = 0;
      l.server("a").backInDialog(method, call.inviteAtServer, call.answerOfServer, 1);
      l.client.answer(l.client.request(method), 302, { headers: [["Contact", OUTSIDE]] });
      expect(l.server("a").response(480).headers.has("contact")).toBe(false);
      expect(l.core.sessions.size).toBe(1);
    },
  );

  it("of whom a change of service asks is followed to who offers it too, else a refusal (M20)", async () => {
    const servers = [
      { id: "a" },
      { id: "b", services: ["beer"] },
      { id: "c", services: ["beer"], priority: 50, capacity: 1 },
    ];
    const change = { body: '<service name="beer"/>', type: "application/vnd.tollgate.service+xml" };
    for (const [contact, followed] of [
      ["<sip:192.0.2.102:5060>", true],
      [OUTSIDE, false],
    ] as const) {
      const l = await portal({ servers, more: [{ id: "beer" }], config: { limits: { branches: 1 } } });
      const call = await establish(l);
      const again = l.client.inDialog("INVITE", call.invite, call.answer, 2, change);
      l.server("b").answer(l.server("b").request("INVITE"), 302, { headers: [["Contact", contact]] });
      await l.settle();
      if (!followed) {
        expect(l.client.response(480).headers.has("contact")).toBe(false);
        expect([...l.core.sessions.values()].map(({ facts }) => facts.appServer)).toEqual(["a"]);
        continue;
      }
      l.server("c").answer(l.server("c").request("INVITE"), 200);
      await l.settle();
      l.client.ack(again, l.client.response(200));
      l.server("c").request("ACK");
      await l.settle();
      expect(started(l).length + l.events.filter(({ type }) => type === "session.changed").length).toBe(2);
      l.server("a").answer(l.server("a").request("BYE"), 200);
      await l.settle();
      expect([...l.core.sessions.values()].map(({ facts }) => facts.appServer)).toEqual(["c"]);
    }
  });
});

describe("a redirection in a move by REFER (M23)", () => {
  it.each([
    ["is followed", "<sip:192.0.2.102:5060>", true],
    ["is a refusal", OUTSIDE, false],
  ])("%s: %s", async (_what, contact, followed) => {
    const l = await portal({ config: { limits: { branches: 1 } } });
    const call = await establish(l);
    l.client.inDialog("REFER", call.invite, call.answer, 2, {
      headers: [
        ["Contact", l.client.contact],
        ["Refer-To", "<sip:beer@portal.com>"],
      ],
    });
    l.client.response(200);
    l.client.answer(l.client.request("NOTIFY"), 200);
    l.server("b").answer(l.server("b").request("INVITE"), 302, { headers: [["Contact", contact]] });
    await l.settle();
    if (followed) {
      l.server("c").answer(l.server("c").request("INVITE"), 200);
      l.client.answer(l.client.request("INVITE"), 200, { tag: "second" });
      l.client.request("ACK");
      expect(l.client.request("NOTIFY").body.toString()).toMatch(/^SIP\/2\.0 200/);
    } else {
      const report = l.client.request("NOTIFY").body.toString();
      expect(report).toBe("SIP/2.0 480 Temporarily Unavailable\r\n");
    }
  });
});

it("485 names no address but the portal's own (RFC 3261 §21.4.23)", async () => {
  const l = await portal({ servers: [{ id: "a" }] });
  redirected(l, { status: 485, contacts: [`${OUTSIDE}, "Beer" <sip:beer@portal.com>`, "<sip:192.0.2.100>"] });
  expect(l.client.response(485).headers.all("contact")).toEqual(['"Beer" <sip:beer@portal.com>']);
});
