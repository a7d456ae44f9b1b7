import { describe, expect, it } from "vitest";
import { answerTo, DESTINATION, FakeFlow, requestToSend, Sender, setUp } from "./harness.ts";

function trying(transport: "udp" | "tcp" = "udp", method = "BYE") {
  const all = setUp(transport);
  const sender = new Sender();
  const request = requestToSend(method);
  const transaction = all.layer.send(request, DESTINATION, sender);
  return { ...all, sender, transaction, respond: (status: number) => all.receive(answerTo(request, status)) };
}

describe("non-INVITE client transaction (RFC 3261 §17.1.2)", () => {
  it("retransmits at 0.5, 1.5, 3.5, 7.5, 11.5 ... s and gives up at 32 s (Timers E and F)", () => {
    const { clock, flow, sender, layer } = trying();
    clock.advance(31_999);
    const times = [0, 500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500];
    expect(flow.story).toEqual(times.map((at) => `BYE ${at}`));
    clock.advance(1);
    expect(sender.story).toEqual(["timeout"]);
    expect(layer.size).toBe(0);
    expect(layer.timersRunning).toBe(0);
  });

  it("does not retransmit over a reliable transport", () => {
    const { clock, flow, sender } = trying("tcp");
    clock.advance(32_000);
    expect(flow.story).toEqual(["BYE 0"]);
    expect(sender.story).toEqual(["timeout"]);
  });

  it("retransmits every T2 once a provisional response came, and still gives up at 32 s", () => {
    const { clock, flow, sender, respond } = trying();
    clock.advance(600);
    respond(100);
    clock.advance(31_400);
    expect(flow.story).toEqual(
      [0, 500, 1500, 5500, 9500, 13_500, 17_500, 21_500, 25_500, 29_500].map((at) => `BYE ${at}`),
    );
    expect(sender.story).toEqual(["provisional 100", "timeout"]);
  });

  it.each([200, 302, 481, 500, 603])(
    "passes the final response %i up once, absorbs it for T4 and ends (Timer K)",
    (status) => {
      const { clock, flow, sender, respond, layer } = trying();
      respond(status);
      respond(status);
      clock.advance(4_999);
      respond(status);
      expect(sender.story).toEqual([`final ${status}`]);
      expect(flow.story).toEqual(["BYE 0"]);
      expect(layer.size).toBe(1);
      clock.advance(1);
      expect(layer.size).toBe(0);
    },
  );

  it("ends at the final response over a reliable transport: Timer K is zero", () => {
    const { sender, respond, layer } = trying("tcp");
    respond(100);
    respond(200);
    expect(sender.story).toEqual(["provisional 100", "final 200"]);
    expect(layer.size).toBe(0);
    expect(layer.timersRunning).toBe(0);
  });

  it("tells of a failed flow and ends", () => {
    const { layer, flow, sender } = trying("tcp");
    layer.flowFailed(flow, "gone");
    expect(sender.story).toEqual(["transportError gone"]);
    expect(layer.size).toBe(0);
  });

  it("goes on by UDP when it went by TCP for its size and there is no TCP (RFC 3261 §18.1.1)", () => {
    const { layer, flow, sender, clock, useFlow, transaction } = trying("tcp", "MESSAGE");
    const udp = new FakeFlow(clock, "udp");
    useFlow(udp);
    flow.connectFailed = true;
    layer.flowFailed(flow, "ECONNREFUSED");
    expect(transaction.flow).toBe(udp);
    clock.advance(500);
    expect(udp.story).toEqual(["MESSAGE 0", "MESSAGE 500"]);
    clock.advance(31_500);
    expect(sender.story).toEqual(["timeout"]);
    expect(layer.size).toBe(0);
  });

  it("tells nothing more once abandoned", () => {
    const { transaction, respond, sender, clock, layer } = trying();
    transaction.abandon();
    respond(200);
    clock.advance(5_000);
    expect(sender.story).toEqual([]);
    expect(layer.size).toBe(0);
  });
});
