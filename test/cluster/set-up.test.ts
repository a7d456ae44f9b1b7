// biome-ignore-all lint/suspicious/noThenProperty: a rule says when and then
import { afterEach, describe, expect, it } from "vitest";
import type { SipRequest, SipResponse } from "../../src/sip/message.ts";
import { beginCall, CALLS_CLIENTS, sendRegister } from "../relay/app-server-calls.ts";
import type { Peer } from "../relay/harness.ts";
import { agrees, type Call, Nodes } from "./nodes.ts";

/* Calls in set-up when their node dies end fast and clean (P3, P5): whoever rings is told so, and whoever waits. */

let nodes: Nodes;
afterEach(() => nodes.close());

const requests = (peer: Peer, method: string) =>
  peer.inbox.filter((message): message is SipRequest => message.isRequest && message.method === method);
const finals = (peer: Peer) =>
  peer.inbox.filter((message): message is SipResponse => !message.isRequest && message.status >= 200);

/** A device of alice registers by that node. */
async function registered(peer: Peer, by = "node00", contact?: string, at?: string): Promise<void> {
  nodes.target = by;
  sendRegister(peer, contact, at);
  await nodes.run(20);
  peer.response(200);
  nodes.target = "node00";
}

/** The app server calls alice by node00. */
async function called(): Promise<SipRequest> {
  const begun = beginCall(nodes.server);
  await nodes.run(20);
  const invite = begun.signed();
  await nodes.run(50);
  return invite;
}

/** It rings there. */
async function rings(peer: Peer): Promise<SipRequest> {
  const invite = peer.request("INVITE");
  peer.answer(invite, 180);
  await nodes.run(20);
  return invite;
}

async function dies(): Promise<void> {
  nodes.kill("node00");
  nodes.target = "node01";
  nodes.server.inbox.length = nodes.client.inbox.length = 0;
  await nodes.run(3_000);
}

const calling = { ...CALLS_CLIENTS, shares: true, limits: { ringingPerUser: 1 } } as const;
/** Nodes that know each other, and what each may begin without asking. */
async function opened(count: number, options: Parameters<typeof Nodes.of>[1] = calling): Promise<void> {
  nodes = await Nodes.of(count, options);
  await nodes.run(1_000);
}

/** By a connection, which a phone with a `sip.instance` keeps open (RFC 5626). */
const flow = (n: number) => `<sip:alice@x.invalid;transport=tcp>;reg-id=${n};+sip.instance="<urn:uuid:${n}>"`;

/** Each device that rang is cancelled, and hears nothing else. */
function cancelled(peer: Peer, invite: SipRequest): void {
  const cancels = requests(peer, "CANCEL");
  expect(cancels.length).toBeGreaterThan(0);
  for (const cancel of cancels) {
    const { callId, uri, headers, cseq } = invite;
    expect([cancel.callId, cancel.uri, cancel.cseq!.number]).toEqual([callId, uri, cseq!.number]);
    expect(cancel.headers.get("via")).toBe(headers.get("via")); // RFC 3261 §9.1
  }
  expect(peer.inbox.length).toBe(cancels.length);
}

/** The app server hears that it may call again (RFC 3261 §21.5.4). */
function refused(invite: SipRequest, tag: string | undefined): void {
  expect(finals(nodes.server).length).toBeGreaterThan(0);
  for (const final of finals(nodes.server)) {
    expect([final.status, final.headers.get("retry-after")]).toEqual([503, "1"]);
    expect([final.callId, final.toTag, final.cseq]).toEqual([invite.callId, tag, invite.cseq]);
  }
}

describe("an app server's call that rings at a client when its node dies (P3)", () => {
  it("is cancelled at the client, and refused to the app server; nothing is billed, and it may call again at once", async () => {
    await opened(2);
    await registered(nodes.client);
    const invite = await called();
    const atClient = await rings(nodes.client);
    const { toTag } = nodes.server.response(180);
    await dies();
    cancelled(nodes.client, atClient);
    refused(invite, toTag);
    expect([...nodes.billed.values()]).toEqual([]);
    nodes.server.inbox.length = nodes.client.inbox.length = 0;
    await called();
    expect(requests(nodes.client, "INVITE")).toHaveLength(1);
  });

  it("is cancelled at each device that rings, and at none that has refused", async () => {
    await opened(3);
    const [one, two, three] = [nodes.client, nodes.peerAt("192.0.2.51", 5062), nodes.peerAt("192.0.2.52", 5062)];
    for (const peer of [one, two, three]) await registered(peer);
    const invite = await called();
    const [atOne, atTwo, atThree] = [one.request("INVITE"), two.request("INVITE"), three.request("INVITE")];
    one.answer(atOne, 180, { tag: "one" });
    three.answer(atThree, 486, { tag: "three" });
    two.answer(atTwo, 180, { tag: "two" });
    await nodes.run(20);
    three.inbox.length = two.inbox.length = 0;
    await dies();
    cancelled(one, atOne);
    cancelled(two, atTwo);
    expect(three.inbox).toEqual([]);
    refused(invite, finals(nodes.server)[0]?.toTag);
  });

  // One of them is the standby, the other a third node.
  it.each(["node01", "node02"])(
    "is cancelled by the connection that its client has to another node (%s)",
    async (home) => {
      await opened(3, { ...calling, clientTransport: "tcp" });
      await registered(nodes.client, home, flow(1));
      await nodes.run(500);
      await called();
      const atClient = await rings(nodes.client);
      await dies();
      cancelled(nodes.client, atClient);
    },
  );

  it.each(["node01", "node02"])(
    "is cancelled by the socket to which a client of UDP came, the way through its NAT (%s)",
    async (home) => {
      await opened(3);
      await registered(nodes.client, home, undefined, "10.0.0.7:5062");
      await nodes.run(500);
      await called();
      const atClient = await rings(nodes.client);
      const by: string[] = [];
      nodes.watch = (run, { text }) => void (text.startsWith("CANCEL") && by.push(run.name));
      await dies();
      cancelled(nodes.client, atClient);
      expect(new Set(by)).toEqual(new Set([home]));
    },
  );

  it("leaves a client that came by a connection of the dead node to itself; the app server is refused all the same", async () => {
    await opened(2, { ...calling, clientTransport: "tcp" });
    await registered(nodes.client, "node00", flow(1));
    const invite = await called();
    await rings(nodes.client);
    const { toTag } = nodes.server.response(180);
    await dies();
    expect(nodes.client.inbox).toEqual([]);
    refused(invite, toTag);
  });
});

const XML = "application/vnd.tollgate.service+xml";
const wanting = (service: string) => ({ type: XML, body: `<service name="${service}"/>` });
const byName = (id: string) => ({ name: id, when: { body: { "service.@name": id } }, then: { service: id } });

/** A session with the first of two app servers, which offer these services. */
async function established(first: string[], second: string[]) {
  const appServers = [first, second].map((services, i) => ({
    ...{ id: "ab"[i]!, uri: `sip:192.0.2.${100 + i}:5060`, services },
  }));
  await opened(2, {
    config: {
      portal: { domain: "portal.com" },
      listen: ["udp:192.0.2.1:5060"],
      services: [{ id: "service1" }, { id: "beer", ringS: 30 }, { id: "another" }],
      appServers,
      rules: [byName("service1"), byName("beer"), { name: "by name", then: {} }],
      session: { probeS: 0 },
      health: { intervalS: 0 },
    },
  });
  const call = await nodes.established();
  for (const peer of [nodes.client, nodes.server]) agrees(peer);
  return { call, b: nodes.peerAt("192.0.2.101", 5060) };
}

/** The client hears that it may ask again, and does, at the node that has the session now. */
async function asksAgain({ call }: { readonly call: Call }, change: SipRequest, seq: number): Promise<void> {
  expect(finals(nodes.client).length).toBeGreaterThan(0);
  for (const final of finals(nodes.client))
    expect([final.status, final.callId, final.cseq, final.toTag]).toEqual([
      491,
      change.callId,
      change.cseq,
      change.toTag,
    ]);
  nodes.client.inbox.length = 0;
  nodes.client.inDialog("INVITE", call.invite, call.answer, seq, wanting("beer"));
  await nodes.run(50);
}

/** The client refers itself from one app server to the other. */
async function refers(extra: [string, string][] = []) {
  const { call, b } = await established(["service1"], ["beer"]);
  const headers: [string, string][] = [
    ["Contact", nodes.client.contact],
    ["Refer-To", "<sip:beer@portal.com>"],
  ];
  nodes.client.inDialog("REFER", call.invite, call.answer, 2, { headers: [...headers, ...extra] });
  await nodes.run(50);
  nodes.client.response(200);
  nodes.client.answer(nodes.client.request("NOTIFY"), 200);
  return { call, b };
}

describe("what rings in a session whose node dies (P3)", () => {
  it("for a change of service: the other app server is cancelled, and the client may ask again (M21, RFC 3261 §14.1)", async () => {
    const { call, b } = await established(["service1"], ["beer"]);
    const change = nodes.client.inDialog("INVITE", call.invite, call.answer, 2, wanting("beer"));
    await nodes.run(50);
    const atB = await rings(b);
    nodes.client.response(180);
    await dies();
    cancelled(b, atB);
    b.inbox.length = 0;
    await asksAgain({ call }, change, 3);
    expect(requests(b, "INVITE").length).toBe(1);
    expect(nodes.actors(call.id)).toEqual(["node01"]);
  });

  it("for a change at the same app server: that is cancelled in its dialog, and the session goes on (M20)", async () => {
    const { call } = await established(["service1", "beer"], ["another"]);
    const change = nodes.client.inDialog("INVITE", call.invite, call.answer, 2, wanting("beer"));
    await nodes.run(50);
    const atServer = await rings(nodes.server);
    nodes.client.response(180);
    await dies();
    cancelled(nodes.server, atServer);
    nodes.server.inbox.length = 0;
    await asksAgain({ call }, change, 3);
    expect(requests(nodes.server, "INVITE").length).toBe(1);
    expect(nodes.actors(call.id)).toEqual(["node01"]);
  });

  it("for a change by UPDATE: the app server is cancelled, and the UPDATE that comes again begins it anew (M20)", async () => {
    const { call, b } = await established(["service1"], ["beer"]);
    const change = nodes.client.inDialog("UPDATE", call.invite, call.answer, 2, wanting("beer"));
    await nodes.run(50);
    const atB = await rings(b);
    await dies();
    cancelled(b, atB);
    expect(nodes.client.inbox.length).toBe(0);
    b.inbox.length = 0;
    nodes.client.send(change);
    await nodes.run(50);
    expect(requests(b, "INVITE").length).toBe(1);
  });

  it("for a change of the app server: the client's device is cancelled, and the app server may ask again (M22)", async () => {
    const { call } = await established(["service1", "beer"], ["another"]);
    const change = nodes.server.backInDialog("INVITE", call.inviteAtServer, call.answerOfServer, 2, wanting("beer"));
    await nodes.run(50);
    const atClient = await rings(nodes.client);
    nodes.server.response(180);
    await dies();
    cancelled(nodes.client, atClient);
    expect(new Set(finals(nodes.server).map(({ status, cseq }) => `${status} ${cseq?.number}`))).toEqual(
      new Set([`491 ${change.cseq!.number}`]),
    );
    nodes.server.inbox.length = nodes.client.inbox.length = 0;
    nodes.server.backInDialog("INVITE", call.inviteAtServer, call.answerOfServer, 3, wanting("beer"));
    await nodes.run(50);
    expect(requests(nodes.client, "INVITE").length).toBe(1);
    expect(nodes.actors(call.id)).toEqual(["node01"]);
  });

  it("but what was decided before is left as it is", async () => {
    const { call } = await established(["service1", "beer"], ["another"]);
    nodes.server.backInDialog("INVITE", call.inviteAtServer, call.answerOfServer, 2, wanting("beer"));
    await nodes.run(50);
    const atClient = await rings(nodes.client);
    nodes.client.answer(atClient, 603);
    await nodes.run(50);
    await dies();
    expect([requests(nodes.client, "CANCEL"), finals(nodes.server)]).toEqual([[], []]);
  });

  it("for a REFER: the second app server is cancelled, and the first session goes on (M23)", async () => {
    const { call, b } = await refers();
    const atB = await rings(b);
    await dies();
    cancelled(b, atB);
    expect(requests(nodes.client, "INVITE")).toEqual([]);
    expect(nodes.actors(call.id)).toEqual(["node01"]);
  });

  it("for a REFER at the client that the relay has invited: that is cancelled, and nothing is billed of it (M23)", async () => {
    const { call, b } = await refers();
    b.answer(b.request("INVITE"), 200, { body: "v=b" });
    await nodes.run(50);
    const atClient = await rings(nodes.client);
    await dies();
    cancelled(nodes.client, atClient);
    expect(nodes.actors(call.id)).toEqual(["node01"]);
    expect([...nodes.billed.values()].map(({ session }) => session.service)).toEqual(["service1"]);
  });
});

describe("a client's call that rings reliably when its node dies (P3, RFC 3262)", () => {
  it.each([
    ["that was not acknowledged", false],
    ["that was acknowledged by PRACK", true],
  ])("ends with a provisional answer %s: CANCEL, 503, and no repetition", async (_, acknowledged) => {
    await opened(2, {});
    const invite = nodes.client.invite({ body: "v=0", headers: [["Supported", "100rel"]] });
    await nodes.run(20);
    const atServer = nodes.server.request("INVITE");
    nodes.server.answer(atServer, 183, {
      body: "v=1",
      headers: [
        ["Require", "100rel"],
        ["RSeq", "7"],
      ],
    });
    await nodes.run(20);
    const early = nodes.client.response(183);
    if (acknowledged) {
      const rack: [string, string] = ["RAck", `${early.headers.get("rseq")} ${invite.cseq!.number} INVITE`];
      nodes.client.inDialog("PRACK", invite, early, 2, { headers: [rack] });
      await nodes.run(20);
      nodes.server.answer(nodes.server.request("PRACK"), 200);
      await nodes.run(20);
    }
    await dies();
    cancelled(nodes.server, atServer);
    expect(new Set(nodes.client.inbox.map((message) => (message as SipResponse).status))).toEqual(new Set([503]));
    expect(finals(nodes.client)[0]!.toTag).toBe(early.toTag);
  });
});

/* Who was told to wait repeats its INVITE no more (RFC 3261 §17.1.1.2), and no timer of its own ends it soon. */
describe("whoever was told to wait by 100, and no more, when its node dies (P3)", () => {
  const heard = () => nodes.client.inbox.map((message) => (message as SipResponse).status);

  it.each([
    ["has said 100 at once", 10, true],
    ["says 100 after the relay did", 400, true],
    ["has said nothing", undefined, false],
  ])("is refused where the app server %s, which is cancelled if it can be", async (_, saysAfterMs, isCancelled) => {
    await opened(2, {});
    const invite = nodes.client.invite({ body: "v=0" });
    await nodes.run(saysAfterMs ?? 10);
    const atServer = nodes.server.request("INVITE");
    if (saysAfterMs !== undefined) nodes.server.answer(atServer, 100);
    await nodes.run(600 - (saysAfterMs ?? 10));
    expect(heard()).toEqual([100]);
    await dies();
    if (isCancelled) cancelled(nodes.server, atServer);
    else expect(requests(nodes.server, "CANCEL")).toEqual([]);
    expect(new Set(heard())).toEqual(new Set([503]));
    expect(finals(nodes.client)[0]!.callId).toBe(invite.callId);
    expect([...nodes.billed.values()]).toEqual([]);
  });

  it("is not told anything where it was not told to wait: it repeats its INVITE, and another node serves it", async () => {
    await opened(2, {});
    const invite = nodes.client.invite({ body: "v=0" });
    await nodes.run(50);
    nodes.server.answer(nodes.server.request("INVITE"), 100);
    await nodes.run(50);
    expect(heard()).toEqual([]);
    await dies();
    expect(heard()).toEqual([]);
    nodes.client.send(invite);
    await nodes.run(50);
    expect(requests(nodes.server, "INVITE")).toHaveLength(1);
  });

  it("is refused by each app server's copy no more than once, and both are cancelled (M25)", async () => {
    await opened(2, {
      config: {
        portal: { domain: "portal.com" },
        listen: ["udp:192.0.2.1:5060"],
        services: [{ id: "service1", fork: "all" }],
        appServers: ["100", "101"].map((host) => ({
          ...{ id: host, uri: `sip:192.0.2.${host}:5060`, services: ["service1"] },
        })),
        session: { probeS: 0 },
        health: { intervalS: 0 },
      },
    });
    nodes.client.invite({ body: "v=0" });
    await nodes.run(50);
    const both = [nodes.server, nodes.peerAt("192.0.2.101", 5060)];
    const invites = both.map((peer) => peer.request("INVITE"));
    for (const [i, peer] of both.entries()) peer.answer(invites[i]!, 100, { tag: `t${i}` });
    await nodes.run(500);
    await dies();
    for (const [i, peer] of both.entries()) cancelled(peer, invites[i]!);
    expect(new Set(heard())).toEqual(new Set([503]));
    expect(heard().length).toBeLessThanOrEqual(3);
  });

  it("for an app server's call to a client whose phone has said 100: that is cancelled, and the app server hears 503", async () => {
    await opened(2);
    await registered(nodes.client);
    const invite = await called();
    const atClient = nodes.client.request("INVITE");
    nodes.client.answer(atClient, 100);
    await nodes.run(400);
    await dies();
    cancelled(nodes.client, atClient);
    refused(invite, finals(nodes.server)[0]?.toTag);
  });

  it.each([
    ["another app server, which has said 100", ["service1"], ["beer"], true],
    ["another app server, which has said nothing", ["service1"], ["beer"], false],
    ["the same app server, which has said 100", ["service1", "beer"], ["another"], true],
    ["the same app server, which has said nothing", ["service1", "beer"], ["another"], false],
  ])("for a change of service at %s: the client may ask again (M20, M21)", async (_, first, second, says) => {
    const { call, b } = await established(first, second);
    const change = nodes.client.inDialog("INVITE", call.invite, call.answer, 2, wanting("beer"));
    await nodes.run(50);
    const peer = first.includes("beer") ? nodes.server : b;
    const atPeer = peer.request("INVITE");
    if (says) peer.answer(atPeer, 100);
    await nodes.run(400);
    expect(heard()).toEqual([100]);
    await dies();
    if (says) cancelled(peer, atPeer);
    else expect(requests(peer, "CANCEL")).toEqual([]);
    nodes.server.inbox.length = b.inbox.length = 0;
    await asksAgain({ call }, change, 3);
    expect(nodes.actors(call.id)).toEqual(["node01"]);
  });

  it("for a plain re-INVITE: the client hears 491, and may ask again (RFC 3261 §14.1)", async () => {
    const { call } = await established(["service1", "beer"], ["another"]);
    const change = nodes.client.inDialog("INVITE", call.invite, call.answer, 2, { body: "v=2" });
    await nodes.run(50);
    const atServer = nodes.server.request("INVITE");
    nodes.server.answer(atServer, 100);
    await nodes.run(400);
    expect(heard()).toEqual([100]);
    await dies();
    cancelled(nodes.server, atServer);
    nodes.server.inbox.length = 0;
    expect(new Set(finals(nodes.client).map(({ status, cseq }) => `${status} ${cseq!.number}`))).toEqual(
      new Set([`491 ${change.cseq!.number}`]),
    );
  });

  it("for a REFER whose second app server has said 100: that is cancelled, and the first session goes on (M23)", async () => {
    const { call, b } = await refers();
    const atB = b.request("INVITE");
    b.answer(atB, 100);
    await nodes.run(400);
    await dies();
    cancelled(b, atB);
    expect(nodes.actors(call.id)).toEqual(["node01"]);
  });
});
