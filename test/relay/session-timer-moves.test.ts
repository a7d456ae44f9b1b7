import { describe, expect, it } from "vitest";
import type { SipMessage, SipRequest } from "../../src/sip/message.ts";
import { establish, type Lab, lab } from "./harness.ts";

/*
 * Session timers (RFC 4028) where a session is left for another: by REFER (M23), or by a change of service (M20, M21).
 */

type Headers = [string, string][];
const ALLOWS: [string, string] = ["Allow", "INVITE, ACK, BYE, CANCEL, UPDATE, NOTIFY"];
const CAN: [string, string] = ["Supported", "timer"];
const expires = (value: string): [string, string] => ["Session-Expires", value];
const se = (message: SipMessage) => message.headers.get("session-expires");

/** Two app servers, and a session with the first, with these timers. */
async function called(client: Headers = [], server: Headers = []) {
  const l = await lab({ servers: [{ id: "a" }, { id: "b", services: ["beer"] }], more: [{ id: "beer", tariff: "t" }] });
  const call = await establish(l, { inviteHeaders: client, answerHeaders: server });
  return { l, call, a: l.server("a"), b: l.server("b") };
}

type Called = Awaited<ReturnType<typeof called>>;

/**
 * A REFER to the second service, which its app server takes with these header fields: what the client is invited by.
 */
function invited({ l, call, b }: Called, server: Headers = [], more: Headers = []): SipRequest {
  const headers: Headers = [["Contact", l.client.contact], ["Refer-To", "<sip:beer@portal.com>"], ...more];
  l.client.inDialog("REFER", call.invite, call.answer, 2, { headers });
  l.client.response(200);
  l.client.answer(l.client.request("NOTIFY"), 200);
  const asked = b.request("INVITE");
  expect(se(asked)).toBe("1800");
  b.answer(asked, 200, { headers: server, body: "v=b" });
  return l.client.request("INVITE");
}

/** The client takes it; the first session ends. */
async function moved(one: Called, invite: SipRequest, client: Headers = []): Promise<void> {
  const { l, a, b } = one;
  l.client.answer(invite, 200, { tag: "second", headers: client, body: "v=client" });
  l.client.request("ACK");
  b.request("ACK");
  l.client.answer(l.client.request("NOTIFY"), 200);
  for (const peer of [l.client, a]) peer.answer(peer.request("BYE"), 200);
  await l.settle();
}

const quiet = ({ l, a, b }: Called) => {
  for (const peer of [l.client, a, b]) expect(peer.inbox).toEqual([]);
};

const endedBy = (l: Lab) => l.events.flatMap((event) => (event.type === "session.ended" ? [event.endedBy] : []));

describe("session timers and a move by REFER (M23)", () => {
  it("are agreed on anew with both ends of the second session; those of the first end with it", async () => {
    const one = await called([CAN, ALLOWS, expires("600;refresher=uac")], [ALLOWS, expires("800;refresher=uac")]);
    const { l, b } = one;
    l.clock.advance(100_000);
    const invite = invited(one, [ALLOWS, expires("1000;refresher=uac")]);
    expect([se(invite), invite.headers.all("supported")]).toEqual(["1800", ["timer"]]);
    await moved(one, invite, [ALLOWS, expires("700;refresher=uac"), ["Require", "timer"]]);
    l.clock.advance(349_999);
    quiet(one);
    l.clock.advance(1);
    l.client.answer(l.client.request("UPDATE"), 200, { headers: [expires("700;refresher=uac")] });
    l.clock.advance(150_000);
    b.answer(b.request("UPDATE"), 200, { headers: [expires("1000;refresher=uac")] });
    quiet(one); // nothing more of the first: neither its refreshes nor its end
    expect(endedBy(l)).toHaveLength(1);
  });

  it("end the second session where its client, which refreshes, has vanished", async () => {
    const one = await called();
    const { l, b } = one;
    await moved(one, invited(one), [ALLOWS, expires("600;refresher=uas"), ["Require", "timer"]]);
    l.clock.advance(567_000);
    quiet(one);
    l.clock.advance(2_000);
    for (const peer of [l.client, b]) peer.answer(peer.request("BYE"), 200);
    await l.settle();
    expect(endedBy(l).at(-1)).toBe("relay: client is gone: its session timer ran out");
  });

  it("the client is invited again where it wants a longer interval (422, §7.3)", async () => {
    const one = await called();
    const { l } = one;
    const first = invited(one);
    l.client.answer(first, 422, { headers: [["Min-SE", "3600"]] });
    l.client.request("ACK");
    const second = l.client.request("INVITE");
    expect([se(second), second.headers.get("min-se"), String(second.body)]).toEqual(["3600", "3600", "v=b"]);
    expect([second.callId, second.fromTag]).toEqual([first.callId, first.fromTag]);
    expect(second.cseq!.number).toBeGreaterThan(first.cseq!.number);
    await moved(one, second, [ALLOWS, expires("3600;refresher=uac")]);
    l.clock.advance(1_800_000);
    expect(se(l.client.request("UPDATE"))).toBe("3600;refresher=uac");
  });

  it("go on in the first session while the move is under way: its refresh is sent, and its client's answered", async () => {
    const one = await called([CAN, ALLOWS, expires("600;refresher=uac")], [ALLOWS, expires("100;refresher=uac")]);
    const { l, call, a } = one;
    l.clock.advance(40_000);
    const invite = invited(one);
    l.clock.advance(10_000);
    a.answer(a.request("UPDATE"), 200, { headers: [expires("100;refresher=uac")] });
    l.client.inbox.length = one.b.inbox.length = 0; // the INVITE and the 200 come again
    l.client.inDialog("UPDATE", call.invite, call.answer, 3, { headers: [CAN, expires("600;refresher=uac")] });
    expect(se(l.client.response(200))).toBe("600;refresher=uac");
    l.client.answer(invite, 200, { tag: "second", headers: [ALLOWS] });
    l.client.request("ACK");
    expect(l.core.sessions.size).toBe(2);
  });

  it("of a REFER that the client refuses stay as they were", async () => {
    const one = await called([CAN, ALLOWS, expires("600")]);
    const { l, b } = one;
    l.client.answer(invited(one), 486);
    l.client.request("ACK");
    b.request("ACK");
    b.answer(b.request("BYE"), 200);
    l.client.answer(l.client.request("NOTIFY"), 200);
    l.clock.advance(300_000);
    expect(se(l.client.request("UPDATE"))).toBe("600;refresher=uac");
  });
});
