import { afterEach, describe, expect, it } from "vitest";
import type { MemberView } from "../../src/cluster/members.ts";
import { NO_NATS, natsProgram, startNats } from "../support/nats-server.ts";
import { type RelayProcess, startRelayProcess } from "../support/relay-process.ts";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function node(bus: string, zone: string): Promise<RelayProcess> {
  const relay = await startRelayProcess({ appServers: [], config: { bus, cluster: { zone }, drainS: 0 } });
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
      /^NODE +HOST +ZONE +VERSION +STATE +SESSIONS +REQUESTS +BUSY +HEARD\n/,
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

  it("says of a relay without others that it is alone", { timeout: 20_000 }, async () => {
    const relay = await startRelayProcess({ appServers: [] });
    closers.push(() => relay.remove());
    expect(await relay.command(["nodes"])).toMatch(/^this relay is alone/);
  });
});
