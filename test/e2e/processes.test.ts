import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import type { MemberView } from "../../src/cluster/member-view.ts";
import { askControl, controlPath, processFolder } from "../../src/console/control.ts";
import { type AppSession, createClient, serve } from "../../src/sdk/index.ts";
import { deferred } from "../charging/samples.ts";
import { startMongo } from "../support/mongo-server.ts";
import { startNats } from "../support/nats-server.ts";
import { freePort } from "../support/peers.ts";
import { until } from "../support/until.ts";
import { billed, chargeOf, knowsNoUpdate, membersOf, withoutCluster } from "./cluster-nodes.ts";
import { DOMAIN, PASSWORD, USER } from "./portal.ts";
import { RelayChild } from "./relay-child.ts";
import { establish, UdpPeer } from "./udp-peer.ts";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

let runs = 0;

/** Processes that share their listening addresses, each a node of a cluster. Resolves when all take calls. */
async function processes(count: number, more: Readonly<Record<string, unknown>>): Promise<RelayChild> {
  const nats = await startNats();
  closers.push(() => nats.destroy());
  const mongo = await startMongo();
  closers.push(() => mongo.stop());
  const store = mongo.url(`processes_${process.pid}_${++runs}`);
  const relay = await RelayChild.create(() => ({ bus: nats.url, store, drainS: 1, ...more }));
  closers.push(() => relay.remove());
  relay.startWith = ["--processes", String(count)];
  await relay.start();
  await relay.says(/all processes started/);
  await until(async () => states(await membersOf(relay)).filter((state) => state === "up").length === count);
  return relay;
}

const states = (members: readonly MemberView[]) => members.map(({ state }) => state);

/** The ids of the processes by their number, the last of each, as the log has them. */
function pidsOf(relay: RelayChild): Map<number, number> {
  const started = relay.output().matchAll(/"process":(\d+),"pid":(\d+).*"msg":"process started"/g);
  return new Map([...started].map(([, number, pid]) => [Number(number), Number(pid)]));
}

/** How many sessions each process has. */
async function sessionsOf(relay: RelayChild, number: number): Promise<number> {
  const path = controlPath(processFolder(join(relay.folder, "data"), number));
  const answer = await askControl(path, "GET", "/v1/status");
  return answer.ok ? (answer.value as { gauges: Record<string, number> }).gauges.sessions! : 0;
}

/** Kills the process that has the one session, and waits until another has it and the killed one is back. */
async function killTheOneWithTheSession(relay: RelayChild): Promise<void> {
  const killed = (await sessionsOf(relay, 1)) === 1 ? 1 : 2;
  const other = 3 - killed;
  expect(await sessionsOf(relay, other)).toBe(0);
  const pid = pidsOf(relay).get(killed)!;
  process.kill(pid, "SIGKILL");
  await until(async () => (await sessionsOf(relay, other)) === 1);
  await until(() => pidsOf(relay).get(killed) !== pid);
  expect(relay.output()).toMatch(new RegExp(`"process":${killed},"code":null,"signal":"SIGKILL".*"msg":"process died`));
  await until(async () => states(await membersOf(relay)).filter((state) => state === "up").length === 2);
}

describe("tollgate start --processes (P3)", () => {
  it("over UDP: a session goes on when its process is killed, which is started again; all drain at SIGTERM", {
    timeout: 120_000,
  }, async ({ skip }) => {
    const missing = withoutCluster();
    skip(missing !== undefined, missing);
    let port = 0;
    const relayAt = () => ({ address: "127.0.0.1", port });
    const [client, server] = [await UdpPeer.open(relayAt), await UdpPeer.open(relayAt)];
    closers.push(() => Promise.all([client.close(), server.close()]));
    knowsNoUpdate(client);
    knowsNoUpdate(server);
    const http = await freePort();
    const relay = await processes(2, {
      http: { listen: `127.0.0.1:${http}` },
      services: [{ id: "wine" }],
      appServers: [{ id: "winery", uri: server.uri, services: ["wine"] }],
    });
    port = relay.port;
    const { inviteAtServer, answerOfServer } = await establish(client, server, "wine");
    expect(JSON.parse(await relay.command(["sessions", "--json"]))).toHaveLength(1);
    server.backInDialog("INFO", inviteAtServer, answerOfServer, 1, chargeOf("before"));
    await server.nextResponse(200);

    await killTheOneWithTheSession(relay);
    expect(JSON.parse(await relay.command(["sessions", "--json"]))).toHaveLength(1);
    server.backInDialog("INFO", inviteAtServer, answerOfServer, 2, chargeOf("after"));
    await server.nextResponse(200);
    for (const own of [http, http + 1]) {
      const metrics = await fetch(`http://127.0.0.1:${own}/metrics`);
      expect(metrics.status).toBe(200);
    }
    server.backInDialog("BYE", inviteAtServer, answerOfServer, 3);
    client.answer(await client.nextRequest("BYE"), 200);
    await server.nextResponse(200);
    // What lay at the killed process or its standby may be billed after the end.
    const items = async () => (await billed(relay, 1))[0]!.items.map(({ item }) => item).sort();
    await until(async () => (await items()).length > 1, 30_000);
    expect(await items()).toEqual(["after", "before"]);

    relay.signal("SIGHUP");
    await until(() => relay.output().split("configuration reloaded").length === 3);
    expect(relay.output()).not.toContain("wait for a restart");
    expect(await relay.end()).toEqual({ code: 0, signal: null });
    expect(relay.output().match(/"msg":"relay stopped"/g)).toHaveLength(2);
  });

  it("over TCP: the client comes back by the other process, and its session goes on", { timeout: 120_000 }, async ({
    skip,
  }) => {
    const missing = withoutCluster();
    skip(missing !== undefined, missing);
    const accepted = deferred<AppSession>();
    const shop = await serve({
      listen: { host: "127.0.0.1", port: 0 },
      services: {
        wine: async (request) => {
          accepted.resolve(await request.accept({ url: "https://shop.example/s" }));
        },
      },
    });
    closers.push(() => shop.close());
    const relay = await processes(2, {
      services: [{ id: "wine" }],
      appServers: [{ id: "winery", uri: shop.uri, services: ["wine"] }],
    });
    const uri = `sip:127.0.0.1:${relay.port};transport=tcp`;
    const client = createClient({ relay: uri, domain: DOMAIN, user: USER, password: PASSWORD });
    closers.push(() => client.close());
    const session = await client.request("wine");
    const at = await accepted.promise;
    await at.charge({ id: "c1", item: "before", unitPrice: "0.50", currency: "EUR" });
    await killTheOneWithTheSession(relay);
    await at.charge({ id: "c2", item: "after", unitPrice: "0.50", currency: "EUR" });
    await session.end();
    const [ended] = await billed(relay, 1);
    expect(ended!.items.map(({ item }) => item).sort()).toEqual(["after", "before"]);
    expect(await relay.command(["drain"])).toMatch(/the relay has stopped\n$/);
    await relay.says(/"msg":"processes: all have ended"/);
  });

  it("is refused where the processes could not find each other, with what to set", { timeout: 30_000 }, async () => {
    const relay = await RelayChild.create(() => ({ services: [{ id: "wine" }] }));
    closers.push(() => relay.remove());
    await expect(relay.command(["start", "--processes", "2"])).rejects.toThrow(
      /ended with 2[\s\S]*each process is a node of a cluster; set in .*: bus: nats:\/\/HOST:4222 and store: mongodb/,
    );
    await expect(relay.command(["start", "--processes", "0"])).rejects.toThrow(/a number from 1 to 64/);
  });
});
