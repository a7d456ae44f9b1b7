import pino from "pino";
import { describe, expect, it } from "vitest";
import { decode, encode } from "../../src/media/bencode.ts";
import { type NgAnswer, Rtpengines } from "../../src/media/ng.ts";
import { mannerOf, sdpOf } from "../../src/media/sdp.ts";
import { SipRequest } from "../../src/sip/message.ts";
import { buildMultipart } from "../../src/sip/parts.ts";
import { TestClock } from "../support/test-clock.ts";
import { FakeRtpengines } from "./fake-rtpengine.ts";

describe("bencode", () => {
  it.each([
    ["d3:bar4:spam3:fooi42ee", { foo: 42, bar: "spam" }],
    ["li-3e2:hie", [-3, "hi"]],
    ["3:\u00e4a", "äa"],
    ["de", { left: undefined }],
  ])("is written as %s", (text, value) => {
    expect(encode(value).toString()).toBe(text);
  });

  it("is read again, bytes as bytes", () => {
    const sdp = Buffer.from([0, 255, 10]);
    const read = decode(encode({ sdp, list: ["a", 1], n: -7 }));
    expect(read).toEqual({
      ok: true,
      value: new Map<string, unknown>([
        ["list", [Buffer.from("a"), 1]],
        ["n", -7],
        ["sdp", sdp],
      ]),
    });
  });

  it.each([
    ["", "a length"],
    ["d", "a length"],
    ["3:ab", "cut short"],
    ["i12", "an integer"],
    ["ie", "an integer"],
    ["i99999999999999999999e", "an integer"],
    ["99999999:x", "a length"],
    ["d3:fooe", "a length"],
    ["di1ei2ee", "a length"],
    ["2:abX", "more bytes"],
    ["l".repeat(20), "too many values"],
    [`l${"i1e".repeat(3_000)}e`, "too many values"],
  ])("that is broken is an error: %.20s", (text, problem) => {
    expect(decode(Buffer.from(text))).toEqual({ ok: false, error: expect.stringContaining(problem) });
  });
});

const ports = [1, 2];
function engines(options: { engines?: number[] } = {}) {
  const fake = new FakeRtpengines();
  const clock = new TestClock();
  const lines: string[] = [];
  const log = pino({ level: "info" }, { write: (line: string) => void lines.push(JSON.parse(line).msg) });
  let n = 0;
  const all = new Rtpengines({
    engines: (options.engines ?? ports).map((port) => ({ host: "127.0.0.1", port })),
    timeoutMs: 1_000,
    retryMs: 5_000,
    clock,
    random: { token: () => `cookie${++n}` },
    log,
    open: fake.open,
  });
  const settle = async () => {
    for (let i = 0; i < 10; i++) await Promise.resolve();
  };
  return { fake, clock, all, lines, settle };
}

describe("commands to rtpengine (NG protocol)", () => {
  it("are repeated with the same cookie until they are answered, and given up in time", async () => {
    const { fake, clock, all, lines } = engines();
    fake.silent.add(1);
    const answers: NgAnswer[] = [];
    const [one] = all.all;
    one!.ask("offer", { "call-id": "a" }, (answer) => answers.push(answer));
    clock.advance(999);
    expect(answers).toEqual([]);
    expect(fake.datagrams).toHaveLength(3); // at 0, 200, 600 ms
    expect(new Set(fake.datagrams.map(({ cookie }) => cookie)).size).toBe(1);
    clock.advance(1);
    expect(answers).toEqual([{ ok: false, kind: "unanswered", why: "no answer within 1000 ms" }]);
    expect(all.counters).toMatchObject({ mediaCommands: 1, mediaUnanswered: 1 });
    expect(all.down).toBe(1);
    expect(lines).toEqual(["rtpengine: it does not answer, and is not asked until it does"]);
    all.close();
  });

  it("go to those that answer, in turn; one that was silent is asked now and then whether it is back", async () => {
    const { fake, clock, all, lines, settle } = engines();
    fake.silent.add(1);
    all.all[0]!.ask("offer", {}, () => {});
    clock.advance(1_000);
    expect([all.choose()?.name, all.choose()?.name]).toEqual(["127.0.0.1:2", "127.0.0.1:2"]);
    expect(all.choose(all.all[1])).toBeUndefined();
    clock.advance(5_000); // still silent
    clock.advance(1_000);
    fake.silent.clear();
    clock.advance(5_000);
    await settle();
    expect(all.down).toBe(0);
    expect(new Set([all.choose()?.name, all.choose()?.name])).toEqual(new Set(["127.0.0.1:1", "127.0.0.1:2"]));
    expect(lines.at(-1)).toBe("rtpengine: it answers again");
    all.close();
    expect(clock.armed).toBe(0);
  });

  it("are answered once: what comes again, too late, unreadable or unasked does nothing", async () => {
    const { fake, clock, all, settle } = engines({ engines: [1] });
    const answers: NgAnswer[] = [];
    let receive: (bytes: Buffer) => void = () => {};
    const sent: string[] = [];
    const odd = new Rtpengines({
      engines: [{ host: "127.0.0.1", port: 9 }],
      timeoutMs: 1_000,
      retryMs: 5_000,
      clock,
      random: { token: () => "c" },
      log: pino({ level: "silent" }),
      open: (_place, received) => {
        receive = received;
        return { send: (bytes) => void sent.push(bytes.toString()), close() {} };
      },
    });
    for (const bytes of ["x d6:result2:oke", "", " ", "c"]) {
      odd.all[0]!.ask("offer", {}, (answer) => answers.push(answer));
      receive(Buffer.from(bytes));
      receive(Buffer.from("c d6:result2:oke"));
      receive(Buffer.from("c d6:result2:oke"));
    }
    expect(answers.map(({ ok }) => ok)).toEqual([true, true, true, true]);
    expect(sent[0]).toBe("c d7:command5:offere");
    odd.close();
    all.close();
    await settle();
    expect(fake.datagrams).toEqual([]);
  });
});

describe("a description in a message", () => {
  const message = (type: string, body: Buffer) => {
    const request = new SipRequest("INVITE", "sip:a@b");
    request.headers.add("Content-Type", type);
    request.body = body;
    return request;
  };
  const sdp = Buffer.from("v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=ice-ufrag:x\r\na=rtcp-mux\r\n");

  it("is its body, or a part of it, and is replaced in its place", () => {
    expect(sdpOf(message("application/sdp", sdp))?.bytes.equals(sdp)).toBe(true);
    const xml = { contentType: "text/xml", body: Buffer.from("<wine/>") };
    const { contentType, body } = buildMultipart([xml, { contentType: "application/sdp", body: sdp }, xml], "cut");
    const found = sdpOf(message(contentType, body))!;
    expect(found.bytes.equals(sdp)).toBe(true);
    const changed = message(contentType, found.with(Buffer.from("v=1\r\n")));
    expect(sdpOf(changed)?.bytes.toString()).toBe("v=1\r\n");
    expect(changed.body.toString().match(/<wine\/>/g)).toHaveLength(2);
    expect(sdpOf(message("text/xml", sdp))).toBeUndefined();
    expect(sdpOf(message("application/sdp", Buffer.alloc(0)))).toBeUndefined();
  });

  it("says how its sender sends media; without audio and video no media relay is of use", () => {
    expect(mannerOf(sdp)).toEqual({ protocol: "UDP/TLS/RTP/SAVPF", ice: true, mux: true });
    expect(mannerOf(Buffer.from("v=0\r\nm=video 5004 RTP/AVP 31\r\n"))).toEqual({
      protocol: "RTP/AVP",
      ice: false,
      mux: false,
    });
    expect(mannerOf(Buffer.from("v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"))).toBeUndefined();
  });
});
