import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { request as httpGet } from "node:http";
import { createServer as createHttps } from "node:https";
import { connect as connectTcp, type Socket } from "node:net";
import { afterEach, describe, expect, it, onTestFinished } from "vitest";
import { type ClientOptions, WebSocket, WebSocketServer } from "ws";
import type { TransportLayerOptions } from "../../src/transport/layer.ts";
import { authority, certificateFolder } from "../support/certificates.ts";
import { TestClock } from "../support/test-clock.ts";
import { closeAll, ok, Queue, request, start, tcpPeer, text, to, viaOf } from "./harness.ts";

afterEach(closeAll);

const ca = authority();
const files = certificateFolder(["DNS:portal.example"], ca);
const VIA = "SIP/2.0/WS df7jal23ls0d.invalid;branch=z9hG4bK1";
const MESSAGE = text(VIA).replace(/Content-Length: 0\r\n/, "");

async function open(options: Partial<TransportLayerOptions> = {}, transport: "ws" | "wss" = "ws") {
  const listen = [{ transport, address: "127.0.0.1", port: 0 }] as const;
  const started = await start({ listen, tls: { cert: files.cert, key: files.key, ca: files.ca }, ...options });
  return { ...started, port: started.layer.listening.at(-1)!.port };
}

async function peer(url: string, options: ClientOptions = {}, protocols: string | string[] = "sip") {
  const socket = new WebSocket(url, protocols, options);
  onTestFinished(() => socket.terminate());
  const received = new Queue<{ text: string; isBinary: boolean }>();
  socket.on("message", (data: Buffer, isBinary) => received.push({ text: data.toString("latin1"), isBinary }));
  const closed = new Promise<number>((resolve) => socket.once("close", resolve));
  socket.on("error", () => undefined);
  await once(socket, "open");
  return { socket, received, closed };
}

/** A client that writes frames of its own making. */
async function raw(port: number) {
  const tcp = await tcpPeer(port);
  const key = randomBytes(16).toString("base64");
  const lines = ["GET / HTTP/1.1", "Host: a", "Upgrade: websocket", "Connection: Upgrade"];
  lines.push(`Sec-WebSocket-Key: ${key}`, "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: sip", "", "");
  tcp.socket.write(lines.join("\r\n"));
  expect(await tcp.received.next()).toMatch(/^HTTP\/1.1 101 /);
  return tcp;
}

/** RFC 6455 §5.2. */
function frame(opcode: number, payload: Buffer | string, { fin = true, masked = true, reserved = 0 } = {}): Buffer {
  const bytes = Buffer.from(payload);
  const first = (fin ? 0x80 : 0) | (reserved << 4) | opcode;
  const mask = randomBytes(4);
  const length =
    bytes.length < 126
      ? Buffer.from([bytes.length])
      : bytes.length < 65_536
        ? Buffer.from([126, bytes.length >> 8, bytes.length & 0xff])
        : Buffer.from([127, 0, 0, 0, 0, ...[24, 16, 8, 0].map((by) => (bytes.length >> by) & 0xff)]);
  if (!masked) return Buffer.concat([Buffer.from([first]), length, bytes]);
  length[0]! |= 0x80;
  return Buffer.concat([Buffer.from([first]), length, mask, bytes.map((byte, i) => byte ^ mask[i % 4]!)]);
}

const [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG] = [0, 1, 2, 8, 9, 10];

describe("WebSocket (RFC 7118)", () => {
  it("answers on the connection of the request, with WS in Via and ws in Contact", async () => {
    const { layer, user, port } = await open();
    const client = await peer(`ws://127.0.0.1:${port}/`);
    expect(client.socket.protocol).toBe("sip");
    client.socket.send(text(VIA));
    const { message, flow } = await user.messages.next();
    expect([flow.transport, flow.reliable, flow.secure]).toEqual(["ws", true, false]);
    expect(message.headers.get("via")).toMatch(/^SIP\/2\.0\/WS df7jal23ls0d\.invalid/);
    flow.send(ok(message));
    expect((await client.received.next()).text).toMatch(/^SIP\/2.0 200 OK/);
    expect(layer.contactFor(flow)).toBe(`127.0.0.1:${port};transport=ws`);
  });

  it("is WSS over TLS, and secure", async () => {
    const { layer, user, port } = await open({}, "wss");
    const client = await peer(`wss://127.0.0.1:${port}/`, { ca: ca.cert, servername: "portal.example" } as object);
    client.socket.send(text(VIA.replace("WS", "WSS")));
    const { message, flow } = await user.messages.next();
    expect([flow.transport, flow.secure]).toEqual(["wss", true]);
    flow.send(ok(message));
    await client.received.next();
    expect(layer.contactFor(flow)).toBe(`127.0.0.1:${port};transport=wss`);
  });

  it("takes text and binary, and messages without Content-Length (§4.2, §5)", async () => {
    const { user, port } = await open();
    const client = await peer(`ws://127.0.0.1:${port}/`);
    for (const data of [`${MESSAGE}hello`, Buffer.from(`${MESSAGE}hello`)]) {
      client.socket.send(data);
      expect((await user.messages.next()).message.body.toString()).toBe("hello");
    }
  });

  it("sends as text what is UTF-8, and anything else as binary (§4.2)", async () => {
    const { user, port } = await open();
    const client = await peer(`ws://127.0.0.1:${port}/`);
    client.socket.send(MESSAGE);
    const { flow } = await user.messages.next();
    flow.send(Buffer.from("SIP/2.0 200 Très bien\r\n\r\n"));
    expect((await client.received.next()).isBinary).toBe(false);
    flow.send(Buffer.from("SIP/2.0 200 Très bien\r\n\r\n", "latin1"));
    expect((await client.received.next()).isBinary).toBe(true);
  });

  it.each<[what: string, protocols: string[], options: ClientOptions, origins: string[] | undefined, status: number]>([
    ["does not offer sip (§4.1)", ["xmpp"], {}, undefined, 400],
    ["offers nothing", [], {}, undefined, 400],
    ["is a page from elsewhere", ["sip"], { origin: "https://evil.example" }, ["https://shop.example"], 403],
  ])("refuses who %s", async (_what, protocols, options, origins, status) => {
    const { layer, port } = await open({ ...(origins && { origins }) });
    const socket = new WebSocket(`ws://127.0.0.1:${port}/`, protocols, options);
    const [error] = await once(socket, "error");
    expect(String(error)).toContain(`${status}`);
    expect(layer.stats.handshakesFailed).toBe(1);
  });

  it.each<[who: string, options: ClientOptions, protocols: string[]]>([
    ["a page of the list", { origin: "https://Shop.example" }, ["sip"]],
    ["a program, which has no origin", {}, ["sip"]],
    ["whoever offers other protocols beside sip", {}, ["xmpp", "sip"]],
  ])("takes %s", async (_who, options, protocols) => {
    const { port } = await open({ origins: ["https://shop.example"] });
    expect((await peer(`ws://127.0.0.1:${port}/`, options, protocols)).socket.protocol).toBe("sip");
  });

  it("answers plain HTTP with 426", async () => {
    const { port } = await open();
    const asked = httpGet({ port, host: "127.0.0.1" }).end();
    const [response] = await once(asked, "response");
    expect(response.statusCode).toBe(426);
  });

  it("offers no compression", async () => {
    const { port } = await open();
    const client = await peer(`ws://127.0.0.1:${port}/`, { perMessageDeflate: true });
    expect(client.socket.extensions).toBe("");
  });

  it("answers keep-alives: a double CRLF with a single one (RFC 5626 §4.4.1), and a ping with a pong", async () => {
    const { layer, user, port } = await open();
    const client = await peer(`ws://127.0.0.1:${port}/`);
    client.socket.send("\r\n\r\n");
    expect((await client.received.next()).text).toBe("\r\n");
    expect(layer.stats.keepAlives).toBe(1);
    client.socket.ping("there?");
    expect(String((await once(client.socket, "pong"))[0])).toBe("there?");
    client.socket.send("\r\n");
    client.socket.send(MESSAGE);
    await user.messages.next();
    expect(user.errors.size).toBe(0);
  });

  it("opens no connection to a browser whose own is gone: its answers are lost (§5)", async () => {
    const { layer, user, port } = await open();
    const client = await peer(`ws://127.0.0.1:${port}/`);
    client.socket.send(text(VIA.replace("df7jal23ls0d.invalid", "127.0.0.1:9")));
    const { message, flow } = await user.messages.next();
    client.socket.terminate();
    await user.failures.next();
    flow.send(ok(message));
    expect(layer.stats.connectionsOpened).toBe(0);
  });
});

describe("WebSocket to an app server", () => {
  const far = async () => {
    const server = createHttps(ca.issue({ names: ["DNS:shop.example"] }));
    const sockets = new WebSocketServer({ server, handleProtocols: () => "sip" });
    const received = new Queue<string>();
    const connections = new Queue<WebSocket>();
    sockets.on("connection", (socket) => {
      connections.push(socket);
      socket.on("message", (data) => received.push(data.toString()));
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    onTestFinished(() => {
      for (const socket of sockets.clients) socket.terminate();
      server.close();
    });
    return { received, connections, port: (server.address() as { port: number }).port };
  };

  it("sends requests, takes answers, and reuses the connection", async () => {
    const { layer, user } = await open();
    const server = await far();
    const there = { ...to("wss", server.port), name: "shop.example" };
    layer.sendRequest(request(), there, "z9hG4bK1");
    layer.sendRequest(request(), there, "z9hG4bK2");
    const [first, second] = [await server.received.next(), await server.received.next()];
    expect([viaOf(first), viaOf(second)]).toEqual([
      expect.stringMatching(/^SIP\/2\.0\/WSS .*z9hG4bK1/),
      expect.stringMatching(/^SIP\/2\.0\/WSS .*z9hG4bK2/),
    ]);
    (await server.connections.next()).send(first.replace(/^OPTIONS .*/, "SIP/2.0 200 OK"));
    expect((await user.messages.next()).flow.peerNames).toEqual(["shop.example"]);
    expect(layer.stats.connectionsOpened).toBe(1);
  });

  it("sends nothing to a server of another name (RFC 5922 §7.3)", async () => {
    const { layer, user } = await open();
    const server = await far();
    layer.sendRequest(request(), { ...to("wss", server.port), name: "bank.example" }, "z9hG4bK1");
    expect((await user.failures.next()).reason).toMatch(/^wss .*not for bank\.example/);
  });

  it("fails where nobody listens, and where nobody speaks WebSocket", async () => {
    const { layer, user, port } = await open({ listen: [{ transport: "tcp", address: "127.0.0.1", port: 0 }] });
    layer.sendRequest(request(), to("ws", 9), "z9hG4bK1");
    expect((await user.failures.next()).reason).toMatch(/^ws ECONNREFUSED/);
    layer.sendRequest(request(), to("ws", port), "z9hG4bK2");
    const failures = [await user.failures.next(), await user.failures.next()]; // one is of the TCP listener
    expect(failures.map(({ flow }) => [flow.transport, flow.connectFailed])).toContainEqual(["ws", true]);
  });
});

describe("frames of a hostile peer (RFC 6455 §5)", () => {
  it("put a message together out of fragments, with control frames between them", async () => {
    const { user, port } = await open();
    const client = await raw(port);
    const [head, tail] = [MESSAGE.slice(0, 40), `${MESSAGE.slice(40)}body`];
    client.socket.write(frame(TEXT, head, { fin: false }));
    client.socket.write(frame(PING, "?"));
    for (const character of tail.slice(0, -1)) client.socket.write(frame(CONTINUATION, character, { fin: false }));
    client.socket.write(frame(CONTINUATION, tail.slice(-1)));
    expect((await user.messages.next()).message.body.toString()).toBe("body");
  });

  it.each<[what: string, bytes: () => Buffer, code: number]>([
    ["that are not masked", () => frame(TEXT, MESSAGE, { masked: false }), 1002],
    ["of an unknown kind", () => frame(5, MESSAGE), 1002],
    ["with reserved bits", () => frame(TEXT, MESSAGE, { reserved: 4 }), 1002],
    ["that continue nothing", () => frame(CONTINUATION, MESSAGE), 1002],
    [
      "that begin a message within a message",
      () => Buffer.concat([frame(TEXT, "a", { fin: false }), frame(TEXT, "b")]),
      1002,
    ],
    ["that control in fragments", () => frame(PING, "a", { fin: false }), 1002],
    ["that control at length", () => frame(PING, Buffer.alloc(126)), 1002],
    ["of text that is no UTF-8", () => frame(TEXT, Buffer.from([0xc3, 0x28])), 1007],
    ["that are larger than a message may be", () => frame(BINARY, Buffer.alloc(70_000)), 1009],
    [
      "that say they are of many gigabytes",
      () => Buffer.from([0x82, 0xff, 0, 0, 0, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]),
      1009,
    ],
    [
      "that are small, and too many for one message",
      () => Buffer.concat([frame(TEXT, "a".repeat(60_000), { fin: false }), frame(CONTINUATION, "a".repeat(60_000))]),
      1009,
    ],
    ["that close with an invalid code", () => frame(CLOSE, Buffer.from([0, 1])), 1002],
  ])("end the connection: %s", async (_what, bytes, code) => {
    const { user, port } = await open();
    const client = await raw(port);
    client.socket.write(bytes());
    const answer = Buffer.from(await client.received.next(), "latin1");
    expect([answer[0], answer.readUInt16BE(2)]).toEqual([0x88, code]);
    client.socket.end();
    await client.closed;
    expect((await user.failures.next()).flow.transport).toBe("ws");
    expect(user.messages.size).toBe(0);
  });

  it("that ask for pongs and read none of them fill no memory", async () => {
    const { user, port } = await open();
    const client = await raw(port);
    client.socket.pause();
    const pings = Buffer.concat(new Array(500).fill(frame(PING, Buffer.alloc(125))));
    for (let i = 0; i < 100; i++) client.socket.write(pings);
    client.socket.write(frame(TEXT, MESSAGE));
    const { flow } = await user.messages.next();
    expect((flow as unknown as { waitingBytes: number }).waitingBytes).toBeLessThan(200_000);
  });

  it("count while their message is not finished, and end if it takes too long", async () => {
    const clock = new TestClock();
    const { user, port } = await open({ clock, bounds: { partialMs: 8_000, firstMessageMs: 60_000, idleMs: 60_000 } });
    const client = await raw(port);
    client.socket.write(frame(TEXT, MESSAGE));
    const { flow } = await user.messages.next();
    const pending = () => (flow as unknown as { waitingBytes: number }).waitingBytes;
    expect(pending()).toBe(0);
    client.socket.write(frame(TEXT, "a".repeat(5_000), { fin: false }));
    client.socket.write(frame(PONG, ""));
    await expect.poll(pending).toBeGreaterThan(4_900);
    clock.advance(10_000);
    await client.closed;
    expect((await user.failures.next()).reason).toBe("ws message not finished");
  });

  it("of any making do no harm: the next peer is served", async () => {
    const { layer, user, port } = await open();
    // A generator with a seed, so that a failure can be seen again.
    let seed = 20_261_128;
    const next = (below: number) => {
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
      return Math.floor((seed / 2 ** 32) * below);
    };
    const sockets: Socket[] = [];
    for (let round = 0; round < 40; round++) {
      const { socket } = await raw(port);
      sockets.push(socket);
      for (let i = 0; i < 20 && socket.writable; i++) {
        const bytes = frame(next(16), MESSAGE.slice(0, next(300)), {
          fin: next(4) > 0,
          masked: next(10) > 0,
          reserved: next(12) === 0 ? next(8) : 0,
        });
        for (let flips = next(3); flips > 0; flips--) bytes[next(bytes.length)] = next(256);
        socket.write(bytes.subarray(0, next(8) === 0 ? next(bytes.length) : bytes.length));
      }
    }
    const client = await peer(`ws://127.0.0.1:${port}/`);
    client.socket.send(text(VIA, { method: "INFO" }));
    for (;;)
      if (
        (await user.messages.next()).flow.remotePort ===
        (client.socket as unknown as { _socket: Socket })._socket.localPort
      )
        break;
    for (const socket of sockets) socket.destroy();
    await expect.poll(() => layer.stats.connections).toBe(1);
  });
});

describe("the handshake of a hostile peer", () => {
  it.each([
    ["has no end", `GET / HTTP/1.1\r\nX: ${"a".repeat(20_000)}`],
    ["is no HTTP", "\u0016\u0003\u0001\u0002\u0000"],
    ["is SIP", text(VIA)],
    [
      "has no key",
      "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: sip\r\n\r\n",
    ],
  ])("ends the connection if it %s", async (_what, bytes) => {
    const { layer, port } = await open();
    const socket = connectTcp(port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.resume();
    socket.write(bytes);
    await once(socket, "close");
    expect(layer.stats.handshakesFailed).toBe(1);
    expect((await peer(`ws://127.0.0.1:${port}/`)).socket.protocol).toBe("sip");
  });

  it("ends in time if it never comes", async () => {
    const clock = new TestClock();
    const { layer, port } = await open({ clock, bounds: { firstMessageMs: 5_000 } });
    const silent = await tcpPeer(port);
    await expect.poll(() => layer.stats.connectionsAccepted).toBe(1);
    clock.advance(7_000);
    await silent.closed;
    expect(layer.stats.handshakesFailed).toBe(1);
  });
});
