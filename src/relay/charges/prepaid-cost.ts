import { SessionCost } from "../../charging/billing/session-cost.ts";
import type { Charged } from "../../charging/charges/call-charges.ts";
import type { Micros } from "../../charging/credit/store.ts";
import { coveredMs } from "../../charging/money/coverage.ts";
import { type Money, money } from "../../charging/money/money.ts";
import { rateDuration, type TariffUse } from "../../charging/money/tariff.ts";
import type { Core } from "../model/core.ts";
import type { CreditTerms } from "../model/ports.ts";

/** Whether a cost includes `credit.reserveCharges`, which is for charges to come. */
export type Spare = "spare" | "none";
export const SPARE: Spare = "spare";
export const NONE: Spare = "none";

/** What a prepaid session costs, as on the bill: its time by the tariff, and what app servers have charged. */
export class PrepaidCost {
  private readonly core: Core;
  private readonly terms: CreditTerms;
  /** Since when the session's clock has run; undefined: it does not run yet. */
  startedAt: number | undefined;
  /** What earlier parts of the call have used of the tariff. */
  used: TariffUse | undefined;
  /** What app servers have charged. */
  private charged: SessionCost;

  constructor(core: Core, terms: CreditTerms) {
    this.core = core;
    this.terms = terms;
    this.used = terms.used;
    this.charged = new SessionCost(terms.currency);
  }

  /** The session's clock has run since `at`. */
  start(at: number | undefined): void {
    this.startedAt = at;
  }

  /** Takes over what earlier parts have used. */
  noteUse(used: TariffUse | undefined): void {
    this.used = used;
  }

  /** All that app servers have charged until now. */
  noteCharges(charged: SessionCost): void {
    this.charged = charged;
  }

  /** The sum of those charges that are in the currency of the balance. */
  sumOf(charges: readonly Charged[]): SessionCost {
    const { currency } = this.terms;
    const sum = new SessionCost(currency);
    for (const { amount, taxes, at } of charges) if (amount.currency === currency) sum.add(amount, taxes, at);
    return sum;
  }

  /**
   * What a session of `durationMs` costs, charges included. `date`: now, in milliseconds since 1970. `spare`: adds some
   * money for charges to come. `charged`: these charges instead of the known ones.
   */
  of(durationMs: number, date: number, spare: Spare = NONE, charged = this.charged): Micros {
    const { tariff } = this.terms;
    return this.withTime(tariff && rateDuration(tariff, durationMs, this.used), date, spare, charged);
  }

  /** How long `held` is enough, in milliseconds of session time. */
  coveredBy(held: Micros, date: number, spare: Spare): number {
    const { charged, used } = this;
    return coveredMs(this.terms.tariff, (time) => this.withTime(time, date, spare, charged) <= held, used);
  }

  private withTime(time: Money | undefined, date: number, spare: Spare, charged: SessionCost): Micros {
    const { taxes, currency } = this.terms;
    const cost = new SessionCost(currency, charged);
    if (time) cost.add(time, taxes, this.startedAt ?? date);
    // Some money is held for charges to come, so that the store need not be asked for each charge.
    if (spare === SPARE) cost.add(money(this.core.config.credit.reserveCharges, currency), taxes, date);
    return cost.total;
  }
}
