// biome-ignore-all lint/suspicious/noThenProperty: a rule says when and then
import { describe, expect, it } from "vitest";
import { endedByText } from "../../src/relay/model/endings.ts";
import type { SipRequest } from "../../src/sip/message.ts";
import { establish, type Lab, lab, type Peer } from "./harness.ts";

/*
 * An INVITE that is answered with 1xx again and again: for so long, and so often, and no more (RFC 3261 §16.6, step 11:
 * timer C).
 */

const nothing = { sessions: 0, requests: 0, legs: 0, legsByFlow: 0, transactions: 0, timers: 0 };
const SERVICE_XML = "application/vnd.tollgate.service+xml";

const count = (peer: Peer, what: string | number) =>
  peer.inbox.filter((message) => (message.isRequest ? message.method : message.status) === what).length;

function only(peer: Peer, method: string): SipRequest {
  const found = peer.inbox.find((message) => message.isRequest && message.method === method) as SipRequest;
  expect(found?.method).toBe(method);
  peer.inbox.length = 0;
  return found;
}

/** 1xx every second, by whoever has the INVITE. */
function rings(l: Lab, peer: Peer, at: SipRequest, seconds: number, status = 180) {
  for (let i = 0; i < seconds; i++) {
    peer.answer(at, status);
    l.clock.advance(1_000);
  }
}

const shops = (house: "one house" | "two houses") => {
  const services = ["service1", "beer"].map((id) => ({ id, tariff: "t", ringS: 20 }));
  const two = [
    { id: "a", uri: "sip:192.0.2.100:5060", services: ["service1"] },
    { id: "b", uri: "sip:192.0.2.101:5060", services: ["beer"] },
  ];
  return lab({
    config: {
      portal: { domain: "portal.com" },
      services,
      tariffs: [{ id: "t", currency: "EUR", price: "0.10" }],
      appServers: house === "one house" ? [{ ...two[0]!, services: ["service1", "beer"] }] : two,
      rules: [
        ...services.map(({ id }) => ({ name: id, when: { body: { "service.@name": id } }, then: { service: id } })),
        { name: "by name", then: {} },
      ],
      session: { probeS: 0 },
      health: { intervalS: 0 },
    },
  });
};

describe("an app server that rings without end", () => {
  it("is cancelled after the service's ringS, however often it rings", async () => {
    const l = await lab({ service: { ringS: 20 } });
    l.client.invite();
    const a = l.server("a");
    rings(l, a, a.request("INVITE"), 20);
    expect(count(l.client, 408)).toBe(1);
    a.request("CANCEL");
  });

  it("is heard 64 times of one INVITE, and one line of the log says that there were more", async () => {
    const l = await lab();
    const invite = l.client.invite();
    const a = l.server("a");
    const at = a.request("INVITE");
    for (let i = 0; i < 1_000; i++) a.answer(at, 183);
    expect(count(l.client, 183)).toBe(64);
    expect(l.core.counters.provisionalsLeftOut).toBe(936);
    l.client.inbox.length = 0;
    a.answer(at, 200);
    l.client.ack(invite, l.client.response(200));
    await l.settle();
    expect(l.core.sessions.size).toBe(1);
  });

  it("is asked no longer to change: CANCEL after ringS, and the session goes on (RFC 3261 §14.1)", async () => {
    const l = await lab({ service: { ringS: 20 } });
    const { invite, answer, server } = await establish(l);
    const change = l.client.inDialog("INVITE", invite, answer, 2);
    const at = server.request("INVITE");
    rings(l, server, at, 20);
    server.answer(only(server, "CANCEL"), 200);
    server.answer(at, 487);
    server.request("ACK");
    l.client.inbox.splice(0, l.client.inbox.length - 1);
    l.client.ack(change, l.client.response(487));
    l.client.inDialog("INVITE", invite, answer, 3);
    server.request("INVITE");
    expect(l.core.sessions.size).toBe(1);
  });

  it("is given up where it answers the CANCEL of a change with nothing but more of it", async () => {
    const l = await lab({ service: { ringS: 20 } });
    const { invite, answer, server } = await establish(l);
    l.client.inDialog("INVITE", invite, answer, 2);
    const at = server.request("INVITE");
    rings(l, server, at, 54);
    expect(endedByText(l.core.sessions.values()[0]!.context.endedBy)).toContain("no answer to INVITE");
    expect(count(l.client, 180)).toBe(52);
    rings(l, server, at, 100);
    await l.settle();
    expect(l.leftovers()).toEqual(nothing);
  });

  it.each(["one house", "two houses"] as const)(
    "is asked no longer for another service, and the present one goes on: %s",
    async (house) => {
      const l = await shops(house);
      const { invite, answer, server } = await establish(l);
      const change = l.client.inDialog("INVITE", invite, answer, 2, {
        type: SERVICE_XML,
        body: '<service name="beer"/>',
      });
      const asked = house === "one house" ? server : l.server("b");
      const at = asked.request("INVITE");
      rings(l, asked, at, 20);
      asked.answer(only(asked, "CANCEL"), 200);
      asked.answer(at, 487);
      await l.settle();
      // 408 or 481 would tell the client that the dialog that it is in is gone (RFC 3261 §12.2.1.2).
      const final = l.client.inbox.find((message) => !message.isRequest && message.status >= 300);
      expect(final && !final.isRequest && final.status).toBe(house === "one house" ? 487 : 504);
      if (final && !final.isRequest) l.client.ack(change, final);
      l.client.inbox.length = 0;
      l.client.inDialog("MESSAGE", invite, answer, 3);
      server.answer(only(server, "MESSAGE"), 200);
      l.client.response(200);
      expect(l.core.sessions.size).toBe(1);
    },
  );

  it.each([
    [408, 504],
    [481, 500],
  ])("or refuses another service with %i is not heard so in the dialog that goes on: %i", async (said, heard) => {
    const l = await shops("two houses");
    const { invite, answer } = await establish(l);
    l.client.inDialog("INVITE", invite, answer, 2, { type: SERVICE_XML, body: '<service name="beer"/>' });
    const b = l.server("b");
    b.answer(b.request("INVITE"), said);
    l.client.response(heard);
    expect(l.core.sessions.size).toBe(1);
  });
});

describe("a client that rings without end", () => {
  it("is asked no longer to change, and heard 64 times", async () => {
    const l = await lab({ service: { ringS: 90 } });
    const { server, inviteAtServer, answerOfServer } = await establish(l);
    server.backInDialog("INVITE", inviteAtServer, answerOfServer, 1);
    const at = l.client.request("INVITE");
    rings(l, l.client, at, 90);
    expect(count(server, 180)).toBe(64);
    only(l.client, "CANCEL");
  });
});
