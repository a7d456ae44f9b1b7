import { expect, it } from "vitest";
import { ClientSources } from "../../src/relay/admission/client-source.ts";
import { SipRequest } from "../../src/sip/message.ts";
import type { Flow } from "../../src/transport/types.ts";

/** A request of 198.51.100.7 by way of a proxy at 192.0.2.60, on a connection on which those names were proved. */
function sourceWith(peerNames: readonly string[] | undefined, trustedNames: readonly string[]): string {
  const request = new SipRequest("INVITE", "sip:wine@portal.example");
  request.headers.add("Via", "SIP/2.0/TLS proxy.example;branch=z9hG4bK2");
  request.headers.add("Via", "SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bK1");
  const flow = { transport: "tls", secure: true, remoteAddress: "192.0.2.60", remotePort: 41_000, peerNames };
  return new ClientSources([], trustedNames).of(request, flow as Flow).remoteAddress;
}

it.each<[what: string, peerNames: string[] | undefined, trusted: string[], source: string]>([
  ["is one of the operator's proxies", ["other.example", "proxy.example"], ["Proxy.Example"], "198.51.100.7"],
  ["is somebody else", ["proxy.example.evil.example"], ["proxy.example"], "192.0.2.60"],
  ["has proved no name", undefined, ["proxy.example"], "192.0.2.60"],
  ["has a name that nobody trusts", ["proxy.example"], [], "192.0.2.60"],
])("a peer that %s by its certificate: whose request it is (RFC 5922 §7.4)", (_what, peerNames, trusted, source) => {
  expect(sourceWith(peerNames, trusted)).toBe(source);
});
