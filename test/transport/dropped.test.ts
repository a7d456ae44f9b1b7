import { afterEach, describe, expect, it } from "vitest";
import { systemClock } from "../../src/support/clock.ts";
import { PeerLog } from "../../src/support/peer-log.ts";
import { DroppedMessages } from "../../src/transport/dropped.ts";
import { keptLog } from "../support/lines.ts";
import { TestClock } from "../support/test-clock.ts";
import { closeAll, start, tcpPeer, text, udpPeer } from "./harness.ts";

afterEach(closeAll);

async function listening() {
  const { log, of } = keptLog();
  const started = await start({ peerLog: new PeerLog({ log, clock: systemClock }) });
  return { ...started, said: () => of("a message cannot be read") };
}

describe("a message that cannot be read leaves a line and a count (decision 19)", () => {
  it.each<[string, string, object]>([
    ["is no SIP", "GET / HTTP/1.1", { why: "No Start Line", dropped: true, begins: "GET / HTTP/1.1" }],
    ["is a response with a bad Via", "SIP/2.0 200 OK\r\nVia: x\r\n\r\n", { why: "Bad Via", dropped: true }],
    [
      "is an ACK without To",
      text("SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1", { method: "ACK" }).replace(/To: .*\r\n/, ""),
      { why: "No To", dropped: true },
    ],
    [
      "is a request without From",
      text("SIP/2.0/UDP 127.0.0.1;rport;branch=z9hG4bK1").replace(/From: .*\r\n/, ""),
      { why: "No From", answered: 400 },
    ],
    [
      "has a password in what is its Request-URI",
      "INVITE sip:alice:secret@portal.com SIP/2.0\r\n\r\n",
      { begins: "INVITE sip:alice:*????" },
    ],
    [
      "has a password in a From that cannot be read",
      "INVITE sip:a@b SIP/2.0\r\nf: <sip:alice:secret",
      { begins: "INVITE sip:a@b SIP/2.0??f: <sip:alice:*" },
    ],
    ["steers a terminal", '\u001b[2J\r\n"}', { begins: "?[2J???}", dropped: true }],
  ])("by UDP: one that %s", async (_what, bytes, expected) => {
    const { layer, user, udpPort, said } = await listening();
    const peer = await udpPeer();
    peer.send(Buffer.from(bytes, "latin1"), udpPort);
    await user.errors.next();
    const from = { address: "127.0.0.1", transport: "udp", bytes: bytes.length };
    expect(said()).toEqual([expect.objectContaining({ ...from, ...expected })]);
    expect(layer.stats.malformed).toBe(1);
  });

  it.each<[string, string, object]>([
    ["has no end", `INVITE sip:a@b SIP/2.0\r\nX: ${"x".repeat(70_000)}`, { why: "Message Too Large", dropped: true }],
    [
      "has a bad length",
      text("SIP/2.0/TCP 127.0.0.1;branch=z9hG4bK1").replace("Length: 0", "Length: x"),
      { why: "Bad Content-Length", answered: 400 },
    ],
    ["is no SIP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", { begins: "GET / HTTP/1.1??Host: x????", dropped: true }],
  ])("by TCP: one that %s", async (_what, bytes, expected) => {
    const { layer, user, tcpPort, said } = await listening();
    const peer = await tcpPeer(tcpPort);
    peer.socket.write(bytes);
    await user.errors.next();
    expect(said()).toEqual([expect.objectContaining({ address: "127.0.0.1", transport: "tcp", ...expected })]);
    expect(layer.stats.malformed).toBe(1);
  });

  it("but a source that sends many leaves a few, and their number", async () => {
    const { layer, user, tcpPort, said } = await listening();
    const peer = await tcpPeer(tcpPort);
    peer.socket.write(
      text("SIP/2.0/TCP 127.0.0.1;branch=z9hG4bK1")
        .replace(/From: .*\r\n/, "")
        .repeat(1_000),
    );
    for (let i = 0; i < 1_000; i++) await user.errors.next();
    expect(said()).toHaveLength(10);
    expect(layer.stats.malformed).toBe(1_000);
  });
});

describe("what was dropped", () => {
  it("is remembered of each address for whoever waits for an answer, of a bounded number of them", () => {
    const clock = new TestClock();
    const dropped = new DroppedMessages(clock, undefined);
    const flow = (remoteAddress: string) => ({ remoteAddress, remotePort: 5060, transport: "udp" }) as never;
    const before = clock.monotonic();
    clock.advance(5);
    dropped.unreadable(flow("192.0.2.1"), "Bad Via", undefined, undefined);
    expect(dropped.since("192.0.2.1", before)).toBe("what it sent cannot be read: Bad Via");
    expect(dropped.since("192.0.2.1", clock.monotonic() + 1)).toBeUndefined();
    expect(dropped.since("192.0.2.2", before)).toBeUndefined();
    for (let i = 0; i < 1_000; i++) dropped.useless(flow(`198.51.100.${i}`), "x");
    expect(dropped.since("192.0.2.1", before)).toBeUndefined();
  });
});
