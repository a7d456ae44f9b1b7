import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { afterEach, describe, expect, it, type TestContext, vi } from "vitest";
import { openNatsBus } from "../../src/bus/nats.ts";
import { busSchema } from "../../src/bus/settings.ts";
import type { Bus } from "../../src/bus/types.ts";
import type { ChargingEvent } from "../../src/charging/events/events.ts";
import { systemClock } from "../../src/support/clock.ts";
import { startUsage, type Usage } from "../../src/usage/usage.ts";
import { freshFolder } from "../charging/folders.ts";
import { facts, silent, wholeSession } from "../charging/samples.ts";
import { type NatsServer, NO_NATS, natsProgram, startNats } from "../support/nats-server.ts";
import { openMeter, type TestEndpoint, webhook } from "./endpoints.ts";
import { fileWith, MemoryLetters, sinkOf } from "./lab.ts";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const SECRET = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
/** So short that a node that is gone is replaced within seconds. */
const LEASE_MS = 2_000;
const sessions = (from: number, to: number): ChargingEvent[] =>
  Array.from({ length: to - from }, (_, n) =>
    wholeSession(facts({ id: `s${from + n}` }), 60_000, [], Date.now()),
  ).flat();

interface Node {
  readonly bus: Bus;
  readonly usage: Usage;
  stop(): Promise<void>;
}

async function node(nats: NatsServer, meter: TestEndpoint, settings: object = {}): Promise<Node> {
  const bus = await openNatsBus({
    settings: busSchema.parse(nats.url)!,
    clock: systemClock,
    log: silent,
    env: {},
    connectAgainMs: 50,
    leaseMs: LEASE_MS,
  });
  const sink = sinkOf({ preset: "cloudevents", url: meter.url, ...settings });
  const options = { sinks: [sink], data: freshFolder(), bus, letters: new MemoryLetters(), clock: systemClock };
  const usage = await startUsage({ ...options, log: silent, consumer: "usage", env: {}, random: () => 0 });
  let stopping: Promise<void> | undefined;
  const stop = () => {
    stopping ??= usage.stop().then(() => bus.close());
    return stopping;
  };
  closers.push(stop);
  return { bus, usage, stop };
}

async function lab(context: TestContext): Promise<{ nats: NatsServer; meter: TestEndpoint }> {
  if (!natsProgram) context.skip(NO_NATS);
  const nats = await startNats();
  closers.push(() => nats.destroy());
  const meter = await openMeter().start();
  meter.always = ({ body }) => {
    meter.take((JSON.parse(body) as { id: string }).id);
    return { status: 204 };
  };
  closers.push(() => meter.stop());
  return { nats, meter };
}

const WAIT = { timeout: 20_000, interval: 20 };

const LONG = 30_000;

describe("usage from nodes that share NATS (P3)", () => {
  it(
    "is sent once, in order for each session, however many nodes there are",
    async (context) => {
      const { nats, meter } = await lab(context);
      const nodes = [await node(nats, meter), await node(nats, meter), await node(nats, meter)];
      for (let n = 0; n < 60; n += 20) await nodes[n / 20]!.bus.publish(sessions(n, n + 20));
      await vi.waitFor(() => expect(meter.taken).toHaveLength(120), WAIT);
      expect(meter.again).toEqual([]);
      for (let n = 0; n < 60; n++)
        expect(meter.taken.indexOf(`s${n}:started`)).toBeLessThan(meter.taken.indexOf(`s${n}:ended`));
      expect(nodes.filter(({ usage }) => usage.counters().usageDelivered! > 0)).toHaveLength(1);
    },
    LONG,
  );

  it(
    "goes on at another node when the one that sent it ends while the endpoint is away",
    async (context) => {
      const { nats, meter } = await lab(context);
      let isAway = false;
      const { always } = meter;
      meter.always = (given) => (isAway ? { status: 503 } : always!(given));
      const first = await node(nats, meter, { concurrency: 1 });
      await first.bus.publish(sessions(0, 5));
      await vi.waitFor(() => expect(meter.taken).toHaveLength(10), WAIT);
      isAway = true;
      await first.bus.publish(sessions(5, 8));
      const second = await node(nats, meter, { concurrency: 1 });
      await vi.waitFor(() => expect(first.usage.counters().usageFailures).toBeGreaterThan(0), WAIT);
      await vi.waitFor(async () => expect((await second.usage.status())[0]!.waiting).toBe(6), WAIT);
      isAway = false;
      await first.stop();
      await second.bus.publish(sessions(8, 10));
      await vi.waitFor(() => expect(new Set(meter.taken).size).toBe(20), WAIT);
      for (let n = 0; n < 10; n++)
        expect(meter.taken.indexOf(`s${n}:started`)).toBeLessThan(meter.taken.indexOf(`s${n}:ended`));
      expect(second.usage.counters().usageDelivered).toBeGreaterThan(0);
      await vi.waitFor(async () => expect((await second.usage.status())[0]!.waiting).toBe(0), WAIT);
    },
    LONG,
  );

  it(
    "sends the same batch under the same id from another node, and what came meanwhile in another one",
    async (context) => {
      const { nats } = await lab(context);
      const receiver = await webhook(SECRET, Date.now).start();
      closers.push(() => receiver.stop());
      receiver.always = () => ({ status: 503 });
      const settings = { secretFile: fileWith(SECRET), batchMost: 100 };
      const first = await node(nats, receiver, settings);
      await first.bus.publish(sessions(0, 5));
      await vi.waitFor(() => expect(receiver.given.length).toBeGreaterThan(1), WAIT);
      await first.bus.publish(sessions(5, 8));
      await first.stop();
      receiver.always = undefined;
      const failed = receiver.given.length;
      await node(nats, receiver, settings);
      await vi.waitFor(() => expect(receiver.taken).toHaveLength(16), WAIT);
      const messages = receiver.given.map(({ headers }) => headers["webhook-id"]);
      expect(new Set(messages.slice(0, failed + 1)).size).toBe(1);
      expect(receiver.given.slice(failed).map(({ body }) => (JSON.parse(body) as unknown[]).length)).toEqual([10, 6]);
      expect(receiver.complaints).toHaveLength(failed);
    },
    LONG,
  );

  it(
    "begins with what a node that died had taken: later events of those sessions wait for it",
    async (context) => {
      const { nats, meter } = await lab(context);
      const before = await node(nats, meter);
      await before.stop();
      // A node that has the lease, takes the first of two events, and dies.
      const nc = await connect({ servers: `127.0.0.1:${nats.port}` });
      const js = jetstream(nc);
      const lease = () => js.publish("tollgate.leases.usage-cloudevents", "", { expect: { lastSubjectSequence: 0 } });
      await vi.waitFor(lease, WAIT);
      const publisher = await openNatsBus({
        settings: busSchema.parse(nats.url)!,
        clock: systemClock,
        log: silent,
        env: {},
      });
      closers.push(() => publisher.close());
      const [started, ended] = sessions(0, 1);
      await publisher.publish([started!]);
      const consumer = await js.consumers.get("TOLLGATE", "usage-cloudevents");
      expect(await consumer.next({ expires: 5_000 })).toBeTruthy();
      await nc.close();
      await publisher.publish([ended!]);
      await node(nats, meter);
      await vi.waitFor(() => expect(meter.taken).toHaveLength(2), WAIT);
      expect(meter.taken).toEqual(["s0:started", "s0:ended"]);
    },
    LONG,
  );

  it("begins with what happens from now on, and misses nothing while no node runs", async (context) => {
    const { nats, meter } = await lab(context);
    const bus = await openNatsBus({ settings: busSchema.parse(nats.url)!, clock: systemClock, log: silent, env: {} });
    closers.push(() => bus.close());
    await bus.publish(sessions(0, 2)); // long before anybody wanted usage
    const first = await node(nats, meter);
    await first.stop();
    await bus.publish(sessions(2, 4));
    await node(nats, meter);
    await vi.waitFor(() => expect(meter.taken).toHaveLength(4), WAIT);
    expect(meter.taken.every((id) => /^s[23]:/.test(id))).toBe(true);
  });

  it("does not trip over what is no event", async (context) => {
    const { nats, meter } = await lab(context);
    const one = await node(nats, meter);
    const nc = await connect({ servers: `127.0.0.1:${nats.port}` });
    closers.push(() => nc.close());
    const wrong = { specversion: "1.0", id: "x", source: "x", type: "tollgate.charge.made" };
    nc.publish("tollgate.events.charge.made", "no JSON");
    nc.publish("tollgate.events.charge.made", JSON.stringify({ ...wrong, data: { id: "x", type: "charge.made" } }));
    await nc.flush();
    await one.bus.publish(sessions(0, 1));
    await vi.waitFor(() => expect(meter.taken).toEqual(["s0:started", "s0:ended"]), WAIT);
    const jsm = await jetstreamManager(nc);
    await vi.waitFor(async () => {
      const { num_pending, num_ack_pending } = await jsm.consumers.info("TOLLGATE", "usage-cloudevents");
      expect(num_pending + num_ack_pending).toBe(0);
    }, WAIT);
  });
});
