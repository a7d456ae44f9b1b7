import { MongoClient } from "mongodb";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Migrations } from "../../src/store/migrations/index.ts";
import { openMongoStore } from "../../src/store/mongo.ts";
import type { Store } from "../../src/store/types.ts";
import { systemClock } from "../../src/support/clock.ts";
import type { Logger } from "../../src/support/log.ts";
import { deferred, silent } from "../charging/samples.ts";
import { item } from "../contract/store.contract.ts";
import { type Asked, MongoProxy } from "../support/mongo-proxy.ts";
import { hasStandIn, type MongoServer, NO_STAND_IN, startMongo } from "../support/mongo-server.ts";
import { until } from "../support/until.ts";

if (!hasStandIn()) it("the start on MongoDB", ({ skip }) => skip(NO_STAND_IN));
else
  describe("at its start on MongoDB", () => {
    let server: MongoServer;
    let count = 0;
    let name: string;
    const closers: (() => Promise<void>)[] = [];
    beforeAll(async () => {
      server = await startMongo(["wire=13"]);
    }, 90_000);
    afterAll(() => server?.stop());
    afterEach(async () => {
      for (const close of closers.splice(0).reverse()) await close();
    });

    async function proxied() {
      name = `start${++count}`;
      const proxy = await MongoProxy.open(server.url("x"));
      closers.push(() => proxy.close());
      return proxy;
    }
    async function client() {
      name = `start${++count}`;
      const one = await MongoClient.connect(server.url(name));
      closers.push(() => one.close());
      return one.db();
    }
    async function open(url: string, over: Parameters<typeof openMongoStore>[1] = {}, timeoutS = 1): Promise<Store> {
      const store = await openMongoStore({ url, timeoutS }, over);
      closers.push(() => store.close());
      return store;
    }
    const lines: string[] = [];
    const log = { ...silent, warn: (_: unknown, text: string) => void lines.push(text) } as unknown as Logger;

    describe("an index", () => {
      it("may take many times longer than anything else, and what is waited for is said", async () => {
        const proxy = await proxied();
        const built = deferred();
        let asked = 0;
        proxy.meddle = async ({ name, collection }) => {
          if (name !== "createIndexes" || collection !== "entries" || asked === -1) return undefined;
          asked++;
          await built.promise;
          return { ok: 1 };
        };
        /** Ten seconds in a twentieth of one. */
        const hasty = {
          ...systemClock,
          setTimeout: (fn: () => void, ms: number) => systemClock.setTimeout(fn, ms / 200),
        };
        lines.length = 0;
        const opening = openMongoStore({ url: proxy.url(name), timeoutS: 0.5 }, { log, clock: hasty });
        await until(() => lines.includes("MongoDB still makes the index"));
        expect(lines[0]).toBe("MongoDB makes an index that was missing: the start waits for it");
        expect(asked).toBe(2); // once with the time-out of everything, then without
        built.resolve();
        const store = await opening;
        closers.push(() => store.close());
        await store.billing.write({ accounts: [], entries: [item(1)] });
      });

      it("is asked for again where its connection is lost, and the error is told where the server is away", async () => {
        const proxy = await proxied();
        let asked = 0;
        proxy.meddle = ({ name }) => {
          if (name !== "createIndexes" || ++asked > 3) return undefined;
          throw new Error("closes the connection");
        };
        const hasty = {
          ...systemClock,
          setTimeout: (fn: () => void, ms: number) => systemClock.setTimeout(fn, ms / 50),
        };
        await open(proxy.url(name), { clock: hasty });
        expect(asked).toBeGreaterThan(3);
      });

      it("serves under any name, and with or without what it may leave out", async () => {
        const db = await client();
        await db.collection("entries").createIndex({ user: 1, month: 1, at: 1, _id: 1 }, { name: "mine" });
        await db.collection("accounts").createIndex({ live: 1, dueAt: 1 }, { name: "all" });
        await open(server.url(name));
        const names = (await db.collection("entries").indexes()).map((index) => index.name);
        expect([names.includes("mine"), names.includes("bill")]).toEqual([true, false]);
      });

      it.each([
        [
          "entries",
          { user: 1, month: 1, at: 1, _id: 1 },
          { sparse: true },
          /index x of another shape on .*the key of bill, and is sparse: drop it/,
        ],
        ["accounts", { live: 1, dueAt: 1 }, { expireAfterSeconds: 5 }, /the key of live, and is expireAfterSeconds/],
        [
          "entries",
          { user: 1, at: 1 },
          { unique: true },
          /a unique index x on .*entries, which would refuse what has to be kept: drop it/,
        ],
        ["archive", { events: 1 }, { unique: true }, /a unique index x on .*archive/],
        ["creditLedger", { user: 1, at: 1, id: 1 }, { unique: true }, /a unique index x on .*creditLedger/],
      ])("that is in the way is named with what to do: on %s %o %o", async (collection, key, options, text) => {
        const db = await client();
        await db.collection(collection).createIndex(key as never, { ...options, name: "x" });
        await expect(openMongoStore({ url: server.url(name), timeoutS: 1 })).rejects.toThrow(text);
      });

      it("that somebody makes later, unique, lets nothing look as if it were kept", async () => {
        const db = await client();
        const store = await open(server.url(name));
        await store.billing.write({ accounts: [], entries: [item(1)] });
        await db.collection("entries").createIndex({ user: 1, item: 1 }, { unique: true, name: "x" });
        const error = await store.billing.write({ accounts: [], entries: [item(2)] }).catch((reason) => reason);
        expect(String(error)).toMatch(/a unique index x on .*refuses what has to be kept/);
        expect(store.billing.faultOf!(error)).toBe("store");
      });
    });

    describe("the version of the data", () => {
      const meta = async (db: Awaited<ReturnType<typeof client>>) =>
        (await db.collection<{ _id: string; version: number }>("meta").findOne({ _id: "schema" }))?.version;

      it("is kept, and newer data refuse an older program", async () => {
        const db = await client();
        await open(server.url(name));
        expect(await meta(db)).toBe(1);
        await db.collection<{ _id: string }>("meta").updateOne({ _id: "schema" }, { $set: { version: 7 } });
        await expect(openMongoStore({ url: server.url(name), timeoutS: 1 })).rejects.toThrow(
          `the data in the database ${name} are of version 7, written by a newer Tollgate; this one knows version 1`,
        );
      });

      it("of older data is brought to the program's, step by step, also by two at once", async () => {
        const db = await client();
        await db.collection<{ _id: string }>("users").insertOne({ _id: "alice" }); // by a Tollgate that kept none
        const done: number[] = [];
        const step = (to: number) => ({
          to,
          what: "a step",
          run: async (on: typeof db) => {
            done.push(to);
            await on.collection<{ _id: string }>("users").updateOne({ _id: "alice" }, { $set: { [`v${to}`]: true } });
          },
        });
        const migrations: Migrations = { schema: 3, mongo: [step(2), step(3)], embedded: [] };
        await Promise.all([open(server.url(name), { migrations }), open(server.url(name), { migrations })]);
        expect(await db.collection("users").findOne({})).toEqual({ _id: "alice", v2: true, v3: true });
        expect(await meta(db)).toBe(3);
        const before = done.length;
        await open(server.url(name), { migrations });
        expect(done.length).toBe(before);
        const later: Migrations = { schema: 5, mongo: [step(5)], embedded: [] };
        await expect(openMongoStore({ url: server.url(name), timeoutS: 1 }, { migrations: later })).rejects.toThrow(
          "too old for this Tollgate, which needs version 5",
        );
      });

      it("of nothing is the newest", async () => {
        const db = await client();
        await open(server.url(name), { migrations: { schema: 9, mongo: [], embedded: [] } });
        expect(await meta(db)).toBe(9);
      });
    });

    describe("what is wrong is said with what to do:", () => {
      const refusing = (code: number, errmsg: string) => async () => {
        const proxy = await proxied();
        proxy.meddle = ({ name }: Asked) => (name === "ping" ? { ok: 0, code, errmsg } : undefined);
        return openMongoStore({ url: proxy.url(name), timeoutS: 1 });
      };

      it.each<[string, number, string, RegExp]>([
        ["a sign-in is missing", 13, "command ping requires authentication", /wants a sign-in: .*Set store\.user/],
        ["a role is missing", 13, "not authorized on x to execute command", /permission is missing: .*role readWrite/],
        ["it is a secondary", 10107, "not primary", /is not the primary: .*without directConnection/],
        ["a mechanism is missing", 334, "Received authentication for mechanism X", /sign in this way/],
        ["no reads of the majority", 148, "not enabled", /enableMajorityReadConcern/],
        ["too few members", 64, "waiting for replication timed out", /too few members.*rs\.status\(\)/],
        ["its disk is full", 14031, "out of disk space", /has no room on its disk/],
      ])("%s", async (_, code, errmsg, text) => {
        const error = await refusing(code, errmsg)().catch((reason: Error) => reason);
        expect(String(error)).toMatch(text);
        expect(String(error)).not.toMatch(/Is it running/);
      });

      it("it belongs to no replica set, or to another one", async () => {
        const url = `${server.url("x")}?replicaSet=rs9`;
        await expect(openMongoStore({ url, timeoutS: 0.3 })).rejects.toThrow(
          /is no member of the replica set rs9: .*rs\.status\(\)\.set/,
        );
      });

      it("TLS is asked for, and it speaks none", async () => {
        const proxy = await proxied();
        proxy.closeAtOnce = true;
        await expect(openMongoStore({ url: proxy.url("x"), timeoutS: 0.5, tls: {} })).rejects.toThrow(
          /does not speak TLS there: .*Remove store\.tls/,
        );
      });

      it("it closes every connection, as one does that wants TLS", async () => {
        const proxy = await proxied();
        proxy.closeAtOnce = true;
        await expect(openMongoStore({ url: proxy.url("x"), timeoutS: 0.3 })).rejects.toThrow(
          /closes every connection: .*If it wants TLS, set store\.tls/,
        );
      });

      it("its name is unknown", async () => {
        await expect(openMongoStore({ url: "mongodb://nowhere.invalid/x", timeoutS: 1 })).rejects.toThrow(
          /nowhere\.invalid cannot be found: .*DNS/,
        );
      });

      it("it does not answer in time", async () => {
        const proxy = await proxied();
        const never = new Promise<undefined>(() => {});
        proxy.meddle = ({ name }) => (name === "ping" ? never : undefined);
        await expect(openMongoStore({ url: proxy.url("x"), timeoutS: 0.5 })).rejects.toThrow(/does not answer in time/);
      });
    });

    it("needs no right to write, once all is made", async () => {
      const proxy = await proxied();
      const before = await openMongoStore({ url: proxy.url(name), timeoutS: 1 });
      await before.close();
      proxy.asked.length = 0;
      await open(proxy.url(name));
      expect(proxy.named("createIndexes", "insert", "delete")).toEqual([]);
    });
  });
