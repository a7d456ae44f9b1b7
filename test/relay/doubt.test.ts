import { describe, expect, it } from "vitest";
import { type SipRequest, SipResponse } from "../../src/sip/message.ts";
import { establish, type Lab, lab, type Peer } from "./harness.ts";

/**
 * A victim's address, which a subscriber writes as the source of datagrams, or one to which a client has really moved.
 */
const THERE = ["198.51.100.7", 5062, "udp"] as const;
const OLD_CONTACT = "sip:192.0.2.1";

async function open(from: "udp" | "tcp" = "udp") {
  const l = await lab({ clientTransport: from });
  const call = await establish(l);
  return { l, call, server: call.server, there: l.peer(...THERE) };
}

type Open = Awaited<ReturnType<typeof open>>;

/** A request in the client's dialog from another place, to the URI that the client has known all along. */
function forge({ call, there }: Open, method: string, seq: number, uri = OLD_CONTACT): SipRequest {
  const from = call.invite.headers.get("from")!;
  const to = call.answer.headers.get("to")!;
  return there.within(method, from, to, call.invite.callId, uri, seq, {
    headers: method === "NOTIFY" ? [["Contact", there.contact]] : [],
  });
}

const contactIn = (message: { contact: { uri: string } | undefined }): string => message.contact!.uri;

/** How many messages lie there when whatever is repeated has been repeated. */
function drawn(l: Lab, place: Peer): number {
  l.clock.advance(40_000);
  return place.inbox.splice(0).length;
}

describe("what a subscriber can have sent to an address that is not his (RFC 4732 §3.1)", () => {
  it("re-INVITE: its 200 comes three times, and the BYE that follows three times", async () => {
    const o = await open();
    forge(o, "INVITE", 2);
    o.server.answer(o.server.request("INVITE"), 200);
    expect(drawn(o.l, o.there)).toBeLessThanOrEqual(6);
    expect(o.l.core.sessions.size).toBe(0);
  });

  it("UPDATE: one 200, and BYE three times", async () => {
    const o = await open();
    forge(o, "UPDATE", 2);
    o.server.answer(o.server.request("UPDATE"), 200);
    o.server.backInDialog("BYE", o.call.inviteAtServer, o.call.answerOfServer, 101);
    expect(drawn(o.l, o.there)).toBe(4);
  });

  it("all requests of the app server, each three times at first and once at last", async () => {
    const o = await open();
    forge(o, "UPDATE", 2);
    o.server.answer(o.server.request("UPDATE"), 200);
    o.there.inbox.length = 0;
    for (let i = 0; i < 20; i++) o.server.backInDialog("INFO", o.call.inviteAtServer, o.call.answerOfServer, 101 + i);
    expect(drawn(o.l, o.there)).toBeLessThanOrEqual(20 + 8 + 3);
  });

  it("a re-INVITE that is refused, by the app server or by the relay: three times", async () => {
    const o = await open();
    forge(o, "INVITE", 2);
    o.server.answer(o.server.request("INVITE"), 488);
    expect(drawn(o.l, o.there)).toBe(3);
    forge(o, "INVITE", 1); // an old number
    expect(drawn(o.l, o.there)).toBe(3);
  });

  it("one place after the other, and back: the repeats are not counted anew", async () => {
    const o = await open();
    let all = 0;
    for (let i = 0; i < 10; i++) {
      const place = o.l.peer(`198.51.100.${100 + i}`, 5060);
      forge({ ...o, there: place }, "UPDATE", 2 + 2 * i);
      o.server.answer(o.server.request("UPDATE"), 200);
      o.server.backInDialog("INFO", o.call.inviteAtServer, o.call.answerOfServer, 101 + i);
      all += drawn(o.l, place);
      o.server.inbox.length = 0;
      o.l.client.inDialog("UPDATE", o.call.invite, o.call.answer, 3 + 2 * i);
      o.server.answer(o.server.request("UPDATE"), 200);
      o.l.client.inbox.length = 0;
    }
    expect(all).toBeLessThanOrEqual(10 * 2 + 8);
  });

  it("also from a client that signed in by a connection", async () => {
    const o = await open("tcp");
    forge(o, "UPDATE", 2);
    o.server.answer(o.server.request("UPDATE"), 200);
    o.server.backInDialog("BYE", o.call.inviteAtServer, o.call.answerOfServer, 101);
    expect(drawn(o.l, o.there)).toBe(4);
  });
});

describe("a password in From over UDP (authentication.fromPassword: always), which shows nothing of where it comes from", () => {
  const called = async (answer: number) => {
    const l = await lab();
    l.core.authenticator.authenticate = () => ({ verdict: "accepted", user: "alice", byFrom: true });
    const there = l.peer("198.51.100.7", 5062);
    const invite = there.invite({ from: "<sip:alice:secret@portal.com>" });
    const server = l.server("a");
    server.answer(server.request("INVITE"), answer);
    return { l, there, invite, server };
  };

  it("the 200 comes three times, then BYE three times, and the address is not taken for certain", async () => {
    const { l, there } = await called(200);
    expect(drawn(l, there)).toBeLessThanOrEqual(1 + 3 + 3);
    expect(l.core.admission.reaches(there.flow)).toBe(false);
  });

  it("a refusal comes three times", async () => {
    const { l, there } = await called(486);
    expect(drawn(l, there)).toBeLessThanOrEqual(1 + 3);
  });

  it("and the client that is there shows it by its ACK", async () => {
    const { l, there, invite, server } = await called(200);
    const ok = there.response(200);
    there.within("ACK", invite.headers.get("from")!, ok.headers.get("to")!, invite.callId, contactIn(ok), 1, {});
    server.request("ACK");
    await l.settle();
    there.inbox.length = 0;
    for (const session of l.core.sessions.values()) session.probe(session.client!);
    expect(drawn(l, there)).toBeGreaterThan(8);
  });
});

describe("a client that has really moved", () => {
  /** What the relay sends is repeated as long as RFC 3261 §17.1.2.2 has it: the place is certain. */
  function isCertain(o: Open, place: Peer, seq = 200) {
    place.inbox.length = 0;
    o.server.backInDialog("INFO", o.call.inviteAtServer, o.call.answerOfServer, seq);
    return drawn(o.l, place) > 8;
  }

  it("shows it by its ACK, which it sends to the Contact of the 200", async () => {
    const o = await open();
    const invite = forge(o, "INVITE", 2);
    o.server.answer(o.server.request("INVITE"), 200);
    const ok = o.there.response(200);
    expect(contactIn(ok)).toMatch(/^sip:192\.0\.2\.1:5060;heard=/);
    o.there.within("ACK", invite.headers.get("from")!, ok.headers.get("to")!, invite.callId, contactIn(ok), 2, {});
    o.server.request("ACK");
    expect(isCertain(o, o.there)).toBe(true);
  });

  it("shows it by any request to that Contact, also after UPDATE", async () => {
    const o = await open();
    forge(o, "UPDATE", 2);
    o.server.answer(o.server.request("UPDATE"), 200);
    forge(o, "INFO", 3, contactIn(o.there.response(200)));
    o.server.answer(o.server.request("INFO"), 200);
    expect(isCertain(o, o.there)).toBe(true);
  });

  it("shows it by the answer to a request of ours, whatever Contact it keeps", async () => {
    const o = await open();
    forge(o, "UPDATE", 2);
    o.server.answer(o.server.request("UPDATE"), 200);
    o.there.response(200);
    o.server.backInDialog("INFO", o.call.inviteAtServer, o.call.answerOfServer, 101);
    o.there.answer(o.there.request("INFO"), 200);
    expect(isCertain(o, o.there)).toBe(true);
  });

  it("does not show it by what anybody knows: an ACK to the old Contact, a made-up answer", async () => {
    const o = await open();
    const invite = forge(o, "INVITE", 2);
    o.server.answer(o.server.request("INVITE"), 200);
    o.there.within(
      "ACK",
      invite.headers.get("from")!,
      o.call.answer.headers.get("to")!,
      invite.callId,
      OLD_CONTACT,
      2,
      {},
    );
    o.server.request("ACK");
    const answer = new SipResponse(200, "OK");
    answer.headers.add("Via", "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKguess").add("CSeq", "1 INFO");
    for (const name of ["From", "To", "Call-ID"]) answer.headers.add(name, invite.headers.get(name.toLowerCase())!);
    o.there.send(answer);
    expect(isCertain(o, o.there)).toBe(false);
  });

  it("needs to show nothing where it comes from another port of its address, or by a connection", async () => {
    const places: [string, number, "udp" | "tcp"][] = [
      ["192.0.2.50", 5070, "udp"],
      ["198.51.100.7", 5062, "tcp"],
    ];
    for (const place of places) {
      const o = await open();
      const there = o.l.peer(...place);
      forge({ ...o, there }, "UPDATE", 2);
      o.server.answer(o.server.request("UPDATE"), 200);
      expect(contactIn(there.response(200))).not.toContain("heard");
    }
  });

  it("and hears its 200 although the first two are lost (§13.3.1.4)", async () => {
    const o = await open();
    o.there.deaf = true;
    const invite = forge(o, "INVITE", 2);
    o.server.answer(o.server.request("INVITE"), 200);
    o.l.clock.advance(1_000);
    o.there.deaf = false;
    o.l.clock.advance(1_000);
    const ok = o.there.response(200);
    o.there.within("ACK", invite.headers.get("from")!, ok.headers.get("to")!, invite.callId, contactIn(ok), 2, {});
    o.server.request("ACK");
    expect(o.l.core.sessions.size).toBe(1);
  });
});
