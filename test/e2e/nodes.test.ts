import { connect } from "@nats-io/transport-node";
import { afterEach, describe, expect, it } from "vitest";
import type { MemberView } from "../../src/cluster/member-view.ts";
import { createClient, serve } from "../../src/sdk/index.ts";
import { deferred } from "../charging/samples.ts";
import { NO_NATS, natsProgram, startNats } from "../support/nats-server.ts";
import { type OfferedBy, type RelayProcess, startRelayProcess } from "../support/relay-process.ts";
import { PORTAL } from "../support/sipp.ts";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function node(bus: string, zone: string, appServers: readonly OfferedBy[] = []): Promise<RelayProcess> {
  const cluster = { zone, standbys: true };
  const relay = await startRelayProcess({ appServers, config: { bus, cluster, drainS: 0 } });
  closers.push(() => relay.remove());
  return relay;
}

const nodesSeenBy = async (relay: RelayProcess) => JSON.parse(await relay.command(["nodes", "--json"])) as MemberView[];
const statesSeenBy = async (relay: RelayProcess) =>
  (await nodesSeenBy(relay)).map(({ zone, state }) => `${zone} ${state}`).sort();

describe("tollgate nodes, with relays as processes and a NATS server (P3)", () => {
  it("shows who is there, who was killed and who has left", { timeout: 60_000 }, async ({ skip }) => {
    skip(natsProgram === undefined, NO_NATS);
    const nats = await startNats();
    closers.push(() => nats.destroy());
    const [one, two, three] = [await node(nats.url, "a"), await node(nats.url, "b"), await node(nats.url, "c")];
    for (const relay of [one, two, three])
      await expect.poll(() => statesSeenBy(relay), { timeout: 10_000 }).toEqual(["a up", "b up", "c up"]);
    expect(await one.command(["nodes"])).toMatch(
      /^NODE +HOST +ZONE +VERSION +STATE +SESSIONS +REQUESTS +STANDBYS +LAG +BUSY +HEARD +PATIENCE\n/,
    );
    expect((await nodesSeenBy(two)).filter(({ self }) => self).map(({ zone }) => zone)).toEqual(["b"]);

    two.peer.child.kill("SIGKILL");
    await expect.poll(() => statesSeenBy(one), { timeout: 10_000 }).toEqual(["a up", "b dead", "c up"]);
    await three.peer.stop();
    await expect.poll(() => statesSeenBy(one), { timeout: 10_000 }).toEqual(["a up", "b dead", "c left"]);
    await two.again(0);
    await expect.poll(() => statesSeenBy(one), { timeout: 10_000 }).toEqual(["a up", "b up", "c left"]);
    expect((await nodesSeenBy(one)).find(({ zone }) => zone === "b")!.epoch).toBe(
      (await nodesSeenBy(two)).find(({ self }) => self)!.epoch,
    );

    await nats.kill();
    await expect.poll(() => statesSeenBy(one), { timeout: 10_000 }).toEqual(["a up", "b unheard", "c left"]);
    await nats.start();
    await expect.poll(() => statesSeenBy(one), { timeout: 20_000 }).toEqual(["a up", "b up", "c left"]);
  });

  it("keeps copies of standing sessions, with their charges, at another node", { timeout: 60_000 }, async ({
    skip,
  }) => {
    skip(natsProgram === undefined, NO_NATS);
    const nats = await startNats();
    closers.push(() => nats.destroy());
    const charged = deferred();
    const shop = await serve({
      listen: { host: "127.0.0.1", port: 0 },
      services: {
        wine: async (request) => {
          const session = await request.accept({ url: "https://shop.example/s" });
          await charged.promise;
          await session.charge({ id: "c1", item: "Riesling", unitPrice: "12.50", currency: "EUR" });
        },
      },
    });
    closers.push(() => shop.close());
    const offered = { id: "shop", port: shop.port, services: ["wine"], transport: "tcp" } as const;
    const one = await node(nats.url, "a", [offered]);
    const two = await node(nats.url, "b");
    const standbys = async () => {
      const nodes = await nodesSeenBy(one);
      return nodes
        .map(({ zone, sessions, standbys, lagMs }) => `${zone} ${sessions} ${standbys} ${lagMs < 100}`)
        .sort();
    };
    await expect.poll(() => statesSeenBy(one), { timeout: 10_000 }).toEqual(["a up", "b up"]);
    const client = createClient({
      relay: `sip:127.0.0.1:${one.port};transport=tcp`,
      domain: PORTAL,
      user: "alice",
      password: "secret",
    });
    closers.push(() => client.close());
    const session = await client.request("wine");
    await expect.poll(standbys, { timeout: 10_000 }).toEqual(["a 1 0 true", "b 0 1 true"]);
    // As nats-server hands it on: the copy's frame has the charge a moment after it was answered.
    const heard: string[] = [];
    const nc = await connect({ servers: nats.url });
    closers.push(() => nc.close());
    nc.subscribe("tollgate.nodes.*", { callback: (_, message) => void heard.push(message.string()) });
    await nc.flush();
    charged.resolve();
    await expect
      .poll(() => heard.some((text) => /^\+ .*"id":"c1".*"12\.50"/m.test(text)), { timeout: 10_000 })
      .toBe(true);
    await session.end();
    await expect.poll(standbys, { timeout: 10_000 }).toEqual(["a 0 0 true", "b 0 0 true"]);
    expect(two.peer.output()).not.toMatch(/"level":(50|60)/);
  });

  it("says of a relay without others that it is alone", { timeout: 20_000 }, async () => {
    const relay = await startRelayProcess({ appServers: [] });
    closers.push(() => relay.remove());
    expect(await relay.command(["nodes"])).toMatch(/^this relay is alone/);
  });
});
