import { EventEmitter } from "node:events";
import { describe, expect, it } from "vitest";
import { ConnectionGate } from "../../src/console/connection-gate.ts";
import { TestClock } from "../support/test-clock.ts";

let port = 0;
class FakeSocket extends EventEmitter {
  readonly remotePort = ++port;
  destroyed = false;
  readonly remoteAddress: string;
  constructor(remoteAddress: string) {
    super();
    this.remoteAddress = remoteAddress;
  }
  destroy() {
    this.destroyed = true;
    this.emit("close");
  }
}

function setUp(max = 4, perSource = 2) {
  const clock = new TestClock();
  const refused: string[] = [];
  const gate = new ConnectionGate({
    clock,
    max,
    perSource,
    exempt: (address) => address === "10.0.0.1",
    refused: (address, why) => refused.push(`${address}: ${why}`),
  });
  const come = (address: string) => {
    const socket = new FakeSocket(address);
    gate.take(socket as never);
    return socket;
  };
  return { clock, gate, come, refused };
}

describe("who may have a connection (decision 14)", () => {
  it("no address has more than its share, and an IPv6 network is one", () => {
    const { come, gate } = setUp(100);
    expect([come("192.0.2.1"), come("192.0.2.1"), come("192.0.2.1")].map((one) => one.destroyed)).toEqual([
      false,
      false,
      true,
    ]);
    expect([come("2001:db8::1"), come("2001:db8::2"), come("2001:db8::3")].map((one) => one.destroyed)).toEqual([
      false,
      false,
      true,
    ]);
    expect(come("192.0.2.2").destroyed).toBe(false);
    expect(gate.size).toBe(5);
  });

  it("one that ends makes room for its address", () => {
    const { come, gate } = setUp();
    const first = come("192.0.2.1");
    come("192.0.2.1");
    first.destroy();
    expect(come("192.0.2.1").destroyed).toBe(false);
    expect(gate.size).toBe(2);
  });

  it("a proxy's connections are those of many", () => {
    const { come } = setUp(100);
    expect(Array.from({ length: 50 }, () => come("10.0.0.1").destroyed)).not.toContain(true);
  });

  it("where there are as many as there may be, those that have brought nothing give way, the oldest first", () => {
    const { come, gate, clock, refused } = setUp();
    const [served, idle] = [come("192.0.2.1"), come("192.0.2.2")];
    gate.served(served as never);
    clock.advance(1_000);
    const others = [come("192.0.2.3"), come("192.0.2.4")];
    expect(come("192.0.2.5").destroyed).toBe(true); // they may still be about to ask
    clock.advance(1_000);
    expect(come("192.0.2.6").destroyed).toBe(false);
    expect([served, idle, ...others].map((one) => one.destroyed)).toEqual([false, true, false, false]);
    expect(come("192.0.2.7").destroyed).toBe(true);
    expect(refused).toEqual([
      "192.0.2.5: there are as many connections as there may be",
      "192.0.2.2: it brought no request, and others wait",
      "192.0.2.7: there are as many connections as there may be",
    ]);
    expect(gate.size).toBe(4);
  });
});
