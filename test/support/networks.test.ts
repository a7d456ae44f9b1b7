import { describe, expect, it } from "vitest";
import { isNetwork, Networks } from "../../src/support/networks.ts";

describe("a list of networks", () => {
  const networks = new Networks(["192.0.2.7", "10.0.0.0/8", "2001:DB8::/32", "::1"]);

  it.each([
    ["192.0.2.7", true],
    ["192.0.2.8", false],
    ["10.255.0.1", true],
    ["::ffff:10.1.2.3", true],
    ["[::ffff:a01:203]", true],
    ["11.0.0.1", false],
    ["2001:db8:1::9", true],
    ["2001:0db8:0:0::9%eth0", true],
    ["2001:db9::", false],
    ["0:0:0:0:0:0:0:1", true],
    ["portal.example", false],
    ["", false],
  ])("has %s: %s", (address, expected) => {
    expect(networks.includes(address)).toBe(expected);
    expect(networks.includes(address)).toBe(expected); // as it is remembered
  });

  it("that is empty has none, and whoever asks about many makes it no larger", () => {
    expect(new Networks([]).includes("192.0.2.7")).toBe(false);
    for (let i = 0; i < 3_000; i++) expect(networks.includes(`10.0.${i >> 8}.${i & 255}`)).toBe(true);
  });

  it.each([
    ["10.0.0.0/8", true],
    ["10.0.0.1", true],
    ["::/0", true],
    ["10.0.0.0/33", false],
    ["10.0.0.0/", false],
    ["10.0.0.0/-1", false],
    ["10.0.0/8", false],
    ["2001:db8::/129", false],
    ["fe80::1%eth0", false],
    ["portal.example", false],
    ["", false],
  ])("%s is one: %s", (text, expected) => expect(isNetwork(text)).toBe(expected));
});
