import { BlockList } from "node:net";
import { describe, expect, it } from "vitest";
import { isNetwork, Networks } from "../../src/support/networks.ts";
import { seeded } from "../sip/messages.ts";

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
    ["010.0.0.1", false], // some programs read that as 8.0.0.1
    ["10.0.0.256", false],
    ["10.0.0", false],
    ["10.0.0.1.1", false],
    ["", false],
  ])("has %s: %s", (address, expected) => {
    expect(networks.includes(address)).toBe(expected);
    expect(networks.includes(address)).toBe(expected); // as it is remembered
  });

  it("that is empty has none, and whoever asks about many makes it no larger", () => {
    expect(new Networks([]).includes("192.0.2.7")).toBe(false);
    for (let i = 0; i < 3_000; i++) expect(networks.includes(`10.0.${i >> 8}.${i & 255}`)).toBe(true);
  });

  it("is searched in a few steps, and finds what a search of the whole list finds", () => {
    const random = seeded(7);
    const below = (most: number) => Math.floor(random() * most);
    const octet = () => below(256);
    const v4 = () => `${octet() & 3}.${octet()}.${octet()}.${octet()}`;
    const v6 = () => `${["2001:db8", "fe80", ""][below(3)]}::${octet().toString(16)}:${v4()}`;
    const texts = [
      ...Array.from({ length: 300 }, () => `${v4()}/${8 + below(25)}`),
      ...Array.from({ length: 300 }, () => `${v6()}/${100 + below(29)}`),
    ].filter((text) => !/^\d.*\/(8|9|10)$/.test(text));
    const list = new BlockList();
    for (const text of texts) {
      const [address = "", bits] = text.split("/");
      list.addSubnet(address, Number(bits), address.includes(":") ? "ipv6" : "ipv4");
    }
    const some = new Networks(texts);
    let found = 0;
    for (let i = 0; i < 20_000; i++) {
      const address = i % 2 === 0 ? v4() : v6();
      const expected = list.check(address, address.includes(":") ? "ipv6" : "ipv4");
      expect(`${address} ${some.includes(address)}`).toBe(`${address} ${expected}`);
      if (expected) found++;
    }
    expect(found).toBeGreaterThan(500);
    expect(found).toBeLessThan(19_500);
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
