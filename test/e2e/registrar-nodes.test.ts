import { afterEach, describe, expect, it } from "vitest";
import type { RegistrationView } from "../../src/node/registrations.ts";
import { answerChallenge, formatAuthorization, parseChallenge } from "../../src/sip/digest.ts";
import { Headers, type SipMessage, SipRequest, type SipResponse } from "../../src/sip/message.ts";
import { until } from "../support/until.ts";
import { billed, startNodes, withoutCluster } from "./cluster-nodes.ts";
import type { LivePeer } from "./live-peer.ts";
import { DOMAIN, PASSWORD, USER } from "./portal.ts";
import type { RelayChild } from "./relay-child.ts";
import { StreamPeer } from "./stream-peer.ts";
import { UdpPeer } from "./udp-peer.ts";

/* What a client registers at one node is known at the other (RFC 3261 §10, P3): real processes, NATS and MongoDB. */

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function opened(more: Readonly<Record<string, unknown>> = {}) {
  const at: Record<string, number> = { client: 0, server: 0 };
  const peer = async (name: string) => {
    const udp = await UdpPeer.open(() => ({ address: "127.0.0.1", port: at[name]! }));
    closers.push(() => udp.close());
    return udp;
  };
  const [client, server] = [await peer("client"), await peer("server")];
  const nodes = await startNodes(
    {
      size: 2,
      config: () => ({
        tariffs: [{ id: "t", currency: "EUR", setupFee: "0.20" }],
        services: [{ id: "wine", tariff: "t", callsClients: true }],
        appServers: [{ id: "winery", uri: server.uri, services: ["wine"] }],
        ...more,
      }),
    },
    closers,
  );
  const [one, two] = nodes as [RelayChild, RelayChild];
  const key = JSON.parse(await two.command(["appserver", "key", "add", "winery", "--json"])) as Key;
  const loads = (node: RelayChild) => node.output().split("directory loaded").length - 1;
  await until(() => nodes.every((node) => loads(node) >= 2)); // each knows the key
  const writeTo = (name: string, node: RelayChild) => {
    at[name] = node.port;
  };
  writeTo("client", one);
  writeTo("server", two);
  return { client, server, one, two, key, writeTo };
}

interface Key {
  readonly key: string;
  readonly secret: string;
}

function answerTo(challenge: SipResponse, method: string, uri: string, username: string, password: string): string {
  const read = parseChallenge(challenge.headers.get("www-authenticate")!);
  if (!read.ok) throw new Error(read.error);
  const answer = { username, password, method, uri, cnonce: "c", count: 1 };
  return formatAuthorization(answerChallenge(read.value, answer));
}

let registers = 0;

/** Alice registers that Contact; returns the 200. */
async function register(peer: LivePeer, contact: string, expires = 3600): Promise<SipResponse> {
  const id = `reg-${process.pid}-${++registers}`;
  const send = (seq: number, authorization?: string) => {
    const fields = new Headers()
      .add("Via", `SIP/2.0/${peer.flow.transport.toUpperCase()} ${peer.address}:${peer.port};branch=z9hG4bK${id}${seq}`)
      .add("From", `<sip:${USER}@${DOMAIN}>;tag=${id}`)
      .add("To", `<sip:${USER}@${DOMAIN}>`)
      .add("Call-ID", id)
      .add("CSeq", `${seq} REGISTER`)
      .add("Max-Forwards", "70")
      .add("Contact", contact)
      .add("Expires", String(expires));
    if (authorization) fields.add("Authorization", authorization);
    peer.send(new SipRequest("REGISTER", `sip:${DOMAIN}`, fields));
  };
  send(1);
  send(2, answerTo(await peer.nextResponse(401), "REGISTER", `sip:${DOMAIN}`, USER, PASSWORD));
  return peer.nextResponse(200);
}

/** The app server calls alice in the name of wine. */
async function call(server: LivePeer, { key, secret }: Key) {
  const uri = `sip:${USER}@${DOMAIN}`;
  const from = `<sip:wine@${DOMAIN}>`;
  const named: [string, string] = ["Tollgate-Service", "wine"];
  const first = server.invite({ uri, from, headers: [named], body: "v=0" });
  const challenge = await server.nextResponse(401);
  server.ack(first, challenge);
  const authorization = answerTo(challenge, "INVITE", uri, key, secret);
  return server.invite({ uri, from, headers: [named, ["Authorization", authorization]], body: "v=0" });
}

const found = async (node: RelayChild): Promise<readonly RegistrationView[]> =>
  (JSON.parse(await node.command(["registrations", "--user", USER, "--json"])) as readonly RegistrationView[]) ?? [];
const contactsAt = async (node: RelayChild) => (await found(node)).map(({ contact }) => contact).sort();
/** Includes the start of the command, which takes most of it. */
const SOON_MS = 10_000;
const soon = (node: RelayChild, contacts: readonly string[]) =>
  expect.poll(() => contactsAt(node), { timeout: SOON_MS, interval: 50 }).toEqual([...contacts].sort());

describe("what a client registers at one node of a cluster (RFC 3261 §10; P3)", () => {
  it("is found at the other, expires there, and is bounded in sum; a call that its node's death cuts off before the ACK goes on, and is billed once", {
    timeout: 90_000,
  }, async ({ skip }) => {
    const missing = withoutCluster();
    skip(missing !== undefined, missing);
    const { client, server, one, two, key, writeTo } = await opened({
      limits: { contactsPerUser: 3 },
      registrar: { minExpiresS: 1 },
    });
    const contact = (user: string) => `<sip:${user}@127.0.0.1:${client.port}>`;
    const bare = (user: string) => contact(user).slice(1, -1);
    await register(client, contact("desk"));
    const line = await StreamPeer.dial("tcp", one.port);
    closers.push(() => line.close());
    const phone = `sip:phone@127.0.0.1:${line.port};transport=tcp`;
    await register(line, `<${phone};ob>`);
    await soon(two, [bare("desk"), `${phone};ob`]);

    // Called from the other node, each device rings, the one by the connection that the first node has.
    const invite = await call(server, key);
    const [atDesk, atPhone] = [await client.nextRequest("INVITE"), await line.nextRequest("INVITE")];
    writeTo("client", two); // as its Via says
    client.answer(atDesk, 180); // RFC 3261 §9.1: only then there may be a CANCEL
    await server.nextResponse(180);
    const said = line.answer(atPhone, 200, { body: "v=1" });
    const answer = await server.nextResponse(200);
    client.answer(await client.nextRequest("CANCEL"), 200);
    client.answer(atDesk, 487);
    server.ack(invite, answer);
    await line.nextRequest("ACK");
    line.backInDialog("BYE", atPhone, said, 1);
    server.answer(await server.nextRequest("BYE"), 200);
    await line.nextResponse(200);

    // One more than a user may have, by both nodes: the one that was refreshed the longest ago gives way, at both.
    await register(client, contact("short"), 6);
    await register(client, contact("last"));
    for (const node of [one, two]) await soon(node, [`${phone};ob`, bare("last"), bare("short")]);
    // And its time is over at both.
    for (const node of [one, two]) await soon(node, [`${phone};ob`, bare("last")]);

    writeTo("client", one);
    await register(client, contact("one"));
    await soon(two, [`${phone};ob`, bare("last"), bare("one")]);

    // The first node dies between the 200 of one of the devices and the ACK.
    writeTo("server", one);
    const second = await call(server, key);
    line.answer(await line.nextRequest("INVITE"), 486);
    const rings = [await client.nextRequest("INVITE"), await client.nextRequest("INVITE")];
    const [ringing, other] = rings[0]!.uri === bare("one") ? rings : rings.reverse();
    client.answer(other!, 486);
    const branchOfRefused = other!.via?.params.get("branch");
    const picked = client.answer(ringing!, 200, { body: "v=1" });
    const accepted = await server.nextResponse(200);
    client.inbox.length = 0; // ACKs of refusals
    await one.kill();
    for (const name of ["client", "server"]) writeTo(name, two);
    // The ACK comes again as long as the 200 does, as from real ends.
    server.onMessage = (message) => !message.isRequest && message.status === 200 && message.cseq?.method === "INVITE";
    const again = setInterval(() => server.ack(second, accepted), 200);
    closers.push(() => clearInterval(again));
    const isAck = (message: SipMessage) =>
      message.isRequest && message.method === "ACK" && message.via?.params.get("branch") !== branchOfRefused;
    await until(() => client.inbox.some(isAck), 20_000);
    clearInterval(again);
    client.backInDialog("BYE", ringing!, picked, 1);
    server.answer(await server.nextRequest("BYE"), 200);
    await client.nextResponse(200);
    expect((await billed(two, 2)).map(({ time }) => time?.amount)).toEqual(["0.20", "0.20"]);

    // What needs no connection is left, and reached by the other node.
    await soon(two, [bare("last"), bare("one")]);
    await call(server, key);
    const called = [await client.nextRequest("INVITE"), await client.nextRequest("INVITE")];
    expect(called.map(({ uri }) => uri).sort()).toEqual([bare("last"), bare("one")]);
    for (const ring of called) client.answer(ring, 486);
    await server.nextResponse(486);
  });
});
