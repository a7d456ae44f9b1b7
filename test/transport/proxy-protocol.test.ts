import { describe, expect, it } from "vitest";
import { readProxyHeader } from "../../src/transport/proxy-protocol.ts";
import { v1, v2 } from "./proxy-header.ts";

const TLV = Buffer.from([0x20, 0, 5, 1, 0, 0, 0, 0]);

describe("the PROXY protocol", () => {
  it.each([
    ["1, IPv4", v1("192.0.2.7", 4711), { address: "192.0.2.7", port: 4711 }],
    ["1, IPv6", v1("2001:DB8::7", 4711), { address: "2001:db8::7", port: 4711 }],
    ["1, unknown", Buffer.from("PROXY UNKNOWN\r\n"), "own"],
    ["1, unknown with more", Buffer.from("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n"), "own"],
    ["2, IPv4", v2("192.0.2.7", 4711), { address: "192.0.2.7", port: 4711 }],
    ["2, IPv6", v2("2001:db8::7", 4711), { address: "2001:db8::7", port: 4711 }],
    ["2, IPv4 mapped into IPv6", v2("::ffff:c000:207", 4711), { address: "192.0.2.7", port: 4711 }],
    ["2, with more", v2("192.0.2.7", 4711, { more: TLV }), { address: "192.0.2.7", port: 4711 }],
    ["2, local", v2("192.0.2.7", 4711, { command: 0 }), "own"],
  ])("of version %s says for whom a connection is", (_, header, from) => {
    const rest = Buffer.from("OPTIONS sip:a@b SIP/2.0\r\n");
    expect(readProxyHeader(Buffer.concat([header, rest]))).toEqual({ from, bytes: header.length });
    for (let i = 0; i < header.length; i++) expect(readProxyHeader(header.subarray(0, i))).toBe("more");
  });

  it.each([
    ["SIP", Buffer.from("OPTIONS sip:a@b SIP/2.0\r\n")],
    ["TLS", Buffer.from([22, 3, 1, 2, 0, 1])],
    ["a line that does not end", Buffer.from(`PROXY TCP4 ${"1".repeat(200)}`)],
    ["a line that is too long", Buffer.from(`PROXY TCP4 ${"1".repeat(200)}\r\n`)],
    ["a name for an address", Buffer.from("PROXY TCP4 a.example 10.0.0.1 1 2\r\n")],
    ["no port", Buffer.from("PROXY TCP4 192.0.2.7 10.0.0.1\r\n")],
    ["another version", v2("192.0.2.7", 1, { version: 3 })],
    ["another command", v2("192.0.2.7", 1, { command: 2 })],
    ["UDP", v2("192.0.2.7", 1, { family: 0x12 })],
    ["a length that is too short", v2("192.0.2.7", 1, { length: 4 })],
    ["a length without end", v2("192.0.2.7", 1, { length: 65_535 })],
  ])("is not %s", (_, bytes) => {
    expect(readProxyHeader(bytes)).toBeUndefined();
  });
});
