import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { Headers, SipRequest, type SipResponse } from "../../src/sip/message.ts";
import { serialize } from "../../src/sip/serialize.ts";
import { hostPort } from "../../src/transport/via.ts";
import { keptLog } from "../support/lines.ts";
import { establish, type Lab, type LabOptions, lab, Peer } from "./harness.ts";

const md5 = (text: string) => createHash("md5").update(text).digest("hex");
const HOUR = 3_600_000;

let calls = 0;

/** A peer at an address of its own, who writes requests as short as they can be. */
function stranger(l: Lab, address = "203.0.113.9", port = 5060, transport: "udp" | "tcp" = "udp") {
  const peer = new Peer(l.core.transport as never, address, port, transport);
  let bytes = 0;
  const { send } = peer.flow;
  peer.flow.send = (sent) => {
    bytes += sent.length;
    send(sent);
  };
  const ask = (
    method: string,
    more: [string, string][] = [],
    parts: { uri?: string; to?: string; via?: string[] } = {},
  ) => {
    const n = ++calls;
    const headers = new Headers();
    const own = `SIP/2.0/${transport.toUpperCase()} ${hostPort(address, port)};branch=z9hG4bK${n}`;
    for (const via of [own, ...(parts.via ?? [])]) headers.add("Via", via);
    headers
      .add("From", "<sip:a@b>;tag=1")
      .add("To", parts.to ?? "<sip:a@b>")
      .add("Call-ID", `c${n}`)
      .add("CSeq", `1 ${method}`);
    if (method === "INVITE") headers.add("Contact", "<sip:a@b>");
    for (const [name, value] of more) headers.add(name, value);
    const request = new SipRequest(method, parts.uri ?? "sip:service1@portal.com", headers);
    peer.send(request);
    return request;
  };
  return {
    peer,
    ask,
    /** What one request, of so many bytes, has drawn when an hour is over. */
    draws: (...asked: Parameters<typeof ask>) => {
      bytes = 0;
      peer.inbox.length = 0;
      const request = ask(...asked);
      const first = peer.inbox[0] as SipResponse | undefined;
      l.clock.advance(HOUR);
      return { status: first?.status, answers: peer.inbox.length, ratio: bytes / serialize(request).length };
    },
  };
}

const open = (options: LabOptions = {}) => lab({ signIn: true, ...options });

/** Credentials of alice, or of somebody who guesses. */
function credentials(
  challenge: SipResponse,
  { password = "secret", user = "alice", uri = "sip:service1@portal.com", method = "INVITE", algorithm = "MD5" } = {},
) {
  const lines = challenge.headers.all("www-authenticate");
  const nonce = /nonce="([^"]+)"/.exec([...lines][0]!)![1]!;
  const response = md5(`${md5(`${user}:portal.com:${password}`)}:${nonce}:00000001:c:auth:${md5(`${method}:${uri}`)}`);
  return `Digest username="${user}", realm="portal.com", nonce="${nonce}", uri="${uri}", response="${response}", algorithm=${algorithm}, qop=auth, nc=00000001, cnonce="c"`;
}

/** An INVITE of that user, answered to its challenge. */
function signsIn(l: Lab, peer: Peer, options: Parameters<typeof credentials>[1] & { via?: string } = {}) {
  const from = "<sip:alice@portal.com>";
  const via: [string, string][] = options.via === undefined ? [] : [["Via", options.via]];
  peer.inbox.length = 0;
  peer.invite({ from, headers: via });
  const challenge = peer.response(401);
  peer.invite({ from, headers: [...via, ["Authorization", credentials(challenge, options)]] });
  return (peer.inbox[0] as SipResponse | undefined)?.status ?? l.server("a").inbox.length;
}

describe("before anybody has signed in, an answer is sent once and kept by nobody (RFC 3261 §8.2.7, §26.3.2.4)", () => {
  it.each<[string, number, string, [string, string][], { uri?: string; to?: string }]>([
    ["an INVITE", 401, "INVITE", [], {}],
    ["credentials that are none", 401, "INVITE", [["Authorization", "x"]], {}],
    [
      "credentials for another realm",
      401,
      "INVITE",
      [["Authorization", 'Digest username="a", realm="x", nonce="n", uri="u", response="r"']],
      {},
    ],
    [
      "credentials with a made-up nonce",
      401,
      "INVITE",
      [["Authorization", 'Digest username="a", realm="portal.com", nonce="n", uri="u", response="r"']],
      {},
    ],
    ["a domain that is nobody's", 401, "INVITE", [], { uri: "sip:a@b" }],
    ["another scheme", 416, "INVITE", [], { uri: "tel:1" }],
    ["an extension", 420, "INVITE", [["Require", "x"]], {}],
    ["a coding", 401, "INVITE", [["Content-Encoding", "gzip"]], {}],
    ["no hops left", 483, "INVITE", [["Max-Forwards", "0"]], {}],
    ["an INVITE of no session", 481, "INVITE", [], { to: "<sip:a@b>;tag=x" }],
    ["a BYE of no session", 481, "BYE", [], { to: "<sip:a@b>;tag=x" }],
    ["a BYE", 481, "BYE", [], {}],
    ["a CANCEL of nothing", 481, "CANCEL", [], {}],
    [
      "an INFO of no session",
      481,
      "INFO",
      [["Content-Type", "application/vnd.tollgate.charge+json"]],
      { to: "<sip:a@b>;tag=x" },
    ],
    ["an UPDATE", 481, "UPDATE", [], {}],
    ["a PRACK", 481, "PRACK", [["RAck", "1 1 INVITE"]], { to: "<sip:a@b>;tag=x" }],
    ["an OPTIONS", 200, "OPTIONS", [], {}],
    ["a REGISTER", 401, "REGISTER", [], { uri: "sip:portal.com" }],
    ["a REGISTER at another domain", 404, "REGISTER", [], { uri: "sip:b" }],
    ["a method that nobody knows", 501, "FOO", [], {}],
    ["one that nobody knows, of no session", 501, "FOO", [], { to: "<sip:a@b>;tag=x" }],
    ["a MESSAGE", 405, "MESSAGE", [], {}],
    ["a MESSAGE with charges", 401, "MESSAGE", [["Tollgate-Session", "x"]], { uri: "sip:charges@portal.com" }],
    ["a REFER", 401, "REFER", [["Refer-To", "<sip:b@portal.com>"]], {}],
    ["a SUBSCRIBE", 481, "SUBSCRIBE", [["Event", "refer"]], {}],
    ["a SUBSCRIBE to something else", 489, "SUBSCRIBE", [["Event", "presence"]], {}],
  ])("%s: %i", async (_what, status, method, headers, parts) => {
    const l = await open();
    const { draws } = stranger(l);
    const drawn = draws(method, headers, parts);
    expect(drawn).toMatchObject({ status, answers: 1 });
    expect(drawn.ratio).toBeLessThan(2.6);
    expect(l.leftovers()).toMatchObject({ requests: 0, transactions: 0, timers: 0 });
    expect(l.transactions.stats.serverTransactions).toBe(0);
  });

  it.each<[string, string]>([
    ["INVITE", "sip:service1@portal.com"],
    ["REFER", "sip:portal.com"],
    ["MESSAGE", "sip:charges@portal.com"],
  ])("%s: a short request gets one challenge over UDP, as one by a connection gets all", async (method, uri) => {
    const l = await open();
    const challenges = (transport: "udp" | "tcp") => {
      const { peer, ask } = stranger(l, "203.0.113.9", 5060, transport);
      ask(method, [], { uri });
      return peer.response(401).headers.count("www-authenticate");
    };
    expect([challenges("udp"), challenges("tcp")]).toEqual([1, 2]);
  });

  it("a wrong password: 401, as often as it is tried, and 503 when it is not looked at any more", async () => {
    const l = await open();
    const { peer, ask, draws } = stranger(l);
    const from: [string, string][] = [];
    ask("INVITE", from);
    const challenge = peer.response(401);
    const statuses = Array.from({ length: 7 }, (_, i) => {
      const authorization = credentials(challenge, { password: `guess ${i}` });
      ask("INVITE", [["Authorization", authorization]]);
      return (peer.inbox.shift() as SipResponse).status;
    });
    expect(statuses).toEqual([401, 401, 401, 401, 401, 503, 503]);
    expect(draws("INVITE", [["Authorization", credentials(challenge, { password: "guess" })]])).toMatchObject({
      answers: 1,
    });
    expect(l.transactions.stats.serverTransactions).toBe(0);
  });

  it("what cannot be read", async () => {
    const l = await open();
    const { peer, ask } = stranger(l);
    const request = ask("OPTIONS");
    peer.inbox.length = 0;
    for (let i = 0; i < 1_000; i++) l.transactions.malformed({ reason: "Bad From", status: 400, request }, peer.flow);
    l.clock.advance(HOUR);
    expect(peer.inbox.length).toBeLessThan(250); // and nothing over the limit
    expect(l.transactions.size).toBe(0);
  });

  it("and a transaction is made of a request whose sender has signed in, and of those of a session", async () => {
    const l = await open();
    expect(signsIn(l, l.client)).toBe(1);
    expect(l.transactions.stats.serverTransactions).toBe(1);
    const second = await lab();
    const { invite, answer } = await establish(second);
    const before = second.transactions.stats.serverTransactions;
    const bye = second.client.inDialog("BYE", invite, answer, 2);
    second.client.send(bye);
    expect(second.transactions.stats.serverTransactions).toBe(before + 1);
    expect(second.server("a").inbox.filter((message) => message.isRequest && message.method === "BYE")).toHaveLength(1);
  });
});

describe("who only looks for a way in gets no answer", () => {
  const SCANNER: [string, string] = ["User-Agent", "friendly-scanner"];

  it.each(["INVITE", "OPTIONS", "REGISTER", "SUBSCRIBE", "FOO"])("a scanner's %s", async (method) => {
    const l = await open();
    const { draws } = stranger(l);
    expect(draws(method, [SCANNER])).toMatchObject({ answers: 0, status: undefined });
    expect(l.transactions.stats).toMatchObject({ ignored: 1, stateless: 0, serverTransactions: 0 });
    expect(l.core.strangers.counters.scannersIgnored).toBe(1);
  });

  it("what a scanner sends and cannot be read", async () => {
    const l = await open();
    const { peer, ask } = stranger(l);
    const request = ask("OPTIONS", [SCANNER]);
    l.transactions.malformed({ reason: "Bad From", status: 400, request }, peer.flow);
    expect(peer.inbox).toHaveLength(0);
  });

  it("a scanner by TCP, whose connection is ended, but not that of a proxy which passes it on", async () => {
    const l = await open({ config: { trustedProxies: ["203.0.113.9"] } });
    const cut = (address: string, via: string[]) => {
      const { peer, ask } = stranger(l, address, 5060, "tcp");
      let reason: string | undefined;
      peer.flow.cut = (why) => {
        reason = why;
      };
      ask("OPTIONS", [SCANNER], { via });
      expect(peer.inbox).toHaveLength(0);
      return reason;
    };
    expect(cut("198.51.100.7", [])).toBe("strangers are not answered");
    expect(cut("203.0.113.9", ["SIP/2.0/UDP 198.51.100.7;branch=z9hG4bKx"])).toBeUndefined();
  });

  it("after sign-ins as ten unknown users, everybody at that address but who has signed in from there", async () => {
    const l = await open();
    const address = "203.0.113.9";
    expect(signsIn(l, stranger(l, address, 5061).peer)).toBe(1);
    const { peer, ask, draws } = stranger(l, address, 5060);
    for (let i = 0; i < 10; i++) {
      ask("INVITE");
      const challenge = peer.response(401);
      ask("INVITE", [["Authorization", credentials(challenge, { user: `10${i}` })]]);
      peer.inbox.length = 0;
    }
    expect(l.core.strangers.counters.sourcesIgnored).toBe(1);
    ask("INVITE");
    ask("OPTIONS");
    expect(peer.inbox).toHaveLength(0);
    const alice = stranger(l, address, 5062).peer;
    alice.invite({ from: "<sip:alice@portal.com>" });
    expect(alice.response(401).status).toBe(401);
    const elsewhere = stranger(l, "203.0.113.10");
    expect(elsewhere.draws("INVITE").status).toBe(401); // an hour passes
    expect(draws("INVITE").status).toBe(401);
  });
});

describe("over the limit of an address nothing is sent (decision 18)", () => {
  const flood = (
    l: Lab,
    times: number,
    method: string,
    parts: { to?: string } = {},
    transport: "udp" | "tcp" = "udp",
  ) => {
    const { peer, ask } = stranger(l, "203.0.113.9", 5060, transport);
    for (let i = 0; i < times; i++) ask(method, [], parts);
    return peer.inbox.length;
  };

  it.each(["INVITE", "OPTIONS", "REGISTER", "CANCEL", "REFER", "SUBSCRIBE"])(
    "a flood of %s draws two hundred answers in a second",
    async (method) => {
      const l = await open();
      expect(flood(l, 1_000, method)).toBe(200);
      expect(l.transactions.stats.overRate).toBe(800);
      l.clock.advance(1_000);
      expect(flood(l, 1_000, method)).toBe(200);
    },
  );

  it("requests with made-up To tags count, and are counted", async () => {
    const l = await open();
    expect(flood(l, 1_000, "BYE", { to: "<sip:a@b>;tag=made-up" })).toBe(200);
    expect(l.core.counters).toMatchObject({ strayRequests: 1_000, strayRequestsIgnored: 800 });
  });

  it("a flood from many addresses does not keep out whoever has signed in", async () => {
    const l = await open({ limits: { perSourcePerSecond: 50, perUnprovenSourcePerSecond: 5 } });
    expect(signsIn(l, l.client)).toBe(1);
    for (let i = 0; i < 60_000; i++)
      l.core.admission.take({ secure: false, transport: "udp", remoteAddress: `forged ${i}`, remotePort: 1 });
    const { inbox } = l.client;
    inbox.length = 0;
    for (let i = 0; i < 40; i++) l.client.invite();
    expect(inbox).toHaveLength(40);
  });

  it("a connection cannot be forged: it has the whole number, and is told of it", async () => {
    const l = await open({ limits: { perSourcePerSecond: 300 } });
    const { peer, ask } = stranger(l, "203.0.113.9", 41_000, "tcp");
    for (let i = 0; i < 400; i++) ask("OPTIONS");
    const statuses = peer.inbox.map((message) => (message as SipResponse).status);
    expect(statuses.filter((status) => status === 200)).toHaveLength(300);
    expect(statuses.filter((status) => status === 503)).toHaveLength(100);
  });

  it("the addresses of one IPv6 network are one", async () => {
    const l = await open();
    let answers = 0;
    for (let i = 0; i < 200; i++) {
      const { peer, ask } = stranger(l, `2001:db8:1:2::${i + 1}`);
      ask("OPTIONS");
      answers += peer.inbox.length;
    }
    expect(answers).toBe(200);
  });
});

describe("behind the operator's proxy (trustedProxies)", () => {
  const PROXY = "192.0.2.50"; // l.client
  const via = (address: string) =>
    `SIP/2.0/UDP pc.example:5060;received=${address};rport=4242;branch=z9hG4bKbelow${++calls}`;

  it("each client is a source of its own: a guesser waits, and nobody else", async () => {
    const l = await open({ config: { trustedProxies: [PROXY] } });
    for (let i = 0; i < 5; i++)
      expect(signsIn(l, l.client, { password: `guess ${i}`, via: via("198.51.100.66") })).toBe(401);
    // A proxy that hears 503 would leave the relay alone (RFC 3261 §21.5.4).
    expect(signsIn(l, l.client, { via: via("198.51.100.66") })).toBe(480);
    expect(signsIn(l, l.client, { via: via("198.51.100.7") })).toBe(1);
  });

  it("the client's address and port are what the log says", async () => {
    const { log, of } = keptLog();
    const l = await open({ log, config: { trustedProxies: ["192.0.2.0/26"] } });
    signsIn(l, l.client, { password: "guess", via: via("198.51.100.66") });
    expect(of("sign-in refused")).toMatchObject([
      { address: "198.51.100.66", port: 4242, byProxy: true, user: "alice" },
    ]);
  });

  it("also where there are two, one behind the other", async () => {
    const { log, of } = keptLog();
    const l = await open({ log, config: { trustedProxies: [PROXY, "10.0.0.0/8"] } });
    const { peer, ask } = stranger(l, PROXY);
    ask("INVITE", [], { via: ["SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1", via("198.51.100.66")] });
    const challenge = peer.response(401);
    ask("INVITE", [["Authorization", credentials(challenge, { password: "x" })]], {
      via: ["SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK2", via("198.51.100.66")],
    });
    expect(of("sign-in refused")).toMatchObject([{ address: "198.51.100.66" }]);
  });

  it("what a client claims of itself in a Via of its own counts for nothing", async () => {
    const { log, of } = keptLog();
    const l = await open({ log, config: { trustedProxies: ["10.0.0.1"] } });
    for (let i = 0; i < 5; i++)
      expect(signsIn(l, l.client, { password: `guess ${i}`, via: via(`198.51.100.${i}`) })).toBe(401);
    expect(signsIn(l, l.client, { via: via("198.51.100.66") })).not.toBe(1);
    expect(of("sign-in refused")[0]).toMatchObject({ address: PROXY, port: 5062 });
  });

  it("a proxy's clients have the whole number of requests each", async () => {
    const l = await open({ config: { trustedProxies: [PROXY] }, limits: { perSourcePerSecond: 10 } });
    const { peer, ask } = stranger(l, PROXY);
    for (let client = 0; client < 20; client++)
      for (let i = 0; i < 10; i++) ask("OPTIONS", [], { via: [via(`198.51.100.${client}`)] });
    expect(peer.inbox).toHaveLength(200);
  });
});

describe("a refused sign-in (M2)", () => {
  it("leaves a line with who, from where, by what and why; and one when somebody has to wait", async () => {
    const { log, lines, of } = keptLog();
    const l = await open({ log });
    for (let i = 0; i < 6; i++) signsIn(l, l.client, { user: 'mal\\"lory', password: `guess ${i}` });
    const [first, ...others] = of("sign-in refused");
    expect(first).toEqual({
      address: "192.0.2.50",
      port: 5062,
      transport: "udp",
      user: "mal?lory",
      method: "INVITE",
      callId: expect.stringMatching(/^call-\d+$/),
      userAgent: undefined,
      why: "wrong user or password",
      waitS: undefined,
    });
    expect(others).toHaveLength(5);
    expect(others.at(-1)).toMatchObject({ why: "too many failures before", waitS: 2 });
    const lockOut = lines.find(({ text }) => text.includes("too many failures"));
    expect(lockOut).toMatchObject({
      level: "warn",
      facts: { user: "mal?lory", source: "192.0.2.50", failures: 5, waitS: 2 },
    });
  });

  it("leaves few lines, however often one with a good nonce is tried in a form that is no guess", async () => {
    const { log, of } = keptLog();
    const l = await open({ log, limits: { perSourcePerSecond: 0 } });
    l.client.invite();
    const challenge = l.client.response(401);
    const session = credentials(challenge, { algorithm: "MD5-sess" });
    for (let i = 0; i < 5_000; i++) l.client.invite({ headers: [["Authorization", session]] });
    expect(of("sign-in refused")).toHaveLength(10);
    expect(l.core.peerLog.leftOut).toBe(4_990);
    expect(l.transactions.size).toBe(0);
  });
});
