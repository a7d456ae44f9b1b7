import type { NetworkInterfaceInfo } from "node:os";
import { describe, expect, it } from "vitest";
import { Listeners } from "../../src/transport/listeners.ts";
import { LocalAddresses } from "../../src/transport/local-address.ts";
import { TestClock } from "../support/test-clock.ts";

const entry = (address: string, cidr: string, internal = false) =>
  ({
    address,
    cidr,
    internal,
    family: address.includes(":") ? "IPv6" : "IPv4",
    netmask: "",
    mac: "",
  }) as NetworkInterfaceInfo;

const machine = {
  lo: [entry("127.0.0.1", "127.0.0.1/8", true), entry("::1", "::1/128", true)],
  eth0: [entry("192.0.2.10", "192.0.2.10/24"), entry("2001:db8::10", "2001:db8::10/64")],
  eth1: [entry("10.0.0.10", "10.0.0.10/8")],
};

describe("the address that a peer sees", () => {
  const local = new LocalAddresses(new TestClock(), () => machine);

  it.each([
    ["in a subnet of ours", "10.200.3.4", "10.0.0.10"],
    ["elsewhere", "203.0.113.9", "192.0.2.10"],
    ["on this machine", "127.0.0.5", "127.0.0.1"],
    ["in an IPv6 subnet of ours", "2001:db8::77", "2001:db8::10"],
    ["on this machine by IPv6", "::1", "::1"],
    ["with a zone", "fe80::1%eth0", "2001:db8::10"],
  ])("%s", (_where, remote, expected) => {
    expect(local.towards(remote)).toBe(expected);
  });

  it("is asked for again after some seconds, as interfaces come and go", () => {
    const clock = new TestClock();
    let asked = 0;
    const addresses = new LocalAddresses(clock, () => {
      asked++;
      return machine;
    });
    addresses.towards("10.1.1.1");
    clock.setWall(3_600_000);
    addresses.towards("10.1.1.1");
    clock.setWall(-7_200_000);
    clock.advance(10_000);
    addresses.towards("10.1.1.1");
    expect(asked).toBe(2); // and the wall clock has no say
  });

  it("is loopback where the machine has nothing else", () => {
    expect(new LocalAddresses(new TestClock(), () => ({})).towards("203.0.113.9")).toBe("127.0.0.1");
  });
});

describe("which listener a peer is reached from", () => {
  const listeners = new Listeners(
    [
      { transport: "udp", address: "127.0.0.1", port: 5060 },
      { transport: "udp", address: "192.0.2.10", port: 5060 },
      { transport: "udp", address: "::", port: 5060 },
      { transport: "tcp", address: "0.0.0.0", port: 5062 },
    ],
    new TestClock(),
  );

  it.each([
    ["udp", "127.0.0.9", "127.0.0.1"],
    ["udp", "203.0.113.9", "192.0.2.10"],
    ["udp", "2001:db8::1", "::"],
    ["tcp", "127.0.0.1", "0.0.0.0"],
  ] as const)("by %s to %s: the one on %s", (transport, remote, expected) => {
    expect(listeners.towards(transport, remote)?.address).toBe(expected);
  });

  it.each([
    ["in one of its networks", "10.200.3.4", "10.0.0.10"],
    ["in the other", "192.0.2.77", "192.0.2.10"],
    ["in none of them: the first", "203.0.113.9", "192.0.2.10"],
    ["on this machine", "127.0.0.1", "127.0.0.1"],
  ])("of a machine with two networks, to a peer %s", (_where, remote, expected) => {
    const both = new Listeners(
      ["192.0.2.10", "10.0.0.10", "127.0.0.1"].map((address) => ({ transport: "udp" as const, address, port: 5060 })),
      new TestClock(),
      () => machine,
    );
    expect(both.towards("udp", remote)?.address).toBe(expected);
  });

  it("is none where there is none of that family", () => {
    expect(listeners.towards("tcp", "2001:db8::1")).toBeUndefined();
    expect(listeners.towards("tls", "192.0.2.1")).toBeUndefined();
  });
});
