import { createSocket } from "node:dgram";
import { once } from "node:events";
import { describe, expect, onTestFinished } from "vitest";
import { parseMessage } from "../../src/sip/parse.ts";
import { reasonPhrase, responseTo } from "../../src/sip/response.ts";
import { serialize } from "../../src/sip/serialize.ts";
import { DOMAIN, openPortal, USER } from "../e2e/portal.ts";
import { dialLine, type Line, type Stream } from "../e2e/stream-peer.ts";
import { authority, certificateFolder } from "../support/certificates.ts";
import { itUnless } from "../support/unless.ts";
import { missing, protosCases } from "./protos.ts";

/*
 * The PROTOS messages over every transport with connections. What can be read goes on to an app server, which is busy.
 * Above TLS the bytes go the same way as above TCP, so there it is a part of them.
 */

const ca = authority();
const files = certificateFolder([`DNS:${DOMAIN}`], ca);

/** An app server that is busy, and the messages to it that it could not read. */
async function shop() {
  const unreadable: string[] = [];
  const socket = createSocket("udp4");
  onTestFinished(() => void socket.close());
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  socket.on("message", (bytes, { port }) => {
    const read = parseMessage(bytes, "datagram");
    if (!read.ok) unreadable.push(read.error.reason);
    else if (read.value.isRequest && read.value.method !== "ACK") {
      const status = read.value.method === "INVITE" ? 486 : 200;
      socket.send(serialize(responseTo(read.value, status, reasonPhrase(status), "shop")), port, "127.0.0.1");
    }
  });
  return { unreadable, uri: `sip:127.0.0.1:${socket.address().port}` };
}

const cases = (step: number): Buffer[] => {
  const all = protosCases((index) => ({
    To: `wine@${DOMAIN}`,
    From: `${USER}:correct%20horse@${DOMAIN}`,
    "From-Address": "127.0.0.1",
    "From-IP": "127.0.0.1",
    "Local-Port": "9",
    "Branch-ID": String(index),
    "Call-ID": `protos-${index}`,
    CSeq: "7",
  }));
  return [...all].filter((_, i) => i % step === 0).map(({ invite }) => invite);
};

const barrier = (branch: string): Buffer =>
  Buffer.from(
    [
      `OPTIONS sip:${DOMAIN} SIP/2.0`,
      `Via: SIP/2.0/WS x.invalid;branch=${branch}`,
      "From: <sip:tester@x.invalid>;tag=1",
      `To: <sip:${DOMAIN}>`,
      `Call-ID: ${branch}`,
      "CSeq: 1 OPTIONS",
      "Max-Forwards: 70",
      "Content-Length: 0",
      "\r\n",
    ].join("\r\n"),
  );

describe("a running relay takes the PROTOS messages", () => {
  itUnless(missing).each<[Stream, number]>([
    ["tcp", 1],
    ["tls", 20],
    ["ws", 1],
    ["wss", 4],
  ])("over %s, and lives", { timeout: 40_000 }, async (transport, step) => {
    const { uri, unreadable } = await shop();
    const portal = await openPortal({
      config: {
        listen: [
          { transport, address: "127.0.0.1", port: 0 },
          { transport: "udp", address: "127.0.0.1", port: 0 },
        ],
        tls: { cert: files.cert, key: files.key },
        authentication: { fromPassword: "always", fromMustMatch: false },
        limits: { perSourcePerSecond: 0 },
        services: [{ id: "wine" }],
        // biome-ignore lint/suspicious/noThenProperty: a rule says when and then
        rules: [{ name: "everything", then: { service: "wine" } }],
        appServers: [{ id: "shop", uri, services: ["wine"] }],
      },
    });
    onTestFinished(() => portal.close());
    const { port } = portal.relay.addresses[0]!;
    let answered = (_branch: string) => {};
    const dial = () =>
      dialLine(transport, port, { ca: ca.cert }, (bytes) => {
        const branch = /branch=(z9hG4bKbarrier\d+)/.exec(bytes.toString("latin1", 0, 2_000))?.[1];
        if (branch !== undefined) answered(branch);
      });
    let line: Line | undefined;
    let barriers = 0;
    /** Resolves when all that was sent on the connection is dealt with, or the relay has closed it. */
    const dealtWith = async (one: Line) => {
      const branch = `z9hG4bKbarrier${++barriers}`;
      const seen = new Promise<void>((resolve) => {
        answered = (which) => which === branch && resolve();
      });
      one.send(barrier(branch));
      await Promise.race([seen, one.closed]);
    };
    for (const [i, invite] of cases(step).entries()) {
      if (transport === "tcp" || transport === "tls") {
        // Where such a message ends nobody knows: each has a connection of its own.
        const own = await dial();
        own.send(invite);
        own.end();
        await own.closed;
        continue;
      }
      line ??= await dial();
      const now = line;
      void now.closed.then(() => {
        if (line === now) line = undefined;
      });
      now.send(invite);
      if (i % 10 === 9) await dealtWith(now);
    }
    const last = await dial();
    await dealtWith(last);
    last.close();
    line?.close();
    expect(portal.relay.counters.requests).toBeGreaterThan(cases(step).length / 4);
    expect(portal.relay.counters.crashed).toBe(0);
    expect(unreadable).toEqual([]);
    const faults = portal
      .log()
      .split("\n")
      .filter((text) => text !== "" && (JSON.parse(text) as { level: number }).level >= 50);
    expect(faults).toEqual([]);
    await expect.poll(() => portal.relay.metrics().gauges.connections).toBeLessThan(3);
  });
});
