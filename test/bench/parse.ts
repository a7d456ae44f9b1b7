import { StreamFramer } from "../../src/sip/frame.ts";
import { parseNameAddr } from "../../src/sip/headers.ts";
import { parseMessage } from "../../src/sip/parse.ts";
import { responseTo } from "../../src/sip/response.ts";
import { serialize } from "../../src/sip/serialize.ts";
import { parseUri } from "../../src/sip/uri.ts";

/*
 * What reading and writing one message costs: microseconds of one core, the best of several rounds. Under plain Node,
 * for vitest's own loading would be measured, too: `npx tsc -p tsconfig.bench.json --outDir dist-bench && node
 * dist-bench/test/bench/parse.js`.
 */

const ROUNDS = 7;
const ROUND_MS = 150;

function measure(what: string, work: () => unknown): void {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const start = process.hrtime.bigint();
    const until = start + BigInt(ROUND_MS) * 1_000_000n;
    let count = 0;
    let now = start;
    while (now < until) {
      for (let i = 0; i < 100; i++) work();
      count += 100;
      now = process.hrtime.bigint();
    }
    best = Math.min(best, Number(now - start) / 1000 / count);
  }
  console.log(`${best.toFixed(2).padStart(8)} µs  ${what}`);
}

const SDP =
  "v=0\r\no=alice 53655765 2353687637 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 49172 RTP/AVP 0\r\n";

const INVITE = Buffer.from(
  `${[
    "INVITE sip:shop@portal.example.com SIP/2.0",
    "Via: SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bK74bf9c1a2b3c4d5e6f",
    "Max-Forwards: 70",
    'From: "Alice" <sip:alice@portal.example.com>;tag=9fxced76sl',
    "To: <sip:shop@portal.example.com>",
    "Call-ID: 3848276298220188511@client.example.com",
    "CSeq: 2 INVITE",
    "Contact: <sip:alice@192.0.2.1:5060;transport=udp>",
    "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE",
    "Supported: timer",
    "User-Agent: bench",
    "Content-Type: application/sdp",
    `Content-Length: ${SDP.length}`,
  ].join("\r\n")}\r\n\r\n${SDP}`,
  "latin1",
);

const AUTHORIZED = Buffer.from(
  INVITE.toString("latin1").replace(
    "User-Agent",
    'Authorization: Digest username="alice", realm="portal.example.com", nonce="00000000000100018e3f4a5b6c7d8e9f0a1b2c3d4e5f60718293a4b5", ' +
      'uri="sip:shop@portal.example.com", response="f4b5f0e8a1d2c3b4a5968778695a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a", algorithm=SHA-256, ' +
      'cnonce="0a4f113b", qop=auth, nc=00000001\r\nUser-Agent',
  ),
  "latin1",
);

const parsed = parseMessage(INVITE, "datagram");
if (!parsed.ok || !parsed.value.isRequest) throw new Error("the message of the benchmark cannot be read");
const invite = parsed.value;
const ringing = serialize(responseTo(invite, 180, undefined, "314159"));
const BYE = Buffer.from(
  [
    "BYE sip:alice@192.0.2.1:5060;transport=udp SIP/2.0",
    "Via: SIP/2.0/UDP 192.0.2.2:5060;rport;branch=z9hG4bK0a1b2c3d4e5f60718293a4b5",
    "Max-Forwards: 70",
    "From: <sip:shop@portal.example.com>;tag=314159",
    'To: "Alice" <sip:alice@portal.example.com>;tag=9fxced76sl',
    "Call-ID: 3848276298220188511@client.example.com",
    "CSeq: 1 BYE",
    "Content-Length: 0",
    "",
    "",
  ].join("\r\n"),
  "latin1",
);
const address = invite.headers.get("from") ?? "";
// 40 messages, cut where TCP might.
const stream = Buffer.concat(Array.from({ length: 40 }, () => INVITE));
const pieces = Array.from({ length: Math.ceil(stream.length / 1_448) }, (_, i) =>
  stream.subarray(i * 1_448, (i + 1) * 1_448),
);

measure(`parse INVITE of ${INVITE.length} bytes`, () => parseMessage(INVITE, "datagram"));
measure(`parse INVITE of ${AUTHORIZED.length} bytes, with credentials`, () => parseMessage(AUTHORIZED, "datagram"));
measure(`parse 180 of ${ringing.length} bytes`, () => parseMessage(ringing, "datagram"));
measure(`parse BYE of ${BYE.length} bytes`, () => parseMessage(BYE, "datagram"));
measure("serialize the INVITE", () => serialize(invite));
measure("build and serialize a 180", () => serialize(responseTo(invite, 180, undefined, "314159")));
measure("read a URI", () => parseUri("sip:alice@192.0.2.1:5060;transport=udp"));
measure("read a name-addr", () => parseNameAddr(address));
measure("frame 40 messages in segments of 1,448 bytes", () => {
  const framer = new StreamFramer();
  for (const piece of pieces) framer.push(piece);
});
