import { describe, expect, it } from "vitest";
import { goOn, restore } from "../../src/relay/session/snapshot.ts";
import { Headers, SipRequest } from "../../src/sip/message.ts";
import { binding } from "../registrar/samples.ts";
import { KeptDisk } from "../simulation/kept-disk.ts";
import { TestClock } from "../support/test-clock.ts";
import { alice, beginCall, CALLS_CLIENTS, type CallToClient, register } from "./app-server-calls.ts";
import { type Lab, type LabOptions, lab, type Peer } from "./harness.ts";

/*
 * An app server calls a client that has registered (RFC 3261 §10, §16.7): the roles of a call are turned, and the
 * client pays.
 */

const opened = (options: LabOptions = {}) => lab({ ...CALLS_CLIENTS, ...options });

const SESSION_EXPIRES = (value: string): [string, string] => ["Session-Expires", value];

/** The app server's INVITE, with its credentials. */
const call = (l: Lab, said?: CallToClient): SipRequest => beginCall(l.server("a"), said).signed();

describe("a call of an app server to a client", () => {
  it("rings at the client, is answered, measured, charged to the client, and ends when the client hangs up", async () => {
    const l = await opened();
    register(l.client);
    const server = l.server("a");
    const invite = call(l);
    await l.settle();
    const atClient = l.client.request("INVITE");
    expect(atClient.uri).toBe("sip:alice@192.0.2.50:5062");
    expect(atClient.headers.get("from")).toMatch(/^"Wine shop" <sip:service1@portal\.com>;tag=/);
    expect(atClient.headers.get("to")).toBe("<sip:alice@portal.com>");
    expect(String(atClient.body)).toBe("v=0");
    for (const inside of ["authorization", "tollgate-service", "tollgate-session", "x-call-id"])
      expect(atClient.headers.has(inside)).toBe(false);
    l.client.answer(atClient, 180);
    server.response(180);
    const answered = l.client.answer(atClient, 200, { body: "v=1" });
    const answer = server.response(200);
    expect(String(answer.body)).toBe("v=1");
    const session = answer.headers.get("tollgate-session")!;
    l.clock.advance(5_000);
    server.inbox.length = 0; // the 200 came again
    l.client.inbox.length = 0;
    server.ack(invite, answer);
    l.client.request("ACK");
    await l.settle();
    l.clock.advance(60_000);
    l.client.inbox.length = server.inbox.length = 0;
    const bye = l.client.backInDialog("BYE", atClient, answered, 1);
    const atServer = server.request("BYE");
    server.answer(atServer, 200);
    await l.settle();
    l.client.response(200);
    expect(bye.method).toBe("BYE");
    expect(l.events.map(({ type }) => type)).toEqual(["session.started", "session.ended"]);
    expect(l.events[0]).toMatchObject({
      session: { id: session, user: "alice", service: "service1", appServer: "a", tariff: { id: "t" } },
    });
    expect(l.events[1]).toMatchObject({ durationMs: 60_000, endedBy: "client" });
    l.clock.advance(64_000);
    expect(l.leftovers()).toMatchObject({ sessions: 0, requests: 0, legs: 0, transactions: 0 });
  });

  it("brings charges by INFO, and is hung up by the app server (M14, M11)", async () => {
    const l = await opened();
    register(l.client);
    const server = l.server("a");
    const invite = call(l);
    await l.settle();
    const atClient = l.client.request("INVITE");
    l.client.answer(atClient, 200);
    const answer = server.response(200);
    server.ack(invite, answer);
    l.client.request("ACK");
    await l.settle();
    const body = JSON.stringify({ charges: [{ id: "c1", item: "Riesling", unitPrice: "1.00", currency: "EUR" }] });
    const type = "application/vnd.tollgate.charge+json";
    server.inDialog("INFO", invite, answer, 3, { headers: [["Info-Package", "tollgate-charge"]], body, type });
    await l.settle();
    server.response(200);
    server.inDialog("BYE", invite, answer, 4);
    l.client.answer(l.client.request("BYE"), 200);
    await l.settle();
    server.response(200);
    expect(l.events.map(({ type: what }) => what)).toEqual(["session.started", "charge.made", "session.ended"]);
  });

  it.each<[what: string, options: LabOptions, said: CallToClient, status: number]>([
    ["whose service may not call clients, which is the default", { service: {} }, {}, 403],
    ["in the name of a service that it does not offer", { more: [{ id: "beer" }] }, { service: "beer" }, 403],
    ["in the name of no service", {}, { service: "nothing" }, 403],
    ["to nobody", {}, { uri: "sip:bob@portal.com" }, 404],
    ["to another domain", {}, { uri: "sip:alice@elsewhere.example" }, 404],
    ["to a user who is blocked", { users: [{ ...alice, blocked: { since: 1 } }] }, {}, 404],
    ["to a device that is not there (RFC 5627)", {}, { uri: "sip:alice@portal.com;gr=urn:uuid:1" }, 480],
  ])("%s is refused", async (_what, options, said, status) => {
    const l = await opened(options);
    register(l.client);
    call(l, said);
    await l.settle();
    expect(l.server("a").response(status).status).toBe(status);
    expect(l.client.inbox).toEqual([]);
    expect(l.core.sessions.size).toBe(0);
  });

  it("to a client that has registered nothing is refused by 480 (§16.5)", async () => {
    const l = await opened();
    call(l);
    await l.settle();
    l.server("a").response(480);
  });

  it("without a key of an app server gets a challenge for app servers alone, whoever is called", async () => {
    const l = await opened();
    for (const uri of ["sip:alice@portal.com", "sip:nobody@portal.com"]) {
      l.client.invite({ uri, headers: [["Tollgate-Service", "service1"]] });
      expect(l.client.response(401).headers.all("www-authenticate").join()).toContain('realm="charges.portal.com"');
    }
  });

  it("rings at all devices, the first wins, and the others hear so (§16.7)", async () => {
    const l = await opened();
    const [one, two] = [l.client, l.peer("192.0.2.51", 5062)];
    register(one);
    register(two);
    const server = l.server("a");
    const invite = call(l);
    await l.settle();
    const [atOne, atTwo] = [one.request("INVITE"), two.request("INVITE")];
    one.answer(atOne, 180, { tag: "one" });
    two.answer(atTwo, 180, { tag: "two" });
    server.response(180);
    expect(server.inbox).toEqual([]); // one device alone is heard ringing
    two.answer(atTwo, 200, { tag: "two" });
    const answer = server.response(200);
    server.ack(invite, answer);
    two.request("ACK");
    const cancel = one.request("CANCEL");
    expect(cancel.headers.get("reason")).toContain("Call completed elsewhere");
    one.answer(cancel, 200);
    one.answer(atOne, 487, { tag: "one" });
    one.request("ACK");
    await l.settle();
    expect(l.core.counters.established).toBe(1);
  });

  it("whose 200 crosses another one ends that one", async () => {
    const l = await opened();
    const [one, two] = [l.client, l.peer("192.0.2.51", 5062)];
    register(one);
    register(two);
    call(l);
    await l.settle();
    const [atOne, atTwo] = [one.request("INVITE"), two.request("INVITE")];
    two.answer(atTwo, 200, { tag: "two" });
    one.answer(atOne, 200, { tag: "one" });
    one.request("ACK");
    one.answer(one.request("BYE"), 200);
    expect(l.core.counters.answered).toBe(1);
  });

  it("is refused when every device has refused; a 603 speaks for all", async () => {
    const l = await opened();
    const [one, two] = [l.client, l.peer("192.0.2.51", 5062)];
    register(one);
    register(two);
    const server = l.server("a");
    call(l);
    await l.settle();
    const [atOne, atTwo] = [one.request("INVITE"), two.request("INVITE")];
    two.answer(atTwo, 180);
    server.response(180);
    one.answer(atOne, 603);
    one.request("ACK");
    two.answer(two.request("CANCEL"), 200);
    two.answer(atTwo, 487);
    two.request("ACK");
    await l.settle();
    server.response(603);
    expect(l.events).toEqual([]);
    l.clock.advance(64_000);
    expect(l.leftovers()).toMatchObject({ sessions: 0, requests: 0, legs: 0, transactions: 0 });
  });

  it("goes by the next flow of a device where one is gone (RFC 5626 §5.3)", async () => {
    const l = await opened();
    const flows = [l.peer("192.0.2.50", 40_001, "tcp"), l.peer("192.0.2.50", 40_002, "tcp")];
    for (const [i, peer] of flows.entries())
      register(peer, `<sip:alice@x.invalid;transport=ws>;reg-id=${i + 1};+sip.instance="<urn:uuid:1>"`);
    call(l);
    await l.settle();
    const by = flows.findIndex(({ inbox }) => inbox.length > 0);
    expect(flows[1 - by]!.inbox).toEqual([]); // one flow at a time
    flows[by]!.answer(flows[by]!.request("INVITE"), 430);
    flows[by]!.request("ACK");
    flows[1 - by]!.request("INVITE");
  });

  it("goes by the node to which the client came, also over UDP (P3)", async () => {
    const l = await opened();
    const sent: string[] = [];
    const flow = {
      ...l.client.flow,
      id: "udp/192.0.2.50:5062@node01#7",
      contact: "192.0.2.2:5060",
      send: (bytes: Buffer) => void sent.push(bytes.toString("latin1")),
    };
    l.core.bindings.learn(binding({ home: "node01", flow, since: 0, until: l.clock.monotonic() + 60_000 }));
    call(l);
    await l.settle();
    expect(sent[0]).toMatch(/^INVITE sip:alice@192\.0\.2\.50:5062 /);
    expect(l.client.inbox).toEqual([]); // nothing by a socket of this node
  });

  it("is cancelled at the client when the app server gives it up, and a 200 that crosses that is ended", async () => {
    const l = await opened();
    register(l.client);
    const server = l.server("a");
    const invite = call(l);
    await l.settle();
    const atClient = l.client.request("INVITE");
    l.client.answer(atClient, 180);
    server.response(180);
    const fields = new Headers(invite.headers.fields.filter(({ key: name }) => /^(via|from|to|call-id)$/.test(name)));
    fields.add("CSeq", `${invite.cseq!.number} CANCEL`);
    server.send(new SipRequest("CANCEL", invite.uri, fields));
    server.response(200);
    server.response(487);
    const cancel = l.client.request("CANCEL");
    l.client.answer(cancel, 200);
    l.client.answer(atClient, 200);
    l.client.request("ACK");
    l.client.answer(l.client.request("BYE"), 200);
    await l.settle();
    expect(l.events).toEqual([]);
    expect(l.core.sessions.size).toBe(0);
  });

  /** The client has answered, the app server has heard that, and the process dies before the ACK. */
  async function diesBeforeAck() {
    const clock = new TestClock();
    const disk = new KeptDisk(clock);
    const l = await opened({ clock, recorded: (event) => disk.commit([event]), core: { kept: disk.sessions } });
    disk.sessions.attach(l.core);
    register(l.client);
    const server = l.server("a");
    const invite = call(l);
    await l.settle();
    const atClient = l.client.request("INVITE");
    const answered = l.client.answer(atClient, 200, { body: "v=1" });
    const answer = server.response(200);
    clock.advance(60);
    const { id } = l.core.sessions.values()[0]!;
    const state = disk.read(id);
    expect(state?.chart.value).toBe("answered");
    l.core.sessions.get(id)!.release();
    server.inbox.length = l.client.inbox.length = 0;
    goOn(restore(l.core, state!), state!);
    return { l, clock, server, invite, answer, atClient, answered };
  }

  it("goes on where the process dies between the client's 200 and the ACK (RFC 3261 §13.3.1.4, P7)", async () => {
    const { l, clock, server, invite, answer, atClient, answered } = await diesBeforeAck();
    expect(server.response(200).headers.get("tollgate-session")).toBe(answer.headers.get("tollgate-session"));
    server.ack(invite, answer, "v=2");
    const ack = l.client.request("ACK");
    expect([ack.cseq!.number, String(ack.body)]).toEqual([atClient.cseq!.number, "v=2"]);
    await l.settle();
    clock.advance(5_000);
    l.client.inbox.length = server.inbox.length = 0;
    l.client.backInDialog("BYE", atClient, answered, 1);
    server.answer(server.request("BYE"), 200);
    await l.settle();
    l.client.response(200);
    expect(l.events.map(({ type }) => type)).toEqual(["session.started", "session.ended"]);
    expect(l.events[1]).toMatchObject({ durationMs: 5_000 });
  });

  it("ends at both ends where no ACK comes to the process after that either, and costs nothing", async () => {
    const { l, clock, server } = await diesBeforeAck();
    clock.advance(64 * 500 + 100);
    await l.settle();
    const last = (peer: Peer) => peer.inbox.flatMap((message) => (message.isRequest ? [message.method] : []));
    expect(last(l.client)).toEqual(expect.arrayContaining(["ACK", "BYE"]));
    expect(last(server)).toContain("BYE");
    expect(l.events).toEqual([]);
  });

  it("has a session timer with each end, by what that can (RFC 4028 §7.1, §9)", async () => {
    const l = await opened();
    register(l.client);
    const server = l.server("a");
    const invite = call(l, { headers: [["Supported", "timer"], SESSION_EXPIRES("900;refresher=uac")] });
    await l.settle();
    const atClient = l.client.request("INVITE");
    expect([atClient.headers.get("session-expires"), atClient.headers.all("supported")]).toEqual(["1800", ["timer"]]);
    l.client.answer(atClient, 200, { headers: [["Allow", "INVITE, UPDATE"], SESSION_EXPIRES("600;refresher=uac")] });
    const answer = server.response(200);
    expect(answer.headers.get("session-expires")).toBe("900;refresher=uac");
    server.ack(invite, answer);
    l.client.request("ACK");
    await l.settle();
    l.clock.advance(300_000);
    const refresh = l.client.request("UPDATE");
    expect(refresh.headers.get("session-expires")).toBe("600;refresher=uac");
    l.client.answer(refresh, 200, { headers: [SESSION_EXPIRES("600;refresher=uac")] });
    expect(server.inbox).toEqual([]);
    server.inDialog("UPDATE", invite, answer, 3, { headers: [["Supported", "timer"], SESSION_EXPIRES("900")] });
    server.response(200);
    for (let n = 0; n < 2; n++) {
      l.clock.advance(300_000);
      l.client.answer(l.client.request("UPDATE"), 200, { headers: [SESSION_EXPIRES("600;refresher=uac")] });
    }
    expect(l.core.sessions.size).toBe(1);
    l.clock.advance(269_000);
    expect(l.client.request("BYE").headers.get("reason")).toContain("server is gone");
  });

  it("calls a device again that wants a longer interval (422, RFC 4028 §7.3), at most twice", async () => {
    const l = await opened();
    register(l.client);
    call(l);
    await l.settle();
    const seen: unknown[] = [];
    for (const minS of [3_600, 5_400, 7_200]) {
      const invite = l.client.request("INVITE");
      seen.push([invite.headers.get("session-expires"), invite.headers.get("min-se"), String(invite.body)]);
      l.client.answer(invite, 422, { headers: [["Min-SE", String(minS)]] });
      expect(l.client.request("ACK").cseq!.number).toBe(invite.cseq!.number);
    }
    expect(seen).toEqual([
      ["1800", undefined, "v=0"],
      ["3600", "3600", "v=0"],
      ["5400", "5400", "v=0"],
    ]);
    await l.settle();
    expect(l.client.inbox).toEqual([]);
    l.server("a").response(422);
    l.clock.advance(64_000);
    expect(l.leftovers()).toMatchObject({ sessions: 0, requests: 0, legs: 0, transactions: 0 });
  });

  it("is refused for want of credit, before the client rings", async () => {
    const l = await opened({ balance: "0", users: [{ ...alice, prepaid: { currency: "EUR" } }] });
    register(l.client);
    call(l);
    await l.settle();
    l.server("a").response(402);
    expect(l.client.inbox).toEqual([]);
  });
});
