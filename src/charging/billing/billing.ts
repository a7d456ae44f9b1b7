import type { Bus } from "../../bus/types.ts";
import type { TimeLog } from "../../calls/time-log.ts";
import type { Clock, TimerHandle } from "../../support/clock.ts";
import type { Logger } from "../../support/log.ts";
import { type Timeline, Timelines } from "../../support/timeline.ts";
import type { CreditStore } from "../credit/store.ts";
import type { DeadLetter } from "../events/dead-letter.ts";
import type { ChargingEvent } from "../events/events.ts";
import { BusyError, type Fault, plainFault } from "../events/faults.ts";
import { type AccountMove, restoreAccount, step, storedForm } from "./account.ts";
import { AccountBatch, BrokenEvents, bySession, type Readied, type Whole } from "./account-batch.ts";
import { HoldWatch } from "./hold-watch.ts";
import { Isolation } from "./isolation.ts";
import { LetterLog } from "./letter-log.ts";
import { besides, bounded, letterFor, readied } from "./readied.ts";
import type { RefusedCharge } from "./refused-charge.ts";
import { RefusedCharges } from "./refused-charges.ts";
import { Retention, type RetentionSettings } from "./retention.ts";
import { differenceOf } from "./same-entry.ts";
import { type PrepaidSession, settleEnded } from "./settle-credit.ts";
import type { Account, BillingStore } from "./store.ts";

export interface BillingOptions extends BillOptions {
  readonly bus: Bus;
  /** How long each kind of data is kept; default: for ever. */
  readonly retention?: RetentionSettings;
  /** How often to look for accounts whose time for late charges (M15) is over; default 10 s. */
  readonly sweepEveryMs?: number;
  /** Sees how accounts' charts move, once the accounts are in the store. Undefined now: nobody wants to know. */
  readonly moved?: () => ((move: AccountMove) => void) | undefined;
}

export interface BillOptions {
  /** Without `credit` no prepaid balance is settled. */
  readonly store: {
    readonly billing: BillingStore;
    readonly credit?: CreditStore;
    readonly refusedCharges?: TimeLog<RefusedCharge>;
  };
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

/**
 * How many rounds of a batch may fail because another worker was faster. After that the bus offers the batch again
 * later.
 */
const MAX_ROUNDS = 10;
const SWEEP_ACCOUNTS = 500;

/**
 * Starts the billing actor: takes charging events from the bus, moves each session's account by its chart, writes
 * accounts and entries in one batch, and only then lets the bus forget the events (decision 9). Several
 * may run on one bus and store.
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

/**
 * Bills one event without a bus, as one more billing worker. An event that was billed before changes nothing. Rejects
 * where the store does not take the event.
 */
export async function billEvent(options: BillOptions, event: ChargingEvent): Promise<void> {
  const worker = new BillingWorker(options);
  const parts = readied(event);
  if (parts.ok) await worker.bill([{ event, parts: parts.value }]);
  else await worker.handle([event]);
}

/** Whether an error is the store's fault or an event's. */
export const faultIn = ({ billing }: BillOptions["store"], error: unknown): Fault =>
  billing.faultOf?.(error) ?? plainFault(error);

/** The prepaid sessions among them. */
function prepaidOf(sessions: ReadonlyMap<string, readonly Readied[]>): PrepaidSession[] {
  const prepaid: PrepaidSession[] = [];
  for (const [session, [first]] of sessions) {
    const { hold, user } = first!.event.session;
    if (hold !== undefined) prepaid.push({ session, user, hold });
  }
  return prepaid;
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

class BillingWorker {
  readonly counters: BillingCounters = { events: 0, entries: 0, deadLetters: 0, conflicts: 0 };
  private readonly options: BillOptions & Partial<BillingOptions>;
  private readonly store: BillingStore;
  /**
   * The time of day as it was at the start, counted on. A window is over only when this and the wall clock both say so.
   * So nobody closes windows by setting the wall clock forward, and a worker that started with a wrong clock follows
   * when it is put right.
   */
  private readonly beganBy: Timeline;
  private readonly isolation: Isolation<Whole>;
  private readonly holds: HoldWatch | undefined;
  private readonly retention: Retention;
  private readonly letters: LetterLog;
  private readonly refused: RefusedCharges;
  private timer: TimerHandle | undefined;
  private sweeping: Promise<void> | undefined;
  private stopped = false;

  constructor(options: BillOptions & Partial<BillingOptions>) {
    const store = options.store.billing;
    this.options = options;
    this.store = store;
    this.isolation = new Isolation({
      work: (wholes) => this.bill(wholes),
      idOf: ({ event }) => event.id,
      faultOf: (error) => faultIn(options.store, error),
      namedIn: (error) => (error instanceof BrokenEvents ? error.reasons : undefined),
      check: async () => void (await (store.check?.() ?? store.deadLetters(1))),
      putAside: (broken) =>
        this.putAside(
          Array.from(broken, ([{ event }, reason]) =>
            this.letter(event, typeof reason === "string" ? reason : `it cannot be billed: ${messageOf(reason)}`),
          ),
        ),
      log: options.log,
    });
    const { clock, log } = options;
    const { credit } = options.store;
    this.holds = credit && new HoldWatch({ credit, clock, log });
    this.beganBy = new Timelines(clock).first;
    this.letters = new LetterLog(clock, log);
    this.refused = new RefusedCharges(options.store.refusedCharges, () => clock.wall());
    this.retention = new Retention(store, options.retention ?? {}, { clock, log });
  }

  /** Resolves when everything that these events ask for is in the store, or they are with the dead letters. */
  async handle(events: readonly ChargingEvent[], broken: readonly DeadLetter[] = []): Promise<void> {
    const dead = broken.map(bounded);
    const wholes: Whole[] = [];
    for (const event of events) {
      const parts = readied(event);
      if (!parts.ok) dead.push(this.letter(event, parts.error));
      else if (parts.value.length > 0) wholes.push({ event, parts: parts.value });
    }
    if (dead.length > 0) await this.putAside(dead);
    await this.isolation.handle(wholes);
    await this.refused.keep(events);
    this.counters.events += events.length;
  }

  /**
   * Bills all of these events, or throws. Throws `BrokenEvents` where an event contradicts what was billed under its
   * id.
   */
  async bill(wholes: readonly Whole[]): Promise<void> {
    const otherwise = new Map<Whole, string>();
    let sessions = bySession(wholes, this.options.keepEvents !== false);
    const prepaid = prepaidOf(sessions);
    for (let round = 0; sessions.size > 0; round++) {
      if (round === MAX_ROUNDS)
        throw new BusyError(`${sessions.size} accounts are being written by others all the time`);
      const refused = await this.billOnce(sessions, otherwise);
      this.counters.conflicts += refused.length;
      // The entries of these sessions are written already; writing them again changes nothing.
      sessions = new Map(refused.map((session) => [session, sessions.get(session)!]));
    }
    if (otherwise.size > 0) throw new BrokenEvents(otherwise);
    const { store, clock } = this.options;
    if (prepaid.length > 0 && store.credit)
      await settleEnded({ billing: store.billing, credit: store.credit }, prepaid, clock.wall());
  }

  private letter(event: ChargingEvent, reason: string): DeadLetter {
    return letterFor(event, reason, this.options.clock.wall());
  }

  private async putAside(dead: readonly DeadLetter[]): Promise<void> {
    const { log, bus } = this.options;
    const put: DeadLetter[] = [];
    for (const letter of dead) {
      const there = await this.store.getDeadLetter(letter.id);
      // Another event with the same id must not replace one that somebody may want to bill.
      const kept = there === undefined || there.event === letter.event ? letter : besides(letter);
      this.letters.say(kept);
      await this.store.putDeadLetter(kept);
      this.counters.deadLetters++;
      put.push(kept);
    }
    // They are in the store. If the bus does not take them, listeners are not told.
    await bus
      ?.publishDead?.(put)
      .catch((err) => log.warn({ err, events: put.length }, "billing: nobody is told of events that were put aside"));
  }

  /**
   * Returns the sessions whose accounts another worker wrote in between. Adds to `otherwise` the events that were
   * billed before with other contents.
   */
  private async billOnce(
    sessions: ReadonlyMap<string, readonly Readied[]>,
    otherwise: Map<Whole, string>,
  ): Promise<string[]> {
    const stored = await this.store.accounts([...sessions.keys()]);
    const moved = this.options.moved?.();
    const batch = new AccountBatch(moved !== undefined);
    let i = 0;
    for (const events of sessions.values()) batch.add(stored[i++], events);
    batch.check();
    for (const one of batch.contradicted)
      this.options.log.error(
        one,
        "billing: charges of a session came before it, and said something else of it than it does: look at what they put on a bill",
      );
    this.counters.entries += batch.entries.length;
    const refused = batch.isEmpty ? [] : await this.store.write(batch);
    if (moved) for (const move of batch.moves ?? []) if (!refused.includes(move.session)) moved(move);
    const repeated = batch.repeatedAmong(sessions.values());
    if (repeated.length > 0) await this.compare(repeated, otherwise);
    return refused;
  }

  /** Compares what these events put on a bill with what is there under their ids. */
  private async compare(repeated: readonly Readied[], otherwise: Map<Whole, string>): Promise<void> {
    const stored = await this.store.findEntries(repeated.map(({ entry }) => entry!.id));
    for (const [i, { entry, whole }] of repeated.entries()) {
      const difference = stored[i] && differenceOf(stored[i], entry!);
      if (difference !== undefined) otherwise.set(whole, difference);
    }
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

  /**
   * Closes accounts whose time for late charges is over. An account that another worker wrote in between waits for the
   * next round.
   */
  private async sweep(): Promise<void> {
    for (;;) {
      const due = await this.store.findAccounts({
        state: "chargeable",
        dueBy: Math.min(this.options.clock.wall(), this.beganBy.now()),
        limit: SWEEP_ACCOUNTS,
      });
      const accounts = due.flatMap((account) => this.windowClosed(account));
      if (accounts.length > 0) await this.store.write({ accounts, entries: [] });
      if (due.length < SWEEP_ACCOUNTS || accounts.length === 0 || this.stopped) break;
    }
    await this.holds?.sweep(() => this.stopped);
    await this.retention.round();
  }

  /** The closed account; none where it cannot be read, so that the others are still closed. */
  private windowClosed(account: Account): Account[] {
    try {
      return [storedForm(step(restoreAccount(account), { type: "window.closed" }).account)];
    } catch (err) {
      this.options.log.error({ err, session: account.context?.session }, "billing: an account cannot be closed");
      return [];
    }
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.options.clock.clearTimeout(this.timer);
    await this.sweeping;
  }
}
