import type { SessionFacts } from "../events/events.ts";
import { add, formatAmount, type Money, money, subtract } from "../money/money.ts";
import { freeMsOf, rateDuration, type Tariff, type TariffUse, useAfter } from "../money/tariff.ts";
import { TaxedSums } from "../money/tax.ts";
import type { AppliedTax } from "../money/terms.ts";
import type { PartCost, UsedTariff } from "./book-state.ts";
import { CallCharges } from "./call-charges.ts";

interface Used {
  freeMs: number;
  chargedMs: number;
  amount: Money;
}

/** A price, and the taxes on it. */
export interface Price {
  readonly amount: Money;
  readonly taxes: readonly AppliedTax[] | undefined;
}

interface PartOver {
  readonly facts: SessionFacts;
  readonly durationMs: number;
}

/** Sums of prices, one for each currency and set of taxes. */
class Prices {
  private readonly sums = new Map<string, Price>();

  add({ amount, taxes }: Price): void {
    const key = JSON.stringify([amount.currency, taxes]);
    const before = this.sums.get(key);
    this.sums.set(key, before ? { amount: add(before.amount, amount), taxes } : { amount, taxes });
  }

  get all(): Price[] {
    return [...this.sums.values()];
  }
}

/** What a part costs, rounded as on the bill: prepaid costs are rounded with the part, all others with the month. */
export function costOfPart({ tariff, used, terms, hold }: SessionFacts, durationMs: number, charged: readonly Price[]) {
  const prices = [...charged];
  if (tariff) prices.push({ amount: rateDuration(tariff, durationMs, used), taxes: terms?.taxes });
  if (hold === undefined) return prices;
  const sums = new TaxedSums();
  for (const { amount, taxes } of prices) sums.add(amount, taxes);
  return Array.from(sums.currencies, (currency): Price => ({ amount: sums.due(currency), taxes: undefined }));
}

/**
 * What the parts of one call share (M20-M22): a tariff's set-up fee, free seconds, minimum and cap count once for all
 * of them. Limits count over the parts, and also over the sessions between which the client moved (M23, M24). Made when
 * a second part, or a second session, is asked for.
 */
export class CallParts {
  readonly charges: CallCharges;
  private readonly tariffs = new Map<string, Used>();
  /**
   * Earlier parts of the client's dialog: what their time cost, and which parts' charges count. Prepaid parts stand
   * separately, since each is rounded by itself.
   */
  private readonly time = new Prices();
  private readonly postpaid = new Set<string>();
  private readonly prepaid: PartOver[] = [];

  /**
   * `charges`: those of the session that the client moves on from. `used`: what was used of each tariff before.
   * `costs`: the cost of parts that were over before this process began.
   */
  constructor(
    charges = new CallCharges(),
    { tariffs: used, costs = [] }: { readonly tariffs: readonly UsedTariff[]; readonly costs?: readonly PartCost[] } = {
      tariffs: [],
    },
  ) {
    this.charges = charges;
    for (const { amount, currency, taxes } of costs) this.time.add({ amount: money(amount, currency), taxes });
    for (const { tariff: id, currency, freeMs, chargedMs, amount } of used)
      this.tariffs.set(keyOf({ id, currency }), { freeMs, chargedMs, amount: money(amount, currency) });
  }

  /** What was used of each tariff, as data. */
  get usedTariffs(): UsedTariff[] {
    return Array.from(this.tariffs, ([key, { freeMs, chargedMs, amount }]) => {
      const [tariff = "", currency = ""] = key.split("\n");
      return { tariff, currency, freeMs, chargedMs, amount: formatAmount(amount) };
    });
  }

  /** The client's dialog goes on with another part; this one lasted `durationMs`. */
  wentOn(facts: SessionFacts, durationMs: number): void {
    if (facts.hold !== undefined) {
      this.prepaid.push({ facts, durationMs });
      return;
    }
    for (const price of costOfPart(facts, durationMs, [])) this.time.add(price);
    this.postpaid.add(facts.id);
  }

  /** What earlier parts of the client's dialog cost, including what was charged in them until now. */
  costs(): Price[] {
    const prices = this.time.all;
    const books = this.charges.booksBySession;
    for (const [session, book] of books) if (this.postpaid.has(session)) prices.push(...book.charged());
    for (const { facts, durationMs } of this.prepaid)
      prices.push(...costOfPart(facts, durationMs, books.get(facts.id)?.charged() ?? []));
    return prices;
  }

  /** The same as data. */
  get costState(): PartCost[] {
    const sums = new Prices();
    for (const price of this.costs()) sums.add(price);
    return sums.all.map(({ amount, taxes }) => ({
      currency: amount.currency,
      amount: formatAmount(amount),
      ...(taxes && { taxes }),
    }));
  }

  /** What earlier parts have used of a tariff by now; undefined: nothing. */
  used(tariff: Tariff | undefined): TariffUse | undefined {
    const used = tariff && this.tariffs.get(keyOf(tariff));
    return used && { ...used, amount: formatAmount(used.amount) };
  }

  /**
   * A part begins; returns what earlier parts have used. Until it ends, all remaining free seconds belong to it: parts
   * that run at the same time would not share them.
   */
  begin(tariff: Tariff | undefined): TariffUse | undefined {
    if (!tariff) return undefined;
    const before = this.used(tariff);
    const { chargedMs, amount } = before ?? useAfter(tariff, 0);
    const freeMs = freeMsOf(tariff);
    this.tariffs.set(keyOf(tariff), { freeMs, chargedMs, amount: money(amount, tariff.currency) });
    return before;
  }

  /** A part is over. `before` is what `begin` returned for it. */
  end(tariff: Tariff | undefined, before: TariffUse | undefined, durationMs: number): void {
    const used = tariff && this.tariffs.get(keyOf(tariff));
    if (!used) return;
    const start = before ?? useAfter(tariff, 0);
    const after = useAfter(tariff, durationMs, start);
    used.freeMs -= Math.max(0, freeMsOf(tariff) - after.freeMs);
    used.chargedMs += after.chargedMs - start.chargedMs;
    used.amount = add(
      used.amount,
      subtract(money(after.amount, tariff.currency), money(start.amount, tariff.currency)),
    );
  }
}

const keyOf = ({ id, currency }: Pick<Tariff, "id" | "currency">): string => `${id}\n${currency}`;
