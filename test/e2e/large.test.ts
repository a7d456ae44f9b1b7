import { createSocket } from "node:dgram";
import { describe, expect, it, onTestFinished } from "vitest";
import { createClient, serve } from "../../src/sdk/index.ts";
import type { SipMessage, SipRequest } from "../../src/sip/message.ts";
import { reasonPhrase, responseTo } from "../../src/sip/response.ts";
import { serialize } from "../../src/sip/serialize.ts";
import { Peer } from "../relay/harness.ts";
import { freePort } from "../support/peers.ts";
import { DOMAIN, lines, openPortal, PASSWORD, type Portal, USER } from "./portal.ts";
import { TcpPeer, tcpServer } from "./tcp-peer.ts";
import { credentials, establish, UdpPeer } from "./udp-peer.ts";

/* What depends on the transport: large requests, streams, keep-alives, IPv6. */

const LARGE = "x".repeat(2_000);

async function open(options: { address?: string; serverPort?: number } = {}) {
  const { address = "127.0.0.1", serverPort = 0 } = options;
  let portal: Portal | undefined;
  const relay = () => ({ address, port: portal!.udp });
  const [client, server] = [await UdpPeer.open(relay, address), await UdpPeer.open(relay, address, serverPort)];
  portal = await openPortal({
    address,
    config: {
      services: [{ id: "wine" }],
      appServers: [{ id: "winery", uri: server.uri, services: ["wine"] }],
    },
  });
  const opened = portal;
  onTestFinished(async () => {
    await opened.close();
    await Promise.all([client.close(), server.close()]);
  });
  return { portal, client, server };
}

/** Listens for TCP on that port; `connected` is the first connection that somebody makes. */
async function listenTcp(port: number): Promise<{ connected: Promise<TcpPeer> }> {
  const peers: TcpPeer[] = [];
  let first!: (peer: TcpPeer) => void;
  const connected = new Promise<TcpPeer>((resolve) => {
    first = resolve;
  });
  const server = await tcpServer(port, (peer) => {
    peers.push(peer);
    first(peer);
  });
  onTestFinished(() => {
    for (const { socket } of peers) socket.destroy();
    server.close();
  });
  return { connected };
}

const asRequest = (message: SipMessage | "pong"): SipRequest => {
  if (message === "pong" || !message.isRequest) throw new Error("expected a request");
  return message;
};
const nameOf = (message: SipMessage | "pong") =>
  message === "pong" ? message : message.isRequest ? message.method : `${message.status} ${message.cseq?.method}`;

describe("a request of more than 1300 bytes (RFC 3261 §18.1.1)", () => {
  it("goes to an app server of UDP by TCP, the Via says so, and the session goes on by UDP", async () => {
    const serverPort = await freePort();
    const { connected } = await listenTcp(serverPort);
    const { portal, client, server } = await open({ serverPort });
    const invite = await client.call("wine", { body: LARGE, type: "text/plain" });
    const connection = await connected;
    const asked = asRequest(await connection.next());
    expect([asked.method, asked.via?.transport]).toEqual(["INVITE", "TCP"]);
    expect(asked.body.toString()).toBe(LARGE);
    expect(server.inbox).toEqual([]);

    const accept = responseTo(asked, 200, reasonPhrase(200), "winery");
    accept.headers.add("Contact", server.contact);
    await connection.write(serialize(accept));
    const answer = await client.nextResponse(200);
    client.ack(invite, answer);
    // The Contact names no transport: what is small goes by UDP (RFC 3263 §4.1).
    const ack = await server.nextRequest("ACK");
    expect(ack.via?.transport).toBe("UDP");

    // Within the session the same holds, and the connection is used again.
    client.inDialog("INFO", invite, answer, 2, { body: LARGE, type: "text/plain" });
    const info = asRequest(await connection.next());
    expect([info.method, info.via?.transport, info.body.length]).toEqual(["INFO", "TCP", LARGE.length]);
    await connection.write(serialize(responseTo(info, 200, "OK")));
    await client.nextResponse(200);

    client.inDialog("BYE", invite, answer, 3);
    server.answer(await server.nextRequest("BYE"), 200);
    await client.nextResponse(200);
    expect(lines(await portal.bill())).toEqual(["wine, ended by client: 0"]);
  });

  it("goes by UDP after all where the app server has no TCP", async () => {
    const { client, server } = await open({ serverPort: await freePort() });
    const { inviteAtServer, invite, answer } = await establish(client, server, "wine", { body: LARGE });
    expect(inviteAtServer.via?.transport).toBe("UDP");
    expect(inviteAtServer.body.toString()).toBe(LARGE);
    client.inDialog("BYE", invite, answer, 2);
    server.answer(await server.nextRequest("BYE"), 200);
    await client.nextResponse(200);
  });

  it("may be as large as a message of TCP can be, up to limits.messageBytes", async () => {
    const { portal } = await open();
    const connection = await TcpPeer.dial(portal.tcp);
    onTestFinished(() => void connection.socket.destroy());
    const writer = new Writer(connection);
    const uri = `sip:wine@${DOMAIN}`;
    writer.peer.invite({ uri, body: "y".repeat(60_000) });
    await connection.write(writer.taken());
    expect(nameOf(await connection.next())).toBe("401 INVITE");
    writer.peer.invite({ uri, body: "" });
    const tooLarge = writer.taken().toString().replace("Content-Length: 0", "Content-Length: 70000");
    await connection.write(Buffer.from(tooLarge + "y".repeat(70_000)));
    expect(nameOf(await connection.next())).toBe("513 INVITE");
    // How long the body goes on is known, but nobody reads it: the connection is at its end.
    await expect(connection.next()).rejects.toThrow("closed");
  });
});

/** Builds a client's messages, for the test to write them as it likes. */
class Writer {
  readonly peer: Peer;
  private readonly written: Buffer[] = [];

  constructor(connection: TcpPeer) {
    const deliver = (message: SipMessage) => void this.written.push(serialize(message));
    this.peer = new Peer({ deliver }, "127.0.0.1", connection.localPort, "tcp");
  }

  /** What was built since the last time. */
  taken(): Buffer {
    return Buffer.concat(this.written.splice(0));
  }
}

describe("a client of TCP", () => {
  it("has a session although its messages come in pieces, or several in one", async () => {
    const { portal, server } = await open();
    const connection = await TcpPeer.dial(portal.tcp);
    onTestFinished(() => void connection.socket.destroy());
    const writer = new Writer(connection);
    const uri = `sip:wine@${DOMAIN}`;
    const from = `<sip:${USER}@${DOMAIN}>`;
    const first = writer.peer.invite({ uri, from, body: "v=0\r\n\r\nINVITE sip:no SIP/2.0\r\n" });
    const bytes = writer.taken();
    // Within the start line, a header name, the blank line that ends the head, and the body.
    const head = bytes.indexOf("\r\n\r\n");
    await connection.write(bytes, [1, 3, 11, bytes.indexOf("Call-ID") + 3, head + 1, head + 2, head + 3, head + 9]);
    const challenge = await connection.next();
    if (challenge === "pong" || challenge.isRequest) throw new Error("expected a challenge");
    expect(challenge.status).toBe(401);

    writer.peer.ack(first, challenge);
    const headers: [string, string][] = [["Authorization", credentials(challenge, uri)]];
    const invite = writer.peer.invite({ uri, from, headers, body: "v=0" });
    const both = writer.taken(); // ACK and INVITE in one piece, but for the last byte
    await connection.write(both, [both.length - 1]);
    const asked = await server.nextRequest("INVITE");
    expect(asked.body.toString()).toBe("v=0");
    server.answer(asked, 200);
    const answer = await connection.next();
    if (answer === "pong" || answer.isRequest) throw new Error("expected an answer");
    expect(answer.headers.get("contact")).toContain(";transport=tcp");

    writer.peer.ack(invite, answer);
    writer.peer.inDialog("INFO", invite, answer, 2, { body: "hello", type: "text/plain" });
    writer.peer.inDialog("BYE", invite, answer, 3);
    const rest = writer.taken(); // byte by byte
    await connection.write(
      rest,
      Array.from({ length: rest.length - 1 }, (_, i) => i + 1),
    );
    await server.nextRequest("ACK");
    server.answer(await server.nextRequest("INFO"), 200);
    server.answer(await server.nextRequest("BYE"), 200);
    expect([nameOf(await connection.next()), nameOf(await connection.next())]).toEqual(["200 INFO", "200 BYE"]);
    expect(lines(await portal.bill())).toEqual(["wine, ended by client: 0"]);
  });

  it("gets CRLF for its double CRLF (RFC 5626 §4.4.1), and nothing for a single one (RFC 3261 §7.5)", async () => {
    const { portal } = await open();
    const connection = await TcpPeer.dial(portal.tcp);
    onTestFinished(() => void connection.socket.destroy());
    await connection.write(Buffer.from("\r\n\r\n"));
    expect(await connection.next()).toBe("pong");
    // In two pieces, too.
    await connection.write(Buffer.from("\r\n\r\n"), [3]);
    expect(await connection.next()).toBe("pong");
    const writer = new Writer(connection);
    writer.peer.invite({ uri: `sip:wine@${DOMAIN}` });
    await connection.write(Buffer.concat([Buffer.from("\r\n"), writer.taken()]));
    expect(nameOf(await connection.next())).toBe("401 INVITE");
  });
});

/** Why there is no IPv6 here; undefined: there is. */
async function noIpv6(): Promise<string | undefined> {
  const socket = createSocket("udp6");
  const error = await new Promise<Error | undefined>((resolve) => {
    socket.once("error", resolve);
    socket.bind(0, "::1", () => resolve(undefined));
  });
  socket.close();
  return error && `this machine has no IPv6 loopback address ::1: ${error.message}`;
}

describe("IPv6", async () => {
  const missing = await noIpv6();
  if (missing !== undefined) console.warn(`IPv6 tests skipped: ${missing}`);

  it("carries a call over UDP on both sides", async ({ skip }) => {
    skip(missing !== undefined, missing);
    const { portal, client, server } = await open({ address: "::1" });
    const { invite, answer, inviteAtServer, ...call } = await establish(client, server, "wine");
    expect(inviteAtServer.via?.host).toBe("[::1]");
    expect(answer.headers.get("contact")).toBe(`<sip:[::1]:${portal.udp}>`);
    server.backInDialog("BYE", inviteAtServer, call.answerOfServer, 1);
    client.answer(await client.nextRequest("BYE"), 200);
    await server.nextResponse(200);
    expect(invite.callId).not.toBe(inviteAtServer.callId);
    expect(lines(await portal.bill())).toEqual(["wine, ended by server: 0"]);
  });

  it("carries a session of SIP.js over TCP on both sides", async ({ skip }) => {
    skip(missing !== undefined, missing);
    const shop = await serve({
      listen: { host: "::1", port: 0 },
      services: { wine: (request) => request.accept({ url: "http://[::1]:80/" }) },
    });
    const portal = await openPortal({
      address: "::1",
      config: { services: [{ id: "wine" }], appServers: [{ id: "shop", uri: shop.uri, services: ["wine"] }] },
    });
    const alice = createClient({ relay: portal.uri, user: USER, password: PASSWORD, domain: DOMAIN });
    onTestFinished(async () => {
      await alice.close();
      await portal.close();
      await shop.close();
    });
    const visit = await alice.request("wine");
    expect(visit.access).toBe("http://[::1]:80/");
    expect(await visit.end()).toEqual({ by: "local", status: 200 });
    expect(lines(await portal.bill())).toEqual(["wine, ended by client: 0"]);
  });
});
