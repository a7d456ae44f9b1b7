import { describe, expect, it } from "vitest";
import type { SipMessage } from "../../src/sip/message.ts";
import { establish, type Lab, lab } from "./harness.ts";

const NIL = "0".repeat(32);
const ALICE = "ab30317f1a784dc48ff824d0d3715d86";
const SHOP = "47755a9de7794ba387653f2099600ef2";
const of = (message: SipMessage) => message.headers.all("session-id");
/** RFC 4122: version 4. */
const V4 = /^[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}$/;
const localOf = (message: SipMessage) => of(message)[0]!.split(";")[0]!;

async function hangUp(l: Lab, { invite, answer, server }: Awaited<ReturnType<typeof establish>>) {
  l.client.inDialog("BYE", invite, answer, 2);
  const bye = server.request("BYE");
  server.answer(bye, 200);
  await l.settle();
  return { bye, answer: l.client.response(200) };
}

describe("Session-ID (RFC 7989)", () => {
  it("names both ends on both legs, made by the relay for ends that say nothing (§7)", async () => {
    const l = await lab();
    const call = await establish(l);
    const [alice, shop] = [localOf(call.inviteAtServer), localOf(call.answer)];
    expect(of(call.inviteAtServer)).toEqual([`${alice};remote=${NIL}`]);
    expect(of(call.answer)).toEqual([`${shop};remote=${alice}`]);
    expect(of(call.ack)).toEqual([`${alice};remote=${shop}`]);
    const { bye, answer } = await hangUp(l, call);
    expect(of(bye)).toEqual([`${alice};remote=${shop}`]);
    expect(of(answer)).toEqual([`${shop};remote=${alice}`]);
    expect(alice).toMatch(V4);
    expect(shop).toMatch(V4);
    expect(shop).not.toBe(alice);
  });

  it("passes on what the ends say of themselves, once", async () => {
    const l = await lab();
    const call = await establish(l, {
      inviteHeaders: [["Session-ID", `${ALICE};remote=${NIL}`]],
      answerHeaders: [["Session-ID", `${SHOP};remote=${ALICE}`]],
    });
    expect(of(call.inviteAtServer)).toEqual([`${ALICE};remote=${NIL}`]);
    expect(of(call.answer)).toEqual([`${SHOP};remote=${ALICE}`]);
    expect(of(call.ack)).toEqual([`${ALICE};remote=${SHOP}`]); // the client's ACK had none (§7)
    const [session] = l.core.sessions.values();
    session!.end({ code: "max-duration" });
    expect(of(l.client.request("BYE"))).toEqual([`${SHOP};remote=${ALICE}`]);
    expect(of(call.server.request("BYE"))).toEqual([`${ALICE};remote=${SHOP}`]);
  });

  it("discards what is none (§7)", async () => {
    const l = await lab();
    const call = await establish(l, { inviteHeaders: [["Session-ID", "short;remote=x"]] });
    expect(localOf(call.inviteAtServer)).toMatch(V4);
    expect(of(call.inviteAtServer)).toHaveLength(1);
  });

  it("is the same in CANCEL as in the INVITE (§7)", async () => {
    const l = await lab();
    const invite = l.client.invite();
    const server = l.server("a");
    const at = server.request("INVITE");
    server.answer(at, 180);
    l.client.cancel(invite);
    expect(of(server.request("CANCEL"))).toEqual(of(at));
  });

  it("says in a refusal of the relay's own whom it is for", async () => {
    const l = await lab();
    l.client.invite({ uri: "sip:nothing@portal.com", headers: [["Session-ID", `${ALICE};remote=${NIL}`]] });
    expect(of(l.client.response(404))).toEqual([`${NIL};remote=${ALICE}`]);
  });

  it("can be switched off, and X-Call-ID too", async () => {
    const config = {
      portal: { domain: "portal.com" },
      correlation: { sessionId: false, xCallId: false },
    };
    const l = await lab({ config });
    const call = await establish(l);
    for (const message of [call.inviteAtServer, call.answer, call.ack]) {
      expect(of(message)).toEqual([]);
      expect(message.headers.has("x-call-id")).toBe(false);
    }
  });
});

describe("X-Call-ID", () => {
  it("names in each leg the Call-ID of the other", async () => {
    const l = await lab();
    const call = await establish(l);
    expect(call.inviteAtServer.headers.all("x-call-id")).toEqual([call.invite.callId]);
    expect(call.answer.headers.all("x-call-id")).toEqual([call.inviteAtServer.callId]);
  });

  it("of an app server is taken over", async () => {
    const l = await lab();
    const call = await establish(l, { answerHeaders: [["X-Call-ID", "mine"]] });
    expect(call.answer.headers.all("x-call-id")).toEqual(["mine"]);
  });
});
