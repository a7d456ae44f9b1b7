import { describe, expect, it } from "vitest";
import { systemClock } from "../../src/support/clock.ts";
import type { Logger } from "../../src/support/log.ts";
import { PeerLog, shown, shownUris } from "../../src/support/peer-log.ts";
import { TestClock } from "./test-clock.ts";

function setUp(options: { perSource?: number; perKind?: number } = {}) {
  const lines: string[] = [];
  const say = (level: string) => (facts: object | string, text?: string) => {
    lines.push(`${level} ${text} ${JSON.stringify(facts)}`);
  };
  const log = { info: say("info"), warn: say("warn"), error: say("error"), debug: say("debug") } as unknown as Logger;
  const clock = new TestClock();
  return { lines, clock, peers: new PeerLog({ log, clock, ...options }) };
}

describe("the log of what peers bring about", () => {
  it("has some lines a minute of each kind and source, and says how many it left out (decision 19)", () => {
    const { lines, clock, peers } = setUp({ perSource: 2 });
    for (let i = 0; i < 100; i++) peers.warn("dropped", "a", { i });
    peers.warn("dropped", "b", { i: 0 });
    peers.info("refused", "a", { i: 0 });
    expect(lines).toEqual([
      'warn dropped {"i":0}',
      'warn dropped {"i":1}',
      'warn dropped {"i":0}',
      'info refused {"i":0}',
    ]);
    expect(peers.leftOut).toBe(98);
    clock.advance(60_000);
    expect(lines.slice(4)).toEqual(['warn dropped: further lines of this kind {"leftOut":98,"sources":2}']);
    peers.warn("dropped", "a", { i: 0 });
    expect(lines.at(-1)).toBe('warn dropped {"i":0}');
    clock.advance(200_000);
    expect(lines).toHaveLength(6);
    expect(clock.armed).toBe(0);
  });

  it("is bounded for many sources, in lines and in memory", () => {
    const { lines, clock, peers } = setUp({ perKind: 20 });
    for (let i = 0; i < 10_000; i++) peers.warn("dropped", `source ${i}`, {});
    expect(lines).toHaveLength(20);
    clock.advance(60_000);
    expect(lines.at(-1)).toBe('warn dropped: further lines of this kind {"leftOut":9980,"sources":20}');
  });

  it("owes nothing when it is closed", () => {
    const { lines, clock, peers } = setUp({ perSource: 1 });
    for (let i = 0; i < 3; i++) peers.warn("dropped", "a", {});
    peers.close();
    expect(lines.at(-1)).toContain('"leftOut":2');
    expect(clock.armed).toBe(0);
  });

  it("keeps no process from ending that has nothing else to do", () => {
    const peers = new PeerLog({ log: undefined, clock: systemClock, perSource: 1 });
    const before = process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    for (let i = 0; i < 3; i++) peers.warn("dropped", "a", {});
    expect(process.getActiveResourcesInfo().filter((name) => name === "Timeout")).toHaveLength(before);
    peers.close();
  });

  it("shows nothing that could be taken for the log's own", () => {
    expect(shown('al\r\nice","address":"192.0.2.1"\u2028é\\')).toBe("al??ice?,?address?:?192.0.2.1????");
    expect(shown("x".repeat(100))).toHaveLength(64);
  });
});

describe("URIs of peers in a log", () => {
  it.each([
    ["sip:alice@portal.example", "sip:alice@portal.example"],
    ["sip:alice@[2001:db8::1]", "sip:alice@[2001:db8::*"],
    ["sip:alice@portal.example:5060;transport=tcp", "sip:alice@portal.example:5060;transport=tcp"],
    ["sip:alice:secret@portal.example", "sip:alice:*"],
    ["sip:a@b.example, sip:alice:secret@portal.example", "sip:a@b.example, sip:alice:*"],
    ["sip:a@b:5060?x=sips:bob:secret@c", "sip:a@b:5060?x=sips:*"],
    ["no URI", "no URI"],
    ["x:", "x:"],
  ])("have no password: %s", (text, logged) => {
    expect(shownUris(text, 200)).toBe(logged);
  });
});
