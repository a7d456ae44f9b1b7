import { describe, expect, it } from "vitest";
import { parseTargetDialog } from "../../src/sip/refer.ts";
import { establish, type Lab, type LabOptions, lab } from "./harness.ts";

const TWO: LabOptions = {
  servers: [{ id: "a" }, { id: "b", services: ["beer"] }],
  more: [{ id: "beer", tariff: "t" }],
};
const BEER = "sip:beer@portal.com";

type Call = Awaited<ReturnType<typeof establish>>;

/**
 * The first dialog as the client names it: Replaces has the tags of the receiver's To and From, Target-Dialog those of
 * both ends.
 */
const names = ({ invite, answer }: Call) => ({
  replaces: `${invite.callId};to-tag=${answer.toTag};from-tag=${invite.fromTag}`,
  target: `${invite.callId};local-tag=${invite.fromTag};remote-tag=${answer.toTag}`,
});

function second(l: Lab, headers: [string, string][]) {
  const invite = l.client.invite({ uri: BEER, headers, body: "<beer/>", type: "application/xml" });
  const at = l.server("b").request("INVITE");
  l.server("b").answer(at, 200, { body: '{"url":"http://beer/"}', type: "application/json" });
  const answer = l.client.response(200);
  l.client.ack(invite, answer);
  l.server("b").request("ACK");
  return { invite, at, answer };
}

/** Both sides of the first session are told that it is over. */
async function firstEnds(l: Lab) {
  const reasons = [l.client, l.server("a")].map((peer) => {
    const bye = peer.request("BYE");
    peer.answer(bye, 200);
    return bye.headers.get("reason");
  });
  await l.settle();
  return reasons;
}

const told = (l: Lab) => l.events.map((event) => `${event.type} ${event.session.service}`);

describe("a second INVITE with Replaces (M23, RFC 3891)", () => {
  it("moves the client to the second app server; the first session ends when the second is established", async () => {
    const l = await lab(TWO);
    const call = await establish(l);
    const move = second(l, [["Replaces", names(call).replaces]]);
    expect(move.at.headers.has("replaces")).toBe(false);
    expect(move.answer.body.toString()).toBe('{"url":"http://beer/"}');
    expect(await firstEnds(l)).toEqual([1, 2].map(() => 'SIP;cause=480;text="moved to beer"'));
    expect(told(l)).toEqual([
      "session.started service1",
      "session.moved beer",
      "session.started beer",
      "session.ended service1",
    ]);
    const [started, moved] = l.events;
    expect(moved).toMatchObject({
      kept: false,
      from: { id: started!.session.id },
      session: { previous: { session: started!.session.id, by: "move" } },
    });
    expect(l.core.sessions.size).toBe(1);
  });

  it("leaves the first session alone when the second app server refuses", async () => {
    const l = await lab(TWO);
    const call = await establish(l);
    const invite = l.client.invite({ uri: BEER, headers: [["Replaces", names(call).replaces]] });
    l.server("b").answer(l.server("b").request("INVITE"), 486);
    l.server("b").request("ACK");
    l.client.ack(invite, l.client.response(486));
    await l.settle();
    expect(l.client.inbox).toEqual([]);
    expect(l.core.sessions.size).toBe(1);
    expect(told(l)).toEqual(["session.started service1"]);
  });

  it.each([
    ["481 to a dialog that is not there", (text: string) => `x${text}`, 481],
    ["481 to tags that do not fit", (text: string) => text.replace("from-tag=", "from-tag=x"), 481],
    ["486 to early-only, since it was answered", (text: string) => `${text};early-only`, 486],
    ["400 to what cannot be read", () => "nonsense", 400],
  ])("answers %s (RFC 3891 §3)", async (_what, written, status) => {
    const l = await lab(TWO);
    const call = await establish(l);
    l.client.invite({ uri: BEER, headers: [["Replaces", written(names(call).replaces)]] });
    l.client.response(status);
    expect(l.server("b").inbox).toEqual([]);
    expect(l.core.sessions.size).toBe(1);
  });

  it("answers 403 to another user, 603 when the first session is over, 400 with Join (RFC 3891 §3, §5)", async () => {
    const l = await lab(TWO);
    const call = await establish(l);
    const { replaces } = names(call);
    l.client.invite({
      uri: BEER,
      headers: [
        ["Replaces", replaces],
        ["Join", replaces],
      ],
    });
    l.client.response(400);
    const { authenticate } = l.core.authenticator;
    l.core.authenticator.authenticate = () => ({ verdict: "accepted", user: "mallory" });
    l.client.invite({ uri: BEER, headers: [["Replaces", replaces]] });
    l.client.response(403);
    l.core.authenticator.authenticate = authenticate;
    l.client.inDialog("BYE", call.invite, call.answer, 2);
    l.client.invite({ uri: BEER, headers: [["Replaces", replaces]] });
    l.client.response(603);
  });

  it("answers 481 to an early dialog that the client itself began (RFC 3891 §3)", async () => {
    const l = await lab(TWO);
    const invite = l.client.invite();
    l.server("a").answer(l.server("a").request("INVITE"), 180);
    const { toTag } = l.client.response(180);
    const replaces = `${invite.callId};to-tag=${toTag};from-tag=${invite.fromTag};early-only`;
    l.client.invite({ uri: BEER, headers: [["Replaces", replaces]] });
    l.client.response(481);
  });
});

describe("a second INVITE that goes on beside the first (M24)", () => {
  it("is linked to the first by Target-Dialog (RFC 4538); each session has its own clock and end", async () => {
    const l = await lab(TWO);
    const call = await establish(l);
    const { target } = names(call);
    const { invite, answer, at } = second(l, [
      ["Target-Dialog", target],
      ["Require", "tdialog"],
    ]);
    await l.settle();
    expect(parseTargetDialog(target).ok && at.headers.has("target-dialog")).toBe(false);
    expect(l.core.sessions.size).toBe(2);
    expect(l.events[1]).toMatchObject({ type: "session.moved", kept: true, from: { service: "service1" } });
    l.clock.advance(10_000);
    l.client.inDialog("BYE", invite, answer, 2);
    l.server("b").answer(l.server("b").request("BYE"), 200);
    await l.settle();
    l.client.response(200);
    l.clock.advance(5_000);
    l.client.inDialog("BYE", call.invite, call.answer, 2);
    l.server("a").answer(l.server("a").request("BYE"), 200);
    await l.settle();
    const ended = l.events.filter((event) => event.type === "session.ended");
    expect(ended.map((event) => [event.session.service, event.durationMs])).toEqual([
      ["beer", 10_000],
      ["service1", 15_000],
    ]);
  });

  it("is an INVITE like any other where it names no dialog of this user", async () => {
    const l = await lab(TWO);
    await establish(l);
    second(l, [["Target-Dialog", "x;local-tag=1;remote-tag=2"]]);
    await l.settle();
    expect(told(l)).toEqual(["session.started service1", "session.started beer"]);
    expect(l.core.sessions.size).toBe(2);
  });
});
