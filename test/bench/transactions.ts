import { Headers, SipRequest, SipResponse } from "../../src/sip/message.ts";
import { parseMessage } from "../../src/sip/parse.ts";
import { responseTo } from "../../src/sip/response.ts";
import { serialize } from "../../src/sip/serialize.ts";
import { systemClock } from "../../src/support/clock.ts";
import { systemRandom } from "../../src/support/random.ts";
import { TimerQueues } from "../../src/support/timer-queues.ts";
import { createTransactionLayer } from "../../src/transaction/layer.ts";
import type { Flow, TransportLayer } from "../../src/transport/types.ts";

/*
 * What the transactions of one relayed INVITE cost: a server transaction towards the client and a client transaction
 * towards the app server, from the bytes of the INVITE to those of the 200, over UDP, without sockets. Run with plain
 * node, `--expose-gc` for the bytes.
 */

const PAIRS = 40_000;
const BODY = "x".repeat(200);

const flow = (): Flow => ({
  id: "udp/192.0.2.1:5060",
  transport: "udp",
  reliable: false,
  secure: false,
  remoteAddress: "192.0.2.1",
  remotePort: 5060,
  open: true,
  send() {},
});

/** Sends nowhere, and makes the Via as the real one does. */
const transport: TransportLayer = {
  sendRequest(request, _destination, branch) {
    request.headers.prepend("Via", `SIP/2.0/UDP 198.51.100.1:5060;rport;branch=${branch}`);
    request.changed();
    return { flow: flow(), bytes: serialize(request) };
  },
  contactFor: () => "198.51.100.1:5060",
  contactTowards: () => "198.51.100.1:5060",
};

function inviteBytes(n: number): Buffer {
  const lines = [
    "INVITE sip:service1@portal.example.com SIP/2.0",
    `Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-${n}-1-0;received=192.0.2.1;rport=5060`,
    "Max-Forwards: 70",
    `From: "Alice" <sip:alice@portal.example.com>;tag=from${n}`,
    "To: <sip:service1@portal.example.com>",
    `Call-ID: ${n}-12345@192.0.2.1`,
    "CSeq: 1 INVITE",
    "Contact: <sip:alice@192.0.2.1:5060>",
    "Content-Type: application/xml",
    `Content-Length: ${BODY.length}`,
  ];
  return Buffer.from(`${lines.join("\r\n")}\r\n\r\n${BODY}`, "latin1");
}

function read(bytes: Buffer) {
  const parsed = parseMessage(bytes, "datagram");
  if (!parsed.ok) throw new Error(parsed.error.reason);
  return parsed.value;
}

/** The INVITE of the second leg, roughly as a relay makes it. */
function onward(invite: SipRequest): SipRequest {
  const fields = invite.headers.fields.filter(({ key }) => key !== "via");
  return new SipRequest(invite.method, invite.uri, new Headers(fields), invite.body);
}

/** The messages alone, with no transaction: what is read and written for one INVITE in both directions. */
function messagesOnly(n: number): number {
  const invite = read(inviteBytes(n));
  if (!invite.isRequest) return 0;
  const request = onward(invite);
  const sent = transport.sendRequest(request, { transport: "udp", address: "192.0.2.2", port: 5060 }, `z9hG4bK${n}`);
  let bytes = sent.bytes.length;
  for (const status of [180, 200]) {
    const response = read(serialize(responseTo(request, status, undefined, "t")));
    bytes += response.headers.fields.length + serialize(responseTo(invite, status, undefined, "t")).length;
  }
  return bytes;
}

function timeOf(what: string, count: number, run: (n: number) => unknown): number {
  const from = process.cpuUsage();
  for (let n = 0; n < count; n++) run(n);
  const used = process.cpuUsage(from);
  const perRun = (used.user + used.system) / count;
  console.log(`${what.padEnd(64)} ${perRun.toFixed(2).padStart(8)} µs`);
  return perRun;
}

function heapUsed(): number {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed + process.memoryUsage().external;
}

function pairs(): void {
  const layer = createTransactionLayer({
    transport,
    clock: systemClock,
    random: systemRandom,
    bounds: { maxTransactions: 1_000_000 },
    user: {
      request(incoming) {
        // What the user lets go of once it has answered is not the layer's to hold.
        let server: typeof incoming | undefined = incoming;
        const request = onward(incoming.request);
        const client = layer.send(
          request,
          { transport: "udp", address: "192.0.2.2", port: 5060 },
          {
            provisional: () => server?.respond(new SipResponse(180, "Ringing")),
            final: () => {
              server?.respond(new SipResponse(200, "OK"));
              server = undefined;
            },
            timeout: () => undefined,
            transportError: () => undefined,
          },
        );
        for (const status of [180, 200])
          layer.received(read(serialize(responseTo(request, status, undefined, "t"))), client.flow);
      },
      ack: () => undefined,
      flowFailed: () => undefined,
    },
  });
  const incoming = flow();
  const run = (n: number) => layer.received(read(inviteBytes(n)), incoming);
  for (let n = 0; n < 5_000; n++) run(-n);
  for (let n = 0; n < 5_000; n++) messagesOnly(n);
  const before = heapUsed();
  const whole = timeOf("an INVITE server and client transaction, with 180 and 200", PAIRS, run);
  const held = (heapUsed() - before) / PAIRS;
  const messages = timeOf("  of that: reading and writing the messages", PAIRS, messagesOnly);
  console.log(`${"  of that: the transactions".padEnd(64)} ${(whole - messages).toFixed(2).padStart(8)} µs`);
  if (globalThis.gc)
    console.log(`${"held for 32 s by such a pair once answered".padEnd(64)} ${held.toFixed(0).padStart(8)} bytes`);
  if (layer.stats.strayResponses > 0) throw new Error("responses did not find their transactions");
  console.log(`${"transactions alive".padEnd(64)} ${String(layer.size).padStart(8)}`);
  layer.close();
}

function timers(): void {
  const queues = new TimerQueues(systemClock, () => undefined);
  const owner = { timerFired() {} };
  const live = Array.from({ length: 100_000 }, () => queues.start(owner, "B", 32_000));
  timeOf("a timer started and stopped: queues, 100,000 running", 200_000, () =>
    queues.stop(queues.start(owner, "A", 500)),
  );
  for (const timer of live) queues.stop(timer);
  queues.close();
  const handles = Array.from({ length: 100_000 }, () => setTimeout(() => owner.timerFired(), 32_000));
  timeOf("the same with setTimeout and a closure", 200_000, () =>
    clearTimeout(setTimeout(() => owner.timerFired(), 500)),
  );
  for (const handle of handles) clearTimeout(handle);
}

pairs();
timers();
