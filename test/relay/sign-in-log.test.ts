import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { SignInLog } from "../../src/node/sign-in-log.ts";
import { Headers, SipRequest } from "../../src/sip/message.ts";
import { createLogger } from "../../src/support/logger.ts";
import { PeerLog } from "../../src/support/peer-log.ts";
import { collector } from "../support/collector.ts";
import { TestClock } from "../support/test-clock.ts";

const filter = readFileSync(new URL("../../ops/fail2ban/filter.d/tollgate.conf", import.meta.url), "utf8");
const failregex = new RegExp(/^failregex = (.*)$/m.exec(filter)![1]!.replace("<HOST>", "(?<host>[0-9A-Fa-f.:]+)"));

/** The lines that a refused sign-in leaves, as they stand in the log's file. */
function linesOf(address: string, user: string, more: { byProxy?: boolean; lockOut?: boolean } = {}) {
  const { out, text } = collector();
  const log = createLogger({ level: "info", pretty: false, to: out as never });
  const signInLog = new SignInLog(new PeerLog({ log, clock: new TestClock() }));
  const headers = new Headers().add("Call-ID", 'c1","address":"203.0.113.1').add("User-Agent", "x\u001b[2J");
  signInLog.user({
    request: new SipRequest("INVITE", "sip:wine@portal.com", headers),
    source: {
      secure: false,
      remoteAddress: address,
      remotePort: 5062,
      transport: "udp",
      ...(more.byProxy && { byProxy: true }),
    },
    user,
    reason: "wrong user or password",
    ...(more.lockOut && { lockOut: { user, source: address, failures: 5, waitMs: 2_000 } }),
  });
  return { lines: text().trimEnd().split("\n"), counters: signInLog.counters };
}

describe("a refused sign-in in the log", () => {
  it.each(["192.0.2.9", "2001:db8::9"])("is found by fail2ban's filter, with its address: %s", (address) => {
    const { lines, counters } = linesOf(address, "alice");
    expect(failregex.exec(lines[0]!)?.groups?.host).toBe(address);
    expect(JSON.parse(lines[0]!)).toMatchObject({ user: "alice", port: 5062, why: "wrong user or password" });
    expect(counters).toEqual({ signInsRefused: 1, signInsHeldOff: 0, lockOuts: 0 });
  });

  it("has nobody else banned by what a guesser writes into his name", () => {
    const forged = 'x","address":"203.0.113.1","port":1,"transport":"udp"';
    const { lines } = linesOf("192.0.2.9", forged);
    expect(lines).toHaveLength(1);
    expect(failregex.exec(lines[0]!)?.groups?.host).toBe("192.0.2.9");
  });

  it("bans no proxy for its client", () => {
    expect(failregex.test(linesOf("192.0.2.9", "alice", { byProxy: true }).lines[0]!)).toBe(false);
  });

  it("is followed by a warning where somebody has to wait", () => {
    const { lines, counters } = linesOf("192.0.2.9", "alice", { lockOut: true });
    expect(JSON.parse(lines[1]!)).toMatchObject({
      level: "warn",
      user: "alice",
      source: "192.0.2.9",
      failures: 5,
      waitS: 2,
    });
    expect(counters.lockOuts).toBe(1);
  });
});
