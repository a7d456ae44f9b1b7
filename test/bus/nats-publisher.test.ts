import type { NatsConnection } from "@nats-io/transport-node";
import { describe, expect, it } from "vitest";
import { NatsPublisher, type Outgoing } from "../../src/bus/nats-publisher.ts";
import { TestClock } from "../support/test-clock.ts";

const message = (id: string): Outgoing => ({ subject: "events", headers: [["Nats-Msg-Id", id]], text: id });

/** A publisher whose servers say what the test says. */
function lab() {
  const clock = new TestClock();
  const sent: string[] = [];
  let replyTo = "";
  let hear: (error: null, message: unknown) => void = () => {};
  const nc = {
    subscribe: (_: string, { callback }: { callback: typeof hear }) => {
      hear = callback;
      return { unsubscribe: () => {} };
    },
    publish: (_: string, text: string, { reply }: { reply: string }) => {
      sent.push(text);
      replyTo = reply;
    },
  } as unknown as NatsConnection;
  const publisher = new NatsPublisher(nc, clock);
  return {
    ...{ clock, sent, publisher },
    acknowledges: (sequence: number, more = "") =>
      hear(null, { subject: replyTo, string: () => `{"stream":"EVENTS", "seq":${sequence}${more}}` }),
  };
}

/** What has become of it so far. */
async function stateOf(promise: Promise<void>): Promise<string> {
  return Promise.race([promise.then(() => "taken").catch(String), new Promise<string>((r) => setImmediate(r, "open"))]);
}

describe("a publication to NATS (P2)", () => {
  it("is taken when the stream has each of its messages, and not when it says so twice of one", async () => {
    const { publisher, acknowledges, clock } = lab();
    const publication = publisher.publish("EVENTS", ["a", "b"].map(message));
    acknowledges(7);
    acknowledges(7, ',"duplicate": true');
    expect(await stateOf(publication)).toBe("open");
    acknowledges(8);
    expect(await stateOf(publication)).toBe("taken");
    expect(clock.armed).toBe(0);
  });

  it("is not taken where a server knows a message that is not in the stream yet", async () => {
    const { publisher, acknowledges, clock } = lab();
    const publication = publisher.publish("EVENTS", [message("a")]);
    acknowledges(0, ',"duplicate": true');
    expect(await stateOf(publication)).toBe("open");
    clock.advance(5_000);
    expect(await stateOf(publication)).toBe("Error: NATS acknowledges nothing");
  });

  it("is taken where one message is in it twice", async () => {
    const { publisher, acknowledges } = lab();
    const publication = publisher.publish("EVENTS", ["a", "a", "b"].map(message));
    acknowledges(1);
    acknowledges(1, ',"duplicate": true');
    acknowledges(2);
    expect(await stateOf(publication)).toBe("taken");
  });

  it("does not hold up others by what was answered too often or never", async () => {
    const { publisher, acknowledges, sent, clock } = lab();
    const many = (name: string) => Array.from({ length: 2_000 }, (_, n) => message(`${name}${n}`));
    const first = publisher.publish("EVENTS", many("a"));
    for (let n = 0; n < 5_000; n++) acknowledges(1 + (n % 1_999));
    clock.advance(10_000);
    expect(await stateOf(first)).toMatch(/acknowledges nothing/);
    const second = publisher.publish("EVENTS", many("b"));
    expect(sent.length).toBe(4_000);
    for (let n = 0; n < 2_000; n++) acknowledges(10_000 + n);
    expect(await stateOf(second)).toBe("taken");
  });
});
