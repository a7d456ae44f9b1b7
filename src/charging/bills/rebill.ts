import { correctionEntry } from "../billing/entries.ts";
import { Sums, sumKey } from "../billing/month-total.ts";
import { readied } from "../billing/readied.ts";
import { isSameEntry } from "../billing/same-entry.ts";
import { type PrepaidSession, settleEnded } from "../billing/settle-credit.ts";
import type { ArchivedEvent, BillingStore, Entry, MonthTotal } from "../billing/store.ts";
import type { CreditStore } from "../credit/store.ts";
import { plainFault } from "../events/faults.ts";
import { compare, money } from "../money/money.ts";
import { allPages } from "./bill.ts";

/** How the store and the archived events differ. */
export type Difference =
  /** The event is there, its entry is not. */
  | { readonly kind: "missing"; readonly entry: Entry }
  /** The entry says something else than the event. */
  | { readonly kind: "different"; readonly entry: Entry; readonly stored: Entry }
  /** The entry is there, but no event explains it. */
  | { readonly kind: "unexplained"; readonly stored: Entry }
  /** The stored sums of a user's month are not those of the events. */
  | {
      readonly kind: "sum";
      readonly user: string;
      readonly stored: readonly MonthTotal[];
      readonly sums: readonly MonthTotal[];
    }
  /** An event of which no entry can be made. */
  | { readonly kind: "unreadable"; readonly event: ArchivedEvent; readonly reason: string };

export interface RebillOptions {
  readonly month: string;
  /** Only this user. */
  readonly user?: string | undefined;
  /** Writes the missing entries. Changes nothing that is there. */
  readonly write: boolean;
  /** The balances from which prepaid entries that are written are paid. */
  readonly credit?: CreditStore | undefined;
  readonly onDifference: (difference: Difference) => void;
}

export interface RebillResult {
  readonly events: number;
  readonly entries: number;
  readonly written: number;
  readonly differences: number;
}

const PAGE = 1_000;
/** How often the events are read again where sums differ: the sums of a user who is in a session may grow meanwhile. */
const SUM_TRIES = 2;

/**
 * Makes a month's entries again from the events that were kept, and compares them with those in the store. Keeps in
 * memory the ids of the month's entries, some 100 bytes each, and one page of events.
 */
export async function rebill(billing: BillingStore, options: RebillOptions): Promise<RebillResult> {
  const run = new Run(billing, options);
  await run.fromEvents();
  run.result.events = run.read;
  await run.fromEntries();
  await run.sums();
  return run.result;
}

class Run {
  readonly result = { events: 0, entries: 0, written: 0, differences: 0 };
  /** How many events were read, including those read a second time. */
  read = 0;
  private readonly billing: BillingStore;
  private readonly options: RebillOptions;
  private readonly explained = new Set<string>();
  private readonly users = new Map<string, Sums>();
  /** Prepaid sessions in the last page of events. */
  private readonly prepaid = new Map<string, PrepaidSession>();

  constructor(billing: BillingStore, options: RebillOptions) {
    this.billing = billing;
    this.options = options;
  }

  async fromEvents(): Promise<void> {
    const { month } = this.options;
    let after: string | undefined;
    do {
      const page = await this.billing.archived(month, { after, limit: PAGE });
      this.prepaid.clear();
      await this.compare(page.events.flatMap((event) => this.entries(event)));
      after = page.next;
    } while (after !== undefined);
  }

  /** Whatever is wrong with one event, the others are still compared. */
  private entries(event: ArchivedEvent): Entry[] {
    this.read++;
    try {
      return this.madeOf(event);
    } catch (error) {
      this.differs({ kind: "unreadable", event, reason: (error as Error).message });
      return [];
    }
  }

  private madeOf(event: ArchivedEvent): Entry[] {
    const { user } = this.options;
    if (user !== undefined && event.session?.user !== user) return [];
    if (event.type === "correction.made") return this.fresh(correctionEntry(event));
    const parts = readied(event);
    if (!parts.ok) {
      this.differs({ kind: "unreadable", event, reason: parts.error });
      return [];
    }
    for (const part of parts.value) {
      const { id: session, user: payer, hold } = part.event.session;
      if (hold !== undefined) this.prepaid.set(session, { session, user: payer, hold });
    }
    return parts.value.flatMap(({ entry }) => (entry ? this.fresh(entry) : []));
  }

  /** An event may have been kept twice: only the first makes an entry. */
  private fresh(entry: Entry): Entry[] {
    if (entry.month !== this.options.month || this.explained.has(entry.id)) return [];
    const sums = this.users.get(entry.user) ?? new Sums("user");
    sums.add(entry);
    this.users.set(entry.user, sums);
    this.explained.add(entry.id);
    return [entry];
  }

  private async compare(entries: readonly Entry[]): Promise<void> {
    this.result.entries += entries.length;
    const stored = await this.billing.findEntries(entries.map(({ id }) => id));
    const missing: Entry[] = [];
    for (const [i, entry] of entries.entries()) {
      const there = stored[i];
      if (!there) missing.push(entry);
      else if (!isSameEntry(there, entry)) this.differs({ kind: "different", entry, stored: there });
    }
    for (const entry of missing) this.differs({ kind: "missing", entry });
    if (!this.options.write || missing.length === 0) return;
    this.result.written += await this.written(missing);
  }

  /** Writes and settles entries; returns how many. An entry that the store cannot take stays missing. */
  private async written(missing: readonly Entry[]): Promise<number> {
    try {
      await this.billing.write({ accounts: [], entries: missing });
      await this.settle(missing);
      return missing.length;
    } catch (error) {
      if ((this.billing.faultOf?.(error) ?? plainFault(error)) !== "event") throw error;
      if (missing.length === 1) return 0;
      const middle = Math.ceil(missing.length / 2);
      return (await this.written(missing.slice(0, middle))) + (await this.written(missing.slice(middle)));
    }
  }

  private async settle(missing: readonly Entry[]): Promise<void> {
    const { credit } = this.options;
    const paid = new Map(missing.flatMap(({ session }) => [[session, this.prepaid.get(session)] as const]));
    const sessions = [...paid.values()].filter((one) => one !== undefined);
    if (credit && sessions.length > 0) await settleEnded({ billing: this.billing, credit }, sessions, Date.now());
  }

  async fromEntries(): Promise<void> {
    for await (const _ of this.unexplained()) {
      await this.fromEvents(); // the relay may run: newer entries have their events now
      break;
    }
    for await (const stored of this.unexplained()) this.differs({ kind: "unexplained", stored });
  }

  private async *unexplained(): AsyncGenerator<Entry> {
    const { month, user } = this.options;
    const all = allPages((page) =>
      user === undefined ? this.billing.entriesFor(undefined, month, page) : this.billing.entries(user, month, page),
    );
    for await (const stored of all) if (!this.explained.has(stored.id)) yield stored;
  }

  async sums(): Promise<void> {
    for (const user of this.users.keys()) {
      for (let tries = 0; ; tries++) {
        const stored = await this.billing.totals(user, this.options.month);
        const sums = this.users.get(user)!.all();
        if (sameSums(stored, sums)) break;
        if (tries === SUM_TRIES) {
          this.differs({ kind: "sum", user, stored, sums });
          break;
        }
        await this.fromEvents(); // as above
      }
    }
  }

  private differs(difference: Difference): void {
    this.result.differences++;
    this.options.onDifference(difference);
  }
}

function sameSums(a: readonly MonthTotal[], b: readonly MonthTotal[]): boolean {
  const others = new Map(b.map((sum) => [sumKey(sum), sum]));
  return a.length === b.length && a.every((sum) => isSameSum(sum, others.get(sumKey(sum))));
}

function isSameSum(a: MonthTotal, b: MonthTotal | undefined): boolean {
  if (!b || a.sessions !== b.sessions || a.durationMs !== b.durationMs || a.charges !== b.charges) return false;
  if ((a.corrections ?? 0) !== (b.corrections ?? 0)) return false;
  const { currency } = a;
  if (currency === "") return true;
  const same = (x = "0", y = "0") => compare(money(x, currency), money(y, currency)) === 0;
  return (
    same(a.timeAmount, b.timeAmount) &&
    same(a.itemAmount, b.itemAmount) &&
    same(a.timeCorrection, b.timeCorrection) &&
    same(a.itemCorrection, b.itemCorrection)
  );
}
