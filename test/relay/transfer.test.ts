import { describe, expect, it } from "vitest";
import type { SipRequest, SipResponse } from "../../src/sip/message.ts";
import { keptLog } from "../support/lines.ts";
import { establish, type Lab, type LabOptions, lab } from "./harness.ts";

const ACCESS = '{"url":"http://beer/"}';
const JSON_BODY = { body: ACCESS, type: "application/json" };

type Call = Awaited<ReturnType<typeof establish>>;
type Extra = { headers?: [string, string][]; body?: string; type?: string };

function twoServers(options: LabOptions = {}): Promise<Lab> {
  return lab({
    servers: [{ id: "a" }, { id: "b", services: ["beer"] }],
    more: [{ id: "beer", tariff: "t" }],
    ...options,
  });
}

async function called(options: LabOptions = {}) {
  const l = await twoServers(options);
  return { l, call: await establish(l), a: l.server("a"), b: l.server("b") };
}

/** A REFER of the client in its session. */
function refer(l: Lab, call: Call, to = "<sip:beer@portal.com>", extra: Extra = {}, seq = 2): SipRequest {
  const headers: [string, string][] = [["Contact", l.client.contact], ["Refer-To", to], ...(extra.headers ?? [])];
  return l.client.inDialog("REFER", call.invite, call.answer, seq, { ...extra, headers });
}

/** The REFER is accepted and its first report read. */
function accepted(l: Lab): { ok: SipResponse; notify: SipRequest } {
  const ok = l.client.response(200);
  return { ok, notify: report(l, "SIP/2.0 100 Trying\r\n") };
}

/** The REFER is accepted, and the second app server takes it: what the client is invited by. */
function invited(l: Lab, call: Call, ...referred: [to?: string, extra?: Extra, seq?: number]): SipRequest {
  refer(l, call, ...referred);
  accepted(l);
  const b = l.server("b");
  b.answer(b.request("INVITE"), 200, JSON_BODY);
  return l.client.request("INVITE");
}

function report(l: Lab, start: string, peer = l.client): SipRequest {
  const notify = peer.request("NOTIFY");
  expect(notify.body.toString()).toMatch(new RegExp(`^${start.replaceAll(".", "\\.")}`));
  peer.answer(notify, 200);
  return notify;
}

const state = (notify: SipRequest) => notify.headers.get("subscription-state");
const told = (l: Lab) => l.events.map((event) => `${event.type} ${event.session.service}`);

/** The client takes what the relay invites it to. */
function take(l: Lab, invite: SipRequest, body = "v=answer"): void {
  l.client.answer(invite, 200, { tag: "second", body });
  l.client.request("ACK");
}

async function firstEnds(l: Lab): Promise<void> {
  for (const peer of [l.client, l.server("a")]) peer.answer(peer.request("BYE"), 200);
  await l.settle();
}

/** Everything still up is ended by the app servers, and nothing may be left. */
async function nothingIsLeft(l: Lab): Promise<void> {
  for (const session of [...l.core.sessions.values()]) session.end({ code: "stops" });
  for (const peer of [l.client, l.server("a"), l.server("b")])
    for (const message of peer.inbox.splice(0))
      if (message.isRequest && message.method !== "ACK") peer.answer(message, message.method === "INVITE" ? 487 : 200);
  await l.settle();
  l.clock.advance(70_000);
  await l.settle();
  expect(l.core.transfers.size + l.core.transfersByTag.size).toBe(0);
  expect(l.leftovers()).toEqual({ sessions: 0, requests: 0, legs: 0, legsByFlow: 0, transactions: 0, timers: 0 });
}

describe("REFER of the client in its session (M23, RFC 3515)", () => {
  it("asks the second app server, reports, invites the client with its answer, and ends the first session", async () => {
    const { l, call, b } = await called();
    refer(l, call, "<sip:beer@portal.com>", {
      body: "<beer/>",
      type: "application/xml",
      headers: [["Subject", "thirst"]],
    });
    const { ok, notify } = accepted(l);
    expect(ok.headers.has("contact")).toBe(true);
    expect([notify.headers.get("event"), state(notify), notify.headers.get("content-type")]).toEqual([
      "refer;id=2",
      "active;expires=180",
      "message/sipfrag;version=2.0",
    ]);
    expect(notify.callId).toBe(call.invite.callId);

    const asked = b.request("INVITE");
    expect([asked.headers.get("subject"), asked.body.toString(), asked.headers.get("content-type")]).toEqual([
      "thirst",
      "<beer/>",
      "application/xml",
    ]);
    expect(asked.headers.get("to")).toBe("<sip:beer@portal.com>");
    expect(asked.headers.get("p-asserted-identity")).toBe("<sip:alice@portal.com>");
    for (const key of ["refer-to", "event", "authorization"]) expect(asked.headers.has(key)).toBe(false);
    b.answer(asked, 180);
    report(l, "SIP/2.0 180 Ringing\r\n");
    b.answer(asked, 200, JSON_BODY);

    const invite = l.client.request("INVITE");
    expect(invite.callId).not.toBe(call.invite.callId);
    expect([invite.body.toString(), invite.headers.get("content-type")]).toEqual([ACCESS, "application/json"]);
    expect(invite.headers.get("from")).toMatch(/^<sip:beer@portal\.com>;tag=/);
    expect(invite.headers.get("to")).toBe('"Alice" <sip:alice@portal.com>');
    const { callId, fromTag } = call.invite;
    expect(invite.headers.get("target-dialog")).toBe(`${callId};local-tag=${call.answer.toTag};remote-tag=${fromTag}`);
    expect(invite.headers.get("replaces")).toBe(`${callId};to-tag=${fromTag};from-tag=${call.answer.toTag}`);
    expect(b.inbox).toEqual([]); // No ACK before the client's answer is known.
    take(l, invite);
    expect(b.request("ACK").body.toString()).toBe("v=answer"); // RFC 3725 §4.1

    const last = report(l, "SIP/2.0 200 OK\r\n");
    expect(last.body.toString()).toBe(
      `SIP/2.0 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${ACCESS.length}\r\n\r\n${ACCESS}`,
    );
    expect(state(last)).toBe("terminated;reason=noresource");
    await firstEnds(l);
    expect(told(l)).toEqual([
      "session.started service1",
      "session.moved beer",
      "session.started beer",
      "session.ended service1",
    ]);
    expect(l.events[1]).toMatchObject({ kept: false, session: { previous: { by: "move" } } });
  });

  it("has a second session that either side can end, with its own clock (M12)", async () => {
    const { l, call, b } = await called();
    refer(l, call);
    accepted(l);
    const asked = b.request("INVITE");
    const answered = b.answer(asked, 200, JSON_BODY);
    const invite = l.client.request("INVITE");
    take(l, invite);
    b.request("ACK");
    report(l, "SIP/2.0 200 OK\r\n");
    await firstEnds(l);
    l.clock.advance(7_000);
    b.backInDialog("BYE", asked, answered, 1);
    const bye = l.client.request("BYE");
    expect([bye.callId, bye.toTag]).toEqual([invite.callId, "second"]);
    l.client.answer(bye, 200);
    await l.settle();
    b.response(200);
    expect(l.events.at(-1)).toMatchObject({ type: "session.ended", durationMs: 7_000, session: { service: "beer" } });
    await nothingIsLeft(l);
  });

  it.each([
    ["the service says so", { service: { onMove: "keep" } }, "<sip:beer@portal.com>"],
    ["the request says so", {}, "<sip:beer@portal.com>;first=keep"],
  ] as [string, LabOptions, string][])("lets the first session go on where %s (M24)", async (_what, options, to) => {
    const { l, call, a } = await called(options);
    const invite = invited(l, call, to);
    expect(invite.headers.has("replaces")).toBe(false);
    take(l, invite);
    report(l, "SIP/2.0 200 OK\r\n");
    await l.settle();
    expect([a.inbox, l.client.inbox, l.core.sessions.size]).toEqual([[], [], 2]);
    expect(l.events[1]).toMatchObject({ type: "session.moved", kept: true });
    // The first is as it was: one may move again from there.
    l.client.inDialog("MESSAGE", call.invite, call.answer, 3, { body: "still here", type: "text/plain" });
    a.answer(a.request("MESSAGE"), 200);
    l.client.response(200);
  });

  it("ends the first where the request says so, whatever the service says", async () => {
    const { l, call, b } = await called({ service: { onMove: "keep" } });
    refer(l, call, "<sip:beer@portal.com>;first=end");
    accepted(l);
    b.answer(b.request("INVITE"), 200);
    take(l, l.client.request("INVITE"));
    report(l, "SIP/2.0 200 OK\r\n");
    await firstEnds(l);
    expect(l.core.sessions.size).toBe(1);
  });

  it("takes header fields and body from the Refer-To URI, but none that speaks for a path or an identity (RFC 3261 §19.1.5)", async () => {
    const { l, call, b } = await called();
    const uri =
      "sip:beer@portal.com?Subject=two%20pints&P-Asserted-Identity=%3Csip:eve@portal.com%3E&Route=%3Csip:evil.example%3E&body=%3Cbeer%2F%3E&Content-Type=application%2Fxml";
    refer(l, call, `<${uri}>`, { body: "v=0" });
    accepted(l);
    const asked = b.request("INVITE");
    expect(asked.headers.get("subject")).toBe("two pints");
    expect([asked.body.toString(), asked.headers.all("content-type")]).toEqual(["<beer/>", ["application/xml"]]);
    expect(asked.headers.all("p-asserted-identity")).toEqual(["<sip:alice@portal.com>"]);
    expect(asked.headers.has("route")).toBe(false);
  });

  it("reports nothing with Refer-Sub: false (RFC 4488 §4)", async () => {
    const { l, call, b } = await called();
    refer(l, call, "<sip:beer@portal.com>", {
      headers: [
        ["Refer-Sub", "false"],
        ["Require", "norefersub"],
      ],
    });
    expect(l.client.response(200).headers.get("refer-sub")).toBe("false");
    b.answer(b.request("INVITE"), 200);
    take(l, l.client.request("INVITE"));
    await firstEnds(l);
    expect(told(l)).toContain("session.started beer");
  });

  it("authenticates the client again, and takes no other user (M23)", async () => {
    const { l, call, b } = await called();
    const { authenticator } = l.core;
    const accepts = authenticator.authenticate;
    authenticator.authenticate = () => ({
      verdict: "challenge",
      challenges: ['Digest realm="portal.com"'],
      stale: false,
    });
    refer(l, call);
    expect(l.client.response(401).headers.has("www-authenticate")).toBe(true);
    authenticator.authenticate = () => ({ verdict: "accepted", user: "mallory" });
    refer(l, call, undefined, {}, 3);
    l.client.response(403);
    authenticator.authenticate = () => ({ verdict: "throttled", retryAfterS: 4 });
    refer(l, call, undefined, {}, 4);
    expect(l.client.response(503).headers.get("retry-after")).toBe("4");
    authenticator.authenticate = () => ({ verdict: "refused", status: 401, reason: "x", challenges: ["Digest"] });
    refer(l, call, undefined, {}, 5);
    l.client.response(401);
    expect(b.inbox).toEqual([]);
    authenticator.authenticate = accepts;
    refer(l, call, undefined, {}, 6);
    accepted(l);
    b.request("INVITE");
  });

  it.each([
    ["400 without Refer-To", [], 400],
    ["400 to one that cannot be read", [["Refer-To", "beer"]], 400],
    ["400 to another scheme", [["Refer-To", "<tel:+1>"]], 400],
    ["403 to another method than INVITE", [["Refer-To", "<sip:beer@portal.com;method=BYE>"]], 403],
  ] as [string, [string, string][], number][])("answers %s (RFC 3515 §2.4.2)", async (_what, headers, status) => {
    const { l, call } = await called();
    l.client.inDialog("REFER", call.invite, call.answer, 2, { headers });
    l.client.response(status);
    expect(l.core.transfers.size).toBe(0);
    expect(l.core.sessions.size).toBe(1);
  });

  it("answers 500 before the session stands, since its early dialog is there, and 503 to a relay that is full or about to stop", async () => {
    const { l, call } = await called();
    l.core.draining = true;
    refer(l, call);
    expect(l.client.response(503).headers.get("retry-after")).toBe("60");
    const early = await twoServers();
    const invite = early.client.invite();
    early.server("a").answer(early.server("a").request("INVITE"), 180);
    const ringing = early.client.response(180);
    early.client.inDialog("REFER", invite, ringing, 2, { headers: [["Refer-To", "<sip:beer@portal.com>"]] });
    expect(early.client.response(500).headers.has("retry-after")).toBe(true);
  });
});

describe("what goes wrong leaves the first session as it was", () => {
  async function unmoved(l: Lab, call: Call) {
    await l.settle();
    expect(told(l).filter((line) => !line.endsWith("beer"))).toEqual(["session.started service1"]);
    expect(told(l)).not.toContain("session.moved beer");
    expect(told(l)).not.toContain("session.ended beer"); // Nobody pays for what did not come about.
    l.client.inDialog("MESSAGE", call.invite, call.answer, 90, { body: "still here", type: "text/plain" });
    l.server("a").answer(l.server("a").request("MESSAGE"), 200);
    l.client.response(200);
    expect(l.core.sessions.size).toBe(1);
    await nothingIsLeft(l);
  }

  it("the second app server refuses", async () => {
    const { l, call, b } = await called();
    refer(l, call);
    accepted(l);
    b.answer(b.request("INVITE"), 486);
    b.request("ACK");
    expect(state(report(l, "SIP/2.0 486 Busy Here\r\n"))).toBe("terminated;reason=noresource");
    await unmoved(l, call);
  });

  it("nobody offers the service, or it is not known", async () => {
    const { l, call } = await called({ more: [{ id: "beer" }, { id: "milk" }] });
    refer(l, call, "<sip:milk@portal.com>");
    accepted(l);
    report(l, "SIP/2.0 404");
    refer(l, call, "<sip:nothing@portal.com>", {}, 3);
    accepted(l);
    report(l, "SIP/2.0 404");
    await unmoved(l, call);
  });

  it("the second app server is silent", async () => {
    const { l, call, b } = await called();
    refer(l, call);
    accepted(l);
    b.deaf = true;
    b.inbox.length = 0;
    l.clock.advance(8_000);
    report(l, "SIP/2.0 408 Request Timeout\r\n");
    l.clock.advance(40_000);
    await unmoved(l, call);
  });

  it("the client refuses the INVITE: the second app server is told, and nothing is charged", async () => {
    const { l, call, b } = await called({ more: [{ id: "beer", tariff: "t", clock: "answer" }] });
    l.client.answer(invited(l, call), 603);
    l.client.request("ACK");
    b.request("ACK");
    b.answer(b.request("BYE"), 200);
    report(l, "SIP/2.0 603");
    await unmoved(l, call);
  });

  it.each(["udp", "tcp"] as const)(
    "the client lets the INVITE ring too long: CANCEL, and a 200 that crosses it is ended (%s)",
    async (clientTransport) => {
      const { l, call, b } = await called({ clientTransport });
      const invite = invited(l, call);
      l.client.answer(invite, 180, { tag: "second" });
      l.clock.advance(28_000);
      const cancel = l.client.inbox.find((message) => message.isRequest && message.method === "CANCEL") as SipRequest;
      const notify = l.client.inbox.find((message) => message.isRequest && message.method === "NOTIFY") as SipRequest;
      expect(notify.body.toString()).toMatch(/^SIP\/2\.0 408/);
      l.client.inbox.length = 0;
      l.client.answer(notify, 200);
      l.client.answer(cancel, 200);
      l.client.answer(invite, 200, { tag: "second" });
      expect(l.client.request("ACK").toTag).toBe("second");
      l.client.answer(l.client.request("BYE"), 200);
      const byes = b.inbox.splice(0).filter((message) => message.isRequest && message.method === "BYE");
      b.answer(byes[0] as SipRequest, 200);
      await unmoved(l, call);
    },
  );

  it.each(["udp", "tcp"] as const)(
    "another of the client's devices answers too: its dialog is ended, by its own way (%s, RFC 3261 §13.2.2.4)",
    async (clientTransport) => {
      const { l, call, b } = await called({ clientTransport });
      const invite = invited(l, call);
      take(l, invite);
      b.request("ACK");
      report(l, "SIP/2.0 200");
      await firstEnds(l);
      l.client.contact = "<sip:tablet@192.0.2.7:5060>";
      l.client.answer(invite, 200, { tag: "tablet" });
      const [ack, bye] = [l.client.request("ACK"), l.client.request("BYE")];
      expect([ack.toTag, bye.toTag, bye.callId]).toEqual(["tablet", "tablet", invite.callId]);
      l.client.answer(bye, 200);
      expect([l.core.sessions.size, b.inbox]).toEqual([1, []]);
      await nothingIsLeft(l);
    },
  );

  it("the second app server hangs up before the client has answered", async () => {
    const { l, call, b } = await called();
    refer(l, call);
    accepted(l);
    const asked = b.request("INVITE");
    const answered = b.answer(asked, 200, JSON_BODY);
    const invite = l.client.request("INVITE");
    l.client.answer(invite, 180, { tag: "second" });
    b.backInDialog("BYE", asked, answered, 1);
    l.client.answer(l.client.request("CANCEL"), 200);
    report(l, "SIP/2.0 480");
    l.client.answer(invite, 487, { tag: "second" });
    l.client.request("ACK");
    b.request("ACK");
    await l.settle();
    b.response(200);
    await unmoved(l, call);
  });

  it("a fault of the relay", async () => {
    const { l, call } = await called();
    l.core.directory.identify = () => {
      throw new Error("broken");
    };
    refer(l, call);
    accepted(l);
    report(l, "SIP/2.0 500");
    await unmoved(l, call);
  });
});

describe("who hangs up while a move is under way", () => {
  it("the client, before there is an answer: the second app server is cancelled and both are over", async () => {
    const { l, call, a, b } = await called();
    refer(l, call);
    accepted(l);
    const asked = b.request("INVITE");
    b.answer(asked, 180);
    report(l, "SIP/2.0 180");
    l.client.inDialog("BYE", call.invite, call.answer, 3);
    b.answer(b.request("CANCEL"), 200);
    b.answer(asked, 487);
    b.request("ACK");
    report(l, "SIP/2.0 487"); // RFC 5057 §4.2: the reports outlive the session in their dialog.
    a.answer(a.request("BYE"), 200);
    await l.settle();
    l.client.response(200);
    expect(told(l)).toEqual(["session.started service1", "session.ended service1"]);
    await nothingIsLeft(l);
  });

  it("the client, when the second session waits for it: that one comes about all the same (RFC 3891 §3)", async () => {
    const { l, call, a } = await called();
    const invite = invited(l, call);
    l.client.inDialog("BYE", call.invite, call.answer, 3);
    a.answer(a.request("BYE"), 200);
    await l.settle();
    l.client.response(200);
    take(l, invite);
    report(l, "SIP/2.0 200");
    await l.settle();
    expect(told(l)).toEqual([
      "session.started service1",
      "session.ended service1",
      "session.moved beer",
      "session.started beer",
    ]);
    await nothingIsLeft(l);
  });

  it("the first app server: the move goes on", async () => {
    const { l, call, a, b } = await called();
    refer(l, call);
    accepted(l);
    const asked = b.request("INVITE");
    a.backInDialog("BYE", call.inviteAtServer, call.answerOfServer, 1);
    l.client.answer(l.client.request("BYE"), 200);
    await l.settle();
    a.response(200);
    b.answer(asked, 200, JSON_BODY);
    const invite = l.client.request("INVITE");
    expect(invite.headers.has("replaces")).toBe(false); // It would name a dialog that is gone.
    take(l, invite);
    report(l, "SIP/2.0 200");
    await l.settle();
    expect(told(l)).toContain("session.started beer");
    expect(l.core.sessions.size).toBe(1);
    await nothingIsLeft(l);
  });
});

describe("the subscription (RFC 6665)", () => {
  it("allows one move at a time: 491 to a second REFER, and another when the first is through", async () => {
    const { l, call, b } = await called();
    refer(l, call);
    accepted(l);
    const asked = b.request("INVITE");
    refer(l, call, undefined, {}, 3);
    l.client.response(491);
    b.answer(asked, 486);
    b.request("ACK");
    report(l, "SIP/2.0 486");
    refer(l, call, undefined, {}, 4);
    expect(accepted(l).notify.headers.get("event")).toBe("refer;id=4");
  });

  it("is prolonged and ended by SUBSCRIBE; the move goes on without", async () => {
    const { l, call, b } = await called();
    refer(l, call);
    accepted(l);
    l.clock.advance(5_000);
    const subscribe = (seq: number, event: string, expires: string) =>
      l.client.inDialog("SUBSCRIBE", call.invite, call.answer, seq, {
        headers: [
          ["Event", event],
          ["Expires", expires],
          ["Contact", l.client.contact],
        ],
      });
    subscribe(3, "refer;id=2", "100");
    expect(l.client.response(200).headers.get("expires")).toBe("100");
    expect(state(report(l, "SIP/2.0 100"))).toBe("active;expires=100");
    subscribe(4, "refer;id=7", "100");
    l.client.response(481);
    subscribe(5, "presence", "100");
    expect(l.client.response(489).headers.get("allow-events")).toBe("refer");
    subscribe(6, "refer", "0");
    l.client.response(200);
    expect(state(report(l, "SIP/2.0 100"))).toBe("terminated;reason=timeout");
    subscribe(7, "refer", "100");
    l.client.response(481);
    b.inbox.length = 1;
    b.answer(b.request("INVITE"), 200, JSON_BODY);
    take(l, l.client.request("INVITE"));
    await firstEnds(l);
    expect(told(l)).toContain("session.moved beer");
    await nothingIsLeft(l);
  });

  it("ends at its time, and says so", async () => {
    const { l, call, b } = await called({ session: { moveReportsS: 20 } });
    refer(l, call);
    expect(state(accepted(l).notify)).toBe("active;expires=20");
    const asked = b.request("INVITE");
    b.answer(asked, 180);
    expect(state(report(l, "SIP/2.0 180"))).toBe("active;expires=20");
    l.clock.advance(20_000);
    expect(state(report(l, "SIP/2.0 180"))).toBe("terminated;reason=timeout");
    b.answer(asked, 486);
    b.request("ACK");
    expect(l.client.inbox).toEqual([]);
    await nothingIsLeft(l);
  });

  it("ends where the client knows nothing of it (481), and the move goes on", async () => {
    const { l, call, b } = await called();
    refer(l, call);
    l.client.response(200);
    l.client.answer(l.client.request("NOTIFY"), 481);
    b.answer(b.request("INVITE"), 200);
    take(l, l.client.request("INVITE"));
    await firstEnds(l); // And no report.
    await nothingIsLeft(l);
  });

  it("has one NOTIFY under way at a time; of those that wait the latest is sent", async () => {
    const { l, call, b } = await called();
    refer(l, call);
    l.client.response(200);
    const first = l.client.request("NOTIFY");
    const asked = b.request("INVITE");
    b.answer(asked, 180);
    b.answer(asked, 183);
    expect(l.client.inbox).toEqual([]);
    l.client.answer(first, 200);
    report(l, "SIP/2.0 183");
    expect(l.client.inbox).toEqual([]);
  });
});

describe("REFER outside of the session (RFC 4538, RFC 7647)", () => {
  async function outside(headers: (call: Call) => [string, string][]) {
    const set = await called();
    const { l, call } = set;
    const base = l.client.invite({ uri: "sip:portal.com" });
    l.server("a").inbox.length = 0;
    l.client.inbox.length = 0;
    const refer = Object.assign(Object.create(Object.getPrototypeOf(base)), base, { method: "REFER" }) as SipRequest;
    refer.headers
      .set("CSeq", "5 REFER")
      .set("Via", refer.headers.get("via")!.replace("branch=z9hG4bK", "branch=z9hG4bKr"));
    refer.headers.set("Call-ID", "refer-call");
    for (const [name, value] of [["Refer-To", "<sip:beer@portal.com>"] as [string, string], ...headers(call)])
      refer.headers.set(name, value);
    l.client.send(refer);
    return { ...set, refer };
  }
  const target = ({ invite, answer }: Call): [string, string][] => [
    ["Target-Dialog", `${invite.callId};local-tag=${invite.fromTag};remote-tag=${answer.toTag}`],
  ];

  it("moves the session that Target-Dialog names, and reports in a dialog of its own", async () => {
    const { l, b, call, refer } = await outside(target);
    const { ok, notify } = accepted(l);
    expect(notify.callId).toBe(refer.callId);
    expect([notify.fromTag, notify.toTag]).toEqual([ok.toTag, refer.fromTag]);
    const subscribed = l.client.inDialog("SUBSCRIBE", refer, ok, 6, {
      headers: [
        ["Event", "refer"],
        ["Expires", "60"],
        ["Contact", l.client.contact],
      ],
    });
    expect(subscribed.callId).toBe(refer.callId);
    l.client.response(200);
    report(l, "SIP/2.0 100");
    b.answer(b.request("INVITE"), 200, JSON_BODY);
    const invite = l.client.request("INVITE");
    expect(invite.headers.get("replaces")).toContain(call.invite.callId);
    take(l, invite);
    report(l, "SIP/2.0 200");
    await firstEnds(l);
    expect(told(l)).toContain("session.moved beer");
    await nothingIsLeft(l);
  });

  it.each([
    ["403 without Target-Dialog", () => [], 403],
    ["400 to one that cannot be read", () => [["Target-Dialog", "x"]], 400],
    ["481 to a dialog that is not there", () => [["Target-Dialog", "x;local-tag=1;remote-tag=2"]], 481],
  ] as [string, () => [string, string][], number][])("answers %s", async (_what, headers, status) => {
    const { l } = await outside(headers);
    l.client.response(status);
    expect(l.core.transfers.size).toBe(0);
  });

  it("answers 481 to another user's session, and 489 to a SUBSCRIBE that no REFER has made", async () => {
    const { l, call } = await called();
    l.core.authenticator.authenticate = () => ({ verdict: "accepted", user: "mallory" });
    const text = `${call.invite.callId};local-tag=${call.invite.fromTag};remote-tag=${call.answer.toTag}`;
    const send = (method: string, extra: [string, string][]) => {
      const request = l.client.inDialog(method, call.invite, call.answer, 9, { headers: extra });
      l.client.inbox.length = 0;
      request.headers.set("To", "<sip:portal.com>").set("Via", `${request.headers.get("via")}x`);
      request.changed();
      l.client.send(request);
    };
    send("REFER", [
      ["Refer-To", "<sip:beer@portal.com>"],
      ["Target-Dialog", text],
    ]);
    l.client.response(481);
    send("SUBSCRIBE", [["Event", "presence"]]);
    l.client.response(489);
  });
});

describe("Replaces in Refer-To", () => {
  type Named = { call: Call; early?: boolean };
  const escaped = ({ call, early }: Named, change: (text: string) => string = (text) => text) =>
    encodeURIComponent(
      change(
        `${call.invite.callId};to-tag=${call.answer.toTag};from-tag=${call.invite.fromTag}${early ? ";early-only" : ""}`,
      ),
    );
  const goesOn = async (l: Lab, ...sessions: Call[]) => {
    await l.settle();
    l.clock.advance(5_000);
    expect(l.core.sessions.size).toBe(sessions.length);
    expect([...l.client.inbox, ...l.server("a").inbox, ...l.server("b").inbox]).toEqual([]);
    expect(l.core.transfers.size + l.core.requests.size).toBe(0);
    expect(told(l)).toEqual(
      sessions.map(({ server }) => `session.started ${server === l.server("a") ? "service1" : "beer"}`),
    );
  };
  /** A session at the wine shop, and one at the beer shop. */
  const twoSessions = async () => {
    const { l, call, a, b } = await called();
    const invite = l.client.invite({ uri: "sip:beer@portal.com", body: "v=0" });
    const inviteAtServer = b.request("INVITE");
    const answerOfServer = b.answer(inviteAtServer, 200, { body: "v=1" });
    const answer = l.client.response(200);
    l.client.ack(invite, answer);
    const second: Call = { server: b, invite, answer, inviteAtServer, answerOfServer, ack: b.request("ACK") };
    await l.settle();
    return { l, a, b, call, second };
  };

  it.each([
    ["sip:beer@portal.com", "Replaces"],
    ["sip:192.0.2.1:5060", "Replaces"], // the Contact of the other dialog, which a telephone takes (RFC 5589 §7.3)
    ["sip:beer@portal.com", "%52ePlaces"],
  ])(
    "that names the user's other session, an attended transfer (RFC 5589 §7), gets 403; both go on, and nothing new is billed: %s?%s",
    async (to, name) => {
      const { l, call, second } = await twoSessions();
      refer(l, call, `<${to}?${name}=${escaped({ call: second })}>`);
      expect(l.client.response(403).reason).toBe("Two Sessions Cannot Be Joined Here");
      await goesOn(l, call, second);
      refer(l, second, `<${to}?${name}=${escaped({ call })}>`, {}, 2);
      l.client.response(403);
      await goesOn(l, call, second);
    },
  );

  it.each([
    ["with early-only", true, (text: string) => text],
    [
      "with tags the other way round",
      false,
      (text: string) => text.replace(/to-tag=(.*);from-tag=(.*)/, "to-tag=$2;from-tag=$1"),
    ],
    ["with another tag", false, (text: string) => `${text}x`],
    ["of a call that nobody knows, or at another node", false, (text: string) => `x${text}`],
  ])("that names the other session %s gets 403 too", async (_what, early, change) => {
    const { l, call, second } = await twoSessions();
    refer(l, call, `<sip:beer@portal.com?Replaces=${escaped({ call: second, early }, change)}>`);
    l.client.response(403);
    await goesOn(l, call, second);
  });

  it("that names another user's session gets the same 403 as one that is not there (RFC 3891 §5)", async () => {
    const { l, call, second } = await twoSessions();
    const session = [...l.core.sessions.values()].find(({ service }) => service.id === "beer")!;
    Object.assign(session.facts, { user: "bob" });
    refer(l, call, `<sip:beer@portal.com?Replaces=${escaped({ call: second })}>`);
    const theirs = l.client.response(403).reason;
    refer(l, call, `<sip:beer@portal.com?Replaces=${escaped({ call: second }, (text) => `x${text}`)}>`, {}, 3);
    expect(l.client.response(403).reason).toBe(theirs);
    await goesOn(l, call, second);
  });

  it("that names a call which still rings gets 403 (RFC 5589 §7.6)", async () => {
    const { l, call, b } = await called();
    const invite = l.client.invite({ uri: "sip:beer@portal.com" });
    b.answer(b.request("INVITE"), 180);
    const ringing = l.client.response(180);
    refer(l, call, `<sip:beer@portal.com?Replaces=${escaped({ call: { ...call, invite, answer: ringing } })}>`);
    l.client.response(403);
  });

  it("with Join gets 403 (RFC 3911), with two or one that cannot be read 400, and nothing is asked", async () => {
    const { l, call } = await called();
    const own = escaped({ call });
    const cases: [string, number][] = [
      [`Join=${own}`, 403],
      [`Replaces=${own}&Replaces=${own}`, 400],
      ["Replaces=nonsense", 400],
      ["Replaces=", 400],
    ];
    for (const [i, [headers, status]] of cases.entries()) {
      refer(l, call, `<sip:beer@portal.com?${headers}>`, {}, i + 2);
      l.client.response(status);
    }
    await goesOn(l, call);
  });

  it("that names the session of the REFER ends that one, whatever its service says; not with early-only (RFC 3891 §3)", async () => {
    const { l, call, b } = await called({ service: { onMove: "keep" } });
    refer(l, call, `<sip:beer@portal.com?Replaces=${escaped({ call, early: true })}>`);
    l.client.response(486);
    take(l, invited(l, call, `<sip:beer@portal.com?Replaces=${escaped({ call })}>`, {}, 3));
    b.request("ACK");
    report(l, "SIP/2.0 200 OK");
    await firstEnds(l);
    expect(l.core.sessions.size).toBe(1);
  });

  it("and no session, by Target-Dialog outside of the session: the same (RFC 4538)", async () => {
    const { l, call, second } = await twoSessions();
    const name = ({ invite, answer }: Call) =>
      `${invite.callId};local-tag=${invite.fromTag};remote-tag=${answer.toTag}`;
    l.client.outside("REFER", [
      ["Contact", l.client.contact],
      ["Target-Dialog", name(call)],
      ["Refer-To", `<sip:beer@portal.com?Replaces=${escaped({ call: second })}>`],
    ]);
    l.client.response(403);
    await goesOn(l, call, second);
  });

  it("of an app server may name its own dialog, and nobody else's", async () => {
    const servers = [
      { id: "a", mayReferTo: ["b"] },
      { id: "b", services: ["beer"] },
    ];
    const { l, call, a, b } = await called({ servers });
    const other = await establish(l);
    const replaces = ({ inviteAtServer, answerOfServer }: Call) =>
      encodeURIComponent(`${inviteAtServer.callId};to-tag=${inviteAtServer.fromTag};from-tag=${answerOfServer.toTag}`);
    const sends = (seq: number, value: string) =>
      a.backInDialog("REFER", call.inviteAtServer, call.answerOfServer, seq, {
        headers: [
          ["Contact", a.contact],
          ["Refer-To", `<sip:beer@portal.com?Replaces=${value}>`],
        ],
      });
    sends(1, replaces(other));
    a.response(403);
    sends(2, escaped({ call }));
    a.response(403);
    expect(b.inbox).toEqual([]);
    sends(3, replaces(call));
    a.response(200);
    b.request("INVITE");
  });

  it("is said in the log where other header fields do not cross", async () => {
    const { log, of } = keptLog();
    const { l, call, b } = await called({ log });
    refer(l, call, "<sip:beer@portal.com?Subject=x&Route=%3Csip:x%3E&P-Asserted-Identity=x&Expires=5>");
    accepted(l);
    const asked = b.request("INVITE");
    expect(["subject", "route", "expires"].map((key) => asked.headers.get(key))).toEqual(["x", undefined, undefined]);
    expect(of("a Refer-To brings header fields that do not cross")).toMatchObject([
      { user: "alice", names: ["expires", "p-asserted-identity", "route"] },
    ]);
  });
});

describe("Replaces where it does not belong (RFC 3891 §3)", () => {
  it("gets 400 in any other request than an INVITE, and in one of a session; BYE ends it all the same", async () => {
    const { l, call, a } = await called();
    const headers: [string, string][] = [
      ["Replaces", "x;to-tag=1;from-tag=2"],
      ["Contact", l.client.contact],
    ];
    l.client.outside("OPTIONS", headers);
    l.client.response(400);
    l.client.outside("REFER", headers);
    l.client.response(400);
    for (const [i, method] of ["REFER", "UPDATE", "INFO", "INVITE"].entries()) {
      l.client.inDialog(method, call.invite, call.answer, i + 2, {
        headers: method === "INVITE" || method === "UPDATE" ? headers.slice(0, 1) : headers,
      });
      l.client.response(400);
      l.client.inbox.length = 0;
    }
    expect(a.inbox).toEqual([]);
    l.client.inDialog("BYE", call.invite, call.answer, 9, { headers: headers.slice(0, 1) });
    a.answer(a.request("BYE"), 200);
    await l.settle();
    l.client.response(200);
  });
});

describe("REFER of an app server (M23)", () => {
  const partners: LabOptions = {
    servers: [
      { id: "a", mayReferTo: ["b"] },
      { id: "b", services: ["beer"] },
      { id: "c", services: ["beer"], priority: 1 },
    ],
  };
  const referBack = (l: Lab, call: Call, to: string) =>
    l.server("a").backInDialog("REFER", call.inviteAtServer, call.answerOfServer, 1, {
      headers: [
        ["Refer-To", to],
        ["Contact", l.server("a").contact],
      ],
    });

  it.each([
    ["a service", "<sip:beer@portal.com>"],
    ["the partner's own address", "<sip:beer@192.0.2.101:5060>"],
    ["its address without the port that holds anyway", "<sip:beer@192.0.2.101>"],
    ["its address, mapped into IPv6", "<sip:beer@[::ffff:192.0.2.101]>"],
    ["its name, in upper case (RFC 3261 §19.1.4)", "<sip:beer@Brewery.Example:5060>", "sip:brewery.example"],
    ["its name with the dot at its end", "<sip:beer@brewery.example.>", "sip:BREWERY.example:5060"],
    ["its IPv6 address, written otherwise", "<sip:beer@[2001:0DB8:0::101]>", "sip:[2001:db8::101]:5060"],
    ["the port of its transport", "<sip:beer@brewery.example:5061>", "sip:brewery.example;transport=tls"],
  ])("sends the client on to a partner that the operator allows, named by %s", async (_what, to, uri?: string) => {
    const [first, second, third] = partners.servers!;
    const servers = [first!, { ...second!, ...(uri !== undefined && { uri }) }, third!];
    const { l, call, a, b } = await called({ ...partners, servers });
    referBack(l, call, to);
    a.response(200);
    report(l, "SIP/2.0 100", a);
    const asked = b.request("INVITE"); // And not c, which has the better priority.
    expect(asked.headers.get("to")).toBe("<sip:beer@portal.com>");
    b.answer(asked, 200, JSON_BODY);
    take(l, l.client.request("INVITE"));
    // What the partner said is for the client.
    expect(report(l, "SIP/2.0 200", a).body.toString()).toBe("SIP/2.0 200 OK\r\n");
    await firstEnds(l);
    expect(told(l)).toContain("session.moved beer");
    await nothingIsLeft(l);
  });

  it("is refused where the operator allows no partner: 403", async () => {
    const { l, call, a, b } = await called();
    referBack(l, call, "<sip:beer@portal.com>");
    a.response(403);
    expect(b.inbox).toEqual([]);
  });

  it("finds nobody where only others than the partners offer it", async () => {
    const { l, call, a } = await called({
      servers: [
        { id: "a", mayReferTo: ["a"] },
        { id: "b", services: ["beer"] },
      ],
    });
    referBack(l, call, "<sip:beer@portal.com>");
    a.response(200);
    report(l, "SIP/2.0 100", a);
    report(l, "SIP/2.0 404", a);
  });
});
