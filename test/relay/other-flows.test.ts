import { describe, expect, it } from "vitest";
import { snapshot } from "../../src/relay/session/snapshot.ts";
import { binding } from "../registrar/samples.ts";
import { establish, type Lab, lab, type Peer } from "./harness.ts";

/*
 * A dialog whose connection is gone goes on by another flow of the same device (RFC 5626 §5.3, §6).
 */

const PHONE = "urn:uuid:00000000-0000-1000-8000-000000000001";

let registers = 0;
/** What the registrar holds once that peer has registered. */
function registered(l: Lab, peer: Peer, over: Partial<Parameters<typeof binding>[0]> = {}): void {
  const now = l.clock.monotonic();
  registers++;
  l.core.bindings.put(
    binding({
      key: `${PHONE} ${registers}`,
      instance: PHONE,
      regId: registers,
      contact: "sip:alice@x.invalid;transport=ws",
      flow: peer.flow,
      survives: false,
      since: now,
      until: now + 60_000,
      ...over,
    }),
  );
}

const fails = (l: Lab, peer: Peer) => {
  peer.flow.open = false;
  l.transactions.flowFailed(peer.flow, "closed");
};

async function standing() {
  const l = await lab({ clientTransport: "tcp" });
  const second = l.peer("192.0.2.50", 41_002, "tcp");
  registered(l, l.client);
  const call = await establish(l);
  l.clock.advance(10);
  return { l, second, ...call };
}

describe("a client whose connection is gone in a session", () => {
  it("is reached at once by the other flow that its device has registered, also by the app server's requests", async () => {
    const { l, second, server, inviteAtServer, answerOfServer, invite, answer } = await standing();
    registered(l, second);
    fails(l, l.client);
    second.answer(second.request("OPTIONS"), 200);
    server.backInDialog("INFO", inviteAtServer, answerOfServer, 1);
    second.answer(second.request("INFO"), 200);
    server.response(200);
    server.backInDialog("BYE", inviteAtServer, answerOfServer, 2);
    second.answer(second.request("BYE"), 200);
    await l.settle();
    expect([invite.callId, l.core.sessions.size]).toEqual([answer.callId, 0]);
    l.clock.advance(70_000);
    expect(l.leftovers()).toEqual({ sessions: 0, requests: 0, legs: 0, legsByFlow: 0, transactions: 0, timers: 0 });
  });

  it("is reached by the flow by which its device registers next, before the session counts as lost", async () => {
    const { l, second, server, inviteAtServer, answerOfServer } = await standing();
    fails(l, l.client);
    l.clock.advance(1_000);
    registered(l, second);
    expect(l.core.otherFlows.size).toBe(0);
    l.clock.advance(60_000);
    expect(l.core.sessions.size).toBe(1);
    second.inbox.length = 0;
    server.backInDialog("BYE", inviteAtServer, answerOfServer, 1);
    second.request("BYE");
  });

  it.each<[string, Partial<Parameters<typeof binding>[0]>]>([
    ["another device of that user", { instance: "urn:uuid:2" }],
    ["another user", { user: "bob" }],
    ["a flow behind a proxy, whose path is that of another dialog", { path: ["<sip:p.example;lr>"] }],
  ])("is not reached by %s", async (_what, over) => {
    const { l, second } = await standing();
    fails(l, l.client);
    registered(l, second, over);
    expect(second.inbox).toEqual([]);
    l.clock.advance(60_000);
    expect(l.core.sessions.size).toBe(0);
    expect(l.core.otherFlows.size).toBe(0);
  });

  it("that had registered nothing is waited for as before", async () => {
    const l = await lab({ clientTransport: "tcp" });
    await establish(l);
    fails(l, l.client);
    registered(l, l.peer("192.0.2.50", 41_002, "tcp"));
    l.clock.advance(60_000);
    expect(l.core.sessions.size).toBe(0);
    expect(l.core.otherFlows.size).toBe(0);
  });

  it("is known by its device to the process that takes the session up", async () => {
    const { l } = await standing();
    const [session] = l.core.sessions.values();
    expect(snapshot(session!)?.client).toMatchObject({ byConnection: true, instance: PHONE });
    fails(l, l.client);
    expect(snapshot(session!)?.client).toMatchObject({ byConnection: true, instance: PHONE });
  });
});
