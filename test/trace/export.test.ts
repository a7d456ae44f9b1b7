import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { hepPacket, octetsOf, traceJson, tracePcap, traceText } from "../../src/trace/export.ts";
import type { SeenMessage } from "../../src/trace/seen.ts";

const at = Date.UTC(2026, 0, 31, 12, 0, 0, 250);
const message = (over: Partial<SeenMessage> = {}): SeenMessage => ({
  kind: "message",
  at,
  direction: "in",
  local: { transport: "udp", address: "192.0.2.1", port: 5060 },
  peer: { transport: "udp", address: "198.51.100.7", port: 5062 },
  leg: "client",
  callId: "call-1",
  bytes: Buffer.from(
    'OPTIONS sip:portal.example SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7:5062;branch=z9hG4bK1\r\nFrom: <sip:alice@portal.example>;tag=1\r\nTo: <sip:portal.example>\r\nCall-ID: call-1\r\nCSeq: 1 OPTIONS\r\nAuthorization: Digest username="alice", response="5ec7e7"\r\nContent-Length: 0\r\n\r\n',
  ),
  ...over,
});
const calls = [{ id: "record1", items: [message(), message({ direction: "out" })] }];

describe("a capture (P5)", () => {
  it("has an IP packet for each message, with true lengths and a checksum", () => {
    const pcap = tracePcap(calls);
    expect(pcap.readUInt32LE(0)).toBe(0xa1b2c3d4);
    expect(pcap.readUInt32LE(20)).toBe(101); // raw IP
    expect(pcap.readUInt32LE(24)).toBe(at / 1000 - 0.25);
    expect(pcap.readUInt32LE(28)).toBe(250_000);
    const length = pcap.readUInt32LE(32);
    const packet = pcap.subarray(40, 40 + length);
    expect(packet.readUInt16BE(2)).toBe(length);
    let sum = 0;
    for (let i = 0; i < 20; i += 2) sum += packet.readUInt16BE(i);
    expect((sum & 0xffff) + (sum >>> 16)).toBe(0xffff); // RFC 791
    expect([...packet.subarray(12, 20)]).toEqual([198, 51, 100, 7, 192, 0, 2, 1]);
    expect(packet.readUInt16BE(20)).toBe(5062);
    expect(packet.readUInt16BE(22)).toBe(5060);
    expect(packet.readUInt16BE(24)).toBe(length - 20);
    expect(packet.toString("latin1", 28)).toMatch(/^OPTIONS sip:portal\.example SIP\/2\.0\r\n/);
    expect(pcap.toString("latin1")).not.toContain("5ec7e7");
  });

  it("is what Wireshark reads as SIP, where there is tshark", ({ skip }) => {
    const folder = mkdtempSync(join(tmpdir(), "tg-pcap-"));
    const v6 = message({
      local: { transport: "tcp", address: "2001:db8::1", port: 5060 },
      peer: { transport: "tcp", address: "2001:db8::7", port: 5062 },
    });
    writeFileSync(join(folder, "a.pcap"), tracePcap([...calls, { id: "2", items: [v6] }]));
    try {
      const out = execFileSync(
        "tshark",
        ["-r", join(folder, "a.pcap"), "-T", "fields", "-e", "sip.Method", "-e", "sip.Call-ID"],
        {
          stdio: ["ignore", "pipe", "ignore"],
        },
      ).toString();
      expect(out.trim().split("\n")).toEqual(Array(3).fill("OPTIONS\tcall-1"));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
      skip("no tshark here");
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it("knows addresses of both families", () => {
    expect([...octetsOf("192.0.2.1")]).toEqual([192, 0, 2, 1]);
    expect(octetsOf("2001:db8::7").toString("hex")).toBe("20010db8000000000000000000000007");
    expect(octetsOf("::").toString("hex")).toBe("0".repeat(32));
    expect(octetsOf("::ffff:192.0.2.1").toString("hex")).toBe("00000000000000000000ffffc0000201");
    expect([...octetsOf("nonsense")]).toEqual([0, 0, 0, 0]);
  });
});

describe("HEP3 for Homer (P5)", () => {
  it("has a chunk for each fact, and the message without secrets", () => {
    const packet = hepPacket(message(), "record1");
    expect(packet.toString("latin1", 0, 4)).toBe("HEP3");
    expect(packet.readUInt16BE(4)).toBe(packet.length);
    const chunks = new Map<number, Buffer>();
    for (let i = 6; i < packet.length; i += packet.readUInt16BE(i + 4))
      chunks.set(packet.readUInt16BE(i + 2), packet.subarray(i + 6, i + packet.readUInt16BE(i + 4)));
    expect([...chunks.keys()]).toEqual([1, 2, 3, 4, 7, 8, 9, 10, 11, 12, 15, 17]);
    expect([...chunks.get(3)!]).toEqual([198, 51, 100, 7]);
    expect(chunks.get(7)!.readUInt16BE()).toBe(5062);
    expect(chunks.get(17)!.toString()).toBe("record1");
    expect(chunks.get(15)!.toString()).toContain("OPTIONS");
    expect(chunks.get(15)!.toString()).not.toContain("5ec7e7");
  });
});

describe("text and JSON of a trace (P5)", () => {
  it("show who speaks to whom, and each message without secrets", () => {
    for (const text of [traceText(calls), traceJson(calls)]) {
      expect(text).toContain("198.51.100.7");
      expect(text).toContain("Call-ID: call-1");
      expect(text).not.toContain("5ec7e7");
    }
    expect(traceText(calls)).toContain("client -> relay");
    expect(traceText(calls)).toContain("relay -> client");
  });
});
