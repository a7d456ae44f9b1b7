import { describe, expect, it } from "vitest";
import { SipResponse } from "../../src/sip/message.ts";
import { FakeFlow, requestFrom, setUp } from "./harness.ts";

function proceeding(transport: "udp" | "tcp" = "udp") {
  const all = setUp(transport);
  const invite = requestFrom("INVITE");
  all.receive(invite);
  const transaction = all.user.last;
  const acks: (number | undefined)[] = [];
  transaction.onAck = (ack) => acks.push(ack?.cseq?.number);
  return {
    ...all,
    invite,
    transaction,
    acks,
    respond: (status: number) => transaction.respond(new SipResponse(status, "Whatever")),
    again: () => all.receive(invite),
    ack: (toTag?: string) => all.receive(requestFrom("ACK", { toTag })),
  };
}

describe("INVITE server transaction (RFC 3261 §17.2.1, RFC 6026 §7.1)", () => {
  it("hands the INVITE up once and absorbs what comes again", () => {
    const { user, again, layer, flow, clock } = proceeding();
    again();
    again();
    expect(user.story).toEqual(["INVITE"]);
    expect(layer.stats.retransmissions).toBe(2);
    clock.advance(199);
    expect(flow.story).toEqual([]);
  });

  it("answers by the socket to which the request came last, since the node that had the first may be dead (P3)", () => {
    const { clock, flow, receive, invite, respond } = proceeding();
    const [next, forged] = [{ socket: "@b" }, { socket: "@b", remoteAddress: "203.0.113.9" }].map(
      (of) => new FakeFlow(clock, "udp", of),
    );
    receive(invite, forged); // from another place: nothing is sent there
    receive(invite, next);
    respond(486);
    receive(invite, flow);
    receive(invite, forged);
    expect([next, flow, forged].map((by) => by!.sent.length)).toEqual([1, 2, 0]);
  });

  it("sends 100 by itself after 200 ms, without a To tag and with the Timestamp of the INVITE", () => {
    const { clock, flow, receive } = setUp();
    receive(requestFrom("INVITE", {}, [["Timestamp", "54"]]));
    clock.advance(200);
    expect(flow.story).toEqual(["100/INVITE 200"]);
    expect(flow.last.toTag).toBeUndefined();
    expect(flow.last.headers.get("timestamp")).toBe("54");
  });

  it("sends 100 at once where that is configured", () => {
    const { flow, receive } = setUp("udp", { tryingMs: 0 });
    receive(requestFrom("INVITE"));
    expect(flow.story).toEqual(["100/INVITE 0"]);
  });

  it("sends no 100 if the user answered within 200 ms", () => {
    const { clock, flow, respond } = proceeding();
    respond(180);
    clock.advance(1_000);
    expect(flow.story).toEqual(["180/INVITE 0"]);
  });

  it("answers a repeated INVITE with the latest provisional response", () => {
    const { flow, respond, again, clock } = proceeding();
    clock.advance(200);
    again();
    respond(180);
    respond(183);
    flow.clear();
    again();
    expect(flow.story).toEqual(["183/INVITE 200"]);
  });

  it("takes over Via, From, To, Call-ID and CSeq of the request, and adds a To tag that stays the same (RFC 3261 §8.2.6.2)", () => {
    const { flow, respond, invite } = proceeding();
    respond(180);
    respond(486);
    const [ringing, busy] = flow.sent.map(({ message }) => message);
    for (const key of ["via", "from", "call-id", "cseq"])
      expect(busy?.headers.all(key)).toEqual(invite.headers.all(key));
    expect(ringing?.toTag).toBeDefined();
    expect(busy?.toTag).toBe(ringing?.toTag);
  });

  it("keeps the header fields that the user set", () => {
    const { flow, transaction } = proceeding();
    const response = new SipResponse(180, "Ringing");
    response.headers.add("To", "<sip:bob@example.com>;tag=mine");
    transaction.respond(response);
    expect(flow.last.toTag).toBe("mine");
    expect(flow.last.headers.count("to")).toBe(1);
    expect(flow.last.headers.count("via")).toBe(1);
  });

  it("retransmits an error response at 0.5, 1.5, 3.5, 7.5, 11.5 ... s and tells at 32 s that no ACK came (Timers G and H)", () => {
    const { clock, flow, respond, acks, layer } = proceeding();
    respond(486);
    clock.advance(31_999);
    const times = [0, 500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500];
    expect(flow.story).toEqual(times.map((at) => `486/INVITE ${at}`));
    expect(acks).toEqual([]);
    clock.advance(1);
    expect(acks).toEqual([undefined]);
    expect(layer.size).toBe(0);
    expect(layer.timersRunning).toBe(0);
  });

  it("does not retransmit an error response over a reliable transport, and Timer H runs all the same", () => {
    const { clock, flow, respond, acks } = proceeding("tcp");
    respond(486);
    clock.advance(32_000);
    expect(flow.story).toEqual(["486/INVITE 0"]);
    expect(acks).toEqual([undefined]);
  });

  it("answers a repeated INVITE in completed with the final response", () => {
    const { flow, respond, again } = proceeding();
    respond(486);
    again();
    expect(flow.story).toEqual(["486/INVITE 0", "486/INVITE 0"]);
  });

  it("goes to confirmed at the ACK, absorbs further ACKs and INVITEs for T4, then ends (Timer I)", () => {
    const { clock, flow, respond, acks, ack, again, layer, user } = proceeding();
    respond(486);
    clock.advance(100);
    ack("t");
    ack("t");
    again();
    expect(acks).toEqual([1]);
    clock.advance(4_999);
    expect(flow.story).toEqual(["486/INVITE 0"]);
    expect(layer.size).toBe(1);
    clock.advance(1);
    expect(layer.size).toBe(0);
    expect(user.story).toEqual(["INVITE"]);
  });

  it("ends at the ACK over a reliable transport: Timer I is zero", () => {
    const { respond, ack, layer, acks } = proceeding("tcp");
    respond(486);
    ack("t");
    expect(acks).toEqual([1]);
    expect(layer.size).toBe(0);
  });

  it("goes to accepted at a 2xx, absorbs the INVITE silently for 64*T1 and then ends (Timer L, RFC 6026 §8.7)", () => {
    const { clock, flow, respond, again, layer, user } = proceeding();
    respond(200);
    again();
    clock.advance(31_999);
    again();
    expect(flow.story).toEqual(["200/INVITE 0"]);
    expect(user.story).toEqual(["INVITE"]);
    expect(layer.size).toBe(1);
    clock.advance(1);
    expect(layer.size).toBe(0);
  });

  it("sends each 2xx that the user repeats in accepted, and nothing else", () => {
    const { clock, flow, transaction, respond } = proceeding("tcp");
    const response = new SipResponse(200, "OK");
    transaction.respond(response);
    clock.advance(500);
    transaction.respond(response);
    respond(500);
    respond(180);
    expect(flow.story).toEqual(["200/INVITE 0", "200/INVITE 500"]);
    expect(flow.sent[0]?.message.toTag).toBe(flow.sent[1]?.message.toTag);
    expect(flow.last.headers.count("via")).toBe(1);
    clock.advance(32_000);
    respond(200);
    expect(flow.story).toHaveLength(2);
  });

  it("passes an ACK in accepted to the user, not to the transaction (RFC 6026 §7.1)", () => {
    const { respond, ack, user, acks } = proceeding();
    respond(200);
    ack("t");
    ack("t");
    expect(user.story).toEqual(["INVITE", "ack 1", "ack 1"]);
    expect(acks).toEqual([]);
  });

  it("drops a second final response", () => {
    const { respond, flow } = proceeding();
    respond(404);
    respond(200);
    respond(486);
    expect(flow.story).toEqual(["404/INVITE 0"]);
  });

  it("ignores an ACK before there is a final response", () => {
    const { ack, user, acks, layer } = proceeding();
    ack();
    expect(user.story).toEqual(["INVITE"]);
    expect(acks).toEqual([]);
    expect(layer.size).toBe(1);
  });

  it("tells the user that the connection is gone, and stays (RFC 6026 §7.1)", () => {
    const { layer, flow, transaction, respond } = proceeding("tcp");
    const reasons: string[] = [];
    transaction.onFlowFailed = (reason) => reasons.push(reason);
    layer.flowFailed(flow, "gone");
    expect(reasons).toEqual(["gone"]);
    expect(layer.size).toBe(1);
    respond(487);
    expect(flow.story).toEqual(["487/INVITE 0"]);
  });

  it("does not tell of a gone connection once a final response was given", () => {
    const { layer, flow, transaction, respond } = proceeding("tcp");
    transaction.onFlowFailed = () => expect.fail("told");
    respond(200);
    layer.flowFailed(flow, "gone");
    expect(layer.size).toBe(1);
  });
});
