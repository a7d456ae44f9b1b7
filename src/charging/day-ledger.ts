import { type BillingStore, monthOf } from "./billing-store.ts";
import { chargeAmount } from "./charge-fields.ts";
import type { ChargeMade, SessionFacts } from "./events.ts";
import { add, type Money, money, zero } from "./money.ts";

const DAY_MS = 86_400_000;
const PAGE = 1_000;
const NEVER = Number.NEGATIVE_INFINITY;

interface Day {
  /** What the bill had when it was last read, and when that was: monotonic. */
  billed: Money;
  readAt: number;
  reading: Promise<void> | undefined;
  /** Charges made here that the bill did not have yet, by the ids of their events. */
  readonly own: Map<string, Money>;
}

/**
 * What each app server has charged each user in each service on the present day of UTC, for services that have a limit for it. It is read from the
 * bill, together with what was charged here and is on its way to the bill; what other nodes charge counts once it is on the bill and was
 * read again, after `refreshMs`.
 */
export class DayLedger {
  private readonly billing: Pick<BillingStore, "entries">;
  private readonly refreshMs: number;
  private readonly maxDays: number;
  /** In order of last use. */
  private readonly days = new Map<string, Day>();

  constructor(billing: Pick<BillingStore, "entries">, { refreshMs = 10_000, maxDays = 10_000 } = {}) {
    this.billing = billing;
    this.refreshMs = refreshMs;
    this.maxDays = maxDays;
  }

  /**
   * What must be awaited before `sum` of the day of `at` may be asked; undefined: nothing. `now`: monotonic. Rejects when the bill cannot
   * be read.
   */
  load(facts: SessionFacts, currency: string, at: number, now: number): Promise<void> | undefined {
    const key = keyOf(facts, currency, at);
    const known = this.days.get(key);
    if (known?.reading) return known.reading;
    if (known && now - known.readAt < this.refreshMs) return undefined;
    const day = known ?? { billed: zero(currency), readAt: NEVER, reading: undefined, own: new Map<string, Money>() };
    this.days.delete(key);
    this.days.set(key, day);
    if (this.days.size > this.maxDays) this.days.delete(this.days.keys().next().value!);
    day.reading = this.read(day, facts, currency, at, now).finally(() => {
      day.reading = undefined;
    });
    return day.reading;
  }

  /** The sum of the day of `at`. */
  sum(facts: SessionFacts, currency: string, at: number): Money {
    const day = this.days.get(keyOf(facts, currency, at));
    if (!day) return zero(currency);
    let sum = day.billed;
    for (const amount of day.own.values()) sum = add(sum, amount);
    return sum;
  }

  /** A charge was made here, and is on its way to the bill. */
  note(event: ChargeMade): void {
    const day = this.days.get(keyOf(event.session, event.charge.currency, event.at));
    day?.own.set(event.id, chargeAmount(event.charge));
  }

  /** It did not reach the disk. */
  forget(event: ChargeMade): void {
    this.days.get(keyOf(event.session, event.charge.currency, event.at))?.own.delete(event.id);
  }

  private async read(day: Day, facts: SessionFacts, currency: string, at: number, now: number): Promise<void> {
    const from = at - (at % DAY_MS);
    let sum = zero(currency);
    const billed: string[] = [];
    let after: string | undefined;
    do {
      const page = await this.billing.entries(facts.user, monthOf(at), { after, limit: PAGE, from });
      for (const entry of page.entries) {
        const { kind, service, appServer, amount } = entry;
        if (kind !== "item" || service !== facts.service || appServer !== facts.appServer) continue;
        if (entry.currency !== currency || entry.at >= from + DAY_MS) continue;
        sum = add(sum, money(amount, currency));
        if (day.own.has(entry.id)) billed.push(entry.id);
      }
      after = page.next;
    } while (after !== undefined);
    day.billed = sum;
    day.readAt = now;
    for (const id of billed) day.own.delete(id);
  }
}

const keyOf = ({ user, service, appServer }: SessionFacts, currency: string, at: number): string =>
  `${Math.floor(at / DAY_MS)}\n${user}\n${service}\n${appServer}\n${currency}`;
