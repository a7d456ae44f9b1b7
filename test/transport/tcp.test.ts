import { networkInterfaces } from "node:os";
import { afterEach, describe, expect, it } from "vitest";
import type { ParseError } from "../../src/sip/parse.ts";
import { freePort } from "../support/peers.ts";
import { TestClock } from "../support/test-clock.ts";
import { itUnless } from "../support/unless.ts";
import { closeAll, ok, request, start, tcpPeer, tcpServer, text, to, udpPeer, viaOf } from "./harness.ts";

afterEach(closeAll);

const hasIpv6 = Object.values(networkInterfaces()).some((entries) => entries?.some(({ address }) => address === "::1"));
const NO_V6 = hasIpv6 ? undefined : "this machine has no IPv6 loopback address";

const VIA = "SIP/2.0/TCP 127.0.0.1:5060;branch=z9hG4bK1";

describe("TCP (RFC 3261 §18)", () => {
  it("answers on the connection of the request (§18.2.2)", async () => {
    const { layer, user, tcpPort } = await start();
    const peer = await tcpPeer(tcpPort);
    peer.socket.write(text("SIP/2.0/TCP pc.example.com;rport;branch=z9hG4bK1"));
    const { message, flow } = await user.messages.next();
    expect(message.headers.get("via")).toBe(
      `SIP/2.0/TCP pc.example.com;branch=z9hG4bK1;received=127.0.0.1;rport=${peer.socket.localPort}`,
    );
    expect([flow.transport, flow.reliable, flow.secure, flow.open]).toEqual(["tcp", true, false, true]);
    expect(flow.id).toMatch(new RegExp(`^tcp/127\\.0\\.0\\.1:${peer.socket.localPort}#\\d+$`));
    flow.send(ok(message));
    expect(await peer.received.next()).toMatch(/^SIP\/2.0 200 OK/);
    expect(layer.contactFor(flow)).toBe(`127.0.0.1:${tcpPort};transport=tcp`);
  });

  it("offers what must not go out now by a connection for later, since nobody asks for it again (P3)", async () => {
    let isMute = true;
    const later: [number, () => void][] = [];
    const { user, tcpPort, udpPort } = await start({
      mutes: () => isMute,
      muted: (bytes, send) => later.push([bytes, send]),
    });
    const [peer, datagrams] = [await tcpPeer(tcpPort), await udpPeer()];
    datagrams.send(text(`SIP/2.0/UDP 127.0.0.1:${datagrams.port};rport;branch=z9hG4bK1`), udpPort);
    const asked = await user.messages.next();
    asked.flow.send(ok(asked.message));
    expect(later).toEqual([]); // its sender sends it again
    peer.socket.write(text(VIA));
    const { message, flow } = await user.messages.next();
    flow.send(ok(message));
    isMute = false;
    expect(later.map(([bytes]) => bytes)).toEqual([ok(message).length]);
    later[0]![1]();
    expect(await peer.received.next()).toMatch(/^SIP\/2.0 200 OK/);
  });

  it("cuts the stream into messages, however it is sent (§18.3)", async () => {
    const { user, tcpPort } = await start();
    const peer = await tcpPeer(tcpPort);
    peer.socket.setNoDelay(true);
    const one = text(VIA, { body: "first" });
    const two = text(VIA, { body: "second" });
    peer.socket.write(one + two.slice(0, 70));
    expect((await user.messages.next()).message.body.toString()).toBe("first");
    peer.socket.write(two.slice(70));
    expect((await user.messages.next()).message.body.toString()).toBe("second");
  });

  it("answers a double CRLF with a single one (RFC 5626 §4.4.1)", async () => {
    const { layer, tcpPort } = await start();
    const peer = await tcpPeer(tcpPort);
    peer.socket.write("\r\n\r\n");
    expect(await peer.received.next()).toBe("\r\n");
    expect(layer.stats.keepAlives).toBe(1);
  });

  it("answers and closes where it can no longer be told where messages end", async () => {
    const { user, tcpPort } = await start();
    const peer = await tcpPeer(tcpPort);
    const told = new Promise<{ error: ParseError }>((resolve) => {
      user.malformed = (error, flow) => {
        flow.send(Buffer.from("the answer"));
        resolve({ error });
      };
    });
    peer.socket.write(text(VIA).replace("Content-Length: 0", "Content-Length: x"));
    expect((await told).error.status).toBe(400);
    expect((await told).error.request?.via?.params.get("branch")).toBe("z9hG4bK1");
    expect(await peer.received.next()).toBe("the answer");
    await peer.closed;
    expect((await user.failures.next()).reason).toMatch(/^tcp .*Content-Length/);
  });

  it("answers 400 and closes where a body has no length: what follows is no part of it (§18.3, §20.14)", async () => {
    const { user, tcpPort } = await start();
    const peer = await tcpPeer(tcpPort);
    const unknown = text(VIA, { body: "v=0\r\n" }).replace(/Content-Length: \d+/, "Content-Type: application/sdp");
    peer.socket.write(text(VIA) + unknown + text(VIA));
    await user.messages.next();
    expect((await user.errors.next()).error).toMatchObject({ status: 400, reason: "Missing Content-Length" });
    await peer.closed;
    expect(user.messages.size).toBe(0);
  });

  it.each(["hello\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "v=0\r\no=- 1 1 IN IP4 a\r\n\r\n"])(
    "closes where what comes is no SIP, since nobody knows where it ends: %j",
    async (foreign) => {
      const { layer, user, tcpPort } = await start();
      const peer = await tcpPeer(tcpPort);
      peer.socket.write(foreign);
      await user.errors.next();
      await peer.closed;
      expect(layer.stats.malformed).toBe(1);
    },
  );

  it("goes on where a response or an ACK cannot be read, of which the end is known", async () => {
    const { user, tcpPort } = await start();
    const peer = await tcpPeer(tcpPort);
    const response = text(VIA).replace(/^.*\r\n/, "SIP/2.0 2000 OK\r\n");
    const ack = text(VIA, { method: "ACK" }).replace("Max-Forwards: 70", "Max-Forwards: x");
    peer.socket.write(response + ack + text(VIA));
    await user.errors.next();
    await user.errors.next();
    expect((await user.messages.next()).message.isRequest).toBe(true);
  });

  it.each([
    ["header", `${text(VIA).slice(0, -4)}\r\nX: ${"x".repeat(70_000)}`],
    ["body", text(VIA).replace("Content-Length: 0", "Content-Length: 70000")],
  ])("closes a connection whose message is larger than 65,535 bytes by its %s", async (_what, bytes) => {
    const { user, tcpPort } = await start();
    const peer = await tcpPeer(tcpPort);
    peer.socket.write(bytes);
    await peer.closed;
    expect((await user.failures.next()).reason).toBe("tcp Message Too Large");
  });

  it("hands up a request that cannot be read, and goes on with the next one", async () => {
    const { user, tcpPort } = await start();
    const peer = await tcpPeer(tcpPort);
    peer.socket.write(text(VIA).replace("Max-Forwards: 70", "Max-Forwards: x") + text(VIA));
    expect((await user.errors.next()).error.request).toBeDefined();
    await user.messages.next();
  });

  it("opens a connection for a request, and uses it again for the next one (§18.1.1)", async () => {
    const { layer, user, tcpPort } = await start();
    const server = await tcpServer();
    const first = layer.sendRequest(request(), to("tcp", server.port), "z9hG4bK1");
    const peer = await server.connections.next();
    expect(viaOf(await peer.received.next())).toBe(`SIP/2.0/TCP 127.0.0.1:${tcpPort};rport;branch=z9hG4bK1`);
    const second = layer.sendRequest(request(), to("tcp", server.port), "z9hG4bK2");
    expect(second.flow).toBe(first.flow);
    await peer.received.next();
    expect(layer.stats.connectionsOpened).toBe(1);
    peer.socket.write(text(VIA));
    expect((await user.messages.next()).flow).toBe(first.flow);
    expect(layer.contactFor(first.flow)).toBe(`127.0.0.1:${tcpPort};transport=tcp`);
    expect(layer.contactTowards(to("tcp", server.port))).toBe(`127.0.0.1:${tcpPort};transport=tcp`);
  });

  it("prefers an open connection that it is given, and forgets one that has ended (RFC 5923)", async () => {
    const { layer, user, tcpPort } = await start();
    const server = await tcpServer();
    const peer = await tcpPeer(tcpPort);
    peer.socket.write(text(VIA));
    const { flow } = await user.messages.next();
    expect(layer.sendRequest(request(), to("tcp", server.port), "z9hG4bK1", flow).flow).toBe(flow);
    await peer.received.next();
    peer.socket.destroy();
    await user.failures.next();
    expect(flow.open).toBe(false);
    expect(layer.sendRequest(request(), to("tcp", server.port), "z9hG4bK2", flow).flow).not.toBe(flow);
    await (await server.connections.next()).received.next();
  });

  it("tells that a connection was refused", async () => {
    const { layer, user } = await start();
    const { flow } = layer.sendRequest(request(), to("tcp", await freePort()), "z9hG4bK1");
    const failure = await user.failures.next();
    expect(failure.flow).toBe(flow);
    expect(failure.reason).toBe("tcp ECONNREFUSED");
    expect([flow.open, flow.connectFailed]).toEqual([false, true]);
  });

  it("tells that a connection ended, once", async () => {
    const { layer, user } = await start();
    const server = await tcpServer();
    const { flow } = layer.sendRequest(request(), to("tcp", server.port), "z9hG4bK1");
    const peer = await server.connections.next();
    await peer.received.next();
    peer.socket.end();
    expect((await user.failures.next()).flow).toBe(flow);
    expect([flow.open, flow.connectFailed]).toEqual([false, false]);
    expect(layer.stats.connections).toBe(0);
    expect(user.failures.size).toBe(0);
  });

  it("sends a response by a new connection to the Via's port when that of the request is gone (§18.2.2)", async () => {
    const { user, tcpPort } = await start();
    const server = await tcpServer();
    const peer = await tcpPeer(tcpPort);
    peer.socket.write(text(`SIP/2.0/TCP pc.example.com:${server.port};branch=z9hG4bK1`));
    const { message, flow } = await user.messages.next();
    peer.socket.destroy();
    await user.failures.next();
    flow.send(ok(message));
    const again = await server.connections.next();
    expect(await again.received.next()).toMatch(/^SIP\/2.0 200 OK/);
  });

  itUnless(NO_V6).each(["[::1]", "[0:0:0:0:0:0:0:1]", "pc.example.com"])(
    "sends it by a new connection to an IPv6 peer too, whose Via says %s (§18.2.2)",
    async (host) => {
      const { user, tcpPort } = await start({ listen: [{ transport: "tcp", address: "::1", port: 0 }] });
      const server = await tcpServer(0, "::1");
      const peer = await tcpPeer(tcpPort, "::1");
      peer.socket.write(text(`SIP/2.0/TCP ${host}:${server.port};branch=z9hG4bK1`));
      const { message, flow } = await user.messages.next();
      peer.socket.destroy();
      await user.failures.next();
      flow.send(ok(message));
      const again = await server.connections.next();
      expect(await again.received.next()).toMatch(/^SIP\/2.0 200 OK/);
    },
  );

  it("sends no request to an app server by a connection that somebody opened from its address and port (RFC 5923 §5)", async () => {
    const { layer, user, tcpPort } = await start();
    const free = await tcpServer();
    await free.close();
    // The app server is down, and another program of its machine has its port.
    const impostor = await tcpPeer(tcpPort, "127.0.0.1", free.port);
    impostor.socket.write(text(VIA));
    const { flow: theirs } = await user.messages.next();
    const { flow } = layer.sendRequest(request("INVITE"), to("tcp", free.port), "z9hG4bK1");
    expect(flow).not.toBe(theirs);
    expect((await user.failures.next()).flow).toBe(flow);
    expect(impostor.received.size).toBe(0);
    // Answers go there, of course, and what is meant for that very connection.
    theirs.send(Buffer.from("an answer"));
    expect(await impostor.received.next()).toBe("an answer");
  });

  it("sends no request by another connection than the one it was meant for", async () => {
    const { layer, user } = await start();
    const server = await tcpServer();
    const { flow, bytes } = layer.sendRequest(request(), to("tcp", server.port), "z9hG4bK1");
    (await server.connections.next()).socket.destroy();
    await user.failures.next();
    flow.send(bytes);
    expect(layer.stats.connectionsOpened).toBe(1);
  });
});

describe("requests too large for UDP (RFC 3261 §18.1.1)", () => {
  it("go by TCP, and the Via says so", async () => {
    const { layer, tcpPort } = await start();
    const server = await tcpServer();
    const { flow, bytes } = layer.sendRequest(request("MESSAGE", 1_200), to("udp", server.port), "z9hG4bK1");
    expect(bytes.length).toBeGreaterThan(1_300);
    expect(flow.transport).toBe("tcp");
    const got = await (await server.connections.next()).received.next();
    expect(viaOf(got)).toBe(`SIP/2.0/TCP 127.0.0.1:${tcpPort};rport;branch=z9hG4bK1`);
    expect(got.match(/^Via/gm)).toHaveLength(1);
  });

  it("stay with UDP up to 1300 bytes", async () => {
    const { layer } = await start();
    const peer = await udpPeer();
    const empty = layer.sendRequest(request("MESSAGE"), to("udp", peer.port), "z9hG4bK1").bytes.length;
    // Content-Length grows from one digit to four.
    const { flow, bytes } = layer.sendRequest(request("MESSAGE", 1_297 - empty), to("udp", peer.port), "z9hG4bK2");
    expect(bytes.length).toBe(1_300);
    expect(flow.transport).toBe("udp");
    expect(layer.sendRequest(request("MESSAGE", 1_298 - empty), to("udp", peer.port), "z9hG4bK3").flow.transport).toBe(
      "tcp",
    );
  });

  it("go by UDP once the peer has refused TCP", async () => {
    const { layer, user } = await start();
    const peer = await udpPeer("127.0.0.1", await freePort());
    const first = layer.sendRequest(request("MESSAGE", 3_000), to("udp", peer.port), "z9hG4bK1");
    expect(first.flow.transport).toBe("tcp");
    const failure = await user.failures.next();
    expect(failure.flow.connectFailed).toBe(true);
    const second = layer.sendRequest(request("MESSAGE", 3_000), to("udp", peer.port), "z9hG4bK1");
    expect(second.flow.transport).toBe("udp");
    expect(viaOf(await peer.received.next())).toMatch(/^SIP\/2.0\/UDP/);
    expect(layer.stats.oversized).toBe(1);
  });
});

describe("bounds of connections (decision 14)", () => {
  it("accepts no more than so many, and no more from one address", async () => {
    for (const bounds of [{ maxConnections: 1 }, { maxConnectionsPerAddress: 1 }]) {
      const { layer, user, tcpPort } = await start({ bounds });
      const first = await tcpPeer(tcpPort);
      first.socket.write(text(VIA));
      await user.messages.next();
      const second = await tcpPeer(tcpPort);
      await second.closed;
      expect(layer.stats.connectionsRefused).toBe(1);
      first.socket.destroy();
      await user.failures.next();
      const third = await tcpPeer(tcpPort);
      third.socket.write(text(VIA));
      await user.messages.next();
    }
  });

  it("opens no more than so many", async () => {
    const { layer, user } = await start({ bounds: { maxConnections: 0 } });
    const { flow } = layer.sendRequest(request(), to("tcp", 5060), "z9hG4bK1");
    const failure = await user.failures.next();
    expect(failure.flow).toBe(flow);
    expect(failure.reason).toBe("tcp too many connections");
  });

  it("closes the connection of a peer that does not read", async () => {
    const { layer, user } = await start({ bounds: { writeQueueBytes: 100_000 } });
    const server = await tcpServer();
    const { flow, bytes } = layer.sendRequest(request("MESSAGE", 50_000), to("tcp", server.port), "z9hG4bK1");
    (await server.connections.next()).socket.pause();
    for (let i = 0; flow.open && i < 100_000; i++) flow.send(bytes);
    expect((await user.failures.next()).reason).toBe("tcp peer reads too slowly");
  });

  it("gives up a connection that does not come about in time", async () => {
    const clock = new TestClock();
    const { layer, user } = await start({ clock, bounds: { connectTimeoutMs: 5_000 } });
    const server = await tcpServer();
    // Nothing of the connection is seen before this turn ends: to the layer it is still being made.
    const { flow } = layer.sendRequest(request(), to("tcp", server.port), "z9hG4bK1");
    clock.advance(5_000);
    const failure = await user.failures.next();
    expect([failure.flow, failure.reason]).toEqual([flow, "tcp connect timeout"]);
    expect(flow.connectFailed).toBe(true);
  });

  it("closes a connection that was idle too long, but not one that keeps itself alive", async () => {
    const clock = new TestClock();
    const { user, tcpPort } = await start({ clock, bounds: { idleMs: 60_000, partialMs: 32_000 } });
    const [silent, alive] = [await tcpPeer(tcpPort), await tcpPeer(tcpPort)];
    silent.socket.write("\r\n\r\n");
    await silent.received.next();
    clock.advance(40_000);
    alive.socket.write("\r\n\r\n");
    await alive.received.next();
    clock.advance(40_000);
    await silent.closed;
    expect((await user.failures.next()).reason).toBe("tcp idle");
    alive.socket.write("\r\n\r\n");
    expect(await alive.received.next()).toBe("\r\n");
  });

  it.each([-3_600_000, 3_600_000])(
    "counts idle time by what passes, though the wall clock is set by %i ms",
    async (byMs) => {
      const clock = new TestClock();
      const { user, layer, tcpPort } = await start({ clock, bounds: { idleMs: 60_000, partialMs: 32_000 } });
      const peer = await tcpPeer(tcpPort);
      peer.socket.write("\r\n\r\n");
      await peer.received.next();
      clock.advance(30_000);
      clock.setWall(byMs);
      clock.advance(15_000);
      expect(layer.stats.connections).toBe(1);
      clock.advance(30_000);
      await peer.closed;
      expect((await user.failures.next()).reason).toBe("tcp idle");
    },
  );

  it("closes a connection whose message never ends", async () => {
    const clock = new TestClock();
    const { user, tcpPort } = await start({ clock, bounds: { idleMs: 600_000, partialMs: 32_000 } });
    const peer = await tcpPeer(tcpPort);
    peer.socket.write(text(VIA));
    await user.messages.next();
    // A whole message ahead of the half one, so that it is known when both were read.
    peer.socket.write("OPTIONS sip:");
    const ping = await tcpPeer(tcpPort);
    ping.socket.write("\r\n\r\n");
    await ping.received.next();
    clock.advance(40_000);
    await peer.closed;
    expect((await user.failures.next()).reason).toBe("tcp message not finished");
  });

  it("closes a connection by which no message comes, and one that only keeps itself alive later", async () => {
    const clock = new TestClock();
    const { layer, user, tcpPort } = await start({ clock, bounds: { firstMessageMs: 10_000 } });
    const [silent, half, pinging, talking] = [
      await tcpPeer(tcpPort),
      await tcpPeer(tcpPort),
      await tcpPeer(tcpPort),
      await tcpPeer(tcpPort),
    ];
    half.socket.write("OPTIONS sip:");
    pinging.socket.write("\r\n\r\n");
    await pinging.received.next();
    talking.socket.write(text(VIA));
    await user.messages.next();
    expect(layer.stats.connections).toBe(4);
    clock.advance(13_000);
    await Promise.all([silent.closed, half.closed]);
    expect([(await user.failures.next()).reason, (await user.failures.next()).reason]).toEqual(
      Array(2).fill("tcp no message came"),
    );
    expect(layer.stats.connections).toBe(2);
    clock.advance(120_000);
    await pinging.closed;
    expect(layer.stats.connections).toBe(1);
  });

  it("gives those that come and those that it opens room of their own", async () => {
    const { layer, user, tcpPort } = await start({ bounds: { maxConnections: 2, maxOutgoing: 1 } });
    const silent = [await tcpPeer(tcpPort), await tcpPeer(tcpPort)];
    await (await tcpPeer(tcpPort)).closed; // no more of those
    const server = await tcpServer();
    layer.sendRequest(request(), to("tcp", server.port), "z9hG4bK1");
    expect((await (await server.connections.next()).received.next()).startsWith("OPTIONS")).toBe(true);
    layer.sendRequest(request(), to("tcp", (await tcpServer()).port), "z9hG4bK2");
    expect((await user.failures.next()).reason).toBe("tcp too many connections");
    for (const { socket } of silent) socket.destroy();
  });

  it("where there is no room, those by whom nobody has signed in give way, the oldest first", async () => {
    const clock = new TestClock();
    const { layer, user, tcpPort } = await start({ clock, bounds: { maxConnections: 3, firstMessageMs: 60_000 } });
    const peers = [await tcpPeer(tcpPort), await tcpPeer(tcpPort), await tcpPeer(tcpPort)];
    for (const { socket } of peers) {
      socket.write(text(VIA));
      const { flow } = await user.messages.next();
      if (socket === peers[0]!.socket) flow.proven = true;
    }
    await (await tcpPeer(tcpPort)).closed; // they have just come
    clock.advance(2_001);
    const late = await tcpPeer(tcpPort);
    await peers[1]!.closed;
    late.socket.write(text(VIA));
    await user.messages.next();
    expect(layer.stats).toMatchObject({ connections: 3, connectionsRefused: 1, connectionsGaveWay: 1 });
  });

  it("counts the addresses of one IPv4 host and one IPv6 network as one", async () => {
    const { layer, user, tcpPort } = await start({ bounds: { maxConnectionsPerAddress: 2 } });
    const first = await tcpPeer(tcpPort);
    await tcpPeer(tcpPort);
    await (await tcpPeer(tcpPort)).closed;
    expect(layer.stats.connectionsRefused).toBe(1);
    first.socket.destroy();
    await user.failures.next();
    const again = await tcpPeer(tcpPort);
    again.socket.write(text(VIA));
    await user.messages.next();
  });

  it("lets little wait for a peer of whom nobody knows who it is", async () => {
    const { layer, user, tcpPort } = await start({ bounds: { unprovenQueueBytes: 100_000 } });
    const peer = await tcpPeer(tcpPort);
    peer.socket.pause();
    peer.socket.write(text(VIA));
    const { flow } = await user.messages.next();
    const bytes = Buffer.alloc(50_000, "x");
    for (let i = 0; flow.open && i < 1_000; i++) {
      flow.send(bytes);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect((await user.failures.next()).reason).toBe("tcp peer reads too slowly");
    expect(layer.stats.connections).toBe(0);
  });

  it("closes a connection whose peer takes nothing of what waits for it", async () => {
    const clock = new TestClock();
    const { layer, user } = await start({ clock, bounds: { stalledMs: 10_000, writeQueueBytes: 100_000_000 } });
    const server = await tcpServer();
    const { flow } = layer.sendRequest(request(), to("tcp", server.port), "z9hG4bK1");
    const { socket } = await server.connections.next();
    socket.pause();
    const bytes = Buffer.alloc(1_000_000, "x");
    // Until the system's buffers of both sides are full and do not empty any more.
    for (let i = 0; i < 20; i++) {
      flow.send(bytes);
      await new Promise((resolve) => setImmediate(resolve));
    }
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setTimeout(resolve, 5));
    clock.advance(5_000);
    expect(flow.open).toBe(true);
    clock.advance(15_000);
    expect((await user.failures.next()).reason).toBe("tcp peer reads nothing");
  });

  it("has one bound for what waits on all connections: the one on which most waits ends first", async () => {
    const { layer, user } = await start({ bounds: { queueBytes: 20_000_000, writeQueueBytes: 100_000_000 } });
    const flows = [];
    for (let i = 0; i < 3; i++) {
      const server = await tcpServer();
      const { flow } = layer.sendRequest(request(), to("tcp", server.port), `z9hG4bK${i}`);
      (await server.connections.next()).socket.pause();
      flows.push(flow);
    }
    const bytes = Buffer.alloc(1_000_000, "x");
    for (let i = 0; i < 60 && flows.every((flow) => flow.open); i++) {
      flows[i % 3 === 0 ? 0 : 2]!.send(bytes);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect((await user.failures.next()).reason).toBe("tcp too much waits on all connections, and most on this one");
    expect(flows.map((flow) => flow.open)).toEqual([true, true, false]);
    expect(layer.stats.connectionsGaveWay).toBe(1);
  });

  it("closes everything when it stops", async () => {
    const { layer, user, tcpPort } = await start();
    const peer = await tcpPeer(tcpPort);
    peer.socket.write(text(VIA));
    await user.messages.next();
    await layer.close();
    await peer.closed;
    expect(layer.stats.connections).toBe(0);
  });
});
