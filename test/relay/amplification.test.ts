import { describe, expect, it } from "vitest";
import { parseMessage } from "../../src/sip/parse.ts";
import { stampVia } from "../../src/transport/via.ts";
import { lab, Peer } from "./harness.ts";

const ADDRESS = "203.0.113.199";

type Parts = {
  method?: string;
  uri?: string;
  version?: string;
  via?: string;
  cseq?: string;
  to?: string;
  more?: string;
};

/** A request as short as it can be written: compact names, one letter for each value. */
function bare({ method = "INVITE", uri = "sip:portal.com", version = "SIP/2.0", ...parts }: Parts): string {
  const { via = "SIP/2.0/UDP a;branch=z9hG4bKa", to = "<sip:a>", more = "", cseq = `1 ${method}` } = parts;
  return `${method} ${uri} ${version}\r\nv:${via}\r\nf:<sip:a>;tag=a\r\nt:${to}\r\ni:a\r\nCSeq:${cseq}\r\n${more}\r\n`;
}

const CONTACT = "m:<sip:a@b>\r\n";
const NO_SESSION = "<sip:a>;tag=x";

/** Every answer that is given to whoever has not signed in. */
const KINDS: [what: string, status: number, parts: Parts][] = [
  ["what cannot be read", 400, { cseq: "1 BYE" }],
  ["INVITE", 401, { more: CONTACT }],
  ["INVITE with credentials that are none", 401, { more: `${CONTACT}Authorization:x\r\n` }],
  ["REFER", 401, { method: "REFER", more: "r:<sip:b>\r\n" }],
  ["REFER without Refer-To", 401, { method: "REFER" }],
  ["MESSAGE with charges", 401, { method: "MESSAGE", uri: "sip:charges@portal.com" }],
  ["REGISTER", 401, { method: "REGISTER" }],
  ["REGISTER at another domain", 404, { method: "REGISTER", uri: "sip:b" }],
  ["PUBLISH", 405, { method: "PUBLISH" }],
  ["MESSAGE", 405, { method: "MESSAGE" }],
  ["a coding", 415, { method: "OPTIONS", more: "e:gzip\r\nl:1\r\n\r\nx" }],
  ["another scheme", 416, { uri: "tel:1" }],
  ["an extension", 420, { more: "Require:x\r\n" }],
  ["no session", 481, { method: "BYE", to: NO_SESSION }],
  ["CANCEL of nothing", 481, { method: "CANCEL" }],
  ["INFO outside", 481, { method: "INFO" }],
  ["SUBSCRIBE", 481, { method: "SUBSCRIBE", more: "o:refer\r\n" }],
  ["SUBSCRIBE to something else", 489, { method: "SUBSCRIBE", more: "o:a\r\n" }],
  ["no hops left", 483, { more: "Max-Forwards:0\r\n" }],
  ["a method that nobody knows", 501, { method: "A" }],
  ["one of no session", 501, { method: "A", to: NO_SESSION }],
  ["another version", 505, { version: "SIP/3.0" }],
  ["OPTIONS", 200, { method: "OPTIONS" }],
];

const VIAS = {
  "with a Via of RFC 3261": "SIP/2.0/UDP a;branch=z9hG4bKa",
  "with the barest Via": "SIP/2.0/UDP a",
  "with rport": "SIP/2.0/UDP a;rport",
};

async function asked(text: string, draining = false) {
  const l = await lab({ signIn: true });
  l.core.draining = draining;
  const peer = new Peer(l.core.transport as never, ADDRESS, 65_535, "udp");
  const sent: Buffer[] = [];
  peer.flow.send = (bytes) => void sent.push(Buffer.from(bytes));
  const bytes = Buffer.from(text);
  const read = parseMessage(bytes, "datagram");
  const request = read.ok ? read.value : read.error.request;
  if (request?.isRequest) stampVia(request, ADDRESS, 65_535);
  if (read.ok) l.transactions.received(read.value, peer.flow);
  else l.transactions.malformed(read.error, peer.flow);
  l.clock.advance(40_000);
  const total = sent.reduce((sum, { length }) => sum + length, 0);
  const status = sent[0] && Number(sent[0].toString("latin1", 8, 11));
  return { l, answers: sent.length, status, times: total / bytes.length, text: sent[0]?.toString("latin1") ?? "" };
}

describe("what one datagram draws from an address that may be forged (RFC 4732 §3.1)", () => {
  for (const [kind, via] of Object.entries(VIAS)) {
    it.each(KINDS)(`%s, %i, ${kind}: once, and no more than three times as much`, async (_what, status, parts) => {
      const drawn = await asked(bare({ ...parts, via }));
      expect(drawn.times).toBeLessThanOrEqual(3);
      if (drawn.answers > 0) expect(drawn).toMatchObject({ answers: 1, status });
      else expect(drawn.l.transactions.stats.outOfProportion).toBe(1);
    });
  }

  it("a relay that is shutting down: as much", async () => {
    const drawn = await asked(bare({ more: CONTACT }), true);
    expect(drawn.times).toBeLessThanOrEqual(3);
    expect(drawn.answers).toBeLessThanOrEqual(1);
  });

  it("and clients are answered in full: their requests are long enough", async () => {
    const via = "SIP/2.0/UDP 192.168.1.2:5060;branch=z9hG4bK776asdhds;rport";
    const more = "Max-Forwards: 70\r\nContact: <sip:alice@192.168.1.2:5060>\r\nUser-Agent: x\r\nContent-Length: 0\r\n";
    const to = "<sip:wine@portal.com>";
    for (const [method, name] of [
      ["INVITE", "WWW-Authenticate"],
      ["OPTIONS", "Supported"],
      ["REGISTER", "WWW-Authenticate"],
      ["PUBLISH", "Allow"],
    ] as const) {
      const { text, times } = await asked(bare({ method, via, more, to, uri: "sip:wine@portal.com" }));
      expect(text).toContain(`\r\n${name}: `);
      expect(times).toBeLessThan(3);
    }
  });
});
