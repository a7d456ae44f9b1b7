import { networkInterfaces } from "node:os";
import { afterEach, describe, expect, it } from "vitest";
import type { SipRequest } from "../../src/sip/message.ts";
import { parseMessage } from "../../src/sip/parse.ts";
import { itUnless } from "../support/unless.ts";
import { closeAll, ok, request, start, text, to, udpPeer, viaOf } from "./harness.ts";

afterEach(closeAll);

const hasIpv6 = Object.values(networkInterfaces()).some((entries) => entries?.some(({ address }) => address === "::1"));
const NO_V6 = hasIpv6 ? undefined : "this machine has no IPv6 loopback address";

describe("UDP (RFC 3261 §18)", () => {
  it("fills received and rport where the client asks for rport, and answers to where the request came from (RFC 3581 §4)", async () => {
    const { user, udpPort } = await start();
    const peer = await udpPeer();
    peer.send(text("SIP/2.0/UDP 10.9.9.9:9999;rport;branch=z9hG4bK1"), udpPort);
    const { message, flow } = await user.messages.next();
    expect(message.headers.get("via")).toBe(
      `SIP/2.0/UDP 10.9.9.9:9999;branch=z9hG4bK1;received=127.0.0.1;rport=${peer.port}`,
    );
    expect(flow.id).toBe(`udp/127.0.0.1:${peer.port}`);
    expect([flow.reliable, flow.secure, flow.open]).toEqual([false, false, true]);
    flow.send(ok(message));
    expect(await peer.received.next()).toMatch(/^SIP\/2.0 200 OK/);
  });

  it("hands up what belongs to sessions before what begins, when more has come than it reads in one turn", async () => {
    const { user, udpPort } = await start();
    const peer = await udpPeer();
    const invite = (n: number) =>
      text(`SIP/2.0/UDP 127.0.0.1:${peer.port};rport;branch=z9hG4bK${n}`, { method: "INVITE" });
    for (let n = 0; n < 200; n++) peer.send(invite(n), udpPort);
    peer.send(text(`SIP/2.0/UDP 127.0.0.1:${peer.port};rport;branch=z9hG4bKbye`, { method: "BYE" }), udpPort);
    const order: string[] = [];
    while (order.length < 201) order.push(((await user.messages.next()).message as SipRequest).method);
    // It came last. How many were read before it came is the machine's affair.
    expect(order.indexOf("BYE")).toBeLessThan(200);
    expect(order.filter((method) => method === "INVITE")).toHaveLength(200);
  });

  it("answers to the sent-by port where the client does not ask for rport (RFC 3261 §18.2.2)", async () => {
    const { user, udpPort } = await start();
    const [sender, listener] = [await udpPeer(), await udpPeer()];
    sender.send(text(`SIP/2.0/UDP pc.example.com:${listener.port};branch=z9hG4bK1`), udpPort);
    const { message, flow } = await user.messages.next();
    // RFC 3261 §18.2.1: a name in sent-by gets `received`.
    expect(message.headers.get("via")).toBe(
      `SIP/2.0/UDP pc.example.com:${listener.port};branch=z9hG4bK1;received=127.0.0.1`,
    );
    flow.send(ok(message));
    expect(await listener.received.next()).toMatch(/^SIP\/2.0 200 OK/);
  });

  it("answers to port 5060 where the Via names no port", async () => {
    const { user, udpPort } = await start();
    const peer = await udpPeer();
    peer.send(text("SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1"), udpPort);
    const { message, flow } = await user.messages.next();
    expect(flow.remotePort).toBe(5060);
    expect(message.headers.get("via")).toBe("SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1");
  });

  it("does not let a peer aim our answers at someone else by maddr or its own received", async () => {
    const { user, udpPort } = await start();
    const peer = await udpPeer();
    peer.send(text("SIP/2.0/UDP 127.0.0.1:5;maddr=203.0.113.7;received=203.0.113.8;branch=z9hG4bK1"), udpPort);
    const { message, flow } = await user.messages.next();
    expect([flow.remoteAddress, flow.remotePort]).toEqual(["127.0.0.1", 5]);
    expect(message.via?.params.get("received")).toBe("127.0.0.1");
  });

  it("puts a Via with sent-by, rport and branch on a request, and says what was sent (RFC 3261 §18.1.1, RFC 3581 §3)", async () => {
    const { layer, udpPort } = await start();
    const peer = await udpPeer();
    const { flow, bytes } = layer.sendRequest(request(), to("udp", peer.port), "z9hG4bKours");
    const got = await peer.received.next();
    expect(viaOf(got)).toBe(`SIP/2.0/UDP 127.0.0.1:${udpPort};rport;branch=z9hG4bKours`);
    expect(bytes.toString("latin1")).toBe(got);
    flow.send(bytes);
    expect(await peer.received.next()).toBe(got);
    expect(layer.contactFor(flow)).toBe(`127.0.0.1:${udpPort}`);
  });

  it("hands up the response, but not one to a request that is not ours (RFC 3261 §18.1.2)", async () => {
    const { layer, user, udpPort } = await start();
    const peer = await udpPeer();
    layer.sendRequest(request(), to("udp", peer.port), "z9hG4bKours");
    const sent = parseMessage(Buffer.from(await peer.received.next(), "latin1"), "datagram");
    if (!sent.ok) throw new Error("cannot be read");
    const response = ok(sent.value).toString("latin1");
    peer.send(response.replace(`127.0.0.1:${udpPort}`, "127.0.0.1:9"), udpPort);
    peer.send(response.replace("UDP 127.0.0.1", "UDP 203.0.113.1"), udpPort);
    peer.send(response, udpPort);
    const { message } = await user.messages.next();
    expect(message.isRequest).toBe(false);
    expect(layer.stats.foreignResponses).toBe(2);
    expect(user.messages.size).toBe(0);
  });

  itUnless(NO_V6).each(["[::1]", "[0:0:0:0:0:0:0:1]"])(
    "hands up a response to an IPv6 listener whose Via comes back as %s",
    async (host) => {
      const listen = [{ transport: "udp", address: "0:0:0:0:0:0:0:1", port: 0 }] as const;
      const { layer, user, udpPort } = await start({ listen });
      const peer = await udpPeer("::1");
      const { flow } = layer.sendRequest(request(), to("udp", peer.port, "::1"), "z9hG4bKreal");
      const sent = await peer.received.next();
      expect(viaOf(sent)).toMatch(/^SIP\/2.0\/UDP \[::1\]:/);
      expect(flow.id).toBe(`udp/[::1]:${peer.port}`);
      const read = parseMessage(Buffer.from(sent), "datagram");
      if (!read.ok) throw new Error(read.error.reason);
      peer.send(ok(read.value).toString().replace("[::1]", host), udpPort);
      expect((await user.messages.next()).message.isRequest).toBe(false);
      expect(layer.stats.foreignResponses).toBe(0);
    },
  );

  it.each([
    ["127.0.0.1", "0001", "7f000001"],
    ["::1", "0002", "00000000000000000000000000000001"],
  ])(
    "answers a STUN binding request from %s with the address that it came from (RFC 5626 §8)",
    async (host, family, own) => {
      const { layer, user } = await start({ listen: [{ transport: "udp", address: host, port: 0 }] });
      const { port } = layer.listening[0]!;
      const peer = await udpPeer(host);
      const transaction = "000102030405060708090a0b";
      peer.send(Buffer.from(`000100002112a442${transaction}`, "hex"), port);
      const answer = Buffer.from(await peer.received.next(), "latin1").toString("hex");
      const key = Buffer.from(`2112a442${transaction}`, "hex");
      const address = Buffer.from(own, "hex").map((byte, i) => byte ^ key[i]!);
      const length = (8 + address.length).toString(16).padStart(4, "0");
      const mapped = (peer.port ^ 0x2112).toString(16).padStart(4, "0");
      expect(answer).toBe(
        `0101${length}2112a442${transaction}0020${(4 + address.length).toString(16).padStart(4, "0")}${family}${mapped}${Buffer.from(address).toString("hex")}`,
      );
      expect([layer.stats.keepAlives, layer.stats.messagesOut, user.messages.size]).toEqual([1, 0, 0]);
    },
  );

  it("answers no other STUN: what is cut, what says another length, what is no request", async () => {
    const { user, udpPort } = await start();
    const peer = await udpPeer();
    const request = Buffer.from("000100002112a442000102030405060708090a0b", "hex");
    peer.send(request.subarray(0, 19), udpPort);
    peer.send(Buffer.concat([request, Buffer.alloc(4)]), udpPort);
    peer.send(Buffer.concat([Buffer.from([1, 1]), request.subarray(2)]), udpPort);
    peer.send(Buffer.from(request.toString("hex").replace("2112a442", "00000000"), "hex"), udpPort);
    peer.send(text("SIP/2.0/UDP 127.0.0.1;rport;branch=z9hG4bK1"), udpPort);
    await user.messages.next();
    expect(peer.received.size).toBe(0);
  });

  it("ignores CRLF, STUN and empty datagrams (RFC 5626 §4.4)", async () => {
    const { layer, user, udpPort } = await start();
    const peer = await udpPeer();
    for (const keepAlive of ["\r\n\r\n", "\r\n", "", Buffer.from([0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42])])
      peer.send(keepAlive, udpPort);
    peer.send(text("SIP/2.0/UDP 127.0.0.1;rport;branch=z9hG4bK1"), udpPort);
    await user.messages.next();
    expect(user.errors.size).toBe(0);
    expect(layer.stats.keepAlives).toBe(4);
  });

  it("hands up what cannot be read, with the request where one can be answered", async () => {
    const { user, udpPort, layer } = await start();
    const peer = await udpPeer();
    peer.send("nothing of sense\r\n\r\n", udpPort);
    expect((await user.errors.next()).error.request).toBeUndefined();
    peer.send(
      text("SIP/2.0/UDP 127.0.0.1;rport;branch=z9hG4bK1").replace("Max-Forwards: 70", "Max-Forwards: x"),
      udpPort,
    );
    const { error, flow } = await user.errors.next();
    expect(error.status).toBe(400);
    expect(error.request?.via?.params.get("rport")).toBe(String(peer.port));
    expect(flow.remotePort).toBe(peer.port);
    expect(layer.stats.malformed).toBe(2);
  });

  it("takes a datagram of 60,000 bytes", async () => {
    const { user, udpPort } = await start();
    const peer = await udpPeer();
    peer.send(text("SIP/2.0/UDP 127.0.0.1;rport;branch=z9hG4bK1", { body: "x".repeat(60_000) }), udpPort);
    const { message } = await user.messages.next();
    expect(message.body.length).toBe(60_000);
  });

  it("tells of a datagram that cannot be sent, and throws nothing", async () => {
    const { layer, user } = await start();
    for (const [destination, what] of [
      [to("udp", 0), /^udp ERR_SOCKET_BAD_PORT/],
      [to("udp", 70_000), /^udp ERR_SOCKET_BAD_PORT/],
      [to("udp", 5060, "255.255.255.255"), /^udp E(ACCES|INVAL|NETUNREACH|PERM)/], // the system refuses, in its own words
      [to("udp", 5060, "::1"), /no such transport/],
      [to("udp", 5060, "name.example.com"), /no address/],
    ] as const) {
      const { flow } = layer.sendRequest(request(), destination, "z9hG4bK1");
      const failure = await user.failures.next();
      expect(failure.flow).toBe(flow);
      expect(failure.reason).toMatch(what);
    }
  });

  itUnless(NO_V6)("speaks IPv6", async () => {
    const { layer, user, udpPort } = await start({ listen: [{ transport: "udp", address: "::1", port: 0 }] });
    const peer = await udpPeer("::1");
    layer.sendRequest(request(), to("udp", peer.port, "::1"), "z9hG4bK1");
    expect(viaOf(await peer.received.next())).toBe(`SIP/2.0/UDP [::1]:${udpPort};rport;branch=z9hG4bK1`);
    peer.send(text(`SIP/2.0/UDP [2001:db8::9]:${peer.port};branch=z9hG4bK2`), udpPort);
    const { message, flow } = await user.messages.next();
    expect(message.via?.params.get("received")).toBe("::1");
    expect(flow.id).toBe(`udp/[::1]:${peer.port}`);
    flow.send(ok(message));
    expect(await peer.received.next()).toMatch(/^SIP\/2.0 200/);
    expect(layer.contactFor(flow)).toBe(`[::1]:${udpPort}`);
  });

  it("shows the advertised address, or where it listens on all addresses the one that the peer sees", async () => {
    const advertised = { host: "sip.example.com", port: 5999 };
    const one = await start({ listen: [{ transport: "udp", address: "127.0.0.1", port: 0, advertised }] });
    const two = await start({ listen: [{ transport: "udp", address: "0.0.0.0", port: 0 }] });
    const peer = await udpPeer();
    one.layer.sendRequest(request(), to("udp", peer.port), "z9hG4bK1");
    const got = await peer.received.next();
    expect(viaOf(got)).toBe("SIP/2.0/UDP sip.example.com:5999;rport;branch=z9hG4bK1");
    expect(one.layer.contactTowards(to("udp", peer.port))).toBe("sip.example.com:5999");
    // The answer, whose Via names what was advertised, is ours.
    const sent = parseMessage(Buffer.from(got, "latin1"), "datagram");
    if (!sent.ok) throw new Error("cannot be read");
    peer.send(ok(sent.value), one.udpPort);
    await one.user.messages.next();
    two.layer.sendRequest(request(), to("udp", peer.port), "z9hG4bK2");
    expect(viaOf(await peer.received.next())).toBe(`SIP/2.0/UDP 127.0.0.1:${two.udpPort};rport;branch=z9hG4bK2`);
  });

  it("shows every message that comes or goes to whoever watches, and counts it", async () => {
    const seen: string[] = [];
    const { layer, user, udpPort } = await start({
      tap: ({ direction, peer, message }) =>
        seen.push(`${direction} ${peer} ${message.isRequest ? message.method : message.status}`),
    });
    const peer = await udpPeer();
    peer.send(text("SIP/2.0/UDP 127.0.0.1;rport;branch=z9hG4bK1"), udpPort);
    const { message, flow } = await user.messages.next();
    flow.send(ok(message));
    layer.sendRequest(request("INFO"), to("udp", peer.port), "z9hG4bK2");
    const other = `127.0.0.1:${peer.port}`;
    expect(seen).toEqual([`in ${other} OPTIONS`, `out ${other} 200`, `out ${other} INFO`]);
    expect([layer.stats.messagesIn, layer.stats.messagesOut]).toEqual([1, 2]);
  });

  it("does not start where the port is taken, and leaves nothing open", async () => {
    const { udpPort, tcpPort } = await start();
    await expect(
      start({
        listen: [
          { transport: "tcp", address: "127.0.0.1", port: 0 },
          { transport: "udp", address: "127.0.0.1", port: udpPort },
        ],
      }),
    ).rejects.toThrow(/EADDRINUSE/);
    await expect(start({ listen: [{ transport: "tcp", address: "127.0.0.1", port: tcpPort }] })).rejects.toThrow(
      /EADDRINUSE/,
    );
  });
});
