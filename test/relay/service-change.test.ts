// biome-ignore-all lint/suspicious/noThenProperty: a rule says when and then
import { describe, expect, it } from "vitest";
import { CHARGE_JSON } from "../../src/charging/charges/body.ts";
import { accountEvents } from "../../src/charging/events/events.ts";
import { establish, type Lab, type LabOptions, lab } from "./harness.ts";

/* E 5, figure 8: the wine shop that the client is in becomes a beer shop, of the same house or of another. */

const SERVICE_XML = "application/vnd.tollgate.service+xml";
const wanting = (service: string) => ({ type: SERVICE_XML, body: `<service name="${service}"/>` });
const named = (id: string) => ({
  name: `asks for ${id}`,
  when: { body: { "service.@name": id } },
  then: { service: id },
});

function shops(appServers: { id: string; services: string[]; priority?: number }[], options: LabOptions = {}) {
  const services = [{ id: "service1", tariff: "wine" }, { id: "beer", tariff: "beer", ringS: 30 }, { id: "nobodys" }];
  return lab({
    servers: appServers,
    ...options,
    config: {
      portal: { domain: "portal.com" },
      listen: ["udp:192.0.2.1:5060"],
      services,
      tariffs: [
        { id: "wine", currency: "EUR", price: "0.10" },
        { id: "beer", currency: "EUR", price: "0.20" },
      ],
      appServers: appServers.map((server, i) => ({ uri: `sip:192.0.2.${100 + i}:5060`, ...server })),
      rules: [...services.map(({ id }) => named(id)), { name: "by name", then: {} }],
      session: { probeS: 0 },
      health: { intervalS: 0 },
    },
  });
}

const sameHouse = () => shops([{ id: "a", services: ["service1", "beer"] }]);
const twoHouses = () =>
  shops([
    { id: "a", services: ["service1"] },
    { id: "b", services: ["beer"] },
  ]);

/** What is charged by time: part, and how long. */
const parts = (l: Lab) =>
  l.events
    .flatMap(accountEvents)
    .flatMap((event) => (event.type === "session.ended" ? [[event.session.service, event.durationMs]] : []));

const NOTHING_LEFT = { sessions: 0, requests: 0, legs: 0, legsByFlow: 0, transactions: 0, timers: 0 };

async function hangUp(l: Lab, call: Awaited<ReturnType<typeof establish>>, seq: number, server = call.server) {
  l.client.inDialog("BYE", call.invite, call.answer, seq);
  server.answer(server.request("BYE"), 200);
  await l.settle();
  l.client.response(200);
  l.clock.advance(120_000);
  await l.settle();
  expect(l.leftovers()).toEqual(NOTHING_LEFT);
}

describe("a re-INVITE that asks for another service", () => {
  it("goes to the same app server where it offers that too; clock and tariff switch at the ACK (M20)", async () => {
    const l = await sameHouse();
    const call = await establish(l);
    l.clock.advance(10_000);
    const change = l.client.inDialog("INVITE", call.invite, call.answer, 2, wanting("beer"));
    const at = call.server.request("INVITE");
    expect(at.callId).toBe(call.inviteAtServer.callId);
    expect(at.toTag).toBe(call.answerOfServer.toTag);
    expect(at.body.toString()).toContain("beer");
    expect(at.headers.get("tollgate-service")).toBe("beer");
    l.clock.advance(1_000);
    l.client.response(100);
    call.server.inbox.length = 0; // it was sent again meanwhile
    call.server.answer(at, 200, { type: "application/json", body: '{"url":"http://beer"}' });
    const changed = l.client.response(200);
    expect(changed.body.toString()).toBe('{"url":"http://beer"}');
    expect(changed.headers.get("to")).toBe(call.answer.headers.get("to"));
    expect(changed.headers.get("tollgate-service")).toBe("beer");
    expect(changed.headers.has("tollgate-session")).toBe(false);
    l.client.ack(change, changed);
    expect(call.server.request("ACK").cseq?.number).toBe(at.cseq?.number);
    await l.settle();
    expect(call.server.inbox).toEqual([]);
    l.clock.advance(5_000);
    await hangUp(l, call, 3);
    expect(parts(l)).toEqual([
      ["service1", 11_000],
      ["beer", 5_000],
    ]);
    expect(l.core.counters).toMatchObject({ established: 1, changed: 1, ended: 1 });
    const [before, after] = l.events.flatMap(accountEvents).filter((event) => event.type === "session.started");
    expect(after?.session.previous).toEqual({ session: before?.session.id, by: "change" });
    expect(after?.session.call).toBe(before?.session.call);
  });

  it("that cannot be put on record ends the session, and is put on record later: both parts are charged, once (decision 8)", async () => {
    const l = await sameHouse();
    const call = await establish(l);
    l.clock.advance(10_000);
    const change = l.client.inDialog("INVITE", call.invite, call.answer, 2, wanting("beer"));
    call.server.answer(call.server.request("INVITE"), 200);
    l.breakRecorder(true);
    l.client.ack(change, l.client.response(200));
    call.server.request("ACK");
    await l.settle();
    call.server.answer(call.server.request("BYE"), 200);
    l.client.answer(l.client.request("BYE"), 200);
    await l.settle();
    expect(parts(l)).toEqual([]);
    l.breakRecorder(false);
    l.clock.advance(5_000);
    await l.settle();
    expect(parts(l)).toEqual([
      ["service1", 10_000],
      ["beer", 0],
    ]);
    l.clock.advance(120_000);
    await l.settle();
    expect(parts(l)).toHaveLength(2);
    expect(l.leftovers()).toEqual(NOTHING_LEFT);
  });

  it("goes to another app server where that one offers it: it is asked first, the first one is left with BYE (M21)", async () => {
    const l = await twoHouses();
    const call = await establish(l);
    l.clock.advance(10_000);
    const change = l.client.inDialog("INVITE", call.invite, call.answer, 2, wanting("beer"));
    const b = l.server("b");
    const asked = b.request("INVITE");
    expect(asked.toTag).toBeUndefined();
    expect(asked.headers.get("p-asserted-identity")).toBe("<sip:alice@portal.com>");
    expect(asked.headers.get("tollgate-service")).toBe("beer"); // To still names the first
    b.answer(asked, 180);
    expect(l.client.response(180).headers.get("to")).toBe(call.answer.headers.get("to"));
    expect(call.server.inbox).toEqual([]);
    b.answer(asked, 200, { type: "application/json", body: '{"url":"http://beer"}' });
    const changed = l.client.response(200);
    expect(changed.body.toString()).toBe('{"url":"http://beer"}');
    expect(call.server.inbox).toEqual([]); // it goes on until the client has agreed
    l.client.ack(change, changed);
    b.request("ACK");
    const bye = call.server.request("BYE");
    expect(bye.headers.get("reason")).toContain("changed to another service");
    call.server.answer(bye, 200, {
      type: CHARGE_JSON,
      body: JSON.stringify({ charges: [{ id: "c1", item: "Corkage", unitPrice: "2.00", currency: "EUR" }] }),
    });
    l.clock.advance(5_000);
    await l.settle();
    expect(l.core.sessions.size).toBe(1);
    await hangUp(l, call, 3, b);
    expect(parts(l)).toEqual([
      ["service1", 10_000],
      ["beer", 5_000],
    ]);
    expect(l.events.flatMap((event) => (event.type === "charge.made" ? [event.session.service] : []))).toEqual([
      "service1",
    ]);
  });

  it("changes nothing where it is refused: the client gets the answer as it came (RFC 6141)", async () => {
    const l = await twoHouses();
    const call = await establish(l);
    const change = l.client.inDialog("INVITE", call.invite, call.answer, 2, wanting("beer"));
    const b = l.server("b");
    b.answer(b.request("INVITE"), 403, { headers: [["X-Why", "no beer before four"]] });
    const refusal = l.client.response(403);
    expect(refusal.headers.get("x-why")).toBe("no beer before four");
    l.client.ack(change, refusal);
    await l.settle();
    expect(call.server.inbox).toEqual([]);
    await hangUp(l, call, 3);
    expect(parts(l).map(([service]) => service)).toEqual(["service1"]);
  });

  it.each([
    ["nobodys", 404],
    ["unheard of", 404],
  ])("is answered where nobody offers it: %s", async (service, status) => {
    const l = await sameHouse();
    const call = await establish(l);
    const change = l.client.inDialog("INVITE", call.invite, call.answer, 2, {
      type: SERVICE_XML,
      body: `<service name="${service}"/>`,
    });
    if (service === "nobodys") l.client.ack(change, l.client.response(status));
    // What no rule knows is the service of the Request-URI: the present one.
    else call.server.answer(call.server.request("INVITE"), 488);
    await l.settle();
    if (service !== "nobodys") {
      call.server.request("ACK");
      l.client.ack(change, l.client.response(488));
    }
    await hangUp(l, call, 3);
  });

  it("asks the next app server where one is silent", async () => {
    const l = await shops([
      { id: "a", services: ["service1"] },
      { id: "b", services: ["beer"], priority: 1 },
      { id: "c", services: ["beer"], priority: 2 },
    ]);
    const call = await establish(l);
    const change = l.client.inDialog("INVITE", call.invite, call.answer, 2, wanting("beer"));
    l.server("b").request("INVITE");
    l.clock.advance(9_000);
    const c = l.server("c");
    const asked = c.request("INVITE");
    c.inbox.length = 0; // it was sent again meanwhile
    c.answer(asked, 200);
    l.client.inbox.splice(0, l.client.inbox.length - 1);
    l.client.ack(change, l.client.response(200));
    c.request("ACK");
    expect([...l.core.sessions.values()].map((session) => session.appServer.id)).toContain("c");
  });

  it("passes a hold, and a description of the present service, and changes nothing (M20)", async () => {
    const l = await sameHouse();
    const call = await establish(l);
    for (const [seq, body] of [
      [2, { body: "a=sendonly" }],
      [3, wanting("service1")],
    ] as const) {
      const change = l.client.inDialog("INVITE", call.invite, call.answer, seq, body);
      call.server.answer(call.server.request("INVITE"), 200);
      l.client.ack(change, l.client.response(200));
      call.server.request("ACK");
    }
    await hangUp(l, call, 4);
    expect(l.events.map(({ type }) => type)).toEqual(["session.started", "session.ended"]);
  });

  it("charges once what the same app server reports again after the change (M14)", async () => {
    const l = await sameHouse();
    const call = await establish(l);
    const charge = {
      type: CHARGE_JSON,
      body: JSON.stringify({ charges: [{ id: "c1", item: "Glass", unitPrice: "1.00", currency: "EUR" }] }),
    };
    call.server.backInDialog("INFO", call.inviteAtServer, call.answerOfServer, 1, charge);
    await l.settle();
    call.server.response(200);
    const change = l.client.inDialog("INVITE", call.invite, call.answer, 2, wanting("beer"));
    call.server.answer(call.server.request("INVITE"), 200);
    l.client.ack(change, l.client.response(200));
    call.server.request("ACK");
    call.server.backInDialog("INFO", call.inviteAtServer, call.answerOfServer, 2, charge);
    await l.settle();
    call.server.response(200);
    expect(l.events.filter(({ type }) => type === "charge.made")).toHaveLength(1);
  });
});

describe("while another service is asked for", () => {
  async function asking() {
    const l = await twoHouses();
    const call = await establish(l);
    const change = l.client.inDialog("INVITE", call.invite, call.answer, 2, wanting("beer"));
    const b = l.server("b");
    const asked = b.request("INVITE");
    b.answer(asked, 180);
    l.client.response(180);
    return { l, call, change, b, asked };
  }

  it("the client's BYE ends everything: 487, CANCEL, BYE", async () => {
    const { l, call, b, asked } = await asking();
    l.client.inDialog("BYE", call.invite, call.answer, 3);
    l.client.response(487);
    b.answer(b.request("CANCEL"), 200);
    b.answer(asked, 487);
    b.request("ACK");
    call.server.answer(call.server.request("BYE"), 200);
    await l.settle();
    l.client.response(200);
    l.clock.advance(120_000);
    expect(l.leftovers()).toEqual(NOTHING_LEFT);
  });

  it("CANCEL takes it back, and the session goes on", async () => {
    const { l, call, change, b, asked } = await asking();
    l.client.cancel(change);
    l.client.response(200);
    l.client.ack(change, l.client.response(487));
    b.answer(b.request("CANCEL"), 200);
    b.answer(asked, 487);
    b.request("ACK");
    await hangUp(l, call, 3);
    expect(parts(l).map(([service]) => service)).toEqual(["service1"]);
  });

  it("the app server's BYE ends everything; a 200 that crosses it is acknowledged and ended", async () => {
    const { l, call, b, asked } = await asking();
    call.server.backInDialog("BYE", call.inviteAtServer, call.answerOfServer, 1);
    l.client.response(487);
    b.answer(asked, 200);
    b.request("CANCEL");
    b.request("ACK");
    b.answer(b.request("BYE"), 200);
    l.client.answer(l.client.request("BYE"), 200);
    await l.settle();
    call.server.response(200);
    l.clock.advance(120_000);
    expect(l.leftovers()).toEqual(NOTHING_LEFT);
  });

  it("the loss of the new app server after its 200 ends the session: the client was told that it stands", async () => {
    const { l, call, b, asked } = await asking();
    const answer = b.answer(asked, 200);
    l.client.response(200);
    b.backInDialog("BYE", asked, answer, 1);
    await l.settle();
    b.request("ACK");
    l.client.answer(l.client.request("BYE"), 200);
    call.server.answer(call.server.request("BYE"), 200);
    await l.settle();
    l.clock.advance(120_000);
    expect(l.leftovers()).toEqual(NOTHING_LEFT);
    expect(parts(l).map(([service]) => service)).toEqual(["service1"]);
  });

  it("a client that never acknowledges loses the session, and pays for the first part only", async () => {
    const { l, call, b, asked } = await asking();
    b.answer(asked, 200);
    l.client.deaf = true;
    l.clock.advance(33_000);
    b.request("ACK");
    b.answer(b.request("BYE"), 200);
    call.server.answer(call.server.request("BYE"), 200);
    l.clock.advance(120_000);
    await l.settle();
    expect(l.leftovers()).toEqual(NOTHING_LEFT);
    expect(parts(l).map(([service]) => service)).toEqual(["service1"]);
  });

  it("another change has to wait: 500 to the client's, 491 to the app server's (RFC 3261 §14.2)", async () => {
    const { l, call } = await asking();
    l.client.inDialog("UPDATE", call.invite, call.answer, 3, wanting("beer"));
    expect(l.client.response(500).headers.has("retry-after")).toBe(true);
    call.server.backInDialog("UPDATE", call.inviteAtServer, call.answerOfServer, 1, {});
    call.server.response(491);
  });
});

describe("an UPDATE that asks for another service (RFC 3311)", () => {
  it("is answered when the other app server has agreed, which the relay acknowledges (M20, M21)", async () => {
    const l = await twoHouses();
    const call = await establish(l);
    l.clock.advance(2_000);
    l.client.inDialog("UPDATE", call.invite, call.answer, 2, wanting("beer"));
    const b = l.server("b");
    const asked = b.request("INVITE");
    b.answer(asked, 180);
    b.answer(asked, 200, { type: "application/json", body: "{}" });
    expect(l.client.response(200).body.toString()).toBe("{}");
    b.request("ACK");
    call.server.answer(call.server.request("BYE"), 200);
    await l.settle();
    await hangUp(l, call, 3, b);
    expect(parts(l).map(([service]) => service)).toEqual(["service1", "beer"]);
  });

  it("goes as UPDATE to the same app server, and needs no ACK", async () => {
    const l = await sameHouse();
    const call = await establish(l);
    l.client.inDialog("UPDATE", call.invite, call.answer, 2, wanting("beer"));
    call.server.answer(call.server.request("UPDATE"), 200);
    l.client.response(200);
    await l.settle();
    expect(call.server.inbox).toEqual([]);
    await hangUp(l, call, 3);
    expect(parts(l).map(([service]) => service)).toEqual(["service1", "beer"]);
  });

  it("is answered 504 where nobody decides in time, and nothing has changed", async () => {
    const l = await twoHouses();
    const call = await establish(l);
    l.client.inDialog("UPDATE", call.invite, call.answer, 2, wanting("beer"));
    const b = l.server("b");
    const asked = b.request("INVITE");
    b.answer(asked, 180);
    l.clock.advance(9_000);
    expect(l.client.inbox.some((message) => !message.isRequest && message.status === 504)).toBe(true);
    b.answer(b.request("CANCEL"), 200);
    b.inbox.length = 0;
    b.answer(asked, 487);
    b.request("ACK");
    l.client.inbox.length = 0;
    await hangUp(l, call, 3);
  });
});

describe("the app server", () => {
  async function fromServer(l: Lab, call: Awaited<ReturnType<typeof establish>>, method: string, service: string) {
    const { inviteAtServer, answerOfServer } = call;
    const sent = call.server.backInDialog(method, inviteAtServer, answerOfServer, 1, wanting(service));
    await l.settle(); // a balance might have to be asked
    return sent;
  }

  it("changes to another service that it offers when the client agrees (M22)", async () => {
    const l = await sameHouse();
    const call = await establish(l);
    l.clock.advance(3_000);
    await fromServer(l, call, "UPDATE", "beer");
    const asked = l.client.request("UPDATE");
    expect(asked.headers.get("tollgate-service")).toBe("beer");
    l.client.answer(asked, 200);
    await l.settle();
    const agreed = call.server.response(200);
    expect(agreed.headers.get("tollgate-service")).toBe("beer");
    l.clock.advance(4_000);
    await hangUp(l, call, 2);
    expect(parts(l)).toEqual([
      ["service1", 3_000],
      ["beer", 4_000],
    ]);
    const started = l.events.flatMap(accountEvents).filter((event) => event.type === "session.started");
    expect(started.at(-1)?.session.id).toBe(agreed.headers.get("tollgate-session"));
  });

  it("the same by re-INVITE: the clock switches at the ACK", async () => {
    const l = await sameHouse();
    const call = await establish(l);
    const change = await fromServer(l, call, "INVITE", "beer");
    l.client.answer(l.client.request("INVITE"), 200);
    const agreed = call.server.response(200);
    expect(l.events.map(({ type }) => type)).toEqual(["session.started"]);
    call.server.ack(change, agreed);
    l.client.request("ACK");
    await l.settle();
    expect(l.events.map(({ type }) => type)).toEqual(["session.started", "session.changed"]);
    await hangUp(l, call, 2);
  });

  it("changes nothing where the client refuses", async () => {
    const l = await sameHouse();
    const call = await establish(l);
    await fromServer(l, call, "UPDATE", "beer");
    l.client.answer(l.client.request("UPDATE"), 488);
    await l.settle();
    call.server.response(488);
    await hangUp(l, call, 2);
    expect(parts(l).map(([service]) => service)).toEqual(["service1"]);
  });

  it("cannot change to what it does not offer: 403, and the client hears nothing of it", async () => {
    const l = await twoHouses();
    const call = await establish(l);
    await fromServer(l, call, "UPDATE", "beer");
    await l.settle();
    call.server.response(403);
    expect(l.client.inbox).toEqual([]);
    await hangUp(l, call, 2);
  });
});
