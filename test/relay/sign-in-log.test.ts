import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { SCANNERS, Strangers } from "../../src/directory/strangers.ts";
import { SignInLog } from "../../src/node/sign-in-log.ts";
import { Headers, SipRequest } from "../../src/sip/message.ts";
import { createLogger } from "../../src/support/logger.ts";
import { PeerLog } from "../../src/support/peer-log.ts";
import { collector } from "../support/collector.ts";
import { TestClock } from "../support/test-clock.ts";
import { itUnless } from "../support/unless.ts";

const filter = readFileSync(new URL("../../ops/fail2ban/filter.d/tollgate.conf", import.meta.url), "utf8");
const failregex = new RegExp(/^failregex = (.*)$/m.exec(filter)![1]!.replace("<HOST>", "(?<host>[0-9A-Fa-f.:]+)"));
const hasFail2ban = spawnSync("fail2ban-regex", ["--version"]).status === 0;

/** The lines that a refused sign-in leaves, as they stand in the log's file. */
function linesOf(
  address: string,
  user: string,
  more: { byProxy?: boolean; lockOut?: boolean; mayBeForged?: boolean } = {},
) {
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
    ...(more.mayBeForged && { mayBeForged: true }),
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

  it("bans nobody for an address that may be forged", () => {
    expect(failregex.test(linesOf("192.0.2.9", "alice", { mayBeForged: true }).lines[0]!)).toBe(false);
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

describe("a stranger who gets no answer, in the log", () => {
  function lineOf(transport: "udp" | "tls", isSure: boolean, userAgent = "friendly-scanner") {
    const { out, text } = collector();
    const clock = new TestClock();
    const peers = new PeerLog({ log: createLogger({ level: "info", pretty: false, to: out as never }), clock });
    const settings = { scanners: SCANNERS, unknownUsers: 1, windowS: 60, dropS: 60 };
    const strangers = new Strangers(settings, clock, peers);
    const request = new SipRequest("INVITE", "sip:100@portal.com", new Headers().add("User-Agent", userAgent));
    const source = { secure: false, remoteAddress: "192.0.2.9", remotePort: 5062, transport };
    if (userAgent === "") strangers.refused({ request, source, user: "100", reason: "", isUnknown: true });
    else strangers.ignores(request, source, isSure, () => false);
    return text().trimEnd();
  }

  it("is found by fail2ban's filter, but not where the address may be forged", () => {
    expect(failregex.exec(lineOf("tls", true))?.groups?.host).toBe("192.0.2.9");
    expect(failregex.exec(lineOf("udp", true))?.groups?.host).toBe("192.0.2.9");
    expect(failregex.test(lineOf("udp", false))).toBe(false);
    expect(failregex.exec(lineOf("udp", true, ""))?.groups?.host).toBe("192.0.2.9");
  });

  it("has nobody else banned by what a scanner calls itself", () => {
    const line = lineOf("tls", true, 'friendly-scanner","address":"203.0.113.1","port":1,"transport":"tls","msg":"x"}');
    expect(failregex.exec(line)?.groups?.host).toBe("192.0.2.9");
  });

  itUnless(hasFail2ban ? undefined : "fail2ban is not installed")(
    "is found by fail2ban itself, with the filter as it is",
    () => {
      const folder = mkdtempSync(join(tmpdir(), "tollgate-fail2ban-"));
      const lines = [
        lineOf("tls", true),
        lineOf("udp", false),
        lineOf("udp", true, ""),
        ...linesOf("2001:db8::9", "a").lines,
      ];
      const log = join(folder, "tollgate.log");
      // It leaves out what is in the future.
      writeFileSync(log, `${lines.join("\n")}\n`);
      const filterFile = new URL("../../ops/fail2ban/filter.d/tollgate.conf", import.meta.url).pathname;
      const said = execFileSync("fail2ban-regex", ["--print-all-matched", "--raw", log, filterFile], {
        encoding: "utf8",
      });
      rmSync(folder, { recursive: true });
      expect(said).toMatch(/Lines: 4 lines, 0 ignored, 3 matched, 1 missed/);
    },
  );
});
