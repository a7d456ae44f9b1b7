import { afterEach, describe, expect, it, vi } from "vitest";
import { createInProcessBus } from "../../src/bus/in-process.ts";
import type { Bus } from "../../src/bus/types.ts";
import type { ChargingEvent } from "../../src/charging/events/events.ts";
import { LmdbDisk } from "../../src/support/lmdb-disk.ts";
import { UsageOutbox } from "../../src/usage/outbox.ts";
import { startUsage, type Usage } from "../../src/usage/usage.ts";
import { freshFolder } from "../charging/folders.ts";
import { facts, JANUARY, silent, wholeSession } from "../charging/samples.ts";
import { TestClock } from "../support/test-clock.ts";
import { apiKey, lago, openMeter, stripe, type TestEndpoint, webhook } from "./endpoints.ts";
import { fileWith, MemoryLetters, sinkOf, turnUntil } from "./lab.ts";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const sessions = (count: number, name = "s"): ChargingEvent[] =>
  Array.from({ length: count }, (_, n) => wholeSession(facts({ id: `${name}${n}` }), 60_000)).flat();

/** A process with these sinks on a data folder; billing takes everything at once. */
class Process {
  readonly clock = new TestClock(JANUARY + 3_600_000);
  readonly letters = new MemoryLetters();
  readonly bus: Bus = createInProcessBus({ clock: this.clock, log: silent, expects: ["billing", "usage"] });
  readonly data: string;
  usage!: Usage;

  constructor(data: string) {
    this.data = data;
  }

  async start(sinks: readonly Record<string, unknown>[]): Promise<this> {
    const { data, bus, letters, clock } = this;
    const options = { sinks: sinks.map(sinkOf), data, bus, letters, clock, log: silent, consumer: "usage", env: {} };
    this.usage = await startUsage(options);
    closers.push(() => this.stop());
    await bus.consume("billing", async () => {});
    return this;
  }

  private stopping: Promise<void> | undefined;

  async stop(): Promise<void> {
    this.stopping ??= this.usage.stop().then(() => this.bus.close());
    await this.stopping;
  }
}

async function endpoint(made: TestEndpoint): Promise<TestEndpoint> {
  await made.start();
  closers.push(() => made.stop());
  return made;
}

const SECRET = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
/** How many events each request had. */
const inBatches = ({ given }: TestEndpoint) => given.map(({ body }) => (JSON.parse(body) as unknown[]).length);
const until = (isSo: () => boolean) => vi.waitFor(() => expect(isSo()).toBe(true), { timeout: 5_000, interval: 2 });
const toMeter = ({ url }: TestEndpoint) => ({ preset: "openmeter", url, keyFile: fileWith(apiKey) });

describe("usage from one relay without NATS (P4)", () => {
  it("does not hold up the journal while an endpoint is away, and brings all when it is back", async () => {
    const meter = await endpoint(openMeter());
    await meter.stop();
    const one = await new Process(freshFolder()).start([toMeter(meter)]);
    await one.bus.publish(sessions(300)); // resolves: the journal may forget them
    expect(one.usage.gauges()).toMatchObject({ usageWaiting: 300 });
    await turnUntil(one.clock, () => one.usage.gauges().usageSinksFailing === 1);
    const [status] = await one.usage.status();
    expect(status).toMatchObject({ waiting: 300, failing: "ECONNREFUSED", delivered: 0 });
    expect(status!.oldestS).toBeGreaterThan(3_500);
    one.clock.advance(6 * 3_600_000);
    await meter.start();
    await turnUntil(one.clock, () => one.usage.counters().usageDelivered === 300);
    expect(new Set(meter.taken).size).toBe(300);
    expect(one.usage.gauges()).toMatchObject({ usageWaiting: 0, usageSinksFailing: 0, usageOldestSeconds: 0 });
  });

  it("goes on after a stop where it was: nothing is lost, and nothing sent twice", async () => {
    const meter = await endpoint(openMeter());
    const data = freshFolder();
    const before = await new Process(data).start([toMeter(meter)]);
    await before.bus.publish(sessions(400));
    await turnUntil(before.clock, () => meter.taken.length >= 40);
    await before.stop();
    expect(meter.taken.length).toBeLessThan(400);
    const after = await new Process(data).start([toMeter(meter)]);
    await turnUntil(after.clock, () => after.usage.gauges().usageWaiting === 0);
    expect(meter.taken).toHaveLength(400);
    expect(meter.again).toEqual([]);
  });

  it("sends a batch when it is full, or a second after its first event", async () => {
    const meter = await endpoint(openMeter());
    const one = await new Process(freshFolder()).start([{ ...toMeter(meter), batchMost: 10 }]);
    await one.bus.publish(sessions(10)); // full, no time passes
    await meter.has(1);
    expect(inBatches(meter)).toEqual([10]);
    await until(() => one.usage.gauges().usageWaiting === 0);
    await one.bus.publish(sessions(3, "a"));
    await until(() => one.clock.armed > 0);
    one.clock.advance(600);
    await one.bus.publish(sessions(2, "b"));
    await until(() => one.clock.armed > 0);
    one.clock.advance(399);
    await one.bus.publish(sessions(1, "c"));
    await until(() => one.clock.armed > 0);
    expect(inBatches(meter)).toEqual([10]);
    one.clock.advance(1);
    await meter.has(2);
    expect(inBatches(meter)).toEqual([10, 6]);
  });

  it("sends the same batch under the same id after a stop, whatever has come meanwhile", async () => {
    const receiver = await endpoint(webhook(SECRET, () => JANUARY + 3_600_000));
    const settings = { preset: "cloudevents", url: receiver.url, secretFile: fileWith(SECRET), batchMost: 10 };
    const data = freshFolder();
    const before = await new Process(data).start([settings]);
    receiver.always = () => ({ status: 503 });
    await before.bus.publish(sessions(2));
    await turnUntil(before.clock, () => receiver.given.length === 2);
    await before.bus.publish(wholeSession(facts({ id: "later" }), 60_000));
    await before.stop();
    receiver.always = undefined;
    const after = await new Process(data).start([settings]);
    await turnUntil(after.clock, () => after.usage.gauges().usageWaiting === 0);
    expect(inBatches(receiver)).toEqual([4, 4, 4, 2]);
    const messages = receiver.given.map(({ headers }) => headers["webhook-id"]);
    expect(new Set(messages.slice(0, 3)).size).toBe(1);
    expect(messages[3]).not.toBe(messages[2]);
    expect(receiver.taken).toHaveLength(6);
  });

  it("forgets nothing of a batch before all of it is done, so that it is halved again in the same way", async () => {
    const receiver = await endpoint(webhook(SECRET, () => JANUARY + 3_600_000));
    const settings = { preset: "cloudevents", url: receiver.url, secretFile: fileWith(SECRET), batchMost: 10 };
    const data = freshFolder();
    const before = await new Process(data).start([settings]);
    const broken = "s3:ended"; // in the second half
    receiver.always = ({ body }) => {
      const ids = (JSON.parse(body) as { id: string }[]).map(({ id }) => id);
      if (!ids.includes(broken)) return undefined;
      return ids.length === 4 && receiver.given.length < 4 ? { status: 503 } : { status: 400 };
    };
    await before.bus.publish(sessions(4));
    await turnUntil(before.clock, () => receiver.given.length >= 3);
    await before.stop();
    expect(receiver.taken).toHaveLength(4);
    const after = await new Process(data).start([settings]);
    await turnUntil(after.clock, () => after.usage.gauges().usageWaiting === 0);
    expect(receiver.taken).toHaveLength(7);
    expect(receiver.again).toEqual([]);
    expect([...after.letters.all.keys()]).toEqual([`cloudevents:${broken}`]);
  });

  it.each([
    ["openmeter", openMeter],
    ["lago", lago],
  ])("brings %s all events of a batch but the one at fault, and counts none twice", async (preset, made) => {
    const meter = await endpoint(made());
    const customersFile = fileWith("alice alice\nbob no-bob\n");
    const one = await new Process(freshFolder()).start([{ ...toMeter(meter), preset, customersFile }]);
    const broken = wholeSession(facts({ id: "broken", user: "bob" }), 60_000);
    await one.bus.publish([...sessions(20, "a"), ...broken, ...sessions(20, "b"), ...sessions(5, "a")]);
    await turnUntil(one.clock, () => one.usage.gauges().usageWaiting === 0);
    expect(new Set(meter.taken).size).toBe(40);
    expect(meter.taken).toHaveLength(40);
    expect([...one.letters.all.keys()]).toEqual([`${preset}:broken:ended`]);
    expect(meter.given.length).toBeLessThan(16);
  });

  it("lets one endpoint go on while another is away", async () => {
    const [meter, pay] = [await endpoint(openMeter()), await endpoint(stripe(() => JANUARY))];
    await pay.stop();
    const customersFile = fileWith("alice cus_1\n");
    const sinks = [toMeter(meter), { preset: "stripe", url: pay.url, keyFile: fileWith(apiKey), customersFile }];
    const one = await new Process(freshFolder()).start(sinks);
    await one.bus.publish(sessions(50));
    await turnUntil(one.clock, () => meter.taken.length === 50);
    expect((await one.usage.status()).map(({ waiting }) => waiting)).toEqual([expect.any(Number), 50]);
  });

  it("sends Stripe one event of a customer at a time", async () => {
    let now = 0;
    let most = 0;
    const pay = await endpoint(stripe(() => JANUARY + 3_600_000));
    const customersFile = fileWith("alice cus_1\n");
    const one = new Process(freshFolder());
    const options = { data: one.data, bus: one.bus, letters: one.letters, clock: one.clock, log: silent };
    const sink = sinkOf({ preset: "stripe", url: pay.url, keyFile: fileWith(apiKey), customersFile });
    const usage = await startUsage({
      ...options,
      sinks: [sink],
      consumer: "usage",
      env: {},
      send: async () => {
        most = Math.max(most, ++now);
        await new Promise(setImmediate);
        now--;
        return { status: 200, text: "" };
      },
    });
    await one.bus.consume("billing", async () => {});
    await one.bus.publish(sessions(30));
    await turnUntil(one.clock, () => usage.counters().usageDelivered === 30);
    expect(most).toBe(1);
    await usage.stop();
    await one.bus.close();
  });

  it("counts and says what it does not keep, since too much waits", async () => {
    const meter = await endpoint(openMeter());
    await meter.stop();
    const one = await new Process(freshFolder()).start([{ ...toMeter(meter), waitingMost: 1_000 }]);
    await one.bus.publish(sessions(1_100));
    await one.bus.publish(sessions(5));
    expect(one.usage.gauges()).toMatchObject({ usageWaiting: 1_000 });
    expect(one.usage.counters()).toMatchObject({ usageLost: 105 });
  });

  it("refuses to start with files that cannot be used, and says which; a secret is in no message", async () => {
    const one = new Process(freshFolder());
    await expect(one.start([{ preset: "lago", keyFile: "/nowhere" }])).rejects.toThrow("usage: lago: keyFile: ENOENT");
    await expect(one.start([{ preset: "stripe" }])).rejects.toThrow("TOLLGATE_USAGE_STRIPE_KEY");
    const wrong = { preset: "cloudevents", url: "https://x.example", secretFile: fileWith("hunter2") };
    const failure = await one.start([wrong]).catch((error: Error) => error.message);
    expect(failure).toContain("secretFile");
    expect(failure).not.toContain("hunter2");
    await one.bus.close();
  });
});

describe("the outbox of usage", () => {
  it("keeps events in order, over a new opening", async () => {
    const path = freshFolder();
    const events = sessions(5);
    const first = UsageOutbox.open(path);
    await first.append(new Map([["a", events.slice(0, 6)]]));
    await first.remove("a", [1]);
    await first.close();
    const second = UsageOutbox.open(path);
    await second.append(
      new Map([
        ["a", events.slice(6)],
        ["b", events.slice(0, 1)],
      ]),
    );
    expect(second.after("a", 0, 100).map(({ event }) => event.id)).toEqual(events.slice(1).map(({ id }) => id));
    expect([second.count("a"), second.count("b"), second.sinks()]).toEqual([9, 1, ["a", "b"]]);
    await second.close();
  });

  it("does not take what the disk has no room for: the bus hands it out again", async () => {
    const path = freshFolder();
    const outbox = UsageOutbox.open(path, new LmdbDisk(path, () => 1_000));
    await expect(outbox.append(new Map([["a", sessions(1)]]))).rejects.toThrow("MiB");
    expect(outbox.count("a")).toBe(0);
    await outbox.close();
  });
});
