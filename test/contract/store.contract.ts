import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createInProcessBus } from "../../src/bus/in-process.ts";
import { startBilling } from "../../src/charging/billing/billing.ts";
import type {
  Account,
  CorrectionEntry,
  Entry,
  EntryPage,
  Forgetting,
  ItemEntry,
  MonthTotal,
  PageQuery,
  TimeEntry,
} from "../../src/charging/billing/store.ts";
import { type ChargingEvent, chargeMade, sessionEnded, sessionStarted } from "../../src/charging/events/events.ts";
import { BusyError } from "../../src/charging/events/faults.ts";
import type { Terms } from "../../src/charging/money/terms.ts";
import type { AppServer, AppServerKey, Service, User } from "../../src/directory/types.ts";
import type { Store } from "../../src/store/types.ts";
import { timePrefix } from "../../src/support/random.ts";
import { aCharge, facts, JANUARY, lessonTariff, numbers, shuffled, silent, wholeSession } from "../charging/samples.ts";
import { TestClock } from "../support/test-clock.ts";
import type { StoreAdapter, StoreUnderTest } from "./adapters.ts";

const alice: User = { id: "alice", realm: "portal.example", ha1: { sha256: "ab", md5: "cd" } };
const wine: Service = { id: "wine", title: "ワイン店", tariff: "lesson", limits: { charge: "50", currency: "EUR" } };
const shop: AppServer = { id: "shop-1", uri: "sip:10.0.0.5:5060;transport=tcp", services: ["wine"], priority: 5 };
const key: AppServerKey = {
  id: "0123456789abcdef",
  appServer: "shop-1",
  realm: "charges.portal.example",
  hash: "ef",
  ha1: { sha256: "ab", md5: "cd" },
  createdAt: JANUARY,
};

export function item(n: number, over: Partial<ItemEntry> = {}): ItemEntry {
  return {
    kind: "item",
    id: `s1:charge:shop-1:${n}`,
    at: JANUARY + n,
    month: "2026-01",
    user: "alice",
    service: "wine",
    appServer: "shop-1",
    session: "s1",
    currency: "EUR",
    amount: "0.10",
    item: "Riesling",
    unitPrice: "0.10",
    quantity: "1",
    channel: "info",
    ...over,
  };
}

export function time(session: string, over: Partial<TimeEntry> = {}): TimeEntry {
  const { item: _item, unitPrice: _unitPrice, quantity: _quantity, channel: _channel, ...base } = item(0);
  return {
    ...base,
    kind: "time",
    id: `${session}:ended`,
    session,
    durationMs: 60_000,
    endedBy: "client",
    amount: "0.35",
    tariff: "lesson",
    ...over,
  };
}

export function correction(id: string, over: Partial<CorrectionEntry> = {}): CorrectionEntry {
  const { item: _item, unitPrice: _unitPrice, quantity: _quantity, channel: _channel, ...base } = item(0);
  return {
    ...base,
    kind: "correction",
    id: `correction:${id}`,
    amount: "-0.05",
    reason: "broken",
    of: "items",
    ...over,
  };
}

/** Every page of a question, of ten entries each. */
async function pagesOf(ask: (page: PageQuery) => Promise<EntryPage>): Promise<Entry[][]> {
  const pages: Entry[][] = [];
  let after: string | undefined;
  do {
    const page = await ask({ after, limit: 10 });
    pages.push(page.entries);
    after = page.next;
  } while (after !== undefined && pages.length < 20);
  return pages;
}

function account(session: string, state: Account["state"], revision = 0, dueAt: number | null = null): Account {
  const facts = { session, user: "alice", service: "wine", appServer: "shop-1", call: "c" };
  return {
    revision,
    state,
    context: {
      version: 1,
      ...facts,
      windowMs: 0,
      tariff: null,
      startedAt: JANUARY,
      endedAt: null,
      endedBy: null,
      dueAt,
    },
  };
}

const total = (over: Partial<MonthTotal>): MonthTotal => ({
  service: "wine",
  currency: "EUR",
  sessions: 0,
  durationMs: 0,
  timeAmount: "0",
  charges: 0,
  itemAmount: "0",
  ...over,
});
const sorted = (totals: MonthTotal[]) =>
  totals.sort((a, b) => (`${a.service} ${a.currency}` < `${b.service} ${b.currency}` ? -1 : 1));
const amount = (text: string) => Number(text);
const terms: Terms = {
  taxes: [{ id: "vat", title: "ＶＡＴ", rate: "19", included: true }],
  fee: { percent: "5", perSession: "0.10", currency: "EUR" },
  timeShare: "50",
};

/** What every adapter of the store port does (decision 7). */
export function storeContract(adapter: StoreAdapter): void {
  describe(`the store port on ${adapter.name}`, () => {
    let under: StoreUnderTest;
    let store: Store;
    const opened: Store[] = [];
    const open = async () => {
      const one = await under.open();
      opened.push(one);
      return one;
    };
    beforeEach(async () => {
      under = await adapter.create();
      store = await open();
    });
    afterEach(async () => {
      for (const one of opened.splice(0)) await one.close();
      await under.destroy();
    });

    describe("registries", () => {
      it("give back what was put, and the last of it", async () => {
        await store.users.put({ ...alice, blocked: { since: 1 } });
        await store.users.put(alice);
        await store.services.put(wine);
        await store.appServers.put(shop);
        await store.tariffs.put(lessonTariff);
        await store.appServerKeys.put(key);
        expect(await store.users.get("alice")).toEqual(alice);
        expect(await store.services.get("wine")).toEqual(wine);
        expect(await store.appServers.list()).toEqual([shop]);
        expect(await store.tariffs.list()).toEqual([lessonTariff]);
        expect(await store.appServerKeys.list()).toEqual([key]);
      });

      it("have nothing under an id that was never put, or is another registry's", async () => {
        await store.users.put(alice);
        expect(await store.users.get("bob")).toBeUndefined();
        expect(await store.services.get("alice")).toBeUndefined();
        expect(await store.services.list()).toEqual([]);
      });

      it("take many at once, in the place of those that are there, as one change or more", async () => {
        await store.users.put(alice);
        const before = await store.directoryVersion();
        const changed = { ...alice, limits: { sessions: 3 } };
        await store.users.putAll([changed, { ...alice, id: "alice@b.example" }]);
        expect(await store.users.list()).toEqual([changed, { ...alice, id: "alice@b.example" }]);
        expect(await store.directoryVersion()).toBeGreaterThan(before);
        await store.users.putAll([]);
        expect((await store.users.list()).length).toBe(2);
      });

      it("add what is new, once, whoever comes first", async () => {
        const other = await open();
        const version = await store.directoryVersion();
        const named = (name: string) => ({ ...alice, name });
        const took = await Promise.all([store.users.add(named("A")), other.users.add(named("B"))]);
        expect(took.sort()).toEqual([false, true]);
        const first = await store.users.get("alice");
        expect(await store.users.add(named("C"))).toBe(false);
        expect(await store.users.get("alice")).toEqual(first);
        expect(await store.directoryVersion()).toBeGreaterThan(version);
      });

      it("change in one step: of changes at once, also of two processes, none is lost", async () => {
        expect(await store.users.change("alice", (user) => ({ ...user, name: "nobody" }))).toBeUndefined();
        expect(await store.users.get("alice")).toBeUndefined();
        await store.users.put({ ...alice, limits: { sessions: 1 } });
        const other = await open();
        const more = (user: User): User => ({ ...user, limits: { sessions: user.limits!.sessions! + 1 } });
        const version = await store.directoryVersion();
        const both = [store, other, store, other, store, other];
        await Promise.all(both.map((one) => one.users.change("alice", more)));
        expect(await store.users.get("alice")).toEqual({ ...alice, limits: { sessions: 7 } });
        await store.users.put(alice);
        expect(await other.users.change("alice", ({ name: _, ...user }) => ({ ...user, name: "Al" }))).toMatchObject({
          id: "alice",
          name: "Al",
        });
        expect(await store.users.get("alice")).toEqual({ ...alice, name: "Al" });
        expect(await store.directoryVersion()).toBeGreaterThan(version);
      });

      it("take any id that a user may have", async () => {
        const ids = ["a", "a.b", "$set", "x'y", "*", "a;b?c/d&e=f+g", "~(bob)!"];
        for (const id of ids) await store.users.put({ ...alice, id });
        expect((await store.users.list()).map(({ id }) => id).sort()).toEqual([...ids].sort());
        for (const id of ids) expect(await store.users.get(id)).toEqual({ ...alice, id });
      });

      it("remove, and say whether there was anything", async () => {
        await store.users.put(alice);
        expect(await store.users.remove("alice")).toBe(true);
        expect(await store.users.remove("alice")).toBe(false);
        expect(await store.users.get("alice")).toBeUndefined();
      });

      it("grow the version with each change of any of them, and with nothing else", async () => {
        const versions = [await store.directoryVersion()];
        const changes = [
          () => store.users.put(alice),
          () => store.services.put(wine),
          () => store.appServers.put(shop),
          () => store.tariffs.put(lessonTariff),
          () => store.appServerKeys.put(key),
          () => store.users.put(alice),
          () => store.users.remove("alice"),
        ];
        for (const change of changes) {
          await change();
          versions.push(await store.directoryVersion());
        }
        for (let i = 1; i < versions.length; i++) expect(versions[i]).toBeGreaterThan(versions[i - 1]!);
        await store.users.remove("alice");
        await store.billing.write({ accounts: [], entries: [item(1)] });
        expect(await store.directoryVersion()).toBe(versions.at(-1));
      });

      it("are the same through a second opening, as by another process", async () => {
        const before = await store.directoryVersion();
        const other = await open();
        await other.users.put(alice);
        expect(await store.users.get("alice")).toEqual(alice);
        expect(await store.directoryVersion()).toBeGreaterThan(before);
      });

      it("are there again after closing and opening", async () => {
        await store.users.put(alice);
        const version = await store.directoryVersion();
        await store.close();
        opened.length = 0;
        const again = await open();
        expect(await again.users.get("alice")).toEqual(alice);
        expect(await again.directoryVersion()).toBe(version);
      });
    });

    describe("accounts", () => {
      it("are written once for each revision, whoever comes first (decision 9)", async () => {
        expect(await store.billing.write({ accounts: [account("s1", "running")], entries: [] })).toEqual([]);
        const [stored] = await store.billing.accounts(["s1"]);
        expect(stored).toEqual({ ...account("s1", "running"), revision: 1 });

        const other = await open();
        expect(await other.billing.write({ accounts: [{ ...stored!, state: "closed" }], entries: [] })).toEqual([]);
        expect(await store.billing.write({ accounts: [{ ...stored!, state: "open" }], entries: [] })).toEqual(["s1"]);
        expect(await store.billing.write({ accounts: [account("s1", "open")], entries: [] })).toEqual(["s1"]);
        expect((await store.billing.accounts(["s1"]))[0]).toMatchObject({ revision: 2, state: "closed" });
      });

      it("come back with all that is in them, and nothing else", async () => {
        const whole = account("whole", "chargeable", 0, JANUARY + 9);
        const { context } = whole;
        const accounts: Account[] = [
          { ...whole, context: { ...context, windowMs: 5, endedAt: JANUARY + 4, endedBy: "relay: fault" } },
          { ...whole, context: { ...context, session: "held", hold: "h1", tariff: lessonTariff } },
          { ...whole, context: { ...context, session: "part", previous: { session: "held", by: "move" } } },
          { ...whole, context: { ...context, session: "taxed", tariff: lessonTariff, terms } },
          { ...whole, context: { ...context, session: "back", used: { freeMs: 5, chargedMs: 6, amount: "0.70" } } },
          { ...account("charged", "open"), context: { ...account("charged", "open").context, startedAt: null } },
        ];
        await store.billing.write({ accounts, entries: [] });
        const found = await store.billing.accounts(["whole", "held", "part", "taxed", "back", "charged"]);
        expect(found).toStrictEqual(accounts.map((one) => ({ ...one, revision: 1 })));
      });

      it("take the longest names and texts that an event may have, and bring them back whole", async () => {
        const long = (text: string, most: number) => text.repeat(Math.floor(most / Buffer.byteLength(text)));
        const [session, user, service, appServer] = ["s", "u", "汉", "a"].map((text) => long(text, 400)) as [
          string,
          string,
          string,
          string,
        ];
        const head = { session, user, service, appServer, call: long("é", 400) };
        const entries = [
          item(1, { ...head, id: `${session}:${long("x", 399)}`, item: "汉".repeat(200) }),
          time(session, { ...head, id: `${session}:ended`, endedBy: "汉".repeat(200), tariff: long("t", 400) }),
        ];
        for (const entry of entries) await store.billing.write({ accounts: [], entries: [entry] });
        expect(await store.billing.findEntries(entries.map(({ id }) => id))).toEqual(entries);
        expect((await store.billing.entries(user, "2026-01", { limit: 10 })).entries).toHaveLength(2);
        expect((await store.billing.entriesFor(appServer, "2026-01", { limit: 10 })).entries).toHaveLength(2);
        expect(await store.billing.totals(user, "2026-01")).toMatchObject([{ service, sessions: 1, charges: 1 }]);
      });

      it("are refused one by one, and the others written", async () => {
        await store.billing.write({ accounts: [account("s1", "running")], entries: [] });
        const refused = await store.billing.write({
          accounts: [account("s1", "open"), account("s2", "open")],
          entries: [item(1)],
        });
        expect(refused).toEqual(["s1"]);
        expect((await store.billing.accounts(["s2"]))[0]).toMatchObject({ state: "open" });
        expect(await store.billing.entriesOf("s1")).toEqual([item(1)]);
      });

      it("come in the order asked for, with gaps where there are none", async () => {
        await store.billing.write({ accounts: [account("a", "running"), account("b", "open")], entries: [] });
        const found = await store.billing.accounts(["b", "none", "a"]);
        expect(found.map((one) => one?.context.session)).toEqual(["b", undefined, "a"]);
        expect(await store.billing.accounts([])).toEqual([]);
      });

      it("lose no update when twenty write at once", async () => {
        const add = async (): Promise<void> => {
          const [stored] = await store.billing.accounts(["s1"]);
          const next = account("s1", "running", stored?.revision ?? 0);
          const counted = { ...next, context: { ...next.context, windowMs: (stored?.context.windowMs ?? 0) + 1 } };
          if ((await store.billing.write({ accounts: [counted], entries: [] })).length > 0) await add();
        };
        await Promise.all(Array.from({ length: 20 }, add));
        expect((await store.billing.accounts(["s1"]))[0]?.context.windowMs).toBe(20);
      });

      it("are found by state, and by when they are due", async () => {
        const due = (session: string, at: number) => account(session, "chargeable", 0, at);
        await store.billing.write({
          accounts: [
            account("open", "open"),
            account("run", "running"),
            due("later", 300),
            due("soon", 100),
            due("then", 200),
            account("done", "closed"),
          ],
          entries: [],
        });
        const ids = async (query: Parameters<Store["billing"]["findAccounts"]>[0]) =>
          (await store.billing.findAccounts(query)).map(({ context }) => context.session);
        expect(await ids({ state: "running", limit: 10 })).toEqual(["run"]);
        expect(await ids({ state: "chargeable", limit: 10 })).toEqual(["soon", "then", "later"]);
        expect(await ids({ state: "chargeable", dueBy: 200, limit: 10 })).toEqual(["soon", "then"]);
        expect(await ids({ state: "chargeable", dueBy: 200, limit: 1 })).toEqual(["soon"]);
        await store.billing.write({
          accounts: [account("run", "closed", 1), { ...due("soon", 100), state: "closed", revision: 1 }],
          entries: [],
        });
        expect(await ids({ state: "running", limit: 10 })).toEqual([]);
        expect(await ids({ state: "chargeable", dueBy: 200, limit: 10 })).toEqual(["then"]);
        expect(await ids({ state: "chargeable", limit: 1 })).toEqual(["then"]);
      });
    });

    describe("entries", () => {
      it("are there once, however often they are written (decision 9)", async () => {
        const entries = [item(1), item(2), time("s1")];
        for (let i = 0; i < 3; i++) await store.billing.write({ accounts: [], entries });
        await store.billing.write({ accounts: [], entries: [...entries, ...entries] });
        expect(await store.billing.entriesOf("s1")).toEqual([time("s1"), item(1), item(2)]);
        const [sum] = await store.billing.totals("alice", "2026-01");
        expect(sum).toMatchObject({ sessions: 1, durationMs: 60_000, charges: 2 });
        expect([amount(sum!.timeAmount), amount(sum!.itemAmount)]).toEqual([0.35, 0.2]);
      });

      it("come back with all that is in them, and nothing else", async () => {
        const { tariff: _tariff, ...free } = time("s2", { currency: "", amount: "0", at: JANUARY + 1 });
        const entries: Entry[] = [
          time("s1", { call: "c1", previous: { session: "s0", by: "change" } }),
          free,
          item(2, { call: "c2" }),
          item(3, { id: "elsewhere:1" }),
          correction("1", { at: JANUARY + 4, corrects: "s1:ended", session: "" }),
          correction("2", { at: JANUARY + 5, of: "time" }),
          time("s6", { at: JANUARY + 6, terms }),
          item(7, { terms, prepaid: true }),
          item(8, { prepaid: true }),
          correction("9", { at: JANUARY + 9, terms, prepaid: true }),
        ];
        await store.billing.write({ accounts: [], entries });
        expect(await store.billing.findEntries(entries.map(({ id }) => id))).toStrictEqual(entries);
        expect((await store.billing.entries("alice", "2026-01", { limit: 10 })).entries).toStrictEqual(entries);
      });

      it("stay as they were first written", async () => {
        await store.billing.write({ accounts: [], entries: [item(1)] });
        await store.billing.write({
          accounts: [],
          entries: [item(1, { amount: "99", at: JANUARY + 5000, user: "bob" })],
        });
        expect(await store.billing.entriesOf("s1")).toEqual([item(1)]);
        expect(await store.billing.totals("bob", "2026-01")).toEqual([]);
      });

      it("say which of them were there before, also those that come twice in one batch", async () => {
        const known: string[][] = [];
        const write = (...entries: Entry[]) =>
          store.billing.write({ accounts: [], entries, onKnown: (ids) => known.push([...ids].sort()) });
        await write(item(1), time("s1"));
        expect(known).toEqual([]);
        await write(item(1, { amount: "99" }), item(2));
        await write(item(3), item(3, { amount: "99" }), item(2), time("s1"));
        expect(known).toEqual([[item(1).id], [item(2).id, item(3).id, "s1:ended"]]);
        expect(await store.billing.findEntries([item(3).id])).toEqual([item(3)]);
      });

      it("are counted once when twenty write the same at once", async () => {
        const other = await open();
        const entries = [item(1), item(2)];
        await Promise.all(
          Array.from({ length: 20 }, (_, i) => (i % 2 ? store : other).billing.write({ accounts: [], entries })),
        );
        expect((await store.billing.totals("alice", "2026-01"))[0]).toMatchObject({ charges: 2 });
      });

      it("come by user and month, in order, page by page", async () => {
        const all = Array.from({ length: 25 }, (_, n) => item(n));
        const foreign: Entry[] = [
          item(100, { id: "x:1", session: "x", user: "alice2" }),
          item(100, { id: "x:2", session: "x", user: "alic" }),
          item(100, { id: "x:3", session: "x", month: "2026-02" }),
          item(100, { id: "x:4", session: "x", month: "2025-12" }),
        ];
        await store.billing.write({ accounts: [], entries: shuffled([...all, ...foreign], numbers(5)) });
        const pages: Entry[][] = [];
        let after: string | undefined;
        do {
          const page = await store.billing.entries("alice", "2026-01", { after, limit: 10 });
          pages.push(page.entries);
          after = page.next;
        } while (after !== undefined && pages.length < 9);
        expect(pages.flat()).toEqual(all);
        expect(pages.slice(0, 3).map((page) => page.length)).toEqual([10, 10, 5]);
        expect((await store.billing.entries("nobody", "2026-01", { limit: 10 })).entries).toEqual([]);
      });

      it("come from a moment on", async () => {
        const all = Array.from({ length: 25 }, (_, n) => item(n));
        await store.billing.write({ accounts: [], entries: all });
        const from = JANUARY + 8;
        const first = await store.billing.entries("alice", "2026-01", { from, limit: 10 });
        expect(first.entries).toEqual(all.slice(8, 18));
        const rest = await store.billing.entries("alice", "2026-01", { from, limit: 10, after: first.next });
        expect(rest.entries).toEqual(all.slice(18));
      });

      it("are in order of their ids where their time is the same", async () => {
        const same = ["c", "a", "b"].map((id) => item(0, { id: `s1:charge:shop-1:${id}` }));
        await store.billing.write({ accounts: [], entries: same });
        const ids = (entries: readonly Entry[]) => entries.map(({ id }) => id.at(-1));
        expect(ids((await store.billing.entries("alice", "2026-01", { limit: 10 })).entries)).toEqual(["a", "b", "c"]);
        expect(ids(await store.billing.entriesOf("s1"))).toEqual(["a", "b", "c"]);
      });

      it("of a session are that session's only", async () => {
        await store.billing.write({ accounts: [], entries: [item(1), time("s10"), time("s"), time("s2")] });
        expect(await store.billing.entriesOf("s1")).toEqual([item(1)]);
        expect(await store.billing.entriesOf("nothing")).toEqual([]);
      });

      it("keep any text that an item may have", async () => {
        const odd = item(1, { id: "s1:charge:shop-1:$.x ワイン 🍷", item: '=1+1 "$where" {} ワイン 🍷' });
        await store.billing.write({ accounts: [], entries: [odd] });
        expect(await store.billing.entriesOf("s1")).toEqual([odd]);
      });
    });

    describe("entries by app server (M19)", () => {
      const others = ["shop", "shop-10", "a", "zoo"].map((appServer, n) =>
        item(100 + n, { id: `y:${n}`, session: "y", user: "bob", appServer, at: JANUARY + 2 * n + 1 }),
      );
      const own = Array.from({ length: 25 }, (_, n) => item(n, { user: n % 2 ? "alice" : "bob", at: JANUARY + 2 * n }));
      const elsewhere = item(200, { id: "z:1", session: "z", month: "2026-02" });

      it("come in order, page by page, those of all users", async () => {
        await store.billing.write({ accounts: [], entries: shuffled([...own, ...others, elsewhere], numbers(6)) });
        const pages = await pagesOf((page) => store.billing.entriesFor("shop-1", "2026-01", page));
        expect(pages.flat()).toEqual(own);
        expect(pages.slice(0, 3).map((page) => page.length)).toEqual([10, 10, 5]);
        expect((await store.billing.entriesFor("nobody", "2026-01", { limit: 10 })).entries).toEqual([]);
      });

      it("come of all app servers in one order where none is named", async () => {
        const free = correction("1", { appServer: "", service: "", session: "", at: JANUARY + 7 });
        const all = [...own, ...others, free].sort((a, b) => a.at - b.at || (a.id < b.id ? -1 : 1));
        await store.billing.write({ accounts: [], entries: shuffled([...all, elsewhere], numbers(7)) });
        expect((await pagesOf((page) => store.billing.entriesFor(undefined, "2026-01", page))).flat()).toEqual(all);
      });

      it("are added up, each once, however often they are written", async () => {
        for (let i = 0; i < 2; i++)
          await store.billing.write({ accounts: [], entries: [...own, ...others, elsewhere] });
        const [sum, ...more] = await store.billing.totalsFor("shop-1", "2026-01");
        expect(more).toEqual([]);
        expect(sum).toMatchObject({ service: "wine", currency: "EUR", charges: 25 });
        expect(amount(sum!.itemAmount)).toBe(2.5);
        expect(await store.billing.totalsFor("nobody", "2026-01")).toEqual([]);
      });
    });

    describe("an account and the entry for its session's time", () => {
      const at = JANUARY;
      const ended = (over: Partial<Account["context"]> = {}, state: Account["state"] = "chargeable"): Account => {
        const { context } = account("s1", state, 1, state === "chargeable" ? at + 70_000 : null);
        const end = { windowMs: 10_000, endedAt: at + 60_000, endedBy: "client" };
        return { revision: 1, state, context: { ...context, ...end, ...over } };
      };
      const entry = time("s1", { at, call: "c" });
      const running = account("s1", "running");
      const stored = async () => (await store.billing.accounts(["s1"]))[0];
      const begin = () => store.billing.write({ accounts: [running], entries: [] });

      it.each<[string, Account, TimeEntry]>([
        ["that takes late charges", ended(), entry],
        ["that is closed", ended({}, "closed"), entry],
        ["of a prepaid session", ended({ hold: "h1" }), entry],
        [
          "of a part",
          ended({ previous: { session: "s0", by: "move" } }),
          { ...entry, previous: { session: "s0", by: "move" } },
        ],
        ["that says something else", ended({ user: "bob", startedAt: at - 1, call: "d" }), entry],
        ["whose entry knows of no call", ended(), time("s1", { at })],
      ])("are both as they were written: one %s", async (_, account, entry) => {
        await begin();
        expect(await store.billing.write({ accounts: [account], entries: [entry] })).toEqual([]);
        expect(await stored()).toStrictEqual({ ...account, revision: 2 });
        expect(await store.billing.entriesOf("s1")).toStrictEqual([entry]);
        expect(await store.billing.findAccounts({ state: "running", limit: 10 })).toEqual([]);
        const found = await store.billing.findAccounts({ state: "chargeable", dueBy: at + 70_000, limit: 10 });
        expect(found).toEqual(account.state === "chargeable" ? [{ ...account, revision: 2 }] : []);
      });

      it("are both there where the session started and ended in one write", async () => {
        const whole = { ...ended(), revision: 0 };
        expect(await store.billing.write({ accounts: [whole], entries: [entry] })).toEqual([]);
        expect(await stored()).toStrictEqual({ ...whole, revision: 1 });
        expect(await store.billing.write({ accounts: [whole], entries: [entry] })).toEqual(["s1"]);
        expect(await store.billing.write({ accounts: [running], entries: [] })).toEqual(["s1"]);
        expect(await stored()).toStrictEqual({ ...whole, revision: 1 });
      });

      it("stay apart where somebody else wrote the account first", async () => {
        await begin();
        await store.billing.write({ accounts: [{ ...running, revision: 1 }], entries: [] });
        expect(await store.billing.write({ accounts: [ended()], entries: [entry] })).toEqual(["s1"]);
        expect(await stored()).toMatchObject({ revision: 2, state: "running" });
        expect(await store.billing.entriesOf("s1")).toStrictEqual([entry]);
        const again = { ...ended(), revision: 2 };
        expect(await store.billing.write({ accounts: [again], entries: [entry] })).toEqual([]);
        expect(await stored()).toStrictEqual({ ...again, revision: 3 });
        expect(await store.billing.findAccounts({ state: "running", limit: 10 })).toEqual([]);
      });

      it("change one without the other: the window closes, and something is charged", async () => {
        await begin();
        await store.billing.write({ accounts: [ended()], entries: [entry] });
        const closed = { ...ended({ dueAt: null }, "closed"), revision: 2 };
        expect(await store.billing.write({ accounts: [closed], entries: [item(1)] })).toEqual([]);
        expect(await stored()).toStrictEqual({ ...closed, revision: 3 });
        expect(await store.billing.findAccounts({ state: "chargeable", limit: 10 })).toEqual([]);
        expect(await store.billing.entriesOf("s1")).toStrictEqual([entry, item(1)]);
        expect(await store.billing.totals("alice", "2026-01")).toMatchObject([{ sessions: 1, charges: 1 }]);
        const odd = { ...closed, revision: 3, context: { ...closed.context, endedBy: "relay: fault" } };
        expect(await store.billing.write({ accounts: [odd], entries: [] })).toEqual([]);
        expect(await stored()).toStrictEqual({ ...odd, revision: 4 });
        expect(await store.billing.entriesOf("s1")).toStrictEqual([entry, item(1)]);
      });
    });

    it("finds entries by their ids, in the order asked for", async () => {
      await store.billing.write({ accounts: [], entries: [item(1), time("s1")] });
      expect(await store.billing.findEntries(["s1:ended", "none", item(1).id])).toEqual([
        time("s1"),
        undefined,
        item(1),
      ]);
      expect(await store.billing.findEntries([])).toEqual([]);
    });

    it("keeps corrections as entries of their own: on the bill, at the session, in the sums", async () => {
      const entries = [item(1), correction("1"), correction("2", { of: "time", amount: "-0.35", at: JANUARY + 1 })];
      for (let i = 0; i < 2; i++) await store.billing.write({ accounts: [], entries });
      expect((await store.billing.entries("alice", "2026-01", { limit: 10 })).entries).toHaveLength(3);
      expect((await store.billing.entriesOf("s1")).map(({ id }) => id)).toEqual([
        "correction:1",
        "correction:2",
        item(1).id,
      ]);
      for (const [sum] of [
        await store.billing.totals("alice", "2026-01"),
        await store.billing.totalsFor("shop-1", "2026-01"),
      ]) {
        expect(sum).toMatchObject({ sessions: 0, charges: 1, corrections: 2 });
        expect([sum!.itemAmount, sum!.itemCorrection!, sum!.timeCorrection!].map(amount)).toEqual([0.1, -0.05, -0.35]);
      }
    });

    describe("an event that comes again under the id of one that was billed", () => {
      const began = facts({ user: "alice", service: "wine", appServer: "shop-1", lateChargesMs: 600_000 });
      const charge = chargeMade(began, JANUARY + 1_000, aCharge(), "info");
      const ended = sessionEnded(began, JANUARY, JANUARY + 60_000, "client");
      const billed = [sessionStarted(began, JANUARY), charge, ended];

      async function worker() {
        const clock = new TestClock(JANUARY);
        const bus = createInProcessBus({ clock, log: silent });
        const billing = await startBilling({ bus, store, clock, log: silent });
        const stop = () => billing.stop().then(() => bus.close());
        return { publish: (...events: ChargingEvent[]) => bus.publish(events), counters: billing.counters, stop };
      }

      const others: readonly [string, ChargingEvent, RegExp][] = [
        [
          "another price",
          { ...charge, charge: aCharge({ unitPrice: "99" }) },
          /amount is "198.00", on the bill "25.00"/,
        ],
        ["another item", { ...charge, charge: aCharge({ item: "Water" }) }, /item is "Water", on the bill "Riesling"/],
        [
          "another currency",
          { ...charge, charge: aCharge({ currency: "USD" }) },
          /currency is "USD", on the bill "EUR"/,
        ],
        ["another month", { ...charge, at: JANUARY + 40 * 86_400_000 }, /month is "2026-02", on the bill "2026-01"/],
        ["other taxes", { ...charge, session: { ...began, terms } }, /terms is \{.*, on the bill undefined/],
        ["another duration", { ...ended, durationMs: 999_000 }, /amount is "1.95", on the bill "0.35"/],
        ["another reason", { ...ended, endedBy: "nobody" }, /endedBy is "nobody", on the bill "client"/],
        ["another start", sessionStarted(began, JANUARY + 5), /started before, at another time/],
      ];

      it.each(others)("is noticed, and not billed: %s (decisions 9 and 19)", async (_, other, reason) => {
        const { publish, counters, stop } = await worker();
        const good = wholeSession(facts({ id: "s2" }), 1_000);
        await publish(...billed);
        const before = await store.billing.totals("alice", "2026-01");
        await publish(other, ...good);
        await publish(...billed, other);
        await publish(...billed);
        await stop();
        const letters = await store.billing.deadLetters(10);
        expect(letters).toMatchObject([{ id: other.id, reason: expect.stringMatching(reason) }]);
        expect(JSON.parse(letters[0]!.event)).toEqual(JSON.parse(JSON.stringify(other)));
        expect(counters.deadLetters).toBe(2);
        expect((await store.billing.totals("alice", "2026-01")).filter(({ service }) => service === "wine")).toEqual(
          before,
        );
        expect((await store.billing.findEntries(["s2:ended"]))[0]).toBeDefined();
      });

      it("is noticed in the same batch too, and after its account is closed", async () => {
        const { publish, counters, stop } = await worker();
        const [dear, long] = [others[0]![1], others[5]![1]];
        await publish(...billed, dear, long);
        expect(counters.deadLetters).toBe(2);
        const [account] = await store.billing.accounts(["s1"]);
        await store.billing.write({ accounts: [{ ...account!, state: "closed" }], entries: [] });
        await publish(dear, long);
        expect(counters.deadLetters).toBe(4);
        await stop();
        expect(await store.billing.deadLetters(10)).toHaveLength(2);
        expect(await store.billing.entriesOf("s1")).toMatchObject([{ durationMs: 60_000 }, { amount: "25.00" }]);
      });

      it("is the same where a charge is written otherwise, or told of by another way (M17)", async () => {
        const { publish, counters, stop } = await worker();
        await publish(...billed);
        await publish({ ...charge, charge: aCharge({ unitPrice: "12.5", quantity: "2.0" }) });
        await publish({ ...charge, at: charge.at + 9, channel: "direct" }, ...billed);
        await stop();
        expect(counters.deadLetters).toBe(0);
      });
    });

    describe("the archive of events", () => {
      const events = Array.from({ length: 30 }, (_, n) => {
        const session = facts({ id: `e${n}` });
        return [sessionStarted(session, JANUARY), sessionEnded(session, JANUARY, JANUARY + n, "client")];
      }).flat();
      const ids = (list: readonly { id: string }[]) => list.map(({ id }) => id);

      it("gives back a month's events as they were written, page by page", async () => {
        for (let n = 0; n < events.length; n += 4) {
          const archive = [{ month: "2026-01", events: events.slice(n, n + 4) }];
          await store.billing.write({ accounts: [], entries: [], archive });
        }
        const other = chargeMade(facts(), JANUARY, aCharge(), "info");
        await store.billing.write({ accounts: [], entries: [], archive: [{ month: "2026-02", events: [other] }] });
        const found = [];
        let after: string | undefined;
        do {
          const page = await store.billing.archived("2026-01", { after, limit: 10 });
          found.push(...page.events);
          after = page.next;
        } while (after !== undefined && found.length < 1000);
        expect(found).toEqual(events);
        expect((await store.billing.archived("2026-02", { limit: 10 })).events).toEqual([other]);
        expect((await store.billing.archived("2026-03", { limit: 10 })).events).toEqual([]);
      });

      it("keeps no event a second time whose entry is there", async () => {
        const archive = [{ month: "2026-01", events: [chargeMade(facts(), JANUARY, aCharge(), "info")] }];
        const entries = [item(1, { id: archive[0]!.events[0]!.id })];
        for (let i = 0; i < 3; i++) await store.billing.write({ accounts: [], entries, archive });
        expect(ids((await store.billing.archived("2026-01", { limit: 10 })).events)).toEqual(ids(archive[0]!.events));
      });

      it("keeps an event that is in a batch twice, as its entry is", async () => {
        const event = chargeMade(facts(), JANUARY, aCharge(), "info");
        const entry = item(1, { id: event.id });
        const archive = [{ month: "2026-01", events: [event] }];
        await store.billing.write({ accounts: [], entries: [entry, entry], archive });
        expect((await store.billing.archived("2026-01", { limit: 10 })).events).toEqual([event]);
        expect((await store.billing.totals("alice", "2026-01"))[0]).toMatchObject({ charges: 1 });
      });

      it("keeps events of any size: as many together as a record can hold, and no more at a time than is asked for", async () => {
        const large = Array.from({ length: 20 }, (_, n) => ({
          ...sessionEnded(facts({ id: `l${n}` }), JANUARY, JANUARY + n, "client"),
          endedBy: "ä".repeat(450_000),
        }));
        await store.billing.write({ accounts: [], entries: [], archive: [{ month: "2026-01", events: large }] });
        const found = [];
        let pages = 0;
        for (let after: string | undefined, more = true; more; pages++) {
          const page = await store.billing.archived("2026-01", { after, limit: 3 });
          expect(page.events.length).toBeLessThan(6);
          found.push(...page.events);
          after = page.next;
          more = after !== undefined;
        }
        expect(ids(found)).toEqual(ids(large));
        expect(found).toEqual(large);
        expect(pages).toBeGreaterThan(4);
      });

      it("refuses a batch with an event that no record can hold, and says that it is the event", async () => {
        const ended = sessionEnded(facts(), JANUARY, JANUARY, "client");
        const huge = { ...ended, endedBy: "x".repeat(17 * 2 ** 20) };
        const archive = [{ month: "2026-01", events: [events[0]!, huge] }];
        const error = await store.billing.write({ accounts: [], entries: [item(1)], archive }).catch((e) => e);
        expect([String(error), store.billing.faultOf!(error)]).toEqual([expect.stringMatching(/bytes/), "event"]);
        expect((await store.billing.archived("2026-01", { limit: 10 })).events).toEqual([]);
        expect(await store.billing.findEntries([item(1).id])).toEqual([undefined]);
      });
    });

    describe("what is no longer kept", () => {
      const NOTHING: Forgetting = { eventsBefore: undefined, entriesBefore: undefined, accountsBefore: undefined };
      /** All of it, however many steps that takes; returns the records of each. */
      const forget = async (what: Partial<Forgetting>, limit = 10) => {
        const steps: number[] = [];
        for (let more = true; more; ) {
          const step = await store.billing.forget!({ ...NOTHING, ...what }, limit);
          steps.push(step.records);
          ({ more } = step);
          expect(step.records).toBeLessThanOrEqual(limit);
          expect(steps.length).toBeLessThan(100);
        }
        return steps;
      };
      const sum = (steps: readonly number[]) => steps.reduce((a, b) => a + b, 0);
      const monthOfYear = (n: number) => `2025-${String(n).padStart(2, "0")}`;
      const entryOf = (n: number, month: number) =>
        item(n, {
          id: `m${month}:charge:shop-1:${n}`,
          session: `m${month}`,
          month: monthOfYear(month),
          at: Date.UTC(2025, month - 1) + n,
        });

      it("are the events of months before one, some at a time", async () => {
        const event = chargeMade(facts(), JANUARY, aCharge(), "info");
        for (const month of ["2024-12", "2025-01", "2025-02"])
          for (let n = 0; n < 7; n++)
            await store.billing.write({
              accounts: [],
              entries: [],
              archive: [{ month, events: [{ ...event, id: `${month}:${n}` }] }],
            });
        expect(await forget({ eventsBefore: "2025-02" }, 5)).toEqual([5, 5, 4]);
        const left = await Promise.all(
          ["2024-12", "2025-01", "2025-02"].map((month) => store.billing.archived(month, { limit: 100 })),
        );
        expect(left.map(({ events }) => events.length)).toEqual([0, 0, 7]);
        expect(await forget({ eventsBefore: "2025-02" })).toEqual([0]);
      });

      it("are the entries of months before one, with all that points to them, and their sums; the others are as they were", async () => {
        const months = [1, 2, 3];
        const entries = months.flatMap((month) => [
          ...Array.from({ length: 12 }, (_, n) => entryOf(n, month)),
          { ...time(`m${month}`), month: monthOfYear(month), at: Date.UTC(2025, month - 1) },
          {
            ...correction(`c${month}`),
            month: monthOfYear(month),
            session: `m${month}`,
            at: Date.UTC(2025, month - 1, 9),
          },
        ]);
        await store.billing.write({ accounts: [], entries });
        const before = await store.billing.totals("alice", "2025-03");
        expect(await store.billing.newestMonth!()).toBe("2025-03");
        const steps = await forget({ entriesBefore: "2025-03" });
        expect(sum(steps)).toBeGreaterThanOrEqual(28);
        expect(steps.length).toBeGreaterThan(2);
        for (const month of ["2025-01", "2025-02"]) {
          expect(await store.billing.entries("alice", month, { limit: 100 })).toEqual({ entries: [] });
          expect(await store.billing.entriesFor(undefined, month, { limit: 100 })).toEqual({ entries: [] });
          expect(await store.billing.entriesFor("shop-1", month, { limit: 100 })).toEqual({ entries: [] });
          expect(await store.billing.totals("alice", month)).toEqual([]);
          expect(await store.billing.totalsFor("shop-1", month)).toEqual([]);
        }
        expect(await store.billing.entriesOf("m1")).toEqual([]);
        expect(await store.billing.findEntries(["m1:ended", "correction:c1"])).toEqual([undefined, undefined]);
        expect((await store.billing.entries("alice", "2025-03", { limit: 100 })).entries).toHaveLength(14);
        expect(await store.billing.totals("alice", "2025-03")).toEqual(before);
        expect(await store.billing.entriesOf("m3")).toHaveLength(14);
        expect(await store.billing.newestMonth!()).toBe("2025-03");
      });

      it("are accounts that are closed, of sessions that ended before a time, whatever else there is", async () => {
        const at = (days: number) => JANUARY - days * 86_400_000;
        const one = (days: number, name: string, state: Account["state"], ended = true) => {
          const session = timePrefix(at(days)) + name;
          const made = account(session, state);
          return {
            ...made,
            context: { ...made.context, tariff: lessonTariff, endedAt: ended ? at(days) + 1000 : null },
          };
        };
        const old = Array.from({ length: 25 }, (_, n) => one(100 + n, `o${n}`, "closed"));
        const stay = [
          ...Array.from({ length: 15 }, (_, n) => one(200 + n, `r${n}`, "running", false)),
          one(300, "c", "chargeable"),
          one(300, "o", "open", false),
          ...Array.from({ length: 15 }, (_, n) => one(10 + n, `n${n}`, "closed")),
          { ...account("other", "closed"), context: { ...account("other", "closed").context, endedAt: 1 } }, // no id of ours
        ];
        await store.billing.write({ accounts: [...old, ...stay], entries: [] });
        expect(sum(await forget({ accountsBefore: at(90) }))).toBe(25);
        const states = async (list: readonly Account[]) =>
          (await store.billing.accounts(list.map(({ context }) => context.session))).map((found) => found?.state);
        expect(new Set(await states(old))).toEqual(new Set([undefined]));
        expect(await states(stay)).toEqual(stay.map(({ state }) => state));
        expect(sum(await forget({ accountsBefore: at(90) }))).toBe(0);
      });

      it("is nothing where nothing is asked for, and where there is nothing", async () => {
        expect(await store.billing.newestMonth!()).toBeUndefined();
        expect(await forget({})).toEqual([0]);
        const all = { eventsBefore: "2030-01", entriesBefore: "2030-01", accountsBefore: Date.UTC(2030, 0) };
        expect(await forget(all)).toEqual([0]);
      });
    });

    describe("faults", () => {
      it("of what is written are told from those of the store", async () => {
        const ring: Record<string, unknown> = { id: "ring" };
        ring.ring = ring;
        const archive = [{ month: "2026-01", events: [ring as never] }];
        const broken = await store.billing.write({ accounts: [], entries: [], archive }).catch((error) => error);
        expect(store.billing.faultOf!(broken)).toBe("event");
        expect(store.billing.faultOf!(new BusyError("others write"))).toBe("store");
        expect(store.billing.faultOf!(new Error("E4711"))).toBe("unknown");
      });

      it("of the store are looked for without leaving anything behind", async () => {
        await store.billing.check!();
        await store.billing.check!();
        expect((await store.billing.entriesFor(undefined, "2026-01", { limit: 10 })).entries).toEqual([]);
        expect(await store.billing.findEntries(["check"])).toEqual([undefined]);
        expect(await store.billing.deadLetters(10)).toEqual([]);
      });
    });

    it("adds up each user's month by service and currency, exactly", async () => {
      const entries: Entry[] = [
        ...Array.from({ length: 10 }, (_, n) => item(n, { amount: "0.1" })),
        item(10, { currency: "JPY", amount: "500" }),
        item(11, { service: "beer", amount: "0.333333" }),
        item(12, { user: "bob", amount: "7" }),
        item(13, { month: "2026-02", amount: "7" }),
        time("s1"),
        time("s2", { amount: "0.10", durationMs: 1 }),
        time("s3", { currency: "", amount: "0", durationMs: 5 }),
      ];
      await store.billing.write({ accounts: [], entries: entries.slice(0, 6) });
      await store.billing.write({ accounts: [], entries: entries.slice(3) });
      const plain = (await store.billing.totals("alice", "2026-01")).map((sum) => ({
        ...sum,
        timeAmount: String(amount(sum.timeAmount)),
        itemAmount: String(amount(sum.itemAmount)),
      }));
      expect(sorted(plain)).toEqual([
        total({ service: "beer", charges: 1, itemAmount: "0.333333" }),
        total({ currency: "", sessions: 1, durationMs: 5 }),
        total({ sessions: 2, durationMs: 60_001, timeAmount: "0.45", charges: 10, itemAmount: "1" }),
        total({ currency: "JPY", charges: 1, itemAmount: "500" }),
      ]);
      expect(await store.billing.totals("alic", "2026-01")).toEqual([]);
    });

    it("adds up what was under other terms apart: a user's by taxes, an app server's by what was agreed", async () => {
      const vat = (rate: string) => ({ taxes: [{ id: "vat", rate, included: false }] });
      const fee = (percent: string) => ({ fee: { percent }, timeShare: "50" });
      const entries: Entry[] = [
        item(1, { amount: "1" }),
        item(2, { amount: "2", terms: { ...vat("19"), ...fee("5") } }),
        item(3, { amount: "4", terms: { ...vat("21"), ...fee("5") } }),
        time("s4", { amount: "8", terms: { ...vat("21"), ...fee("10") } }),
        item(5, { amount: "16", terms: vat("19"), prepaid: true }),
        correction("6", { amount: "-32", terms: { ...vat("19"), ...fee("10") } }),
        item(7, { amount: "64", terms: fee("10"), prepaid: true }),
      ];
      for (const entry of entries) await store.billing.write({ accounts: [], entries: [entry] });
      await store.billing.write({ accounts: [], entries: shuffled(entries, numbers(3)) });
      const plain = (sums: MonthTotal[]) =>
        sums
          .map(({ terms, prepaid, sessions, timeAmount, itemAmount, itemCorrection = "0" }) => ({
            ...{ terms, prepaid, sessions },
            sum: amount(timeAmount) + amount(itemAmount) + amount(itemCorrection),
          }))
          .sort((a, b) => a.sum - b.sum);
      expect(plain(await store.billing.totals("alice", "2026-01"))).toEqual([
        { terms: vat("19"), sessions: 0, sum: -30 },
        { sessions: 0, sum: 1 },
        { terms: vat("21"), sessions: 1, sum: 12 },
        { terms: vat("19"), prepaid: true, sessions: 0, sum: 16 },
        { prepaid: true, sessions: 0, sum: 64 },
      ]);
      expect(plain(await store.billing.totalsFor("shop-1", "2026-01"))).toEqual([
        { terms: fee("5"), sessions: 0, sum: 6 },
        { sessions: 0, sum: 17 },
        { terms: fee("10"), sessions: 1, sum: 40 },
      ]);
    });

    it("keeps events that nobody can bill", async () => {
      const letter = { id: "x", at: JANUARY, reason: "at must be a time", event: '{"id":"x"}' };
      await store.billing.putDeadLetter(letter);
      await store.billing.putDeadLetter(letter);
      await store.billing.putDeadLetter({ ...letter, id: "y" });
      expect((await store.billing.deadLetters(10)).map(({ id }) => id).sort()).toEqual(["x", "y"]);
      expect(await store.billing.deadLetters(1)).toHaveLength(1);
      expect((await store.billing.deadLetters(10)).find(({ id }) => id === "x")).toEqual(letter);
    });

    it("finds, replaces and removes dead letters by id, and lists them in pages by id", async () => {
      const { billing } = store;
      for (const id of ["c:1", "a:1", "b:2"])
        await billing.putDeadLetter({ id, at: JANUARY, reason: "r", event: "{}" });
      expect((await billing.deadLetters(2)).map(({ id }) => id)).toEqual(["a:1", "b:2"]);
      expect((await billing.deadLetters(2, "b:2")).map(({ id }) => id)).toEqual(["c:1"]);
      await billing.putDeadLetter({ id: "b:2", at: JANUARY, reason: "another", event: "[]" });
      expect(await billing.getDeadLetter("b:2")).toEqual({ id: "b:2", at: JANUARY, reason: "another", event: "[]" });
      expect(await billing.removeDeadLetter("b:2")).toBe(true);
      expect(await billing.removeDeadLetter("b:2")).toBe(false);
      expect(await billing.getDeadLetter("b:2")).toBeUndefined();
      expect(await billing.deadLetters(10)).toHaveLength(2);
    });
  });
}
