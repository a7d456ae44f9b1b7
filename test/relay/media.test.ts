// biome-ignore-all lint/suspicious/noThenProperty: a rule says when and then
import pino from "pino";
import { describe, expect, it } from "vitest";
import { parseConfig } from "../../src/config/load.ts";
import { configSchema } from "../../src/config/schema.ts";
import { newAppServerKey } from "../../src/directory/app-server-keys.ts";
import { openMedia } from "../../src/node/media.ts";
import { checkSessionState } from "../../src/relay/model/session-state.ts";
import { restore, snapshot } from "../../src/relay/session/snapshot.ts";
import { PeerLog } from "../../src/support/peer-log.ts";
import { systemRandom } from "../../src/support/random.ts";
import { FakeRtpengines } from "../media/fake-rtpengine.ts";
import { TestClock } from "../support/test-clock.ts";
import { type LabOptions, lab } from "./harness.ts";

const nothing = { sessions: 0, requests: 0, legs: 0, legsByFlow: 0, transactions: 0, timers: 0 };
const WEB = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=ice-ufrag:x\r\na=rtcp-mux\r\n";
const PLAIN = "v=0\r\nm=audio 4000 RTP/AVP 0\r\n";
const by = (sdp: string, port = 1) => `${sdp}a=by:${port}\r\n`;

interface Options {
  readonly lab?: LabOptions;
  readonly media?: object;
  readonly rtpengines?: readonly number[];
}

/** A relay with rtpengines in the path of app server `a`. */
async function relayed({ lab: more = {}, media = {}, rtpengines = [1] }: Options = {}) {
  const clock = new TestClock();
  const fake = new FakeRtpengines();
  const log = pino({ level: "silent" });
  const read = configSchema.parse({ media: { rtpengines: rtpengines.map((port) => `127.0.0.1:${port}`), ...media } });
  let n = 0;
  const random = { token: () => `k${++n}` };
  const peerLog = new PeerLog({ log, clock });
  const opened = openMedia(read, { clock, random, log, peerLog, open: fake.open })!;
  const l = await lab({
    servers: [{ media: "rtpengine" }],
    ...more,
    clock,
    core: { media: opened.relay, ...more.core },
  });
  const a = l.server("a");
  return { l, fake, a, clock, opened };
}

/** A call from a browser to an app server that has plain RTP. */
async function established(options: Options = {}) {
  const all = await relayed(options);
  const { l, a } = all;
  const invite = l.client.invite({ body: WEB });
  await l.settle();
  const asked = a.request("INVITE");
  const said = a.answer(asked, 200, { body: PLAIN });
  await l.settle();
  const answer = l.client.response(200);
  l.client.ack(invite, answer);
  await l.settle();
  a.request("ACK");
  return { ...all, invite, asked, said, answer };
}

describe("a media relay in the path of an invitation (rtpengine)", () => {
  it("gives each end a description that it can use: WebRTC to the browser, plain RTP to the app server", async () => {
    const { l, fake, a, asked, answer, invite, clock } = await established();
    expect(asked.body.toString()).toBe(by(WEB));
    expect(answer.body.toString()).toBe(by(PLAIN));
    const [offer, answered] = fake.commands;
    const id = [...l.core.sessions.values()][0]!.id;
    expect(offer).toMatchObject({
      ...{ command: "offer", "call-id": id, "from-tag": "client", "to-tag": "server", sdp: WEB, ICE: "remove" },
      ...{ "transport-protocol": "RTP/AVP", "rtcp-mux": ["demux"] },
    });
    expect(offer).not.toHaveProperty("DTLS");
    expect(answered).toMatchObject({
      ...{ command: "answer", "call-id": id, "from-tag": "client", "to-tag": "server", sdp: PLAIN, ICE: "force" },
      ...{ "transport-protocol": "UDP/TLS/RTP/SAVPF", "rtcp-mux": ["offer", "require"], DTLS: "passive" },
    });
    l.client.inDialog("BYE", invite, answer, 2);
    a.answer(a.request("BYE"), 200);
    await l.settle();
    expect(fake.story).toEqual(["offer client", "answer server", "delete"]);
    expect(fake.commands.at(-1)).toMatchObject({ "call-id": id });
    l.client.response(200);
    clock.advance(70_000);
    expect(l.leftovers()).toEqual(nothing);
  });

  it("is not asked for other app servers, nor for bodies that describe no media", async () => {
    const { l, fake } = await relayed({ lab: { servers: [{ media: "off" }], service: { media: "rtpengine" } } });
    l.client.invite({ body: WEB });
    expect(l.server("a").request("INVITE").body.toString()).toBe(WEB); // at once
    expect(fake.commands).toEqual([]);
    const other = await relayed();
    other.l.client.invite({ body: "<wine/>", type: "text/xml" });
    expect(other.a.request("INVITE").body.toString()).toBe("<wine/>");
  });

  it("is asked where the service says so", async () => {
    const { l } = await relayed({ lab: { servers: [{}], service: { media: "rtpengine" } } });
    l.client.invite({ body: WEB });
    await l.settle();
    expect(l.server("a").request("INVITE").body.toString()).toBe(by(WEB));
  });

  it("changes early media, re-INVITE of either end, UPDATE, PRACK, and an offer that comes in the answer", async () => {
    const { l, fake, a } = await relayed();
    const reliably: [string, string][] = [["Supported", "100rel"]];
    const invite = l.client.invite({ body: WEB, headers: reliably });
    await l.settle();
    const asked = a.request("INVITE");
    a.answer(asked, 183, {
      body: PLAIN,
      headers: [
        ["Require", "100rel"],
        ["RSeq", "7"],
      ],
    });
    await l.settle();
    const early = l.client.response(183);
    expect(early.body.toString()).toBe(by(PLAIN));
    const rack: [string, string] = ["RAck", `${early.headers.get("rseq")} 1 INVITE`];
    l.client.inDialog("PRACK", invite, early, 2, { headers: [rack], body: WEB });
    await l.settle();
    const prack = a.request("PRACK");
    expect(prack.body.toString()).toBe(by(WEB));
    a.answer(prack, 200, { body: PLAIN });
    await l.settle();
    expect(l.client.response(200).body.toString()).toBe(by(PLAIN));
    const said = a.answer(asked, 200);
    await l.settle();
    const answer = l.client.response(200);
    l.client.ack(invite, answer);
    a.request("ACK");
    await l.settle();
    expect(fake.story.splice(0)).toEqual(["offer client", "answer server", "offer client", "answer server"]);
    fake.commands.length = 0;

    l.client.inDialog("UPDATE", invite, answer, 3, { body: WEB });
    await l.settle();
    a.answer(a.request("UPDATE"), 200, { body: PLAIN });
    await l.settle();
    expect(l.client.response(200).body.toString()).toBe(by(PLAIN));

    // The app server offers: the browser gets WebRTC, the app server plain RTP.
    const offering = a.backInDialog("INVITE", asked, said, 1, { body: PLAIN });
    await l.settle();
    const at = l.client.request("INVITE");
    expect(at.body.toString()).toBe(by(PLAIN));
    expect(fake.commands.at(-1)).toMatchObject({
      command: "offer",
      "from-tag": "server",
      "to-tag": "client",
      ICE: "force",
    });
    const taken = l.client.answer(at, 200, { body: WEB });
    await l.settle();
    const back = a.response(200);
    expect(back.body.toString()).toBe(by(WEB));
    expect(taken.status).toBe(200);
    expect(fake.commands.at(-1)).toMatchObject({
      command: "answer",
      "from-tag": "server",
      "to-tag": "client",
      ICE: "remove",
    });
    fake.commands.length = 0;

    // Without an offer in the re-INVITE it is in the 2xx, and the answer in the ACK (RFC 3264 §8, RFC 6337 §2.2).
    a.ack(offering, back);
    await l.settle();
    l.client.inbox.length = 0;
    const empty = l.client.inDialog("INVITE", invite, answer, 4);
    await l.settle();
    a.answer(a.request("INVITE"), 200, { body: PLAIN });
    await l.settle();
    const offered = l.client.response(200);
    expect(offered.body.toString()).toBe(by(PLAIN));
    l.client.ack(empty, offered, WEB);
    await l.settle();
    expect(a.request("ACK").body.toString()).toBe(by(WEB));
    expect(fake.story).toEqual(["offer server", "answer client"]);
  });

  it("is asked once for 183 and 200 with the same description, and for a 2xx that comes again", async () => {
    const { l, fake, a } = await relayed();
    const invite = l.client.invite({ body: WEB });
    await l.settle();
    const asked = a.request("INVITE");
    a.answer(asked, 183, { body: PLAIN });
    a.answer(asked, 200, { body: PLAIN });
    await l.settle();
    expect(l.client.response(183).body.toString()).toBe(by(PLAIN));
    const answer = l.client.response(200);
    expect(answer.body.toString()).toBe(by(PLAIN));
    a.answer(asked, 200, { body: PLAIN });
    l.client.ack(invite, answer);
    await l.settle();
    expect(a.inbox.map((one) => (one.isRequest ? one.method : one.status))).toEqual(["ACK"]);
    a.answer(asked, 200, { body: PLAIN });
    await l.settle();
    expect(a.inbox).toHaveLength(2); // acknowledged again
    expect(fake.story).toEqual(["offer client", "answer server"]);
  });

  it("has each branch of a fork apart", async () => {
    const { l, fake } = await relayed({ lab: { servers: [{ media: "rtpengine" }, {}], service: { fork: "all" } } });
    l.client.invite({ body: WEB });
    await l.settle();
    expect(l.server("a").request("INVITE").body.toString()).toBe(by(WEB));
    expect(l.server("b").request("INVITE").body.toString()).toBe(WEB);
    expect(fake.commands).toHaveLength(1);
  });
});

describe("where rtpengine does not answer", () => {
  it("the next one is asked; the call stays with that one", async () => {
    const { l, fake, a, clock } = await relayed({ rtpengines: [1, 2] });
    fake.silent.add(1);
    l.client.invite({ body: WEB });
    clock.advance(1_500);
    await l.settle();
    const asked = a.request("INVITE");
    expect(asked.body.toString()).toBe(by(WEB, 2));
    a.answer(asked, 200, { body: PLAIN });
    await l.settle();
    expect(fake.commands.map(({ port }) => port)).toEqual([2, 2]);
  });

  it("one that takes no more calls (load limit) is passed over at once", async () => {
    const { l, fake, a } = await relayed({ rtpengines: [1, 2] });
    fake.full.add(1);
    l.client.invite({ body: WEB });
    await l.settle();
    expect(a.request("INVITE").body.toString()).toBe(by(WEB, 2));
  });

  it("the client hears 503 in time, and later calls at once, until one is back", async () => {
    const { l, fake, a, clock } = await relayed({ rtpengines: [1, 2] });
    fake.silent.add(1).add(2);
    const invite = l.client.invite({ body: WEB });
    clock.advance(3_000);
    await l.settle();
    l.client.inbox.splice(0, l.client.inbox.length - 1); // 100
    l.client.ack(invite, l.client.response(503));
    expect(a.inbox).toEqual([]);
    const again = l.client.invite({ body: WEB });
    await l.settle();
    l.client.ack(again, l.client.response(503));
    fake.silent.clear();
    clock.advance(5_000);
    await l.settle();
    l.client.invite({ body: WEB });
    await l.settle();
    expect(a.request("INVITE").body.toString()).toContain("a=by:");
    clock.advance(200_000);
  });

  it("descriptions pass as they are where the operator wants that", async () => {
    const { l, fake, a, clock } = await relayed({ media: { whenUnavailable: "pass" } });
    fake.silent.add(1);
    l.client.invite({ body: WEB });
    clock.advance(1_500);
    await l.settle();
    const asked = a.request("INVITE");
    expect(asked.body.toString()).toBe(WEB);
    a.answer(asked, 200, { body: PLAIN });
    clock.advance(1_500);
    await l.settle();
    expect(l.client.inbox.at(-1)?.body.toString()).toBe(PLAIN);
  });

  it("a description that it refuses is 488, and the app server hears nothing", async () => {
    const { l, fake, a } = await relayed();
    fake.refuses = "offer";
    const invite = l.client.invite({ body: WEB });
    await l.settle();
    l.client.ack(invite, l.client.response(488));
    expect(a.inbox).toEqual([]);
  });

  it("at the app server's answer: that session is ended there, and the client hears 503", async () => {
    const { l, fake, a, clock } = await relayed();
    const invite = l.client.invite({ body: WEB });
    await l.settle();
    const asked = a.request("INVITE");
    fake.silent.add(1);
    a.answer(asked, 200, { body: PLAIN });
    clock.advance(1_500);
    await l.settle();
    a.request("ACK");
    a.answer(a.request("BYE"), 200);
    const refused = l.client.inbox.at(-1)!;
    expect(refused).toMatchObject({ status: 503 });
    l.client.ack(invite, refused as never);
    fake.silent.clear();
    clock.advance(70_000);
    await l.settle();
    expect(l.leftovers()).toMatchObject({ sessions: 0, requests: 0, legs: 0 });
  });

  it("a re-INVITE is refused and the session goes on; after an answer that is lost, the session ends", async () => {
    const { l, fake, a, clock, invite, answer } = await established();
    fake.silent.add(1);
    const re = l.client.inDialog("INVITE", invite, answer, 2, { body: WEB });
    clock.advance(1_500);
    await l.settle();
    l.client.ack(re, l.client.inbox.splice(0).at(-1) as never);
    expect(a.inbox).toEqual([]);
    expect(l.core.sessions.size).toBe(1);
    fake.silent.clear();
    clock.advance(5_000);
    await l.settle();
    l.client.inDialog("UPDATE", invite, answer, 3, { body: WEB });
    await l.settle();
    const update = a.request("UPDATE");
    fake.silent.add(1);
    a.answer(update, 200, { body: PLAIN });
    clock.advance(1_500);
    await l.settle();
    expect(a.request("BYE").headers.get("reason")).toContain("the media relay did not answer");
  });
});

describe("the end of it", () => {
  it("comes with a set-up that fails, and with a CANCEL that comes while rtpengine is asked", async () => {
    const { l, fake, a, clock } = await relayed();
    const refused = l.client.invite({ body: WEB });
    await l.settle();
    a.answer(a.request("INVITE"), 486);
    await l.settle();
    l.client.ack(refused, l.client.response(486));
    expect(fake.story).toEqual(["offer client", "delete"]);
    a.inbox.length = 0;
    fake.silent.add(1);
    const cancelled = l.client.invite({ body: WEB });
    l.client.cancel(cancelled);
    await l.settle();
    l.client.response(200);
    l.client.ack(cancelled, l.client.response(487));
    fake.silent.clear();
    clock.advance(200); // it is repeated, and makes a call
    await l.settle();
    expect(fake.story).toEqual(["offer client", "delete", "offer client", "delete"]);
    expect(a.inbox).toEqual([]);
    clock.advance(70_000);
    expect(l.leftovers()).toEqual(nothing);
  });

  it("comes from the node that has taken up the session", async () => {
    const { l, fake, opened, invite, answer } = await established();
    const [session] = [...l.core.sessions.values()];
    const state = checkSessionState(JSON.parse(JSON.stringify(snapshot(session!))));
    if (!state.ok) throw new Error(state.error);
    expect(state.value.media).toMatchObject({ engine: "127.0.0.1:1", client: { ice: true } });
    session!.release();
    await l.settle();
    expect(fake.story).toEqual(["offer client", "answer server"]); // it goes on elsewhere: nothing is deleted
    restore(l.core, state.value);
    l.client.inDialog("UPDATE", invite, answer, 9, { body: WEB });
    await l.settle();
    const update = l.server("a").request("UPDATE");
    expect(update.body.toString()).toBe(by(WEB));
    l.server("a").answer(update, 200, { body: PLAIN });
    await l.settle();
    l.client.response(200);
    l.client.inDialog("BYE", invite, answer, 10);
    l.server("a").answer(l.server("a").request("BYE"), 200);
    await l.settle();
    expect(fake.story.slice(-3)).toEqual(["offer client", "answer server", "delete"]);
    expect(opened.engines.counters.mediaUnanswered).toBe(0);
  });

  it("is one for all parts of a call: a browser keeps its keys and ports when the service changes", async () => {
    const rules = [
      { name: "wine", when: { body: { "order.shop": "wine" } }, then: { service: "wine" } },
      { name: "beer", when: { body: { "order.shop": "beer" } }, then: { service: "beer" } },
      { name: "rest", when: {}, then: { service: "service1" } },
    ];
    const { l, fake, a } = await relayed({
      lab: {
        config: {
          portal: { domain: "portal.com" },
          listen: ["udp:192.0.2.1:5060"],
          services: [{ id: "service1" }, { id: "wine" }, { id: "beer" }],
          appServers: [
            { id: "a", uri: "sip:192.0.2.100:5060", services: ["service1"], media: "rtpengine" },
            { id: "b", uri: "sip:192.0.2.101:5060", services: ["beer"], media: "rtpengine" },
          ],
          rules,
        },
      },
    });
    const invite = l.client.invite({ body: WEB });
    await l.settle();
    const asked = a.request("INVITE");
    a.answer(asked, 200, { body: PLAIN });
    await l.settle();
    const answer = l.client.response(200);
    l.client.ack(invite, answer);
    a.request("ACK");
    await l.settle();
    const body = `--x\r\nContent-Type: application/xml\r\n\r\n<order><shop>beer</shop></order>\r\n--x\r\nContent-Type: application/sdp\r\n\r\n${WEB}\r\n--x--\r\n`;
    const re = l.client.inDialog("INVITE", invite, answer, 2, { body, type: "multipart/mixed;boundary=x" });
    await l.settle();
    const b = l.server("b");
    const second = b.request("INVITE");
    expect(second.body.toString().match(/a=by:1/g)).toHaveLength(1); // changed once, though it passes two sessions
    b.answer(second, 200, { body: PLAIN });
    await l.settle();
    const changed = l.client.inbox.at(-1)!;
    expect(changed.body.toString()).toBe(by(PLAIN));
    l.client.ack(re, changed as never);
    await l.settle();
    b.request("ACK");
    a.answer(a.request("BYE"), 200);
    await l.settle();
    expect(fake.story).toEqual(["offer client", "answer server", "offer client", "answer server"]);
    expect(new Set(fake.commands.map((one) => one["call-id"])).size).toBe(1);
    l.client.inDialog("BYE", invite, answer, 3);
    b.answer(b.request("BYE"), 200);
    await l.settle();
    expect(fake.story.at(-1)).toBe("delete");
  });
});

describe("a call of an app server to a client (callsClients)", () => {
  it("goes through it as well: a browser is offered what browsers take", async () => {
    const { key } = newAppServerKey({
      appServer: "a",
      portalRealm: "portal.com",
      md5: false,
      now: 0,
      random: systemRandom,
    });
    const authenticate = () => ({ verdict: "accepted", user: key.id }) as const;
    const { l, fake, a } = await relayed({
      lab: {
        service: { callsClients: true },
        keys: [key],
        users: [{ id: "alice", realm: "portal.com", ha1: { sha256: "" } }],
        core: { appServerAuthenticator: { authenticate, challengesFor: () => undefined } as never },
      },
    });
    const browser = l.peer("192.0.2.77", 443, "ws" as never);
    browser.outside("REGISTER", [["Contact", "<sip:x@df7.invalid;transport=ws>"]], "sip:alice@portal.com");
    browser.response(200);
    const invite = a.invite({ uri: "sip:alice@portal.com", headers: [["Tollgate-Service", "service1"]], body: PLAIN });
    await l.settle();
    const rings = browser.request("INVITE");
    expect(rings.body.toString()).toBe(by(PLAIN));
    expect(fake.commands.at(-1)).toMatchObject({ "from-tag": "server", "transport-protocol": "UDP/TLS/RTP/SAVPF" });
    browser.answer(rings, 200, { body: WEB });
    await l.settle();
    const answer = a.inbox.at(-1)!;
    expect(answer.body.toString()).toBe(by(WEB));
    expect(fake.commands.at(-1)).toMatchObject({ command: "answer", "transport-protocol": "RTP/AVP" });
    a.ack(invite, answer as never);
    await l.settle();
    a.inbox.length = 0;
    a.inDialog("BYE", invite, answer as never, 2);
    browser.request("ACK");
    browser.answer(browser.request("BYE"), 200);
    await l.settle();
    expect(fake.story).toEqual(["offer server", "answer client", "delete"]);
  });
});

describe("its settings", () => {
  it("say where rtpengine is, if anybody wants it", () => {
    const wants =
      "appServers: [{ id: a, uri: 'sip:10.0.0.1', services: [s], media: rtpengine }]\nservices: [{ id: s }]";
    const read = parseConfig(wants, "t.yaml");
    expect(read.ok ? [] : read.error.map(({ message }) => message)).toEqual([
      "expected media.rtpengines to say where one takes commands",
    ]);
    expect(parseConfig(`${wants}\nmedia: { rtpengines: ['10.0.0.9:2223', '[::1]:2223'] }`, "t.yaml").ok).toBe(true);
    expect(parseConfig("media: { rtpengines: ['10.0.0.9'] }", "t.yaml").ok).toBe(false);
  });
});
