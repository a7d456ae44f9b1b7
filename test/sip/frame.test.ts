import { describe, expect, it } from "vitest";
import { type Frame, StreamFramer } from "../../src/sip/frame.ts";
import { inviteWith, read, seeded, wire } from "./messages.ts";

const withBody = (body: string): Buffer => inviteWith({ "Content-Length": String(Buffer.byteLength(body)) }, body);

/** What comes out of a stream that arrives in those pieces; messages as text. */
function frames(pieces: readonly Buffer[], framer = new StreamFramer()): string[] {
  return pieces.flatMap((piece) => framer.push(Buffer.from(piece)).map(told));
}

function told(frame: Frame): string {
  if (frame.kind === "message") return frame.bytes.toString("latin1");
  return frame.kind === "ping" ? "ping" : `error ${frame.reason}`;
}

const cut = (bytes: Buffer, size: number): Buffer[] =>
  Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.subarray(i * size, (i + 1) * size));

describe("a stream of messages (RFC 3261 §18.3)", () => {
  const messages = [
    withBody(""),
    withBody("v=0\r\n\r\nINVITE sip:x SIP/2.0\r\n\r\n"),
    withBody("x".repeat(5_000)),
    withBody("end"),
  ];
  const stream = Buffer.concat(messages);
  const expected = messages.map((message) => message.toString("latin1"));

  it.each([1, 2, 3, 7, 100, 1_448, 100_000])("is cut by Content-Length, in pieces of %d bytes", (size) => {
    expect(frames(cut(stream, size))).toEqual(expected);
  });

  it("is cut the same in two pieces, wherever the cut is", () => {
    const three = Buffer.concat([messages[0]!, messages[1]!, messages[3]!]);
    const texts = [expected[0], expected[1], expected[3]];
    for (let at = 1; at < three.length; at++)
      expect(frames([three.subarray(0, at), three.subarray(at)])).toEqual(texts);
  });

  it("is cut the same in any pieces", () => {
    const random = seeded(1);
    for (let round = 0; round < 50; round++) {
      const pieces: Buffer[] = [];
      for (let at = 0; at < stream.length; ) {
        const end = at + 1 + Math.floor(random() ** 3 * 3_000);
        pieces.push(stream.subarray(at, end));
        at = end;
      }
      expect(frames(pieces)).toEqual(expected);
    }
  });

  it("leaves what was handed out untouched by what comes later", () => {
    const framer = new StreamFramer();
    const out: Buffer[] = [];
    for (const piece of cut(stream, 97))
      for (const frame of framer.push(Buffer.from(piece))) if (frame.kind === "message") out.push(frame.bytes);
    expect(out.map((bytes) => bytes.toString("latin1"))).toEqual(expected);
    expect(framer.pendingBytes).toBe(0);
  });

  it.each(["l: 3", "CONTENT-LENGTH : 003", "Content-Length:\r\n  3", "Content-Length: 3\r\nContent-Length: 3"])(
    "knows the length from %j",
    (line) => {
      const bytes = wire(["INVITE sip:a@b SIP/2.0", "Call-ID: x", line], "abc");
      expect(frames([Buffer.concat([bytes, withBody("")])])).toEqual([bytes.toString("latin1"), expected[0]]);
    },
  );

  it("takes a missing length for 0", () => {
    expect(frames([Buffer.concat([inviteWith({}), withBody("")])])).toEqual([
      inviteWith({}).toString("latin1"),
      expected[0],
    ]);
  });

  it.each([
    "Content-Type: application/sdp",
    "c : application/sdp",
    "content-TYPE:\r\n application/sdp",
    "Content-Encoding: gzip",
    "e: gzip",
    "Content-Disposition: session",
    "Content-Language: en",
    "MIME-Version: 1.0",
  ])(
    "ends where a body is told of by %j and not its length: it would be taken for the next message (§18.3)",
    (line) => {
      const invite = wire(
        ["INVITE sip:a@b SIP/2.0", "Via: SIP/2.0/TCP a;branch=z9hG4bK1", "Call-ID: x", line],
        "v=0\r\n",
      );
      const framer = new StreamFramer();
      const found = framer.push(Buffer.concat([withBody("abc"), invite, withBody("")]));
      expect(found.map(told)).toEqual([withBody("abc").toString("latin1"), "error Missing Content-Length"]);
      const error = found[1]?.kind === "error" ? found[1].error : undefined;
      expect([error?.status, error?.request?.via?.params.get("branch")]).toEqual([400, "z9hG4bK1"]);
      expect(frames([withBody("")], framer)).toEqual([]);
    },
  );

  it("ends so after a response too, which nobody answers", () => {
    const response = wire(["SIP/2.0 200 OK", "Via: SIP/2.0/TCP a;branch=z9hG4bK1", "c: application/sdp"], "v=0\r\n");
    const [frame] = new StreamFramer().push(response);
    expect(frame).toEqual({
      kind: "error",
      reason: "Missing Content-Length",
      error: { reason: "Missing Content-Length", status: 400 },
      bytes: response,
    });
  });

  it("is not misled by what only looks like a field of a body", () => {
    const lines = [
      "Subject: Content-Type: a/b",
      "X-Content-Type: a/b",
      "Contact: <sip:a@b>",
      "Expires: 1",
      "Contents: 1",
    ];
    const invite = wire(["INVITE sip:a@b SIP/2.0", ...lines], "");
    expect(frames([Buffer.concat([invite, withBody("")])])).toEqual([invite.toString("latin1"), expected[0]]);
  });

  it.each([
    "Content-Length: -1",
    "Content-Length: +1",
    "Content-Length: 0x10",
    "Content-Length: 1 0",
    "Content-Length: 1, 1",
    "Content-Length:",
    "Content-Length: 3\r\nl: 4",
    "Content-Length: 3\r\nContent-Length: -3",
    "Content-Length: 99999999999999999999",
  ])("ends where the length is none: %j (RFC 4475 §3.1.2.3, §3.3.9)", (line) => {
    const invite = wire(["INVITE sip:a@b SIP/2.0", "Call-ID: x", line], "abcd");
    expect(frames([Buffer.concat([invite, withBody("")])])).toEqual(["error Bad Content-Length"]);
  });

  it("takes lines that end with LF alone, as the parser does", () => {
    const text = withBody("abc").toString("latin1").replaceAll("\r\n", "\n");
    const [frame] = new StreamFramer().push(Buffer.from(`${text}${text}`, "latin1"));
    expect(frame?.kind === "message" && read(frame.bytes, "stream").body.toString()).toBe("abc");
  });

  it.each(["-1", "x", "", "1, 2", "99999999999", "3\r\nl: 4"])(
    "ends with an error where the length is %j, and tells who to answer",
    (length) => {
      const framer = new StreamFramer();
      const [frame] = framer.push(inviteWith({ "Content-Length": length }, "abc"));
      expect(frame).toMatchObject({ kind: "error", error: { status: 400, request: { method: "INVITE" } } });
      expect(framer.push(withBody(""))).toEqual([]);
    },
  );
});

describe("keep-alives (RFC 5626 §4.4.1)", () => {
  const ping = Buffer.from("\r\n\r\n");

  it("are told, between messages and in any pieces", () => {
    const message = withBody("");
    const text = message.toString("latin1");
    expect(frames([ping])).toEqual(["ping"]);
    expect(frames([message, ping, message])).toEqual([text, "ping", text]);
    expect(frames([Buffer.concat([message, ping, message])])).toEqual([text, "ping", text]);
    for (const size of [1, 2, 3]) expect(frames(cut(Buffer.concat([ping, message]), size))).toEqual(["ping", text]);
  });

  it("are no more than one for each piece, so that a flood of them costs one answer", () => {
    expect(frames([Buffer.from("\r\n".repeat(10_000))])).toEqual(["ping"]);
  });

  it("are not a single empty line before a message (RFC 3261 §7.5)", () => {
    const text = withBody("").toString("latin1");
    expect(frames([Buffer.from(`\r\n${text}\r\n${text}`)])).toEqual([text, text]);
  });
});

describe("the bounds", () => {
  const bounds = { maxHeadBytes: 2_000, maxBodyBytes: 1_000 };

  it("end a head that does not end", () => {
    for (const size of [100, 5_000]) {
      const out = frames(
        cut(Buffer.from(`INVITE sip:a@b SIP/2.0\r\nX: ${"x".repeat(5_000)}`), size),
        new StreamFramer(bounds),
      );
      expect(out).toEqual(["error Message Too Large"]);
    }
  });

  it("end a head that is too long, whether it came at once or not", () => {
    const long = inviteWith({ "X-Long": "x".repeat(2_000), "Content-Length": "0" });
    for (const size of [100, 5_000])
      expect(frames(cut(long, size), new StreamFramer(bounds))).toEqual(["error Message Too Large"]);
  });

  it("end a body that is too long before it is here, with 513", () => {
    const [frame] = new StreamFramer(bounds).push(inviteWith({ "Content-Length": "1001" }));
    expect(frame).toMatchObject({ kind: "error", error: { status: 513, request: { method: "INVITE" } } });
  });

  it("let a head through that just fits, and none of a byte more", () => {
    const head = withBody("");
    const limit = (maxHeadBytes: number) => new StreamFramer({ ...bounds, maxHeadBytes });
    expect(frames([head], limit(head.length))).toHaveLength(1);
    expect(frames([head], limit(head.length - 1))).toEqual(["error Message Too Large"]);
    expect(frames(cut(head, 10), limit(head.length))).toEqual([head.toString("latin1")]);
  });

  it("let through a body that just fits", () => {
    expect(frames([withBody("x".repeat(1_000))], new StreamFramer(bounds))).toHaveLength(1);
  });

  it("keep the work in proportion to the length of a head without colons that looks like Content-Length", () => {
    const head = Buffer.from(`O\n${"c\n".repeat(30_000)}l:0\n\n`);
    const start = performance.now();
    expect(frames([head])).toHaveLength(1);
    // A few milliseconds; seconds where each line is searched to the end for its colon.
    expect(performance.now() - start).toBeLessThan(500);
  });

  it("keep the work in proportion to a megabyte that comes byte by byte", () => {
    const message = withBody("x".repeat(60_000));
    const framer = new StreamFramer();
    const start = performance.now();
    let seen = 0;
    for (let round = 0; round < 16; round++) {
      for (let at = 0; at < message.length; at++) seen += framer.push(message.subarray(at, at + 1)).length;
    }
    expect([seen, framer.pendingBytes]).toEqual([16, 0]);
    // About 0.2 s; minutes where each byte makes the whole be looked at or copied again.
    expect(performance.now() - start).toBeLessThan(3_000);
  });

  it("keep the work in proportion to the bytes, however they come", () => {
    const copied = countCopies();
    const framer = new StreamFramer();
    const message = withBody("x".repeat(50_000));
    for (const piece of cut(message, 1)) framer.push(piece);
    // 50,000 pieces: doubled from 1 kB to 64 kB, 2 copies of each byte; 1,250,000,000 if each piece made a new copy.
    expect(copied()).toBeLessThan(4 * message.length);
  });
});

/** Counts the bytes that `Buffer.copy` moves until asked. */
function countCopies(): () => number {
  const { copy } = Buffer.prototype;
  let bytes = 0;
  Buffer.prototype.copy = function (this: Buffer, ...args: Parameters<Buffer["copy"]>) {
    const done = copy.apply(this, args);
    bytes += done;
    return done;
  };
  return () => {
    Buffer.prototype.copy = copy;
    return bytes;
  };
}
