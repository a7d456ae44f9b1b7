import { describe, expect, it } from "vitest";
import { readSessionState } from "../../src/relay/model/session-state.ts";
import { goOn, restore, snapshot } from "../../src/relay/session/snapshot.ts";
import type { SipMessage, SipRequest, SipResponse } from "../../src/sip/message.ts";
import { establish, type Lab, type LabOptions, lab, type Peer } from "./harness.ts";

/*
 * Session timers (RFC 4028): the relay is a user agent towards both ends, and has a timer with each that can.
 */

type Headers = [string, string][];
const ALLOWS: [string, string] = ["Allow", "INVITE, ACK, BYE, CANCEL, UPDATE"];
const CAN: [string, string] = ["Supported", "timer"];
const expires = (value: string): [string, string] => ["Session-Expires", value];
const se = (message: SipMessage) => message.headers.get("session-expires");
const BEER = { type: "application/vnd.tollgate.service+xml", body: '<service name="beer"/>' };
const nothing = { sessions: 0, requests: 0, legs: 0, legsByFlow: 0, transactions: 0, timers: 0 };

/** A session whose client has asked for a timer like this, and whose app server has answered so. */
async function timed(client: Headers = [], server: Headers = [], options: LabOptions = {}) {
  const l = await lab(options);
  const call = await establish(l, { inviteHeaders: client, answerHeaders: server });
  return { l, ...call };
}

const cseqOf = (request: SipRequest) => request.cseq!.number;
const empty = (...peers: Peer[]) => {
  for (const peer of peers) expect(peer.inbox).toEqual([]);
};

describe("with the client: the relay answers as a user agent server (RFC 4028 §9)", () => {
  it.each<[what: string, asked: Headers, answer: string | undefined, required: boolean]>([
    ["no timer, no option: none", [], undefined, false],
    ["the option alone: the relay asks for one, and refreshes", [CAN, ALLOWS], "1800;refresher=uas", true],
    ["the option alone, without UPDATE: the client refreshes", [CAN], "1800;refresher=uac", true],
    ["an interval: as asked", [CAN, ALLOWS, expires("600")], "600;refresher=uas", true],
    ["an interval, in compact form", [["k", "timer"], ALLOWS, ["x", "600"]], "600;refresher=uas", true],
    ["a longer interval: reduced", [CAN, ALLOWS, expires("7200")], "1800;refresher=uas", true],
    ["a longer one, and Min-SE", [CAN, ALLOWS, expires("7200"), ["Min-SE", "3600"]], "3600;refresher=uas", true],
    ["the option and Min-SE alone", [CAN, ALLOWS, ["Min-SE", "3600"]], "3600;refresher=uas", true],
    ["itself as refresher", [CAN, ALLOWS, expires("600;refresher=uac")], "600;refresher=uac", true],
    ["the relay as refresher", [CAN, expires("600;refresher=uas")], "600;refresher=uas", true],
    ["a proxy has asked, for a client without", [expires("600")], "600;refresher=uas", false],
    ["a proxy has asked for too little, for a client without", [expires("30")], undefined, false],
    ["what cannot be read", [expires("soon")], undefined, false],
    ["the option, and what cannot be read", [CAN, ALLOWS, expires("99999999999")], "1800;refresher=uas", true],
  ])("%s", async (_, asked, answer, required) => {
    const { answer: got } = await timed(asked);
    expect(se(got)).toBe(answer);
    expect(got.headers.get("require")).toBe(required ? "timer" : undefined);
    expect(got.headers.has("min-se")).toBe(false);
  });

  it("refuses too small an interval: 422 with Min-SE, and nothing is kept", async () => {
    const l = await lab({ session: { timer: { expiresS: 1800, minS: 120 } } });
    const invite = l.client.invite({ headers: [CAN, expires("119")] });
    const refused = l.client.response(422);
    expect(refused.headers.get("min-se")).toBe("120");
    l.client.ack(invite, refused);
    expect(l.leftovers()).toEqual(nothing);
    l.client.invite({ headers: [CAN, expires("120")] });
    l.server("a").request("INVITE");
  });

  it("refuses it within the session, too, and the session goes on as it was", async () => {
    const { l, invite, answer, server } = await timed([CAN, expires("600;refresher=uac")]);
    for (const [method, seq] of [
      ["UPDATE", 2],
      ["INVITE", 3],
    ] as const) {
      const change = l.client.inDialog(method, invite, answer, seq, { headers: [CAN, expires("60")] });
      const refused = l.client.response(422);
      expect(refused.headers.get("min-se")).toBe("90");
      if (method === "INVITE") l.client.ack(change, refused);
    }
    empty(server);
    expect(l.core.sessions.size).toBe(1);
  });

  it("each session of a fork has its own (RFC 4028 §7.2)", async () => {
    const l = await lab({ servers: [{ id: "a" }, { id: "b" }], service: { fork: "all" } });
    l.client.invite({ headers: [CAN, ALLOWS, expires("600")] });
    for (const id of ["a", "b"])
      l.server(id).answer(l.server(id).request("INVITE"), 200, { headers: [expires("900")] });
    expect([l.client.response(200), l.client.response(200)].map(se)).toEqual([
      "600;refresher=uas",
      "600;refresher=uas",
    ]);
    const sessions = [...l.core.sessions.values()];
    expect(new Set(sessions.map(({ client }) => client!.timer)).size).toBe(2);
  });
});

describe("with the app server: the relay asks as a user agent client (RFC 4028 §7)", () => {
  it("asks for one in each INVITE, whatever the client can", async () => {
    const { inviteAtServer: at } = await timed();
    expect(se(at)).toBe("1800");
    expect(at.headers.all("supported")).toEqual(["timer"]);
    expect(at.headers.has("min-se")).toBe(false);
    expect(at.headers.has("require")).toBe(false);
  });

  it("says its own minimum where that is not the usual one", async () => {
    const { inviteAtServer: at } = await timed([CAN, expires("900"), ["Min-SE", "700"]], [], {
      session: { timer: { expiresS: 1000, minS: 600 } },
    });
    expect([se(at), at.headers.get("min-se")]).toEqual(["1000", "600"]); // the client's are the client's leg's
  });

  it("is asked again with its Min-SE where the interval was too small (422, §7.3, §7.4)", async () => {
    const l = await lab();
    const invite = l.client.invite({ body: "v=0" });
    const a = l.server("a");
    const first = a.request("INVITE");
    a.answer(first, 422, { headers: [["Min-SE", "3600"]] });
    a.request("ACK");
    const second = a.request("INVITE");
    expect([se(second), second.headers.get("min-se")]).toEqual(["3600", "3600"]);
    expect([second.callId, second.fromTag, cseqOf(second)]).toEqual([first.callId, first.fromTag, cseqOf(first) + 1]);
    expect(second.body.toString()).toBe("v=0");
    a.answer(second, 200, { headers: [expires("3600;refresher=uas")] });
    l.client.ack(invite, l.client.response(200));
    expect(cseqOf(a.request("ACK"))).toBe(cseqOf(second));
    a.backInDialog("BYE", second, a.answer(second, 200), 1);
    expect(l.client.request("BYE").method).toBe("BYE");
  });

  it.each<[string, Headers]>([
    ["without Min-SE", []],
    ["with one that was kept to", [["Min-SE", "1800"]]],
    ["with one that cannot be read", [["Min-SE", "-1"]]],
  ])("is not asked again after a 422 %s: the client hears 500, since it cannot mend that", async (_, headers) => {
    const l = await lab();
    l.client.invite();
    const a = l.server("a");
    a.answer(a.request("INVITE"), 422, { headers });
    a.request("ACK");
    empty(a);
    l.client.response(500);
  });

  it("is asked three times at most, whatever it wants", async () => {
    const l = await lab();
    l.client.invite();
    const a = l.server("a");
    for (const min of ["2000", "3000", "4000"]) {
      a.answer(a.request("INVITE"), 422, { headers: [["Min-SE", min]] });
      a.request("ACK");
    }
    empty(a);
    l.client.response(500);
  });

  it("has none where it answers without Session-Expires: nothing is refreshed, nothing expires", async () => {
    const { l, server } = await timed([], [ALLOWS]);
    l.clock.advance(7_200_000);
    empty(l.client, server);
    expect(l.core.sessions.size).toBe(1);
  });
});

describe("a refresh by the relay (RFC 4028 §7.4, §10)", () => {
  it("is UPDATE without a body after half the interval, with the app server alone", async () => {
    const { l, server } = await timed([], [ALLOWS, expires("1000;refresher=uac"), ["Require", "timer"]]);
    l.clock.advance(499_999);
    empty(server);
    l.clock.advance(1);
    const update = server.request("UPDATE");
    expect([se(update), update.body.length]).toEqual(["1000;refresher=uac", 0]);
    expect(update.headers.all("supported")).toEqual(["timer"]);
    server.answer(update, 200, { headers: [expires("1000;refresher=uac")] });
    empty(l.client, server);
    l.clock.advance(500_000);
    server.answer(server.request("UPDATE"), 200, { headers: [expires("400;refresher=uac")] });
    l.clock.advance(200_000);
    server.request("UPDATE"); // the interval is that of the last 2xx (§7.2)
    expect(l.events).toHaveLength(1);
  });

  it("is with the client alone where that has a timer and the app server none", async () => {
    const { l, server } = await timed([CAN, ALLOWS, expires("600")]);
    l.clock.advance(300_000);
    const update = l.client.request("UPDATE");
    expect(se(update)).toBe("600;refresher=uac");
    l.client.answer(update, 200, { headers: [expires("600;refresher=uac")] });
    empty(server);
  });

  it("is a re-INVITE with what the peer was told last, where that has no UPDATE", async () => {
    const { l, server } = await timed([], [["Allow", "INVITE, ACK, BYE"], expires("1000;refresher=uac")]);
    l.clock.advance(500_000);
    const again = server.request("INVITE");
    expect([again.body.toString(), again.headers.get("content-type")]).toEqual(["v=0", "application/sdp"]);
    server.answer(again, 200, { body: "v=1", headers: [expires("1000;refresher=uac")] });
    expect(cseqOf(server.request("ACK"))).toBe(cseqOf(again));
    server.answer(again, 200, { body: "v=1", headers: [expires("1000;refresher=uac")] });
    server.request("ACK"); // RFC 3261 §13.2.2.4
    l.clock.advance(500_000);
    server.request("INVITE");
    empty(l.client);
  });

  it("repeats what was agreed on later", async () => {
    const { l, server, invite, answer } = await timed([], [expires("1000;refresher=uac")]);
    const hold = l.client.inDialog("INVITE", invite, answer, 2, { body: "a=sendonly" });
    const at = server.request("INVITE");
    expect(se(at)).toBe("1000;refresher=uac");
    server.answer(at, 200, { body: "a=recvonly", headers: [expires("1000;refresher=uac")] });
    l.client.ack(hold, l.client.response(200));
    server.request("ACK");
    l.clock.advance(500_000);
    expect(server.request("INVITE").body.toString()).toBe("a=sendonly");
  });

  it("to a client without UPDATE whose proxy wanted a timer: the app server's description", async () => {
    const { l } = await timed([expires("600")]);
    l.clock.advance(300_000);
    const again = l.client.request("INVITE");
    expect(again.body.toString()).toBe("v=1");
    l.client.answer(again, 200, { body: "v=0", headers: [expires("600;refresher=uac")] });
    l.client.request("ACK");
  });

  it.each([405, 501])("goes on by re-INVITE where UPDATE gets %i", async (status) => {
    const { l, server } = await timed([], [ALLOWS, expires("1000;refresher=uac")]);
    l.clock.advance(500_000);
    server.answer(server.request("UPDATE"), status);
    l.clock.advance(1);
    server.answer(server.request("INVITE"), 200, { headers: [expires("1000;refresher=uac")] });
    server.request("ACK");
    expect(l.core.sessions.size).toBe(1);
  });

  it.each([
    [481, "answered 481"],
    [408, "answered 408"],
  ])("that gets %i ends the session: BYE to both (§10; RFC 3261 §12.2.1.2)", async (status, detail) => {
    const { l, server } = await timed([], [ALLOWS, expires("1000;refresher=uac")]);
    l.clock.advance(500_000);
    server.answer(server.request("UPDATE"), status);
    await ends(l, server, `relay: server is gone: ${detail} to a refresh of the session`, 0);
  });

  it("that is not answered at all ends it, too, and the user pays until the last sign of life", async () => {
    const { l, server } = await timed([], [ALLOWS, expires("1000;refresher=uac")]);
    l.clock.advance(200_000);
    server.answer(await info(l, server), 200);
    l.client.response(200);
    server.deaf = true;
    l.clock.advance(400_000);
    await ends(l, server, "relay: server is gone: no answer to a refresh of the session", 200_000);
  });

  it("that is refused is tried again, not continuously, and the session ends before it expires", async () => {
    const { l, server } = await timed([], [ALLOWS, expires("300;refresher=uac")]);
    l.clock.advance(150_000);
    let tries = 0;
    while (server.inbox[0]?.isRequest && server.inbox[0].method === "UPDATE" && tries < 100) {
      server.answer(server.request("UPDATE"), 500);
      tries++;
      l.clock.advance(10_000);
    }
    expect(tries).toBeGreaterThan(8);
    expect(tries).toBeLessThan(13);
    expect(l.clock.monotonic()).toBeLessThan(300_000); // RFC 4028 §10: 32 s before
    await ends(l, server, "relay: server is gone: its session timer ran out", undefined);
  });

  it("waits as long as a refusal says", async () => {
    const { l, server } = await timed([], [ALLOWS, expires("1000;refresher=uac")]);
    l.clock.advance(500_000);
    server.answer(server.request("UPDATE"), 503, { headers: [["Retry-After", "60"]] });
    l.clock.advance(59_999);
    empty(server);
    l.clock.advance(1);
    server.request("UPDATE");
  });

  it("comes again with the peer's Min-SE after 422 (§7.3); its session expires no later for that (§10)", async () => {
    const { l, server } = await timed([], [ALLOWS, expires("1000;refresher=uac")]);
    l.clock.advance(500_000);
    server.answer(server.request("UPDATE"), 422, { headers: [["Min-SE", "2000"]] });
    l.clock.advance(1_000);
    const second = server.request("UPDATE");
    expect([se(second), second.headers.get("min-se")]).toEqual(["2000;refresher=uac", "2000"]);
    server.deaf = true;
    l.clock.advance(40_000);
    await ends(l, server, "relay: server is gone: no answer to a refresh of the session", undefined);
  });

  it.each<[string, Headers, number, number]>([
    ["whose Call-ID is the relay's: 2.1 to 4 s", [], 2_099, 1_901],
    ["whose Call-ID is the client's: 0 to 2 s", [CAN, ALLOWS, expires("1000")], 0, 2_000],
  ])("that crosses a change (491) comes again (RFC 3261 §14.1): %s", async (_, client, notBefore, within) => {
    const { l, server } = await timed(client, client.length > 0 ? [] : [ALLOWS, expires("1000;refresher=uac")]);
    const peer = client.length > 0 ? l.client : server;
    l.clock.advance(500_000);
    peer.answer(peer.request("UPDATE"), 491);
    l.clock.advance(notBefore);
    if (notBefore > 0) empty(peer);
    l.clock.advance(within);
    peer.request("UPDATE");
  });

  it("waits for a change that is under way", async () => {
    const { l, server, invite, answer } = await timed([], [ALLOWS, expires("1000;refresher=uac")]);
    l.clock.advance(499_000);
    const change = l.client.inDialog("INVITE", invite, answer, 2, { body: "a=sendonly" });
    const at = server.request("INVITE");
    server.answer(at, 180);
    l.client.response(180);
    l.clock.advance(4_000);
    empty(server);
    server.answer(at, 200, { headers: [expires("1000;refresher=uac")] }); // which refreshes the session (§7.2)
    l.client.ack(change, l.client.response(200));
    server.request("ACK");
    l.clock.advance(499_999);
    empty(server);
    l.clock.advance(1);
    server.request("UPDATE");
  });

  it("refuses changes of both ends while it is under way: 491 (RFC 3311 §5.2)", async () => {
    const { l, server, invite, answer, inviteAtServer, answerOfServer } = await timed(
      [],
      [ALLOWS, expires("1000;refresher=uac")],
    );
    l.clock.advance(500_000);
    const update = server.request("UPDATE");
    const one = l.client.inDialog("INVITE", invite, answer, 2, { body: "a=sendonly" });
    l.client.ack(one, l.client.response(491));
    server.backInDialog("UPDATE", inviteAtServer, answerOfServer, 1, { body: "a=sendonly" });
    server.response(491);
    server.answer(update, 200, { headers: [expires("1000;refresher=uac")] });
    l.client.inDialog("INVITE", invite, answer, 3, { body: "a=sendonly" });
    server.request("INVITE");
  });

  it("gives way to BYE (RFC 3261 §15)", async () => {
    const { l, server, invite, answer } = await timed([], [expires("1000;refresher=uac")]);
    l.clock.advance(500_000);
    const again = server.request("INVITE");
    server.answer(again, 100);
    l.client.inDialog("BYE", invite, answer, 2);
    server.answer(server.request("CANCEL"), 200);
    server.answer(server.request("BYE"), 200);
    server.answer(again, 200);
    server.request("ACK");
    await l.settle();
    l.client.response(200);
    l.clock.advance(70_000);
    expect(l.leftovers()).toEqual(nothing);
  });

  it("is over with it: an answer without Session-Expires turns the timer off (§7.2)", async () => {
    const { l, server } = await timed([], [ALLOWS, expires("1000;refresher=uac")]);
    l.clock.advance(500_000);
    server.answer(server.request("UPDATE"), 200);
    l.clock.advance(7_200_000);
    empty(server, l.client);
    expect(l.core.sessions.size).toBe(1);
  });

  it("keeps to 90 s where the app server wants less (§11.1)", async () => {
    const { l, server } = await timed([], [ALLOWS, expires("2;refresher=uac")]);
    l.clock.advance(44_999);
    empty(server);
    l.clock.advance(1);
    server.request("UPDATE");
  });
});

describe("a refresh by an end (RFC 4028 §9, §10)", () => {
  it("by UPDATE is answered by the relay, and the other end hears nothing", async () => {
    const { l, server, invite, answer } = await timed([CAN, expires("600;refresher=uac")]);
    l.clock.advance(500_000);
    l.client.inDialog("UPDATE", invite, answer, 2, { headers: [CAN, expires("600;refresher=uac")] });
    const ok = l.client.response(200);
    expect([se(ok), ok.headers.get("require")]).toEqual(["600;refresher=uac", "timer"]);
    expect(ok.headers.has("contact")).toBe(true);
    empty(server);
    l.clock.advance(500_000);
    expect(l.core.sessions.size).toBe(1);
    expect(l.core.calls.open).toBe(1); // no record of its own: it changes nothing
  });

  it("by UPDATE with a Subject that only says so (as linphone's) ends at the relay, too", async () => {
    const { l, server, invite, answer } = await timed([CAN, expires("600;refresher=uac")]);
    const headers: Headers = [CAN, expires("600;refresher=uac"), ["Subject", "Session Refresh"]];
    l.client.inDialog("UPDATE", invite, answer, 2, { headers });
    expect(se(l.client.response(200))).toBe("600;refresher=uac");
    empty(server);
  });

  it("by UPDATE of the app server, the same", async () => {
    const { l, server, inviteAtServer, answerOfServer } = await timed([], [expires("600;refresher=uas")]);
    server.backInDialog("UPDATE", inviteAtServer, answerOfServer, 1, { headers: [CAN, expires("600;refresher=uac")] });
    expect(se(server.response(200))).toBe("600;refresher=uac");
    empty(l.client);
  });

  it("is answered also while a change is under way: it has no description", async () => {
    const { l, server, invite, answer, inviteAtServer, answerOfServer } = await timed(
      [],
      [expires("600;refresher=uas")],
    );
    l.client.inDialog("INVITE", invite, answer, 2, { body: "a=sendonly" });
    server.request("INVITE");
    server.backInDialog("UPDATE", inviteAtServer, answerOfServer, 1, { headers: [CAN, expires("600;refresher=uac")] });
    server.response(200);
  });

  it.each<[string, { headers: Headers; body?: string }]>([
    ["a body", { headers: [CAN, expires("600")], body: "a=sendonly" }],
    ["what is for the other end", { headers: [CAN, expires("600"), ["User-to-User", "6e6f77"]] }],
    ["nothing that says that it is for the timer", { headers: [CAN] }],
  ])("by UPDATE with %s is passed on, with the timer of that leg", async (_, extra) => {
    const { l, server, invite, answer } = await timed(
      [CAN, expires("600;refresher=uac")],
      [expires("900;refresher=uas")],
    );
    l.client.inDialog("UPDATE", invite, answer, 2, extra);
    const at = server.request("UPDATE");
    expect(se(at)).toBe("900;refresher=uas");
    server.answer(at, 200, { headers: [expires("900;refresher=uas")] });
    expect(se(l.client.response(200))).toBe("600;refresher=uac"); // the role stays (§7.4)
  });

  it("by re-INVITE is passed on, and each leg keeps its own interval", async () => {
    const { l, server, invite, answer } = await timed(
      [CAN, expires("600;refresher=uac")],
      [expires("900;refresher=uas")],
    );
    l.clock.advance(500_000);
    const again = l.client.inDialog("INVITE", invite, answer, 2, {
      body: "v=0",
      headers: [CAN, expires("600;refresher=uac")],
    });
    const at = server.request("INVITE");
    expect(se(at)).toBe("900;refresher=uas");
    server.answer(at, 200, { body: "v=1", headers: [expires("900;refresher=uas")] });
    const ok = l.client.response(200);
    expect(se(ok)).toBe("600;refresher=uac");
    l.client.ack(again, ok);
    server.request("ACK");
    l.clock.advance(560_000);
    expect(l.core.sessions.size).toBe(1);
  });

  it("that the other end finds too short is tried again by the relay (422)", async () => {
    const { l, server, invite, answer } = await timed(
      [CAN, expires("600;refresher=uac")],
      [expires("900;refresher=uas")],
    );
    const again = l.client.inDialog("INVITE", invite, answer, 2, {
      body: "v=0",
      headers: [CAN, expires("600;refresher=uac")],
    });
    server.answer(server.request("INVITE"), 422, { headers: [["Min-SE", "1200"]] });
    server.request("ACK");
    const second = server.request("INVITE");
    expect([se(second), second.headers.get("min-se"), second.body.toString()]).toEqual([
      "1200;refresher=uas",
      "1200",
      "v=0",
    ]);
    server.answer(second, 200, { headers: [expires("1200;refresher=uas")] });
    l.client.ack(again, l.client.response(200));
    server.request("ACK");
  });

  it("without the option any more turns the timer off (§9)", async () => {
    const { l, invite, answer, server } = await timed([CAN, expires("600;refresher=uac")]);
    const again = l.client.inDialog("INVITE", invite, answer, 2, { body: "v=0" });
    server.answer(server.request("INVITE"), 200);
    const ok = l.client.response(200);
    expect(se(ok)).toBeUndefined();
    l.client.ack(again, ok);
    server.request("ACK");
    l.clock.advance(7_200_000);
    expect(l.core.sessions.size).toBe(1);
  });

  it.each<[side: string, client: Headers, server: Headers, endsS: number]>([
    ["client", [CAN, expires("600;refresher=uac")], [], 600 - 32],
    ["client", [CAN, expires("90;refresher=uac")], [], 60],
    ["server", [], [expires("900;refresher=uas")], 900 - 32],
  ])(
    "that does not come: BYE to both, min(32 s, a third) before it expires: %s",
    async (side, client, server, endsS) => {
      const call = await timed(client, server);
      const { l } = call;
      l.clock.advance(endsS * 1000 - 2_000);
      empty(l.client, call.server);
      l.clock.advance(2_100);
      await ends(l, call.server, `relay: ${side} is gone: its session timer ran out`, 0);
    },
  );

  it("that does not come: the user pays until whoever is gone was heard of last", async () => {
    const { l, server, invite, answer } = await timed([CAN, expires("600;refresher=uac")]);
    l.clock.advance(123_000);
    l.client.inDialog("INFO", invite, answer, 2);
    server.answer(server.request("INFO"), 200);
    l.client.response(200);
    l.clock.advance(446_000);
    await ends(l, server, "relay: client is gone: its session timer ran out", 123_000);
  });
});

describe("the charge of a session whose end has vanished stops at its last sign of life (M12)", () => {
  it("where a probe finds it out", async () => {
    const { l, server } = await timed([], [], { session: { probeS: 60 } });
    for (let n = 0; n < 3; n++) {
      l.clock.advance(60_000);
      l.client.answer(l.client.request("OPTIONS"), 200);
      server.answer(server.request("OPTIONS"), 200);
    }
    l.client.deaf = true;
    l.clock.advance(60_000);
    server.answer(server.request("OPTIONS"), 200);
    l.clock.advance(33_000);
    await ends(l, server, "relay: client is gone: no answer to a probe", 180_000);
  });
});

describe("the charge of a session whose client's connection is gone, and who does not come back", () => {
  it.each([
    ["stops when the client closed it", "tcp closed by peer", 10_000],
    ["stops at the client's last message, where nobody knows since when it led nowhere", "tcp ETIMEDOUT", 0],
  ])("%s (M12)", async (_, reason, paidMs) => {
    const l = await lab({ clientTransport: "tcp" });
    const { server } = await establish(l);
    l.clock.advance(10_000);
    l.client.flow.open = false;
    l.client.deaf = true;
    l.transactions.flowFailed(l.client.flow, reason);
    l.clock.advance(32_500);
    await ends(l, server, "relay: client is gone: no answer to a probe", paidMs);
  });
});

describe("session timers and what else happens", () => {
  it("stay with the client's dialog when the service changes, to another app server (M20, M21)", async () => {
    const l = await lab({
      servers: [{ id: "a" }, { id: "b", services: ["beer"] }],
      more: [{ id: "beer" }],
      config: {
        rules: [
          // biome-ignore lint/suspicious/noThenProperty: the configuration's own word
          { name: "beer", when: { body: { "service.@name": "beer" } }, then: { service: "beer" } },
          // biome-ignore lint/suspicious/noThenProperty: the configuration's own word
          { name: "by name", then: {} },
        ],
      },
    });
    const { invite, answer, server } = await establish(l, { inviteHeaders: [CAN, ALLOWS, expires("600")] });
    l.clock.advance(100_000);
    const change = l.client.inDialog("INVITE", invite, answer, 2, {
      ...BEER,
      headers: [CAN, ALLOWS, expires("600")],
    });
    const at = l.server("b").request("INVITE");
    expect(se(at)).toBe("1800");
    l.server("b").answer(at, 200, { headers: [ALLOWS, expires("1000;refresher=uac")] });
    const ok = l.client.response(200);
    expect(se(ok)).toBe("600;refresher=uas");
    l.client.ack(change, ok);
    l.server("b").request("ACK");
    await l.settle();
    server.answer(server.request("BYE"), 200);
    l.clock.advance(300_000);
    l.client.answer(l.client.request("UPDATE"), 200, { headers: [expires("600;refresher=uac")] });
    l.clock.advance(200_000);
    l.server("b").request("UPDATE");
  });

  it("go on after a restart, and are data (P7)", async () => {
    const { l, server } = await timed([CAN, expires("600;refresher=uac")], [expires("1000;refresher=uac")]);
    l.clock.advance(100_000);
    const state = again(l);
    expect(state.client.timer).toMatchObject({ intervalS: 600, refresher: "peer" });
    expect(state.server.timer).toMatchObject({
      intervalS: 1000,
      refresher: "relay",
      byInvite: true,
      description: { type: "application/sdp", text: "v=0" },
    });
    l.clock.advance(400_000);
    const refresh = server.request("INVITE");
    expect(refresh.body.toString()).toBe("v=0");
    server.answer(refresh, 200, { headers: [expires("1000;refresher=uac")] });
    l.clock.advance(68_000);
    expect(l.client.request("BYE").headers.get("reason")).toContain("client is gone");
  });

  it("give whoever could not refresh meanwhile half a minute after a restart", async () => {
    const { l } = await timed([CAN, expires("600;refresher=uac")]);
    l.clock.advance(560_000);
    const [session] = [...l.core.sessions.values()];
    const state = snapshot(session!)!;
    session!.release();
    l.clock.advance(20_000); // the end would have been due at 568 s
    goOn(restore(l.core, state), state);
    l.clock.advance(31_000);
    empty(l.client);
    l.clock.advance(2_000);
    l.client.request("BYE");
  });

  it("are left to the two ends where the relay has none", async () => {
    const asked: Headers = [CAN, expires("600"), ["Min-SE", "100"]];
    const {
      l,
      inviteAtServer: at,
      answer,
      invite,
      server,
    } = await timed(asked, [expires("600;refresher=uac"), ["Require", "timer"]], {
      session: { timer: "off" },
    });
    expect([se(at), at.headers.get("min-se"), at.headers.get("supported")]).toEqual(["600", "100", "timer"]);
    expect([se(answer), answer.headers.get("require")]).toEqual(["600;refresher=uac", "timer"]);
    l.client.inDialog("UPDATE", invite, answer, 2, { headers: [CAN, expires("600;refresher=uac")] });
    const update = server.request("UPDATE");
    expect(se(update)).toBe("600;refresher=uac");
    server.answer(update, 200, { headers: [expires("600;refresher=uac")] });
    expect(se(l.client.response(200))).toBe("600;refresher=uac");
    l.clock.advance(7_200_000);
    expect(l.core.sessions.size).toBe(1);
    l.client.invite({ headers: [CAN, expires("10")] });
    expect(se(server.request("INVITE"))).toBe("10");
  });
});

/** Writes the session, forgets it, and goes on with it as after a restart. */
function again(l: Lab) {
  const [session] = [...l.core.sessions.values()];
  const read = readSessionState(JSON.stringify(snapshot(session!)));
  if (!read.ok) throw new Error(read.error);
  session!.release();
  goOn(restore(l.core, read.value), read.value);
  return read.value;
}

async function info(l: Lab, server: Peer): Promise<SipRequest> {
  const [session] = [...l.core.sessions.values()];
  const { dialog } = session!.client!;
  l.client.within("INFO", dialog.remote, dialog.local, dialog.callId, "sip:192.0.2.1", 7, {});
  return server.request("INFO");
}

/** BYE has gone to both ends. `paidMs`: how long the user pays for; undefined: not looked at. */
async function ends(l: Lab, server: Peer, endedBy: string, paidMs: number | undefined): Promise<void> {
  for (const peer of [l.client, server]) {
    while (!peer.deaf && peer.inbox.length > 0) {
      const message = peer.inbox.shift() as SipRequest | SipResponse;
      if (message.isRequest && message.method === "BYE") peer.answer(message, 200);
    }
  }
  l.clock.advance(110_000);
  await l.settle();
  expect(l.events.at(-1)).toMatchObject({ type: "session.ended", endedBy });
  if (paidMs !== undefined) expect((l.events.at(-1) as { durationMs: number }).durationMs).toBe(paidMs);
  expect(l.leftovers()).toEqual(nothing);
}
