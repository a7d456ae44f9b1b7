import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { overdueHolds } from "../../src/charging/credit/account.ts";
import {
  balanceOf,
  type CreditAccount,
  type CreditStore,
  type LedgerEntry,
  type ReserveRequest,
  type Settlement,
} from "../../src/charging/credit/store.ts";
import type { Store } from "../../src/store/types.ts";
import { JANUARY } from "../charging/samples.ts";
import type { StoreAdapter, StoreUnderTest } from "./adapters.ts";

const UNIT = 1_000_000;

const topUp = (units: number, over: Partial<LedgerEntry> = {}): LedgerEntry => ({
  user: "alice",
  id: "topup:1",
  at: JANUARY,
  kind: "topup",
  amount: units * UNIT,
  currency: "EUR",
  ...over,
});

const hold = (units: number, over: Partial<ReserveRequest> = {}): ReserveRequest => ({
  user: "alice",
  hold: "h1",
  currency: "EUR",
  from: 0,
  to: units * UNIT,
  atLeast: units * UNIT,
  used: 0,
  until: JANUARY + 60_000,
  ...over,
});

const cost = (units: number, at = JANUARY + 90_000): Settlement => ({
  user: "alice",
  hold: "h1",
  session: "s1",
  totals: [{ amount: units * UNIT, at }],
});

/** What every adapter of the store port does with prepaid balances (decisions 7 and 9). */
export function creditContract(adapter: StoreAdapter): void {
  describe(`prepaid balances on ${adapter.name}`, () => {
    let under: StoreUnderTest;
    let credit: CreditStore;
    const opened: Store[] = [];
    const open = async (): Promise<CreditStore> => {
      const store = await under.open();
      opened.push(store);
      return store.credit!;
    };
    beforeEach(async () => {
      under = await adapter.create();
      credit = await open();
    });
    afterEach(async () => {
      for (const store of opened.splice(0)) await store.close();
      await under.destroy();
    });
    const having = async (units: number, user = "alice") => {
      await credit.open(user, "EUR");
      await credit.post(topUp(units, { user }));
    };
    const account = async () => (await credit.account("alice"))!;
    const available = async () => (await account()).available / UNIT;
    const ledger = async (user = "alice") => (await credit.ledger(user, { limit: 1000 })).entries;
    /** `available` and all that is held come to the sum of the ledger: no money appears or vanishes. */
    const adds = async () => {
      const { available, holds } = await account();
      const held = Object.values(holds).reduce((sum, { amount }) => sum + amount, 0);
      expect(available + held).toBe((await ledger()).reduce((sum, { amount }) => sum + amount, 0));
    };

    it("are opened once, in one currency", async () => {
      expect(await credit.account("alice")).toBeUndefined();
      expect(await credit.open("alice", "EUR")).toBe(true);
      expect(await credit.open("alice", "USD")).toBe(false);
      expect(await account()).toEqual({ user: "alice", currency: "EUR", available: 0, holds: {} });
    });

    it("grow by each top-up once, whoever says it twice and at once", async () => {
      await credit.open("alice", "EUR");
      const other = await open();
      const results = await Promise.all(Array.from({ length: 10 }, (_, i) => (i % 2 ? credit : other).post(topUp(20))));
      expect(results.filter((result) => result === "posted")).toHaveLength(1);
      expect(results.filter((result) => result === "repeated")).toHaveLength(9);
      expect(await credit.post(topUp(21))).toBe("different");
      expect(await credit.post(topUp(5, { id: "topup:2", at: JANUARY + 1 }))).toBe("posted");
      expect(await available()).toBe(25);
      await adds();
    });

    it("take no entry without an account, or in another currency", async () => {
      expect(await credit.post(topUp(1))).toBe("no account");
      await credit.open("alice", "EUR");
      expect(await credit.post(topUp(1, { currency: "USD" }))).toBe("currency");
      expect(await available()).toBe(0);
    });

    it("are corrected by further entries, also below zero", async () => {
      await having(5);
      const correction = topUp(-7.25, {
        id: "correction:1",
        kind: "correction",
        reason: "typed twice",
        at: JANUARY + 1,
      });
      expect(await credit.post(correction)).toBe("posted");
      expect(await available()).toBe(-2.25);
      expect(await ledger()).toEqual([topUp(5), correction]);
    });

    it("list the ledger by time, page by page, from and to", async () => {
      await credit.open("alice", "EUR");
      await credit.open("alice2", "EUR");
      await credit.post(topUp(1, { user: "alice2" }));
      const all = Array.from({ length: 7 }, (_, n) => topUp(n + 1, { id: `topup:${n}`, at: JANUARY + n * 1000 }));
      for (const n of [3, 0, 6, 1, 5, 2, 4]) await credit.post(all[n]!);
      const first = await credit.ledger("alice", { limit: 4 });
      expect(first.entries).toEqual(all.slice(0, 4));
      const second = await credit.ledger("alice", { limit: 4, after: first.next });
      expect(second).toEqual({ entries: all.slice(4) });
      const part = await credit.ledger("alice", { limit: 10, from: JANUARY + 1000, to: JANUARY + 3000 });
      expect(part.entries).toEqual(all.slice(1, 3));
    });

    describe("hold", () => {
      it("what a session may use, raise it, and give the rest back when it is settled", async () => {
        await having(10);
        expect(await credit.reserve(hold(1))).toEqual({ ok: true, value: 1 * UNIT });
        expect(await available()).toBe(9);
        const raised = hold(2.5, { from: UNIT, used: 0.5 * UNIT, until: JANUARY + 120_000 });
        expect(await credit.reserve(raised)).toEqual({ ok: true, value: 2.5 * UNIT });
        expect((await account()).holds).toEqual({
          h1: { amount: 2.5 * UNIT, used: 0.5 * UNIT, until: JANUARY + 120_000 },
        });
        expect(balanceOf(await account())).toBe(10 * UNIT);
        await credit.settle(cost(1.75));
        expect(await available()).toBe(8.25);
        expect(balanceOf(await account())).toBe(8.25 * UNIT);
        expect((await account()).holds).toEqual({});
        expect((await ledger())[1]).toEqual({
          ...{ user: "alice", id: "session:h1:0", at: JANUARY + 90_000, kind: "session", currency: "EUR" },
          ...{ amount: -1.75 * UNIT, hold: "h1", session: "s1" },
        });
        await adds();
      });

      it("nothing twice when a call is repeated whose answer was lost", async () => {
        await having(10);
        for (let i = 0; i < 3; i++) expect(await credit.reserve(hold(4))).toEqual({ ok: true, value: 4 * UNIT });
        for (let i = 0; i < 3; i++)
          expect(await credit.reserve(hold(6, { from: 4 * UNIT }))).toEqual({ ok: true, value: 6 * UNIT });
        expect(await available()).toBe(4);
      });

      it("only `until` when no more is asked for, also where nothing is left", async () => {
        await having(4);
        await credit.reserve(hold(4));
        const touched = hold(4, { from: 4 * UNIT, until: JANUARY + 180_000 });
        expect(await credit.reserve(touched)).toEqual({ ok: true, value: 4 * UNIT });
        expect((await account()).holds.h1).toMatchObject({ amount: 4 * UNIT, until: JANUARY + 180_000 });
      });

      it("what is left, where that is enough; else nothing", async () => {
        await having(5);
        await credit.reserve(hold(4));
        expect(await credit.reserve(hold(7, { from: 4 * UNIT, atLeast: 5.5 * UNIT }))).toEqual({
          ok: false,
          error: { why: "credit", account: { currency: "EUR", available: 1 * UNIT } },
        });
        expect(await credit.reserve(hold(7, { from: 4 * UNIT, atLeast: 4.5 * UNIT }))).toEqual({
          ok: true,
          value: 5 * UNIT,
        });
        expect(await available()).toBe(0);
        expect(await credit.reserve(hold(8, { from: 5 * UNIT, atLeast: 5 * UNIT }))).toMatchObject({
          ok: false,
          error: { why: "credit" },
        });
      });

      it("nothing without an account, in another currency, or for a hold that is gone", async () => {
        expect(await credit.reserve(hold(1))).toEqual({ ok: false, error: { why: "no account" } });
        await having(5);
        expect(await credit.reserve(hold(1, { currency: "USD" }))).toMatchObject({ error: { why: "currency" } });
        expect(await credit.reserve(hold(2, { from: UNIT }))).toMatchObject({ error: { why: "gone" } });
        await credit.reserve(hold(1));
        await credit.settle(cost(1));
        expect(await credit.reserve(hold(2, { from: UNIT }))).toMatchObject({ error: { why: "gone" } });
        expect(await available()).toBe(4);
      });

      it("never more than there is, with 50 that want it at once (P2)", async () => {
        await having(20);
        const other = await open();
        const results = await Promise.all(
          Array.from({ length: 50 }, (_, i) => (i % 2 ? credit : other).reserve(hold(1, { hold: `h${i}` }))),
        );
        expect(results.filter((result) => result.ok)).toHaveLength(20);
        expect(results.filter((result) => !result.ok && result.error.why === "credit")).toHaveLength(30);
        expect(await available()).toBe(0);
        await adds();
      });

      it("exactly all there is, with 50 that raise theirs at once and take what is left", async () => {
        await having(60.5);
        const other = await open();
        const by = (i: number) => (i % 2 ? credit : other);
        await Promise.all(Array.from({ length: 50 }, (_, i) => by(i).reserve(hold(1, { hold: `h${i}` }))));
        const raised = await Promise.all(
          Array.from({ length: 50 }, (_, i) =>
            by(i).reserve(hold(2, { hold: `h${i}`, from: UNIT, atLeast: UNIT + 1 })),
          ),
        );
        expect(raised.filter((result) => result.ok && result.value === 2 * UNIT)).toHaveLength(10);
        expect(raised.filter((result) => result.ok && result.value === 1.5 * UNIT)).toHaveLength(1);
        expect(await available()).toBe(0);
        await adds();
      });
    });

    describe("are settled", () => {
      it("once, however often and in whatever order the totals come", async () => {
        await having(10);
        await credit.reserve(hold(5));
        const other = await open();
        const totals = [1, 2, 3, 3, 2, 1];
        await Promise.all(totals.map((total, i) => (i % 2 ? credit : other).settle(cost(total))));
        expect(await available()).toBe(7);
        await credit.settle(cost(2));
        expect(await available()).toBe(7);
        const taken = (await ledger()).filter(({ kind }) => kind === "session");
        expect(taken.reduce((sum, { amount }) => sum + amount, 0)).toBe(-3 * UNIT);
        await adds();
      });

      it("month by month, as their bills have it, each in its own month", async () => {
        await having(10);
        await credit.reserve(hold(5));
        const [january, february] = [Date.UTC(2026, 1) - 1, Date.UTC(2026, 1)];
        const totals = [
          { amount: 1 * UNIT, at: january },
          { amount: 2 * UNIT, at: february },
        ];
        for (let i = 0; i < 3; i++) await credit.settle({ ...cost(0), totals });
        expect(await available()).toBe(7);
        await credit.settle({ ...cost(0), totals: [totals[0]!, { amount: 2.5 * UNIT, at: february + 5 }] });
        expect((await ledger()).map(({ id, at, amount }) => [id, at, amount / UNIT])).toEqual([
          ["topup:1", JANUARY, 10],
          ["session:h1:0", january, -1],
          ["session:h1:1", february, -2],
          ["session:h1:2", february + 5, -0.5],
        ]);
        await adds();
      });

      it("beyond what was held, below zero if need be: it was used", async () => {
        await having(2);
        await credit.reserve(hold(2));
        await credit.settle(cost(2.5));
        expect(await available()).toBe(-0.5);
        await adds();
      });

      it("from the ledger when a charge comes after all was closed, once", async () => {
        await having(10);
        await credit.reserve(hold(5));
        await credit.settle(cost(3));
        const other = await open();
        const late = cost(4, JANUARY + 100_000);
        await Promise.all(Array.from({ length: 10 }, (_, i) => (i % 2 ? credit : other).settle(late)));
        expect(await available()).toBe(6);
        expect((await ledger()).map(({ id, amount }) => [id, amount / UNIT])).toEqual([
          ["topup:1", 10],
          ["session:h1:0", -3],
          ["session:h1:1", -1],
        ]);
        await adds();
      });

      it("with nothing in the ledger when the session cost nothing", async () => {
        await having(10);
        await credit.reserve(hold(5));
        await credit.settle(cost(0));
        expect(await available()).toBe(10);
        expect(await ledger()).toHaveLength(1);
      });

      it("without harm for a user who has no account", async () => {
        await credit.settle(cost(1));
        expect(await credit.account("alice")).toBeUndefined();
      });
    });

    describe("are swept", () => {
      /** As by a billing worker that has seen for long enough that nobody renews them. */
      async function sweep(now: number): Promise<number> {
        let swept = 0;
        for (let after: string | undefined, more = true; more; more = after !== undefined) {
          const page = await credit.overdue(now, { after, limit: 2 });
          for (const one of page.accounts) if (await credit.release(one.user, overdueHolds(one, now))) swept++;
          after = page.next;
        }
        return swept;
      }

      it("of the holds of dead relays, but for what was used; that waits for the end to be billed", async () => {
        await having(10);
        await credit.reserve(hold(1, { hold: "ringing" }));
        await credit.reserve(hold(1));
        await credit.reserve(hold(3, { from: UNIT, used: 2 * UNIT }));
        await credit.reserve(hold(1, { hold: "alive", until: JANUARY + 120_000 }));
        expect(await sweep(JANUARY + 59_999)).toBe(0);
        expect(await sweep(JANUARY + 60_000)).toBe(1);
        expect(
          Object.entries((await account()).holds)
            .map(([key, { amount }]) => [key, amount / UNIT])
            .sort(),
        ).toEqual([
          ["alive", 1],
          ["h1", 2],
        ]);
        expect(await available()).toBe(7);
        expect(await sweep(JANUARY + 60_000)).toBe(0);
        await credit.settle(cost(2.5));
        expect(await available()).toBe(6.5);
        await adds();
      });

      it("and settled from the ledger when the end of a swept session is found after all", async () => {
        await having(10);
        await credit.reserve(hold(1));
        await sweep(JANUARY + 60_000);
        expect(await available()).toBe(10);
        await credit.settle(cost(0.5));
        await credit.settle(cost(0.5));
        expect(await available()).toBe(9.5);
        await adds();
      });

      it("account by account, soonest first", async () => {
        for (const user of ["a", "b", "c"]) await having(1, user);
        for (const [i, user] of ["c", "a", "b"].entries())
          await credit.reserve(hold(1, { user, until: JANUARY + i * 1000 }));
        const users = ({ accounts }: { accounts: readonly CreditAccount[] }) => accounts.map(({ user }) => user);
        const first = await credit.overdue(JANUARY + 5000, { limit: 2 });
        expect(users(first)).toEqual(["c", "a"]);
        const second = await credit.overdue(JANUARY + 5000, { after: first.next, limit: 2 });
        expect([users(second), second.next]).toEqual([["b"], undefined]);
        expect(users(await credit.overdue(JANUARY + 999, { limit: 2 }))).toEqual(["c"]);
        expect(await sweep(JANUARY + 5000)).toBe(3);
        expect((await credit.account("b"))?.available).toBe(UNIT);
      });

      it("also where they would stand for longer than anybody asks for: some clock was wrong", async () => {
        for (const user of ["a", "b", "c", "d"]) await having(1, user);
        for (const [user, byMs] of Object.entries({ a: -1, b: 600_000, c: 600_001, d: 86_400_000 }))
          await credit.reserve(hold(1, { user, until: JANUARY + byMs }));
        const found: string[] = [];
        for (let after: string | undefined, more = true; more; more = after !== undefined) {
          const page = await credit.overdue(JANUARY, { after, limit: 1 });
          found.push(...page.accounts.map(({ user }) => user));
          after = page.next;
        }
        expect(found).toEqual(["a", "c", "d"]);
      });

      it("not where they were renewed, raised or settled since they were seen", async () => {
        await having(10);
        for (const key of ["renewed", "raised", "settled", "dead"]) await credit.reserve(hold(1, { hold: key }));
        const seen = overdueHolds(await account(), JANUARY + 60_000);
        await credit.reserve(hold(1, { hold: "renewed", from: UNIT, until: JANUARY + 60_001 }));
        await credit.reserve(hold(2, { hold: "raised", from: UNIT }));
        await credit.settle({ ...cost(0), hold: "settled" });
        expect(await credit.release("alice", seen)).toBe(true);
        expect(Object.keys((await account()).holds).sort()).toEqual(["raised", "renewed"]);
        expect([await credit.release("alice", seen), await credit.release("nobody", seen)]).toEqual([false, false]);
        expect(await available()).toBe(7);
      });

      it("with how long their relay may go without renewing them", async () => {
        await having(10);
        await credit.reserve(hold(1, { leaseMs: 90_000 }));
        expect((await account()).holds.h1).toEqual({ amount: UNIT, used: 0, until: JANUARY + 60_000, leaseMs: 90_000 });
        const [overdue] = (await credit.overdue(JANUARY + 60_000, { limit: 1 })).accounts;
        expect(overdue).toEqual(await account());
      });
    });

    it("are the same after closing and opening", async () => {
      await having(10);
      await credit.reserve(hold(5));
      const before = await account();
      for (const store of opened.splice(0)) await store.close();
      credit = await open();
      expect(await account()).toEqual(before);
    });

    describe("with terms", () => {
      const DAY = 86_400_000;
      const lease = { until: JANUARY + 60_000, leaseMs: 60_000 };

      it("let a postpaid account go below zero as far as its limit, and no further", async () => {
        await credit.open("alice", "EUR");
        expect(await credit.setTerms("alice", { limit: 5 * UNIT })).toBe(true);
        expect(await credit.reserve(hold(4, lease))).toEqual({ ok: true, value: 4 * UNIT });
        const more = hold(2, { ...lease, hold: "h2" });
        expect(await credit.reserve(more)).toMatchObject({ ok: false, error: { why: "credit" } });
        expect(await credit.reserve({ ...more, atLeast: 0 })).toEqual({ ok: true, value: 1 * UNIT });
        expect(await credit.account("alice")).toMatchObject({ available: -5 * UNIT, limit: 5 * UNIT });
        await credit.setTerms("alice", { limit: null });
        expect(await credit.reserve({ ...more, from: UNIT, to: 900 * UNIT, atLeast: 900 * UNIT })).toMatchObject({
          ok: true,
        });
        expect(await (await open()).account("alice")).toMatchObject({ limit: null });
      });

      it("take no more than what is allowed for a UTC day, holds included, and give back what a session did not use", async () => {
        await credit.open("alice", "EUR");
        await credit.post(topUp(100));
        await credit.setTerms("alice", { perDay: 10 * UNIT });
        expect(await credit.reserve(hold(8, lease))).toMatchObject({ ok: true });
        const second = hold(4, { ...lease, hold: "h2" });
        expect(await credit.reserve(second)).toMatchObject({ ok: false, error: { why: "day" } });
        await credit.settle({ user: "alice", hold: "h1", session: "s1", totals: [{ amount: 5 * UNIT, at: JANUARY }] });
        expect(await credit.reserve(second)).toMatchObject({ ok: true });
        expect(await credit.reserve(hold(2, { ...lease, hold: "h3" }))).toMatchObject({
          ok: false,
          error: { why: "day" },
        });
        const tomorrow = { until: JANUARY + DAY + 60_000, leaseMs: 60_000 };
        expect(await credit.reserve(hold(10, { ...tomorrow, hold: "h3" }))).toMatchObject({ ok: true });
        expect(await credit.reserve(hold(1, { ...tomorrow, hold: "h4" }))).toMatchObject({
          ok: false,
          error: { why: "day" },
        });
        const late = { user: "alice", hold: "h2", session: "s2", totals: [{ amount: 1 * UNIT, at: JANUARY }] };
        await credit.settle(late); // of the day before: it makes no room today
        expect(await credit.reserve(hold(1, { ...tomorrow, hold: "h4" }))).toMatchObject({
          ok: false,
          error: { why: "day" },
        });
      });

      it("keep balance, holds and ledger when they are changed, and are gone when they are taken away", async () => {
        expect(await credit.setTerms("nobody", {})).toBe(false);
        await credit.open("alice", "EUR");
        await credit.post(topUp(10));
        await credit.reserve(hold(4, lease));
        await credit.setTerms("alice", { limit: UNIT, perDay: UNIT });
        await credit.setTerms("alice", {});
        const account = await credit.account("alice");
        expect(account).toMatchObject({ available: 6 * UNIT, holds: { h1: { amount: 4 * UNIT } } });
        expect(account).not.toHaveProperty("limit");
        expect(account).not.toHaveProperty("perDay");
        expect(account).not.toHaveProperty("day");
      });
    });
  });
}
