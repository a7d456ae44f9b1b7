import { once } from "node:events";
import { rmSync, writeFileSync } from "node:fs";
import { connect as connectTls, createServer, type TLSSocket } from "node:tls";
import { pino } from "pino";
import { afterEach, describe, expect, it, onTestFinished } from "vitest";
import { PeerLog } from "../../src/support/peer-log.ts";
import type { TransportLayerOptions } from "../../src/transport/layer.ts";
import type { Destination } from "../../src/transport/types.ts";
import { authority, certificateFolder, type Issued } from "../support/certificates.ts";
import { TestClock } from "../support/test-clock.ts";
import { closeAll, ok, peerOf, Queue, request, start, tcpPeer, text, viaOf } from "./harness.ts";

afterEach(closeAll);

const ca = authority();
const files = certificateFolder(["DNS:portal.example", "IP:127.0.0.1"], ca);
const tls = { cert: files.cert, key: files.key, ca: files.ca };
const asking = { ...tls, clientCa: files.ca };
const VIA = "SIP/2.0/TLS pc.example.com;rport;branch=z9hG4bK1";

const open = async (options: Partial<TransportLayerOptions> = {}) => {
  const listen = [{ transport: "tls", address: "127.0.0.1", port: 0 }] as const;
  const started = await start({ listen, tls, ...options });
  return { ...started, port: started.layer.listening.at(-1)!.port };
};

async function peer(port: number, options: object = {}) {
  const socket = connectTls({ port, host: "127.0.0.1", ca: ca.cert, servername: "portal.example", ...options });
  await once(socket, "secureConnect");
  return { ...peerOf(socket), socket };
}

/** A TLS server with that certificate, and what comes to it. */
async function server(issued: Issued, options: object = {}) {
  const connections = new Queue<TLSSocket>();
  const received = new Queue<string>();
  const listening = createServer({ ...issued, ...options }, (socket) => {
    connections.push(socket);
    socket.on("data", (bytes) => received.push(bytes.toString()));
    socket.on("error", () => undefined);
  });
  listening.on("tlsClientError", () => undefined);
  listening.listen(0, "127.0.0.1");
  await once(listening, "listening");
  onTestFinished(() => void listening.close());
  return { connections, received, port: (listening.address() as { port: number }).port };
}

const to = (port: number, name?: string): Destination => ({ transport: "tls", address: "127.0.0.1", port, name });

function logged() {
  const lines: { level: number; msg: string; err?: string; why?: string }[] = [];
  const log = pino({ level: "debug" }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  return { log, lines };
}

describe("TLS (RFC 3261 §26.2.1)", () => {
  it("answers on the connection of the request, and says TLS in Contact", async () => {
    const { layer, user, port } = await open();
    const client = await peer(port);
    client.socket.write(text(VIA));
    const { message, flow } = await user.messages.next();
    expect([flow.transport, flow.reliable, flow.secure, flow.peerNames]).toEqual(["tls", true, true, undefined]);
    expect(message.headers.get("via")).toMatch(/^SIP\/2.0\/TLS .*received=127\.0\.0\.1;rport=\d+$/);
    flow.send(ok(message));
    expect(await client.received.next()).toMatch(/^SIP\/2.0 200 OK/);
    expect(layer.contactFor(flow)).toBe(`127.0.0.1:${port};transport=tls`);
  });

  it("takes nothing older than TLS 1.2", async () => {
    const { port, user } = await open();
    const old = connectTls({
      port,
      host: "127.0.0.1",
      ca: ca.cert,
      maxVersion: "TLSv1.1",
      minVersion: "TLSv1",
      ciphers: "ALL:@SECLEVEL=0",
    });
    const [error] = await once(old, "error");
    expect(String(error)).toMatch(/protocol version|alert/i);
    const newer = await peer(port, { maxVersion: "TLSv1.2" });
    newer.socket.write(text(VIA));
    await user.messages.next();
  });

  it("sends requests with TLS in Via, and reuses the connection for the same name", async () => {
    const { layer } = await open();
    const far = await server(ca.issue({ names: ["DNS:shop.example"] }));
    layer.sendRequest(request(), to(far.port, "shop.example"), "z9hG4bK1");
    expect(viaOf(await far.received.next())).toMatch(/^SIP\/2\.0\/TLS 127\.0\.0\.1:\d+;rport;branch=z9hG4bK1;alias$/);
    layer.sendRequest(request(), to(far.port, "shop.example"), "z9hG4bK2");
    expect(viaOf(await far.received.next())).toContain("z9hG4bK2");
    expect(layer.stats.connectionsOpened).toBe(1);
  });

  it("asks for requests to come back by a connection that it opened, and takes them there (RFC 5923 §8.1)", async () => {
    const { layer, user, port } = await open();
    const far = await server(ca.issue({ names: ["DNS:shop.example"] }));
    layer.sendRequest(request(), to(far.port, "shop.example"), "z9hG4bK1");
    // What the peer would connect to otherwise is a listener of ours.
    expect(viaOf(await far.received.next())).toBe(`SIP/2.0/TLS 127.0.0.1:${port};rport;branch=z9hG4bK1;alias`);
    (await far.connections.next()).write(text("SIP/2.0/TLS shop.example;branch=z9hG4bK2;alias"));
    const { message, flow } = await user.messages.next();
    expect([flow.peerNames, flow.remotePort]).toEqual([["shop.example"], far.port]);
    flow.send(ok(message));
    expect(await far.received.next()).toMatch(/^SIP\/2.0 200 OK/);
  });

  it("does not ask for that by a connection that it reuses itself, nor without a listener or a certificate (RFC 5923 §9)", async () => {
    const { layer, user, port } = await open({ tls: asking });
    const client = await peer(port, ca.issue({ names: ["DNS:shop.example"] }));
    client.socket.write(text("SIP/2.0/TLS shop.example:5099;alias;branch=z9hG4bK1"));
    await user.messages.next();
    layer.sendRequest(request(), to(5099, "shop.example"), "z9hG4bK2");
    expect(viaOf(await client.received.next())).not.toContain("alias");
    const far = await server(ca.issue({ names: ["DNS:shop.example"] }));
    for (const own of [tls, { ca: files.ca }]) {
      const deaf = await start({ tls: own });
      deaf.layer.sendRequest(request(), to(far.port, "shop.example"), "z9hG4bK3");
      expect(viaOf(await far.received.next())).not.toContain("alias");
    }
  });

  it("sends nothing for another name by a connection whose peer has proved one (RFC 5923 §8.1; RFC 5922 §7.3)", async () => {
    const { layer, user } = await open();
    const far = await server(ca.issue({ names: ["DNS:shop.example"] }));
    const { flow } = layer.sendRequest(request(), to(far.port, "shop.example"), "z9hG4bK1");
    await far.received.next();
    const other = layer.sendRequest(request(), to(far.port, "bank.example"), "z9hG4bK2").flow;
    expect(other).not.toBe(flow);
    const failed = await user.failures.next();
    expect([failed.flow, failed.reason]).toEqual([other, expect.stringContaining("not for bank.example")]);
    expect(far.received.size).toBe(0);
    expect(layer.sendRequest(request(), to(far.port, "shop.example"), "z9hG4bK3").flow).toBe(flow);
  });

  it("takes the answer to such a request", async () => {
    const { layer, user } = await open();
    const far = await server(ca.issue({ names: ["URI:sip:shop.example"] }));
    layer.sendRequest(request(), to(far.port, "shop.example"), "z9hG4bK1");
    const asked = await far.received.next();
    (await far.connections.next()).write(asked.replace(/^OPTIONS .*/, "SIP/2.0 200 OK"));
    expect((await user.messages.next()).flow.peerNames).toEqual(["shop.example"]);
  });

  it.each<[what: string, issued: () => Issued, name: string, why: RegExp]>([
    ["for another name", () => ca.issue({ names: ["DNS:other.example"] }), "shop.example", /not for shop\.example/],
    [
      "with a wildcard (RFC 5922 §7.2)",
      () => ca.issue({ names: ["DNS:*.example"] }),
      "shop.example",
      /not for shop\.example/,
    ],
    [
      "of an authority that is not trusted",
      () => authority().issue({ names: ["DNS:shop.example"] }),
      "shop.example",
      /UNABLE_TO|SELF_SIGNED|signature|issuer/i,
    ],
    [
      "that has expired",
      () => ca.issue({ names: ["DNS:shop.example"], to: new Date(Date.now() - 1000) }),
      "shop.example",
      /EXPIRED/,
    ],
    [
      "that does not hold yet",
      () => ca.issue({ names: ["DNS:shop.example"], from: new Date(Date.now() + 86_400_000) }),
      "shop.example",
      /NOT_YET/,
    ],
    ["for another address", () => ca.issue({ names: ["IP:127.0.0.2"] }), "127.0.0.1", /not for 127\.0\.0\.1/],
  ])("sends nothing to a server whose certificate is one %s", async (_what, issued, name, why) => {
    const { layer, user } = await open();
    const far = await server(issued());
    const { flow } = layer.sendRequest(request(), to(far.port, name), "z9hG4bK1");
    const failure = await user.failures.next();
    expect(failure.flow).toBe(flow);
    expect(failure.reason).toMatch(why);
    expect(far.received.size).toBe(0);
  });

  it("uses no connection for a name that was not proved on it, though the address is the same", async () => {
    const { layer, user } = await open();
    const far = await server(ca.issue({ names: ["DNS:shop.example"] }));
    layer.sendRequest(request(), to(far.port, "shop.example"), "z9hG4bK1");
    await far.received.next();
    layer.sendRequest(request(), to(far.port, "bank.example"), "z9hG4bK2");
    expect((await user.failures.next()).reason).toMatch(/not for bank\.example/);
    expect(far.received.size).toBe(0);
  });

  it("shows its own certificate where a server asks for one", async () => {
    const { layer } = await open();
    const far = await server(ca.issue({ names: ["DNS:shop.example"] }), { requestCert: true, ca: ca.cert });
    layer.sendRequest(request(), to(far.port, "shop.example"), "z9hG4bK1");
    await far.received.next();
    expect((await far.connections.next()).getPeerCertificate().subjectaltname).toContain("DNS:portal.example");
  });

  it("names another listener in Contact where there is none for TLS, so that requests find back", async () => {
    const listen = [{ transport: "tcp", address: "127.0.0.1", port: 0 }] as const;
    const { layer, tcpPort } = await start({ listen, tls: { ca: files.ca } });
    expect(layer.contactTowards(to(5061))).toBe(`127.0.0.1:${tcpPort};transport=tcp`);
    const far = await server(ca.issue({ names: ["DNS:shop.example"] }));
    layer.sendRequest(request(), to(far.port, "shop.example"), "z9hG4bK1");
    expect(viaOf(await far.received.next())).toMatch(/^SIP\/2\.0\/TLS /);
  });
});

describe("client certificates (RFC 5922 §7.4)", () => {
  it("tell who the peer is", async () => {
    const { user, port } = await open({ tls: asking });
    const client = await peer(port, ca.issue({ names: ["URI:sip:shop.example", "DNS:host.example"] }));
    client.socket.write(text(VIA));
    expect((await user.messages.next()).flow.peerNames).toEqual(["shop.example"]);
  });

  it.each<[what: string, issued: Issued | object]>([
    ["of an authority that is not trusted", authority().issue({ names: ["DNS:shop.example"] })],
    ["that have expired", ca.issue({ names: ["DNS:shop.example"], to: new Date(Date.now() - 1000) })],
    ["that are not there", {}],
  ])("%s tell nothing, and the peer is served like any other", async (_what, issued) => {
    const { user, port } = await open({ tls: asking });
    const client = await peer(port, issued);
    client.socket.write(text(VIA));
    expect((await user.messages.next()).flow.peerNames).toBeUndefined();
  });

  it("tell it after a resumed session, too", async () => {
    const { user, port } = await open({ tls: asking });
    const issued = ca.issue({ names: ["DNS:shop.example"] });
    const first = await peer(port, { ...issued, maxVersion: "TLSv1.2" });
    const session = first.socket.getSession();
    first.socket.write(text(VIA));
    await user.messages.next();
    const again = await peer(port, { ...issued, session, maxVersion: "TLSv1.2" });
    expect(again.socket.isSessionReused()).toBe(true);
    again.socket.write(text(VIA));
    expect((await user.messages.next()).flow.peerNames).toEqual(["shop.example"]);
  });

  it("let requests go back by the peer's own connection, if it asks for that by alias (RFC 5923 §5)", async () => {
    const { layer, user, port } = await open({ tls: asking });
    const client = await peer(port, ca.issue({ names: ["DNS:shop.example"] }));
    client.socket.write(text("SIP/2.0/TLS shop.example:5099;alias;branch=z9hG4bK1"));
    const { flow } = await user.messages.next();
    expect(layer.sendRequest(request(), to(5099, "shop.example"), "z9hG4bK2").flow).toBe(flow);
    expect(layer.sendRequest(request(), to(5099, "bank.example"), "z9hG4bK3").flow).not.toBe(flow);
    expect(layer.sendRequest(request(), to(5098, "shop.example"), "z9hG4bK4").flow).not.toBe(flow);
    expect(viaOf(await client.received.next())).toContain("z9hG4bK2");
  });

  it.each([
    ["without a certificate", {}, ";alias"],
    ["without alias", ca.issue({ names: ["DNS:shop.example"] }), ""],
  ])("%s there is no such way", async (_what, issued, alias) => {
    const { layer, user, port } = await open({ tls: asking });
    const client = await peer(port, issued);
    client.socket.write(text(`SIP/2.0/TLS shop.example:5099${alias};branch=z9hG4bK1`));
    const { flow } = await user.messages.next();
    expect(layer.sendRequest(request(), to(5099, "shop.example"), "z9hG4bK2").flow).not.toBe(flow);
  });
});

describe("a certificate that is renewed", () => {
  const renewing = () => {
    const own = certificateFolder(["DNS:old.example"], ca);
    return { own, tls: { cert: own.cert, key: own.key } };
  };
  const shown = (socket: TLSSocket) => socket.getPeerCertificate().subjectaltname;
  const LOOK_MS = 10_000;

  it("is loaded by itself, and connections that are open stay", async () => {
    const { own, tls } = renewing();
    const clock = new TestClock(Date.now());
    const { log, lines } = logged();
    const { user, port } = await open({ tls, clock, log });
    const before = await peer(port, { servername: "old.example" });
    own.write(ca.issue({ names: ["DNS:new.example"] }));
    clock.advance(LOOK_MS);
    const after = await peer(port, { servername: "new.example" });
    expect(shown(after.socket)).toBe("DNS:new.example");
    before.socket.write(text(VIA));
    await user.messages.next();
    expect(lines.map(({ msg }) => msg)).toEqual(["tls: certificate loaded"]);
  });

  it("is loaded when the operator says so", async () => {
    const { own, tls } = renewing();
    const { layer, port } = await open({ tls });
    own.write(ca.issue({ names: ["DNS:new.example"] }));
    layer.reloadCertificates();
    expect(shown((await peer(port, { servername: "new.example" })).socket)).toBe("DNS:new.example");
  });

  it.each<[what: string, spoil: (own: ReturnType<typeof certificateFolder>) => void, why: RegExp]>([
    ["no certificate", (own) => writeFileSync(own.cert, "hello"), /holds no certificate/],
    ["for another key", (own) => writeFileSync(own.cert, ca.issue().cert), /does not fit/],
    ["expired", (own) => own.write(ca.issue({ to: new Date(Date.now() - 1000) })), /has expired/],
    ["gone", (own) => rmSync(own.cert), /cannot be read/],
  ])("and is %s leaves the former in place; the log says so once", async (_what, spoil, why) => {
    const { own, tls } = renewing();
    const clock = new TestClock(Date.now());
    const { log, lines } = logged();
    const { port } = await open({ tls, clock, log });
    spoil(own);
    clock.advance(LOOK_MS);
    clock.advance(LOOK_MS);
    expect(shown((await peer(port, { servername: "old.example" })).socket)).toBe("DNS:old.example");
    expect(lines.map(({ level, err }) => [level, err])).toEqual([[50, expect.stringMatching(why)]]);
    own.write(ca.issue({ names: ["DNS:new.example"] }));
    clock.advance(LOOK_MS);
    expect(shown((await peer(port, { servername: "new.example" })).socket)).toBe("DNS:new.example");
  });

  it("has its days counted, and the log warns when they run out, once a day", async () => {
    const clock = new TestClock(Date.now());
    const { log, lines } = logged();
    const own = certificateFolder([], ca);
    own.write(ca.issue({ to: new Date(Date.now() + 15.5 * 86_400_000) }));
    const { layer } = await open({ tls: { cert: own.cert, key: own.key }, clock, log });
    expect(layer.certificateDaysLeft).toBeCloseTo(15.5, 2);
    expect(lines).toEqual([]);
    for (let hour = 0; hour < 59; hour++) clock.advance(3_600_000);
    expect(layer.certificateDaysLeft).toBeCloseTo(15.5 - 59 / 24, 2);
    expect(lines.map(({ level, msg }) => [level, msg])).toEqual([[40, "tls: the certificate expires soon"]]);
  });
});

describe("peers that do not shake hands", () => {
  it("are ended in time, and count among the connections of their address", async () => {
    const clock = new TestClock(Date.now());
    const { layer, port } = await open({ clock, bounds: { firstMessageMs: 5_000, maxConnectionsPerAddress: 2 } });
    const silent = await tcpPeer(port);
    const other = await tcpPeer(port);
    const third = await tcpPeer(port);
    await third.closed;
    expect(layer.stats.connectionsRefused).toBe(1);
    clock.advance(7_000);
    await Promise.all([silent.closed, other.closed]);
    expect(layer.stats.handshakesFailed).toBe(2);
    await peer(port);
  });

  it("and send something else are closed at once; the log says why", async () => {
    const { log, lines } = logged();
    const clock = new TestClock(Date.now());
    const { layer, port } = await open({ peerLog: new PeerLog({ log, clock }) });
    const foreign = await tcpPeer(port);
    foreign.socket.write(text(VIA));
    await foreign.closed;
    expect(layer.stats.handshakesFailed).toBe(1);
    expect(lines[0]?.why).toMatch(/TLS handshake failed/);
  });

  it("give way to others where there is no room", async () => {
    const clock = new TestClock(Date.now());
    const { layer, port } = await open({ clock, bounds: { maxConnections: 1 } });
    const silent = await tcpPeer(port);
    clock.advance(3_000);
    await peer(port);
    await silent.closed;
    expect(layer.stats.connectionsGaveWay).toBe(1);
  });

  it("do not keep the relay from stopping", async () => {
    const { layer, port } = await open();
    const silent = await tcpPeer(port);
    await layer.close();
    await silent.closed;
  });
});
