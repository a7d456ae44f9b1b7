import { describe, expect, it } from "vitest";
import { Headers, SipRequest, SipResponse } from "../../src/sip/message.ts";
import { serialize } from "../../src/sip/serialize.ts";
import { essence, inviteWith, read } from "./messages.ts";

const lines = (bytes: Buffer): string[] => bytes.toString("latin1").split("\r\n");

describe("serialize (RFC 3261 §7)", () => {
  it("writes one line for each field and sets Content-Length itself", () => {
    const headers = new Headers().add("Via", "SIP/2.0/UDP h").add("Content-Length", "99").add("X", "");
    const bytes = serialize(new SipRequest("INVITE", "sip:a@b", headers, Buffer.from([0, 255, 13, 10])));
    expect(lines(bytes.subarray(0, -4))).toEqual([
      "INVITE sip:a@b SIP/2.0",
      "Via: SIP/2.0/UDP h",
      "X: ",
      "Content-Length: 4",
      "",
      "",
    ]);
    expect([...bytes.subarray(-4)]).toEqual([0, 255, 13, 10]);
  });

  it("writes a response, also without a reason phrase", () => {
    expect(lines(serialize(new SipResponse(200, "OK")))).toEqual(["SIP/2.0 200 OK", "Content-Length: 0", "", ""]);
    expect(lines(serialize(new SipResponse(200, "")))[0]).toBe("SIP/2.0 200 ");
  });

  it.each([
    "a\r\nX-Evil: 1",
    "a\nX-Evil: 1",
    "a\rX-Evil: 1",
    "a\r\n\r\nbody",
    "a\u010d\u010aX-Evil: 1",
    "a\u560d\u560aX-Evil: 1",
  ])("never makes a new line from %j", (evil) => {
    const messages = [
      new SipRequest("INFO", "sip:a@b", new Headers().add("Subject", evil)),
      new SipRequest("INFO", "sip:a@b", new Headers().add(evil, "x")),
      new SipRequest("INFO", `sip:${evil}`, new Headers().add("Subject", "x")),
      new SipRequest(evil, "sip:a@b", new Headers().add("Subject", "x")),
      new SipResponse(200, evil, new Headers().add("Subject", "x")),
    ];
    for (const message of messages) {
      const written = lines(serialize(message));
      expect(written).toHaveLength(5);
      for (const line of written) expect(line).not.toMatch(/[\r\n]|^X-Evil/);
    }
  });

  it("finds a line break also where another line lacks one", () => {
    const headers = new Headers().add("A", "1\n2").add("B", "3\r4");
    expect(lines(serialize(new SipResponse(200, "OK", headers)))).toEqual([
      "SIP/2.0 200 OK",
      "A: 1 2",
      "B: 3 4",
      "Content-Length: 0",
      "",
      "",
    ]);
  });

  it("writes text that is not octets in UTF-8, and octets as they are", () => {
    const headers = new Headers().add("Subject", "大").add("X", "\u00e5\u00a4\u00a7");
    const bytes = serialize(new SipResponse(200, "OK", headers));
    expect(bytes.toString("utf8")).toContain("Subject: 大\r\nX: 大\r\n");
  });

  it("writes each message into memory of its own, however many and however long they are", () => {
    const written = Array.from({ length: 200 }, (_, n) => {
      const headers = new Headers().add("X", "x".repeat((n * 997) % 9_000));
      return serialize(new SipRequest("INFO", `sip:${n}@b`, headers, Buffer.alloc((n * 31) % 9_000, n)));
    });
    for (const [n, bytes] of written.entries()) {
      const length = (n * 31) % 9_000;
      const head = `INFO sip:${n}@b SIP/2.0\r\nX: ${"x".repeat((n * 997) % 9_000)}\r\nContent-Length: ${length}\r\n\r\n`;
      expect(bytes.equals(Buffer.concat([Buffer.from(head), Buffer.alloc(length, n)]))).toBe(true);
    }
  });

  it("writes what reads the same", () => {
    const message = read(inviteWith({ Subject: "a\r\n  b", "X-Y ": " z ", "Content-Length": "3" }, "abc, and more"));
    expect(essence(read(serialize(message)))).toEqual(essence(message));
    expect(essence(read(serialize(message), "stream"))).toEqual(essence(message));
  });
});

describe("a header field's name", () => {
  it.each([
    ['P-Asserted-Identity: "', "_P-Asserted-Identity___"],
    ["", "_"],
    ["To ", "_To_"],
    ["From\t", "_From_"],
    ["Subject\0", "_Subject_"],
    ["Subj\u00e9ct", "_Subj_ct"],
    ["Via:", "_Via_"],
  ])("that is no token becomes one that is no other's: %j", (name, written) => {
    const [, line, length] = lines(serialize(new SipResponse(200, "OK", new Headers().add(name, "x"))));
    expect([line, length]).toEqual([`${written}: x`, "Content-Length: 0"]);
    const headers = new Headers().add(name, "x");
    expect(headers.has(written.toLowerCase())).toBe(true);
    for (const key of ["p-asserted-identity", "to", "from", "subject", "via"]) expect(headers.has(key)).toBe(false);
  });
});
