import { Hono } from "hono";
import { afterEach, describe, expect, it } from "vitest";
import type { Env } from "../../src/console/http.ts";
import { addProbeRoutes } from "../../src/console/probes.ts";
import type { Relay } from "../../src/node/relay.ts";
import { openPortal, type Portal } from "../e2e/portal.ts";

let portal: Portal | undefined;
afterEach(async () => {
  await portal?.close();
  portal = undefined;
});

async function asked(path: string, relay: Pick<Relay, "metrics"> | undefined): Promise<[number, string]> {
  const app = new Hono<Env>();
  addProbeRoutes(app, () => relay);
  const answer = await app.request(path);
  return [answer.status, await answer.text()];
}

const having = (gauges: Record<string, number>) => ({ metrics: () => ({ counters: {}, gauges }) });

describe("probes of a node (P3)", () => {
  it("it is alive from the moment that it answers", async () => {
    expect(await asked("/livez", undefined)).toEqual([200, "alive\n"]);
    expect(await asked("/livez", having({ draining: 1, journalFull: 1 }))).toEqual([200, "alive\n"]);
  });

  it("it is ready when it takes new sessions, and else says why not", async () => {
    expect(await asked("/readyz", undefined)).toEqual([503, "starting\n"]);
    expect(await asked("/readyz", having({ draining: 0, journalFull: 0 }))).toEqual([200, "ready\n"]);
    expect(await asked("/readyz", having({ draining: 1, journalFull: 0 }))).toEqual([503, "draining\n"]);
    const full = having({ draining: 0, journalFull: 1 });
    expect(await asked("/readyz", full)).toEqual([503, "no room on disk for the journal\n"]);
  });

  it("its being cut off from the others, and a bus and a store that are away, change nothing of that", async () => {
    const alone = having({ draining: 0, journalFull: 0, clusterCutOff: 1, clusterNodesUp: 0, journalPendingEvents: 9 });
    expect(await asked("/readyz", alone)).toEqual([200, "ready\n"]);
  });

  it("it goes by what a relay that runs says of itself", async () => {
    portal = await openPortal({ config: { services: [], appServers: [] } });
    expect(await asked("/readyz", portal.relay)).toEqual([200, "ready\n"]);
    await portal.close();
    expect(await asked("/readyz", portal.relay)).toEqual([503, "draining\n"]);
    portal = undefined;
  });
});
