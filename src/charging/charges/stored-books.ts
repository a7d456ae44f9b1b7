import type { Service } from "../../directory/types.ts";
import type { Account, BillingStore, Entry } from "../billing/store.ts";
import type { SessionFacts } from "../events/events.ts";
import { readSessionId } from "../events/session-ids.ts";
import { monthOf } from "../money/months.ts";
import { type BookKeeping, ChargeBook } from "./book.ts";
import { BilledCall } from "./call-charges.ts";

/** A session that can be charged, or could be until its time was over. */
export interface ChargeableSession {
  readonly book: ChargeBook;
  /** When its time for late charges is over, by the book's timeline; null: it still runs. */
  readonly dueAt: number | null;
}

/**
 * Which relay has a session that is not in this relay's memory. `self`: this one, so the session has ended. `gone`:
 * another one that no longer exists. `any`: the id does not say, and any relay may have it.
 */
export type Keeper = "self" | "gone" | "any";

/** `later`: this cannot be found out now. */
export type Stored = ChargeableSession | "unknown" | "later";

export interface StoredBooksOptions {
  readonly keeping: BookKeeping;
  readonly billing: Pick<BillingStore, "accounts" | "entriesOf"> & Partial<Pick<BillingStore, "entries">>;
  readonly directory: { service(id: string): Service | undefined };
  /** Waits until the store has what was recorded until now, and says whether it has; default: always. */
  readonly caughtUp?: (() => Promise<boolean>) | undefined;
}

interface Remembered {
  readonly book: ChargeBook;
  /** When this relay first read that the session has ended, by the book's timeline. */
  overAt: number | undefined;
}

/** How many books are remembered: their charges may not be on the bill yet. */
const MAX_REMEMBERED = 1_000;
/** How many earlier parts of a call are looked for, and how many pages of its user's entries. */
const MAX_PARTS = 20;
const MAX_PAGES = 20;
const PAGE = 1_000;
/** Longer than the longest session and the longest window for late charges: after this, nothing is left to charge. */
const MAX_AGE_MS = 70 * 86_400_000;
/** More than two machines' clocks ever differ. */
const MAX_AHEAD_MS = 86_400_000;

/**
 * The books of sessions that are not in this relay's memory, made from the store. The store is asked only when billing
 * has seen everything that was recorded. Else a repeated charge could be charged again at another price, and an ended
 * session would take charges until its end is billed.
 */
export class StoredBooks {
  private readonly options: StoredBooksOptions;
  /** In order of the last reading. */
  private readonly books = new Map<string, Remembered>();
  private readonly readings = new Map<string, Promise<Stored>>();

  constructor(options: StoredBooksOptions) {
    this.options = options;
  }

  /** Finds a session. All who ask while it is being read get the same result. Rejects when the store cannot be read. */
  find(session: string, keeper: Keeper): Promise<Stored> {
    const reading = this.readings.get(session);
    if (reading) return reading;
    const found = this.read(session, keeper).finally(() => this.readings.delete(session));
    this.readings.set(session, found);
    return found;
  }

  private async read(session: string, keeper: Keeper): Promise<Stored> {
    const { billing, caughtUp } = this.options;
    if (caughtUp && !(await caughtUp())) return "later";
    const [account] = await billing.accounts([session]);
    if (!account) return keeper === "gone" && this.isPossible(session) ? "later" : "unknown";
    const { state, context } = account;
    const isOver = state === "chargeable" || state === "closed";
    // The session ran at a relay that is gone, and its end is not known yet. Or its end could not be put on record yet.
    if (!isOver && keeper !== "any" && (state === "running" || keeper === "gone")) return "later";
    const entries = await billing.entriesOf(session);
    const known = this.remembered(account, entries);
    const { book } = known;
    book.merge(entries);
    await this.joinParts(book, account);
    // The window ends at the time of day that was written. But it never lasts longer than its length from now, in case
    // the clock was set back since.
    if (isOver) known.overAt ??= book.timeline.now();
    const { windowMs } = context;
    const dueAt = Math.min(context.dueAt ?? (context.endedAt ?? 0) + windowMs, (known.overAt ?? 0) + windowMs);
    // A closed account takes no charges, whatever this machine's clock says.
    if (state === "closed") return { book, dueAt: Math.min(dueAt, book.timeline.now()) };
    if (isOver) return { book, dueAt };
    return { book, dueAt: keeper === "self" ? NEVER_BEGAN : null };
  }

  /** Whether the id is plausible: a session of a relay that is gone may exist although billing does not know it yet. */
  private isPossible(session: string): boolean {
    const name = readSessionId(session);
    const now = this.options.keeping.timelines.current().now();
    return name !== undefined && now - name.at < MAX_AGE_MS && name.at - now < MAX_AHEAD_MS;
  }

  /** Keeps one book for a session from reading to reading. */
  private remembered(account: Account, entries: readonly Entry[]): Remembered {
    const { books } = this;
    const { session } = account.context;
    const known = books.get(session) ?? { book: this.newBook(account, entries), overAt: undefined };
    books.delete(session);
    books.set(session, known);
    if (books.size > MAX_REMEMBERED) this.forgetOne();
    return known;
  }

  private forgetOne(): void {
    for (const [session, { book }] of this.books) {
      if (book.isBusy) continue; // in use: nobody may make a second one
      this.books.delete(session);
      return;
    }
  }

  private newBook({ context }: Account, entries: readonly Entry[]): ChargeBook {
    const { keeping, directory } = this.options;
    const { session, user, service, appServer, call, tariff, windowMs, hold, previous } = context;
    const facts: SessionFacts = {
      id: session,
      user,
      service,
      appServer,
      call,
      ...(tariff && { tariff }),
      ...(windowMs > 0 && { lateChargesMs: windowMs }),
      ...(hold !== undefined && { hold }),
      ...(previous && { previous }),
    };
    // The account has no tariff after the session's end, but the line for its time still has the currency.
    const time = entries.find(({ kind }) => kind === "time");
    return new ChargeBook(keeping, facts, directory.service(service)?.limits, undefined, time?.currency || undefined);
  }

  /**
   * Joins the other parts of the call: their charges count for its limits, and a charge from an earlier part at the
   * same app server that comes again is a repetition (M20-M24).
   */
  private async joinParts(book: ChargeBook, account: Account): Promise<void> {
    const { billing } = this.options;
    if (!billing.entries) return;
    const earlier = await this.earlierParts(account);
    const from = Math.min(...[account, ...earlier].map(({ context }) => context.startedAt ?? Number.MAX_VALUE));
    if (from === Number.MAX_VALUE) return;
    const entries = await this.entriesSince(account.context.user, from);
    const parts = new Set([account, ...earlier].map(({ context }) => context.session));
    for (let known = 0; known < parts.size; ) {
      known = parts.size;
      for (const { session, previous } of entries) if (previous && parts.has(previous.session)) parts.add(session);
    }
    parts.delete(account.context.session);
    const others = entries.filter(({ session }) => parts.has(session));
    if (others.length > 0) book.joins(new BilledCall(book, others));
    book.before ??= this.before(account, earlier, others);
  }

  private before({ context }: Account, earlier: readonly Account[], entries: readonly Entry[]): ChargeBook | undefined {
    const part = earlier.find((one) => one.context.session === context.previous?.session);
    if (!part || context.previous?.by !== "change" || part.context.appServer !== context.appServer) return undefined;
    const own = entries.filter(({ session }) => session === part.context.session);
    const book = this.newBook(part, own);
    book.merge(own);
    book.before = this.before(part, earlier, entries);
    return book;
  }

  private async earlierParts({ context }: Account): Promise<Account[]> {
    const parts: Account[] = [];
    for (let { previous } = context; previous !== undefined && parts.length < MAX_PARTS; ) {
      const [part] = await this.options.billing.accounts([previous.session]);
      if (!part) break;
      parts.push(part);
      ({ previous } = part.context);
    }
    return parts;
  }

  private async entriesSince(user: string, from: number): Promise<Entry[]> {
    const { billing, keeping } = this.options;
    const found: Entry[] = [];
    const last = monthOf(Math.max(from, keeping.timelines.current().now()));
    let pages = 0;
    for (let month = monthOf(from); ; month = monthAfter(month)) {
      let after: string | undefined;
      do {
        const page = await billing.entries!(user, month, { after, limit: PAGE, from });
        found.push(...page.entries);
        after = page.next;
      } while (after !== undefined && ++pages < MAX_PAGES);
      if (month >= last || pages >= MAX_PAGES) return found;
    }
  }
}

/** `dueAt` of a session that was charged something, but was never established. */
export const NEVER_BEGAN = 0;

/** `2026-12`: `2027-01`. */
const monthAfter = (month: string): string => {
  const [year, number] = month.split("-").map(Number) as [number, number];
  return new Date(Date.UTC(year, number)).toISOString().slice(0, 7);
};
