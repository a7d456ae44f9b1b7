import { randomBytes } from "node:crypto";
import { MongoClient } from "mongodb";
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { createInProcessBus } from "../../src/bus/in-process.ts";
import { startBilling } from "../../src/charging/billing/billing.ts";
import type { Entry } from "../../src/charging/billing/store.ts";
import { makeBill } from "../../src/charging/bills/bill.ts";
import { openMongoStore } from "../../src/store/mongo.ts";
import { MongoTotals, type StoredEntry, type StoredTotals } from "../../src/store/mongo-totals.ts";
import type { Store } from "../../src/store/types.ts";
import { systemClock } from "../../src/support/clock.ts";
import { aCharge, deferred, facts, JANUARY, numbers, shuffled, silent, wholeSession } from "../charging/samples.ts";
import { item, time } from "../contract/store.contract.ts";
import { MongoProxy } from "../support/mongo-proxy.ts";
import {
  hasStandIn,
  isOurs,
  type MongoServer,
  mongoKind,
  NO_MONGO,
  NO_STAND_IN,
  NOT_OURS,
  startMongo,
} from "../support/mongo-server.ts";
import { TestClock } from "../support/test-clock.ts";
import { until } from "../support/until.ts";

const kind = mongoKind();
if (kind === undefined) it("the store on MongoDB under faults", ({ skip }) => skip(NO_MONGO));
else
  describe(`the store on MongoDB (${kind}) under faults`, () => {
    let server: MongoServer;
    beforeAll(async () => {
      server = await startMongo();
    }, 90_000);
    afterAll(() => server?.stop());

    const freshUrl = () => server.url(`tollgate_test_${randomBytes(6).toString("hex")}`);
    const open = (url: string, random?: () => number) =>
      openMongoStore({ url, timeoutS: 1 }, random === undefined ? {} : { random });

    async function using(urls: readonly string[], use: (...stores: Store[]) => Promise<void>, random?: () => number) {
      const stores = await Promise.all(urls.map((url) => open(url, random)));
      try {
        await use(...stores);
      } finally {
        for (const store of stores) await store.close();
      }
    }

    it("adds up exactly while two count after every entry, write the same, and are asked in between (decision 9)", async () => {
      const url = freshUrl();
      const always = () => 0;
      await using(
        [url, url],
        async (a, b) => {
          const entries = Array.from({ length: 120 }, (_, n) =>
            item(n, { amount: "0.01", appServer: `shop-${n % 3}` }),
          );
          const random = numbers(11);
          const begun = new Set<Entry>();
          const done = new Set<Entry>();
          const write = async (store: Store) => {
            const own = shuffled(entries, random);
            for (let n = 0; n < own.length; n += 10) {
              const some = own.slice(n, n + 10);
              for (const entry of some) begun.add(entry);
              await store.billing.write({ accounts: [], entries: some });
              for (const entry of some) done.add(entry);
              const least = done.size;
              const [sum] = await store.billing.totals("alice", "2026-01");
              expect(sum!.charges).toBeGreaterThanOrEqual(least);
              expect(sum!.charges).toBeLessThanOrEqual(begun.size);
              expect(sum!.itemAmount).toBe((sum!.charges / 100).toFixed(2));
            }
          };
          await Promise.all([write(a!), write(b!)]);
          const [sum, ...more] = await a!.billing.totals("alice", "2026-01");
          expect([sum!.charges, sum!.itemAmount, more]).toEqual([120, "1.20", []]);
          const shops = await Promise.all([0, 1, 2].map((n) => b!.billing.totalsFor(`shop-${n}`, "2026-01")));
          expect(shops.map(([one]) => one!.charges)).toEqual([40, 40, 40]);
        },
        always,
      );
    }, 30_000);

    it("goes on counting where another died in the middle of it, at whichever step", async () => {
      const url = freshUrl();
      const client = await MongoClient.connect(url);
      const [sums, lines] = [
        client.db().collection<StoredTotals>("userTotals"),
        client.db().collection<StoredEntry>("entries"),
      ];
      await using([url], async (store) => {
        const [first, second, third] = [item(1), item(2), time("s1")];
        await store!.billing.write({ accounts: [], entries: [first, second] });
        const charged = async () => (await store!.billing.totals("alice", "2026-01")).map((sum) => sum.charges);
        expect(await charged()).toEqual([2]);
        // It had put the first into the sum, and not taken its mark off.
        const sum = { ...(await store!.billing.totals("alice", "2026-01"))[0]!, charges: 1, itemAmount: "0.10" };
        await sums.insertOne({ _id: "2026-01 alice", revision: 1, sums: [sum], pending: [first.id] });
        expect(await charged()).toEqual([2]);
        // Or had taken it off, and not said so.
        await lines.updateOne({ _id: first.id }, { $unset: { uncountedUser: "" } });
        expect(await charged()).toEqual([2]);
        await using(
          [url],
          async (other) => {
            await other!.billing.write({ accounts: [], entries: [third] });
          },
          () => 0,
        );
        expect(await sums.findOne({ _id: "2026-01 alice" })).toMatchObject({ pending: [], sums: [{ charges: 2 }] });
        expect(await lines.countDocuments({ uncountedUser: { $exists: true } })).toBe(0);
        expect(await store!.billing.totals("alice", "2026-01")).toMatchObject([{ charges: 2, sessions: 1 }]);
      });
      await client.close();
    });

    it("reads sums again that were counted on between reading them and reading what they lack", async () => {
      const url = freshUrl();
      const client = await MongoClient.connect(url);
      const lines = client.db().collection<StoredEntry>("entries");
      const sums = client.db().collection<StoredTotals>("userTotals");
      await using([url], (store) => store!.billing.write({ accounts: [], entries: [item(1), item(2)] }).then(() => {}));
      const other = new MongoTotals(lines, sums, "uncountedUser", Math.random);
      let counted = false;
      /** As if another worker counted everything just after this one had read what bears the mark. */
      const find = (...args: Parameters<typeof lines.find>) => ({
        toArray: async () => {
          const found = await lines.find(...args).toArray();
          if (!counted) await other.fold("2026-01 alice");
          counted = true;
          return found;
        },
      });
      const totals = new MongoTotals({ find } as never, sums, "uncountedUser", Math.random);
      expect(await totals.read("2026-01 alice")).toMatchObject([{ charges: 2, itemAmount: "0.20" }]);
      await client.close();
    });

    it("sees a change of the directory whose writer died before it could count it, a minute later", async () => {
      const url = freshUrl();
      const client = await MongoClient.connect(url);
      const clock = new TestClock(JANUARY);
      const store = await openMongoStore({ url, timeoutS: 1 }, { clock });
      const before = await store.directoryVersion();
      const changing = { $push: { changing: { id: "x", at: JANUARY } } };
      await client
        .db()
        .collection<{ _id: string }>("meta")
        .updateOne({ _id: "directory" }, changing as never);
      expect(await store.directoryVersion()).toBe(before);
      clock.advance(60_000);
      expect(await store.directoryVersion()).toBe(before + 1);
      expect(await store.directoryVersion()).toBe(before + 1);
      await store.close();
      await client.close();
    });

    it("sees a change of the directory that is slower than whoever looks on has patience, whatever their clocks say", async ({
      skip,
    }) => {
      skip(!hasStandIn(), NO_STAND_IN);
      const behind = await startMongo(["wire=13"]);
      const proxy = await MongoProxy.open(behind.url("x"));
      const clocks = { writer: new TestClock(JANUARY), reader: new TestClock(JANUARY + 3_600_000) };
      const writer = await openMongoStore({ url: proxy.url("x"), timeoutS: 5 }, { clock: clocks.writer });
      const reader = await openMongoStore({ url: behind.url("x"), timeoutS: 5 }, { clock: clocks.reader });
      const under = deferred();
      const go = deferred();
      proxy.meddle = async ({ name, collection }) => {
        if (name !== "update" || collection !== "services") return undefined;
        under.resolve();
        await go.promise;
        return undefined;
      };
      const before = await reader.directoryVersion();
      const change = writer.services.put({ id: "wine" });
      await under.promise;
      expect(await reader.directoryVersion()).toBe(before); // an hour ahead, and it is not over
      clocks.reader.advance(60_000);
      const meanwhile = await reader.directoryVersion();
      expect(await reader.services.list()).toEqual([]); // what it has read under this version
      go.resolve();
      await change;
      expect(await reader.directoryVersion()).toBeGreaterThan(meanwhile);
      expect(await reader.services.list()).toEqual([{ id: "wine" }]);
      for (const one of [writer, reader, proxy]) await one.close();
      await behind.stop();
    });

    it("bills the same by two workers that get the same events in different orders (decision 9)", async () => {
      const url = freshUrl();
      const sessions = Array.from({ length: 60 }, (_, n) => facts({ id: `s${n}`, user: "alice" }));
      const events = sessions.flatMap((session, n) =>
        wholeSession(session, 61_000 + n, [aCharge(), aCharge({ id: "2" })]),
      );
      await using([url, url], async (a, b) => {
        const work = async (store: Store, seed: number) => {
          const bus = createInProcessBus({ clock: systemClock, log: silent });
          const worker = await startBilling({ bus, store, clock: systemClock, log: silent });
          const mixed = shuffled([...events, ...events.slice(0, 50)], numbers(seed));
          for (let n = 0; n < mixed.length; n += 40) await bus.publish(mixed.slice(n, n + 40));
          await worker.stop();
          await bus.close();
        };
        await Promise.all([work(a!, 1), work(b!, 2)]);
        const bill = await makeBill(a!, "alice", "2026-01");
        expect(bill.services[0]!.sums[0]).toMatchObject({ sessions: 60, charges: 120 });
        // 0.25 and two minutes of 0.10 each, and two times 25.
        expect(bill.totals).toEqual([{ currency: "EUR", amount: "3027.00", due: "3027.00" }]);
        expect(await a!.billing.findAccounts({ state: "running", limit: 10 })).toEqual([]);
      });
    }, 30_000);

    describe("that is killed", () => {
      beforeEach(({ skip }) => skip(!isOurs(), NOT_OURS));

      // OPEN: once it did not come to its end, on a busy machine, and nobody knows why. It says where it stands then.
      // Once more, and red where it happens twice.
      it("has everything that it acknowledged, and answers again without a new connection by hand", {
        retry: 1,
        timeout: 90_000,
      }, async () => {
        const url = freshUrl();
        await using([url], async (store) => {
          const acknowledged: string[] = [];
          let stage = "before the kill";
          const slow = setTimeout(
            () => console.warn(`${stage}: ${acknowledged.length} acknowledged, ${refused} refused`),
            60_000,
          );
          onTestFinished(() => clearTimeout(slow));
          let refused = 0;
          let stop = false;
          const write = async (writer: number) => {
            for (let n = 0; !stop; n++) {
              const session = `w${writer}-${n}`;
              const entries = [0, 1, 2].map((i) => item(i, { id: `${session}:charge:shop-1:${i}`, session }));
              await store!.billing.write({ accounts: [], entries }).then(
                () => acknowledged.push(session),
                () => refused++,
              );
            }
          };
          const writers = [0, 1, 2, 3].map(write);
          await until(() => acknowledged.length > 50);
          stage = "while it is away";
          await server.kill();
          await until(() => refused >= 4); // bounded by store.timeoutS
          stage = "while it starts again";
          await server.restart();
          stage = "after it has started again";
          const sofar = acknowledged.length;
          await until(() => acknowledged.length > sofar + 20);
          stop = true;
          stage = "waiting for the last writes";
          await Promise.all(writers);
          const ids = acknowledged.flatMap((session) => [0, 1, 2].map((i) => `${session}:charge:shop-1:${i}`));
          stage = "reading";
          const found = await store!.billing.findEntries(ids);
          expect(found.filter((entry) => entry === undefined)).toHaveLength(0);
          // A write that was given up, since the server was slow, may come to its end only now: what is compared is of
          // one moment.
          const count = async () =>
            (await store!.billing.entries("alice", "2026-01", { limit: 1_000_000 })).entries.length;
          for (let before = await count(); ; ) {
            const totals = await store!.billing.totals("alice", "2026-01");
            const after = await count();
            if (after === before) {
              expect(totals).toMatchObject([{ charges: after }]);
              break;
            }
            before = after;
          }
        });
      });

      it("in the middle of billing: every charge is on the bill, once", async () => {
        const url = freshUrl();
        await using([url], async (store) => {
          const bus = createInProcessBus({ clock: systemClock, log: silent });
          const worker = await startBilling({ bus, store: store!, clock: systemClock, log: silent });
          let published = 0;
          const publishing = Array.from({ length: 40 }, async (_, n) => {
            const sessions = Array.from({ length: 5 }, (_, i) => facts({ id: `k${n}-${i}` }));
            // Two at a time, so that sessions spread over several batches.
            for (const session of sessions) {
              for (const event of wholeSession(session, 60_000, [aCharge(), aCharge({ id: "2" })])) {
                await bus.publish([event]);
                published++;
              }
            }
          });
          await until(() => published > 100);
          await server.kill();
          await server.restart();
          await Promise.all(publishing);
          await worker.stop();
          await bus.close();
          const bill = await makeBill(store!, "alice", "2026-01");
          expect(bill.services[0]!.sums[0]).toMatchObject({ sessions: 200, charges: 400 });
          expect(bill.totals[0]!.amount).toBe((200 * 50.35).toFixed(2));
        });
      }, 240_000);
    });
  });
