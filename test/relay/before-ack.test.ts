import { describe, expect, it } from "vitest";
import type { SipRequest } from "../../src/sip/message.ts";
import { establish, type Lab, type LabOptions, lab, type Peer } from "./harness.ts";

/*
 * Hanging up between a 2xx and its ACK (RFC 3261 §15): the 2xx is repeated until that comes, and BYE to the one who
 * owes it waits for it.
 */

const nothing = { sessions: 0, requests: 0, legs: 0, legsByFlow: 0, transactions: 0, timers: 0 };

/** A call that is answered, and the client has not said ACK. */
async function answered(options: LabOptions = {}) {
  const l = await lab(options);
  const invite = l.client.invite({ body: "v=0" });
  const server = l.server("a");
  const inviteAtServer = server.request("INVITE");
  const answerOfServer = server.answer(inviteAtServer, 200);
  await l.settle();
  const answer = l.client.response(200);
  return { l, server, invite, answer, inviteAtServer, answerOfServer };
}

const copies = (peer: Peer, what: number | string): number =>
  peer.inbox.splice(0).filter((message) => (message.isRequest ? message.method : message.status) === what).length;

async function allOver(l: Lab) {
  l.clock.advance(130_000);
  await l.settle();
  expect(l.leftovers()).toEqual(nothing);
}

describe("a client that hangs up before its ACK", () => {
  it("still gets its 200 to INVITE until the ACK comes, also when the session is over (RFC 5407 §3.1.6)", async () => {
    const { l, server, invite, answer } = await answered();
    l.client.inDialog("BYE", invite, answer, 2);
    server.request("ACK");
    server.answer(server.request("BYE"), 200);
    await l.settle();
    l.client.response(200);
    expect(l.core.sessions.size).toBe(0);
    l.clock.advance(1_600);
    expect(copies(l.client, 200)).toBe(2);
    l.client.inDialog("MESSAGE", invite, answer, 3);
    l.client.response(481);
    l.client.ack(invite, answer);
    l.clock.advance(31_000);
    expect(l.client.inbox).toEqual([]);
    expect(server.inbox).toEqual([]);
    expect(l.events).toEqual([]);
    await allOver(l);
  });

  it("in its early dialog, because the 200 was lost: gets it again (RFC 5407 §3.1.3)", async () => {
    const l = await lab();
    const invite = l.client.invite();
    const server = l.server("a");
    const at = server.request("INVITE");
    server.answer(at, 180);
    const ringing = l.client.response(180);
    l.client.deaf = true;
    server.answer(at, 200);
    l.client.deaf = false;
    l.client.inDialog("BYE", invite, ringing, 2);
    server.request("ACK");
    server.answer(server.request("BYE"), 200);
    await l.settle();
    expect(l.client.response(200).cseq?.method).toBe("BYE");
    l.clock.advance(500);
    l.client.ack(invite, l.client.response(200));
    await allOver(l);
    expect(l.client.inbox).toEqual([]);
  });

  it("gets it for 64*T1 at most (RFC 3261 §13.3.1.4)", async () => {
    const { l, server, invite, answer } = await answered();
    l.client.inDialog("BYE", invite, answer, 2);
    server.request("ACK");
    server.answer(server.request("BYE"), 200);
    await l.settle();
    l.clock.advance(32_500);
    expect(copies(l.client, 200)).toBeGreaterThan(8);
    await allOver(l);
    expect(copies(l.client, 200)).toBe(0);
  });
});

type Ending = [what: string, end: (call: Awaited<ReturnType<typeof answered>>) => void];
const endings: Ending[] = [
  [
    "the app server",
    ({ server, inviteAtServer, answerOfServer }) => server.backInDialog("BYE", inviteAtServer, answerOfServer, 1),
  ],
  ["the relay", ({ l }) => l.core.sessions.values()[0]!.end({ code: "stops" })],
  [
    "the relay, since the app server is gone",
    ({ l }) => l.core.sessions.values()[0]!.lost("server", "no answer to a probe"),
  ],
];

describe("hung up before the client's ACK (RFC 3261 §15)", () => {
  it.each(endings)("by %s: the 200 is repeated, and BYE follows the ACK", async (what, end) => {
    const call = await answered();
    const { l, server, invite, answer } = call;
    end(call);
    server.request("ACK");
    if (what !== "the app server") server.answer(server.request("BYE"), 200);
    l.clock.advance(1_600);
    expect(copies(l.client, 200)).toBe(2);
    l.client.ack(invite, answer);
    l.client.answer(l.client.request("BYE"), 200);
    await l.settle();
    if (what === "the app server") server.response(200);
    expect(server.inbox).toEqual([]);
    expect(l.events).toEqual([]);
    await allOver(l);
  });

  it.each(endings)("by %s: without an ACK, BYE follows after 64*T1", async (what, end) => {
    const call = await answered();
    const { l, server } = call;
    end(call);
    server.request("ACK");
    if (what !== "the app server") server.answer(server.request("BYE"), 200);
    await l.settle();
    l.clock.advance(31_000);
    await l.settle();
    if (what === "the app server") expect(copies(server, 200)).toBe(1); // it waits no longer than others
    expect(copies(l.client, 200)).toBeGreaterThan(8);
    l.clock.advance(1_600);
    l.client.inbox.splice(
      0,
      l.client.inbox.findIndex((message) => message.isRequest),
    );
    l.client.answer(l.client.request("BYE"), 200);
    await allOver(l);
  });

  it.each(endings)("by %s, and then by the client: no BYE goes to it any more", async (what, end) => {
    const call = await answered();
    const { l, server, invite, answer } = call;
    end(call);
    server.request("ACK");
    if (what !== "the app server") server.answer(server.request("BYE"), 200);
    l.client.inDialog("BYE", invite, answer, 2);
    expect(l.client.response(200).cseq?.method).toBe("BYE");
    await l.settle();
    if (what === "the app server") server.response(200);
    expect(l.core.sessions.size).toBe(0);
    l.client.ack(invite, answer);
    expect(l.client.inbox).toEqual([]);
    await allOver(l);
  });

  it("keeps the client's dialog until then: what comes in it may be tried again", async () => {
    const call = await answered();
    const { l, invite, answer } = call;
    endings[1]![1](call);
    l.client.inDialog("MESSAGE", invite, answer, 2);
    expect(l.client.response(500).headers.get("retry-after")).toBe("1");
    l.client.ack(invite, answer);
    l.client.request("BYE");
    l.client.inDialog("MESSAGE", invite, answer, 3);
    l.client.response(481);
  });

  it("charges the time until then where it runs from the answer (M12)", async () => {
    const call = await answered({ service: { clock: "answer" } });
    const { l, server, invite, answer } = call;
    l.clock.advance(3_000);
    endings[0]![1](call);
    l.clock.advance(1_000);
    l.client.inbox.length = 0;
    l.client.ack(invite, answer);
    l.client.answer(l.client.request("BYE"), 200);
    await l.settle();
    server.request("ACK");
    server.response(200);
    expect(l.events.at(-1)).toMatchObject({ type: "session.ended", durationMs: 4_000 });
  });
});

describe("a session that ends while the 200 to a re-INVITE waits for its ACK", () => {
  it.each(["client", "server"] as const)(
    "of the %s: the other end hears its ACK, this one the 200 until its own",
    async (from) => {
      const l = await lab();
      const call = await establish(l);
      const { server, invite, answer, inviteAtServer, answerOfServer } = call;
      const [asks, says] = from === "client" ? [l.client, server] : [server, l.client];
      const change =
        from === "client"
          ? l.client.inDialog("INVITE", invite, answer, 2)
          : server.backInDialog("INVITE", inviteAtServer, answerOfServer, 1);
      const at = says.request("INVITE");
      says.answer(at, 200);
      const changed = asks.response(200);
      l.core.sessions.values()[0]!.end({ code: "stops" });
      expect((says.request("ACK") as SipRequest).cseq?.number).toBe(at.cseq?.number);
      for (const peer of [asks, says]) peer.answer(peer.request("BYE"), 200);
      await l.settle();
      l.clock.advance(1_600);
      expect(copies(asks, 200)).toBe(2);
      says.answer(at, 200); // its ACK was lost
      expect((says.request("ACK") as SipRequest).cseq?.number).toBe(at.cseq?.number);
      asks.ack(change, changed);
      l.clock.advance(10_000);
      expect([asks.inbox, says.inbox]).toEqual([[], []]);
      await allOver(l);
    },
  );
});
