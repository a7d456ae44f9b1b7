import { once } from "node:events";
import { connect as connectTls } from "node:tls";
import { afterEach, describe, expect, it, onTestFinished } from "vitest";
import { WebSocket } from "ws";
import { PeerLog } from "../../src/support/peer-log.ts";
import type { ListenOptions, TransportLayerOptions } from "../../src/transport/layer.ts";
import { authority, certificateFolder } from "../support/certificates.ts";
import { keptLog } from "../support/lines.ts";
import { TestClock } from "../support/test-clock.ts";
import { closeAll, peerOf, Queue, start, tcpPeer, text, udpPeer } from "./harness.ts";
import { v1, v2 } from "./proxy-header.ts";

afterEach(closeAll);

const ca = authority();
const { cert, key } = certificateFolder(["DNS:portal.example"], ca);
const VIA = "SIP/2.0/TCP pc.example.com;rport;branch=z9hG4bK1";

async function open(listen: Partial<ListenOptions>, options: Partial<TransportLayerOptions> = {}) {
  const started = await start({
    listen: [{ transport: "tcp", address: "127.0.0.1", port: 0, ...listen }],
    tls: { cert, key },
    ...options,
  });
  return { ...started, port: started.layer.listening.at(-1)!.port };
}

async function tlsPeer(port: number, before?: Buffer) {
  const tcp = await tcpPeer(port);
  if (before) tcp.socket.write(before);
  tcp.socket.removeAllListeners("data");
  const socket = connectTls({ socket: tcp.socket, ca: ca.cert, servername: "portal.example" });
  const peer = peerOf(socket);
  await once(socket, "secureConnect");
  return peer;
}

/** Resolves to the connection, or to the status of the refusal. */
async function webSocket(port: number, headers: Record<string, string> = {}) {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`, "sip", { headers });
  onTestFinished(() => socket.terminate());
  socket.on("error", () => undefined);
  const refused = once(socket, "unexpected-response").then(([, { statusCode }]) => statusCode as number);
  return Promise.race([once(socket, "open").then(() => socket), refused]);
}

describe("networks that may come to a listener", () => {
  it("are asked before a datagram is read", async () => {
    const { layer, user, port } = await open({ transport: "udp", address: "0.0.0.0", deny: ["127.0.0.9"] });
    const denied = await udpPeer("127.0.0.9");
    const other = await udpPeer("127.0.0.8");
    denied.send("no SIP", port);
    denied.send(text("SIP/2.0/UDP a;branch=z9hG4bK1"), port);
    other.send(text("SIP/2.0/UDP b;branch=z9hG4bK2"), port);
    expect((await user.messages.next()).flow.remoteAddress).toBe("127.0.0.8");
    expect(layer.stats).toMatchObject({ denied: 2, malformed: 0, messagesIn: 1 });
  });

  it.each(["tcp", "tls", "ws", "wss"] as const)(
    "are asked before anything else of a connection: %s",
    async (transport) => {
      const { log, of } = keptLog();
      const peerLog = new PeerLog({ log, clock: new TestClock() });
      const { layer, port } = await open({ transport, allow: ["10.0.0.0/8"] }, { peerLog });
      const peer = await tcpPeer(port);
      await peer.closed;
      expect(peer.received.size).toBe(0);
      expect(layer.stats).toMatchObject({ denied: 1, connectionsAccepted: 0, connections: 0, handshakesFailed: 0 });
      expect(of("a connection is not taken")).toEqual([
        { address: "127.0.0.1", transport, why: "its network may not come to this listener" },
      ]);
    },
  );

  it("are those of each listener by itself, and a denied one stays so where it is allowed", async () => {
    const { layer, user } = await start({
      listen: [
        { transport: "tcp", address: "127.0.0.1", port: 0, allow: ["127.0.0.0/8"], deny: ["127.0.0.9"] },
        { transport: "tcp", address: "127.0.0.2", port: 0, deny: ["127.0.0.0/28"] },
      ],
    });
    const [one, two] = layer.listening.map(({ port }) => port);
    const peer = await tcpPeer(one!);
    peer.socket.write(text(VIA));
    await user.messages.next();
    await (await tcpPeer(one!, "127.0.0.1", undefined)).socket.end();
    await (await tcpPeer(two!, "127.0.0.2")).closed;
    expect(layer.stats).toMatchObject({ denied: 1, connectionsAccepted: 2 });
  });
});

describe("a load balancer (PROXY protocol)", () => {
  const proxyProtocol = ["127.0.0.0/8"];

  it.each([
    ["1", v1("192.0.2.7", 4711)],
    ["2", v2("192.0.2.7", 4711)],
  ])("says for whom it comes by TCP, in version %s", async (_, header) => {
    const { user, port } = await open({ proxyProtocol });
    const peer = await tcpPeer(port);
    peer.socket.write(Buffer.concat([header, Buffer.from(text(VIA))]));
    const { message, flow } = await user.messages.next();
    expect([flow.remoteAddress, flow.remotePort]).toEqual(["192.0.2.7", 4711]);
    expect(message.headers.get("via")).toContain(";received=192.0.2.7");
    flow.send(Buffer.from("answer"));
    expect(await peer.received.next()).toBe("answer");
  });

  it("says it before TLS, also byte by byte", async () => {
    const { user, port } = await open({ transport: "tls", proxyProtocol });
    const tcp = await tcpPeer(port);
    for (const byte of v2("2001:db8::7", 4711)) tcp.socket.write(Buffer.from([byte]));
    tcp.socket.removeAllListeners("data");
    const socket = connectTls({ socket: tcp.socket, ca: ca.cert, servername: "portal.example" });
    await once(socket, "secureConnect");
    socket.write(text(VIA.replace("TCP", "TLS")));
    const { flow } = await user.messages.next();
    expect([flow.remoteAddress, flow.secure]).toEqual(["2001:db8::7", true]);
    socket.destroy();
  });

  it("says it together with the beginning of TLS, and of WebSocket", async () => {
    const secure = await open({ transport: "tls", proxyProtocol });
    const peer = await tlsPeer(secure.port, v2("192.0.2.7", 4711));
    peer.socket.write(text(VIA.replace("TCP", "TLS")));
    expect((await secure.user.messages.next()).flow.remoteAddress).toBe("192.0.2.7");
    const plain = await open({ transport: "ws", proxyProtocol });
    const browser = await tcpPeer(plain.port);
    const lines = ["GET / HTTP/1.1", "Host: a", "Upgrade: websocket", "Connection: Upgrade"];
    lines.push(
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
      "Sec-WebSocket-Version: 13",
      "Sec-WebSocket-Protocol: sip",
    );
    browser.socket.write(Buffer.concat([v2("192.0.2.8", 1), Buffer.from(`${lines.join("\r\n")}\r\n\r\n`)]));
    expect(await browser.received.next()).toMatch(/^HTTP\/1.1 101 /);
    const frame = Buffer.from(text(VIA.replace("TCP", "WS")));
    browser.socket.write(
      Buffer.concat([Buffer.from([0x81, 0xfe, frame.length >> 8, frame.length & 255, 0, 0, 0, 0]), frame]),
    );
    expect((await plain.user.messages.next()).flow.remoteAddress).toBe("192.0.2.8");
  });

  it("is refused where it does not say so, or the client may not come", async () => {
    const { layer, port } = await open({ proxyProtocol, deny: ["192.0.2.0/24"] });
    const silent = await tcpPeer(port);
    silent.socket.write(text(VIA));
    await silent.closed;
    expect(layer.stats).toMatchObject({ handshakesFailed: 1, denied: 0 });
    const denied = await tcpPeer(port);
    denied.socket.write(v2("192.0.2.7", 4711));
    await denied.closed;
    expect(layer.stats).toMatchObject({ denied: 1, messagesIn: 0 });
  });

  it("is believed from its networks alone: from elsewhere its header is no SIP", async () => {
    const { layer, user, port } = await open({ proxyProtocol: ["10.0.0.0/8"] });
    const peer = await tcpPeer(port);
    peer.socket.write(Buffer.concat([v1("192.0.2.7", 4711), Buffer.from(text(VIA))]));
    expect((await user.errors.next()).flow.remoteAddress).toBe("127.0.0.1");
    expect(layer.stats.messagesIn).toBe(0);
  });

  it("may say nothing for a while, and no longer: a health check counts for itself", async () => {
    const clock = new TestClock();
    const { layer, user, port } = await open({ proxyProtocol }, { clock, bounds: { firstMessageMs: 1_000 } });
    const check = await tcpPeer(port);
    check.socket.write(Buffer.concat([v2("0.0.0.0", 0, { command: 0 }), Buffer.from(text(VIA))]));
    expect((await user.messages.next()).flow.remoteAddress).toBe("127.0.0.1");
    const silent = await tcpPeer(port);
    silent.socket.write("PROXY ");
    await expect.poll(() => layer.stats.connectionsAccepted).toBe(1);
    await expect
      .poll(() => {
        clock.advance(500);
        return silent.socket.destroyed;
      })
      .toBe(true);
    expect(layer.stats.handshakesFailed).toBe(1);
  });

  it("does not fill its own address: each client's address has its own bound", async () => {
    const { layer, port } = await open({ proxyProtocol }, { bounds: { maxConnectionsPerAddress: 2 } });
    for (let i = 0; i < 6; i++) (await tcpPeer(port)).socket.write(v1(`192.0.2.${i % 3}`, 1));
    await expect.poll(() => layer.stats.connections).toBe(6);
    const third = await tcpPeer(port);
    third.socket.write(v1("192.0.2.0", 1));
    await third.closed;
    expect(layer.stats.connectionsRefused).toBe(1);
  });
});

describe("a proxy of HTTP before WebSocket", () => {
  const message = text(VIA.replace("TCP", "WS"));

  it("says for whom it asks by X-Forwarded-For, and only the last address counts that is none of the proxies'", async () => {
    const { user, port } = await open({ transport: "ws" }, { trustedProxies: ["127.0.0.0/8"] });
    const socket = await webSocket(port, { "X-Forwarded-For": "203.0.113.1, 192.0.2.7, 127.0.0.5" });
    (socket as WebSocket).send(message);
    expect((await user.messages.next()).flow.remoteAddress).toBe("192.0.2.7");
  });

  it("is not believed where it is none of the operator's", async () => {
    const { user, port } = await open({ transport: "ws" }, { trustedProxies: ["10.0.0.0/8"] });
    const socket = await webSocket(port, { "X-Forwarded-For": "192.0.2.7" });
    (socket as WebSocket).send(message);
    expect((await user.messages.next()).flow.remoteAddress).toBe("127.0.0.1");
  });

  it("is refused for clients who may not come, or have too many connections", async () => {
    const { layer, port } = await open(
      { transport: "ws", deny: ["192.0.2.66"] },
      { trustedProxies: ["127.0.0.1"], bounds: { maxConnectionsPerAddress: 1 } },
    );
    expect(await webSocket(port, { "X-Forwarded-For": "192.0.2.66" })).toBe(403);
    expect(await webSocket(port, { "X-Forwarded-For": "192.0.2.7" })).toBeInstanceOf(WebSocket);
    expect(await webSocket(port, { "X-Forwarded-For": "192.0.2.7" })).toBe(403);
    expect(await webSocket(port, { "X-Forwarded-For": "192.0.2.8" })).toBeInstanceOf(WebSocket);
    expect(layer.stats).toMatchObject({ denied: 1, connections: 2 });
  });
});

describe("handshakes of TLS", () => {
  it("wait for their turn, and then come through with what the peer has sent meanwhile", async () => {
    const { layer, user, port } = await open({ transport: "tls" }, { bounds: { handshakesPerSecond: 40 } });
    const peers = await Promise.all(Array.from({ length: 12 }, () => tlsPeer(port)));
    for (const peer of peers) peer.socket.write(text(VIA.replace("TCP", "TLS")));
    for (const _ of peers) await user.messages.next();
    expect(layer.stats).toMatchObject({ connections: 12, connectionsAccepted: 12, handshakesPutOff: 0 });
  });

  it("of peers that do not wait for their turn leave nothing", async () => {
    const clock = new TestClock(); // no turn comes
    const { layer, port } = await open(
      { transport: "tls" },
      { clock, bounds: { handshakesPerSecond: 1, maxConnectionsPerAddress: 3 } },
    );
    const peers = await Promise.all([tcpPeer(port), tcpPeer(port), tcpPeer(port)]);
    await expect.poll(() => layer.stats.connectionsAccepted).toBe(3);
    await (await tcpPeer(port)).closed;
    expect(layer.stats.connectionsRefused).toBe(1);
    for (const { socket } of peers) socket.destroy();
    // What has gone does not count any longer.
    await expect
      .poll(async () => {
        await tcpPeer(port);
        return layer.stats.connectionsAccepted;
      })
      .toBeGreaterThan(3);
  });
});

describe("the relay's own pings (RFC 6455 §5.5.2)", () => {
  it("ask a browser that says nothing, and end a connection without an answer", async () => {
    const clock = new TestClock();
    const { layer, user, port } = await open(
      { transport: "ws" },
      { clock, bounds: { pingMs: 10_000, firstMessageMs: 600_000 } },
    );
    const socket = (await webSocket(port)) as WebSocket;
    const pings = new Queue<void>();
    socket.on("ping", () => pings.push());
    await expect.poll(() => layer.stats.connections).toBe(1);
    clock.advance(12_500);
    await pings.next();
    expect(layer.stats.connections).toBe(1);
    socket.pause(); // from now on it reads nothing
    const { reason } = await (async () => {
      for (let i = 0; i < 20 && layer.stats.connections > 0; i++) clock.advance(2_500);
      return user.failures.next();
    })();
    expect(reason).toBe("ws it does not answer pings");
  });

  it("are not sent to a browser that is heard, and to none with 0", async () => {
    for (const pingMs of [10_000, 0]) {
      const clock = new TestClock();
      const { user, port } = await open({ transport: "ws" }, { clock, bounds: { pingMs, firstMessageMs: 600_000 } });
      const socket = (await webSocket(port)) as WebSocket;
      let pings = 0;
      socket.on("ping", () => pings++);
      for (let i = 0; i < 10; i++) {
        if (pingMs > 0 || i === 0) {
          socket.send(text(VIA.replace("TCP", "WS")));
          await user.messages.next();
        }
        clock.advance(5_000);
      }
      expect(pings).toBe(0);
    }
  });
});
