import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DOMAIN, openPortal, type Portal } from "../e2e/portal.ts";
import { dialLine, type Stream } from "../e2e/stream-peer.ts";
import { authority, certificateFolder } from "../support/certificates.ts";
import { ANSWERS } from "./answers.ts";
import { loadTorture } from "./torture.ts";

/*
 * The torture messages against a running relay, over every transport with connections. A WebSocket says where a message
 * ends; on TCP and TLS that is what Content-Length says.
 */

const STREAMS: readonly Stream[] = ["tcp", "tls", "ws", "wss"];
const ca = authority();
const files = certificateFolder([`DNS:${DOMAIN}`], ca);
const messages = loadTorture();

/** What is different where Content-Length alone says where a message ends (RFC 3261 §18.3). */
const IN_STREAMS: Readonly<Record<string, number[]>> = {
  dblreq: [404, 401], // two messages, and both are read
  clerr: [], // says that it is longer than it is: the rest never comes
  baddn: [], // its header fields have no end
  inv2543: [400], // has a body, and does not say how long it is
};

const open = () =>
  openPortal({
    config: {
      listen: STREAMS.map((transport) => ({ transport, address: "127.0.0.1", port: 0 })),
      tls: { cert: files.cert, key: files.key },
      timers: { t1Ms: 10_000, t2Ms: 60_000 },
    },
  });

/** What is answered to each of the messages, on a connection of its own. */
async function answersBy(portal: Portal, transport: Stream): Promise<Record<string, number[]>> {
  const { port } = portal.relay.addresses.find((one) => one.transport === transport)!;
  const all: Record<string, number[]> = {};
  for (const { name, bytes } of messages) {
    const found: number[] = [];
    const line = await dialLine(transport, port, { ca: ca.cert }, (answer) => {
      const text = answer.toString("latin1");
      if (!text.includes("branch=z9hG4bKbarrier")) found.push(Number(/^SIP\/2\.0 (\d{3}) /.exec(text)?.[1]));
      else if (transport === "ws" || transport === "wss") line.end();
    });
    line.send(bytes);
    line.send(barrier(transport));
    if (transport === "tcp" || transport === "tls") line.end();
    await line.closed;
    all[name] = found;
  }
  return all;
}

const barrier = (transport: Stream): Buffer =>
  Buffer.from(
    [
      `OPTIONS sip:${DOMAIN} SIP/2.0`,
      `Via: SIP/2.0/${transport.toUpperCase()} x.invalid;branch=z9hG4bKbarrier`,
      "From: <sip:tester@x.invalid>;tag=1",
      `To: <sip:${DOMAIN}>`,
      "Call-ID: barrier",
      "CSeq: 1 OPTIONS",
      "Max-Forwards: 70",
      "Content-Length: 0",
      "\r\n",
    ].join("\r\n"),
  );

let relays: Portal[];
beforeAll(async () => {
  relays = await Promise.all(STREAMS.map(open));
});
afterAll(async () => {
  await Promise.all((relays ?? []).map((relay) => relay.close()));
});

describe("the messages of RFC 4475 and RFC 5118", () => {
  it.each(STREAMS)("over %s are answered as over UDP, but for what has no end there", async (transport) => {
    const portal = relays[STREAMS.indexOf(transport)]!;
    const found = await answersBy(portal, transport);
    const special = transport === "tcp" || transport === "tls" ? IN_STREAMS : {};
    const expected = messages.map(({ name, kind }) => {
      const answers = kind === "response" ? [] : [ANSWERS[name]!];
      return [name, special[name] ?? answers] as const;
    });
    expect(found).toEqual(Object.fromEntries(expected));
    expect(portal.relay.counters.crashed).toBe(0);
    expect(portal.relay.sessions()).toEqual([]);
  });
});
