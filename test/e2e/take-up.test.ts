import { afterEach, describe, expect, it } from "vitest";
import type { Bill } from "../../src/charging/bills/bill.ts";
import { CHARGE_JSON, PACKAGE } from "../../src/charging/charges/body.ts";
import type { MemberView } from "../../src/cluster/member-view.ts";
import { createClient } from "../../src/sdk/index.ts";
import type { SipMessage, SipRequest } from "../../src/sip/message.ts";
import { mongoKind, NO_MONGO, startMongo } from "../support/mongo-server.ts";
import { NO_NATS, natsProgram, startNats } from "../support/nats-server.ts";
import type { LivePeer } from "./live-peer.ts";
import { DOMAIN, PASSWORD, USER } from "./portal.ts";
import { RelayChild } from "./relay-child.ts";
import { dialLine, StreamPeer } from "./stream-peer.ts";
import { type Call, establish, UdpPeer } from "./udp-peer.ts";

/*
 * A node is killed, stopped or cut off, and another one goes on with its calls (P3): with the real command, several
 * nodes on one NATS server. The second node bills.
 */

let clusters = 0;
const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** Nodes, and a client and an app server that write to the first until they are told otherwise. */
async function cluster(size = 2) {
  const nats = await startNats();
  closers.push(() => nats.destroy());
  const mongo = await startMongo();
  const store = mongo.url(`take_up_${process.pid}_${++clusters}`);
  closers.push(() => mongo.stop());
  const ports = { client: 0, server: 0 };
  const from = (side: keyof typeof ports) => UdpPeer.open(() => ({ address: "127.0.0.1", port: ports[side] }));
  const [client, server] = [await from("client"), await from("server")];
  closers.push(() => Promise.all([client.close(), server.close()]));
  const nodes: RelayChild[] = [];
  for (let i = 0; i < size; i++) {
    const config = () => ({
      bus: nats.url,
      store,
      roles: i === 1 ? ["relay", "billing"] : ["relay"],
      cluster: { zone: "abc"[i] },
      tariffs: [{ id: "t", currency: "EUR", price: "0.60" }],
      services: [{ id: "wine", tariff: "t" }],
      appServers: [{ id: "winery", uri: server.uri, services: ["wine"] }],
      drainS: 1,
    });
    const node = await RelayChild.create(config, { registers: i === 0 });
    nodes.push(node);
    closers.push(() => node.remove());
    await node.start();
  }
  const [one, two, three] = nodes as [RelayChild, RelayChild, RelayChild | undefined];
  const seenBy = async (node: RelayChild) => JSON.parse(await node.command(["nodes", "--json"])) as MemberView[];
  const states = async (node: RelayChild) => (await seenBy(node)).map(({ zone, state }) => `${zone} ${state}`).sort();
  for (const node of nodes) await expect.poll(async () => (await states(node)).length, POLL).toBe(size);
  const writeTo = (node: RelayChild, ...sides: (keyof typeof ports)[]) => {
    for (const side of sides) ports[side] = node.port;
  };
  writeTo(one, "client", "server");
  const standbys = async () => (await seenBy(two)).find(({ self }) => self)!.standbys;
  return { nats, client, server, nodes, one, two, three, seenBy, states, standbys, writeTo };
}

const POLL = { timeout: 15_000, interval: 50 };

const chargeOf = (id: string) => ({
  headers: [["Info-Package", PACKAGE]] as [string, string][],
  body: JSON.stringify({ charges: [{ id, item: id, unitPrice: "0.50", currency: "EUR" }] }),
  type: CHARGE_JSON,
});

async function charged({ server, inviteAtServer, answerOfServer }: Call, seq: number, id: string): Promise<void> {
  server.backInDialog("INFO", inviteAtServer, answerOfServer, seq, chargeOf(id));
  await server.nextResponse(200);
}

/** Whoever is asked or told something by the relay says yes. Returns what came. */
function agreeing(peer: LivePeer): SipRequest[] {
  const came: SipRequest[] = [];
  peer.onMessage = (message: SipMessage) => {
    if (!message.isRequest || (message.method !== "OPTIONS" && message.method !== "UPDATE")) return false;
    came.push(message);
    peer.answer(message, 200);
    return true;
  };
  return came;
}

/** What is billed, once so many sessions have ended. */
async function billed(node: RelayChild, many: number) {
  const ended = async () => (await billOf(node)).filter(({ time }) => time !== undefined);
  await expect.poll(async () => (await ended()).length, POLL).toBe(many);
  return ended();
}

async function billOf(node: RelayChild): Promise<Bill["services"][number]["sessions"]> {
  const bill = JSON.parse(await node.command(["bill", USER, "--json"])) as Bill;
  return bill.services.flatMap(({ sessions }) => sessions);
}

describe("a node of a cluster is gone, and its calls go on (P3)", () => {
  it("after kill -9, with clock, charges and BYE; the node that comes back leaves them alone", {
    timeout: 60_000,
  }, async ({ skip }) => {
    skip(natsProgram === undefined, NO_NATS);
    skip(mongoKind() === undefined, NO_MONGO);
    const { client, server, one, two, standbys, writeTo } = await cluster();
    const [first, second] = [await establish(client, server, "wine"), await establish(client, server, "wine")];
    const startedAt = Date.now();
    await charged(first, 1, "before");
    expect(await standbys()).toBe(2);
    const [atClient, atServer] = [agreeing(client), agreeing(server)];
    writeTo(two, "client", "server");
    const killedAt = Date.now();
    await one.kill();
    // Both ends of both calls hear where their session is now, without having said anything.
    await expect.poll(() => [atClient.length, atServer.length], POLL).toEqual([2, 2]);
    const tookMs = Date.now() - killedAt;
    expect(tookMs).toBeLessThan(3_000);
    for (const update of [...atClient, ...atServer]) {
      expect(update.method).toBe("UPDATE");
      expect(update.headers.get("contact")).toContain(`127.0.0.1:${two.port}`);
      expect(update.cseq!.number).toBeGreaterThan(1_000);
    }
    await charged(first, 2, "before"); // once more: it is charged once
    await charged(first, 3, "after");
    await one.start();
    client.inDialog("BYE", first.invite, first.answer, 2);
    server.answer(await server.nextRequest("BYE"), 200);
    await client.nextResponse(200);
    server.backInDialog("BYE", second.inviteAtServer, second.answerOfServer, 1);
    client.answer(await client.nextRequest("BYE"), 200);
    await server.nextResponse(200);
    const endedAt = Date.now();
    expect(await one.end()).toEqual({ code: 0, signal: null });
    const sessions = await billed(two, 2);
    for (const { time } of sessions) expect(Math.abs(time!.durationMs - (endedAt - startedAt))).toBeLessThan(1_000);
    expect(sessions.map(({ time }) => time!.endedBy).sort()).toEqual(["client", "server"]);
    const items = sessions.flatMap(({ items }) => items.map(({ item }) => item)).sort();
    expect(items).toEqual(["after", "before"]);
  });

  it("and any node takes any message of theirs, and hands it over", {
    timeout: 60_000,
  }, async ({ skip }) => {
    skip(natsProgram === undefined, NO_NATS);
    skip(mongoKind() === undefined, NO_MONGO);
    const { client, server, one, two, writeTo } = await cluster(3);
    const call = await establish(client, server, "wine");
    writeTo(two, "client");
    client.inDialog("MESSAGE", call.invite, call.answer, 2, { body: "hello", type: "text/plain" });
    server.answer(await server.nextRequest("MESSAGE"), 200);
    await client.nextResponse(200);
    writeTo(two, "server");
    await charged(call, 1, "at another node");
    writeTo(one, "server"); // its answers go where Via says
    const again = client.inDialog("INVITE", call.invite, call.answer, 3, { body: "v=2" });
    server.answer(await server.nextRequest("INVITE"), 200, { body: "v=3" });
    client.ack(again, await client.nextResponse(200)); // the ACK is handed over, too
    await server.nextRequest("ACK");
    const to = call.answer.headers.get("to")!.replace(/tag=.*/, "tag=nobody-has-this");
    client.within("BYE", call.invite.headers.get("from")!, to, "no-call", `sip:127.0.0.1:${two.port}`, 4, {});
    expect((await client.nextResponse(481)).callId).toBe("no-call");
    client.inDialog("BYE", call.invite, call.answer, 5);
    server.answer(await server.nextRequest("BYE"), 200);
    await client.nextResponse(200);
    // A CANCEL comes to another node than its INVITE.
    writeTo(one, "client");
    const invite = await client.call("wine", { body: "v=0" });
    server.answer(await server.nextRequest("INVITE"), 180);
    await client.nextResponse(180);
    writeTo(two, "client");
    client.cancel(invite);
    await client.nextResponse(200);
    await server.nextRequest("CANCEL");
    expect((await billed(two, 1)).flatMap(({ items }) => items.map(({ item }) => item))).toEqual(["at another node"]);
  });

  it("and a call that rings ends fast: the app server is cancelled, the client is told to try again, nothing is billed", {
    timeout: 60_000,
  }, async ({ skip }) => {
    skip(natsProgram === undefined, NO_NATS);
    skip(mongoKind() === undefined, NO_MONGO);
    const { client, server, one, two, standbys, writeTo } = await cluster();
    const invite = await client.call("wine", { body: "v=0" });
    const atServer = await server.nextRequest("INVITE");
    server.answer(atServer, 180);
    await client.nextResponse(180);
    await expect.poll(standbys, POLL).toBe(1);
    writeTo(two, "client", "server");
    await one.kill();
    const cancel = await server.nextRequest("CANCEL");
    expect(cancel.via!.params.get("branch")).toBe(atServer.via!.params.get("branch"));
    const refusal = await client.nextResponse(503);
    expect([refusal.callId, refusal.cseq, refusal.headers.get("retry-after")]).toEqual([
      invite.callId,
      invite.cseq,
      "1",
    ]);
    // It tries again, at another node.
    const call = await establish(client, server, "wine");
    client.inDialog("BYE", call.invite, call.answer, 2);
    server.answer(await server.nextRequest("BYE"), 200);
    await client.nextResponse(200);
    expect(await billed(two, 1)).toHaveLength(1);
  });

  it("and without NATS each node goes on with its own calls, takes new ones, and all is billed when NATS is back", {
    timeout: 60_000,
  }, async ({ skip }) => {
    skip(natsProgram === undefined, NO_NATS);
    skip(mongoKind() === undefined, NO_MONGO);
    const { nats, client, server, one, two, states, writeTo } = await cluster();
    const first = await establish(client, server, "wine");
    writeTo(two, "client", "server");
    const second = await establish(client, server, "wine");
    await nats.kill();
    for (const node of [one, two]) await node.says(/does not hear itself over NATS/);
    for (const [call, node, id] of [
      [first, one, "a"],
      [second, two, "b"],
    ] as const) {
      writeTo(node, "client", "server");
      client.inDialog("MESSAGE", call.invite, call.answer, 2, { body: "still there?", type: "text/plain" });
      server.answer(await server.nextRequest("MESSAGE"), 200);
      await client.nextResponse(200);
      await charged(call, 1, id);
      const another = await establish(client, server, "wine");
      client.inDialog("BYE", another.invite, another.answer, 2);
      server.answer(await server.nextRequest("BYE"), 200);
      await client.nextResponse(200);
    }
    await nats.start();
    for (const node of [one, two]) await expect.poll(() => states(node), POLL).toEqual(["a up", "b up"]);
    for (const [call, node] of [
      [first, one],
      [second, two],
    ] as const) {
      writeTo(node, "client", "server");
      client.inDialog("BYE", call.invite, call.answer, 3);
      server.answer(await server.nextRequest("BYE"), 200);
      await client.nextResponse(200);
    }
    const sessions = await billed(two, 4);
    expect(sessions.flatMap(({ items }) => items.map(({ item }) => item)).sort()).toEqual(["a", "b"]);
    for (const node of [one, two])
      expect(node.output()).not.toMatch(/is dead|taken up|"level":"error"(?!.*"msg":"bus: )/);
  });

  it("because an operator drains it by name, and nobody is cut off", {
    timeout: 60_000,
  }, async ({ skip }) => {
    skip(natsProgram === undefined, NO_NATS);
    skip(mongoKind() === undefined, NO_MONGO);
    const { client, server, one, two, writeTo } = await cluster();
    const byTcp = createClient({
      relay: [one, two].map(({ port }) => `sip:127.0.0.1:${port};transport=tcp`),
      domain: DOMAIN,
      user: USER,
      password: PASSWORD,
    });
    closers.push(() => byTcp.close());
    const asked = byTcp.request("wine");
    server.answer(await server.nextRequest("INVITE"), 200, { body: "v=1" });
    const overTcp = await asked;
    await server.nextRequest("ACK");
    const call = await establish(client, server, "wine");
    await charged(call, 1, "before");
    const [atClient, atServer] = [agreeing(client), agreeing(server)];
    const nodes = JSON.parse(await two.command(["nodes", "--json"])) as MemberView[];
    const name = nodes.find(({ self }) => !self)!.node;
    expect(await two.command(["drain", name])).toMatch(/^draining: 2 sessions left\n.*has stopped\n$/s);
    const updates = [atClient, atServer].map((came) => came.filter(({ method }) => method === "UPDATE").length);
    expect(updates).toEqual([1, 2]);
    writeTo(two, "client", "server");
    await charged(call, 2, "after");
    client.inDialog("BYE", call.invite, call.answer, 2);
    server.answer(await server.nextRequest("BYE"), 200);
    await client.nextResponse(200);
    // The SDK's client has come back by the other node.
    const ending = overTcp.end();
    server.answer(await server.nextRequest("BYE"), 200);
    expect(await ending).toMatchObject({ by: "local", status: 200 });
    const session = (await billed(two, 2)).find(({ items }) => items.length > 0);
    expect(session!.items.map(({ item }) => item).sort()).toEqual(["after", "before"]);
    expect(two.output()).not.toMatch(/"level":"error"/);
    expect(one.output()).not.toMatch(/"level":"error"/);
  });

  it("and a client over TCP comes back by any node, also by one that does not have its session", {
    timeout: 60_000,
  }, async ({ skip }) => {
    skip(natsProgram === undefined, NO_NATS);
    skip(mongoKind() === undefined, NO_MONGO);
    const { server, one, two, three, seenBy, writeTo } = await cluster(3);
    const client = await StreamPeer.dial("tcp", one.port);
    closers.push(() => client.close());
    const call = await establish(client, server, "wine");
    await charged(call, 1, "before");
    agreeing(client);
    const atServer = agreeing(server);
    await one.kill();
    await expect.poll(() => atServer.length, POLL).toBe(1);
    await expect
      .poll(async () => (await seenBy(two)).some(({ state, sessions }) => state === "up" && sessions > 0), POLL)
      .toBe(true);
    const owner = (await seenBy(two)).find(({ state, sessions }) => state === "up" && sessions > 0)!;
    const other = owner.self ? three! : two;
    writeTo(owner.self ? two : three!, "server");
    client.lines.push(await dialLine("tcp", other.port, {}, (bytes) => client.received(bytes)));
    client.inDialog("MESSAGE", call.invite, call.answer, 2, { body: "here again", type: "text/plain" });
    server.answer(await server.nextRequest("MESSAGE"), 200);
    await client.nextResponse(200);
    // And from the other side, by the connection that the client has at another node.
    server.backInDialog("MESSAGE", call.inviteAtServer, call.answerOfServer, 2, { body: "hello", type: "text/plain" });
    client.answer(await client.nextRequest("MESSAGE"), 200);
    await server.nextResponse(200);
    await charged(call, 3, "after");
    server.backInDialog("BYE", call.inviteAtServer, call.answerOfServer, 4);
    client.answer(await client.nextRequest("BYE"), 200);
    await server.nextResponse(200);
    expect((await billed(two, 1)).flatMap(({ items }) => items.map(({ item }) => item)).sort()).toEqual([
      "after",
      "before",
    ]);
  });

  it("while it is stopped (SIGSTOP); when it goes on it says nothing, and lets go of them", {
    timeout: 60_000,
  }, async ({ skip }) => {
    skip(natsProgram === undefined, NO_NATS);
    skip(mongoKind() === undefined, NO_MONGO);
    const { client, server, one, two, states, writeTo } = await cluster();
    const call = await establish(client, server, "wine");
    await charged(call, 1, "before");
    const [atClient, atServer] = [agreeing(client), agreeing(server)];
    one.signal("SIGSTOP");
    await expect.poll(() => [atClient.length, atServer.length], POLL).toEqual([1, 1]);
    // What comes for it waits in its sockets.
    client.inDialog("MESSAGE", call.invite, call.answer, 2, { body: "too late", type: "text/plain" });
    one.signal("SIGCONT");
    await one.says(/other nodes have taken up sessions of this node/);
    await one.says(/this node acts again/);
    await expect.poll(() => states(two), POLL).toEqual(["a up", "b up"]);
    writeTo(two, "client", "server");
    client.inDialog("BYE", call.invite, call.answer, 3);
    server.answer(await server.nextRequest("BYE"), 200);
    await client.nextResponse(200);
    expect(await one.end()).toEqual({ code: 0, signal: null });
    expect((await billed(two, 1)).map(({ time }) => time!.endedBy)).toEqual(["client"]);
  });
});
