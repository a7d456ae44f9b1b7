import type { BillingStore } from "../billing/store.ts";
import { chargeAmount } from "../events/charge-fields.ts";
import type { ChargeMade, SessionFacts } from "../events/events.ts";
import { add, compare, type Money, money, multiply, subtract, zero } from "../money/money.ts";
import { monthOf } from "../money/months.ts";

const DAY_MS = 86_400_000;
const PAGE = 1_000;
const NEVER = Number.NEGATIVE_INFINITY;
/** How many charges are remembered for a day before the bill is read again. */
const MAX_OWN = 1_000;

/** By currency. */
type MoneyIn = Map<string, Money>;

interface Day {
  /** What was on the bill when it was last read, and when that was (monotonic). */
  billed: MoneyIn;
  readAt: number;
  reading: Promise<void> | undefined;
  /** Charges made here that were not on the bill yet, by the ids of their events, and their sums. */
  readonly own: Map<string, Money>;
  readonly ownSums: MoneyIn;
}

export interface DayLedgerOptions {
  /** Waits until the bill has what was recorded, and says whether it has; default: always. */
  readonly caughtUp?: (() => Promise<boolean>) | undefined;
  /** After how long the bill is read again; default 10 s. */
  readonly refreshMs?: number;
  readonly maxDays?: number;
}

/**
 * What each app server has charged each user in each service on the present UTC day. It is the sum of what was read
 * from the bill, and of what was charged here and is on its way to the bill. Charges at other nodes count once they are
 * on the bill and it is read again, after `refreshMs`.
 */
export class DayLedger {
  private readonly billing: Pick<BillingStore, "entries">;
  private readonly caughtUp: (() => Promise<boolean>) | undefined;
  private readonly refreshMs: number;
  private readonly maxDays: number;
  /** In order of the last reading. */
  private readonly days = new Map<string, Day>();

  constructor(
    billing: Pick<BillingStore, "entries">,
    { caughtUp, refreshMs = 10_000, maxDays = 10_000 }: DayLedgerOptions = {},
  ) {
    this.billing = billing;
    this.caughtUp = caughtUp;
    this.refreshMs = refreshMs;
    this.maxDays = maxDays;
  }

  /**
   * Returns what must be awaited before `sum` is asked for the day of `at`; undefined: nothing. `now` is monotonic.
   * Rejects when the bill cannot be read.
   */
  load(facts: SessionFacts, at: number, now: number): Promise<void> | undefined {
    const key = keyOf(facts, at);
    const known = this.days.get(key);
    if (known?.reading) return known.reading;
    if (known && now - known.readAt < this.refreshMs) return undefined;
    const day = known ?? {
      billed: new Map<string, Money>(),
      readAt: NEVER,
      reading: undefined,
      own: new Map<string, Money>(),
      ownSums: new Map<string, Money>(),
    };
    this.days.delete(key);
    this.days.set(key, day);
    if (this.days.size > this.maxDays) this.days.delete(this.days.keys().next().value!);
    day.reading = this.read(day, facts, at, now).finally(() => {
      day.reading = undefined;
    });
    return day.reading;
  }

  /**
   * For a built-in limit, which guards against slips and attacks and need not be exact: nobody waits for the bill, and
   * if it cannot be read, only what was charged here counts. The bill is read at a day's first charge, and again when a
   * quarter of `most` was charged here since then.
   */
  loadSeldom(facts: SessionFacts, most: Money, at: number, now: number): void {
    const day = this.days.get(keyOf(facts, at));
    const isLittle =
      day && day.own.size < MAX_OWN && compare(multiply(sumIn(day.ownSums, most.currency), 4n), most) <= 0;
    if (day && day.readAt !== NEVER && isLittle) return;
    this.load(facts, at, now)?.catch(() => {});
  }

  /** The sum of the day of `at`. */
  sum(facts: SessionFacts, currency: string, at: number): Money {
    const day = this.days.get(keyOf(facts, at));
    return day ? sumOf(day, currency) : zero(currency);
  }

  /** The sums of that day in other currencies. */
  others(facts: SessionFacts, currency: string, at: number): readonly Money[] {
    const day = this.days.get(keyOf(facts, at));
    if (!day) return NONE;
    let others: Set<string> | undefined;
    for (const sums of [day.billed, day.ownSums])
      for (const other of sums.keys())
        if (other !== currency) {
          others ??= new Set();
          others.add(other);
        }
    return others === undefined ? NONE : Array.from(others, (other) => sumOf(day, other));
  }

  /** A charge was made here, and is on its way to the bill. */
  note(event: ChargeMade): void {
    const day = this.days.get(keyOf(event.session, event.at));
    if (!day || day.own.has(event.id)) return;
    const amount = chargeAmount(event.charge);
    day.own.set(event.id, amount);
    grow(day.ownSums, amount);
  }

  /** The charge did not reach the disk. */
  forget(event: ChargeMade): void {
    const day = this.days.get(keyOf(event.session, event.at));
    if (day) leave(day, event.id);
  }

  private async read(day: Day, facts: SessionFacts, at: number, now: number): Promise<void> {
    // The first reading must have what was charged here before this process began, or was forgotten since. Later
    // charges are remembered here.
    if (day.readAt === NEVER && this.caughtUp && !(await this.caughtUp())) throw new Error("billing is behind");
    const from = at - (at % DAY_MS);
    const sums: MoneyIn = new Map();
    const billed: string[] = [];
    let after: string | undefined;
    do {
      const page = await this.billing.entries(facts.user, monthOf(at), { after, limit: PAGE, from });
      for (const entry of page.entries) {
        const { kind, service, appServer, amount, currency } = entry;
        if (kind !== "item" || service !== facts.service || appServer !== facts.appServer) continue;
        if (entry.at >= from + DAY_MS) continue;
        grow(sums, money(amount, currency));
        if (day.own.has(entry.id)) billed.push(entry.id);
      }
      after = page.next;
    } while (after !== undefined);
    day.billed = sums;
    day.readAt = now;
    for (const id of billed) leave(day, id);
  }
}

/** Takes a charge out of those that were made here. */
function leave(day: Day, id: string): void {
  const amount = day.own.get(id);
  if (amount === undefined) return;
  day.own.delete(id);
  day.ownSums.set(amount.currency, subtract(sumIn(day.ownSums, amount.currency), amount));
}

const NONE: readonly Money[] = [];

const sumIn = (sums: MoneyIn, currency: string): Money => sums.get(currency) ?? zero(currency);

const sumOf = ({ billed, ownSums }: Day, currency: string): Money =>
  add(sumIn(billed, currency), sumIn(ownSums, currency));

function grow(sums: MoneyIn, amount: Money): void {
  sums.set(amount.currency, add(sumIn(sums, amount.currency), amount));
}

const keyOf = ({ user, service, appServer }: SessionFacts, at: number): string =>
  `${Math.floor(at / DAY_MS)}\n${user}\n${service}\n${appServer}`;
