import { describe, expect, it } from "vitest";
import { MessageFramer } from "../../src/sdk/framing.ts";

const invite = [
  "INVITE sip:wine@portal.com SIP/2.0",
  "Via: SIP/2.0/TCP 127.0.0.1:4000;branch=z9hG4bK1",
  "Content-Length: 14",
  "",
  "größe: 75 cl",
].join("\r\n");
const ok = "SIP/2.0 200 OK\r\nl : 4\r\nVia: SIP/2.0/TCP 127.0.0.1:4000;branch=z9hG4bK1\r\n\r\n\r\n\r\n";
const bye = "BYE sip:wine@portal.com SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK2\r\ncontent-length:0\r\n\r\n";

/** What comes out of a stream that arrives in these pieces. */
function read(...pieces: Buffer[]) {
  const framer = new MessageFramer();
  const messages: string[] = [];
  let pings = 0;
  for (const piece of pieces) {
    const frames = framer.push(piece);
    if (!frames.ok) return { error: frames.error, messages, pings };
    messages.push(...frames.value.messages);
    pings += frames.value.pings;
  }
  return { messages, pings };
}

describe("cutting a TCP stream into messages (RFC 3261 §18.3)", () => {
  const stream = Buffer.from(invite + ok + bye);
  const whole = { messages: [invite, ok, bye], pings: 0 };

  it("finds every message where the stream is cut in two at any byte", () => {
    for (let at = 0; at <= stream.length; at++) {
      expect(read(stream.subarray(0, at), stream.subarray(at)), `cut at ${at}`).toEqual(whole);
    }
  });

  it("finds every message where each byte comes alone", () => {
    expect(read(...Array.from(stream, (byte) => Buffer.from([byte])))).toEqual(whole);
  });

  it("counts Content-Length in bytes, not in characters", () => {
    expect(read(Buffer.from(invite.replace("14", "13") + bye)).messages[0]).toBe(
      invite.replace("14", "13").slice(0, -1),
    );
  });

  it("ignores empty lines between messages and takes two of them as a ping (RFC 5626 §3.5.1), cut at any byte", () => {
    const pinged = Buffer.from(`\r\n${bye}\r\n\r\n${bye}\r\n\r\n\r\n\r\n${bye}`);
    for (let at = 0; at <= pinged.length; at++) {
      expect(read(pinged.subarray(0, at), pinged.subarray(at)), `cut at ${at}`).toEqual({
        messages: [bye, bye, bye],
        pings: 3,
      });
    }
  });

  it("reads a body that comes in many pieces", () => {
    const large = `MESSAGE sip:a@b SIP/2.0\r\nContent-Length: 500000\r\n\r\n${"x".repeat(500_000)}`;
    const bytes = Buffer.from(large + bye);
    const pieces: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += 1000) pieces.push(bytes.subarray(at, at + 1000));
    expect(read(...pieces)).toEqual({ messages: [large, bye], pings: 0 });
  });
});

describe("what the stream may not do", () => {
  it("refuses a message without a Content-Length (RFC 3261 §18.3)", () => {
    expect(read(Buffer.from("BYE sip:a@b SIP/2.0\r\nSubject: Content-Length: 0\r\n\r\n")).error).toMatch(
      /without a Content-Length/,
    );
  });

  it.each(["-5", "5\r\nl: 6", "5\r\nContent-Length: x", "12345678901", "5, 5", ""])(
    "refuses a length that is none, or two that differ: %j",
    (length) => {
      const { error } = read(Buffer.from(`BYE sip:a@b SIP/2.0\r\nContent-Length: ${length}\r\n\r\nhello${bye}`));
      expect(error).toMatch(/without a Content-Length/);
    },
  );

  it("refuses a header without end", () => {
    expect(read(Buffer.from(`BYE sip:a@b SIP/2.0\r\nSubject: ${"x".repeat(70_000)}`)).error).toMatch(
      /header of more than/,
    );
  });

  it("refuses a body that is announced as larger than the bound", () => {
    expect(read(Buffer.from("BYE sip:a@b SIP/2.0\r\nContent-Length: 99999999\r\n\r\n")).error).toMatch(
      /body of more than/,
    );
  });
});
