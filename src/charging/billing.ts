import type { Bus } from "../bus/types.ts";
import type { Clock, TimerHandle } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import { ok, type Result } from "../support/result.ts";
import { isChanged, newAccount, type OpenAccount, restoreAccount, step, storedForm } from "./account.ts";
import type { Account, ArchivedEvent, BillingStore, DeadLetter, Entry, EventGroup } from "./billing-store.ts";
import type { CreditStore } from "./credit-store.ts";
import { entryFor } from "./entries.ts";
import {
  accountEvents,
  type ChargeMade,
  type ChargingEvent,
  type SessionEnded,
  type SessionStarted,
} from "./events.ts";
import { type PrepaidSession, settleEnded } from "./settle-credit.ts";

export interface BillingOptions extends BillOptions {
  readonly bus: Bus;
  /** How often accounts are looked for whose time for late charges (M15) is over; default 10 s. */
  readonly sweepEveryMs?: number;
}

export interface BillOptions {
  /** Without `credit` no prepaid balance is settled. */
  readonly store: { readonly billing: BillingStore; readonly credit?: CreditStore };
  readonly clock: Clock;
  readonly log: Logger;
  /** Whether the events that make entries are kept in the store beside them, for `tollgate rebill`; default true. */
  readonly keepEvents?: boolean;
}

export interface BillingCounters {
  /** Events handled, repetitions included; entries handed to the store; events put aside. */
  events: number;
  entries: number;
  deadLetters: number;
  /** Accounts that another worker wrote first, so that the work was done again. */
  conflicts: number;
}

export interface Billing {
  readonly counters: Readonly<BillingCounters>;
  /** Takes no further events, and resolves when those under way are in the store. */
  stop(): Promise<void>;
}

/** An event, and the line that it puts on the bill if its account's chart asks for it. */
interface Readied {
  readonly event: SessionStarted | SessionEnded | ChargeMade;
  readonly entry: Entry | undefined;
  /** What to keep of it; undefined where it is the second half of an event, or kept already. */
  archived: ArchivedEvent | undefined;
}

/** Rounds of a batch in which some other worker was faster: after so many the bus offers it again later. */
const MAX_ROUNDS = 10;
const SWEEP_ACCOUNTS = 500;

/**
 * Starts the billing actor: takes charging events from the bus, moves each session's account by its chart, writes accounts and entries in one
 * batch, and only then lets the bus forget the events (DESIGN.md, decision 9). Several may run on one bus and store.
 */
export async function startBilling(options: BillingOptions): Promise<Billing> {
  const worker = new BillingWorker(options);
  const stopConsuming = await options.bus.consume("billing", (events, broken) => worker.handle(events, broken));
  worker.sweepLater();
  return {
    counters: worker.counters,
    stop: async () => {
      await stopConsuming();
      await worker.stop();
    },
  };
}

/** What an event puts on accounts and bills, or why nobody can bill it. All of it or nothing. */
export function readied(whole: ChargingEvent): Result<Pick<Readied, "event" | "entry">[], string> {
  const parts: Pick<Readied, "event" | "entry">[] = [];
  for (const event of meaning(whole)) {
    const entry = entryFor(event);
    if (!entry.ok) return entry;
    parts.push({ event, entry: entry.value });
  }
  return ok(parts);
}

/** Bills one event without a bus, as a billing worker does beside others. An event that was billed before changes nothing. */
export async function billEvent(options: BillOptions, event: ChargingEvent): Promise<void> {
  await new BillingWorker(options).handle([event]);
}

/** What comes over the bus may be anything at all: what cannot be taken apart is left whole, and `entryFor` says what is wrong with it. */
function meaning(event: ChargingEvent): Readied["event"][] {
  if (!isObject(event) || !isObject(event.session)) return [event as Readied["event"]];
  if (event.type === "session.changed" && !isObject(event.from)) return [event as unknown as Readied["event"]];
  return accountEvents(event);
}

const isObject = (value: unknown): boolean => typeof value === "object" && value !== null;

/** The prepaid sessions among them. */
function prepaidOf(sessions: ReadonlyMap<string, readonly Readied[]>): PrepaidSession[] {
  const prepaid: PrepaidSession[] = [];
  for (const [session, [first]] of sessions) {
    const { hold, user } = first!.event.session;
    if (hold !== undefined) prepaid.push({ session, user, hold });
  }
  return prepaid;
}

/** Events by month: nearly always one. */
class Archive {
  readonly groups: (EventGroup & { events: ArchivedEvent[] })[] = [];

  add(month: string, event: ArchivedEvent): void {
    const group = this.groups.find((one) => one.month === month);
    if (group) group.events.push(event);
    else this.groups.push({ month, events: [event] });
  }
}

class BillingWorker {
  readonly counters: BillingCounters = { events: 0, entries: 0, deadLetters: 0, conflicts: 0 };
  private readonly options: BillOptions & Partial<BillingOptions>;
  private readonly store: BillingStore;
  private timer: TimerHandle | undefined;
  private sweeping: Promise<void> | undefined;
  private stopped = false;

  constructor(options: BillOptions & Partial<BillingOptions>) {
    this.options = options;
    this.store = options.store.billing;
  }

  /** Resolves when all that these events mean is in the store. */
  async handle(events: readonly ChargingEvent[], broken: readonly DeadLetter[] = []): Promise<void> {
    const dead = [...broken];
    this.counters.deadLetters += broken.length;
    let sessions = this.bySession(events, dead);
    const prepaid = prepaidOf(sessions);
    if (dead.length > 0) await this.putAside(dead);
    for (let round = 0; sessions.size > 0; round++) {
      if (round === MAX_ROUNDS) throw new Error(`${sessions.size} accounts are being written by others all the time`);
      const refused = await this.billOnce(sessions);
      this.counters.conflicts += refused.length;
      // Their entries are written, and writing them again changes nothing.
      sessions = new Map(refused.map((session) => [session, sessions.get(session)!]));
    }
    const { store, clock } = this.options;
    if (prepaid.length > 0 && store.credit)
      await settleEnded({ billing: store.billing, credit: store.credit }, prepaid, clock.wall());
    this.counters.events += events.length;
  }

  private bySession(events: readonly ChargingEvent[], dead: DeadLetter[]): Map<string, Readied[]> {
    const sessions = new Map<string, Readied[]>();
    const keep = this.options.keepEvents !== false;
    for (const whole of events) {
      const parts = readied(whole);
      if (!parts.ok) {
        dead.push(this.deadLetter(whole, parts.error));
        continue;
      }
      let archived = keep ? (whole as ArchivedEvent) : undefined;
      for (const { event, entry } of parts.value) {
        const one: Readied = { event, entry, archived };
        archived = undefined; // once, with the first part that it comes apart into
        const others = sessions.get(event.session.id);
        if (others) others.push(one);
        else sessions.set(event.session.id, [one]);
      }
    }
    return sessions;
  }

  private deadLetter(event: ChargingEvent, reason: string): DeadLetter {
    const at = this.options.clock.wall();
    const id =
      typeof event?.id === "string" && /^[\x21-\x7e]{1,400}$/.test(event.id)
        ? event.id
        : `unnamed:${at}:${this.counters.deadLetters}`;
    this.counters.deadLetters++;
    return { id, at, reason, event: JSON.stringify(event) ?? "undefined" };
  }

  private async putAside(dead: readonly DeadLetter[]): Promise<void> {
    for (const letter of dead) {
      const { id, reason, event } = letter;
      this.options.log.error({ id, event, reason }, "billing: an event cannot be billed and is put aside");
      await this.store.putDeadLetter(letter);
    }
    await this.options.bus?.publishDead?.(dead);
  }

  /** Returns the sessions whose accounts somebody else wrote in between. */
  private async billOnce(sessions: ReadonlyMap<string, readonly Readied[]>): Promise<string[]> {
    const stored = await this.store.accounts([...sessions.keys()]);
    const accounts: Account[] = [];
    const entries: Entry[] = [];
    const archive = new Archive();
    let i = 0;
    for (const events of sessions.values()) {
      const before = this.open(stored[i++], events[0]!.event);
      let account = before;
      for (const readied of events) {
        const { event, entry } = readied;
        const { account: after, actions } = step(account, event);
        // The chart asks for `enterTime` or `enterCharge`; which line that is follows from the event.
        if (actions.length > 0 && entry) {
          entries.push(entry);
          if (readied.archived !== undefined) archive.add(entry.month, readied.archived);
          readied.archived = undefined; // another round writes it no second time
        }
        account = after;
      }
      if (before.revision === 0 || isChanged(before, account)) accounts.push(storedForm(account));
    }
    this.counters.entries += entries.length;
    if (accounts.length === 0 && entries.length === 0) return [];
    return this.store.write({ accounts, entries, archive: archive.groups });
  }

  private open(stored: Account | undefined, event: Readied["event"]): OpenAccount {
    return stored ? restoreAccount(stored) : newAccount(event.session);
  }

  sweepLater(): void {
    const { clock, sweepEveryMs = 10_000 } = this.options;
    if (this.stopped) return;
    this.timer = clock.setTimeout(() => {
      this.sweeping = this.sweep()
        .catch((error) =>
          this.options.log.warn({ err: error }, "billing: accounts could not be closed; tried again later"),
        )
        .then(() => this.sweepLater());
    }, sweepEveryMs);
  }

  /** Closes accounts whose time for late charges is over. One that another worker wrote in between waits for the next round. */
  private async sweep(): Promise<void> {
    for (;;) {
      const due = await this.store.findAccounts({
        state: "chargeable",
        dueBy: this.options.clock.wall(),
        limit: SWEEP_ACCOUNTS,
      });
      const accounts = due.map((account) =>
        storedForm(step(restoreAccount(account), { type: "window.closed" }).account),
      );
      if (accounts.length > 0) await this.store.write({ accounts, entries: [] });
      if (due.length < SWEEP_ACCOUNTS || this.stopped) break;
    }
    await this.sweepCredit();
  }

  /** Holds of relays that are dead come back. */
  private async sweepCredit(): Promise<void> {
    const { store, clock, log } = this.options;
    for (let swept = SWEEP_ACCOUNTS; store.credit && swept === SWEEP_ACCOUNTS && !this.stopped; ) {
      swept = await store.credit.sweep(clock.wall(), SWEEP_ACCOUNTS);
      if (swept > 0) log.info({ balances: swept }, "billing: holds that nobody renewed are given back");
    }
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.options.clock.clearTimeout(this.timer);
    await this.sweeping;
  }
}
