import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Bus } from "../../src/bus/types.ts";
import { type ChargingEvent, sessionStarted } from "../../src/charging/events/events.ts";
import { deferred, facts, JANUARY } from "../charging/samples.ts";
import type { BusAdapter } from "./adapters.ts";

const event = (id: number | string): ChargingEvent => sessionStarted(facts({ id: `s${id}` }), JANUARY);
const events = (from: number, to: number): ChargingEvent[] =>
  Array.from({ length: to - from }, (_, i) => event(from + i));

/** Collects what a consumer is given, and lets a test wait until it has all of it. */
class Receiver {
  readonly ids: string[] = [];
  private waits: { count: number; resolve: () => void }[] = [];

  readonly handle = async (received: readonly ChargingEvent[]): Promise<void> => {
    for (const { session } of received) this.ids.push(session.id);
    this.waits = this.waits.filter((wait) => new Set(this.ids).size < wait.count || wait.resolve());
  };

  /** Resolves when `count` different events are there. */
  has(count: number): Promise<void> {
    const { promise, resolve } = deferred();
    this.waits.push({ count, resolve });
    void this.handle([]);
    return promise;
  }
}

/** What every adapter of the bus port does (decision 7). */
export function busContract(adapter: BusAdapter): void {
  describe(`the bus port on ${adapter.name}`, () => {
    let bus: Bus;
    let destroy: () => Promise<void>;
    beforeEach(async () => {
      ({ bus, destroy } = await adapter.create());
    });
    afterEach(async () => {
      await bus.close();
      await destroy();
    });

    it("hands a consumer every event, whole", async () => {
      const seen: ChargingEvent[] = [];
      const receiver = new Receiver();
      await bus.consume("billing", async (received) => {
        seen.push(...received);
        await receiver.handle(received);
      });
      await Promise.all([bus.publish(events(0, 50)), bus.publish(events(50, 60))]);
      await receiver.has(60);
      expect(new Map(seen.map((e) => [e.id, e]))).toEqual(new Map(events(0, 60).map((e) => [e.id, e])));
    });

    it("resolves an empty publication", async () => {
      await bus.publish([]);
    });

    it("keeps events for a consumer that comes later", async () => {
      const published = bus.publish(events(0, 5));
      const receiver = new Receiver();
      await bus.consume("billing", receiver.handle);
      await published;
      await receiver.has(5);
    });

    it("hands out again what a consumer could not handle, and only to that one", async () => {
      let attempts = 0;
      const receiver = new Receiver();
      const other = new Receiver();
      await bus.consume("billing", async (received) => {
        if (++attempts <= 2) throw new Error("the store is away");
        await receiver.handle(received);
      });
      await bus.consume("listener", other.handle);
      await bus.publish(events(0, 1)); // how several are put into batches is the adapter's affair
      await Promise.all([receiver.has(1), other.has(1)]);
      expect(attempts).toBe(3);
      expect(other.ids).toHaveLength(1);
    });

    it("hands events to each name, and shares them among consumers of one name", async () => {
      const [shared, other] = [new Receiver(), new Receiver()];
      for (let worker = 0; worker < 2; worker++) await bus.consume("billing", shared.handle);
      await bus.consume("listener", other.handle);
      await Promise.all(Array.from({ length: 20 }, (_, i) => bus.publish([event(i)])));
      await Promise.all([shared.has(20), other.has(20)]);
      const ids = events(0, 20).map((e) => e.session.id);
      expect([...shared.ids].sort()).toEqual(ids.sort()); // each once, whoever got it
    });

    it("gives a consumer one batch at a time", async () => {
      let busy = 0;
      let most = 0;
      const receiver = new Receiver();
      await bus.consume("billing", async (received) => {
        most = Math.max(most, ++busy);
        await new Promise(setImmediate);
        busy--;
        await receiver.handle(received);
      });
      await Promise.all(Array.from({ length: 30 }, (_, i) => bus.publish([event(i)])));
      await receiver.has(30);
      expect(most).toBe(1);
    });

    it("stops a consumer when its batch is finished, and keeps what comes then for the next", async () => {
      const inside = deferred();
      const release = deferred();
      const handled: string[] = [];
      const stop = await bus.consume("billing", async (received) => {
        inside.resolve();
        await release.promise;
        handled.push(...received.map((e) => e.session.id));
      });
      const first = bus.publish([event("first")]);
      await inside.promise;
      let stopped = false;
      const stopping = stop().then(() => {
        stopped = true;
      });
      await new Promise(setImmediate);
      expect(stopped).toBe(false);
      release.resolve();
      await Promise.all([stopping, first]);
      expect(handled).toEqual(["sfirst"]);

      const second = bus.publish([event("second")]);
      const receiver = new Receiver();
      await bus.consume("billing", receiver.handle);
      await second;
      await receiver.has(1);
      expect(receiver.ids).toEqual(["ssecond"]);
      expect(handled).toHaveLength(1);
    });

    it("takes nothing more when it is closed", async () => {
      await bus.close();
      await expect(bus.publish([event(1)])).rejects.toThrow();
    });
  });
}
