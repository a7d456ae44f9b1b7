import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { createInProcessBus } from "../../src/bus/in-process.ts";
import { startBilling } from "../../src/charging/billing/billing.ts";
import { newAppServerKey } from "../../src/directory/app-server-keys.ts";
import { Headers, SipRequest, type SipResponse } from "../../src/sip/message.ts";
import { systemRandom } from "../../src/support/random.ts";
import { MemoryBilling } from "../charging/memory-store.ts";
import { silent } from "../charging/samples.ts";
import { establish, type Lab, lab, type Peer } from "./harness.ts";

const CHARGE = "application/vnd.tollgate.charge+json";
const HOUR = 3_600_000;
const charge = (id: string, unitPrice = "12.50") =>
  JSON.stringify({ charges: [{ id, item: "Riesling", unitPrice, quantity: "2", currency: "EUR" }] });

const key = (appServer: string) =>
  newAppServerKey({ appServer, portalRealm: "portal.com", md5: true, now: 0, random: systemRandom });
const ofA = key("a");
const ofB = key("b");
const keys = [ofA.key, ofB.key];

let messages = 0;

/** A MESSAGE outside of any dialog (RFC 3428). */
function message(
  peer: Peer,
  headers: readonly [string, string][],
  body = charge("late-1"),
  { type = CHARGE, uri = "sip:charges@portal.com" } = {},
): SipRequest {
  const n = ++messages;
  const fields = new Headers()
    .add("Via", `SIP/2.0/UDP ${peer.address}:${peer.port};branch=z9hG4bK-m${n}`)
    .add("From", `<sip:shop@${peer.address}>;tag=m${n}`)
    .add("To", `<${uri}>`)
    .add("Call-ID", `m${n}`)
    .add("CSeq", "1 MESSAGE")
    .add("Max-Forwards", "70");
  for (const [name, value] of headers) fields.add(name, value);
  fields.add("Content-Type", type);
  const request = new SipRequest("MESSAGE", uri, fields, Buffer.from(body));
  peer.send(request);
  return request;
}

/** Digest by the text of RFC 7616 §3.4.1, for the last of the challenges: MD5. */
function credentials(challenge: SipResponse, who: typeof ofA, secret = who.secret): [string, string] {
  const line = challenge.headers.all("www-authenticate").at(-1)!;
  const param = (name: string) => new RegExp(`${name}="([^"]*)"`).exec(line)![1]!;
  const h = (text: string) => createHash("md5").update(text).digest("hex");
  const uri = "sip:charges@portal.com";
  const ha1 = h(`${who.key.id}:${param("realm")}:${secret}`);
  const response = h(`${ha1}:${param("nonce")}:00000001:c0:auth:${h(`MESSAGE:${uri}`)}`);
  return [
    "Authorization",
    `Digest username="${who.key.id}", realm="${param("realm")}", nonce="${param("nonce")}", uri="${uri}", response="${response}", algorithm=MD5, qop=auth, nc=00000001, cnonce="c0"`,
  ];
}

/** Sends it, is challenged, and sends it again with credentials; returns the answer's status and reason. */
async function report(
  l: Lab,
  peer: Peer,
  session: [string, string],
  options: { who?: typeof ofA; body?: string; type?: string } = {},
) {
  message(peer, [session], options.body, options);
  const challenge = peer.response(401);
  expect(challenge.headers.get("www-authenticate")).toContain('realm="charges.portal.com"');
  message(peer, [session, credentials(challenge, options.who ?? ofA)], options.body, options);
  await l.settle();
  const answer = peer.inbox.shift() as SipResponse;
  return { status: answer.status, reason: answer.reason, answer };
}

async function ended(l: Lab) {
  const call = await establish(l);
  const { invite, answer, server, inviteAtServer } = call;
  const session = inviteAtServer.headers.get("tollgate-session")!;
  l.clock.advance(60_000);
  l.client.inDialog("BYE", invite, answer, 2);
  server.answer(server.request("BYE"), 200);
  await l.settle();
  l.client.response(200);
  const named: [string, string] = ["Tollgate-Session", session];
  return { ...call, session, named };
}

/** Bills what a relay has put on record. */
async function billed(l: Lab, store = l.billing) {
  const bus = createInProcessBus({ clock: l.clock, log: silent });
  const billing = await startBilling({ bus, store: { billing: store }, clock: l.clock, log: silent });
  await bus.publish(l.events);
  await billing.stop();
  await bus.close();
}

const charges = (l: Lab) => l.events.filter((event) => event.type === "charge.made");

describe("charges after the session has ended, by MESSAGE (M15; RFC 3428)", () => {
  it("are put on record, then answered with 200; the same id counts once", async () => {
    const l = await lab({ keys });
    const { server, named } = await ended(l);
    expect(await report(l, server, named)).toMatchObject({ status: 200 });
    expect(charges(l)).toMatchObject([
      { channel: "message", charge: { id: "late-1" }, session: { id: named[1], user: "alice", lateChargesMs: HOUR } },
    ]);
    expect(await report(l, server, named)).toMatchObject({ status: 200 });
    expect(charges(l)).toHaveLength(1);
  });

  it("may name the session by In-Reply-To with the Call-ID of the relay's dialog (RFC 3261 §20.21)", async () => {
    const l = await lab({ keys });
    const { server, inviteAtServer } = await ended(l);
    expect(await report(l, server, ["In-Reply-To", inviteAtServer.callId])).toMatchObject({ status: 200 });
    expect(charges(l)).toHaveLength(1);
  });

  it("are taken while the session runs too, against the same limits as INFO", async () => {
    const l = await lab({ keys, service: { limits: { session: "40", currency: "EUR" } } });
    const { server, inviteAtServer, answerOfServer } = await establish(l);
    const named: [string, string] = ["Tollgate-Session", inviteAtServer.headers.get("tollgate-session")!];
    expect(await report(l, server, named)).toMatchObject({ status: 200 });
    server.backInDialog("INFO", inviteAtServer, answerOfServer, 1, { body: charge("c2"), type: CHARGE });
    await l.settle();
    expect(server.response(403).reason).toContain("50.00 EUR is over the service's limit of 40.00 EUR for a session");
    server.backInDialog("INFO", inviteAtServer, answerOfServer, 2, { body: charge("late-1"), type: CHARGE });
    await l.settle();
    server.response(200);
    expect(charges(l)).toHaveLength(1);
  });

  it("are refused from the moment when the window closes, and the refusal is on record", async () => {
    const l = await lab({ keys });
    const { server, named } = await ended(l);
    l.clock.advance(HOUR - 1);
    expect(await report(l, server, named)).toMatchObject({ status: 200 });
    l.clock.advance(1);
    const late = await report(l, server, named, { body: charge("late-2") });
    expect(late.status).toBe(410);
    expect(late.reason).toContain("takes no more charges since 2026-01-01T01:01:00");
    expect(l.events.at(-1)).toMatchObject({ type: "charge.refused", session: { id: named[1] } });
    expect(charges(l)).toHaveLength(1);
  });

  it.each([
    ["the service's own window", { service: { lateChargesS: 10 } }, 9_999, 1],
    ["none at all", { charging: { lateChargesS: 0 } }, 0, 0],
  ])("%s counts", async (_, options, inTimeMs, afterMs) => {
    const l = await lab({ keys, ...options });
    const { server, named } = await ended(l);
    if (inTimeMs > 0) {
      l.clock.advance(inTimeMs);
      expect(await report(l, server, named)).toMatchObject({ status: 200 });
    }
    await billed(l);
    l.clock.advance(afterMs);
    expect(await report(l, server, named, { body: charge("too-late") })).toMatchObject({ status: 410 });
  });

  it("are taken by a relay that was started again, by what is on the bill, until the same deadline", async () => {
    const store = new MemoryBilling();
    const first = await lab({ keys, billing: store, service: { limits: { session: "60", currency: "EUR" } } });
    const { server: before, named } = await ended(first);
    expect(await report(first, before, named)).toMatchObject({ status: 200 });
    await billed(first);

    const l = await lab({ keys, billing: store, service: { limits: { session: "60", currency: "EUR" } } });
    const server = l.server("a");
    expect(await report(l, server, named)).toMatchObject({ status: 200 }); // the same id: charged before
    expect(charges(l)).toHaveLength(0);
    const other = await report(l, server, named, { body: charge("late-1", "9.00") });
    expect(other).toMatchObject({
      status: 403,
      reason: "Charge refused: charge late-1 was made before with other terms",
    });
    expect(await report(l, server, named, { body: charge("late-2") })).toMatchObject({ status: 200 });
    expect(charges(l)).toMatchObject([{ charge: { id: "late-2" }, session: { user: "alice", service: "service1" } }]);
    const over = await report(l, server, named, { body: charge("late-3") }); // 25 before the start, 25 after it
    expect(over).toMatchObject({ status: 403 });
    const dollars = charge("late-4", "1").replace("EUR", "USD");
    expect((await report(l, server, named, { body: dollars })).reason).toContain("currency must be EUR, is USD");
    l.clock.advance(HOUR + 60_000);
    expect(await report(l, server, named, { body: charge("late-5", "1") })).toMatchObject({ status: 410 });
  });

  it("are nobody's but the app server's that the session was with", async () => {
    const l = await lab({ keys, servers: [{ id: "a" }, { id: "b", priority: 20 }] });
    const { server, named } = await ended(l);
    const foreign = await report(l, l.server("b"), named, { who: ofB });
    expect(foreign.status).toBe(404);
    expect(await report(l, l.server("b"), ["Tollgate-Session", "nonsense"], { who: ofB })).toMatchObject({
      status: 404,
      reason: foreign.reason,
    });
    message(server, [named]);
    const challenge = server.response(401);
    message(server, [named, credentials(challenge, ofA, "guessed")]);
    server.response(401);
    await l.settle();
    expect(charges(l)).toHaveLength(0);
  });

  it("need no key from the app server's own address where the operator trusts that, and only there", async () => {
    const l = await lab({ keys, charging: { trustAddress: true }, servers: [{ id: "a" }, { id: "b", priority: 20 }] });
    const { server, named } = await ended(l);
    message(server, [named]);
    await l.settle();
    server.response(200);
    expect(charges(l)).toHaveLength(1);
    message(l.server("b"), [named], charge("late-2"));
    await l.settle();
    l.server("b").response(401);
    message(server, [["Tollgate-Session", "nonsense"]]);
    await l.settle();
    server.response(401);
  });

  it("need no key there either while the session cannot be known, and are told to come again: 503", async () => {
    const l = await lab({ keys, charging: { trustAddress: true }, core: { caughtUp: async () => false } });
    const server = l.server("a");
    message(server, [["Tollgate-Session", "of-an-earlier-run"]]);
    await l.settle();
    expect(server.response(503).headers.get("retry-after")).toBe("5");
  });

  it("are answered 400, 415 or 500 where they cannot be read, are of another type, or do not reach the disk", async () => {
    const l = await lab({ keys });
    const { server, named } = await ended(l);
    expect(await report(l, server, named, { body: "{" })).toMatchObject({
      status: 400,
      reason: "Bad charge: body is not JSON",
    });
    const { status, answer } = await report(l, server, named, { type: "text/plain" });
    expect(status).toBe(415);
    expect(answer.headers.get("accept")).toContain(CHARGE);
    expect(await report(l, server, ["Subject", "no session"])).toMatchObject({ status: 400 });
    l.breakRecorder(true);
    expect(await report(l, server, named)).toMatchObject({ status: 500 });
    l.breakRecorder(false);
    expect(await report(l, server, named)).toMatchObject({ status: 200 });
  });

  it("are the only MESSAGE that the relay takes: any other gets 405 (RFC 3261 §21.4.6)", async () => {
    const l = await lab({ keys });
    message(l.client, [], "hello", { type: "text/plain", uri: "sip:service1@portal.com" });
    expect(l.client.response(405).headers.get("allow")).not.toContain("MESSAGE");
    message(l.client, [], "hello", { uri: "sip:charges@elsewhere.example" });
    l.client.response(405);
  });
});

describe("one book for a session, wherever and whenever it is asked for (M15, M17)", () => {
  const http = (l: Lab, session: string, id: string, unitPrice = "12.50") =>
    l.core.direct.charge("a", {
      session,
      charges: [{ id, item: "Riesling", unitPrice, quantity: "2", currency: "EUR" }],
      channel: "direct",
    });
  const bring = async (
    { server, inviteAtServer, answerOfServer }: Awaited<ReturnType<typeof establish>>,
    seq: number,
    body: string,
  ) => {
    server.backInDialog("INFO", inviteAtServer, answerOfServer, seq, { body, type: CHARGE });
  };

  it.each([
    ["service", { service: { lateChargesS: 0 } }],
    ["configuration", { charging: { lateChargesS: 0 } }],
  ])(
    "closes at BYE where the %s says that there is no time for late charges, though nothing is billed yet",
    async (_, options) => {
      const l = await lab({ keys, ...options });
      const call = await ended(l);
      expect(await http(l, call.session, "c1")).toMatchObject({ refusal: { kind: "closed" } });
      expect(await report(l, call.server, call.named)).toMatchObject({ status: 410 });
      await bring(call, 1, charge("c1"));
      call.server.response(481);
      await billed(l);
      expect(await http(l, call.session, "c1")).toMatchObject({ refusal: { kind: "closed" } });
      expect(charges(l)).toEqual([]);
    },
  );

  it("is the same book before BYE and right after it: limits, ids and their prices", async () => {
    const l = await lab({ keys, service: { limits: { session: "60", currency: "EUR" } } });
    const call = await establish(l);
    await bring(call, 1, charge("c1"));
    await l.settle();
    call.server.response(200);
    const session = l.events[0]!.session.id;
    expect(await http(l, session, "c1", "12.5")).toEqual({ kind: "recorded" });
    l.client.inDialog("BYE", call.invite, call.answer, 2);
    expect(await http(l, session, "c1", "9")).toMatchObject({ refusal: { kind: "conflict" } });
    call.server.answer(call.server.request("BYE"), 200);
    await l.settle();
    l.client.response(200);
    expect(await http(l, session, "c1", "9")).toMatchObject({ refusal: { kind: "conflict" } });
    expect(await http(l, session, "c2")).toEqual({ kind: "recorded" });
    expect(await http(l, session, "c3")).toMatchObject({ refusal: { kind: "terms" } });
    expect(charges(l)).toHaveLength(2);
  });

  it("checks two bodies that come at once, in the dialog and beside it, one after the other", async () => {
    const l = await lab({ keys, service: { limits: { session: "30", currency: "EUR" } } });
    const call = await establish(l);
    const session = l.events[0]!.session.id;
    await bring(call, 1, charge("c1"));
    const beside = [http(l, session, "c2"), http(l, session, "c1", "9")];
    expect(await Promise.all(beside)).toMatchObject([
      { refusal: { kind: "terms" } },
      { refusal: { kind: "conflict" } },
    ]);
    await l.settle();
    call.server.response(200);
    expect(charges(l)).toHaveLength(1);
  });

  it("is that of the session for a body that is under way when it ends, and as long as it is under way", async () => {
    const l = await lab({ keys, balance: "100", service: { lateChargesS: 0 } });
    const invite = l.client.invite();
    await l.settle();
    const server = l.server("a");
    const inviteAtServer = server.request("INVITE");
    const answerOfServer = server.answer(inviteAtServer, 200);
    const answer = l.client.response(200);
    l.client.ack(invite, answer);
    const ack = server.request("ACK");
    await l.settle();
    const call = { server, invite, answer, inviteAtServer, answerOfServer, ack };
    await bring(call, 1, charge("c1")); // waits for the balance
    l.client.inDialog("BYE", invite, answer, 2);
    server.inbox.length = 0;
    const session = l.events.find(({ type }) => type === "session.started")!.session.id;
    const again = http(l, session, "c1");
    await l.settle();
    expect(await again).toEqual({ kind: "recorded" });
    expect(charges(l)).toHaveLength(1);
  });

  it("is opened when the session stands: until then 503, whoever is first", async () => {
    const l = await lab({ keys });
    const invite = l.client.invite({ body: "v=0" });
    const server = l.server("a");
    const inviteAtServer = server.request("INVITE");
    const named: [string, string] = ["Tollgate-Session", inviteAtServer.headers.get("tollgate-session")!];
    expect(await report(l, server, named)).toMatchObject({ status: 503 });
    server.answer(inviteAtServer, 200);
    const early = await report(l, server, named);
    expect(early.status).toBe(503);
    expect(early.answer.headers.get("retry-after")).toBe("5");
    l.client.ack(invite, l.client.response(200));
    server.request("ACK");
    await l.settle();
    expect(await report(l, server, named)).toMatchObject({ status: 200 });
    expect(l.core.counters).toMatchObject({ charges: 1, chargesPutOff: 2, chargesRefused: 0 });
  });

  it("is asked for again later at a relay that was started again, as long as billing is behind: 503 with Retry-After", async () => {
    const store = new MemoryBilling();
    const service = { lateChargesS: 60, limits: { session: "40", currency: "EUR" } };
    const first = await lab({ keys, billing: store, service });
    const { server: before, named } = await ended(first);
    expect(await report(first, before, named)).toMatchObject({ status: 200 });
    let behind = true;
    const l = await lab({ keys, billing: store, service, core: { caughtUp: async () => !behind } });
    const server = l.server("a");
    for (const body of [charge("late-1"), charge("late-1", "9.00"), charge("late-2")]) {
      const { status, answer } = await report(l, server, named, { body });
      expect([status, answer.headers.get("retry-after")]).toEqual([503, "5"]);
    }
    await billed(first);
    behind = false;
    expect(await report(l, server, named)).toMatchObject({ status: 200 });
    expect(await report(l, server, named, { body: charge("late-1", "9.00") })).toMatchObject({ status: 403 });
    expect(await report(l, server, named, { body: charge("late-2") })).toMatchObject({ status: 403 });
    l.clock.advance(120_000);
    expect(await report(l, server, named, { body: charge("late-3", "1") })).toMatchObject({ status: 410 });
    expect(charges(l)).toEqual([]);
  });
});

describe("charges in INFO after BYE (M15)", () => {
  it("are taken in the dialog that has just ended, until the window closes", async () => {
    const l = await lab();
    const { server, inviteAtServer, answerOfServer } = await ended(l);
    const info = (seq: number, id: string) =>
      server.backInDialog("INFO", inviteAtServer, answerOfServer, seq, { body: charge(id), type: CHARGE });
    info(1, "c1");
    await l.settle();
    server.response(200);
    expect(charges(l)).toMatchObject([{ channel: "info", charge: { id: "c1" } }]);
    l.clock.advance(HOUR);
    info(2, "c2");
    await l.settle();
    server.response(481);
    expect(charges(l)).toHaveLength(1);
  });

  it("are taken in that dialog only: 481 to another tag, and to the client", async () => {
    const l = await lab();
    const { invite, answer, server, inviteAtServer, answerOfServer } = await ended(l);
    l.client.inDialog("INFO", invite, answer, 3, { body: charge("c1"), type: CHARGE });
    l.client.response(481);
    answerOfServer.headers.set("To", `${answerOfServer.headers.get("to")!.replace(/;tag=.*/, "")};tag=stranger`);
    server.backInDialog("INFO", inviteAtServer, answerOfServer, 1, { body: charge("c1"), type: CHARGE });
    server.response(481);
    expect(charges(l)).toHaveLength(0);
  });

  it("are taken while BYE is on its way", async () => {
    const l = await lab();
    const { invite, answer, server, inviteAtServer, answerOfServer } = await establish(l);
    l.client.inDialog("BYE", invite, answer, 2);
    const bye = server.request("BYE");
    server.backInDialog("INFO", inviteAtServer, answerOfServer, 1, { body: charge("c1"), type: CHARGE });
    await l.settle();
    server.response(200);
    server.answer(bye, 200);
    await l.settle();
    expect(l.events.map(({ type }) => type)).toEqual(["session.started", "charge.made", "session.ended"]);
  });
});

describe("limits and refusals of charges, on every channel (M14-M17)", () => {
  it("a day's limit counts every session of the user at this service and app server", async () => {
    const l = await lab({ keys, service: { limits: { day: "60", currency: "EUR" } } });
    const first = await ended(l);
    expect(await report(l, first.server, first.named)).toMatchObject({ status: 200 });
    const second = await establish(l);
    const info = async (seq: number, id: string) => {
      second.server.backInDialog("INFO", second.inviteAtServer, second.answerOfServer, seq, {
        body: charge(id),
        type: CHARGE,
      });
      await l.settle();
      return second.server.inbox.shift() as SipResponse;
    };
    expect((await info(1, "c1")).status).toBe(200);
    const over = await info(2, "c2");
    expect(over.status).toBe(403);
    expect(over.reason).toContain("75.00 EUR is over the service's limit of 60.00 EUR for a day");
    l.clock.advance(23 * HOUR);
    expect((await info(3, "c2")).status).toBe(403);
  });

  it("bounds of the portal's own where no limits are configured: for one charge, a session, a day", async () => {
    const l = await lab();
    const say = async (
      { server, inviteAtServer, answerOfServer }: Awaited<ReturnType<typeof establish>>,
      seq: number,
      price: string,
      quantity = "1",
    ) => {
      const charges = [{ id: `c${seq}`, item: "x", unitPrice: price, quantity, currency: "EUR" }];
      server.backInDialog("INFO", inviteAtServer, answerOfServer, seq, {
        body: JSON.stringify({ charges }),
        type: CHARGE,
      });
      await l.settle();
      return (server.inbox.shift() as SipResponse).reason;
    };
    const first = await establish(l);
    expect(await say(first, 1, "999999999999", "999999999")).toContain("is more than can be on a bill");
    const over = await say(first, 2, "999999999", "1000");
    expect(over).toContain("999999999000.00 EUR is over the portal's limit of 1000.00 EUR for one charge");
    for (let i = 3; i < 8; i++) expect(await say(first, i, "1000")).toBe("OK");
    expect(await say(first, 8, "0.01")).toContain("is over the portal's limit of 5000.00 EUR for a session");
    const second = await establish(l);
    for (let i = 1; i < 6; i++) expect(await say(second, i, "1000")).toBe("OK");
    expect(await say(await establish(l), 1, "0.01")).toContain("is over the portal's limit of 10000.00 EUR for a day");
    expect(charges(l)).toHaveLength(10);
  });

  it("so many charges in a session as the configuration says", async () => {
    const l = await lab({ limits: { chargesPerSession: 1 } });
    const { server, inviteAtServer, answerOfServer } = await establish(l);
    server.backInDialog("INFO", inviteAtServer, answerOfServer, 1, { body: charge("c1"), type: CHARGE });
    await l.settle();
    server.response(200);
    server.backInDialog("INFO", inviteAtServer, answerOfServer, 2, { body: charge("c2"), type: CHARGE });
    expect(server.response(403).reason).toContain("more than 1 charges in a session");
  });

  it("refusals are on record, and ten of a session at most", async () => {
    const l = await lab();
    const { server, inviteAtServer, answerOfServer } = await establish(l);
    for (let seq = 1; seq <= 25; seq++) {
      server.backInDialog("INFO", inviteAtServer, answerOfServer, seq, {
        body: charge(`c${seq}`).replace("EUR", "USD"),
        type: CHARGE,
      });
      await l.settle();
      server.response(403);
    }
    const refused = l.events.filter((event) => event.type === "charge.refused");
    expect(refused).toHaveLength(10);
    expect(new Set(refused.map(({ id }) => id)).size).toBe(10);
    expect(refused[0]).toMatchObject({ charge: "c1", reason: "charge c1: currency must be EUR, is USD" });
    expect(l.core.counters.chargesRefused).toBe(25);
  });

  it("ended sessions are forgotten when their time is over", async () => {
    const l = await lab({ service: { lateChargesS: 100 } });
    await ended(l);
    await ended(l); // after 60 s
    expect(l.core.ended.size).toBe(2);
    await ended(l);
    await ended(l);
    expect(l.core.ended.size).toBe(2);
  });
});
