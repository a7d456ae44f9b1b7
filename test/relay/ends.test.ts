import { describe, expect, it } from "vitest";
import { establish, lab } from "./harness.ts";

const nothing = { sessions: 0, requests: 0, legs: 0, legsByFlow: 0, transactions: 0, timers: 0 };

describe("CANCEL at every point (RFC 3261 §9)", () => {
  it("before the app server said anything: it is cancelled as soon as it does", async () => {
    const l = await lab();
    const invite = l.client.invite();
    const server = l.server("a");
    const at = server.request("INVITE");
    l.client.cancel(invite);
    l.client.response(200);
    l.client.ack(invite, l.client.response(487));
    expect(server.inbox).toEqual([]);
    server.answer(at, 180);
    server.answer(server.request("CANCEL"), 200);
    server.answer(at, 487);
    server.request("ACK");
    l.clock.advance(70_000);
    expect(l.client.inbox).toEqual([]);
    expect(l.events).toEqual([]);
    expect(l.leftovers()).toEqual(nothing);
  });

  it("while it rings", async () => {
    const l = await lab();
    const invite = l.client.invite();
    const server = l.server("a");
    const at = server.request("INVITE");
    server.answer(at, 180);
    l.client.response(180);
    l.client.cancel(invite);
    l.client.response(200);
    l.client.ack(invite, l.client.response(487));
    server.answer(server.request("CANCEL"), 200);
    server.answer(at, 487);
    server.request("ACK");
    l.clock.advance(70_000);
    expect(l.leftovers()).toEqual(nothing);
  });

  it("crossing the app server's 200: that is acknowledged and ended, and nothing is charged", async () => {
    const l = await lab();
    const invite = l.client.invite();
    const server = l.server("a");
    const at = server.request("INVITE");
    server.answer(at, 180);
    l.client.response(180);
    l.client.cancel(invite);
    server.request("CANCEL");
    server.answer(at, 200);
    server.request("ACK");
    server.answer(server.request("BYE"), 200);
    await l.settle();
    l.client.response(200);
    l.client.ack(invite, l.client.response(487));
    l.clock.advance(70_000);
    expect(l.events).toEqual([]);
    expect(l.leftovers()).toEqual(nothing);
  });

  it("after the 200: too late, the call stands", async () => {
    const l = await lab();
    const invite = l.client.invite();
    const server = l.server("a");
    server.answer(server.request("INVITE"), 200);
    const answer = l.client.response(200);
    l.client.cancel(invite);
    l.client.response(200);
    l.client.ack(invite, answer);
    server.request("ACK");
    expect(server.inbox).toEqual([]);
    expect(l.core.sessions.size).toBe(1);
  });

  it("of nothing: 481", async () => {
    const l = await lab();
    const { invite } = await establish(l);
    invite.headers.set("Via", "SIP/2.0/UDP 192.0.2.50:5062;branch=z9hG4bK-unknown");
    l.client.cancel(invite);
    l.client.response(481);
  });

  it("by BYE in the early dialog (RFC 3261 §15)", async () => {
    const l = await lab();
    const invite = l.client.invite();
    const server = l.server("a");
    const at = server.request("INVITE");
    server.answer(at, 180);
    l.client.inDialog("BYE", invite, l.client.response(180), 2);
    l.client.response(200);
    l.client.ack(invite, l.client.response(487));
    server.request("CANCEL");
    server.answer(at, 487);
    l.clock.advance(70_000);
    expect(l.leftovers()).toEqual(nothing);
  });
});

describe("who disappears", () => {
  it("the client, before its ACK: BYE to both after 64*T1, no charge (RFC 3261 §13.3.1.4)", async () => {
    const l = await lab();
    l.client.invite();
    const server = l.server("a");
    server.answer(server.request("INVITE"), 200);
    l.client.deaf = true;
    l.clock.advance(32_500);
    server.request("ACK");
    const bye = server.request("BYE");
    expect(bye.headers.get("reason")).toContain("no ACK came");
    server.answer(bye, 200);
    l.clock.advance(70_000);
    await l.settle();
    expect(l.events).toEqual([]);
    expect(l.leftovers()).toEqual(nothing);
  });

  it("the client, by its connection: it is asked, and the session ended when it does not answer (M12)", async () => {
    const l = await lab({ clientTransport: "tcp" });
    const { server } = await establish(l);
    l.clock.advance(10_000);
    l.client.flow.open = false;
    l.client.deaf = true;
    l.transactions.flowFailed(l.client.flow, "connection reset");
    l.clock.advance(32_500);
    server.answer(server.request("BYE"), 200);
    l.clock.advance(70_000);
    await l.settle();
    expect(l.events.at(-1)).toMatchObject({
      type: "session.ended",
      endedBy: expect.stringContaining("client is gone"),
    });
    expect(l.leftovers()).toEqual(nothing);
  });

  it("the client, by its connection, while it still waits for an answer: the app server is cancelled", async () => {
    const l = await lab({ clientTransport: "tcp" });
    l.client.invite();
    const server = l.server("a");
    const at = server.request("INVITE");
    server.answer(at, 180);
    l.client.flow.open = false;
    l.transactions.flowFailed(l.client.flow, "connection reset");
    server.request("CANCEL");
    server.answer(at, 487);
    l.clock.advance(70_000);
    expect(l.leftovers()).toEqual(nothing);
  });

  it("by BYE that is not answered yet: nothing is sent after it, which would overtake it (RFC 3261 §12.2.2)", async () => {
    const l = await lab({ session: { probeS: 2 } });
    const { invite, answer, server } = await establish(l);
    l.clock.advance(1_000);
    l.client.inDialog("BYE", invite, answer, 2);
    server.request("BYE");
    l.clock.advance(5_000);
    expect(server.inbox.every((message) => message.isRequest && message.method === "BYE")).toBe(true);
  });

  it("the app server, in the middle: noticed by a probe, the client is told (M12)", async () => {
    const l = await lab({ session: { probeS: 60 } });
    const { server } = await establish(l);
    const startedAt = l.clock.wall();
    server.deaf = true;
    l.clock.advance(60_000);
    l.client.answer(l.client.request("OPTIONS"), 200);
    l.clock.advance(33_000);
    const bye = l.client.request("BYE");
    expect(bye.headers.get("reason")).toContain("server is gone");
    l.client.answer(bye, 200);
    l.clock.advance(70_000);
    await l.settle();
    expect(l.events.at(-1)).toMatchObject({ type: "session.ended", durationMs: expect.any(Number) });
    expect((l.events.at(-1) as { durationMs: number }).durationMs).toBeLessThanOrEqual(
      l.clock.wall() - startedAt - 70_000,
    );
    expect(l.leftovers()).toEqual(nothing);
  });

  it("the app server, knowing nothing of the session any more: 481 to a request ends it (RFC 3261 §12.2.1.2)", async () => {
    const l = await lab();
    const { invite, answer, server } = await establish(l);
    l.client.inDialog("INFO", invite, answer, 2);
    server.answer(server.request("INFO"), 481);
    l.client.response(481);
    l.client.answer(l.client.request("BYE"), 200);
    server.answer(server.request("BYE"), 481);
    await l.settle();
    expect(l.events.at(-1)?.type).toBe("session.ended");
  });

  it("the app server, before its 200 to BYE: the clock stops when BYE was sent (M12)", async () => {
    const l = await lab();
    const { invite, answer, server } = await establish(l);
    l.clock.advance(5_000);
    const sentAt = l.clock.wall();
    l.client.inDialog("BYE", invite, answer, 2);
    server.deaf = true;
    l.clock.advance(1_000);
    l.transactions.flowFailed(server.flow, "port unreachable");
    await l.settle();
    l.client.response(200);
    expect(l.events.at(-1)).toMatchObject({ type: "session.ended", at: sentAt, durationMs: 5_000 });
    l.clock.advance(70_000);
    expect(l.leftovers()).toEqual(nothing);
  });

  it("nobody: both hang up at once, each gets its 200", async () => {
    const l = await lab();
    const { invite, answer, server, inviteAtServer, answerOfServer } = await establish(l);
    l.client.inDialog("BYE", invite, answer, 2);
    server.backInDialog("BYE", inviteAtServer, answerOfServer, 1);
    const bye = server.request("BYE");
    server.response(200);
    server.answer(bye, 200);
    await l.settle();
    l.client.response(200);
    expect(l.events.filter((event) => event.type === "session.ended")).toHaveLength(1);
    l.clock.advance(70_000);
    expect(l.leftovers()).toEqual(nothing);
  });

  it("a session that lasts too long is ended by the relay", async () => {
    const l = await lab({ session: { maxDurationS: 600 } });
    const { server } = await establish(l);
    l.clock.advance(600_000);
    server.answer(server.request("BYE"), 200);
    l.client.answer(l.client.request("BYE"), 200);
    await l.settle();
    expect(l.events.at(-1)).toMatchObject({ durationMs: 600_000, endedBy: "relay: the greatest duration is over" });
  });
});

describe("app servers that refuse or are silent (M4, M5)", () => {
  it.each([404, 403, 486, 500, 603])("relays %i as it came", async (status) => {
    const l = await lab();
    const invite = l.client.invite();
    l.server("a").answer(l.server("a").request("INVITE"), status, {
      headers: [["X-Why", "full"]],
      body: "no",
      type: "text/plain",
    });
    l.server("a").request("ACK");
    const final = l.client.response(status);
    expect(final.headers.get("x-why")).toBe("full");
    expect(final.body.toString()).toBe("no");
    l.client.ack(invite, final);
    l.clock.advance(70_000);
    expect(l.leftovers()).toEqual(nothing);
  });

  it("asks the next by priority when one is silent, and the client hears only of that one", async () => {
    const l = await lab({
      servers: [
        { id: "b", priority: 20 },
        { id: "a", priority: 10 },
      ],
      session: { silentS: 4 },
    });
    const invite = l.client.invite();
    l.server("a").request("INVITE");
    l.clock.advance(4_000);
    l.server("b").answer(l.server("b").request("INVITE"), 200);
    l.client.response(100);
    l.client.ack(invite, l.client.response(200));
    l.server("b").request("ACK");
    // The silent one wakes up: it is told that nobody waits.
    const late = l.server("a").request("INVITE");
    l.server("a").inbox.length = 0;
    l.server("a").answer(late, 200);
    l.server("a").request("ACK");
    l.server("a").answer(l.server("a").request("BYE"), 200);
    expect(l.core.sessions.size).toBe(1);
  });

  it("answers 408 when all are silent", async () => {
    const l = await lab({ servers: [{ id: "a" }, { id: "b" }], session: { silentS: 4 } });
    l.client.invite();
    l.clock.advance(8_000);
    l.client.response(100);
    l.client.response(408);
    l.client.deaf = true;
    l.clock.advance(140_000);
    expect(l.leftovers()).toEqual(nothing);
  });

  it("answers 500 when the app server cannot be reached: the relay can (RFC 3261 §8.1.3.1, §16.9)", async () => {
    const l = await lab();
    l.client.invite();
    l.server("a").request("INVITE");
    l.transactions.flowFailed(l.server("a").flow, "port unreachable");
    l.client.response(500);
  });

  it("gives an app server that rings only so long, then cancels it", async () => {
    const l = await lab({ service: { ringS: 20 } });
    l.client.invite();
    const at = l.server("a").request("INVITE");
    l.server("a").answer(at, 180);
    l.client.response(180);
    l.clock.advance(20_000);
    l.client.response(408);
    l.server("a").request("CANCEL");
  });

  it("answers 404 to a service that nobody offers, 503 while all who offer it are full (M4)", async () => {
    const l = await lab({ servers: [{ id: "a", capacity: 1 }] });
    l.client.invite({ uri: "sip:nowhere@portal.com" });
    l.client.response(404);
    await establish(l);
    l.client.invite();
    expect(l.client.response(503).headers.has("retry-after")).toBe(true);
  });

  it("cancels the others when the first has answered, and ends a late 200 (M8)", async () => {
    const l = await lab({ servers: [{ id: "a" }, { id: "b" }, { id: "c" }], service: { fork: "first" } });
    const invite = l.client.invite();
    const atA = l.server("a").request("INVITE");
    const atB = l.server("b").request("INVITE");
    const atC = l.server("c").request("INVITE");
    l.server("a").answer(atA, 180);
    l.server("c").answer(atC, 180);
    l.server("b").answer(atB, 200);
    l.client.response(180);
    l.client.response(180);
    l.client.ack(invite, l.client.response(200));
    l.server("a").answer(l.server("a").request("CANCEL"), 200);
    l.server("a").answer(atA, 487);
    l.server("c").request("CANCEL");
    l.server("c").answer(atC, 200);
    l.server("c").request("ACK");
    l.server("c").answer(l.server("c").request("BYE"), 200);
    await l.settle();
    expect(l.core.sessions.size).toBe(1);
    expect(l.events).toHaveLength(1);
  });

  it("makes a session of each answer where all count, each with a dialog of its own (M25)", async () => {
    const l = await lab({ servers: [{ id: "a" }, { id: "b" }], service: { fork: "all" } });
    const invite = l.client.invite();
    for (const id of ["a", "b"]) l.server(id).answer(l.server(id).request("INVITE"), 200);
    const first = l.client.response(200);
    const second = l.client.response(200);
    expect(first.toTag).not.toBe(second.toTag);
    l.client.ack(invite, first);
    l.client.ack(invite, second);
    for (const id of ["a", "b"]) l.server(id).request("ACK");
    await l.settle();
    expect(l.events.map((event) => event.session.appServer).sort()).toEqual(["a", "b"]);
    l.client.inDialog("BYE", invite, first, 2);
    l.server("a").answer(l.server("a").request("BYE"), 200);
    await l.settle();
    expect(l.core.sessions.size).toBe(1);
  });
});
