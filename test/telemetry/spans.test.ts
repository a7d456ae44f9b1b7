import { describe, expect, it } from "vitest";
import { isSampled, spanIdOf, traceIdOf, traceparent } from "../../src/support/trace-ids.ts";
import { spansOf } from "../../src/telemetry/spans.ts";
import { JANUARY } from "../charging/samples.ts";
import { call } from "../contract/calls.contract.ts";
import { attributesOf } from "./receiver.ts";

const ended = call(1, {
  call: "c1",
  service: "wine",
  rule: "all",
  ringMs: 40,
  answerMs: 100,
  wholeMs: 60_100,
  asked: [
    {
      appServer: "busy",
      session: "s0",
      callId: "s0@tollgate",
      atMs: 2,
      status: 486,
      reason: "Busy Here",
      answerMs: 30,
    },
    {
      ...{ appServer: "shop", session: "s1", callId: "s1@tollgate", atMs: 31, status: 200, reason: "OK", answerMs: 95 },
      ...{ clockMs: 60_000, endedBy: "client", cost: "1.00 EUR" },
    },
  ],
});
const nanos = (ms: number) => `${ended.at + ms}000000`;

describe("the spans of a request", () => {
  it("are one for the request, one for each app server asked, and one for the session", () => {
    const [request, busy, shop, session, ...more] = spansOf(ended);
    expect(more).toEqual([]);
    expect(request).toMatchObject({
      name: "INVITE wine",
      kind: 2,
      startTimeUnixNano: nanos(0),
      endTimeUnixNano: nanos(100),
    });
    expect(busy).toMatchObject({
      name: "INVITE wine",
      kind: 3,
      startTimeUnixNano: nanos(2),
      endTimeUnixNano: nanos(30),
    });
    expect(shop).toMatchObject({ kind: 3, startTimeUnixNano: nanos(31), endTimeUnixNano: nanos(95) });
    expect(session).toMatchObject({ name: "session wine", kind: 1, endTimeUnixNano: nanos(60_095) });
    expect(request!.parentSpanId).toBeUndefined();
    for (const span of [busy, shop, session])
      expect(span).toMatchObject({ traceId: request!.traceId, parentSpanId: request!.spanId });
    expect(new Set([request, busy, shop, session].map((span) => span!.spanId)).size).toBe(4);
  });

  it("say what the record says, by OpenTelemetry's names where it has any", () => {
    const [request, busy, , session] = spansOf(ended);
    expect(attributesOf(request!)).toMatchObject({
      ...{ "network.protocol.name": "sip", "network.transport": "udp", "network.peer.address": "192.0.2.1" },
      ...{ "network.peer.port": "5060", "network.type": "ipv4", "user.id": "alice", "sip.call_id": "call-1@client" },
      ...{ "sip.request.method": "INVITE", "sip.response.status_code": "200", "tollgate.rule": "all" },
      ...{ "tollgate.service": "wine", "tollgate.call": "c1", "tollgate.ring_ms": "40" },
    });
    expect(attributesOf(busy!)).toMatchObject({ "tollgate.app_server": "busy", "error.type": "486" });
    expect(attributesOf(session!)).toMatchObject({
      ...{ "sip.call_id": "s1@tollgate", "tollgate.session": "s1", "tollgate.clock_ms": "60000" },
      ...{ "tollgate.ended_by": "client", "tollgate.cost": "1.00 EUR" },
    });
  });

  it("are errors where the relay failed, and for whoever asked where it was refused", () => {
    const [request, asked] = spansOf(ended);
    expect([request!.status, asked!.status]).toEqual([undefined, { code: 2, message: "486 Busy Here" }]);
    const failed = { status: 503, reason: "Service Unavailable", why: "too many calls" };
    expect(spansOf(call(2, failed))[0]!.status).toEqual({ code: 2, message: "too many calls" });
    const silent = { appServer: "shop", session: "s1", callId: "x", atMs: 1, why: "it was silent" };
    expect(spansOf(call(3, { status: 408, asked: [silent] }))[1]!.status).toEqual({
      code: 2,
      message: "it was silent",
    });
  });

  it("of a change or a move are in the trace of their call, under its first request", () => {
    const [first] = spansOf(ended);
    const [change] = spansOf(call(9, { kind: "change", method: "UPDATE", call: "c1", asked: [] }));
    expect(change).toMatchObject({ traceId: first!.traceId, parentSpanId: first!.spanId, name: "UPDATE" });
    expect(change!.spanId).not.toBe(first!.spanId);
  });

  it("of a stranger's request have a trace of their own", () => {
    const { user: _, call: __, ...stranger } = call(4, { status: 403, asked: [] });
    const [span] = spansOf(stranger);
    expect(span!.traceId).toBe(traceIdOf(stranger.id));
    expect(attributesOf(span!)["user.id"]).toBeUndefined();
  });

  it("of a session that another process had are the session's alone", () => {
    const spans = spansOf({ ...ended, resumed: true, asked: ended.asked!.slice(1), source: "", uri: "" });
    expect(spans.map(({ name }) => name)).toEqual(["session wine"]);
    expect(spans[0]!.parentSpanId).toBe(spansOf(ended)[0]!.spanId);
  });
});

describe("what is sampled", () => {
  it("is the share that was asked for, and the same call at every node", () => {
    const calls = Array.from({ length: 4_000 }, (_, n) => traceIdOf(`call ${n}`));
    for (const share of [0, 0.1, 0.5, 1]) {
      const taken = calls.filter((id) => isSampled(id, share)).length / calls.length;
      expect(Math.abs(taken - share)).toBeLessThan(0.03);
    }
    // What a smaller share has, a larger one has, too.
    expect(calls.filter((id) => isSampled(id, 0.1) && !isSampled(id, 0.5))).toEqual([]);
  });

  it("is told to others (W3C Trace Context)", () => {
    const span = spanIdOf("session", "s1");
    expect(traceparent("c1", span, 1)).toBe(`00-${traceIdOf("c1")}-${span}-01`);
    expect(traceparent("c1", span, 0)).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
  });
});

it("ids of spans do not depend on when", () => {
  expect(spansOf({ ...ended, at: JANUARY })[0]!.spanId).toBe(spansOf(ended)[0]!.spanId);
});
