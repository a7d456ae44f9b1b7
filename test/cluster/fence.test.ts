import { beforeEach, describe, expect, it } from "vitest";
import { Fence } from "../../src/cluster/fence.ts";
import type { TransportUser } from "../../src/transport/types.ts";
import { silent } from "../charging/samples.ts";
import { TestClock } from "../support/test-clock.ts";

let clock: TestClock;
let fence: Fence;
let until: number;
let came: unknown[];
let user: TransportUser;
beforeEach(() => {
  clock = new TestClock();
  until = 300;
  came = [];
  fence = new Fence({ clock, log: silent, until: () => until });
  user = fence.before({
    received: (message) => void came.push(message),
    malformed: () => {},
    flowFailed: (_flow, reason) => void came.push(reason),
  });
});

describe("the fence (P3)", () => {
  it("shuts by the clock alone, whatever the event loop turns to first; what comes and is due waits, in its order", () => {
    fence.clockBehind().setTimeout(() => came.push("timer"), 400);
    clock.advance(299);
    expect(fence.mutes()).toBe(false);
    clock.advance(1);
    expect(fence.mutes()).toBe(true);
    user.received("message" as never, {} as never);
    clock.advance(200);
    user.flowFailed({} as never, "gone");
    expect(came).toEqual([]);
    until = Number.POSITIVE_INFINITY;
    expect(fence.mutes()).toBe(true); // until it knows
    fence.reopen();
    expect(came).toEqual(["message", "timer", "gone"]);
  });

  it.each([
    { hasLost: false, sent: ["response", "message"] },
    { hasLost: true, sent: ["message"] },
  ])("sends what was to go by a connection when it opens, unless others have taken something up: $hasLost", (story) => {
    fence.close();
    fence.sendLater(10, () => came.push("response"));
    fence.sendLater(20_000_000, () => came.push("too long"));
    user.received("message" as never, {} as never);
    expect(came).toEqual([]);
    fence.reopen(story.hasLost);
    expect(came).toEqual(story.sent);
    fence.close();
    fence.reopen();
    expect(came).toEqual(story.sent);
  });

  it("goes on with the rest when one of those that waited fails", () => {
    fence.close();
    fence.hold(() => {
      throw new Error("a fault");
    });
    fence.hold(() => came.push("the next"));
    fence.reopen();
    expect(came).toEqual(["the next"]);
  });

  it("drops no timer, however many messages wait", () => {
    fence.close();
    for (let i = 0; i < 30_000; i++) user.received(i as never, {} as never);
    const timers = fence.clockBehind();
    for (let i = 0; i < 500; i++) timers.setTimeout(() => came.push("timer"), 0);
    clock.advance(1);
    until = Number.POSITIVE_INFINITY;
    fence.reopen();
    expect(came.filter((one) => one === "timer")).toHaveLength(500);
    expect(came).toHaveLength(20_500);
    expect(fence.stats.dropped).toBe(10_000);
  });

  it("drops messages whose senders have given up: no app server rings for a client that is gone", () => {
    fence.close();
    user.received("old" as never, {} as never);
    clock.advance(31_000);
    user.received("new" as never, {} as never);
    user.flowFailed({} as never, "gone");
    clock.advance(1_500);
    until = Number.POSITIVE_INFINITY;
    fence.reopen();
    expect(came).toEqual(["new", "gone"]);
  });

  it("begins no call that has waited, if its client sends it again (RFC 3261 §17.1.1.2); nor one read after a stop", () => {
    const invite = (name: string) => ({ isRequest: true, method: "INVITE", toTag: undefined, name }) as never;
    const [udp, tcp] = [{ reliable: false } as never, { reliable: true } as never];
    clock.advance(2_000); // the process was stopped, and what came meanwhile lies in its socket
    user.received(invite("before the stop"), udp);
    user.received(invite("over a connection"), tcp);
    user.received({ isRequest: true, method: "INVITE", toTag: "t" } as never, udp);
    clock.advance(250);
    user.received(invite("after it"), udp);
    clock.advance(100);
    until = Number.POSITIVE_INFINITY;
    fence.reopen();
    expect(came).toEqual([
      expect.objectContaining({ name: "over a connection" }),
      expect.objectContaining({ toTag: "t" }),
      expect.objectContaining({ name: "after it" }),
    ]);
    expect(fence.stats.dropped).toBe(1);
  });

  it("drops nothing that comes while another node joins, which has not heard this one yet", () => {
    const invite = (name: string) => ({ isRequest: true, method: "INVITE", toTag: undefined, name }) as never;
    clock.advance(200);
    expect(fence.open).toBe(true);
    clock.advance(50);
    until = Number.NEGATIVE_INFINITY;
    user.received(invite("by a connection"), { reliable: true } as never);
    user.received(invite("by UDP"), { reliable: false } as never);
    user.received("a response" as never, {} as never);
    clock.advance(40);
    until = Number.POSITIVE_INFINITY;
    fence.reopen();
    expect(came).toHaveLength(3);
    expect(fence.stats.dropped).toBe(0);
  });

  it("does not go on with what waited when it shuts again meanwhile", () => {
    fence.close();
    fence.hold(() => clock.advance(1_000));
    fence.hold(() => came.push("later"));
    fence.reopen();
    expect(came).toEqual([]);
    until = Number.POSITIVE_INFINITY;
    fence.reopen();
    expect(came).toEqual(["later"]);
  });

  it("forgets a timer that was cleared while it waited", () => {
    const timers = fence.clockBehind();
    const handle = timers.setTimeout(() => came.push("timer"), 400);
    clock.advance(500);
    timers.clearTimeout(handle);
    until = Number.POSITIVE_INFINITY;
    fence.reopen();
    expect(came).toEqual([]);
  });
});
