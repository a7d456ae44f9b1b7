import { expect, it, onTestFinished, vi } from "vitest";
import { type TestEndpoint, webhook } from "../usage/endpoints.ts";
import { fileWith } from "../usage/lab.ts";
import { RelayChild } from "./relay-child.ts";
import { establish, UdpPeer } from "./udp-peer.ts";

const SECRET = `whsec_${Buffer.alloc(32, 5).toString("base64")}`;
const WAIT = { timeout: 20_000, interval: 50 };

/*
 * With real processes: usage is sent while calls run, the endpoint is away, the relay is killed meanwhile, and is
 * started again.
 */
it.each([[1], [50]])(
  "brings each start and end of a session to the endpoint, though that was away and the relay was killed (batchMost: %i)",
  async (batchMost) => {
    const endpoint: TestEndpoint = await webhook(SECRET, Date.now).start();
    onTestFinished(() => endpoint.stop());
    let port = 0;
    const relayAt = () => ({ address: "127.0.0.1", port });
    const [client, server] = [await UdpPeer.open(relayAt), await UdpPeer.open(relayAt)];
    onTestFinished(() => Promise.all([client.close(), server.close()]).then(() => {}));
    const relay = await RelayChild.create(() => ({
      services: [{ id: "wine" }],
      appServers: [{ id: "shop", uri: server.uri, services: ["wine"] }],
      usage: [
        { preset: "cloudevents", url: `${endpoint.url}/usage`, secretFile: fileWith(SECRET), retryMostS: 1, batchMost },
      ],
      recovery: "end",
    }));
    onTestFinished(() => relay.remove());
    port = relay.port;
    await relay.start();
    const ids: string[] = [];
    const call = async () => {
      const one = await establish(client, server, "wine");
      ids.push(one.inviteAtServer.callId.replace("@tollgate", ""));
    };
    await call();
    await vi.waitFor(() => expect(endpoint.taken).toContain(`${ids[0]}:started`), WAIT);
    await endpoint.stop();
    await call();
    await call();
    expect(await relay.command(["usage", "status"])).toMatch(/cloudevents +cloudevents/);
    await relay.kill(); // both calls are on disk, as they were answered
    await endpoint.start();
    await relay.start();
    await vi.waitFor(() => {
      for (const id of ids) expect(endpoint.taken).toEqual(expect.arrayContaining([`${id}:started`, `${id}:ended`]));
    }, WAIT);
    for (const id of ids)
      expect(endpoint.taken.indexOf(`${id}:started`)).toBeLessThan(endpoint.taken.indexOf(`${id}:ended`));
    expect(endpoint.complaints).toEqual([]);
    expect((await relay.end()).code).toBe(0);
  },
  60_000,
);
