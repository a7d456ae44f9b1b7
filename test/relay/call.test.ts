import { describe, expect, it } from "vitest";
import type { SipMessage } from "../../src/sip/message.ts";
import { establish, lab } from "./harness.ts";

const nothing = { sessions: 0, requests: 0, legs: 0, legsByFlow: 0, transactions: 0, timers: 0 };

describe("a call through the relay", () => {
  it("relays INVITE, 180, 200, ACK, BYE and its 200, and puts start and end on record (M1, M5-M7, M11-M13)", async () => {
    const l = await lab();
    const invite = l.client.invite({ body: "v=0" });
    const server = l.server("a");
    const at = server.request("INVITE");
    expect(at.body.toString()).toBe("v=0");
    server.answer(at, 180);
    expect(l.client.response(180).toTag).toBeDefined();
    server.answer(at, 200, { body: "v=1" });
    const answer = l.client.response(200);
    expect(answer.body.toString()).toBe("v=1");
    l.clock.advance(100);
    l.client.ack(invite, answer);
    server.request("ACK");
    const startedAt = l.clock.wall();
    l.clock.advance(61_000);
    const bye = l.client.inDialog("BYE", invite, answer, 2);
    const byeAtServer = server.request("BYE");
    l.clock.advance(500);
    server.answer(byeAtServer, 200);
    await l.settle();
    expect(l.client.response(200).cseq).toEqual(bye.cseq);
    expect(l.events).toMatchObject([
      { type: "session.started", at: startedAt, session: { user: "alice", service: "service1", appServer: "a" } },
      { type: "session.ended", startedAt, at: startedAt + 61_500, durationMs: 61_500, endedBy: "client" },
    ]);
    l.clock.advance(64_000);
    expect(l.leftovers()).toEqual(nothing);
  });

  it("relays a BYE of the app server and the client's 200 (M11)", async () => {
    const l = await lab();
    const { server, inviteAtServer, answerOfServer } = await establish(l);
    server.backInDialog("BYE", inviteAtServer, answerOfServer, 1);
    l.client.answer(l.client.request("BYE"), 200);
    await l.settle();
    server.response(200);
    expect(l.events.at(-1)).toMatchObject({ type: "session.ended", endedBy: "server" });
    l.clock.advance(64_000);
    expect(l.leftovers()).toEqual(nothing);
  });

  it("passes bodies and headers that it does not own, both ways (decision 1)", async () => {
    const l = await lab();
    l.client.invite({
      headers: [
        ["X-Shop", "wine; \xe9"],
        ["Subject", "a, b"],
        ["Privacy", "id"],
      ],
      body: "<order/>",
      type: "application/xml",
    });
    const at = l.server("a").request("INVITE");
    expect(at.headers.get("x-shop")).toBe("wine; \xe9");
    expect(at.headers.get("subject")).toBe("a, b");
    expect(at.headers.get("privacy")).toBe("id");
    expect(at.headers.get("content-type")).toBe("application/xml");
    expect(at.body.toString()).toBe("<order/>");
    l.server("a").answer(at, 183, { headers: [["X-Queue", "3"]], body: "wait", type: "text/plain" });
    const progress = l.client.response(183);
    expect(progress.headers.get("x-queue")).toBe("3");
    expect(progress.body.toString()).toBe("wait");
  });

  it("keeps the two dialogs apart: Call-ID, tags, Via, Contact and CSeq are its own (decision 1)", async () => {
    const l = await lab();
    const invite = l.client.invite();
    const at = l.server("a").request("INVITE");
    expect(at.callId).not.toBe(invite.callId);
    expect(at.fromTag).not.toBe(invite.fromTag);
    expect(at.headers.all("via")).toHaveLength(1);
    expect(at.headers.get("contact")).toContain("192.0.2.1");
    expect(at.headers.get("from")).toContain('"Alice" <sip:alice@portal.com>');
    expect(at.headers.get("to")).toBe("<sip:service1@portal.com>");
    expect(at.headers.get("max-forwards")).toBe("69");
  });

  it("tells the app server who the client is, and never passes on credentials or claims of identity (M2, M9)", async () => {
    const l = await lab();
    l.client.invite({
      headers: [
        ["Authorization", 'Digest username="alice", realm="localhost", nonce="n", uri="sip:x", response="r"'],
        ["Authorization", 'Digest username="a", realm="portal.com", nonce="n", uri="sip:x", response="r"'],
        ["Authorization", 'Digest username="a", realm="wine.example", nonce="n", uri="sip:x", response="r"'],
        ["P-Asserted-Identity", "<sip:boss@portal.com>"],
        ["Identity", "forged"],
        ["Tollgate-Service", "free"],
        ["Tollgate-Attributes", "price=0"],
        ["Tollgate-Client", "name=boss"],
      ],
    });
    const at = l.server("a").request("INVITE");
    expect(at.headers.all("tollgate-service")).toEqual(["service1"]);
    expect(at.headers.has("tollgate-attributes") || at.headers.has("tollgate-client")).toBe(false);
    expect(at.headers.all("p-asserted-identity")).toEqual(["<sip:alice@portal.com>"]);
    expect(at.headers.has("identity")).toBe(false);
    expect(at.headers.all("authorization").join()).not.toContain("portal.com");
    expect(at.headers.all("authorization").join()).toContain("wine.example"); // RFC 3261 §22.3
  });

  it("takes a password out of From before it goes on (M2)", async () => {
    const l = await lab();
    const invite = l.client.invite();
    invite.headers.set("From", "Alice <sip:alice:secret@portal.com>;tag=x1").set("Call-ID", "other");
    l.server("a").request("INVITE");
    invite.headers.set("Via", "SIP/2.0/UDP 192.0.2.50:5062;branch=z9hG4bK-other");
    l.client.send(invite);
    expect(l.server("a").request("INVITE").headers.get("from")).toContain("<sip:alice@portal.com>");
  });

  it("says in each 2xx to INVITE and OPTIONS what it can, to each end (RFC 3261 §11.2, §13.3.1.4)", async () => {
    const l = await lab();
    const { invite, answer, server, inviteAtServer, answerOfServer } = await establish(l, {
      answerHeaders: [["Supported", "timer, unheard"]],
    });
    const said = (message: SipMessage, name: string) => message.headers.all(name).join(", ");
    expect(said(answer, "supported")).toBe("timer, replaces, tdialog, norefersub");
    expect(said(answer, "allow")).toContain("REFER");
    for (const [method, seq] of [
      ["INVITE", 2],
      ["OPTIONS", 3],
    ] as const) {
      const request = l.client.inDialog(method, invite, answer, seq);
      server.answer(server.request(method), 200);
      const changed = l.client.response(200);
      expect(said(changed, "supported")).toBe("timer, replaces, tdialog, norefersub");
      expect(said(changed, "allow")).toContain("REFER");
      if (method === "INVITE") l.client.ack(request, changed);
      server.inbox.length = 0;
      server.backInDialog(method, inviteAtServer, answerOfServer, seq);
      l.client.answer(l.client.request(method), 200);
      expect(said(server.response(200), "supported")).toBe("timer, norefersub");
    }
  });

  it("starts the clock with the answer where the service says so (M12)", async () => {
    const l = await lab({ service: { clock: "answer" } });
    const invite = l.client.invite();
    l.server("a").answer(l.server("a").request("INVITE"), 200);
    const answeredAt = l.clock.wall();
    await l.settle();
    l.clock.advance(300);
    l.client.ack(invite, l.client.response(200));
    await l.settle();
    expect(l.events).toMatchObject([{ type: "session.started", at: answeredAt }]);
  });

  it("absorbs retransmissions: an INVITE that comes twice is relayed once (RFC 3261 §17.2.1)", async () => {
    const l = await lab();
    const invite = l.client.invite();
    l.client.send(invite);
    l.server("a").request("INVITE");
    expect(l.server("a").inbox).toEqual([]);
  });

  it("answers 482 to a merged request: the same one by another way (RFC 3261 §8.2.2.2)", async () => {
    const l = await lab();
    const invite = l.client.invite();
    invite.headers.set("Via", "SIP/2.0/UDP 192.0.2.50:5062;branch=z9hG4bK-another-way");
    l.client.send(invite);
    l.client.response(482);
  });

  it("repeats the 200 until the ACK comes, and not after it (RFC 3261 §13.3.1.4)", async () => {
    const l = await lab();
    const invite = l.client.invite();
    l.server("a").answer(l.server("a").request("INVITE"), 200);
    const answer = l.client.response(200);
    l.clock.advance(1600);
    l.client.response(200);
    l.client.response(200);
    l.client.ack(invite, answer);
    l.clock.advance(40_000);
    expect(l.client.inbox).toEqual([]);
  });

  it("acknowledges the app server's repeated 200 again (RFC 3261 §13.2.2.4)", async () => {
    const l = await lab();
    const { server, inviteAtServer } = await establish(l);
    server.answer(inviteAtServer, 200, { body: "v=1" });
    server.request("ACK");
    expect(l.client.inbox).toEqual([]);
  });

  it("waits with the ACK to a repeated 200 until the client has sent its own (M7)", async () => {
    const l = await lab();
    l.client.invite();
    const at = l.server("a").request("INVITE");
    l.server("a").answer(at, 200);
    l.server("a").answer(at, 200);
    expect(l.server("a").inbox).toEqual([]);
  });

  it("ends the second dialog of an app server whose side forked (RFC 3261 §13.2.2.4)", async () => {
    const l = await lab();
    const { server, inviteAtServer } = await establish(l);
    server.answer(inviteAtServer, 200, { tag: "another" });
    expect(server.request("ACK").toTag).toBe("another");
    expect(server.request("BYE").toTag).toBe("another");
    expect(l.client.inbox).toEqual([]);
  });

  it("follows Record-Route on both sides (RFC 3261 §12)", async () => {
    const l = await lab();
    const { invite, answer, server } = await establish(l, {
      inviteHeaders: [["Record-Route", "<sip:192.0.2.60;lr>"]],
      answerHeaders: [["Record-Route", "<sip:192.0.2.101:5060;lr>, <sip:192.0.2.100:5060;lr>"]],
    });
    expect(answer.headers.get("record-route")).toBe("<sip:192.0.2.60;lr>");
    l.client.inDialog("BYE", invite, answer, 2);
    const bye = server.request("BYE");
    expect(bye.headers.all("route")).toEqual(["<sip:192.0.2.100:5060;lr>", "<sip:192.0.2.101:5060;lr>"]);
    expect(bye.uri).toBe("sip:peer@192.0.2.100:5060");
  });

  it("speaks to a client where it came from if it asks for that, whatever its Contact says (ob, RFC 5626 §4.3)", async () => {
    for (const [param, comes] of [
      [";ob", true],
      [";obstinate", false],
    ] as const) {
      const l = await lab();
      l.client.contact = `<sip:alice@192.0.2.50:9999${param}>`;
      const call = await establish(l);
      call.server.backInDialog("BYE", call.inviteAtServer, call.answerOfServer, 1);
      expect(l.client.inbox.some((message) => message.isRequest && message.method === "BYE")).toBe(comes);
    }
  });

  it("answers a client behind a NAT where it called from, not at its Contact", async () => {
    const l = await lab();
    const invite = l.client.invite({ body: "v=0" });
    const natted = invite;
    natted.headers
      .set("Via", "SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK-nat;rport")
      .set("Call-ID", "nat")
      .set("Contact", "<sip:alice@10.0.0.1:5060>");
    l.client.send(natted);
    l.server("a").request("INVITE");
    const at = l.server("a").request("INVITE");
    const ofServer = l.server("a").answer(at, 200);
    l.client.ack(natted, l.client.response(200));
    l.server("a").request("ACK");
    l.server("a").backInDialog("BYE", at, ofServer, 1);
    expect(l.client.request("BYE").uri).toBe("sip:alice@10.0.0.1:5060");
  });

  it("answers 500 to a BYE whose session's end cannot be put on record (decision 8)", async () => {
    const l = await lab();
    const { invite, answer, server } = await establish(l);
    l.breakRecorder(true);
    l.client.inDialog("BYE", invite, answer, 2);
    server.answer(server.request("BYE"), 200);
    await l.settle();
    l.client.response(500);
    expect(l.core.sessions.size).toBe(0);
  });

  it("puts the end on record as soon as that can be done, once, with the time that it had (M12, M16)", async () => {
    const l = await lab();
    const { invite, answer, server } = await establish(l);
    l.clock.advance(7_000);
    l.breakRecorder(true);
    l.client.inDialog("BYE", invite, answer, 2);
    const charges = '{"charges":[{"id":"c9","item":"cork","unitPrice":"1","currency":"EUR"}]}';
    server.answer(server.request("BYE"), 200, { body: charges, type: "application/vnd.tollgate.charge+json" });
    await l.settle();
    l.client.response(500);
    for (let s = 0; s < 30; s += 5) {
      l.clock.advance(5_000);
      await l.settle();
    }
    expect(l.core.laterRecords.size).toBe(2);
    expect(l.events.map(({ type }) => type)).toEqual(["session.started"]);
    l.breakRecorder(false);
    l.clock.advance(5_000);
    await l.settle();
    expect(l.events.slice(1)).toMatchObject([
      { type: "charge.made", charge: { id: "c9" } },
      { type: "session.ended", durationMs: 7_000, endedBy: "client" },
    ]);
    l.clock.advance(60_000);
    await l.settle();
    expect(l.events).toHaveLength(3);
    expect(l.core.laterRecords.size).toBe(0);
  });

  it("ends a session whose start cannot be put on record (decision 8)", async () => {
    const l = await lab();
    l.breakRecorder(true);
    const { server } = await establish(l);
    expect(server.request("BYE").headers.get("reason")).toContain("record");
    l.client.request("BYE");
  });

  it.each([
    ["postpaid", {}],
    ["prepaid", { balance: "20" }],
  ])("is refused with 500 before anybody is asked where it could not be billed (%s; decision 17)", async (_, who) => {
    const odd = { id: "odd", currency: "EUR", price: "-1" };
    const l = await lab({ tariff: null, service: { tariff: "odd" }, storedTariffs: [odd], ...who });
    l.client.invite();
    await l.settle();
    l.client.response(500);
    expect(l.server("a").inbox).toEqual([]);
    expect(l.events).toEqual([]);
  });
});
