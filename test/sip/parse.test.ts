import { describe, expect, it } from "vitest";
import { defaultBounds, parseMessage } from "../../src/sip/parse.ts";
import { INVITE_LINES, inviteWith, read, readRequest, readResponse, refusal, wire } from "./messages.ts";

const RESPONSE_LINES = ["SIP/2.0 200 OK", ...INVITE_LINES.slice(1)];

describe("a request (RFC 3261 §7.1)", () => {
  it("is read with its method, Request-URI, header fields and body", () => {
    const message = readRequest(inviteWith({ "Content-Length": "4" }, "v=0\n"));
    expect(message.method).toBe("INVITE");
    expect(message.uri).toBe("sip:shop@portal.example.com");
    expect(message.headers.get("max-forwards")).toBe("70");
    expect(message.callId).toBe("3848276298220188511@client.example.com");
    expect(message.via).toMatchObject({ transport: "UDP", host: "192.0.2.1", port: 5060 });
    expect(message.from).toMatchObject({ display: "Alice", uri: "sip:alice@portal.example.com" });
    expect([message.fromTag, message.toTag]).toEqual(["9fxced76sl", undefined]);
    expect(message.cseq).toEqual({ number: 2, method: "INVITE" });
    expect(message.contact?.uri).toBe("sip:alice@192.0.2.1:5060");
    expect(message.target).toMatchObject({ scheme: "sip", user: "shop", host: "portal.example.com" });
    expect(message.body.toString()).toBe("v=0\n");
  });

  it.each([
    ["another version: 505 (RFC 4475 §3.1.2.16)", "INVITE sip:a@b SIP/7.0", 505],
    ["no version", "INVITE sip:a@b", 400],
    ["a version of something else", "INVITE sip:a@b HTTP/1.1", 400],
    ["two spaces before the URI", "INVITE  sip:a@b SIP/2.0", 400],
    ["two spaces behind the URI", "INVITE sip:a@b  SIP/2.0", 400],
    ["a space at the end", "INVITE sip:a@b SIP/2.0 ", 400],
    ["a space in the URI", "INVITE sip:a@b; lr SIP/2.0", 400],
    ["angle brackets around the URI", "INVITE <sip:a@b> SIP/2.0", 400],
    ["header fields in the URI (§19.1.1)", "INVITE sip:a@b?Route=%3Csip:c%3E SIP/2.0", 400],
    ["a URI without scheme", "INVITE a@b SIP/2.0", 400],
    ["CR alone in the line", "INVITE sip:a@b\r SIP/2.0", 400],
  ])("is refused for %s", (_why, line, status) => {
    const error = refusal(wire([line, ...INVITE_LINES.slice(1)]));
    expect(error.status).toBe(status);
    expect(error.request?.via?.host).toBe("192.0.2.1");
  });

  it("is read where the version is in lower case (§7.1) and where empty lines come before it (§7.5)", () => {
    const text = wire(["INVITE sip:a@b sip/2.0", ...INVITE_LINES.slice(1)]).toString("latin1");
    expect(readRequest(Buffer.from(`\r\n\r\n${text}`, "latin1")).uri).toBe("sip:a@b");
  });

  it("is read with lines that end with LF alone", () => {
    const text = inviteWith({ "Content-Length": "2" }, "hi").toString("latin1").replaceAll("\r\n", "\n");
    expect(readRequest(Buffer.from(text, "latin1")).body.toString()).toBe("hi");
  });

  it("may take back all its contacts (RFC 3261 §10.2.2)", () => {
    const request = readRequest(inviteWith({ Contact: "*" }));
    expect([request.headers.get("contact"), request.contact]).toEqual(["*", undefined]);
  });

  it("may be of any scheme: 416 is for the router", () => {
    expect(readRequest(wire(["INVITE tel:+15551234 SIP/2.0", ...INVITE_LINES.slice(1)])).target).toMatchObject({
      name: "tel",
    });
  });

  it.each(["Via", "From", "To", "Call-ID", "CSeq"])("is refused with 400 without %s (§8.1.1)", (name) => {
    const error = refusal(inviteWith({ [name]: undefined }));
    expect(error.status).toBe(400);
    // Without Via nobody knows where the answer is to go (RFC 4475 §3.3.1).
    expect(error.request === undefined).toBe(name === "Via");
  });

  it("is read without Max-Forwards, as RFC 2543 sent it", () => {
    expect(readRequest(inviteWith({ "Max-Forwards": undefined })).headers.has("max-forwards")).toBe(false);
  });

  it.each([
    ["CSeq", "2 BYE"],
    ["CSeq", "2147483648 INVITE"],
    ["CSeq", "INVITE"],
    ["CSeq", "-1 INVITE"],
    ["CSeq", "2"],
    ["Max-Forwards", "256"],
    ["Max-Forwards", "-1"],
    ["Max-Forwards", "many"],
    ["Call-ID", ""],
    ["Call-ID", "a b"],
    ["From", "<sip:a@b"],
    ["From", '"Alice <sip:a@b>'],
    ["From", "Bell, Alexander <sip:a@b>;tag=1"],
    ["From", "<sip:a@b>;tag=1;tag=2"],
    ["To", "<sip:a@b>, <sip:c@d>"],
    ["To", "< sip:a@b >"],
    ["To", ""],
    ["Via", "SIP/2.0/UDP 192.0.2.1;;,;,,"],
    ["Via", "SIP/2.0/UDP 192.0.2.1:0"],
    ["Via", "SIP/2.0/UDP 192.0.2.1:70000"],
    ["Contact", "sip:a@b?Route=%3Csip:c%3E"],
    ["Content-Length", "-999"],
    ["Content-Length", "1e3"],
    ["Content-Length", "99999999999999999999"],
  ])("is refused with 400 for %s: %s", (name, value) => {
    expect(refusal(inviteWith({ [name]: value })).status).toBe(400);
  });

  it("of a method that nobody knows and a CSeq of another is answered 501 (RFC 4475 §3.1.2.18)", () => {
    const lines = ["NEWMETHOD sip:a@b SIP/2.0", ...INVITE_LINES.slice(1)];
    expect(refusal(wire(lines))).toMatchObject({ status: 501 });
  });

  it("of a method that nobody knows is read: 405 or 501 is for the router", () => {
    expect(
      readRequest(wire(["FROB sip:a@b SIP/2.0", ...INVITE_LINES.slice(1)].map((l) => l.replace("2 INVITE", "2 FROB"))))
        .method,
    ).toBe("FROB");
  });

  it("that is an ACK is never answered (§17.1.1.3)", () => {
    const lines = ["ACK sip:a@b SIP/2.0", ...INVITE_LINES.slice(1)];
    expect(refusal(wire(lines)).request).toBeUndefined();
  });

  it("whose Via is broken is answered by the part that can be read", () => {
    const { request } = refusal(inviteWith({ Via: "SIP/2.0/UDP 192.0.2.15:5062;;,;,," }));
    expect(request?.via).toMatchObject({ host: "192.0.2.15", port: 5062 });
    expect(request?.headers.get("via")).toBe("SIP/2.0/UDP 192.0.2.15:5062");
  });
});

describe("a response (RFC 3261 §7.2)", () => {
  it("is read with status and reason phrase", () => {
    const response = readResponse(wire(RESPONSE_LINES));
    expect([response.status, response.reason]).toEqual([200, "OK"]);
  });

  it("may lack the reason phrase, and the space before it (RFC 4475 §3.1.1.13)", () => {
    expect(readResponse(wire(["SIP/2.0 100 ", ...RESPONSE_LINES.slice(1)])).reason).toBe("");
    expect(readResponse(wire(["SIP/2.0 100", ...RESPONSE_LINES.slice(1)])).reason).toBe("");
  });

  it.each([
    "SIP/2.0 4294967301 OK",
    "SIP/2.0 99 Low",
    "SIP/2.0 099 Low",
    "SIP/2.0 700 High",
    "SIP/2.0 20x OK",
    "SIP/3.0 200 OK",
    "SIP/2.0 200 O\rK",
    "SIP/2.0",
  ])("is dropped, not answered, for %s", (line) => {
    expect(refusal(wire([line, ...RESPONSE_LINES.slice(1)])).request).toBeUndefined();
  });

  it("is dropped for a CSeq above 2^31 (RFC 4475 §3.1.2.5)", () => {
    const lines = RESPONSE_LINES.map((line) => line.replace("2 INVITE", "9292394834772304023312 INVITE"));
    expect(refusal(wire(lines)).request).toBeUndefined();
  });
});

describe("header fields (RFC 3261 §7.3)", () => {
  it("are known by their compact forms and in any case, and kept by their long names", () => {
    const message = read(
      wire([
        "OPTIONS sip:a@b SIP/2.0",
        "v: SIP/2.0/UDP h;branch=z9hG4bK1",
        "F: <sip:a@b>;tag=1",
        "t: <sip:c@d>",
        "I: x",
        "CSEQ: 1 OPTIONS",
        "mAx-FoRwArDs: 9",
        "l: 0",
      ]),
    );
    expect(message.headers.fields.map(({ key, name }) => [key, name])).toEqual([
      ["via", "Via"],
      ["from", "From"],
      ["to", "To"],
      ["call-id", "Call-ID"],
      ["cseq", "CSeq"],
      ["max-forwards", "Max-Forwards"],
      ["content-length", "Content-Length"],
    ]);
  });

  it("that are not known keep their written name", () => {
    const { headers } = read(inviteWith({ "X-fOO": "1" }));
    expect(headers.fields.at(-1)).toMatchObject({ key: "x-foo", name: "X-fOO", value: "1" });
  });

  it("that run over lines become one line (§7.3.1)", () => {
    const message = read(
      inviteWith({ Subject: "I know\r\n you're\t\r\n\t  there  ", From: "\r\n <sip:a@b>\r\n ; tag = 7" }),
    );
    expect(message.headers.get("subject")).toBe("I know you're there");
    expect(message.fromTag).toBe("7");
  });

  it("may have spaces before the colon, and nothing behind it", () => {
    const { headers } = read(inviteWith({ "Subject ": "", "X-Empty\t": " " }));
    expect([headers.get("subject"), headers.get("x-empty")]).toEqual(["", ""]);
  });

  it("of a proxy chain may stand on one line: each Via becomes a field of its own", () => {
    const { headers, via } = read(
      inviteWith({ Via: "SIP/2.0/UDP one;branch=z9hG4bK1 , SIP/2.0/TCP two;branch=z9hG4bK2" }),
    );
    expect(headers.all("via")).toEqual(["SIP/2.0/UDP one;branch=z9hG4bK1", "SIP/2.0/TCP two;branch=z9hG4bK2"]);
    expect(via?.host).toBe("one");
  });

  it.each(["no colon here", ": no name", "Bad Name: x", "B@d: x", "Subject: a\rX-Smuggled: b"])(
    "are refused: %j",
    (line) => {
      expect(refusal(wire([...INVITE_LINES, line])).status).toBe(400);
    },
  );

  it.each([
    ["Call-ID", "other"],
    ["CSeq", "3 INVITE"],
    ["From", "<sip:x@y>;tag=1"],
    ["To", "<sip:x@y>"],
    ["Max-Forwards", "5"],
  ])("that may come once and come twice differently are refused: %s (RFC 4475 §3.3.8)", (name, value) => {
    const error = refusal(wire([...INVITE_LINES, `${name}: ${value}`]));
    expect(error).toMatchObject({ status: 400, reason: `Two ${name}` });
    // The answer carries the first of them.
    expect(error.request?.headers.count(name.toLowerCase())).toBe(1);
  });

  it("that say twice the same are taken once", () => {
    const { headers } = read(wire([...INVITE_LINES, "Max-Forwards: 70", "Content-Type: a/b", "c: a/b"]));
    expect([headers.count("max-forwards"), headers.count("content-type")]).toEqual([1, 1]);
    expect(refusal(wire([...INVITE_LINES, "Content-Type: a/b", "c: a/c"])).reason).toBe("Two Content-Type");
  });

  it("that never end are refused", () => {
    const whole = inviteWith({});
    for (const length of [whole.length - 1, whole.length - 2, whole.length - 3, 60, 20])
      expect(parseMessage(whole.subarray(0, length), "datagram").ok).toBe(false);
  });
});

describe("the body (RFC 3261 §18.3)", () => {
  it("of a datagram ends where Content-Length says, and what follows is dropped (RFC 4475 §3.1.1.8)", () => {
    expect(read(inviteWith({ "Content-Length": "2" }, "hi, there")).body.toString()).toBe("hi");
  });

  it("of a datagram without Content-Length is all that is there", () => {
    expect(read(inviteWith({}, "hi, there")).body.toString()).toBe("hi, there");
  });

  it("of a datagram that is too short is refused with 400", () => {
    expect(refusal(inviteWith({ "Content-Length": "10" }, "hi"))).toMatchObject({ status: 400, request: {} });
  });

  it("of a stream is empty without Content-Length, and the message says so", () => {
    const message = read(inviteWith({}), "stream");
    expect([message.body.length, message.lengthMissing]).toEqual([0, true]);
    expect(read(inviteWith({ "Content-Length": "0" }), "stream").lengthMissing).toBe(false);
    expect(read(inviteWith({})).lengthMissing).toBe(false);
  });

  it("with two lengths is refused (RFC 4475 §3.3.9)", () => {
    const bytes = wire([...INVITE_LINES, "Content-Length: 2", "l: 5"], "hello");
    expect(refusal(bytes).reason).toBe("Two Content-Length");
  });

  it("keeps every octet", () => {
    const octets = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    const bytes = Buffer.concat([inviteWith({ "Content-Length": "256" }), octets]);
    expect(read(bytes).body.equals(octets)).toBe(true);
  });
});

describe("the bounds", () => {
  it("refuse more than 65,535 bytes with 513, and tell who to answer", () => {
    expect(refusal(inviteWith({}, "x".repeat(65_535)))).toMatchObject({ status: 513, request: {} });
  });

  it("refuse more than 256 header fields", () => {
    const many = (count: number) => wire([...INVITE_LINES, ...Array.from({ length: count }, () => "X: y")]);
    expect(parseMessage(many(defaultBounds.maxHeaders - INVITE_LINES.length + 1), "datagram").ok).toBe(true);
    expect(refusal(many(defaultBounds.maxHeaders - INVITE_LINES.length + 2)).status).toBe(513);
  });

  it("refuse a header field of more than 16,384 bytes, folded or not", () => {
    expect(read(inviteWith({ "X-Long": "x".repeat(16_000) })).headers.get("x-long")).toHaveLength(16_000);
    expect(refusal(inviteWith({ "X-Long": "x".repeat(16_400) })).status).toBe(513);
    expect(refusal(inviteWith({ "X-Long": "\r\n x".repeat(4_100) })).status).toBe(513);
  });

  it("refuse a Request-Line of more than 8,192 bytes with 414, and drop a Status-Line of more (RFC 3261 §21.4.12)", () => {
    const invite = (uri: string) => wire([`INVITE ${uri} SIP/2.0`, ...INVITE_LINES.slice(1)]);
    expect(read(invite(`sip:a@${"b".repeat(8_100)}`))).toMatchObject({ uri: expect.stringMatching(/b{8100}$/) });
    expect(refusal(invite(`sip:a@${"b".repeat(8_180)}`))).toMatchObject({ status: 414, request: {} });
    const ringing = (reason: string) => wire([`SIP/2.0 180 ${reason}`, ...INVITE_LINES.slice(1)]);
    expect(parseMessage(ringing("R".repeat(8_100)), "datagram").ok).toBe(true);
    expect(parseMessage(ringing("R".repeat(8_190)), "datagram")).toMatchObject({ ok: false, error: { status: 414 } });
  });

  it("count the Vias that stand on one line", () => {
    const vias = (count: number) => inviteWith({ Via: Array(count).fill("SIP/2.0/UDP h").join(",") });
    const others = INVITE_LINES.length - 2;
    expect(read(vias(defaultBounds.maxHeaders - others)).headers.fields).toHaveLength(defaultBounds.maxHeaders);
    const { status, request } = refusal(vias(1_000));
    expect(status).toBe(513);
    expect(request?.headers.fields.length).toBeLessThanOrEqual(defaultBounds.maxHeaders + others);
  });

  it("leave nothing to read in emptiness", () => {
    for (const text of ["", "\r\n", "\r\n\r\n", "\n", "x", "\r\nINVITE"])
      expect(parseMessage(Buffer.from(text), "datagram").ok).toBe(false);
  });
});
