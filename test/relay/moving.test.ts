import { describe, expect, it } from "vitest";
import type { SipRequest } from "../../src/sip/message.ts";
import { establish, type Lab, type LabOptions, lab, type Peer } from "./harness.ts";

type Call = Awaited<ReturnType<typeof establish>>;

/**
 * A client with an established session, and the place to which it moves: another connection, another port, another
 * address.
 */
async function moving(
  from: "udp" | "tcp",
  to: [address: string, port: number, transport: "udp" | "tcp"],
  options: LabOptions = {},
) {
  const l = await lab({ clientTransport: from, ...options });
  const call = await establish(l);
  return { l, call, server: call.server, there: l.peer(...to) };
}

/** A client behind a NAT: what it says of its address is nothing that can be reached. */
function behindNat(l: Lab, peer: Peer, address: string, port: number): Peer {
  const outside = l.peer(address, port);
  peer.flow.remoteAddress = address;
  peer.flow.remotePort = port;
  return outside;
}

/** A request of the client from its new place, whose answer by the app server has this status. */
function sends(method: string, from: Peer, { invite, answer, server }: Call, seq: number, status = 200): void {
  const request = from.inDialog(method, invite, answer, seq);
  server.answer(server.request(method), status);
  const final = from.response(status);
  if (method !== "INVITE") return;
  from.ack(request, final);
  if (status < 300) server.request("ACK");
  else server.inbox.length = 0;
}

/** Everything that the relay sends the client in a session: what an app server sends, probes, reports, the BYE. */
function expectAt(
  place: Peer,
  elsewhere: Peer,
  l: Lab,
  { server, inviteAtServer, answerOfServer }: Call,
  uri?: string,
): void {
  const taken: SipRequest[] = [];
  const take = (method: string) => taken.push(place.request(method));
  server.backInDialog("INFO", inviteAtServer, answerOfServer, 101);
  take("INFO");
  server.backInDialog("UPDATE", inviteAtServer, answerOfServer, 102);
  take("UPDATE");
  place.answer(taken.at(-1)!, 200);
  for (const session of l.core.sessions.values()) session.probe(session.client!);
  take("OPTIONS");
  server.backInDialog("BYE", inviteAtServer, answerOfServer, 103);
  take("BYE");
  expect(elsewhere.inbox).toEqual([]);
  if (uri !== undefined) expect(taken.map((request) => request.uri)).toEqual(taken.map(() => uri));
}

const ELSEWHERE: [what: string, from: "udp" | "tcp", to: [string, number, "udp" | "tcp"]][] = [
  ["another connection", "tcp", ["192.0.2.50", 41002, "tcp"]],
  ["another connection of another address", "tcp", ["198.51.100.7", 5062, "tcp"]],
  ["a connection instead of datagrams", "udp", ["192.0.2.50", 41002, "tcp"]],
  ["datagrams instead of a connection", "tcp", ["192.0.2.51", 5062, "udp"]],
  ["another port", "udp", ["192.0.2.50", 5070, "udp"]],
  ["another address", "udp", ["198.51.100.7", 5062, "udp"]],
  ["an IPv6 address", "udp", ["2001:db8::50", 5062, "udp"]],
];

describe("a client that moves within a session (RFC 3261 §12.2.2, RFC 5626 §5.3)", () => {
  for (const method of ["INVITE", "UPDATE", "NOTIFY"]) {
    it.each(ELSEWHERE)(`is found where its ${method} came from: %s`, async (_what, from, to) => {
      const { l, call, there } = await moving(from, to);
      const extra = method === "NOTIFY" ? { headers: [["Contact", there.contact]] as [string, string][] } : {};
      const request = there.inDialog(method, call.invite, call.answer, 2, extra);
      call.server.answer(call.server.request(method), 200);
      const ok = there.response(200);
      if (method === "INVITE") {
        there.ack(request, ok);
        call.server.request("ACK");
      }
      expectAt(there, l.client, l, call, there.contact.slice(1, -1));
    });
  }

  it("is told a Contact of the relay's that is reached the same way", async () => {
    const { call, there } = await moving("udp", ["192.0.2.50", 41002, "tcp"]);
    there.inDialog("UPDATE", call.invite, call.answer, 2);
    call.server.answer(call.server.request("UPDATE"), 200);
    expect(there.response(200).headers.get("contact")).toBe("<sip:192.0.2.1:5060;transport=tcp>");
  });

  it("is found there when its request asked for another service (M20)", async () => {
    const { l, call, there } = await moving("tcp", ["192.0.2.50", 41002, "tcp"], {
      servers: [{ id: "a", services: ["service1", "beer"] }],
      more: [{ id: "beer" }],
    });
    const body = { body: '<service name="beer"/>', type: "application/vnd.tollgate.service+xml" };
    const request = there.inDialog("INVITE", call.invite, call.answer, 2, body);
    const { server } = call;
    server.answer(server.request("INVITE"), 200);
    const ok = there.response(200);
    expect(ok.headers.get("contact")).toBe("<sip:192.0.2.1:5060;transport=tcp>");
    there.ack(request, ok);
    server.request("ACK");
    await l.settle();
    expectAt(there, l.client, l, call);
  });

  it("is found there when its REFER was accepted, and hears how it goes there (RFC 4488 §4)", async () => {
    const { l, call, there } = await moving("tcp", ["192.0.2.50", 41002, "tcp"]);
    there.inDialog("REFER", call.invite, call.answer, 2, {
      headers: [
        ["Contact", there.contact],
        ["Refer-To", "<sip:service1@portal.com>"],
      ],
    });
    there.response(200);
    there.answer(there.request("NOTIFY"), 200);
    call.server.answer(call.server.request("INVITE"), 486);
    call.server.request("ACK");
    there.answer(there.request("NOTIFY"), 200);
    expectAt(there, l.client, l, call);
  });

  it("is found there in the early dialog (RFC 3311)", async () => {
    const l = await lab({ clientTransport: "tcp" });
    const there = l.peer("192.0.2.50", 41002, "tcp");
    const invite = l.client.invite();
    const server = l.server("a");
    const at = server.request("INVITE");
    const ringing = server.answer(at, 180, { tag: "s" });
    there.inDialog("UPDATE", invite, l.client.response(180), 2);
    server.answer(server.request("UPDATE"), 200);
    there.response(200);
    server.backInDialog("UPDATE", at, ringing, 1);
    there.request("UPDATE");
    expect(l.client.inbox).toEqual([]);
  });

  it.each(["INVITE", "UPDATE", "NOTIFY"])("stays where it was when its %s is refused", async (method) => {
    const { l, call, there } = await moving("tcp", ["192.0.2.50", 41002, "tcp"]);
    sends(method, there, call, 2, 488);
    expectAt(l.client, there, l, call);
  });

  it.each(["INFO", "OPTIONS", "MESSAGE"])(
    "stays where it was after %s, which says nothing of where it is",
    async (method) => {
      const { l, call, there } = await moving("tcp", ["192.0.2.50", 41002, "tcp"]);
      sends(method, there, call, 2);
      expectAt(l.client, there, l, call);
    },
  );

  it("stays where it was whatever a stranger to the dialog sends: other tags, an old number", async () => {
    const { l, call, there } = await moving("tcp", ["192.0.2.50", 41002, "tcp"]);
    sends("INFO", l.client, call, 5);
    there.inDialog("INVITE", call.invite, call.answer, 5);
    there.response(500);
    const forged = call.answer;
    const { value } = forged.headers.fields[forged.headers.indexOf("to")]!;
    there.within("UPDATE", `${call.invite.headers.get("from")}x`, value, call.invite.callId, "sip:192.0.2.1", 6, {});
    there.response(481);
    expectAt(l.client, there, l, call);
  });

  it("does not take other sessions of the same connection with it", async () => {
    const l = await lab({ clientTransport: "tcp" });
    const [one, two] = [await establish(l), await establish(l)];
    const there = l.peer("192.0.2.50", 41002, "tcp");
    sends("UPDATE", there, one, 2);
    two.server.backInDialog("BYE", two.inviteAtServer, two.answerOfServer, 1);
    l.client.request("BYE");
    one.server.backInDialog("BYE", one.inviteAtServer, one.answerOfServer, 1);
    there.request("BYE");
  });

  it("is asked nothing when the connection that it has left ends, and nothing is left in the end", async () => {
    const { l, call, there } = await moving("tcp", ["192.0.2.50", 41002, "tcp"]);
    sends("INVITE", there, call, 2);
    l.client.flow.open = false;
    l.transactions.flowFailed(l.client.flow, "closed");
    expect([...there.inbox, ...l.client.inbox]).toEqual([]);
    there.flow.open = false;
    l.transactions.flowFailed(there.flow, "closed");
    there.answer(there.request("OPTIONS"), 200);
    there.inDialog("BYE", call.invite, call.answer, 3);
    call.server.answer(call.server.request("BYE"), 200);
    await l.settle();
    l.clock.advance(70_000);
    expect(l.leftovers()).toEqual({ sessions: 0, requests: 0, legs: 0, legsByFlow: 0, transactions: 0, timers: 0 });
  });
});

describe("what was asked at the place that a client has left", () => {
  it.each([481, 408])("says nothing of the client: %i to INFO from there", async (status) => {
    const { l, call, there, server } = await moving("tcp", ["192.0.2.50", 41002, "tcp"]);
    server.backInDialog("INFO", call.inviteAtServer, call.answerOfServer, 1);
    const asked = l.client.request("INFO");
    sends("UPDATE", there, call, 2);
    l.client.answer(asked, status);
    server.response(status === 408 ? 504 : status); // RFC 4320 §4.1
    expect(l.core.sessions.size).toBe(1);
    expect(server.inbox).toEqual([]);
    expectAt(there, l.client, l, call);
  });
});

describe("a client behind a NAT whose mapping changes", () => {
  const natted = async () => {
    const l = await lab();
    const mapped = behindNat(l, l.client, "203.0.113.9", 40001);
    const call = await establish(l);
    const moves = () => behindNat(l, l.client, "203.0.113.9", 40002);
    return { l, call, mapped, moves };
  };

  it.each(["INVITE", "UPDATE", "INFO", "OPTIONS", "MESSAGE"])(
    "is found behind the new one after its %s",
    async (method) => {
      const { l, call, mapped, moves } = await natted();
      const now = moves();
      sends(method, l.client, call, 2);
      expectAt(now, mapped, l, call);
    },
  );

  it.each(["INVITE", "INFO"])("is found behind the old one when its %s is refused", async (method) => {
    const { l, call, mapped, moves } = await natted();
    const now = moves();
    sends(method, l.client, call, 2, 488);
    expectAt(mapped, now, l, call);
  });

  it("is found at its Contact once it comes from where it says", async () => {
    const { l, call, mapped } = await natted();
    const there = l.peer("192.0.2.60", 5062);
    sends("UPDATE", there, call, 2);
    expectAt(there, mapped, l, call);
  });

  it("is found behind its NAT once it has moved there", async () => {
    const l = await lab();
    const call = await establish(l);
    const home = l.client;
    const there = l.peer("10.0.0.1", 5062);
    const mapped = behindNat(l, there, "203.0.113.9", 40001);
    sends("UPDATE", there, call, 2);
    expectAt(mapped, home, l, call);
  });
});

describe("an app server that moves", () => {
  it.each(["INVITE", "UPDATE"])(
    "is found at the Contact of its %s, and the client's 2xx changes the client's target",
    async (method) => {
      const l = await lab();
      const { server, invite, answer, inviteAtServer, answerOfServer } = await establish(l);
      const there = l.peer("192.0.2.110", 5090);
      const client = l.peer("192.0.2.50", 5070);
      const request = there.backInDialog(method, inviteAtServer, answerOfServer, 1);
      l.client.contact = client.contact;
      const asked = l.client.request(method);
      l.client.answer(asked, 200, method === "UPDATE" ? { headers: [["Contact", client.contact]] } : {});
      const ok = there.response(200);
      if (method === "INVITE") {
        there.ack(request, ok);
        client.request("ACK");
      }
      l.client.inDialog("INFO", invite, answer, 2);
      there.answer(there.request("INFO"), 200);
      l.client.response(200);
      there.backInDialog("BYE", inviteAtServer, answerOfServer, 2);
      client.request("BYE");
      expect([...server.inbox, ...l.client.inbox]).toEqual([]);
    },
  );

  it("stays where it was when its re-INVITE is refused", async () => {
    const l = await lab();
    const { server, invite, answer, inviteAtServer, answerOfServer } = await establish(l);
    const there = l.peer("192.0.2.110", 5090);
    there.backInDialog("INVITE", inviteAtServer, answerOfServer, 1);
    l.client.answer(l.client.request("INVITE"), 488);
    there.response(488);
    l.client.inDialog("BYE", invite, answer, 2);
    server.request("BYE");
  });
});

describe("a client whose connection is gone", () => {
  const disconnected = async (options: LabOptions = {}, reachable = false) => {
    const { l, call, there } = await moving("tcp", ["192.0.2.50", 41002, "tcp"], options);
    l.clock.advance(10_000);
    if (!reachable) Object.assign(l.core, { resolve: (_: unknown, found: (none: never[]) => void) => found([]) });
    l.client.flow.open = false;
    l.transactions.flowFailed(l.client.flow, "closed");
    return { l, call, there, server: call.server };
  };
  const reason = (server: Peer) => server.request("BYE").headers.get("reason");

  it.each(["INFO", "OPTIONS", "UPDATE"])(
    "is found where it is heard of by another, by its %s too, if it cannot be reached otherwise",
    async (method) => {
      const { l, call, there, server } = await disconnected();
      l.clock.advance(4_000);
      expect(server.inbox).toEqual([]);
      sends(method, there, call, 2);
      l.clock.advance(10_000);
      expectAt(there, l.client, l, call);
    },
  );

  it("is found there even where that request is refused: nobody else can have sent it, and no other way leads to it", async () => {
    const { l, call, there } = await disconnected();
    sends("UPDATE", there, call, 2, 488);
    l.clock.advance(10_000);
    expectAt(there, l.client, l, call);
  });

  it("is found where it was heard of before anybody noticed that its connection is gone", async () => {
    const { l, call, there } = await moving("tcp", ["192.0.2.50", 41002, "tcp"]);
    sends("INFO", there, call, 2);
    Object.assign(l.core, { resolve: (_: unknown, found: (none: never[]) => void) => found([]) });
    l.client.flow.open = false;
    l.transactions.flowFailed(l.client.flow, "closed");
    there.answer(there.request("OPTIONS"), 200);
    expectAt(there, l.client, l, call);
  });

  it("is found where its ACK came from", async () => {
    const l = await lab({ clientTransport: "tcp" });
    const there = l.peer("192.0.2.50", 41002, "tcp");
    const invite = l.client.invite();
    const server = l.server("a");
    const at = server.request("INVITE");
    const answerOfServer = server.answer(at, 200);
    const answer = l.client.response(200);
    l.client.flow.open = false;
    Object.assign(l.core, { resolve: (_: unknown, found: (none: never[]) => void) => found([]) });
    l.transactions.flowFailed(l.client.flow, "closed");
    there.ack(invite, answer);
    server.backInDialog("BYE", at, answerOfServer, 1);
    there.request("BYE");
  });

  it.each([
    ["a probe", undefined, undefined],
    ["INFO", "INFO", 500],
    ["UPDATE", "UPDATE", 500],
    ["a re-INVITE", "INVITE", 500],
  ])("has the same time to come back where %s was on its way to it", async (_, method, status) => {
    const { l, call, there } = await moving("tcp", ["192.0.2.50", 41002, "tcp"]);
    const { server, inviteAtServer, answerOfServer } = call;
    if (method) server.backInDialog(method, inviteAtServer, answerOfServer, 101);
    else for (const session of l.core.sessions.values()) session.probe(session.client!);
    l.client.request(method ?? "OPTIONS");
    Object.assign(l.core, { resolve: (_: unknown, found: (none: never[]) => void) => found([]) });
    l.client.flow.open = false;
    l.transactions.flowFailed(l.client.flow, "closed");
    if (status) server.response(status);
    l.clock.advance(4_000);
    expect(server.inbox.filter((message) => message.isRequest && message.method === "BYE")).toEqual([]);
    server.inbox.length = 0; // it has not acknowledged the 500
    sends("OPTIONS", there, call, 2);
    l.clock.advance(10_000);
    expect(l.core.sessions.size).toBe(1);
  });

  it("is gone when it has not been heard of for session.reconnectS (5 s)", async () => {
    const { l, server } = await disconnected();
    l.clock.advance(4_999);
    expect(server.inbox).toEqual([]);
    l.clock.advance(1);
    expect(reason(server)).toMatch(/client is gone/);
    await l.settle();
  });

  it("is gone at once where session.reconnectS is 0", async () => {
    const { server } = await disconnected({ session: { reconnectS: 0 } });
    expect(reason(server)).toMatch(/client is gone/);
  });

  it("is asked at its Contact, and goes on where it answers there", async () => {
    const { l, call, there, server } = await disconnected({}, true);
    l.client.answer(l.client.request("OPTIONS"), 200);
    l.clock.advance(10_000);
    expect(server.inbox).toEqual([]);
    // It has not moved: what is refused, or says nothing of where it is, changes nothing.
    sends("INFO", there, call, 2);
    expectAt(l.client, there, l, call);
  });

  it("is not gone because what was asked at its old place was not answered", async () => {
    const { l, call, there, server } = await disconnected({}, true);
    l.client.request("OPTIONS");
    sends("UPDATE", there, call, 2);
    l.clock.advance(40_000);
    expect(server.inbox).toEqual([]);
    l.client.inbox.length = 0;
    expectAt(there, l.client, l, call);
  });
});
