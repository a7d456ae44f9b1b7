import { randomBytes } from "node:crypto";
import { Long, type Timestamp } from "mongodb";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { billEvent } from "../../src/charging/billing/billing.ts";
import { sessionEnded, sessionStarted } from "../../src/charging/events/events.ts";
import { openMongoStore } from "../../src/store/mongo.ts";
import type { Store } from "../../src/store/types.ts";
import type { Logger } from "../../src/support/log.ts";
import { facts, JANUARY, silent } from "../charging/samples.ts";
import { correction, item, time } from "../contract/store.contract.ts";
import { MongoProxy, nothing } from "../support/mongo-proxy.ts";
import { hasStandIn, type MongoServer, NO_STAND_IN, startMongo } from "../support/mongo-server.ts";
import { TestClock } from "../support/test-clock.ts";

const READS = ["find", "aggregate", "count", "distinct"];
const isReadBefore = (after: Timestamp | undefined, at: Timestamp) => after === undefined || after.lessThan(at);

if (!hasStandIn()) it("sessions of the store on MongoDB", ({ skip }) => skip(NO_STAND_IN));
else
  describe("what belongs together in MongoDB is one causally consistent session", () => {
    let server: MongoServer;
    let proxy: MongoProxy;
    let store: Store;
    let database: string;
    const errors: unknown[] = [];
    const opened: { close(): Promise<void> }[] = [];
    beforeAll(async () => {
      server = await startMongo(["wire=13"]);
    }, 90_000);
    afterAll(() => server?.stop());
    afterEach(async () => {
      for (const one of opened.splice(0)) await one.close();
    });

    async function open({ sessions = true, random = Math.random } = {}) {
      proxy = await MongoProxy.open(server.url("x"), { sessions });
      database = `tollgate_test_${randomBytes(6).toString("hex")}`;
      const log = { ...silent, error: (what: unknown) => void errors.push(what) } as unknown as Logger;
      store = await openMongoStore({ url: proxy.url(database), timeoutS: 5 }, { random, log });
      opened.push(store, proxy);
      proxy.asked.length = 0;
    }
    /**
     * Answers that are as old as the beginning for whoever does not ask for newer ones, as a new primary's may be
     * (SERVER-53813).
     */
    const beStale = (...collections: readonly string[]) => {
      proxy.meddle = (asked) => {
        const { name, collection, after, at } = asked;
        const isStale = READS.includes(name) && collections.includes(collection) && isReadBefore(after, at);
        return isStale ? nothing(asked) : undefined;
      };
    };
    const pay = (user: string, amount: number) =>
      store.credit!.post({ user, id: "topup:1", at: JANUARY, kind: "topup", amount, currency: "EUR" });
    const settlement = { user: "alice", hold: "h", session: "s1", totals: [{ amount: 100, at: JANUARY }] };

    it("each read asks for no less than what this process has seen, of whatever it is", async () => {
      await open({ random: () => 0.5 });
      const { billing, credit, users } = store;
      await users.put({ id: "alice", realm: "r", ha1: { sha256: "a" } } as never);
      await store.directoryVersion();
      await users.get("alice");
      await users.list();
      await users.remove("alice");
      const clock = new TestClock(JANUARY);
      const session = facts({ hold: "h" });
      await credit!.open("alice", "EUR");
      await pay("alice", 1000);
      for (const event of [
        sessionStarted(session, JANUARY),
        sessionEnded(session, JANUARY, JANUARY + 60_000, "client"),
      ])
        await billEvent({ store, clock, log: silent }, event);
      await credit!.overdue(JANUARY, { limit: 10 });
      await credit!.ledger("alice", { limit: 10 });
      await billing.write({ accounts: [], entries: [item(1), time("s2"), correction("1")] });
      await billing.totals("alice", "2026-01");
      await billing.totalsFor("shop-1", "2026-01");
      await billing.entries("alice", "2026-01", { limit: 1 });
      await billing.entriesOf("s2");
      await billing.findEntries(["s2:ended"]);
      await billing.findAccounts({ state: "running", limit: 1 });
      await billing.archived("2026-01", { limit: 10 });
      await billing.putDeadLetter({ id: "x", at: 1, reason: "", event: "" });
      await billing.getDeadLetter("x");
      await billing.deadLetters(10);
      const reads = proxy.named(...READS);
      expect(reads.length).toBeGreaterThan(25);
      for (const { command, after, at, collection } of reads) {
        expect([collection, after?.toString()]).toEqual([collection, at.toString()]);
        expect(command.readConcern.level).toBe("majority");
        expect(command.maxTimeMS).toBeGreaterThan(0);
      }
      for (const { command } of proxy.named("insert", "update", "delete")) expect(command.lsid).toBeDefined();
    });

    it("a settlement counts once, though the ledger that a new primary shows is old", async () => {
      await open();
      await store.credit!.open("alice", "EUR");
      await pay("alice", 1000);
      await store.credit!.settle(settlement);
      beStale("creditLedger");
      await store.credit!.settle(settlement);
      expect(await store.credit!.account("alice")).toMatchObject({ available: 900 });
    });

    it("a ledger's entry of the same id is looked at: what was counted without having seen it is taken back", async () => {
      await open();
      const { credit } = store;
      await credit!.open("alice", "EUR");
      await pay("alice", 1000);
      await credit!.settle(settlement);
      const blindOnce = () => {
        let blind = true;
        proxy.meddle = (asked) => {
          if (!blind || asked.name !== "find" || asked.collection !== "creditLedger") return undefined;
          blind = false;
          return nothing(asked);
        };
      };
      const logged = errors.length;
      blindOnce();
      await credit!.settle(settlement);
      blindOnce();
      expect(await pay("alice", 1000)).toBe("repeated");
      blindOnce();
      expect(await pay("alice", 1001)).toBe("different");
      blindOnce();
      await credit!.settle({ ...settlement, totals: [{ amount: 150, at: JANUARY }] });
      expect(await credit!.account("alice")).toMatchObject({ available: 850 });
      const { entries } = await credit!.ledger("alice", { limit: 10 });
      expect(entries.map(({ id, amount }) => [id, amount])).toEqual([
        ["session:h:0", -100],
        ["session:h:1", -50],
        ["topup:1", 1000],
      ]);
      expect(errors.length - logged).toBe(4);
    });

    it("a sum counts each entry once, though the entries that a new primary shows are old", async () => {
      await open({ random: () => 0 });
      const entries = [item(1), item(2)];
      await store.billing.write({ accounts: [], entries });
      await store.billing.write({ accounts: [], entries: [] });
      while ((await store.billing.totals("alice", "2026-01"))[0]?.charges !== 2);
      await store.close(); // nothing is being counted any more
      opened[0] = store = await openMongoStore(
        { url: proxy.url(database), timeoutS: 5 },
        { random: () => 0, log: silent },
      );
      const countedAt = proxy.asked.at(-1)!.at;
      // As they were before they were counted.
      const marked = entries.map(({ id, ...rest }) => ({ _id: id, ...rest, uncountedUser: "2026-01 alice" }));
      proxy.meddle = ({ name, collection, command, after }) => {
        const isStale = name === "find" && collection === "entries" && isReadBefore(after, countedAt);
        if (!isStale || command.filter.uncountedUser === undefined) return undefined;
        return { cursor: { id: Long.ZERO, ns: `${command.$db}.entries`, firstBatch: marked }, ok: 1 };
      };
      await store.billing.write({ accounts: [], entries: [item(3)] });
      await store.billing.write({ accounts: [], entries: [item(4)] });
      await store.close();
      proxy.meddle = () => undefined;
      opened[0] = await openMongoStore({ url: proxy.url(database), timeoutS: 5 });
      const [sum] = await (opened[0] as Store).billing.totals("alice", "2026-01");
      expect(sum).toMatchObject({ charges: 4, itemAmount: "0.40" });
    });

    it("what was billed before is settled whole, though the entries that a new primary shows are old", async () => {
      await open();
      const session = facts({ hold: "h" });
      await store.credit!.open("alice", "EUR");
      await pay("alice", 100_000_000);
      beStale("entries", "accounts", "creditAccounts", "creditLedger");
      const how = { store, clock: new TestClock(JANUARY), log: silent };
      await billEvent(how, sessionStarted(session, JANUARY));
      await billEvent(how, sessionEnded(session, JANUARY, JANUARY + 60_000, "client"));
      expect(await store.credit!.account("alice")).toMatchObject({ available: 100_000_000 - 350_000 });
    });

    it("and what is written together is written in the order of its ids, so that two workers wait for each other and do not lock each other", async () => {
      await open({ random: () => 0 });
      const { billing, credit } = store;
      const sessions = ["z", "a", "m", "B", "ä"];
      const entries = sessions.flatMap((session) => [
        time(session),
        item(1, { id: `${session}:charge:shop-1:1`, session }),
      ]);
      const accounts = sessions.map((session) => ({
        revision: 0,
        state: "open" as const,
        context: { session } as never,
      }));
      expect(await billing.write({ accounts, entries })).toEqual([]);
      await billing.write({ accounts: [{ ...accounts[1]!, revision: 1 }], entries: [] });
      // Whose account was not written is said for the right one.
      const again = accounts.map((one) => ({ ...one, revision: 1 }));
      expect(await billing.write({ accounts: again, entries: [...entries].reverse() })).toEqual(["a"]);
      await credit!.open("alice", "EUR");
      await pay("alice", 1000);
      const months = [Date.UTC(2026, 1), JANUARY].map((at) => ({ amount: 1, at }));
      await credit!.settle({ ...settlement, totals: months });
      await store.close();
      let several = 0;
      for (const { name, command } of proxy.named("insert", "update")) {
        const ids: string[] =
          name === "insert"
            ? command.documents.map(({ _id }: { _id: string }) => _id)
            : command.updates.flatMap(({ q }: { q: { _id: string | { $in: string[] } } }) =>
                typeof q._id === "string" ? [q._id] : (q._id?.$in ?? []),
              );
        if (ids.length > 1) several++;
        expect(ids).toEqual([...ids].sort((a, b) => (a < b ? -1 : 1)));
      }
      expect(several).toBeGreaterThan(5);
    });

    it("a server without sessions does without", async () => {
      await open({ sessions: false });
      await store.credit!.open("alice", "EUR");
      await pay("alice", 1000);
      expect(await store.credit!.account("alice")).toMatchObject({ available: 1000 });
      for (const { command } of proxy.named()) expect(command.lsid).toBeUndefined();
    });
  });
