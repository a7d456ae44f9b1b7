import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createInProcessBus } from "../../src/bus/in-process.ts";
import { startBilling } from "../../src/charging/billing/billing.ts";
import { makeBill } from "../../src/charging/bills/bill.ts";
import { rebill } from "../../src/charging/bills/rebill.ts";
import { makeSettlement } from "../../src/charging/bills/settlement.ts";
import { CallParts } from "../../src/charging/charges/call-parts.ts";
import {
  type ChargeMade,
  type ChargingEvent,
  chargeMade,
  type SessionFacts,
  sessionChanged,
  sessionEnded,
  sessionStarted,
} from "../../src/charging/events/events.ts";
import { tariffSchema } from "../../src/charging/events/tariff-schema.ts";
import type { Tariff } from "../../src/charging/money/tariff.ts";
import type { Terms } from "../../src/charging/money/terms.ts";
import { openEmbeddedStore } from "../../src/store/embedded.ts";
import { openMongoStore } from "../../src/store/mongo.ts";
import type { Store } from "../../src/store/types.ts";
import { type MongoServer, mongoKind, NO_MONGO, startMongo } from "../support/mongo-server.ts";
import { TestClock } from "../support/test-clock.ts";
import { describeUnless } from "../support/unless.ts";
import { freshFolder } from "./folders.ts";
import { dues, type Line, linesOf, type Part, settled } from "./oracle.ts";
import { numbers, shuffled, silent } from "./samples.ts";

/*
 * Calls of every kind, billed by two workers that get their events twice, mixed up and cut anyhow; against bills worked
 * out by somebody else.
 */

/** An hour before February, so that calls and charges fall into two months. */
const EVE = Date.UTC(2026, 0, 31, 23);
const CURRENCIES = ["EUR", "JPY", "KWD", "CLF"];
const USERS = ["alice", "bob", "prepaid-1", "prepaid-2"];
const SHOPS = ["shop-1", "shop-2"];
const PAID_IN = 1_000_000;

class Story {
  readonly random: () => number;
  readonly parts: Part[][] = [];
  readonly events: ChargingEvent[] = [];
  readonly terms: Terms[];
  readonly tariffs: Tariff[];
  private charges = 0;

  constructor(seed: number) {
    this.random = numbers(seed);
    this.tariffs = CURRENCIES.flatMap((currency) => [0, 1].map((n) => this.tariff(`${currency}-${n}`, currency)));
    this.terms = [0, 1, 2].map(() => this.someTerms());
    for (let n = 0; n < 12; n++) this.call(n);
  }

  private below(most: number): number {
    return Math.floor(this.random() * most);
  }

  private one<T>(all: readonly T[]): T {
    return all[this.below(all.length)]!;
  }

  private sometimes<T>(percent: number, value: () => T): T | undefined {
    return this.below(100) < percent ? value() : undefined;
  }

  private decimal(most: number, decimals: number): string {
    const digits = this.below(decimals + 1);
    return (this.random() * most).toFixed(digits);
  }

  private tariff(id: string, currency: string): Tariff {
    const minimum = this.sometimes(40, () => this.decimal(2, 4));
    const tariff = {
      id,
      currency,
      setupFee: this.sometimes(50, () => this.decimal(1, 5)),
      price: this.sometimes(90, () => this.decimal(1, 5)),
      incrementS: this.sometimes(70, () => this.one([0.001, 0.5, 1, 6, 7.5, 30, 60, 3600])),
      freeS: this.sometimes(50, () => this.one([0, 0.25, 10, 60, 90])),
      minimum,
      cap: this.sometimes(40, () => String(2 + this.below(20))),
      rounding: this.sometimes(80, () => this.one(["half-up", "half-even", "up", "down"] as const)),
    };
    return tariffSchema.parse(JSON.parse(JSON.stringify(tariff)));
  }

  private someTerms(): Terms {
    const taxes = ["vat", "levy"].flatMap((tax) =>
      this.below(100) < 50 ? [{ id: tax, rate: this.decimal(30, 3), included: this.random() < 0.5 }] : [],
    );
    const percent = this.sometimes(50, () => this.decimal(99, 3));
    const perSession = this.sometimes(50, () => this.decimal(1, 4));
    const fee = { ...(percent && { percent }), ...(perSession && { perSession, currency: this.one(CURRENCIES) }) };
    const timeShare = this.sometimes(50, () => this.decimal(99, 2));
    return {
      ...(taxes.length > 0 && { taxes }),
      ...(Object.keys(fee).length > 0 && { fee }),
      ...(timeShare !== undefined && { timeShare }),
    };
  }

  /** A call of one to four parts, in two services that have a tariff each, or none. */
  private call(n: number): void {
    const user = this.one(USERS);
    const isPrepaid = user.startsWith("prepaid");
    const currency = isPrepaid ? "EUR" : this.one(CURRENCIES);
    const choices = this.tariffs.filter((tariff) => tariff.currency === currency);
    const shared = new CallParts();
    const parts: Part[] = [];
    let at = EVE + this.below(7_200_000);
    let before: SessionFacts | undefined;
    let beganAt = at;
    for (let i = 0, count = 1 + this.below(4); i < count; i++) {
      const which = this.below(3);
      const tariff = choices[which];
      const terms = this.one(this.terms);
      const used = shared.begin(tariff);
      const facts: SessionFacts = {
        id: `s${n}-${i}`,
        user,
        service: `service-${currency}-${which}`,
        appServer: this.one(SHOPS),
        call: `c${n}`,
        ...(tariff && { tariff }),
        ...(used && { used }),
        ...(Object.keys(terms).length > 0 && { terms }),
        ...(isPrepaid && { hold: `h${n}x${i}` }),
        lateChargesMs: 600_000,
        ...(before && { previous: { session: before.id, by: "change" as const } }),
      };
      this.events.push(before ? sessionChanged(facts, before, beganAt, at) : sessionStarted(facts, at));
      beganAt = at;
      const lasts = this.one([0, 1, 999, 1_000, 10_000, 59_999, 60_000, 60_001, 150_000, 3_599_999]);
      at += lasts;
      const charges = Array.from({ length: this.below(4) }, () => ({
        event: this.charge(facts, currency, beganAt, lasts),
      }));
      this.events.push(...charges.map(({ event }) => event));
      shared.end(tariff, used, lasts);
      parts.push({ facts, startedAt: beganAt, endedAt: at, charges });
      before = facts;
    }
    this.events.push(sessionEnded(before!, beganAt, at, "client"));
    this.parts.push(parts);
  }

  /** In the course of the part, or late; sometimes under terms that have changed since it began. */
  private charge(facts: SessionFacts, currency: string, from: number, lasts: number): ChargeMade {
    const { terms: _terms, used: _used, ...rest } = facts;
    const now = this.below(100) < 30 ? this.one(this.terms) : facts.terms;
    const session = now && Object.keys(now).length > 0 ? { ...rest, terms: now } : rest;
    const quantity = this.one(["1", "2", "0.75", "3.333", "0.000001"]);
    const charge = { id: `${++this.charges}`, item: "thing", unitPrice: this.decimal(30, 6), quantity, currency };
    return chargeMade(
      session,
      from + this.below(lasts + 300_000),
      charge,
      this.one(["info", "bye", "direct"] as const),
    );
  }

  get lines(): Line[] {
    return this.parts.flatMap(linesOf);
  }
}

/**
 * Two workers on one store, each with all of the events in an order of its own, some twice; one of them is stopped and
 * started in between.
 */
async function bill(store: Store, story: Story): Promise<void> {
  const { random } = story;
  const clock = new TestClock(EVE);
  for (const user of USERS.filter((one) => one.startsWith("prepaid"))) {
    await store.credit!.open(user, "EUR");
    const paid = { user, id: "topup:1", at: EVE, kind: "topup", amount: PAID_IN * 1e6, currency: "EUR" } as const;
    await store.credit!.post(paid);
  }
  for (const { facts } of story.parts.flat())
    if (facts.hold !== undefined)
      await store.credit!.reserve({
        ...{ user: facts.user, hold: facts.hold, currency: "EUR", from: 0, to: 1e6, atLeast: 1e6, used: 0 },
        until: EVE + 60_000,
      });
  const work = async () => {
    const mixed = shuffled([...story.events, ...story.events.filter(() => random() < 0.3)], random);
    for (let at = 0; at < mixed.length; ) {
      const bus = createInProcessBus({ clock, log: silent });
      const worker = await startBilling({ bus, store, clock, log: silent });
      const life = at + 1 + Math.floor(random() * mixed.length);
      while (at < Math.min(life, mixed.length)) {
        const next = at + 1 + Math.floor(random() * 20);
        await bus.publish(mixed.slice(at, next));
        at = next;
      }
      expect(worker.counters.deadLetters).toBe(0);
      await worker.stop();
      await bus.close();
    }
  };
  await Promise.all([work(), work()]);
}

async function compare(store: Store, story: Story, seed: number): Promise<void> {
  const { lines } = story;
  for (const user of USERS) {
    let left = BigInt(PAID_IN) * 100n;
    for (const month of ["2026-01", "2026-02"]) {
      const own = lines.filter((line) => line.user === user && line.month === month);
      const made = await makeBill(store, user, month);
      const found = Object.fromEntries(made.totals.map(({ currency, due }) => [currency, due]));
      expect(found, `seed ${seed}: ${user}, ${month}`).toEqual(dues(own));
      const short = await makeBill(store, user, month, { maxEntries: 0 }); // from the sums that the store keeps
      expect([short.totals, short.taxes], `seed ${seed}: ${user}, ${month}`).toEqual([made.totals, made.taxes]);
      const sums = made.services.flatMap((service) => service.sums);
      expect(sums.reduce((n, sum) => n + sum.sessions + sum.charges, 0)).toBe(own.length);
      if (!user.startsWith("prepaid")) continue;
      expect(made.prepaid!.paid, `seed ${seed}: ${user}, ${month}`).toBe(found.EUR ?? "0.00");
      left -= BigInt((found.EUR ?? "0.00").replace(".", ""));
    }
    if (!user.startsWith("prepaid")) continue;
    const account = await store.credit!.account(user);
    expect([account!.available, account!.holds], `seed ${seed}: ${user}`).toEqual([Number(left) * 10_000, {}]);
  }
  for (const shop of SHOPS)
    for (const month of ["2026-01", "2026-02"]) {
      const own = lines.filter((line) => line.appServer === shop && line.month === month);
      const { totals } = await makeSettlement(store, shop, month);
      const found = Object.fromEntries(totals.map(({ currency, due }) => [currency, due]));
      expect(found, `seed ${seed}: ${shop}, ${month}`).toEqual(settled(own));
    }
  for (const month of ["2026-01", "2026-02"])
    await rebill(store.billing, {
      month,
      write: false,
      onDifference: (one) => expect.fail(`seed ${seed}: ${JSON.stringify(one)}`),
    });
}

describe("bills, balances and settlements are what the README says, to the unit (M13, M14, M18, M19, M20)", () => {
  it("in the embedded store", { timeout: 120_000 }, async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const store = await openEmbeddedStore(freshFolder());
      const story = new Story(seed);
      await bill(store, story);
      await compare(store, story, seed);
      await store.close();
    }
  });

  describeUnless(mongoKind() === undefined ? NO_MONGO : undefined)(`on MongoDB (${mongoKind()})`, () => {
    let server: MongoServer;
    beforeAll(async () => {
      server = await startMongo();
    }, 90_000);
    afterAll(() => server?.stop());

    it("too", { timeout: 120_000 }, async () => {
      for (let seed = 101; seed <= 103; seed++) {
        const url = server.url(`tollgate_test_${randomBytes(6).toString("hex")}`);
        const store = await openMongoStore({ url, timeoutS: 30 });
        const story = new Story(seed);
        await bill(store, story);
        await compare(store, story, seed);
        await store.close();
      }
    });
  });
});
