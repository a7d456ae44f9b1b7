import { describe, expect, it } from "vitest";
import { answerTo, DESTINATION, FakeFlow, requestToSend, Sender, setUp } from "./harness.ts";

/** An INVITE that was just sent. */
function calling(transport: "udp" | "tcp" = "udp") {
  const all = setUp(transport);
  const sender = new Sender();
  const invite = requestToSend("INVITE", [
    ["Route", "<sip:p1.example.com;lr>, <sip:p2.example.com;lr>"],
    ["Contact", "<sip:relay@198.51.100.1>"],
    ["Require", "100rel"],
  ]);
  const transaction = all.layer.send(invite, DESTINATION, sender);
  const respond = (status: number, toTag = "t1") => all.receive(answerTo(invite, status, toTag));
  return { ...all, sender, invite, transaction, respond };
}

describe("INVITE client transaction (RFC 3261 §17.1.1, RFC 6026 §7.2)", () => {
  it("retransmits INVITE at 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 s and gives up at 32 s (RFC 3261 §17.1.1.2)", () => {
    const { clock, flow, sender, layer } = calling();
    clock.advance(31_999);
    expect(flow.story).toEqual([0, 500, 1500, 3500, 7500, 15_500, 31_500].map((at) => `INVITE ${at}`));
    expect(sender.story).toEqual([]);
    clock.advance(1);
    expect(sender.story).toEqual(["timeout"]);
    expect(layer.size).toBe(0);
    expect(layer.timersRunning).toBe(0);
  });

  it("retransmits the same bytes with the same branch", () => {
    const { clock, flow } = calling();
    clock.advance(500);
    expect(flow.sent[1]?.message.via?.params.get("branch")).toBe(flow.sent[0]?.message.via?.params.get("branch"));
    expect(flow.sent[0]?.message.via?.params.get("branch")).toMatch(/^z9hG4bK./);
  });

  it("does not retransmit over a reliable transport, and gives up at 32 s all the same", () => {
    const { clock, flow, sender } = calling("tcp");
    clock.advance(32_000);
    expect(flow.story).toEqual(["INVITE 0"]);
    expect(sender.story).toEqual(["timeout"]);
  });

  it("stops retransmitting and giving up at a provisional response", () => {
    const { clock, flow, sender, respond } = calling();
    clock.advance(600);
    respond(100, "");
    respond(180);
    clock.advance(200_000);
    expect(flow.story).toEqual(["INVITE 0", "INVITE 500"]);
    expect(sender.story).toEqual(["provisional 100", "provisional 180"]);
  });

  it("passes each 2xx up until Timer M, also from other branches of a fork, and sends no ACK (RFC 6026 §8.4)", () => {
    const { clock, flow, sender, respond, layer } = calling();
    respond(200, "t1");
    respond(200, "t1");
    respond(200, "t2");
    clock.advance(31_999);
    respond(200, "t1");
    expect(sender.story).toEqual(["final 200", "final 200", "final 200", "final 200"]);
    expect(flow.story).toEqual(["INVITE 0"]);
    expect(layer.size).toBe(1);
    clock.advance(1);
    expect(layer.size).toBe(0);
    respond(200, "t1");
    expect(sender.story).toHaveLength(4);
    expect(layer.stats.strayResponses).toBe(1);
  });

  it("goes from proceeding to accepted at a 2xx", () => {
    const { sender, respond, clock, layer } = calling("tcp");
    respond(183);
    respond(200);
    expect(sender.story).toEqual(["provisional 183", "final 200"]);
    clock.advance(32_000);
    expect(layer.size).toBe(0);
  });

  it("ignores provisional and error responses once accepted", () => {
    const { sender, respond, flow } = calling();
    respond(200);
    respond(180, "t2");
    respond(486, "t2");
    expect(sender.story).toEqual(["final 200"]);
    expect(flow.story).toEqual(["INVITE 0"]);
  });

  it("acknowledges an error response by itself (RFC 3261 §17.1.1.3)", () => {
    const { flow, sender, respond, invite } = calling();
    respond(100, "");
    respond(486, "busy");
    expect(sender.story).toEqual(["provisional 100", "final 486"]);
    const ack = flow.last;
    expect(ack.isRequest && `${ack.method} ${ack.uri}`).toBe("ACK sip:bob@example.com");
    expect(ack.headers.all("via")).toEqual([invite.headers.get("via")]);
    expect(ack.headers.get("to")).toBe("<sip:bob@example.com>;tag=busy");
    expect(ack.headers.get("from")).toBe(invite.headers.get("from"));
    expect(ack.headers.get("call-id")).toBe("c1");
    expect(ack.headers.get("cseq")).toBe("1 ACK");
    expect(ack.headers.all("route")).toEqual(["<sip:p1.example.com;lr>, <sip:p2.example.com;lr>"]);
    expect(ack.headers.get("max-forwards")).toBe("70");
    expect(ack.headers.has("require")).toBe(false);
    expect(ack.headers.has("contact")).toBe(false);
  });

  it.each([300, 404, 503, 603])("acknowledges %i straight from calling", (status) => {
    const { flow, sender, respond, clock } = calling();
    respond(status);
    expect(sender.story).toEqual([`final ${status}`]);
    clock.advance(5_000);
    expect(flow.story).toEqual(["INVITE 0", "ACK 0"]);
  });

  it("acknowledges each repeated error response until Timer D, without telling the user again", () => {
    const { flow, sender, respond, clock, layer } = calling();
    respond(486);
    clock.advance(500);
    respond(486);
    clock.advance(31_499);
    respond(486);
    respond(200);
    respond(180);
    expect(flow.story).toEqual(["INVITE 0", "ACK 0", "ACK 500", "ACK 31999"]);
    expect(sender.story).toEqual(["final 486"]);
    clock.advance(1);
    expect(layer.size).toBe(0);
  });

  it("waits at least 32 s in completed even if our own T1 is small (RFC 6026 §8.4, Timer D)", () => {
    const all = setUp("udp", { timers: { t1Ms: 50, t2Ms: 400, t4Ms: 500 } });
    const invite = requestToSend("INVITE");
    all.layer.send(invite, DESTINATION, new Sender());
    all.receive(answerTo(invite, 404));
    all.clock.advance(31_999);
    expect(all.layer.size).toBe(1);
    all.clock.advance(1);
    expect(all.layer.size).toBe(0);
  });

  it("ends at once after an error response over a reliable transport: Timer D is zero", () => {
    const { layer, respond, flow } = calling("tcp");
    respond(404);
    expect(flow.story).toEqual(["INVITE 0", "ACK 0"]);
    expect(layer.size).toBe(0);
  });

  it.each(["calling", "proceeding"])("tells of a failed flow in %s and ends", (state) => {
    const { layer, flow, sender, respond, user } = calling("tcp");
    if (state === "proceeding") respond(180);
    sender.story.length = 0;
    layer.flowFailed(flow, "gone");
    expect(sender.story).toEqual(["transportError gone"]);
    expect(user.story).toEqual([`flowFailed ${flow.id} gone`]);
    expect(layer.size).toBe(0);
    expect(layer.timersRunning).toBe(0);
  });

  it("does not tell of a failed flow once a final response came", () => {
    const { layer, flow, sender, respond } = calling("tcp");
    respond(200);
    layer.flowFailed(flow, "gone");
    expect(sender.story).toEqual(["final 200"]);
  });

  it("goes on by UDP when it went by TCP for its size and there is no TCP (RFC 3261 §18.1.1)", () => {
    const all = setUp("tcp");
    const sender = new Sender();
    const invite = requestToSend("INVITE");
    const transaction = all.layer.send(invite, DESTINATION, sender);
    const udp = new FakeFlow(all.clock, "udp");
    all.useFlow(udp);
    all.flow.connectFailed = true;
    all.layer.flowFailed(all.flow, "ECONNREFUSED");
    expect(sender.story).toEqual([]);
    expect(transaction.flow).toBe(udp);
    all.clock.advance(500);
    expect(udp.story).toEqual(["INVITE 0", "INVITE 500"]);
    expect(invite.headers.count("via")).toBe(1);
    expect(udp.last.via?.transport).toBe("UDP");
    all.receive(answerTo(udp.last, 200), udp);
    expect(sender.story).toEqual(["final 200"]);
  });

  it("tells nothing more once abandoned, but still acknowledges errors", () => {
    const { transaction, respond, sender, flow } = calling();
    transaction.abandon();
    respond(180);
    respond(486);
    expect(sender.story).toEqual([]);
    expect(flow.story).toEqual(["INVITE 0", "ACK 0"]);
  });

  it("hands each 2xx to the router once abandoned, and says whether its dialog is one that was known (RFC 3261 §13.2.2.4)", () => {
    const { transaction, respond, sender, user, clock } = calling();
    respond(200, "t1");
    transaction.abandon("t1");
    respond(200, "t1");
    respond(200, "t2");
    clock.advance(32_100);
    respond(200, "t1");
    expect(sender.story).toEqual(["final 200"]);
    expect(user.story).toEqual(["unwanted 200 t1", "unwanted 200 t2 new"]);
  });

  it("hands the first 2xx to the router too, if it was abandoned before", () => {
    const { transaction, respond, sender, user } = calling();
    transaction.abandon();
    respond(200, "t1");
    expect(sender.story).toEqual([]);
    expect(user.story).toEqual(["unwanted 200 t1 new"]);
  });

  it.each(["before", "after"])(
    "ends 64*T1 after it was abandoned if no final response comes (provisional %s)",
    (when) => {
      const { transaction, respond, layer, clock } = calling();
      if (when === "before") respond(180);
      transaction.abandon();
      if (when === "after") respond(180);
      clock.advance(32_000);
      expect(layer.size).toBe(0);
    },
  );
});

describe("CANCEL by the client (RFC 3261 §9.1)", () => {
  it("waits for a provisional response", () => {
    const { transaction, flow, respond, clock } = calling();
    transaction.cancel();
    clock.advance(700);
    expect(flow.story).toEqual(["INVITE 0", "INVITE 500"]);
    respond(100, "");
    expect(flow.story.at(-1)).toBe("CANCEL 700");
  });

  it("is built from the INVITE: same branch, Request-URI, To, From, Call-ID, CSeq number and Route", () => {
    const { transaction, flow, respond, invite } = calling();
    respond(180, "t1");
    transaction.cancel([["Reason", 'SIP;cause=200;text="Call completed elsewhere"']]);
    const cancel = flow.last;
    expect(cancel.isRequest && `${cancel.method} ${cancel.uri}`).toBe("CANCEL sip:bob@example.com");
    expect(cancel.headers.all("via")).toEqual([invite.headers.get("via")]);
    expect(cancel.headers.get("to")).toBe("<sip:bob@example.com>");
    expect(cancel.headers.get("from")).toBe(invite.headers.get("from"));
    expect(cancel.headers.get("call-id")).toBe("c1");
    expect(cancel.headers.get("cseq")).toBe("1 CANCEL");
    expect(cancel.headers.has("route")).toBe(true);
    expect(cancel.headers.has("require")).toBe(false);
    expect(cancel.headers.get("reason")).toBe('SIP;cause=200;text="Call completed elsewhere"');
  });

  it("is sent once, and again only by its own Timer E until it is answered", () => {
    const { transaction, flow, respond, receive, clock } = calling();
    respond(180);
    flow.clear();
    transaction.cancel();
    transaction.cancel();
    clock.advance(1_600);
    expect(flow.story).toEqual(["CANCEL 0", "CANCEL 500", "CANCEL 1500"]);
    receive(answerTo(flow.last, 200));
    clock.advance(10_000);
    expect(flow.story).toHaveLength(3);
  });

  it("is not sent once a final response came", () => {
    const { transaction, flow, respond } = calling();
    respond(200);
    transaction.cancel();
    expect(flow.story).toEqual(["INVITE 0"]);
  });

  it("is not sent if the final response comes before any provisional one", () => {
    const { transaction, flow, respond, sender } = calling();
    transaction.cancel();
    respond(486);
    expect(flow.story).toEqual(["INVITE 0", "ACK 0"]);
    expect(sender.story).toEqual(["final 486"]);
  });

  it("passes on a 2xx that crosses the CANCEL", () => {
    const { transaction, respond, receive, sender, flow, clock, layer } = calling();
    respond(180);
    transaction.cancel();
    const cancel = flow.last;
    respond(200);
    receive(answerTo(cancel, 200));
    clock.advance(31_000);
    respond(200);
    expect(sender.story).toEqual(["provisional 180", "final 200", "final 200"]);
    clock.advance(32_000);
    expect(layer.size).toBe(0);
  });

  it("ends as the 487 says, which is acknowledged", () => {
    const { transaction, respond, receive, sender, flow } = calling("tcp");
    respond(180);
    transaction.cancel();
    receive(answerTo(flow.last, 200));
    respond(487);
    expect(sender.story).toEqual(["provisional 180", "final 487"]);
    expect(flow.story.at(-1)).toBe("ACK 0");
  });

  it("gives the INVITE up 64*T1 after the CANCEL if it is never answered", () => {
    const { transaction, respond, sender, clock, layer } = calling();
    clock.advance(400);
    respond(180);
    clock.advance(50_000);
    transaction.cancel();
    clock.advance(31_999);
    expect(sender.story).toEqual(["provisional 180"]);
    clock.advance(1);
    expect(sender.story).toEqual(["provisional 180", "timeout"]);
    clock.advance(1);
    expect(layer.size).toBe(0);
  });

  it("does nothing to a request other than INVITE", () => {
    const { layer, flow } = setUp();
    layer.send(requestToSend("INFO"), DESTINATION, new Sender()).cancel();
    expect(flow.story).toEqual(["INFO 0"]);
  });
});
