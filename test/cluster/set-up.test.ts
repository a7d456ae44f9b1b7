import { afterEach, describe, expect, it } from "vitest";
import type { SipRequest, SipResponse } from "../../src/sip/message.ts";
import { beginCall, CALLS_CLIENTS, sendRegister } from "../relay/app-server-calls.ts";
import type { Peer } from "../relay/harness.ts";
import { Nodes } from "./nodes.ts";

/* Calls in set-up when their node dies end fast and clean (P3, P5): whoever rings is told so, and whoever waits. */

let nodes: Nodes;
afterEach(() => nodes.close());

const requests = (peer: Peer, method: string) =>
  peer.inbox.filter((message): message is SipRequest => message.isRequest && message.method === method);
const finals = (peer: Peer) =>
  peer.inbox.filter((message): message is SipResponse => !message.isRequest && message.status >= 200);

/** A device of alice registers at that node. */
async function registered(peer: Peer, at = "node00", contact?: string): Promise<void> {
  nodes.target = at;
  sendRegister(peer, contact);
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

  it("is cancelled by the connection that its client has to a third node", async () => {
    await opened(3, { ...calling, clientTransport: "tcp" });
    await registered(nodes.client, "node02", flow(1));
    await nodes.run(500);
    await called();
    const atClient = await rings(nodes.client);
    await dies();
    cancelled(nodes.client, atClient);
  });

  it("is cancelled by the socket of the third node to which a client of UDP came: there is the way through its NAT", async () => {
    await opened(3);
    await registered(nodes.client, "node02");
    await nodes.run(500);
    await called();
    const atClient = await rings(nodes.client);
    const by: string[] = [];
    nodes.watch = (run, { text }) => void (text.startsWith("CANCEL") && by.push(run.name));
    await dies();
    cancelled(nodes.client, atClient);
    expect(new Set(by)).toEqual(new Set(["node02"]));
  });

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
