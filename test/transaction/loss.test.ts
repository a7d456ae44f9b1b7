import { describe, expect, it } from "vitest";
import { SipResponse } from "../../src/sip/message.ts";
import { parseMessage } from "../../src/sip/parse.ts";
import { serialize } from "../../src/sip/serialize.ts";
import { createTransactionLayer, type Transactions } from "../../src/transaction/layer.ts";
import type { ServerTransaction } from "../../src/transaction/types.ts";
import type { Flow, TransportLayer } from "../../src/transport/types.ts";
import { TestClock } from "../support/test-clock.ts";
import { countingRandom, DESTINATION, requestToSend, Sender } from "./harness.ts";

/** Numbers that look random and are the same each time. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}

interface Weather {
  readonly lost: number;
  readonly doubled: number;
  readonly latestMs: number;
}

/** Two layers, and a network between them that loses, doubles and delays datagrams. */
function twoEnds(seed: number, weather: Weather) {
  const clock = new TestClock();
  const next = seeded(seed);
  const ends: { layer?: Transactions; flow?: Flow }[] = [{}, {}];
  const deliver = (bytes: Buffer, end: number) => {
    if (next() < weather.lost) return;
    for (let copies = next() < weather.doubled ? 2 : 1; copies > 0; copies--)
      clock.setTimeout(
        () => {
          const parsed = parseMessage(bytes, "datagram");
          const { layer, flow } = ends[end]!;
          if (parsed.ok && layer && flow) layer.received(parsed.value, flow);
        },
        1 + next() * weather.latestMs,
      );
  };
  for (const end of [0, 1]) {
    const flow: Flow = {
      id: `udp/${end}`,
      transport: "udp",
      reliable: false,
      secure: false,
      remoteAddress: "192.0.2.1",
      remotePort: 5060,
      open: true,
      send: (bytes) => deliver(bytes, 1 - end),
    };
    const transport: TransportLayer = {
      sendRequest(request, _destination, branch) {
        request.headers.prepend("Via", `SIP/2.0/UDP 192.0.2.${end}:5060;branch=${branch}`);
        request.changed();
        const bytes = serialize(request);
        flow.send(bytes);
        return { flow, bytes };
      },
      contactFor: () => "",
      contactTowards: () => "",
    };
    ends[end] = { flow, layer: createTransactionLayer({ transport, clock, random: countingRandom() }) };
  }
  return { clock, client: ends[0]!.layer!, server: ends[1]!.layer! };
}

const BAD: Weather = { lost: 0.3, doubled: 0.2, latestMs: 300 };

describe("over a network that loses 30%, doubles 20% and reorders (RFC 3261 §17)", () => {
  it.each(["OPTIONS", "INVITE"])("every %s reaches the user once and its answer comes back once", (method) => {
    const { clock, client, server } = twoEnds(7, BAD);
    const seen = new Map<string, number>();
    let acks = 0;
    server.attach({
      request(transaction) {
        const id = transaction.request.callId;
        seen.set(id, (seen.get(id) ?? 0) + 1);
        transaction.onAck = (ack) => {
          if (ack) acks++;
        };
        clock.setTimeout(() => transaction.respond(new SipResponse(486, "Busy Here")), 50);
      },
      ack: () => expect.fail("an ACK for an error response is the transaction's"),
      flowFailed: () => undefined,
    });
    const senders = Array.from({ length: 100 }, (_, i) => {
      const request = requestToSend(method);
      request.headers.set("Call-ID", `call-${i}`);
      const sender = new Sender();
      client.send(request, DESTINATION, sender);
      return sender;
    });
    clock.advance(100_000);
    for (const { story } of senders)
      expect(story.filter((line) => !line.startsWith("provisional"))).toEqual(["final 486"]);
    expect([...seen.values()]).toEqual(Array(100).fill(1));
    if (method === "INVITE") expect(acks).toBe(100);
    expect([client.size, server.size, client.timersRunning, server.timersRunning]).toEqual([0, 0, 0, 0]);
  });

  it("every 2xx gets through when the user repeats it until the ACK (RFC 6026)", () => {
    const { clock, client, server } = twoEnds(11, BAD);
    const unacknowledged = new Set<string>();
    const repeat = (transaction: ServerTransaction, response: SipResponse, afterMs: number) => {
      transaction.respond(response);
      clock.setTimeout(() => {
        if (unacknowledged.has(transaction.request.callId)) repeat(transaction, response, Math.min(4_000, 2 * afterMs));
      }, afterMs);
    };
    server.attach({
      request(transaction) {
        unacknowledged.add(transaction.request.callId);
        repeat(transaction, new SipResponse(200, "OK"), 500);
      },
      ack: (ack) => unacknowledged.delete(ack.callId),
      flowFailed: () => undefined,
    });
    let answered = 0;
    for (let i = 0; i < 100; i++) {
      const invite = requestToSend("INVITE");
      invite.headers.set("Call-ID", `call-${i}`);
      let first = true;
      client.send(invite, DESTINATION, {
        final(response) {
          expect(response.status).toBe(200);
          if (first) answered++;
          first = false;
          const ack = requestToSend("ACK");
          ack.headers.set("Call-ID", response.callId);
          client.sendAck(ack, DESTINATION);
        },
        timeout: () => expect.fail("timeout"),
        transportError: () => expect.fail("transport error"),
      });
    }
    clock.advance(100_000);
    expect(answered).toBe(100);
    expect(unacknowledged.size).toBe(0);
    expect([client.size, server.size]).toEqual([0, 0]);
  });

  it("every cancelled INVITE ends once, whichever message is lost", () => {
    const { clock, client, server } = twoEnds(13, BAD);
    server.attach({
      request(transaction) {
        transaction.respond(new SipResponse(180, "Ringing"));
        const repeat = clock.setTimeout(() => transaction.respond(new SipResponse(180, "Ringing")), 2_000);
        transaction.onCancel = () => {
          clock.clearTimeout(repeat);
          transaction.respond(new SipResponse(487, "Request Terminated"));
        };
      },
      ack: () => undefined,
      flowFailed: () => undefined,
    });
    const senders = Array.from({ length: 100 }, (_, i) => {
      const invite = requestToSend("INVITE");
      invite.headers.set("Call-ID", `call-${i}`);
      const sender = new Sender();
      const transaction = client.send(invite, DESTINATION, sender);
      clock.setTimeout(() => transaction.cancel(), i * 10);
      return sender;
    });
    clock.advance(200_000);
    for (const { story } of senders) {
      const ends = story.filter((line) => !line.startsWith("provisional"));
      expect(ends).toHaveLength(1);
    }
    expect(senders.filter(({ story }) => story.includes("final 487")).length).toBeGreaterThan(95);
    expect(client.size).toBe(0);
  });
});
