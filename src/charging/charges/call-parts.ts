import { add, formatAmount, type Money, money, subtract } from "../money/money.ts";
import { freeMsOf, type Tariff, type TariffUse, useAfter } from "../money/tariff.ts";
import type { UsedTariff } from "./book-state.ts";
import { CallCharges } from "./call-charges.ts";

interface Used {
  freeMs: number;
  chargedMs: number;
  amount: Money;
}

/**
 * What the parts of one call have together (M20-M22), between which the service changed: a tariff's set-up fee and free seconds, minimum and cap
 * are there once. Limits count over them, and also over the sessions that the client moved between (M23, M24). Made when a second part, or a
 * second session, is asked for.
 */
export class CallParts {
  readonly charges: CallCharges;
  private readonly tariffs = new Map<string, Used>();

  /** `charges`: those of the session that the client moves on from. `used`: what was used of each tariff before. */
  constructor(charges = new CallCharges(), used: readonly UsedTariff[] = []) {
    this.charges = charges;
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

  /** What a part finds used that begins now; undefined: nothing. */
  used(tariff: Tariff | undefined): TariffUse | undefined {
    const used = tariff && this.tariffs.get(keyOf(tariff));
    return used && { ...used, amount: formatAmount(used.amount) };
  }

  /**
   * A part begins; returns what it finds used. Until it ends, all that is left of the free seconds is its own, so that two parts at the same time (M24) do
   * not both have them.
   */
  begin(tariff: Tariff | undefined): TariffUse | undefined {
    if (!tariff) return undefined;
    const before = this.used(tariff);
    const { chargedMs, amount } = before ?? useAfter(tariff, 0);
    const freeMs = freeMsOf(tariff);
    this.tariffs.set(keyOf(tariff), { freeMs, chargedMs, amount: money(amount, tariff.currency) });
    return before;
  }

  /** A part is over that found `before` used. */
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
