import type { ChargingEvent } from "../events/events.ts";
import { EventError } from "../events/faults.ts";
import {
  type AccountMove,
  isChanged,
  newAccount,
  type OpenAccount,
  restoreAccount,
  step,
  storedForm,
} from "./account.ts";
import type { Part } from "./readied.ts";
import { mismatch } from "./session-match.ts";
import type { Account, ArchivedEvent, BillingBatch, Entry, EventGroup } from "./store.ts";

/** An event in which nothing is wrong: it can be billed unless it contradicts the account. */
export interface Whole {
  readonly event: ChargingEvent;
  readonly parts: readonly Part[];
}

export interface Readied extends Part {
  readonly whole: Whole;
  /** The event to keep; undefined for the second half of an event, and where the event is kept already. */
  archived: ArchivedEvent | undefined;
}

/** The parts of events by session; `keep`: with what is to be kept of each. */
export function bySession(wholes: readonly Whole[], keep: boolean): Map<string, Readied[]> {
  const sessions = new Map<string, Readied[]>();
  for (const whole of wholes) {
    let archived = keep ? (whole.event as ArchivedEvent) : undefined;
    for (const { event, entry } of whole.parts) {
      const one: Readied = { whole, event, entry, archived };
      archived = undefined; // once, with the event's first part
      const others = sessions.get(event.session.id);
      if (others) others.push(one);
      else sessions.set(event.session.id, [one]);
    }
  }
  return sessions;
}

/** Events that cannot be billed, each with the reason: the others can. */
export class BrokenEvents extends EventError {
  readonly reasons: ReadonlyMap<Whole, string>;

  constructor(reasons: ReadonlyMap<Whole, string>) {
    super([...reasons.values()][0]);
    this.reasons = reasons;
  }
}

/** An account whose charges came before its session, and contradict it. The charges are on a bill, and stay there. */
export interface Contradicted {
  readonly session: string;
  readonly user: string;
  readonly said: string;
}

/** Collects all that the sessions' events ask to write: accounts, entries, and events to keep. */
export class AccountBatch implements BillingBatch {
  readonly accounts: Account[] = [];
  readonly entries: Entry[] = [];
  readonly archive: (EventGroup & { readonly events: ArchivedEvent[] })[] = [];
  readonly contradicted: Contradicted[] = [];
  /** How the accounts' charts moved; undefined: nobody wants to know. */
  readonly moves: AccountMove[] | undefined;
  private readonly archived = new Set<string>();
  private readonly broken = new Map<Whole, string>();
  /** Ends of sessions that had ended before. */
  private readonly repeated: Readied[] = [];
  /** Ids of entries that were there before; undefined: none was. */
  private known: Set<string> | undefined;

  constructor(isWatched = false) {
    this.moves = isWatched ? [] : undefined;
  }

  get isEmpty(): boolean {
    return this.accounts.length === 0 && this.entries.length === 0;
  }

  readonly onKnown = (ids: Iterable<string>): void => {
    this.known = new Set(ids);
  };

  /**
   * After the write: those of these events whose line was on a bill before. It still has to be checked whether they say
   * the same.
   */
  repeatedAmong(sessions: Iterable<readonly Readied[]>): readonly Readied[] {
    const { known, repeated } = this;
    if (known === undefined) return repeated;
    const again = [...sessions].flatMap((events) => events.filter(({ entry }) => entry && known.has(entry.id)));
    return [...again, ...repeated];
  }

  /** Moves a session's account by its chart. */
  add(stored: Account | undefined, events: readonly Readied[]): void {
    try {
      this.take(stored, events);
    } catch (error) {
      for (const { whole } of events) this.broken.set(whole, `its account cannot be used: ${(error as Error).message}`);
    }
  }

  /**
   * Throws `BrokenEvents` where some of the events added cannot be billed. That is no fault of the store, and nothing
   * is written.
   */
  check(): void {
    if (this.broken.size > 0) throw new BrokenEvents(this.broken);
  }

  private take(stored: Account | undefined, events: readonly Readied[]): void {
    const before = this.begin(stored, events);
    let account = before;
    if (this.moves && !stored) {
      const { session, value } = { session: events[0]!.event.session.id, value: before.snapshot.value as string };
      this.moves.push({ session, event: "xstate.init", from: "", to: value });
    }
    for (const readied of events) {
      const { event, entry } = readied;
      const contradiction = mismatch(account.snapshot.context, event);
      if (contradiction !== undefined) {
        this.broken.set(readied.whole, contradiction);
        continue;
      }
      const { account: after, actions, transition } = step(account, event);
      if (this.moves && transition) {
        const { id: arrow, from, to = from } = transition;
        this.moves.push({ session: event.session.id, event: event.type, from, to, arrow });
      }
      // The chart asks for `enterTime` or `enterCharge`; which line that is follows from the event.
      if (actions.length > 0 && entry) {
        this.entries.push(entry);
        if (readied.archived !== undefined) this.keep(entry.month, readied.archived);
        readied.archived = undefined; // so that another round does not keep it twice
      } else if (entry) this.repeated.push(readied); // the session has ended before
      account = after;
    }
    if (before.revision === 0 || isChanged(before, account)) this.accounts.push(storedForm(account));
  }

  /**
   * The account as stored, or a new one. A session's start and end say whose it is. A charge may come before either;
   * until then the account is made of what the charge says.
   */
  private begin(stored: Account | undefined, events: readonly Readied[]): OpenAccount {
    const isKnown = stored !== undefined && stored.state !== "open";
    const own = isKnown ? undefined : events.find(({ event }) => event.type !== "charge.made")?.event;
    if (!stored) return newAccount((own ?? events[0]!.event).session);
    const contradiction = own && mismatch(stored.context, own);
    if (!own || contradiction === undefined) return restoreAccount(stored);
    const { session, user } = stored.context;
    this.contradicted.push({ session, user, said: contradiction });
    return { ...newAccount(own.session), revision: stored.revision };
  }

  /**
   * Keeps an event in the group of its month; nearly always there is only one month. Each event is kept once, however
   * often it came.
   */
  private keep(month: string, event: ArchivedEvent): void {
    if (this.archived.has(event.id)) return;
    this.archived.add(event.id);
    const group = this.archive.find((one) => one.month === month);
    if (group) group.events.push(event);
    else this.archive.push({ month, events: [event] });
  }
}
