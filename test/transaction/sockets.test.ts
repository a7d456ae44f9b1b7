import { afterEach, describe, expect, it } from "vitest";
import { SipResponse } from "../../src/sip/message.ts";
import { systemClock } from "../../src/support/clock.ts";
import { systemRandom } from "../../src/support/random.ts";
import { createTransactionLayer } from "../../src/transaction/layer.ts";
import type { ServerTransaction } from "../../src/transaction/types.ts";
import { createTransportLayer, type TransportLayerOptions } from "../../src/transport/layer.ts";
import { Queue, to } from "../transport/harness.ts";
import { requestToSend } from "./harness.ts";

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

/** A transport and a transaction layer on loopback, as the relay puts them together. */
async function start(listen: TransportLayerOptions["listen"]) {
  const transport = createTransportLayer({ listen, clock: systemClock });
  const requests = new Queue<ServerTransaction>();
  const acks = new Queue<string>();
  const failures = new Queue<string>();
  const layer = createTransactionLayer({
    transport,
    clock: systemClock,
    random: systemRandom,
    timers: { t1Ms: 50, t2Ms: 400, t4Ms: 500 },
    user: {
      request: (transaction) => requests.push(transaction),
      ack: (ack) => acks.push(`ack ${ack.cseq?.number}`),
      flowFailed: (_flow, reason) => failures.push(reason),
    },
  });
  transport.attach(layer);
  await transport.start();
  closers.push(async () => {
    layer.close();
    await transport.close();
  });
  const port = (name: string) => transport.listening.find((listener) => listener.transport === name)?.port ?? 0;
  return { layer, requests, acks, failures, port };
}

const udp = { transport: "udp", address: "127.0.0.1", port: 0 } as const;
const tcp = { transport: "tcp", address: "127.0.0.1", port: 0 } as const;

function sender() {
  const told = new Queue<string>();
  return {
    told,
    provisional: (response: SipResponse) => told.push(`provisional ${response.status}`),
    final: (response: SipResponse) => told.push(`final ${response.status}`),
    timeout: () => told.push("timeout"),
    transportError: (reason: string) => told.push(reason),
  };
}

describe("transactions over real sockets", () => {
  it.each(["udp", "tcp"] as const)("INVITE, 180, 200, ACK and BYE over %s", async (transport) => {
    const [client, server] = [await start([udp, tcp]), await start([udp, tcp])];
    const there = to(transport, server.port(transport));
    const inviting = sender();
    const invite = client.layer.send(requestToSend("INVITE"), there, inviting);
    const received = await server.requests.next();
    expect(received.flow.transport).toBe(transport);
    received.respond(new SipResponse(180, "Ringing"));
    received.respond(new SipResponse(200, "OK"));
    expect(await inviting.told.next()).toBe("provisional 180");
    expect(await inviting.told.next()).toBe("final 200");
    client.layer.sendAck(requestToSend("ACK"), there, invite.flow);
    expect(await server.acks.next()).toBe("ack 1");
    const leaving = sender();
    client.layer.send(requestToSend("BYE"), there, leaving);
    (await server.requests.next()).respond(new SipResponse(200, "OK"));
    expect(await leaving.told.next()).toBe("final 200");
  });

  it("a large request to a peer that has UDP only gets there all the same (RFC 3261 §18.1.1)", async () => {
    const [client, server] = [await start([udp, tcp]), await start([udp])];
    const message = requestToSend("MESSAGE");
    message.body = Buffer.alloc(3_000, "x");
    const asking = sender();
    const transaction = client.layer.send(message, to("udp", server.port("udp")), asking);
    expect(transaction.flow.transport).toBe("tcp");
    const received = await server.requests.next();
    expect(received.request.body.length).toBe(3_000);
    expect(received.request.via?.transport).toBe("UDP");
    received.respond(new SipResponse(200, "OK"));
    expect(await asking.told.next()).toBe("final 200");
    expect(transaction.flow.transport).toBe("udp");
  });

  it("a request to a port where nobody listens by TCP fails at once", async () => {
    const client = await start([udp, tcp]);
    const asking = sender();
    client.layer.send(requestToSend("OPTIONS"), to("tcp", client.port("udp")), asking);
    expect(await asking.told.next()).toBe("tcp ECONNREFUSED");
    expect(client.layer.size).toBe(0);
  });

  it("an INVITE whose connection is gone tells the client's side and the server's side", async () => {
    const [client, server] = [await start([tcp]), await start([tcp])];
    const inviting = sender();
    client.layer.send(requestToSend("INVITE"), to("tcp", server.port("tcp")), inviting);
    const received = await server.requests.next();
    const gone = new Promise<string>((resolve) => {
      received.onFlowFailed = resolve;
    });
    await closers.shift()?.();
    expect(await gone).toBe("tcp closed by peer");
    expect(await server.failures.next()).toBe("tcp closed by peer");
  });
});
