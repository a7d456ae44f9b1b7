import { describe, expect, it } from "vitest";
import {
  canonicalAddress,
  canonicalHost,
  formatHost,
  isAddress,
  isLoopback,
  sameHost,
} from "../../src/support/address.ts";

describe("the one way in which an address is written (RFC 5952)", () => {
  it.each([
    ["IPv4 as it is", "192.0.2.1", "192.0.2.1"],
    ["upper case", "2001:DB8::A", "2001:db8::a"],
    ["brackets, as in a URI", "[2001:db8::1]", "2001:db8::1"],
    ["leading zeros", "2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1"],
    ["no compression", "2001:db8:0:0:0:0:0:1", "2001:db8::1"],
    ["another compression", "2001:db8:0:0:1::1", "2001:db8::1:0:0:1"],
    ["a group that counts as none", "[0:0:0:0:0:0:0:1]", "::1"],
    ["IPv4 at the end", "2001:db8::192.0.2.1", "2001:db8::c000:201"],
    ["IPv4 mapped (RFC 5118 §4.9)", "[::ffff:192.0.2.10]", "192.0.2.10"],
    ["IPv4 mapped, in hex and upper case", "::FFFF:C000:020A", "192.0.2.10"],
    ["IPv4 mapped, in full", "0:0:0:0:0:ffff:c000:20a", "192.0.2.10"],
    ["a third colon (RFC 5118 §4.10)", "[2001:db8:::192.0.2.1]", "2001:db8::c000:201"],
    ["a zone", "FE80::1%eth0", "fe80::1%eth0"],
  ])("%s", (_what, written, expected) => {
    expect(canonicalAddress(written)).toBe(expected);
    expect(canonicalHost(written)).toBe(expected);
    // What was read before is read the same again.
    expect(canonicalAddress(written)).toBe(expected);
  });

  it.each([
    "portal.example",
    "",
    "[192.0.2.1]",
    "[2001:db8::1",
    "2001:db8::1]",
    "2001:db8::1:5070:1:2:3:4:5",
    "2001:db8::1::2",
    "127.1",
    "0x7f.0.0.1",
    "2130706433",
    "010.0.0.1",
    "192.000.002.001",
    "fe80::1%",
    `fe80::1%${"x".repeat(200)}`,
    "::ffff:192.0.2.256",
  ])("is not there for %s", (text) => {
    expect(canonicalAddress(text)).toBe(undefined);
    expect(isAddress(text)).toBe(false);
  });

  it("stays right for more addresses than are remembered", () => {
    for (let i = 0; i < 3_000; i++)
      expect(canonicalAddress(`[2001:DB8::${i.toString(16)}]`)).toBe(
        i === 0 ? "2001:db8::" : `2001:db8::${i.toString(16)}`,
      );
  });
});

describe("whether two hosts are the same (RFC 3261 §19.1.4)", () => {
  it.each([
    ["192.0.2.1", "192.0.2.1", true],
    ["[2001:DB8::1]", "2001:db8:0::1", true],
    ["[::FFFF:192.0.2.1]", "192.0.2.1", true],
    ["Portal.Example", "portal.example.", true],
    ["[fe80::1]", "fe80::1%eth0", true],
    ["fe80::1%eth1", "fe80::1%eth0", false],
    ["[fe80::2]", "fe80::1%eth0", false],
    ["[::1]", "127.0.0.1", false],
    ["[2001:db8::1]", "[2001:db8::2]", false],
    ["192.0.2.1", "192.0.2.10", false],
    ["portal.example", "portal.example.org", false],
    ["", "192.0.2.1", false],
  ])("%s and %s: %s", (a, b, same) => {
    expect(sameHost(a, b)).toBe(same);
    expect(sameHost(b, a)).toBe(same);
  });
});

it.each([
  ["127.0.0.1", true],
  ["127.8.9.10", true],
  ["::1", true],
  ["[0:0:0:0:0:0:0:1]", true],
  ["::ffff:127.0.0.1", true],
  ["::ffff:7f00:1", true],
  ["192.0.2.1", false],
  ["::2", false],
  ["127.0.0.1.example.com", false],
  ["localhost", false],
])("%s leads to this machine and no other: %s", (address, loopback) => {
  expect(isLoopback(address)).toBe(loopback);
});

it("an IPv6 address stands in brackets in a URI, without its zone (RFC 3261 §25.1)", () => {
  const hosts = ["192.0.2.1", "portal.example", "2001:db8::1", "[2001:db8::1]", "fe80::1%eth0"];
  expect(hosts.map(formatHost)).toEqual(["192.0.2.1", "portal.example", "[2001:db8::1]", "[2001:db8::1]", "[fe80::1]"]);
});
