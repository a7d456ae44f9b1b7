import { pino } from "pino";
import { describe, expect, it } from "vitest";
import { createLogger } from "../../src/support/logger.ts";

function capture(pretty: boolean, level: "info" | "silent" = "info") {
  const lines: string[] = [];
  const log = createLogger({ level, pretty, to: { write: (line: string) => void lines.push(line) } });
  return { log, lines };
}

describe("the log", () => {
  it("is JSON lines with level and time in words", () => {
    const { log, lines } = capture(false);
    log.info({ call: "c1" }, "session started");
    log.debug("not shown");
    expect(lines).toHaveLength(1);
    expect(JSON.parse(lines[0]!)).toMatchObject({
      level: "info",
      call: "c1",
      msg: "session started",
      time: expect.stringMatching(/^\d{4}-.*Z$/),
    });
  });

  it("never shows passwords, their hashes, or credentials", () => {
    for (const pretty of [false, true]) {
      const { log, lines } = capture(pretty);
      log.info(
        { password: "hunter2", user: { id: "alice", ha1: { sha256: "feed" } }, headers: { authorization: "Digest x" } },
        "hello",
      );
      log.info({ request: { headers: { Authorization: "Digest hunter2" } } }, "hello");
      log.info({ users: [{ id: "bob", password: "hunter2" }] }, "hello");
      log.error({ err: Object.assign(new Error("no"), { secret: "hunter2", code: "E1" }) }, "hello");
      log.child({ secret: "hunter2" }).info("hello");
      expect(lines.join("")).not.toMatch(/hunter2|feed|Digest/);
      expect(lines.join("")).toContain("[redacted]");
      expect(lines.join("")).toContain("alice");
      expect(lines.join("")).toContain("bob");
    }
  });

  it("changes nothing of what it is given, and writes errors as a whole", () => {
    const { log, lines } = capture(false);
    const facts = { user: { password: "hunter2" } };
    log.info(facts, "hello");
    expect(facts).toEqual({ user: { password: "hunter2" } });
    log.error({
      err: Object.assign(new Error("no"), { code: "E1", cause: new Error("that") }),
      raw: Buffer.from("ab"),
    });
    expect(JSON.parse(lines[1]!)).toMatchObject({
      err: { type: "Error", message: "no: that", code: "E1", stack: expect.stringContaining("logger.test") },
    });
  });

  it("makes of plain facts the line that pino makes", () => {
    const { log, lines } = capture(false);
    const own: string[] = [];
    const pinos = pino(
      { base: null, timestamp: () => ',"time":"T"', formatters: { level: (label) => ({ level: label }) } },
      { write: (line) => void own.push(line) },
    );
    for (const logger of [log, log.child({ node: "a" })]) {
      logger.info({ call: 'c"1\n\u0007\ud800', n: 3, broken: Number.NaN, is: true, none: undefined }, 'it "ended"');
      logger.info({});
      logger.info({ only: undefined }, "x");
      logger.info("alone");
    }
    for (const logger of [pinos, pinos.child({ node: "a" })]) {
      logger.info({ call: 'c"1\n\u0007\ud800', n: 3, broken: Number.NaN, is: true, none: undefined }, 'it "ended"');
      logger.info({});
      logger.info({ only: undefined }, "x");
      logger.info("alone");
    }
    expect(lines.map((line) => line.replace(/"time":"[^"]*"/, '"time":"T"'))).toEqual(own);
  });

  it("is one line for people, and lets nobody steer their terminal", () => {
    const { log, lines } = capture(true);
    log.warn({ call: "c1", from: "\u001b[2Jx", n: 3 }, "sign-in \u0007refused");
    expect(lines[0]).toMatch(/^\d\d:\d\d:\d\d\.\d{3} warn {2}sign-in \?refused {2}call=c1 {2}from=\?\[2Jx {2}n=3\n$/);
    log.error({ err: new Error("broken") }, "failed");
    expect(lines[1]).toMatch(/^\S+ error failed\nError: broken\n/);
    log.error({ err: new Error("no way to \u001b[2Jx\n12:00:00.000 info  signed in\u202e") }, "failed");
    expect(lines[2]).toMatch(/^\S+ error failed\nError: no way to \?\[2Jx\?12:00:00\.000 info {2}signed in\?\n\s+at /);
    log.info({ from: "a\u202eb\u2028c" }, "hello");
    expect(lines[3]).toMatch(/from=a\?b\?c\n$/);
  });

  it("can be silent", () => {
    const { log, lines } = capture(false, "silent");
    log.error("nothing");
    expect(lines).toEqual([]);
  });
});
