import { isChanged, newAccount, restoreAccount, step, storedForm } from "./account.ts";
import type { Account, ArchivedEvent, BillingBatch, Entry, EventGroup } from "./billing-store.ts";
import type { ChargingEvent } from "./events.ts";
import { EventError } from "./faults.ts";
import type { Part } from "./readied.ts";

/** An event that can be billed as far as can be seen from it. */
export interface Whole {
  readonly event: ChargingEvent;
  readonly parts: readonly Part[];
}

export interface Readied extends Part {
  /** What to keep of it; undefined where it is the second half of an event, or kept already. */
  archived: ArchivedEvent | undefined;
}

/** The parts of events by session; `keep`: with what is to be kept of each. */
export function bySession(wholes: readonly Whole[], keep: boolean): Map<string, Readied[]> {
  const sessions = new Map<string, Readied[]>();
  for (const whole of wholes) {
    let archived = keep ? (whole.event as ArchivedEvent) : undefined;
    for (const { event, entry } of whole.parts) {
      const one: Readied = { event, entry, archived };
      archived = undefined; // once, with the first part that it comes apart into
      const others = sessions.get(event.session.id);
      if (others) others.push(one);
      else sessions.set(event.session.id, [one]);
    }
  }
  return sessions;
}

/** What sessions' events make of their accounts: all that is to be written. */
export class AccountBatch implements BillingBatch {
  readonly accounts: Account[] = [];
  readonly entries: Entry[] = [];
  readonly archive: (EventGroup & { readonly events: ArchivedEvent[] })[] = [];
  private readonly archived = new Set<string>();

  get isEmpty(): boolean {
    return this.accounts.length === 0 && this.entries.length === 0;
  }

  /** Moves a session's account by its chart. Throws an `EventError` where it cannot: nothing is wrong with the store then. */
  add(stored: Account | undefined, events: readonly Readied[]): void {
    try {
      this.take(stored, events);
    } catch (error) {
      throw error instanceof EventError ? error : new EventError((error as Error).message, { cause: error });
    }
  }

  private take(stored: Account | undefined, events: readonly Readied[]): void {
    const before = stored ? restoreAccount(stored) : newAccount(events[0]!.event.session);
    let account = before;
    for (const readied of events) {
      const { event, entry } = readied;
      const { account: after, actions } = step(account, event);
      // The chart asks for `enterTime` or `enterCharge`; which line that is follows from the event.
      if (actions.length > 0 && entry) {
        this.entries.push(entry);
        if (readied.archived !== undefined) this.keep(entry.month, readied.archived);
        readied.archived = undefined; // another round writes it no second time
      }
      account = after;
    }
    if (before.revision === 0 || isChanged(before, account)) this.accounts.push(storedForm(account));
  }

  /** By month: nearly always one. Each event once, however often it came. */
  private keep(month: string, event: ArchivedEvent): void {
    if (this.archived.has(event.id)) return;
    this.archived.add(event.id);
    const group = this.archive.find((one) => one.month === month);
    if (group) group.events.push(event);
    else this.archive.push({ month, events: [event] });
  }
}
