// biome-ignore-all lint/suspicious/noThenProperty: a rule says when and then
import { describe, expect, it } from "vitest";
import type { SipRequest } from "../../src/sip/message.ts";
import { establish, type Lab, lab } from "./harness.ts";

/*
 * Each 2xx to an INVITE of the relay's gets its ACK, whatever has become of the session (RFC 3261 §13.2.2.4): without
 * it, it comes for 64*T1.
 */

const nothing = { sessions: 0, requests: 0, legs: 0, legsByFlow: 0, transactions: 0, timers: 0 };
const SERVICE_XML = "application/vnd.tollgate.service+xml";

async function allOver(l: Lab) {
  l.clock.advance(130_000);
  await l.settle();
  expect(l.leftovers()).toEqual(nothing);
}

describe("a 200 to a re-INVITE that comes after BYE is acknowledged (RFC 5407 §3.2.3)", () => {
  it.each([
    ["client", "client"],
    ["client", "server"],
    ["server", "client"],
    ["server", "server"],
    ["client", "relay"],
    ["server", "relay"],
  ] as const)("asked for by the %s, hung up by the %s", async (from, by) => {
    const l = await lab();
    const { server, invite, answer, inviteAtServer, answerOfServer } = await establish(l);
    const [asks, says] = from === "client" ? [l.client, server] : [server, l.client];
    if (from === "client") l.client.inDialog("INVITE", invite, answer, 2);
    else server.backInDialog("INVITE", inviteAtServer, answerOfServer, 1);
    const at = says.request("INVITE");
    if (by === "client") l.client.inDialog("BYE", invite, answer, 3);
    else if (by === "server") server.backInDialog("BYE", inviteAtServer, answerOfServer, 2);
    else l.core.sessions.values()[0]!.end({ code: "stops" });
    asks.response(487);
    for (const peer of [l.client, server]) {
      const bye = peer.inbox.find((message) => message.isRequest && message.method === "BYE") as SipRequest | undefined;
      if (bye) peer.answer(bye, 200);
    }
    await l.settle();
    expect(l.core.sessions.size).toBe(0);
    for (let i = 0; i < 2; i++) {
      says.inbox.length = 0;
      says.answer(at, 200);
      const ack = says.request("ACK");
      expect([ack.cseq?.number, ack.toTag, ack.fromTag]).toEqual([at.cseq?.number, at.toTag, at.fromTag]);
    }
    await allOver(l);
  });

  it("also where nothing but a 180 ever came: CANCEL, and nothing is left", async () => {
    const l = await lab();
    const { server, invite, answer } = await establish(l);
    l.client.inDialog("INVITE", invite, answer, 2);
    server.answer(server.request("INVITE"), 180);
    l.client.inDialog("BYE", invite, answer, 3);
    server.answer(server.request("CANCEL"), 200);
    server.answer(server.request("BYE"), 200);
    await allOver(l);
  });

  const shops = (bothAt: "one house" | "two houses") => {
    const services = ["service1", "beer"].map((id) => ({ id, tariff: "t" }));
    return lab({
      servers: bothAt === "one house" ? [{ id: "a" }] : [{ id: "a" }, { id: "b" }],
      config: {
        portal: { domain: "portal.com" },
        services,
        tariffs: [{ id: "t", currency: "EUR", price: "0.10" }],
        appServers:
          bothAt === "one house"
            ? [{ id: "a", uri: "sip:192.0.2.100:5060", services: ["service1", "beer"] }]
            : [
                { id: "a", uri: "sip:192.0.2.100:5060", services: ["service1"] },
                { id: "b", uri: "sip:192.0.2.101:5060", services: ["beer"] },
              ],
        rules: [
          ...services.map(({ id }) => ({ name: id, when: { body: { "service.@name": id } }, then: { service: id } })),
          { name: "by name", then: {} },
        ],
        session: { probeS: 0 },
        health: { intervalS: 0 },
      },
    });
  };

  it.each(["one house", "two houses"] as const)("where it asked for another service: %s", async (bothAt) => {
    const l = await shops(bothAt);
    const { server, invite, answer } = await establish(l);
    l.client.inDialog("INVITE", invite, answer, 2, { type: SERVICE_XML, body: '<service name="beer"/>' });
    const asked = bothAt === "one house" ? server : l.server("b");
    const at = asked.request("INVITE");
    l.client.inDialog("BYE", invite, answer, 3);
    l.client.response(487);
    server.answer(server.request("BYE"), 200);
    await l.settle();
    for (let i = 0; i < 2; i++) {
      asked.answer(at, 200);
      expect((asked.request("ACK") as SipRequest).cseq?.number).toBe(at.cseq?.number);
      if (bothAt === "two houses" && i === 0) asked.answer(asked.request("BYE"), 200);
      await l.settle();
    }
    expect(asked.inbox).toEqual([]);
    await allOver(l);
  });

  it("where the changed service has ended, and its ACK was lost", async () => {
    const l = await shops("one house");
    const { server, invite, answer } = await establish(l);
    const change = l.client.inDialog("INVITE", invite, answer, 2, {
      type: SERVICE_XML,
      body: '<service name="beer"/>',
    });
    const at = server.request("INVITE");
    server.answer(at, 200);
    l.client.ack(change, l.client.response(200));
    server.request("ACK");
    await l.settle();
    l.client.inDialog("BYE", invite, answer, 3);
    server.answer(server.request("BYE"), 200);
    await l.settle();
    server.answer(at, 200);
    expect((server.request("ACK") as SipRequest).cseq?.number).toBe(at.cseq?.number);
    await allOver(l);
  });
});

describe("a 200 to the first INVITE that comes again when the session is over (RFC 3261 §13.2.2.4)", () => {
  async function over() {
    const l = await lab();
    const call = await establish(l);
    l.client.inDialog("BYE", call.invite, call.answer, 2);
    call.server.answer(call.server.request("BYE"), 200);
    await l.settle();
    l.client.response(200);
    return { l, ...call };
  }

  it("is acknowledged, along its route", async () => {
    const { l, server, inviteAtServer } = await over();
    server.answer(inviteAtServer, 200, { headers: [["Record-Route", "<sip:192.0.2.100:5060;lr>"]] });
    const ack = server.request("ACK");
    expect([ack.cseq?.number, ack.uri]).toEqual([inviteAtServer.cseq?.number, "sip:peer@192.0.2.100:5060"]);
    expect(ack.headers.get("route")).toBe("<sip:192.0.2.100:5060;lr>");
    expect(server.inbox).toEqual([]);
    await allOver(l);
  });

  it("is acknowledged and ended where it is of another end behind the app server", async () => {
    const { l, server, inviteAtServer } = await over();
    server.answer(inviteAtServer, 200, { tag: "another" });
    expect((server.request("ACK") as SipRequest).toTag).toBe("another");
    const bye = server.request("BYE");
    expect([bye.toTag, bye.cseq?.number]).toEqual(["another", inviteAtServer.cseq!.number + 1]);
    server.answer(bye, 200, { type: "application/vnd.tollgate.charge+json", body: "{}" });
    expect(l.core.counters.chargesRefused).toBe(1); // nobody has bought anything there
    await allOver(l);
  });

  it("is acknowledged where it was asked, if it has no Contact (RFC 3261 §12.1.1)", async () => {
    const { l, server, inviteAtServer } = await over();
    server.contact = "*";
    server.answer(inviteAtServer, 200);
    expect(server.request("ACK").uri).toBe("sip:192.0.2.100:5060");
    await allOver(l);
  });

  it("is left alone where its route leads nowhere", async () => {
    const { l, server, inviteAtServer } = await over();
    server.answer(inviteAtServer, 200, { headers: [["Record-Route", "<tel:110>"]] });
    expect(server.inbox).toEqual([]);
    await allOver(l);
  });
});
