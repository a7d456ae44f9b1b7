import { X509Certificate } from "node:crypto";
import { describe, expect, it } from "vitest";
import { isFor, peerNamesOf } from "../../src/transport/peer-names.ts";
import { authority, type Wanted } from "../support/certificates.ts";

const ca = authority();
const certificate = (wanted: Wanted) => new X509Certificate(ca.issue(wanted).cert);

describe("the SIP domains in a certificate (RFC 5922 §7.1)", () => {
  it.each<[what: string, wanted: Wanted, names: string[]]>([
    ["are its sip URIs", { names: ["URI:sip:Shop.Example", "DNS:other.example"] }, ["shop.example"]],
    [
      "are its DNS names where no sip URI is there",
      { names: ["DNS:A.example", "DNS:b.example"] },
      ["a.example", "b.example"],
    ],
    ["are no URI of another scheme", { names: ["URI:https://shop.example", "URI:sips:shop.example"] }, []],
    ["are no URI with a user: that names a person", { names: ["URI:sip:alice@shop.example"] }, []],
    ["are DNS names beside such URIs", { names: ["URI:sip:alice@a.example", "DNS:b.example"] }, ["b.example"]],
    [
      "are addresses, for those who are configured by address",
      { names: ["IP:127.0.0.1", "IP:2001:db8::1"] },
      ["127.0.0.1", "2001:db8::1"],
    ],
    ["are the common name where there are no alternative names", { commonName: "Shop.Example" }, ["shop.example"]],
    ["are no common name beside alternative names", { commonName: "a.example", names: ["URI:https://b.example"] }, []],
    ["are no common name that is a text", { commonName: "Wine and Beer" }, []],
    // CVE-2021-44532: a name that looks like two
    [
      "are not smuggled in by one that looks like two",
      { names: ["DNS:a.example, DNS:victim.example"] },
      ["a.example, dns:victim.example"],
    ],
  ])("%s", (_what, wanted, names) => {
    expect(peerNamesOf(certificate(wanted))).toEqual(names);
  });

  it.each<[host: string, name: string, is: boolean]>([
    ["shop.example", "DNS:SHOP.example", true],
    ["SHOP.example.", "DNS:shop.example", true],
    ["a.shop.example", "DNS:*.shop.example", false],
    ["a.shop.example", "DNS:shop.example", false],
    ["shop.example", "DNS:a.shop.example", false],
    ["127.0.0.1", "IP:127.0.0.1", true],
    ["127.0.0.1", "IP:127.0.0.2", false],
    ["127.0.0.1", "DNS:127.0.0.1", true],
  ])("%s by a certificate for %s: %s, no wildcard and no suffix (§7.2)", (host, name, is) => {
    expect(isFor(certificate({ names: [name] }), host)).toBe(is);
  });
});
