import { beforeEach, describe, expect, it } from "vitest";
import { HoldWatch } from "../../src/charging/billing/hold-watch.ts";
import { LEASE_MS } from "../../src/charging/credit/store.ts";
import { TestClock } from "../support/test-clock.ts";
import { MemoryCredit } from "./memory-credit.ts";
import { JANUARY, silent } from "./samples.ts";

const UNIT = 1_000_000;
const LEASE = 90_000;
const EVERY = 10_000;
/** By how much the billing worker's clock is ahead of the relay's. */
const APART = [-30 * 86_400_000, -3_600_000, -60_000, 0, 60_000, 3_600_000, 30 * 86_400_000];

let credit: MemoryCredit;
/** The relay's, which writes `until`. */
let relay: TestClock;
beforeEach(async () => {
  credit = new MemoryCredit();
  await credit.pay("alice", "10");
  relay = new TestClock(JANUARY);
});

/** A billing worker whose clock shows something else, and that looks every ten seconds. */
function worker(aheadMs: number) {
  const clock = new TestClock(relay.wall() + aheadMs);
  const watch = new HoldWatch({ credit, clock, log: silent });
  const pass = async (ms: number) => {
    let released = 0;
    for (let left = ms; left > 0; left -= EVERY) {
      relay.advance(EVERY);
      clock.advance(EVERY);
      released += await watch.sweep();
    }
    return released;
  };
  return { clock, pass };
}

const hold = (from = 0, leaseMs: number | null = LEASE) =>
  credit.reserve({
    ...{ user: "alice", hold: "h1", currency: "EUR", from, to: UNIT, atLeast: UNIT, used: 0 },
    ...(leaseMs !== null && { leaseMs }),
    until: relay.wall() + (leaseMs ?? LEASE_MS),
  });

describe("what a prepaid session holds", () => {
  it.each(APART)("stays while its relay renews it, where the worker's clock is %i ms ahead", async (aheadMs) => {
    const { pass } = worker(aheadMs);
    await hold();
    for (let minutes = 0; minutes < 30; minutes++) {
      expect(await pass(60_000)).toBe(0);
      await hold(UNIT);
    }
    expect(credit.available()).toBe(9);
  });

  it.each(APART)("stays while the wall clock of both is set by %i ms, again and again", async (byMs) => {
    const { pass, clock } = worker(0);
    await hold();
    for (let i = 0; i < 30; i++) {
      for (const one of [relay, clock]) one.setWall(i % 2 ? -byMs : byMs);
      expect(await pass(60_000)).toBe(0);
      await hold(UNIT);
    }
    expect(credit.available()).toBe(9);
  });

  it.each([0, 60_000, 3_600_000, 30 * 86_400_000])(
    "comes back when its relay is dead, soon after it was to be renewed, where the worker's clock is %i ms ahead",
    async (aheadMs) => {
      const { pass } = worker(aheadMs);
      await hold();
      expect(await pass(LEASE)).toBe(0);
      expect(await pass(LEASE + EVERY)).toBe(1);
      expect([credit.available(), credit.held()]).toEqual([10, []]);
    },
  );

  it.each([-3_600_000, -30 * 86_400_000])(
    "comes back soon too where the worker's clock is far behind: %i ms",
    async (aheadMs) => {
      const { pass } = worker(aheadMs);
      await hold();
      expect(await pass(2 * LEASE)).toBe(1);
      expect(credit.available()).toBe(10);
    },
  );

  it("comes back with what was not used for certain, and waits for the end with the rest", async () => {
    const { pass } = worker(0);
    await credit.reserve({
      ...{ user: "alice", hold: "h1", currency: "EUR", from: 0, to: 3 * UNIT, atLeast: UNIT, used: UNIT },
      until: relay.wall() + LEASE,
      leaseMs: LEASE,
    });
    expect(await pass(2 * LEASE + EVERY)).toBe(1);
    expect([credit.available(), credit.held()]).toEqual([9, [1]]);
    expect(await pass(10 * LEASE)).toBe(0);
  });

  it("comes back after two minutes where it does not say how long it stands: it is of an older relay", async () => {
    const { pass } = worker(3_600_000);
    await hold(0, null);
    expect(await pass(LEASE_MS)).toBe(0);
    expect(await pass(EVERY)).toBe(1);
  });

  it("is looked at page by page, and no further where the worker is to stop", async () => {
    for (let i = 0; i < 3; i++) await credit.pay(`user${i}`, "1");
    let asked = 0;
    const paged = {
      overdue: async (now: number, { after = "" }: { readonly after?: string | undefined }) => {
        asked++;
        const { accounts } = await credit.overdue(now);
        const [first, ...others] = accounts.filter(({ user }) => user > after);
        return { accounts: first ? [first] : [], ...(others.length > 0 && { next: first!.user }) };
      },
      release: credit.release.bind(credit),
    };
    const clock = new TestClock(JANUARY);
    for (let i = 0; i < 3; i++)
      await credit.reserve({
        ...{ user: `user${i}`, hold: "h", currency: "EUR", from: 0, to: UNIT, atLeast: UNIT, used: 0 },
        until: JANUARY,
        leaseMs: LEASE,
      });
    const watch = new HoldWatch({ credit: paged, clock, log: silent });
    expect(await watch.sweep(() => true)).toBe(0);
    expect(asked).toBe(1);
    await watch.sweep();
    expect(asked).toBe(4);
    clock.advance(LEASE);
    expect(await watch.sweep()).toBe(3);
  });
});
