import { describe, expect, it } from "vitest";
import { Watch } from "../../src/relay/session/watch.ts";
import type { SipRequest, SipResponse } from "../../src/sip/message.ts";
import { type Lab, type LabOptions, lab } from "./harness.ts";

const nothing = { sessions: 0, requests: 0, legs: 0, legsByFlow: 0, transactions: 0, timers: 0 };
const servers = (...ids: string[]) => ids.map((id) => ({ id }));

/** A call to several app servers, each of which has its INVITE. */
async function forked(fork: "first" | "all", ids: string[], options: Parameters<typeof lab>[0] = {}) {
  const l = await lab({ servers: servers(...ids), ...options, service: { fork, ...options.service } });
  const invite = l.client.invite({ body: "v=0" });
  const at: Record<string, SipRequest> = {};
  for (const id of ids) at[id] = l.server(id).request("INVITE");
  return { l, invite, at };
}

/** Answers BYE and whatever else is asked of the app server, and looks that it was acknowledged and ended. */
async function isEnded(l: Lab, id: string) {
  l.server(id).request("ACK");
  l.server(id).answer(l.server(id).request("BYE"), 200);
  await l.settle();
}

describe("fork first: the first success wins (M8)", () => {
  it("sends CANCEL only after a provisional answer, and says why (RFC 3261 §9.1, RFC 3326)", async () => {
    const { l, invite, at } = await forked("first", ["a", "b", "c"]);
    l.server("b").answer(at.b!, 100);
    l.server("a").answer(at.a!, 200);
    l.client.ack(invite, l.client.response(200));
    const cancel = l.server("b").request("CANCEL");
    expect(cancel.headers.get("reason")).toBe('SIP;cause=200;text="Call completed elsewhere"');
    expect(l.server("c").inbox).toEqual([]);
    l.server("c").answer(at.c!, 180);
    l.server("c").answer(l.server("c").request("CANCEL"), 200);
    l.server("c").answer(at.c!, 487);
    l.server("c").request("ACK");
    l.server("b").answer(cancel, 200);
    l.server("b").answer(at.b!, 487);
    expect(l.client.inbox).toEqual([]);
    expect(l.core.sessions.size).toBe(1);
  });

  it("looks at nobody who still rings: a branch that is refused costs no watch", async () => {
    const { l, invite, at } = await forked("first", ["a", "b"]);
    const watched = () =>
      l.core.sessions
        .values()
        .filter((session) => Object.values(session).some((field) => field instanceof Watch))
        .map(({ appServer }) => appServer.id);
    l.server("a").answer(at.a!, 486);
    expect(watched()).toEqual([]);
    l.server("b").answer(at.b!, 200);
    l.client.ack(invite, l.client.response(200));
    expect(watched()).toEqual(["b"]);
  });

  it("acknowledges and ends a 200 that crosses the CANCEL, and charges nothing for it (M8; RFC 3261 §13.2.2.4)", async () => {
    const { l, invite, at } = await forked("first", ["a", "b"]);
    l.server("b").answer(at.b!, 180);
    l.client.response(180);
    l.server("a").answer(at.a!, 200);
    l.server("b").answer(at.b!, 200);
    l.client.ack(invite, l.client.response(200));
    l.server("b").answer(l.server("b").request("CANCEL"), 481);
    await isEnded(l, "b");
    expect(l.events.map((event) => event.session.appServer)).toEqual(["a"]);
    expect(l.client.inbox).toEqual([]);
  });

  it("passes the client's reason for its CANCEL on to every app server (RFC 3326)", async () => {
    const { l, invite, at } = await forked("first", ["a", "b"]);
    for (const id of ["a", "b"]) l.server(id).answer(at[id]!, 180);
    l.client.cancel(invite, [["Reason", 'SIP;cause=600;text="changed my mind"']]);
    for (const id of ["a", "b"])
      expect(l.server(id).request("CANCEL").headers.get("reason")).toContain("changed my mind");
  });

  it("lets provisional answers of every branch reach the client with To tags of their own", async () => {
    const { l, at } = await forked("first", ["a", "b"]);
    for (const id of ["a", "b", "a"]) l.server(id).answer(at[id]!, 180);
    const tags = [180, 180, 180].map((status) => l.client.response(status).toTag);
    expect(tags[0]).toBe(tags[2]);
    expect(new Set(tags).size).toBe(2);
  });

  it("gives up only the branch whose early dialog the client ends by BYE (RFC 3261 §15)", async () => {
    const { l, invite, at } = await forked("first", ["a", "b"]);
    l.server("a").answer(at.a!, 180);
    l.client.inDialog("BYE", invite, l.client.response(180), 2);
    l.client.response(200);
    l.server("a").answer(l.server("a").request("CANCEL"), 200);
    l.server("a").answer(at.a!, 487);
    l.server("b").answer(at.b!, 200);
    l.client.ack(invite, l.client.response(200));
    l.server("b").request("ACK");
    expect(l.core.sessions.size).toBe(1);
  });

  it("answers 487 when the client has ended every early dialog by BYE", async () => {
    const { l, invite, at } = await forked("first", ["a", "b"]);
    for (const id of ["a", "b"]) {
      l.server(id).answer(at[id]!, 180);
      l.client.inDialog("BYE", invite, l.client.response(180), 2);
      l.client.response(200);
      l.server(id).request("CANCEL");
      l.server(id).answer(at[id]!, 487);
      if (id === "b") l.client.ack(invite, l.client.response(487));
    }
    l.clock.advance(70_000);
    expect(l.leftovers()).toEqual(nothing);
  });

  it("lets an app server not hang up in an early dialog (RFC 3261 §15)", async () => {
    const { l, at } = await forked("first", ["a", "b"]);
    const ringing = l.server("a").answer(at.a!, 180);
    l.client.response(180);
    l.server("a").backInDialog("BYE", at.a!, ringing, 1);
    l.server("a").response(481);
    expect(l.core.sessions.size).toBe(2);
  });
});

describe("which failure the client hears of (RFC 3261 §16.7)", () => {
  const failing = async (statuses: number[], headers: [string, string][][] = []) => {
    const ids = statuses.map((_, i) => `s${i}`);
    const { l, invite, at } = await forked("first", ids);
    statuses.forEach((status, i) => {
      l.server(`s${i}`).answer(at[`s${i}`]!, status, { headers: headers[i] ?? [] });
    });
    const final = l.client.inbox.find((message) => !message.isRequest && message.status >= 200) as SipResponse;
    l.client.ack(invite, final);
    return { l, final };
  };

  it.each([
    [[503, 486, 408], 486],
    [[500, 503], 500],
    [[503, 408], 408],
    [[404, 484, 486], 484],
    [[500, 404], 404],
    [[486, 302], 486],
    [[503, 503], 500], // §21.5.4: a 503 would be the relay's own
  ])("of %j it is %i (step 6)", async (statuses, best) => {
    expect((await failing(statuses)).final.status).toBe(best);
  });

  it("is a 6xx before all others; nobody else is asked, and those asked are cancelled first (step 5)", async () => {
    const { l, at } = await forked("first", ["a", "b", "c"]);
    l.server("b").answer(at.b!, 180);
    l.client.response(180);
    l.server("a").answer(at.a!, 603);
    expect(l.client.inbox).toEqual([]);
    l.server("b").answer(l.server("b").request("CANCEL"), 200);
    l.server("b").answer(at.b!, 487);
    expect(l.client.inbox).toEqual([]);
    l.server("c").answer(at.c!, 486);
    l.client.response(603);
  });

  it("is none where a success crosses the CANCEL that a 6xx has caused (step 5)", async () => {
    const { l, invite, at } = await forked("first", ["a", "b"]);
    l.server("b").answer(at.b!, 180);
    l.client.response(180);
    l.server("a").answer(at.a!, 600);
    l.server("b").request("CANCEL");
    l.server("b").answer(at.b!, 200);
    l.client.ack(invite, l.client.response(200));
    l.server("b").request("ACK");
    await l.settle();
    expect(l.events.map((event) => event.session.appServer)).toEqual(["b"]);
  });

  it("comes within 64*T1 after a 6xx although a cancelled app server never answers (RFC 3261 §9.1)", async () => {
    const { l, at } = await forked("first", ["a", "b", "c"]);
    l.server("b").answer(at.b!, 180);
    l.client.response(180);
    l.server("a").answer(at.a!, 600);
    l.clock.advance(32_000);
    l.client.response(600);
  });

  it("carries the challenges of all who wanted credentials (step 7)", async () => {
    const { final } = await failing(
      [401, 407, 486],
      [
        [["WWW-Authenticate", 'Digest realm="one", nonce="1"']],
        [["Proxy-Authenticate", 'Digest realm="two", nonce="2"']],
        [],
      ],
    );
    expect(final.status).toBe(401);
    expect(final.headers.all("www-authenticate")).toEqual(['Digest realm="one", nonce="1"']);
    expect(final.headers.all("proxy-authenticate")).toEqual(['Digest realm="two", nonce="2"']);
  });
});

describe("fork all: every success is a session (M25)", () => {
  it("charges each by its own clock until its own BYE, and what fails is not heard of", async () => {
    const { l, invite, at } = await forked("all", ["a", "b", "c"]);
    l.server("b").answer(at.b!, 180);
    l.client.response(180);
    l.server("a").answer(at.a!, 200);
    const first = l.client.response(200);
    l.client.ack(invite, first);
    l.server("c").answer(at.c!, 486);
    l.clock.advance(5_000);
    l.server("b").answer(at.b!, 200);
    const second = l.client.response(200);
    l.client.ack(invite, second);
    await l.settle();
    l.clock.advance(10_000);
    l.client.inDialog("BYE", invite, first, 2);
    l.server("a").request("ACK");
    l.server("a").answer(l.server("a").request("BYE"), 200);
    await l.settle();
    l.clock.advance(7_000);
    l.client.inDialog("BYE", invite, second, 2);
    l.server("b").request("ACK");
    l.server("b").answer(l.server("b").request("BYE"), 200);
    await l.settle();
    l.client.inbox.length = 0;
    const ended = l.events.filter((event) => event.type === "session.ended");
    expect(ended.map((event) => [event.session.appServer, event.durationMs])).toEqual([
      ["a", 15_000],
      ["b", 17_000],
    ]);
    expect(new Set(ended.map((event) => event.session.call)).size).toBe(1);
    l.clock.advance(70_000);
    expect(l.leftovers()).toEqual(nothing);
  });

  it("hears of a charge in one session alone", async () => {
    const { l, invite, at } = await forked("all", ["a", "b"]);
    const answers = ["a", "b"].map((id) => l.server(id).answer(at[id]!, 200));
    for (let i = 0; i < 2; i++) l.client.ack(invite, l.client.response(200));
    l.server("b").request("ACK");
    const charge = '{"charges":[{"id":"c1","item":"Pils","unitPrice":"3","quantity":"1","currency":"EUR"}]}';
    l.server("b").backInDialog("INFO", at.b!, answers[1]!, 1, {
      headers: [["Info-Package", "tollgate-charge"]],
      body: charge,
      type: "application/vnd.tollgate.charge+json",
    });
    await l.settle();
    l.server("b").response(200);
    const made = l.events.filter((event) => event.type === "charge.made");
    expect(made.map((event) => event.session.appServer)).toEqual(["b"]);
  });

  it("lets the client end at once what it does not want: ACK, then BYE (E 7)", async () => {
    const { l, invite, at } = await forked("all", ["a", "b"]);
    for (const id of ["a", "b"]) l.server(id).answer(at[id]!, 200);
    const [wanted, unwanted] = [l.client.response(200), l.client.response(200)];
    l.client.ack(invite, wanted);
    l.client.ack(invite, unwanted);
    l.client.inDialog("BYE", invite, unwanted, 2);
    await isEnded(l, "b");
    expect(l.core.sessions.size).toBe(1);
  });

  it("ends the session whose 200 the client never acknowledges, and not the other (RFC 3261 §13.3.1.4)", async () => {
    const { l, invite, at } = await forked("all", ["a", "b"]);
    for (const id of ["a", "b"]) l.server(id).answer(at[id]!, 200);
    l.client.ack(invite, l.client.response(200));
    l.clock.advance(33_000);
    await isEnded(l, "b");
    await l.settle();
    expect(l.core.requests.size).toBe(0);
    expect(l.events.map((event) => [event.type, event.session.appServer])).toEqual([["session.started", "a"]]);
  });

  it("passes successes on for so long after the first, then cancels who has not answered (RFC 6026 §7.1)", async () => {
    const { l, invite, at } = await forked("all", ["a", "b"], { session: { furtherAnswersS: 10 } });
    l.server("b").answer(at.b!, 180);
    l.client.response(180);
    l.server("a").answer(at.a!, 200);
    l.client.ack(invite, l.client.response(200));
    l.clock.advance(9_900);
    expect(l.server("b").inbox).toEqual([]);
    l.clock.advance(100);
    l.server("b").answer(l.server("b").request("CANCEL"), 200);
    // Its 200 is under way by then.
    l.server("b").answer(at.b!, 200);
    await isEnded(l, "b");
    expect(l.client.inbox).toEqual([]);
    expect(l.core.sessions.size).toBe(1);
  });

  it("never waits longer than the client's transaction can take successes (RFC 3261 §13.2.2.4)", async () => {
    const { l, at } = await forked("all", ["a", "b"], { session: { furtherAnswersS: 180 } });
    l.server("b").answer(at.b!, 180);
    l.server("a").answer(at.a!, 200);
    l.clock.advance(30_000);
    l.server("b").request("CANCEL");
  });

  it("answers with the best failure where nobody accepts", async () => {
    const { l, at } = await forked("all", ["a", "b"]);
    l.server("a").answer(at.a!, 503);
    l.server("b").answer(at.b!, 404);
    l.client.response(404);
  });
});

describe("199, the end of an early dialog (RFC 6228)", () => {
  const WANTED: [string, string] = ["Supported", "199, timer"];
  async function ringing(headers: [string, string][], ids = ["a", "b"]) {
    const l = await lab({ servers: servers(...ids), service: { fork: "first" } });
    l.client.invite({ headers });
    const at = ids.map((id) => l.server(id).request("INVITE"));
    l.server("a").answer(at[0]!, 180);
    return { l, at, tag: l.client.response(180).toTag };
  }

  it("tells a client that wants it which branch has failed, and why, while others may answer", async () => {
    const { l, at, tag } = await ringing([WANTED]);
    l.server("a").answer(at[0]!, 486);
    const ended = l.client.response(199);
    expect(ended.toTag).toBe(tag);
    expect(ended.headers.get("reason")).toBe("SIP;cause=486");
    l.server("b").answer(at[1]!, 404);
    l.client.response(486);
  });

  it.each([
    ["does not want it", []],
    ["wants every provisional answer reliably", [WANTED, ["Require", "100rel"]]],
  ] as [string, [string, string][]][])("is not sent to a client that %s", async (_, headers) => {
    const { l, at } = await ringing(headers);
    l.server("a").answer(at[0]!, 486);
    expect(l.client.inbox).toEqual([]);
  });

  it("is not sent for a branch that never rang, nor for the last", async () => {
    const { l, at } = await ringing([WANTED]);
    l.server("b").answer(at[1]!, 486);
    expect(l.client.inbox).toEqual([]);
    l.server("a").answer(at[0]!, 404);
    expect(l.client.inbox.map((message) => !message.isRequest && message.status)).toEqual([486]);
  });
});

describe("fork sequential", () => {
  it("asks by priority, and gives each so long to ring (service.ringS)", async () => {
    const l = await lab({
      servers: [
        { id: "low", priority: 3 },
        { id: "high", priority: 1 },
        { id: "middle", priority: 2 },
      ],
      service: { ringS: 20 },
    });
    l.client.invite();
    for (const id of ["high", "middle", "low"]) {
      const at = l.server(id).request("INVITE");
      l.server(id).answer(at, 180);
      l.client.response(180);
      l.clock.advance(20_000);
      l.server(id).answer(l.server(id).request("CANCEL"), 200);
      l.server(id).answer(at, 487);
    }
    l.client.response(408);
  });

  it("ends the 200 of an app server that had rung too long, while the next one rings", async () => {
    const l = await lab({
      servers: servers("a", "b").map((one, i) => ({ ...one, priority: i })),
      service: { ringS: 20 },
    });
    l.client.invite();
    const at = l.server("a").request("INVITE");
    l.server("a").answer(at, 180);
    l.clock.advance(20_000);
    l.server("b").request("INVITE");
    l.server("a").request("CANCEL");
    l.server("a").answer(at, 200);
    await isEnded(l, "a");
    expect(l.client.inbox.map((message) => !message.isRequest && message.status)).toEqual([180]);
  });

  it("asks nobody else after a 6xx (RFC 3261 §16.7, step 5)", async () => {
    const l = await lab({ servers: servers("a", "b").map((one, i) => ({ ...one, priority: i })) });
    l.client.invite();
    l.server("a").answer(l.server("a").request("INVITE"), 603);
    l.client.response(603);
    expect(l.server("b").inbox).toEqual([]);
  });
});

describe("how many are asked", () => {
  it("50 at most where nothing else is said", async () => {
    const ids = Array.from({ length: 52 }, (_, i) => `s${i}`);
    const l = await lab({ servers: servers(...ids), service: { fork: "all" } });
    l.client.invite();
    expect(ids.filter((id) => l.server(id).inbox.length > 0)).toHaveLength(50);
  });

  it("as the operator bounds it (limits.branches)", async () => {
    const l = await lab({ servers: servers("a", "b", "c"), service: { fork: "all" }, limits: { branches: 2 } });
    l.client.invite();
    expect(["a", "b", "c"].filter((id) => l.server(id).inbox.length > 0)).toHaveLength(2);
  });
});

describe("Request-Disposition (RFC 3841 §9.1)", () => {
  /**
   * How the app servers a and b are asked: how many at once, whether the next after a failure, whether a second success
   * counts.
   */
  async function wayOf(service: NonNullable<LabOptions["service"]>, wish?: string) {
    const l = await lab({ servers: servers("a", "b"), service });
    l.client.invite({ headers: wish === undefined ? [] : [["Request-Disposition", wish]] });
    const asked = ["a", "b"].filter((id) => l.server(id).inbox.length > 0);
    if (asked.length === 2) {
      const at = asked.map((id) => l.server(id).request("INVITE"));
      for (const [i, id] of asked.entries()) l.server(id).answer(at[i]!, 200);
      return l.client.inbox.length === 2 ? "all" : "first";
    }
    l.server(asked[0]!).answer(l.server(asked[0]!).request("INVITE"), 486);
    return l.client.inbox.length === 0 ? "sequential" : "single";
  }
  const every = ["single", "sequential", "first", "all"] as const;

  it.each([
    ["sequential", "parallel", "first"],
    ["sequential", "parallel, no-cancel", "all"],
    ["sequential", "no-cancel", "sequential"],
    ["sequential", "no-fork", "single"],
    ["sequential", "fork", "sequential"],
    ["first", "sequential", "sequential"],
    ["first", "no-cancel", "all"],
    ["first", "no-fork, parallel", "single"],
    ["all", "cancel", "first"],
    ["all", "parallel", "all"],
    ["first", "redirect, sequential", "first"],
    ["first", "fork, no-fork", "first"],
    ["first", "queue, recurse", "first"],
  ] as const)("makes of `%s` with the wish `%s`: %s", async (fork, wish, way) => {
    expect(await wayOf({ fork, clientMayChoose: [...every] }, wish)).toBe(way);
  });

  it("changes nothing where the operator does not allow that way, or none", async () => {
    expect(await wayOf({ fork: "first", clientMayChoose: ["sequential"] }, "no-cancel")).toBe("first");
    expect(await wayOf({ fork: "first", clientMayChoose: ["sequential"] }, "sequential")).toBe("sequential");
    expect(await wayOf({ fork: "sequential" }, "parallel")).toBe("sequential");
  });
});
