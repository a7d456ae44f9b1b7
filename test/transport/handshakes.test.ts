import { describe, expect, it } from "vitest";
import { Handshakes } from "../../src/transport/handshakes.ts";
import { TestClock } from "../support/test-clock.ts";

function open(perSecond = 100) {
  const clock = new TestClock();
  const begun: string[] = [];
  const givenUp: string[] = [];
  const handshakes = new Handshakes<string>({
    clock,
    perSecond,
    begin: (one) => begun.push(one),
    giveUp: (one) => givenUp.push(one),
  });
  return { clock, begun, givenUp, handshakes };
}

describe("handshakes of TLS", () => {
  it("begin at once as long as few come", () => {
    const { clock, handshakes } = open(100);
    for (let i = 0; i < 50; i++) {
      expect(handshakes.take("a", `${i}`)).toBe("now");
      clock.advance(10);
    }
  });

  it("wait where many come at once, and begin at the rate that is set", () => {
    const { clock, begun, handshakes } = open(100);
    const turns = Array.from({ length: 400 }, (_, i) => handshakes.take(`source ${i}`, `${i}`));
    expect(turns.filter((turn) => turn === "now")).toHaveLength(5); // what may begin in a twentieth of a second
    expect(turns.filter((turn) => turn === "later")).toHaveLength(395);
    clock.advance(1_000);
    expect(begun).toHaveLength(100);
    expect(begun.slice(0, 3)).toEqual(["5", "6", "7"]);
    clock.advance(3_000);
    expect(handshakes.size).toBe(0);
  });

  it("are fewer while messages wait, since calls come first", () => {
    let busy = true;
    const clock = new TestClock();
    const begun: string[] = [];
    const begin = (one: string) => begun.push(one);
    const handshakes = new Handshakes<string>({ clock, perSecond: 400, isBusy: () => busy, begin, giveUp() {} });
    for (let i = 0; i < 2_000; i++) handshakes.take("a", `${i}`);
    clock.advance(1_000);
    expect(begun.length).toBeGreaterThan(50);
    expect(begun.length).toBeLessThan(220);
    busy = false;
    begun.length = 0;
    clock.advance(1_000);
    expect(begun.length).toBeGreaterThan(390);
  });

  it("do not begin together after a pause of the process", () => {
    let now = 0;
    let tick = () => {};
    const setTimeout = (fn: () => void) => {
      tick = fn;
    };
    const clock = { monotonic: () => now, setTimeout, clearTimeout: () => {} };
    const begun: string[] = [];
    const handshakes = new Handshakes<string>({ clock, perSecond: 100, begin: (one) => begun.push(one), giveUp() {} });
    for (let i = 0; i < 200; i++) handshakes.take("a", `${i}`);
    now += 2_000; // the timer comes late
    tick();
    expect(begun).toHaveLength(2); // of 5, since the process is busy
  });

  it("go source by source: one that brings hundreds does not keep the others waiting", () => {
    const { clock, begun, handshakes } = open(100);
    for (let i = 0; i < 300; i++) handshakes.take("many", `many ${i}`);
    handshakes.take("one", "one");
    clock.advance(30);
    expect(begun).toContain("one");
  });

  it("do not wait longer than 5 s: further ones are refused", () => {
    const { handshakes } = open(100);
    for (let i = 0; i < 505; i++) handshakes.take("a", `${i}`);
    expect(handshakes.take("a", "one more")).toBe("no");
  });

  it("of a source that fills the queue give way to those of others", () => {
    const { givenUp, handshakes } = open(100);
    for (let i = 0; i < 505; i++) handshakes.take("many", `${i}`);
    expect(handshakes.take("one", "one")).toBe("later");
    expect(givenUp).toEqual(["504"]);
    expect(handshakes.size).toBe(500);
  });

  it("are forgotten where the peer has gone, and when the relay stops", () => {
    const { clock, begun, givenUp, handshakes } = open(100);
    for (let i = 0; i < 8; i++) handshakes.take("a", `${i}`);
    handshakes.gone("a", "5");
    handshakes.gone("a", "5");
    expect(handshakes.size).toBe(2);
    handshakes.close();
    expect(givenUp).toEqual(["6", "7"]);
    clock.advance(1_000);
    expect(begun).toEqual([]);
  });

  it("have no bound with 0", () => {
    const { handshakes } = open(0);
    for (let i = 0; i < 5_000; i++) expect(handshakes.take("a", `${i}`)).toBe("now");
  });
});
