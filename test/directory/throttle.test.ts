import { describe, expect, it } from "vitest";
import { sourceKey, Throttle } from "../../src/directory/throttle.ts";

const settings = { failures: 3, windowS: 60, delayS: 2, maxDelayS: 10, sources: 3 };

describe("repeated failures from one source are slowed (M2)", () => {
  it("costs nothing below the number of failures, then a wait that doubles up to the greatest", () => {
    const throttle = new Throttle(settings);
    let now = 1_000_000;
    throttle.failed("a", now);
    throttle.failed("a", now);
    expect(throttle.waitMs("a", now)).toBe(0);
    for (const expected of [2000, 4000, 8000, 10_000, 10_000]) {
      throttle.failed("a", now);
      expect(throttle.waitMs("a", now)).toBe(expected);
      now += expected;
      expect(throttle.waitMs("a", now)).toBe(0);
    }
  });

  it("forgets failures after a quiet window", () => {
    const throttle = new Throttle(settings);
    for (let i = 0; i < 3; i++) throttle.failed("a", 0);
    for (let i = 0; i < 2; i++) throttle.failed("a", 2000 + 60_001);
    expect(throttle.waitMs("a", 2000 + 60_001)).toBe(0);
  });

  it("slows no other source", () => {
    const throttle = new Throttle(settings);
    for (let i = 0; i < 9; i++) throttle.failed("a", 0);
    expect(throttle.waitMs("b", 0)).toBe(0);
  });

  it("remembers a bounded number of sources, the latest to fail", () => {
    const throttle = new Throttle(settings);
    for (let i = 0; i < 3; i++) throttle.failed("a", 0);
    for (let i = 0; i < 1000; i++) {
      throttle.failed(`source ${i}`, 0);
      throttle.failed("a", 0);
    }
    expect(throttle.size).toBe(3);
    expect(throttle.waitMs("a", 0)).toBe(10_000);
  });
});

describe("what counts as one source", () => {
  it.each([
    ["198.51.100.7", "198.51.100.7"],
    ["::ffff:198.51.100.7", "198.51.100.7"],
    ["::ffff:c633:6407", "198.51.100.7"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["2001:0DB8:1:2::9", "2001:db8:1:2::/64"],
    ["2001:db8::1", "2001:db8:0:0::/64"],
    ["fe80::1%eth0", "fe80:0:0:0::/64"],
    ["::1", "0:0:0:0::/64"],
    ["64:ff9b::198.51.100.7", "198.51.100.7"],
    ["64:FF9B:0:0:0:0:c633:6407", "198.51.100.7"],
    ["64:ff9b::7", "0.0.0.7"],
    ["64:ff9b:1::7", "64:ff9b:1:0::/64"],
    ["name:client.example", "name:client.example"],
  ])("%s is %s", (address, key) => {
    expect(sourceKey(address)).toBe(key);
  });
});
