import { describe, expect, it } from "vitest";
import { SipResponse } from "../../src/sip/message.ts";
import { FakeFlow, requestFrom, setUp } from "./harness.ts";

function trying(transport: "udp" | "tcp" = "udp") {
  const all = setUp(transport);
  const request = requestFrom("INFO", { toTag: "d1" });
  all.receive(request);
  const transaction = all.user.last;
  return {
    ...all,
    transaction,
    request,
    respond: (status: number) => transaction.respond(new SipResponse(status, "Whatever")),
    again: () => all.receive(request),
  };
}

describe("non-INVITE server transaction (RFC 3261 §17.2.2)", () => {
  it("hands the request up once and discards what comes again in trying", () => {
    const { user, again, flow } = trying();
    again();
    expect(user.story).toEqual(["INFO"]);
    expect(flow.story).toEqual([]);
  });

  it("answers by the socket to which the request came last, since the node that had the first may be dead (P3)", () => {
    const { clock, flow, receive, request, respond } = trying();
    const [next, forged] = [{ socket: "@b" }, { socket: "@b", remoteAddress: "203.0.113.9" }].map(
      (of) => new FakeFlow(clock, "udp", of),
    );
    receive(request, forged); // from another place: nothing is sent there
    receive(request, next);
    respond(200);
    receive(request, flow);
    receive(request, forged);
    expect([next, flow, forged].map((by) => by!.sent.length)).toEqual([1, 2, 0]);
  });

  it("answers a repeated request with the final response for 64*T1, then ends (Timer J)", () => {
    const { clock, flow, respond, again, layer, user } = trying();
    respond(200);
    again();
    clock.advance(31_999);
    again();
    expect(flow.story).toEqual(["200/INFO 0", "200/INFO 0", "200/INFO 31999"]);
    expect(layer.size).toBe(1);
    clock.advance(1);
    expect(layer.size).toBe(0);
    expect(layer.timersRunning).toBe(0);
    expect(user.story).toEqual(["INFO"]);
  });

  it("ends at the final response over a reliable transport: Timer J is zero", () => {
    const { respond, layer, flow } = trying("tcp");
    respond(200);
    expect(flow.story).toEqual(["200/INFO 0"]);
    expect(layer.size).toBe(0);
    expect(layer.timersRunning).toBe(0);
  });

  it("drops a second final response", () => {
    const { respond, flow } = trying();
    respond(200);
    respond(500);
    expect(flow.story).toEqual(["200/INFO 0"]);
  });

  it("leaves the To tag of a dialog as it is", () => {
    const { respond, flow } = trying();
    respond(200);
    expect(flow.last.toTag).toBe("d1");
  });

  it("stays when the connection is gone", () => {
    const { layer, flow, respond } = trying("tcp");
    layer.flowFailed(flow, "gone");
    respond(200);
    expect(flow.story).toEqual(["200/INFO 0"]);
  });
});

describe("what RFC 4320 adds", () => {
  it("sends 100 by itself when the client's Timer E has reached T2, at 3.5 s (§4.1)", () => {
    const { clock, flow, again } = trying();
    clock.advance(3_499);
    expect(flow.story).toEqual([]);
    clock.advance(1);
    expect(flow.story).toEqual(["100/INFO 3500"]);
    again();
    expect(flow.story).toEqual(["100/INFO 3500", "100/INFO 3500"]);
  });

  it("sends no 100 over UDP before that, whatever the user says", () => {
    const { flow, respond, clock } = trying();
    respond(100);
    expect(flow.story).toEqual([]);
    clock.advance(3_500);
    respond(100);
    expect(flow.story).toEqual(["100/INFO 3500", "100/INFO 3500"]);
  });

  it("sends 100 at any time over a reliable transport", () => {
    const { flow, respond } = trying("tcp");
    respond(100);
    expect(flow.story).toEqual(["100/INFO 0"]);
  });

  it("sends no provisional response but 100", () => {
    const { flow, respond } = trying("tcp");
    respond(180);
    respond(183);
    expect(flow.story).toEqual([]);
  });

  it("never sends 408, and absorbs what comes again (§4.2)", () => {
    const { flow, respond, again, user, transaction } = trying();
    respond(408);
    again();
    expect(flow.story).toEqual([]);
    expect(transaction.answered).toBe(true);
    expect(user.story).toEqual(["INFO"]);
  });

  it("ends a transaction that its user never answers, and sends no late response (§4.2)", () => {
    const { clock, layer, respond, flow } = trying();
    clock.advance(3_500 + 32_000);
    expect(layer.size).toBe(0);
    respond(200);
    expect(flow.story).toEqual(["100/INFO 3500"]);
  });
});
