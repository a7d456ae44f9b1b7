import { describe, expect, it } from "vitest";
import type { SipRequest, SipResponse } from "../../src/sip/message.ts";
import { responseTo } from "../../src/sip/response.ts";
import { type Lab, type LabOptions, lab } from "./harness.ts";

const nothing = { sessions: 0, requests: 0, legs: 0, legsByFlow: 0, transactions: 0, timers: 0 };
const SUPPORTED: [string, string] = ["Supported", "timer, 100rel"];

/** A call of a client that knows 100rel; its INVITE is at the app server(s). */
async function calling(options: LabOptions = {}, headers: [string, string][] = [SUPPORTED]) {
  const l = await lab(options);
  const invite = l.client.invite({ headers, body: "offer" });
  const at = l.server("a").request("INVITE");
  return { l, invite, at, a: l.server("a") };
}

/** A reliable provisional answer of an app server. */
const reliably = (
  l: Lab,
  at: SipRequest,
  rseq: number,
  options: { server?: string; status?: number; body?: string; tag?: string } = {},
): SipResponse =>
  l.server(options.server ?? "a").answer(at, options.status ?? 183, {
    headers: [
      ["Require", "100rel"],
      ["RSeq", String(rseq)],
    ],
    ...(options.body !== undefined && { body: options.body }),
    ...(options.tag !== undefined && { tag: options.tag }),
  });

const rackOf = (response: SipResponse, cseq = 1): [string, string] => [
  "RAck",
  `${response.headers.get("rseq")} ${cseq} INVITE`,
];

/** The client's PRACK for a reliable provisional answer. */
const prack = (l: Lab, invite: SipRequest, response: SipResponse, seq: number, body?: string): SipRequest =>
  l.client.inDialog("PRACK", invite, response, seq, {
    headers: [rackOf(response)],
    ...(body !== undefined && { body }),
  });

describe("reliable provisional answers (RFC 3262)", () => {
  it("pass from end to end with PRACK and its answer, each dialog with numbers of its own", async () => {
    const { l, invite, at, a } = await calling();
    expect(at.headers.all("supported").join(",")).toContain("100rel");
    reliably(l, at, 4711, { body: "answer" });
    const progress = l.client.response(183);
    expect(progress.headers.get("require")).toBe("100rel");
    expect(progress.headers.get("rseq")).not.toBe("4711");
    expect(Number(progress.headers.get("rseq"))).toBeGreaterThan(0);
    expect(Number(progress.headers.get("rseq"))).toBeLessThan(2 ** 31);
    expect(progress.body.toString()).toBe("answer");
    prack(l, invite, progress, 2, "second offer");
    const relayed = a.request("PRACK");
    expect(relayed.headers.all("rack")).toEqual([`4711 ${at.cseq!.number} INVITE`]);
    expect(relayed.headers.get("to")).toContain(`tag=s-${a.address}`);
    expect(relayed.body.toString()).toBe("second offer");
    expect(relayed.headers.has("contact")).toBe(false); // RFC 3262, table 1
    a.answer(relayed, 200, { body: "second answer" });
    expect(l.client.response(200).body.toString()).toBe("second answer");
    a.answer(at, 200);
    const answer = l.client.response(200);
    expect(answer.toTag).toBe(progress.toTag);
    l.client.ack(invite, answer);
    expect(a.request("ACK").cseq!.number).toBe(at.cseq!.number);
    await l.settle();
    l.client.inDialog("BYE", invite, answer, 3);
    const bye = a.request("BYE");
    expect(bye.cseq!.number).toBeGreaterThan(relayed.cseq!.number);
    a.answer(bye, 200);
    await l.settle();
    l.client.response(200);
    l.clock.advance(70_000);
    expect(l.leftovers()).toEqual(nothing);
  });

  it("are wanted by Require: 100rel as well, which the app server hears and may refuse", async () => {
    const { l, at, a } = await calling({}, [["Require", "100rel"]]);
    expect(at.headers.get("require")).toBe("100rel");
    a.answer(at, 420, { headers: [["Unsupported", "100rel"]] });
    expect(l.client.response(420).headers.get("unsupported")).toBe("100rel");
  });

  it("are asked for in vain by an app server whose client knows none: 421 passes", async () => {
    const { l, at, a } = await calling({}, []);
    expect(at.headers.all("supported")).toEqual(["timer"]);
    a.answer(at, 421, { headers: [["Require", "100rel"]] });
    l.client.response(421);
  });

  it("are offered by the relay in Allow, and not for a re-INVITE", async () => {
    const { l, invite, at, a } = await calling();
    expect(at.headers.get("allow")).toContain("PRACK");
    a.answer(at, 200);
    const answer = l.client.response(200);
    l.client.ack(invite, answer);
    l.client.inDialog("INVITE", invite, answer, 2, { headers: [["Require", "100rel"]] });
    expect(l.client.response(420).headers.get("unsupported")).toBe("100rel");
  });

  it("are repeated until PRACK comes, each time after twice as long (§3)", async () => {
    const { l, invite, at, a } = await calling({}, [SUPPORTED]);
    reliably(l, at, 1);
    const first = l.client.response(183);
    for (const ms of [500, 1_000, 2_000, 4_000, 8_000]) {
      l.clock.advance(ms - 1);
      expect(l.client.inbox).toEqual([]);
      l.clock.advance(1);
      expect(l.client.response(183).headers.get("rseq")).toBe(first.headers.get("rseq"));
    }
    prack(l, invite, first, 2);
    a.answer(a.request("PRACK"), 200);
    l.client.response(200);
    l.clock.advance(30_000);
    expect(l.client.inbox).toEqual([]);
  });

  it("that are never acknowledged end the branch after 64*T1 with a 5xx (§3)", async () => {
    const { l, invite, at, a } = await calling();
    reliably(l, at, 1);
    l.clock.advance(31_999);
    l.client.inbox.length = 0;
    l.clock.advance(1);
    l.client.ack(invite, l.client.response(504));
    a.answer(a.request("CANCEL"), 200);
    a.answer(at, 487);
    a.request("ACK");
    l.clock.advance(70_000);
    expect(l.leftovers()).toEqual(nothing);
  });

  it("are taken once and in their order: what is repeated or ahead of its turn is dropped (§4)", async () => {
    const { l, invite, at, a } = await calling();
    reliably(l, at, 10);
    const first = l.client.response(183);
    reliably(l, at, 10);
    reliably(l, at, 12, { status: 180 });
    expect(l.client.inbox).toEqual([]);
    prack(l, invite, first, 2);
    a.answer(a.request("PRACK"), 200);
    l.client.response(200);
    expect(l.client.inbox).toEqual([]);
    reliably(l, at, 11, { status: 180 });
    const second = l.client.response(180);
    expect(Number(second.headers.get("rseq"))).toBe(Number(first.headers.get("rseq")) + 1);
  });

  it("wait for the PRACK of the one before; others pass at once (§3)", async () => {
    const { l, invite, at, a } = await calling();
    reliably(l, at, 10);
    const first = l.client.response(183);
    reliably(l, at, 11, { status: 182 });
    expect(l.client.inbox).toEqual([]);
    a.answer(at, 180);
    expect(l.client.response(180).headers.has("rseq")).toBe(false);
    prack(l, invite, first, 2);
    a.answer(a.request("PRACK"), 200);
    const second = l.client.response(182);
    l.client.response(200);
    prack(l, invite, second, 3);
    expect(a.request("PRACK").headers.get("rack")).toBe(`11 ${at.cseq!.number} INVITE`);
  });

  it("that wait are not without number: an app server that sends on and on is not taken further", async () => {
    const { l, invite, at, a } = await calling();
    for (let rseq = 1; rseq <= 50; rseq++) reliably(l, at, rseq);
    let passed = 0;
    for (;;) {
      const next = l.client.inbox.find((message) => !message.isRequest && message.status === 183);
      if (!next) break;
      l.client.inbox.length = 0;
      prack(l, invite, next as SipResponse, 2 + passed++);
      a.answer(a.request("PRACK"), 200);
    }
    expect(passed).toBe(8);
    // The one that was not taken comes again.
    reliably(l, at, 9);
    expect(l.client.inbox.some((message) => !message.isRequest && message.status === 183)).toBe(true);
  });

  it.each([
    ["of another answer", (first: SipResponse) => [["RAck", `${Number(first.headers.get("rseq")) + 1} 1 INVITE`]]],
    ["of another INVITE", (first: SipResponse) => [rackOf(first, 2)]],
    ["that cannot be read", () => [["RAck", "soon"]]],
    ["that is missing", () => []],
  ] as [string, (first: SipResponse) => [string, string][]][])("PRACK with a RAck %s: 481 (§3)", async (_, headers) => {
    const { l, invite, at, a } = await calling();
    reliably(l, at, 1);
    const first = l.client.response(183);
    l.client.inDialog("PRACK", invite, first, 2, { headers: headers(first) });
    l.client.response(481);
    expect(a.inbox).toEqual([]);
  });

  it("PRACK where nothing was reliable, of what is acknowledged, outside a dialog, or of an app server: 481 (§3)", async () => {
    const { l, invite, at, a } = await calling();
    const ringing = a.answer(at, 180);
    const heard = l.client.response(180);
    l.client.inDialog("PRACK", invite, heard, 2, { headers: [["RAck", "1 1 INVITE"]] });
    l.client.response(481);
    a.backInDialog("PRACK", at, ringing, 1, { headers: [["RAck", "1 1 INVITE"]] });
    a.response(481);
    reliably(l, at, 1);
    const first = l.client.response(183);
    prack(l, invite, first, 3);
    a.answer(a.request("PRACK"), 200);
    l.client.response(200);
    prack(l, invite, first, 4);
    l.client.response(481);
  });

  it("the app server's refusal of a PRACK reaches the client", async () => {
    const { l, invite, at, a } = await calling();
    reliably(l, at, 1);
    prack(l, invite, l.client.response(183), 2, "offer");
    a.answer(a.request("PRACK"), 488);
    l.client.response(488);
    expect(l.core.sessions.size).toBe(1);
  });
});

describe("an early dialog that is over", () => {
  it("is heard of no more: what was not acknowledged is not repeated when the app server rang too long (RFC 3262 §3)", async () => {
    const { l, at, a } = await calling({
      servers: [
        { id: "a", priority: 1 },
        { id: "b", priority: 2 },
      ],
      service: { ringS: 1 },
    });
    reliably(l, at, 1);
    l.clock.advance(999);
    const heard = l.client.inbox.length;
    l.clock.advance(1);
    a.request("CANCEL");
    l.server("b").request("INVITE");
    l.clock.advance(6_000);
    expect(l.client.inbox.length).toBe(heard);
  });

  it("takes no PRACK, and its app server gets none, when the client gives up", async () => {
    const { l, invite, at, a } = await calling();
    reliably(l, at, 1);
    const progress = l.client.response(183);
    l.client.cancel(invite);
    l.client.response(200);
    l.client.ack(invite, l.client.response(487));
    prack(l, invite, progress, 2);
    l.client.response(481);
    l.clock.advance(5_000);
    expect(a.inbox.map((message) => message.isRequest && message.method)).toEqual(Array(4).fill("CANCEL"));
  });
});

describe("a final answer while a reliable provisional one is unacknowledged (RFC 3262 §3)", () => {
  it("2xx: passes where that had no description; nothing is repeated, and its PRACK still finds its way", async () => {
    const { l, invite, at, a } = await calling();
    reliably(l, at, 1);
    const ringing = l.client.response(183);
    a.answer(at, 200);
    const answer = l.client.response(200);
    l.client.ack(invite, answer);
    a.request("ACK");
    l.clock.advance(5_000);
    expect(l.client.inbox).toEqual([]);
    prack(l, invite, ringing, 2);
    a.answer(a.request("PRACK"), 200);
    l.client.response(200);
    expect(l.core.sessions.size).toBe(1);
  });

  it("2xx: waits for the PRACK where that had a description", async () => {
    const { l, invite, at, a } = await calling();
    reliably(l, at, 1, { body: "answer" });
    const progress = l.client.response(183);
    a.answer(at, 200);
    a.answer(at, 200);
    expect(l.client.inbox).toEqual([]);
    prack(l, invite, progress, 2);
    const relayed = a.request("PRACK");
    const answer = l.client.response(200);
    expect(answer.cseq!.method).toBe("INVITE");
    a.answer(relayed, 200);
    l.client.response(200);
    l.client.ack(invite, answer);
    a.request("ACK");
    await l.settle();
    expect(l.events).toHaveLength(1);
  });

  it("2xx: waits for the PRACKs of all that had a description", async () => {
    const { l, invite, at, a } = await calling();
    reliably(l, at, 1, { body: "one" });
    reliably(l, at, 2, { body: "two" });
    a.answer(at, 200);
    prack(l, invite, l.client.response(183), 2);
    a.answer(a.request("PRACK"), 200);
    const second = l.client.response(183);
    expect(l.client.response(200).cseq!.method).toBe("PRACK");
    expect(l.client.inbox).toEqual([]);
    prack(l, invite, second, 3);
    expect(l.client.response(200).cseq!.method).toBe("INVITE");
  });

  it("2xx of another end than the one that rang: the dialog is its own, with numbers of its own (RFC 3261 §13.2.2.4)", async () => {
    const { l, invite, at, a } = await calling();
    const rang = reliably(l, at, 1, { tag: "one" });
    l.client.response(183);
    a.backInDialog("UPDATE", at, rang, 10);
    l.client.answer(l.client.request("UPDATE"), 200);
    a.response(200);
    const answered = a.answer(at, 200, { tag: "two" });
    l.client.ack(invite, l.client.response(200));
    expect(a.request("ACK").headers.get("to")).toContain("tag=two");
    a.backInDialog("BYE", at, answered, 1);
    l.client.answer(l.client.request("BYE"), 200);
    await l.settle();
    a.response(200);
  });

  it("2xx that waits for a PRACK that never comes: acknowledged and ended, the client gets its 5xx", async () => {
    const { l, at, a } = await calling();
    reliably(l, at, 1, { body: "answer" });
    a.answer(at, 200);
    l.clock.advance(32_000);
    expect((l.client.inbox.at(-1) as SipResponse).status).toBe(504);
    a.request("ACK");
    a.answer(a.request("BYE"), 200);
    await l.settle();
    expect(l.events).toEqual([]);
    l.clock.advance(140_000);
    expect(l.leftovers()).toEqual(nothing);
  });

  it("2xx that waits when the client gives up: acknowledged and ended", async () => {
    const { l, invite, at, a } = await calling();
    reliably(l, at, 1, { body: "answer" });
    l.client.response(183);
    a.answer(at, 200);
    l.client.cancel(invite);
    a.request("ACK");
    a.answer(a.request("BYE"), 200);
    l.client.response(200);
    l.client.ack(invite, l.client.response(487));
    await l.settle();
    l.clock.advance(70_000);
    expect(l.leftovers()).toEqual(nothing);
  });

  it("a refusal passes at once", async () => {
    const { l, invite, at, a } = await calling();
    reliably(l, at, 1, { body: "answer" });
    const progress = l.client.response(183);
    a.answer(at, 486);
    l.client.ack(invite, l.client.response(486));
    prack(l, invite, progress, 2);
    l.client.response(481);
    l.clock.advance(70_000);
    expect(a.inbox.map((message) => message.isRequest && message.method)).toEqual(["ACK"]);
    expect(l.leftovers()).toEqual(nothing);
  });
});

describe("reliable provisional answers in a fork", () => {
  const two: LabOptions = { servers: [{ id: "a" }, { id: "b" }] };

  it("each branch has its own dialog, numbers and PRACKs (RFC 3262 §4, M8)", async () => {
    const { l, invite, at, a } = await calling({ ...two, service: { fork: "first" } });
    const b = l.server("b");
    const atB = b.request("INVITE");
    reliably(l, at, 100);
    const fromA = l.client.response(183);
    reliably(l, atB, 7, { server: "b" });
    const fromB = l.client.response(183);
    expect(fromA.toTag).not.toBe(fromB.toTag);
    prack(l, invite, fromB, 2);
    expect(b.request("PRACK").headers.get("rack")).toBe(`7 ${atB.cseq!.number} INVITE`);
    // B's number in A's dialog acknowledges nothing.
    l.client.inDialog("PRACK", invite, fromA, 3, { headers: [["RAck", "7 1 INVITE"]] });
    l.client.response(481);
    prack(l, invite, fromA, 4);
    expect(a.request("PRACK").headers.get("rack")).toBe(`100 ${at.cseq!.number} INVITE`);
  });

  it("of a second branch after the first has answered are acknowledged by the relay (M25, RFC 6026 §7.1)", async () => {
    const { l, invite, at, a } = await calling({ ...two, service: { fork: "all" } });
    const b = l.server("b");
    const atB = b.request("INVITE");
    reliably(l, atB, 7, { server: "b", body: "answer" });
    l.client.response(183);
    a.answer(at, 200);
    l.client.ack(invite, l.client.response(200));
    l.clock.advance(500);
    b.answer(b.request("PRACK"), 200);
    reliably(l, atB, 8, { server: "b" });
    b.answer(b.request("PRACK"), 200);
    expect(l.client.inbox).toEqual([]);
    b.answer(atB, 200);
    l.client.ack(invite, l.client.response(200));
    b.request("ACK");
    expect(l.core.sessions.size).toBe(2);
  });

  it("of another end behind an app server that forks are acknowledged by the relay and passed on as any other", async () => {
    const { l, invite, at, a } = await calling();
    reliably(l, at, 5, { tag: "one" });
    const first = l.client.response(183);
    reliably(l, at, 900, { tag: "two", status: 180 });
    const own = a.request("PRACK");
    expect(own.headers.get("rack")).toBe(`900 ${at.cseq!.number} INVITE`);
    expect(own.headers.get("to")).toContain("tag=two");
    a.answer(own, 200);
    expect(l.client.response(180).headers.has("rseq")).toBe(false);
    prack(l, invite, first, 2);
    expect(a.request("PRACK").headers.get("to")).toContain("tag=one");
  });

  it("to a client that knows none are acknowledged by the relay and passed on as any other", async () => {
    const { l, at, a } = await calling({}, []);
    reliably(l, at, 5, { body: "answer" });
    const heard = l.client.response(183);
    expect(heard.headers.has("rseq")).toBe(false);
    expect(heard.headers.has("require")).toBe(false);
    expect(heard.body.toString()).toBe("answer");
    a.answer(a.request("PRACK"), 200);
    a.answer(at, 200);
    l.client.response(200);
  });
});

describe("UPDATE in an early dialog (RFC 3311)", () => {
  it("passes from the client after PRACK, with its answer", async () => {
    const { l, invite, at, a } = await calling();
    reliably(l, at, 1, { body: "answer" });
    const progress = l.client.response(183);
    prack(l, invite, progress, 2);
    a.answer(a.request("PRACK"), 200);
    l.client.response(200);
    l.client.inDialog("UPDATE", invite, progress, 3, { body: "new offer" });
    const update = a.request("UPDATE");
    expect(update.body.toString()).toBe("new offer");
    expect(update.headers.get("to")).toContain(`tag=s-${a.address}`);
    a.answer(update, 200, { body: "new answer" });
    expect(l.client.response(200).body.toString()).toBe("new answer");
    a.answer(at, 200);
    l.client.ack(invite, l.client.response(200));
    a.request("ACK");
    await l.settle();
    expect(l.events).toHaveLength(1);
  });

  it("passes from the app server, with its answer", async () => {
    const { l, at, a } = await calling();
    const sent = reliably(l, at, 1);
    l.client.response(183);
    a.backInDialog("UPDATE", at, sent, 1, { body: "offer" });
    const update = l.client.request("UPDATE");
    expect(update.body.toString()).toBe("offer");
    l.client.answer(update, 200, { body: "answer" });
    expect(a.response(200).body.toString()).toBe("answer");
  });

  it("passes where the provisional answers are not reliable, too", async () => {
    const { l, invite, at, a } = await calling({}, []);
    a.answer(at, 180);
    l.client.inDialog("UPDATE", invite, l.client.response(180), 2);
    const update = a.request("UPDATE");
    expect(update.headers.get("to")).toContain(`tag=s-${a.address}`);
    a.answer(update, 200);
    l.client.response(200);
  });

  it("gets 491 where both ends send one at once, 500 where the same end sends a second (RFC 3311 §5.2)", async () => {
    const { l, invite, at, a } = await calling();
    const sent = reliably(l, at, 1);
    const progress = l.client.response(183);
    l.client.inDialog("UPDATE", invite, progress, 2);
    a.request("UPDATE");
    a.backInDialog("UPDATE", at, sent, 1);
    a.response(491);
    l.client.inDialog("UPDATE", invite, progress, 3);
    expect(l.client.response(500).headers.has("retry-after")).toBe(true);
  });

  it("of the app server before the client knows its dialog: 481; a re-INVITE there gets 500 or 491 (RFC 3261 §14.2)", async () => {
    const { l, invite, at, a } = await calling();
    // Nobody has answered: the To tag is the app server's own invention.
    a.backInDialog("UPDATE", at, responseTo(at, 180, "Ringing", "invented"), 1);
    a.response(481);
    const ringing = a.answer(at, 180);
    l.client.inDialog("INVITE", invite, l.client.response(180), 2);
    expect(l.client.response(500).headers.has("retry-after")).toBe(true);
    a.backInDialog("INVITE", at, ringing, 2);
    a.response(491);
    expect(l.core.sessions.size).toBe(1);
  });

  it("under way when the call is answered comes to its end, and a change can follow", async () => {
    const { l, invite, at, a } = await calling({}, []);
    a.answer(at, 180);
    const ringing = l.client.response(180);
    l.client.inDialog("UPDATE", invite, ringing, 2);
    const update = a.request("UPDATE");
    a.answer(at, 200);
    const answer = l.client.response(200);
    l.client.ack(invite, answer);
    a.request("ACK");
    a.answer(update, 200);
    l.client.response(200);
    l.client.inDialog("UPDATE", invite, answer, 3);
    a.answer(a.request("UPDATE"), 200);
    l.client.response(200);
  });

  it("under way when the branch ends is answered", async () => {
    const { l, invite, at, a } = await calling({}, []);
    a.answer(at, 180);
    l.client.inDialog("UPDATE", invite, l.client.response(180), 2);
    a.request("UPDATE");
    a.answer(at, 486);
    l.client.ack(invite, l.client.response(486));
    l.client.response(487);
    a.inbox.length = 0;
    a.deaf = true;
    l.clock.advance(70_000);
    expect(l.leftovers()).toEqual(nothing);
  });
});
