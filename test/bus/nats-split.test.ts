import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { afterEach, describe, expect, it } from "vitest";
import { openNatsBus } from "../../src/bus/nats.ts";
import { busSchema } from "../../src/bus/settings.ts";
import { type ChargingEvent, sessionStarted } from "../../src/charging/events/events.ts";
import { systemClock } from "../../src/support/clock.ts";
import { facts, JANUARY, silent } from "../charging/samples.ts";
import { startNatsCluster } from "../support/nats-cluster.ts";
import { NO_NATS, natsProgram } from "../support/nats-server.ts";
import { until } from "../support/until.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

const started = (n: number): ChargingEvent => sessionStarted(facts({ id: `s${n}` }), JANUARY + n);

describe("NATS servers of which the leader is cut off (P2, P3)", () => {
  it("are not sure to have what they took, once another leads; after that they are again", {
    timeout: 120_000,
  }, async ({ skip }) => {
    skip(!natsProgram, NO_NATS);
    const cluster = await startNatsCluster(3);
    cleanups.push(() => cluster.destroy());
    const busAt = async (number: number) => {
      const settings = busSchema.parse({ servers: [cluster.servers[number]!.url], replicas: 3 })!;
      const bus = await openNatsBus({ settings, clock: systemClock, log: silent, connectAgainMs: 50 });
      cleanups.push(() => bus.close());
      const publishes = (event: ChargingEvent) =>
        bus.publish([event]).then(
          () => true,
          () => false,
        );
      const isSure = () => bus.isSure!().catch(() => undefined);
      return { publishes, isSure };
    };
    const first = await busAt(0);
    await until(() => first.publishes(started(1)), 30_000);
    const nc = await connect({ servers: cluster.servers[0]!.url });
    cleanups.push(() => nc.close());
    const { cluster: led } = await (await jetstreamManager(nc)).streams.info("TOLLGATE");
    const leader = Number(led!.leader!.slice(1)); // n0, n1, n2
    const [its, another] = [await busAt(leader), await busAt((leader + 1) % 3)];
    for (const bus of [its, another]) await until(async () => (await bus.isSure()) === true, 30_000);
    expect(await another.isSure()).toBe(true);

    cluster.split([leader]);
    expect(await its.publishes(started(2))).toBe(false);
    const said: (boolean | undefined)[] = [];
    await until(async () => said[said.push(await another.isSure()) - 1] === false, 60_000);
    expect(said.slice(0, -1)).not.toContain(false);
    expect(await another.isSure()).toBe(true);
    cluster.heal();
    await until(async () => (await its.isSure()) === false, 60_000);
    await until(() => its.publishes(started(2)), 60_000);
  });
});
