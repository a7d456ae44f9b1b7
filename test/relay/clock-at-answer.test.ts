import { describe, expect, it } from "vitest";
import type { SipRequest } from "../../src/sip/message.ts";
import { type Lab, type LabOptions, lab } from "./harness.ts";

/*
 * `clock: answer`: time counts from the answer, so that is a promise like any other: on disk, then given (M12; decision
 * 8).
 */

const CHARGE = "application/vnd.tollgate.charge+json";
const charge = {
  headers: [["Info-Package", "tollgate-charge"]] as [string, string][],
  type: CHARGE,
  body: JSON.stringify({ charges: [{ id: "x", item: "Corkage", unitPrice: "7.00", currency: "EUR" }] }),
};
const nothing = { sessions: 0, requests: 0, legs: 0, legsByFlow: 0, transactions: 0, timers: 0 };
const told = (l: Lab) => l.events.map(({ type }) => type).filter((type) => !type.startsWith("credit"));

/** An app server has answered, and what that starts is on its way to the disk. */
async function answering(options: LabOptions = {}) {
  const l = await lab({ ...options, service: { clock: "answer", ...options.service } });
  const invite = l.client.invite();
  await l.settle();
  const server = l.server("a");
  const at = server.request("INVITE");
  return { l, invite, server, at };
}

async function allOver(l: Lab) {
  l.clock.advance(130_000);
  await l.settle();
  l.clock.advance(130_000);
  expect(l.leftovers()).toEqual(nothing);
}

describe("a session whose time counts from the answer", () => {
  it("is on record before the client hears the answer, and the ACK adds nothing to that", async () => {
    const { l, invite, server, at } = await answering();
    server.answer(at, 200);
    expect(l.client.inbox).toEqual([]);
    await l.settle();
    expect(told(l)).toEqual(["session.started"]);
    const answer = l.client.response(200);
    l.clock.advance(500);
    l.client.response(200); // as ever, until the ACK
    l.client.ack(invite, answer);
    await l.settle();
    server.request("ACK");
    l.client.inDialog("BYE", invite, answer, 2);
    server.answer(server.request("BYE"), 200);
    await l.settle();
    l.client.response(200);
    expect(told(l)).toEqual(["session.started", "session.ended"]);
    expect(l.events.at(-1)).toMatchObject({ durationMs: 500 });
    await allOver(l);
  });

  it.each([undefined, "10"])(
    "cannot begin where the disk does not take it: 500, and nobody pays (balance: %s)",
    async (balance) => {
      const { l, invite, server, at } = await answering(balance === undefined ? {} : { balance });
      l.breakRecorder(true);
      server.answer(at, 200);
      await l.settle();
      l.client.ack(invite, l.client.response(500));
      server.request("ACK");
      l.breakRecorder(false);
      server.answer(server.request("BYE"), 200);
      await l.settle();
      expect(told(l)).toEqual([]);
      await allOver(l);
      if (balance !== undefined) expect([l.credit.held(), l.credit.available()]).toEqual([[], 10]);
    },
  );

  it("is charged from the answer on if no ACK comes, until BYE was sent (RFC 3261 §13.3.1.4)", async () => {
    const { l, server, at } = await answering();
    server.answer(at, 200);
    await l.settle();
    l.client.deaf = true;
    l.clock.advance(32_500);
    server.inbox.splice(
      0,
      server.inbox.findIndex((message) => message.isRequest && message.method === "BYE"),
    );
    server.answer(server.request("BYE"), 200);
    await allOver(l);
    expect(told(l)).toEqual(["session.started", "session.ended"]);
    expect(l.events.at(-1)).toMatchObject({ durationMs: 64 * 500, endedBy: "relay: no ACK came" });
  });

  it("takes charges from the answer on (M14)", async () => {
    const { l, server, at } = await answering();
    const answer = server.answer(at, 200);
    await l.settle();
    server.backInDialog("INFO", at, answer, 1, charge);
    await l.settle();
    server.response(200);
    expect(told(l)).toEqual(["session.started", "charge.made"]);
  });

  it("uses a prepaid balance up from the answer on, also without an ACK", async () => {
    const { l, server, at } = await answering({
      balance: "0.10",
      tariff: { price: "0.10", incrementS: 10 },
      credit: { intervalS: 10, warnS: 0 },
    });
    server.answer(at, 200);
    await l.settle();
    for (let i = 0; i < 10; i++) {
      l.clock.advance(1_000);
      await l.settle();
    }
    server.request("ACK");
    expect(server.request("BYE").headers.get("reason")).toContain("cause=402");
  });

  it("begins with the client's answer where it is the relay that invites the client (M23)", async () => {
    const l = await lab({
      servers: [
        { id: "a", services: ["service1"] },
        { id: "b", services: ["beer"] },
      ],
      more: [{ id: "beer", tariff: "t", clock: "answer" }],
    });
    const invite = l.client.invite();
    const a = l.server("a");
    a.answer(a.request("INVITE"), 200);
    const answer = l.client.response(200);
    l.client.ack(invite, answer);
    l.client.inDialog("REFER", invite, answer, 2, { headers: [["Refer-To", "<sip:beer@portal.com>"]] });
    l.client.response(200);
    const b = l.server("b");
    b.answer(b.request("INVITE"), 200);
    await l.settle();
    expect(told(l)).toEqual(["session.started"]);
    l.clock.advance(400);
    const asked = l.client.inbox.find((message) => message.isRequest && message.method === "INVITE") as SipRequest;
    l.client.answer(asked, 200, { tag: "second" });
    await l.settle();
    const began = l.events.find((event) => event.session.service === "beer" && event.type === "session.started");
    expect(began?.at).toBe(l.clock.wall());
  });
});

describe("a client that gives up while the start goes to the disk", () => {
  it.each(["first", "all"] as const)("by CANCEL: too late, it hears the 200 (fork %s; RFC 3261 §9.2)", async (fork) => {
    const { l, invite, server, at } = await answering({ servers: [{ id: "a" }, { id: "b" }], service: { fork } });
    l.server("b").answer(l.server("b").request("INVITE"), 180);
    l.client.response(180);
    server.answer(at, 200);
    l.client.cancel(invite);
    await l.settle();
    l.client.response(200);
    const answer = l.client.response(200);
    expect(answer.cseq?.method).toBe("INVITE");
    l.client.ack(invite, answer);
    await l.settle();
    expect(l.core.sessions.values().map(({ appServer }) => appServer.id)).toContain("a");
  });

  it("by BYE in its early dialog: 487, and the app server hears BYE (RFC 3261 §15.1.2)", async () => {
    const { l, invite, server, at } = await answering();
    server.answer(at, 180);
    const ringing = l.client.response(180);
    server.answer(at, 200);
    l.client.inDialog("BYE", invite, ringing, 2);
    await l.settle();
    server.request("ACK");
    server.answer(server.request("BYE"), 200);
    await l.settle();
    const statuses = l.client.inbox.flatMap((message) =>
      message.isRequest ? [] : [`${message.status} ${message.cseq?.method}`],
    );
    expect(statuses.sort()).toEqual(["200 BYE", "487 INVITE"]);
    await allOver(l);
  });

  it("because the relay hangs up: it hears the 200, and BYE after its ACK (RFC 3261 §15)", async () => {
    const { l, invite, server, at } = await answering();
    server.answer(at, 200);
    l.core.sessions.values()[0]!.end({ code: "stops" });
    expect(l.client.inbox).toEqual([]);
    await l.settle();
    const answer = l.client.response(200);
    expect(l.client.inbox).toEqual([]);
    l.client.ack(invite, answer);
    l.client.answer(l.client.request("BYE"), 200);
    server.request("ACK");
    server.answer(server.request("BYE"), 200);
    await l.settle();
    expect(told(l)).toEqual(["session.started", "session.ended"]);
    await allOver(l);
  });
});
