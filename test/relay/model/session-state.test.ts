import { describe, expect, it } from "vitest";
import { checkSessionState, readSessionState, type SessionState } from "../../../src/relay/model/session-state.ts";
import { facts, JANUARY } from "../../charging/samples.ts";

const dialog = (side: string) => ({
  callId: `${side}@host`,
  localTag: "ours",
  remoteTag: "theirs",
  local: "<sip:wine@portal.example>;tag=ours",
  remote: '"Alice" <sip:alice@portal.example>;tag=theirs',
  remoteTarget: `sip:${side}@192.0.2.50:5060`,
  routes: ["<sip:proxy.example;lr>"],
  localSeq: 3,
  remoteSeq: -1,
  contact: "<sip:192.0.2.1:5060>",
  cameFrom: { transport: "udp", address: "192.0.2.50", port: 5060 } as const,
});

/** A session with everything that one may have. */
const whole: SessionState = {
  version: 1,
  facts: facts({
    hold: "h1",
    terms: { taxes: [{ id: "vat", rate: "19", included: false }], fee: { percent: "5" } },
    lateChargesMs: 3_600_000,
    previous: { session: "s0", by: "change" },
  }),
  user: "alice",
  asked: "sip:wine@portal.example",
  identified: { rule: "by name", attributes: { a: "1" }, client: {}, fork: "first", appServers: ["a"] },
  chart: {
    value: { established: "steady" },
    context: {
      version: 1,
      id: "s1",
      clock: "ack",
      startedAt: JANUARY,
      endedAt: null,
      endedBy: null,
      byeAt: null,
      leaving: [],
      creditUntil: JANUARY + 60_000,
    },
  },
  endsAt: JANUARY + 86_400_000,
  client: { ...dialog("client"), byConnection: true, offered: ["x"] },
  server: { ...dialog("server"), destination: { transport: "tcp", address: "2001:db8::1", port: 5070 } },
  book: {
    made: [{ id: "1", item: "cork", unitPrice: "0.50", quantity: "2", currency: "EUR", at: JANUARY }],
    refusals: 1,
    before: [{ session: "s0", service: "beer", made: [] }],
  },
  credit: {
    currency: "EUR",
    startedAt: JANUARY,
    held: 7_000_000,
    coveredMs: 60_000,
    heldUntil: JANUARY,
    unsure: false,
    exhausted: false,
    warned: false,
    events: 1,
  },
  parts: {
    beside: ["s3"],
    ended: [{ service: "beer", currency: "EUR", amount: "1.50", count: 2 }],
    tariffs: [{ tariff: "t", currency: "EUR", freeMs: 0, chargedMs: 60_000, amount: "0.10" }],
    isPart: "running",
    costs: [{ currency: "EUR", amount: "12.345", taxes: [{ id: "vat", rate: "19", included: false }] }],
  },
  answer: {
    response: "SIP/2.0 200 OK\r\n\r\n\xff",
    to: { transport: "udp", address: "192.0.2.50", port: 5060, leavesBy: "192.0.2.1:5060" },
    seq: 2,
    serverSeq: 1,
  },
};

const changed = (path: string, value: unknown): unknown => {
  const copy = JSON.parse(JSON.stringify(whole)) as Record<string, unknown>;
  const names = path.split(".");
  const last = names.pop()!;
  let at = copy;
  for (const name of names) at = at[name] as Record<string, unknown>;
  if (value === undefined) delete at[last];
  else at[last] = value;
  return copy;
};

describe("a session's state", () => {
  it("comes back from JSON as it was, in about 2 kB (P7)", () => {
    const text = JSON.stringify(whole);
    expect(text.length).toBeLessThan(3_000);
    expect(readSessionState(text)).toEqual({ ok: true, value: whole });
  });

  it("of a newer Tollgate is refused by name", () => {
    expect(checkSessionState(changed("version", 2))).toEqual({
      ok: false,
      error: "version 2 was written by a newer Tollgate; this one reads versions up to 1",
    });
  });

  it("of an older one is brought up to date, step by step", () => {
    const upgrades = [
      (older: object) => ({ ...older, user: "of version 2" }),
      (older: object) => ({ ...older, asked: (older as SessionState).user }),
    ];
    const read = checkSessionState(changed("version", 1), upgrades);
    expect(read).toMatchObject({ ok: true, value: { user: "of version 2", asked: "of version 2" } });
    const second = checkSessionState(changed("version", 2), upgrades);
    expect(second).toMatchObject({ ok: true, value: { user: "alice", asked: "alice" } });
  });

  it("may say what nobody here knows", () => {
    expect(checkSessionState(changed("client.colour", "blue")).ok).toBe(true);
    expect(checkSessionState(changed("later", { any: ["thing"] })).ok).toBe(true);
  });

  it.each([
    ["version", undefined, "version must be a number"],
    ["version", "1", "version must be a number"],
    ["facts.user", 7, "facts.user must be text"],
    ["facts", undefined, "facts is missing"],
    ["user", undefined, "user must be text"],
    ["chart.value", "terminated", "chart.value must be answered or established"],
    ["chart.context.version", 2, "chart.context.version must be 1"],
    ["chart.context.startedAt", "now", "chart.context.startedAt must be a time"],
    ["client.callId", "x".repeat(9_000), "client.callId must be text without spaces"],
    ["client.remoteTarget", "tel:5", "client.remoteTarget must be a SIP URI"],
    ["client.remote", "<sip:", "client.remote must be an address"],
    ["client.localSeq", -1, "client.localSeq must be a whole number"],
    ["server.destination.transport", "carrier pigeon", "server.destination.transport must be udp"],
    ["server.routes", ["", "x"], "server.routes.0 must not be empty"],
    ["server.contact", "x", "server.contact must be an address"],
    ["book.made", [{ id: "1" }], "book.made.0.at must be a time"],
    ["book.made.0.unitPrice", "-1", "book.made.0.unitPrice must not be negative"],
    ["credit.held", 0.5, "credit.held must be a whole number"],
    ["parts.ended.0.amount", "much", "parts.ended.0.amount must be a decimal number"],
    ["answer.response", "x".repeat(70_000), "answer.response must have at most 65535 characters"],
  ])("with %s %j is refused, and the field is named", (path, value, problem) => {
    const read = checkSessionState(changed(path, value));
    expect(read).toMatchObject({ ok: false, error: expect.stringContaining(problem) });
  });

  it.each(["", "[]", "null", "7", '"text"', "{", '{"version":1}', `${"[".repeat(50)}${"]".repeat(50)}`])(
    "that is none is refused: %s",
    (text) => {
      expect(readSessionState(text).ok).toBe(false);
    },
  );
});
