import { describe, expect, it } from "vitest";
import { defaultBounds } from "../../src/sip/parse.ts";
import { INVITE_LINES, inviteWith, refusal, wire } from "./messages.ts";

/** The INVITE with further lines. */
const withLines = (...lines: readonly string[]): Buffer => wire([...INVITE_LINES, ...lines]);
const withStart = (line: string): Buffer => wire([line, ...INVITE_LINES.slice(1)]);
const cutShort = (bytes: Buffer, by: number): Buffer => bytes.subarray(0, bytes.length - by);

/** All that can be wrong with a request that can be answered, one thing at a time. */
const FAULTS: readonly (readonly [reason: string, status: number, bytes: Buffer])[] = [
  ["Message Too Large", 513, inviteWith({}, "x".repeat(defaultBounds.maxMessageBytes))],
  ["Message Too Large", 513, withLines(...Array<string>(defaultBounds.maxHeaders).fill("X: y"))],
  ["Message Too Large", 513, withLines(`X: ${"y".repeat(defaultBounds.maxHeaderBytes)}`)],
  ["Message Too Large", 513, inviteWith({ Via: "SIP/2.0/UDP h,".repeat(defaultBounds.maxHeaders + 1) })],
  ["Request-URI Too Long", 414, withStart(`INVITE sip:a@${"b".repeat(defaultBounds.maxStartLineBytes)} SIP/2.0`)],
  ["Bad Request-Line", 400, withStart("INVITE sip:a@b SIP/2.0 ")],
  ["Bad Request-Line", 400, withStart("INVITE sip:a@b SIP/x.0")],
  ["Version Not Supported", 505, withStart("INVITE sip:a@b SIP/3.0")],
  ["Bad Start Line", 400, withStart("INVITE sip:a@b\r SIP/2.0")],
  ["Header Not Terminated", 400, cutShort(inviteWith({}), 2)],
  ["Header Not Terminated", 400, cutShort(inviteWith({ Subject: "a\r\n b" }), 5)],
  ["Bad Header Line", 400, withLines("no colon")],
  ["Bad Header Line", 400, withLines("X: a\rY: b")],
  ["Bad Header Line", 400, withLines("X: a\r\n b\rY: c")],
  ["Bad Header Line", 400, withLines("X\r\n : a")],
  ["Bad Header Name", 400, withLines("X Y: a")],
  ["Bad Header Name", 400, withLines(": a")],
  ["Bad Via", 400, inviteWith({ Via: "SIP/2.0/UDP h;;" })],
  ["No From", 400, inviteWith({ From: undefined })],
  ["No To", 400, inviteWith({ To: undefined })],
  ["No Call-ID", 400, inviteWith({ "Call-ID": undefined })],
  ["No CSeq", 400, inviteWith({ CSeq: undefined })],
  ["Bad From", 400, inviteWith({ From: "<sip:a@b>;tag=1, <sip:c@d>" })],
  ["Bad To", 400, inviteWith({ To: "x" })],
  ["Bad Call-ID", 400, inviteWith({ "Call-ID": "a b" })],
  ["Bad CSeq", 400, inviteWith({ CSeq: "one INVITE" })],
  ["Bad Content-Length", 400, inviteWith({ "Content-Length": "+0" })],
  ["Bad Max-Forwards", 400, inviteWith({ "Max-Forwards": "999" })],
  ["Two CSeq", 400, withLines("CSeq: 3 INVITE")],
  ["Two Content-Length", 400, withLines("l: 0", "Content-Length: 00")],
  ["Two Session-Expires", 400, withLines("x: 90", "Session-Expires: 91")],
  ["CSeq Names Another Method", 400, inviteWith({ CSeq: "2 BYE" })],
  ["Not Implemented", 501, withStart("FROB sip:a@b SIP/2.0")],
  ["Bad Request-URI", 400, withStart("INVITE sip:a@b:0 SIP/2.0")],
  ["Bad Request-URI", 400, withStart("INVITE sip:a@b?x=y SIP/2.0")],
  ["Bad Contact", 400, inviteWith({ Contact: "<sip:a@b" })],
  ["Content-Length Does Not Fit", 400, inviteWith({ "Content-Length": "1" })],
];

/** The same fault in a message of another kind. */
function as(start: string, bytes: Buffer): Buffer {
  const text = bytes.toString("latin1");
  return Buffer.from(start + text.slice(text.indexOf("\r\n")), "latin1");
}

describe("a request that cannot be read (RFC 3261 §8.1.1, §21.4.1)", () => {
  it.each(FAULTS)("%s: %d, and who is to be answered", (reason, status, bytes) => {
    const error = refusal(bytes);
    expect([error.reason, error.status]).toEqual([reason, status]);
    expect(error.request?.via?.transport).toBe("UDP");
  });

  it("tells the first of several faults", () => {
    expect(refusal(inviteWith({ "Max-Forwards": "x", CSeq: "y" })).reason).toBe("Bad Max-Forwards");
    expect(refusal(inviteWith({ From: undefined, To: undefined, "Max-Forwards": "x" })).reason).toBe(
      "Bad Max-Forwards",
    );
  });

  it("still tells From, To, Call-ID and CSeq, whatever stands behind the fault", () => {
    const { request } = refusal(wire(["INVITE sip:a@b SIP/2.0", "X Y: bad", ...INVITE_LINES.slice(1)]));
    expect([request?.fromTag, request?.callId, request?.cseq?.number]).toEqual([
      "9fxced76sl",
      "3848276298220188511@client.example.com",
      2,
    ]);
  });

  it("has nobody to answer without a Via that can be read", () => {
    expect(refusal(inviteWith({ Via: undefined }))).toEqual({ status: 400, reason: "No Via" });
    expect(refusal(inviteWith({ Via: "?" }))).toEqual({ status: 400, reason: "Bad Via" });
    expect(refusal(cutShort(inviteWith({}), inviteWith({}).length - 60)).request).toBeUndefined();
  });

  it.each(["", "\r\n", "INVITE sip:a@b SIP/2.0", "\r\n\r\nINVITE sip:a@b SIP/2.0\r"])(
    "is no message at all: %j",
    (text) => {
      expect(refusal(Buffer.from(text))).toEqual({ status: 400, reason: "No Start Line" });
    },
  );

  it.each(["INVITE", "IN@VITE sip:a@b SIP/2.0", " sip:a@b SIP/2.0", "\u00ff\u00fe", "\0"])(
    "is no message at all, having no method: %j",
    (line) => {
      expect(refusal(withStart(line))).toEqual({ status: 400, reason: "Bad Request-Line" });
    },
  );
});

// What is wrong with the start line, or with the URI in it, is gone with the line.
const BELOW_THE_START_LINE = FAULTS.filter(([, , bytes]) => bytes.toString("latin1").startsWith(INVITE_LINES[0]!));

describe("the same fault", () => {
  it.each(BELOW_THE_START_LINE)("in an ACK is never answered (RFC 3261 §17.1.1.3): %s", (_reason, _status, bytes) => {
    expect(refusal(as("ACK sip:a@b SIP/2.0", bytes)).request).toBeUndefined();
  });

  it.each(
    BELOW_THE_START_LINE.filter(([reason]) => reason !== "Bad Contact" && reason !== "CSeq Names Another Method"),
  )("in a response is never answered (RFC 3261 §18.1.2): %s", (reason, _status, bytes) => {
    expect(refusal(as("SIP/2.0 200 OK", bytes))).toMatchObject({ reason });
    expect(refusal(as("SIP/2.0 200 OK", bytes)).request).toBeUndefined();
  });
});

describe("in a stream", () => {
  it("bytes beyond Content-Length were cut wrongly", () => {
    expect(refusal(inviteWith({ "Content-Length": "1" }, "ab"), "stream").reason).toBe("Content-Length Does Not Fit");
    expect(refusal(inviteWith({}, "a"), "stream").reason).toBe("Content-Length Does Not Fit");
  });
});
