import { describe, expect, it } from "vitest";
import { Headers, SipRequest, SipResponse } from "../../src/sip/message.ts";
import { hostPort, responseTarget, stampVia, viaFor } from "../../src/transport/via.ts";

function stamped(via: string, address = "192.0.2.4", port = 4000): string | undefined {
  const request = new SipRequest("OPTIONS", "sip:a@b", new Headers().add("Via", via).add("Via", "SIP/2.0/UDP second"));
  expect(stampVia(request, address, port)).toBe(true);
  expect(request.headers.all("via")[1]).toBe("SIP/2.0/UDP second");
  return request.headers.get("via");
}

describe("the Via of a request that came in (RFC 3261 §18.2.1, RFC 3581 §4)", () => {
  it.each([
    ["the address itself stays", "SIP/2.0/UDP 192.0.2.4:5060;branch=z", "SIP/2.0/UDP 192.0.2.4:5060;branch=z"],
    [
      "a name gets received",
      "SIP/2.0/UDP bobspc.biloxi.com:5060",
      "SIP/2.0/UDP bobspc.biloxi.com:5060;received=192.0.2.4",
    ],
    [
      "another address gets received",
      "SIP/2.0/UDP 10.1.1.1;branch=z",
      "SIP/2.0/UDP 10.1.1.1;branch=z;received=192.0.2.4",
    ],
    [
      "rport is filled, and received with it even where it says nothing new",
      "SIP/2.0/UDP 192.0.2.4:5060;rport;branch=z",
      "SIP/2.0/UDP 192.0.2.4:5060;branch=z;received=192.0.2.4;rport=4000",
    ],
    [
      "what the peer claimed is replaced",
      "SIP/2.0/UDP 192.0.2.4;received=203.0.113.1;Rport=1;branch=z",
      "SIP/2.0/UDP 192.0.2.4;branch=z;received=192.0.2.4;rport=4000",
    ],
    [
      "only the first value of a line is touched",
      "SIP/2.0/UDP a.example.com;branch=z , SIP/2.0/UDP b.example.com;rport",
      "SIP/2.0/UDP a.example.com;branch=z;received=192.0.2.4, SIP/2.0/UDP b.example.com;rport",
    ],
    [
      "white space is borne with",
      "SIP / 2.0 / UDP  a.example.com ; rport ; branch = z",
      "SIP / 2.0 / UDP  a.example.com ; branch = z;received=192.0.2.4;rport=4000",
    ],
  ])("%s", (_what, via, expected) => {
    expect(stamped(via)).toBe(expected);
  });

  it("knows an IPv6 address in brackets, in either case", () => {
    expect(stamped("SIP/2.0/UDP [2001:DB8::1]:5060;branch=z", "2001:db8::1")).toBe(
      "SIP/2.0/UDP [2001:DB8::1]:5060;branch=z",
    );
    expect(stamped("SIP/2.0/UDP [2001:db8::2];branch=z", "2001:db8::1")).toMatch(/;received=2001:db8::1$/);
  });

  it.each([
    ["[2001:0DB8:0:0::1]", "2001:db8::1"],
    ["[::ffff:192.0.2.4]", "192.0.2.4"],
    ["[fe80::1]", "fe80::1%eth0"],
  ])("knows %s, however it is written, as %s (RFC 5118)", (host, address) => {
    expect(stamped(`SIP/2.0/UDP ${host}:5060;branch=z`, address)).toBe(`SIP/2.0/UDP ${host}:5060;branch=z`);
  });

  it("shows no zone, which means nothing to others (RFC 4007 §6)", () => {
    expect(stamped("SIP/2.0/UDP name;branch=z", "fe80::1%eth0")).toBe("SIP/2.0/UDP name;branch=z;received=fe80::1");
  });

  it("keeps what was read of the Via true", () => {
    const request = new SipRequest("OPTIONS", "sip:a@b", new Headers().add("Via", "SIP/2.0/UDP host;rport;branch=z"));
    expect(request.via?.params.get("rport")).toBe("");
    stampVia(request, "192.0.2.4", 4000);
    const read = new Map(request.via?.params);
    request.changed();
    expect([...read].sort()).toEqual([...(request.via?.params ?? [])].sort());
    expect(read.get("rport")).toBe("4000");
  });

  it("says where there is no Via that can be read", () => {
    expect(stampVia(new SipRequest("OPTIONS", "sip:a@b"), "192.0.2.4", 1)).toBe(false);
  });
});

describe("the Via of a request that goes out", () => {
  it.each([
    ["udp", "192.0.2.1", "SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bK1"],
    ["tls", "sip.example.com", "SIP/2.0/TLS sip.example.com:5060;rport;branch=z9hG4bK1"],
    ["tcp", "2001:db8::1", "SIP/2.0/TCP [2001:db8::1]:5060;rport;branch=z9hG4bK1"],
  ] as const)("names %s and %s", (transport, host, expected) => {
    expect(viaFor(transport, hostPort(host, 5060), "z9hG4bK1")).toBe(expected);
  });
});

describe("where a response goes whose connection is gone (RFC 3261 §18.2.2)", () => {
  it.each([
    ["SIP/2.0/TCP host.example.com:5070;received=192.0.2.4", "192.0.2.4", 5070],
    ["SIP/2.0/TCP 192.0.2.4", "192.0.2.4", 5060],
    ["SIP/2.0/TLS 192.0.2.4", "192.0.2.4", 5061],
    ["SIP/2.0/TCP [2001:DB8::1]:5070", "2001:db8::1", 5070],
    ["SIP/2.0/TCP host;received=[2001:db8::9:255]", "2001:db8::9:255", 5060], // RFC 5118 §4.5
    ["SIP/2.0/TCP host;received=2001:db8::9:255", "2001:db8::9:255", 5060],
  ])("by %s", (via, host, port) => {
    expect(responseTarget(new SipResponse(200, "OK", new Headers().add("Via", via)))).toEqual({ host, port });
  });
});
