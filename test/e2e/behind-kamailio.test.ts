import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import type { SipMessage } from "../../src/sip/message.ts";
import { parseMessage } from "../../src/sip/parse.ts";
import { freePort, start } from "../support/peers.ts";
import { ROOT } from "../support/project.ts";
import { billed, chargeOf, knowsNoUpdate, startNodes, withoutCluster } from "./cluster-nodes.ts";
import { establish } from "./live-peer.ts";
import type { RelayChild } from "./relay-child.ts";
import { UdpPeer } from "./udp-peer.ts";

/* Kamailio before the nodes, by ops/cluster/kamailio.cfg: all of 127/8 is this machine, so each has an address. */
const EDGE = "127.0.0.5";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/**
 * An end that sends within a dialog by the Record-Routes that it has got (RFC 3261 §12). `is`: who asks for the dialog.
 */
function followsRoutes(peer: UdpPeer, is: "caller" | "called"): void {
  let routes: string[] = [];
  const [send, received] = [peer.send.bind(peer), peer.received.bind(peer)];
  peer.send = (message: SipMessage) => {
    const isWithin = message.isRequest && /;tag=/.test(message.headers.get("to")!) && message.method !== "CANCEL";
    const copies = is === "called" && !message.isRequest && message.cseq?.method === "INVITE" && message.status > 100;
    if (isWithin || copies)
      for (const route of routes) message.headers.add(message.isRequest ? "Route" : "Record-Route", route);
    send(message);
  };
  peer.received = (bytes) => {
    const read = parseMessage(bytes, "datagram");
    const makesRoute = read.ok && read.value.headers.has("record-route") && read.value.isRequest === (is === "called");
    if (makesRoute && (!read.value.isRequest || read.value.toTag === undefined)) {
      routes = [...read.value.headers.all("record-route")];
      if (is === "caller") routes.reverse();
    }
    received(bytes);
  };
}

async function cluster() {
  const port = await freePort();
  const edge = () => ({ address: EDGE, port });
  const [client, server] = [await UdpPeer.open(edge, "127.0.0.10"), await UdpPeer.open(edge, "127.0.0.20")];
  closers.push(() => Promise.all([client.close(), server.close()]));
  const uri = `sip:${EDGE}:${port};next=${server.address}:${server.port}`;
  const config = () => ({
    trustedProxies: [EDGE],
    tariffs: [{ id: "t", currency: "EUR", price: "0.60" }],
    services: [{ id: "wine", tariff: "t" }],
    appServers: [{ id: "winery", uri, services: ["wine"] }],
  });
  const nodes = await startNodes({ size: 3, config }, closers);
  const folder = await mkdtemp(join(tmpdir(), "tollgate-kamailio-"));
  closers.push(() => rm(folder, { recursive: true, force: true }));
  const list = join(folder, "dispatcher.list");
  await writeFile(list, nodes.map((node) => `1 sip:127.0.0.1:${node.port}\n`).join(""));
  const kamailio = await start("kamailio", "kamailio", [
    ...["-f", join(ROOT, "ops/cluster/kamailio.cfg"), "-DD", "-E", "-m", "64", "-l", `udp:${EDGE}:${port}`],
    ...["-A", `NODES="${list}"`, "-P", join(folder, "pid"), "-Y", folder],
  ]);
  closers.push(() => kamailio.stop());
  await answers(client);
  return { client, server, nodes, kamailio };
}

/** Resolves when Kamailio answers. */
async function answers(client: UdpPeer): Promise<void> {
  for (;;) {
    client.outside("OPTIONS", [], "sip:edge.example");
    const answer = await client.nextResponse(200).catch(() => undefined);
    if (answer) return;
  }
}

describe("Kamailio before the nodes, by ops/cluster/kamailio.cfg (P3)", () => {
  it("finds another node for a call whose node was killed, for ends that know no UPDATE", {
    timeout: 90_000,
  }, async ({ skip }) => {
    const missing = withoutCluster("kamailio");
    skip(missing !== undefined, missing);
    const { client, server, nodes, kamailio } = await cluster();
    followsRoutes(client, "caller");
    followsRoutes(server, "called");
    const call = await establish(client, server, "wine");
    expect(kamailio.exited).toBeUndefined();
    const startedAt = Date.now();
    for (const peer of [client, server]) knowsNoUpdate(peer);
    server.backInDialog("INFO", call.inviteAtServer, call.answerOfServer, 1, chargeOf("before"));
    await server.nextResponse(200);

    const at = nodes.findIndex((node) => call.answer.headers.get("contact")!.includes(`:${node.port}`));
    const rest = nodes.filter((_, i) => i !== at) as [RelayChild, RelayChild];
    await nodes[at]!.kill();

    const again = client.inDialog("INVITE", call.invite, call.answer, 3, { body: "v=2" });
    server.answer(await server.nextRequest("INVITE"), 200, { body: "v=3" });
    client.ack(again, await client.nextResponse(200));
    await server.nextRequest("ACK");
    // To a BYE or an INFO, a node may say nothing for some seconds. So they find another node once this one is missed.
    await kamailio.says(new RegExp(`127\\.0\\.0\\.1:${nodes[at]!.port} does not answer`));
    server.backInDialog("INFO", call.inviteAtServer, call.answerOfServer, 2, chargeOf("after"));
    await server.nextResponse(200);
    const back = server.backInDialog("INVITE", call.inviteAtServer, call.answerOfServer, 3, { body: "v=4" });
    client.answer(await client.nextRequest("INVITE"), 200, { body: "v=5" });
    server.ack(back, await server.nextResponse(200));
    await client.nextRequest("ACK");
    const endedAt = Date.now();
    server.backInDialog("BYE", call.inviteAtServer, call.answerOfServer, 4);
    client.answer(await client.nextRequest("BYE"), 200);
    await server.nextResponse(200);

    // A new call does not see that a node is missing.
    const next = await establish(client, server, "wine");
    client.inDialog("BYE", next.invite, next.answer, 4);
    server.answer(await server.nextRequest("BYE"), 200);
    await client.nextResponse(200);
    if (at === nodes.length - 1) await nodes[at]!.start(); // it bills
    const sessions = await billed(rest[0], 2);
    const first = sessions.find(({ items }) => items.length > 0)!;
    expect(first.items.map(({ item }) => item).sort()).toEqual(["after", "before"]);
    expect(Math.abs(first.time!.durationMs - (endedAt - startedAt))).toBeLessThan(2_000);
    expect(sessions.map(({ time }) => time!.endedBy).sort()).toEqual(["client", "server"]);
  });
});
