import type { Clock } from "../../support/clock.ts";
import type { Logger } from "../../support/log.ts";
import type { PeerLog } from "../../support/peer-log.ts";
import type { Timeline, Timelines } from "../../support/timeline.ts";
import type { Entry } from "../billing/store.ts";
import { type Charge, chargeAmount, chargeKey, isSameCharge } from "../events/charge-fields.ts";
import type { SessionFacts } from "../events/events.ts";
import { type ChargeMade, type ChargingEvent, chargeId, chargeMade, chargeRefused } from "../events/events.ts";
import { add, type Money, money } from "../money/money.ts";
import type { ServiceLimits } from "../money/portal-limits.ts";
import { completed, PortalLimits } from "../money/portal-limits.ts";
import type { Terms } from "../money/terms.ts";
import type { BookState, ChargeState, PartBookState } from "./book-state.ts";
import type { CallTotals, Charged } from "./call-charges.ts";
import { checkCharge } from "./check.ts";
import type { DayLedger } from "./day-ledger.ts";

/**
 * Why charges are refused: `unreadable` body; `terms` (currency, limits, number); `conflict` with a charge of the
 * same id; `unknown` session; `closed`: the time for late charges is over; `forbidden`: a service that the app server
 * does not offer; `prepaid`: the balance does not cover it, or it comes outside of the session.
 */
export type RefusalKind = "unreadable" | "terms" | "conflict" | "unknown" | "closed" | "forbidden" | "prepaid";

export interface Refusal {
  readonly kind: RefusalKind;
  /** For people: printable ASCII where it comes from `parseChargeBody`, any text otherwise. */
  readonly text: string;
  /** The charge's own id, where it is one that is refused. */
  readonly charge?: string;
}

/**
 * What became of a body of charges: all are on disk; or none was made; or the disk failed, and the same may be tried
 * again. `unknown`: the disk works, but what was charged before cannot be found out now.
 */
export type Outcome =
  | { readonly kind: "recorded" }
  | { readonly kind: "refused"; readonly refusal: Refusal }
  | { readonly kind: "failed"; readonly error: unknown; readonly unknown?: true };

/** What all books share. */
export interface BookKeeping {
  readonly recorder: { append(event: ChargingEvent): Promise<void>; readonly full: boolean };
  readonly clock: Pick<Clock, "monotonic">;
  readonly timelines: Pick<Timelines, "current">;
  readonly log: Logger;
  /** `chargesPutOff`: bodies whose sender was told to try again later. */
  readonly counters: { charges: number; chargesRefused: number; chargesPutOff?: number };
  readonly peerLog?: PeerLog;
  /** Bound on what an app server may charge in one session, in number. */
  readonly chargesPerSession: number;
  /** The limits for services that have none of their own; default: the built-in limits. */
  readonly portal?: PortalLimits;
  readonly days: DayLedger;
  /** The terms that hold now. */
  readonly terms: (service: string, appServer: string) => Terms | undefined;
}

/** A charge that was accepted; `written` until it is on disk. */
interface Made extends Charged {
  readonly charge: Charge;
  written: Promise<void> | undefined;
}

/**
 * A body that may be charged: its new charges, the sum with them, and the writes of repeated charges that are not on
 * disk yet.
 */
interface Checked {
  readonly fresh: readonly Charge[];
  readonly sum: Money | undefined;
  readonly underWay: readonly Promise<void>[];
}

/** How many refusals of a session are put on record: a hostile app server must not fill the journal with them. */
const MAX_REFUSALS = 10;

const PORTAL = new PortalLimits();
const RECORDED: Outcome = { kind: "recorded" };

/**
 * What one session has been charged, through whichever channel (M14-M17). The only place where charges are checked
 * against limits and earlier charges, and put on record before they are answered (decision 8).
 */
export class ChargeBook {
  readonly facts: SessionFacts;
  /** Gives the times of charges: the session's own timeline, where it runs or ran here. */
  readonly timeline: Timeline;
  private readonly keeping: BookKeeping;
  private readonly limits: ServiceLimits | undefined;
  /** The session's currency, also where its tariff is no longer known. */
  private readonly currency: string | undefined;
  /** Charges by their keys, to find repetitions, and the same id with other terms. */
  private readonly made = new Map<string, Made>();
  private sum: Money | undefined;
  private refusals = 0;
  /**
   * Only for a prepaid session: makes sure that its hold covers all charges, as the bill will have them. With it,
   * bodies are checked one after the other, since each has to wait for the balance. Rejects where the balance cannot be
   * found out now.
   */
  cover: ((charged: readonly Charged[]) => Promise<Refusal | undefined>) | undefined;
  /**
   * The book of the part before, at the same app server: a charge from there that comes again is a repetition (M20).
   */
  before: ChargeBook | undefined;
  /** Only in a call of several parts: what was charged in all of them. */
  private call: CallTotals | undefined;
  /** Bodies that are not decided yet. */
  private readonly underWay = new Set<Promise<unknown>>();
  private turn: Promise<unknown> = Promise.resolve();

  constructor(
    keeping: BookKeeping,
    facts: SessionFacts,
    limits: ServiceLimits | undefined,
    timeline = keeping.timelines.current(),
    currency?: string,
  ) {
    this.keeping = keeping;
    this.facts = facts;
    this.timeline = timeline;
    this.limits = limits;
    this.currency = facts.tariff?.currency ?? currency;
  }

  /** What was charged so far, including what is on its way to the disk, and `fresh` with the present terms. */
  charged(fresh: readonly Charge[] = []): Charged[] {
    const at = this.timeline.now();
    const taxes = fresh.length === 0 ? undefined : this.factsNow().terms?.taxes;
    return [...this.made.values(), ...fresh.map((charge) => ({ amount: chargeAmount(charge), taxes, at }))];
  }

  /** The session is a part of a call. */
  joins(call: CallTotals): void {
    this.call = call;
  }

  /** Whether a body is under way: nobody may make another book for the session. */
  get isBusy(): boolean {
    return this.underWay.size > 0;
  }

  /** How many charges were made so far. */
  get size(): number {
    return this.made.size;
  }

  /** What was charged so far, including what is on its way to the disk; undefined: nothing. */
  get total(): Money | undefined {
    return this.sum;
  }

  /** Makes all of a body's charges, or none. The outcome comes at once where they are refused or were made before. */
  enter(charges: readonly Charge[], channel: ChargeMade["channel"]): Outcome | Promise<Outcome> {
    const done = this.begin(charges, channel);
    if (!(done instanceof Promise)) return done;
    const entered = done.finally(() => this.underWay.delete(entered));
    this.underWay.add(entered);
    return entered;
  }

  /** Resolves when no body is under way: what was charged is on disk. */
  async settled(): Promise<void> {
    while (this.underWay.size > 0) await Promise.allSettled(this.underWay);
  }

  private begin(charges: readonly Charge[], channel: ChargeMade["channel"]): Outcome | Promise<Outcome> {
    const loading = this.loadDay(charges);
    if (loading === undefined) return this.enterLoaded(charges, channel);
    return loading.then(
      () => this.enterLoaded(charges, channel),
      (error) => ({ kind: "failed", error, unknown: true }),
    );
  }

  /** Reads what the app server has charged this user today, which must be known before it charges more. */
  private loadDay(charges: readonly Charge[]): Promise<void> | undefined {
    const { clock, days, portal = PORTAL } = this.keeping;
    const { limits, facts } = this;
    const [at, now] = [this.timeline.now(), clock.monotonic()];
    if (limits?.day !== undefined) return days.load(facts, at, now);
    const { currency } = charges[0]!;
    days.loadSeldom(facts, money(completed(limits, portal.for(currency)).day, currency), at, now);
    return undefined;
  }

  private enterLoaded(charges: readonly Charge[], channel: ChargeMade["channel"]): Outcome | Promise<Outcome> {
    const { cover } = this;
    if (!cover) return this.enterNow(charges, channel);
    const covered = this.turn.then(async () => {
      const checked = this.check(charges);
      if ("kind" in checked || checked.fresh.length === 0) return undefined;
      return cover(this.charged(checked.fresh));
    });
    const entered = covered.then(
      (refusal) => (refusal ? this.refuse(refusal, charges) : this.enterNow(charges, channel)),
      (error): Outcome => ({ kind: "failed", error }),
    );
    this.turn = covered.catch(() => {}); // after this, `enterNow` has run: its charges count for the next body
    return entered;
  }

  /** Notes that charges were refused; `detail` goes to the log only. Returns what to answer. */
  refuse(refusal: Refusal, detail?: unknown): Outcome {
    const { keeping, facts } = this;
    const { log, recorder } = keeping;
    keeping.counters.chargesRefused++;
    const { call, id, user, service, appServer } = facts;
    const what = { call, session: id, user, service, appServer, why: refusal.text };
    const n = ++this.refusals;
    log[n > MAX_REFUSALS ? "debug" : "warn"](
      { ...what, ...(detail !== undefined && { charges: detail }) },
      "charge refused",
    );
    if (n <= MAX_REFUSALS && !recorder.full) {
      recorder
        .append(chargeRefused(facts, this.timeline.now(), n, refusal.text, refusal.charge))
        .catch((error) => this.sayNotOnRecord("warn", "a refusal could not be put on record", { err: error, ...what }));
    }
    return { kind: "refused", refusal };
  }

  /**
   * The book as data, with those charges that are on disk by now. `without`: leaves out the charges, for a caller that
   * keeps them separately.
   */
  state(without?: "without charges"): BookState {
    const made = (book: ChargeBook) => (without ? [] : book.onDisk);
    const before: PartBookState[] = [];
    for (let book = this.before; book; book = book.before)
      before.push({ session: book.facts.id, service: book.facts.service, made: made(book) });
    return { made: made(this), refusals: this.refusals, ...(before.length > 0 && { before }) };
  }

  private get onDisk(): ChargeState[] {
    const made = [...this.made.values()].filter(({ written }) => written === undefined);
    return made.map(({ charge, at, taxes }) => ({ ...charge, at, ...(taxes && { taxes }) }));
  }

  /**
   * Takes over the state of a book of the same session. Books of earlier parts are made again, and handed to `earlier`.
   */
  restore({ made, refusals, before = [] }: BookState, earlier: (book: ChargeBook) => void): void {
    this.refusals = refusals;
    this.takeOver(made);
    let last: ChargeBook = this;
    for (const { session: id, service, made: charged } of before) {
      const { user, call, appServer } = this.facts;
      last.before = new ChargeBook(this.keeping, { id, user, call, appServer, service }, undefined, this.timeline);
      last = last.before;
      last.takeOver(charged);
      earlier(last);
    }
  }

  private takeOver(made: readonly ChargeState[]): void {
    for (const { at, taxes, id, item, unitPrice, quantity, currency } of made) {
      const charge = { id, item, unitPrice, quantity, currency };
      this.made.set(chargeKey(id), { charge, amount: chargeAmount(charge), taxes, at, written: undefined });
    }
    this.addUp();
  }

  /** Takes over the charges on the bill for this session and app server: after a restart, or from another node. */
  merge(entries: readonly Entry[]): void {
    const prefix = chargeId(this.facts.id, this.facts.appServer, "");
    for (const entry of entries) {
      if (entry.kind !== "item" || !entry.id.startsWith(prefix)) continue;
      const id = entry.id.slice(prefix.length);
      if (this.made.has(id)) continue;
      const { item, unitPrice, quantity, currency, terms, at } = entry;
      const charge = { id, item, unitPrice, quantity, currency };
      this.made.set(id, { charge, amount: chargeAmount(charge), taxes: terms?.taxes, at, written: undefined });
    }
    this.addUp();
  }

  private find(key: string): Made | undefined {
    return this.made.get(key) ?? this.before?.find(key);
  }

  private enterNow(charges: readonly Charge[], channel: ChargeMade["channel"]): Outcome | Promise<Outcome> {
    const checked = this.check(charges);
    if ("kind" in checked) return this.refuse(checked, charges);
    const { fresh, sum, underWay } = checked;
    if (fresh.length === 0 && underWay.length === 0) return RECORDED;
    this.sum = sum;
    const at = this.timeline.now();
    const facts = this.factsNow();
    const written = fresh.map((charge) => this.append(facts, charge, at, channel));
    this.keeping.counters.charges += fresh.length;
    return Promise.all(written.concat(underWay)).then(
      () => RECORDED,
      (error) => {
        const { call, id, user, service, appServer } = this.facts;
        const what = { call, session: id, user, service, appServer, charges: fresh };
        this.sayNotOnRecord("error", "a charge could not be put on record", { err: error, ...what });
        return { kind: "failed", error };
      },
    );
  }

  /**
   * An app server may charge very often while the disk is full. The rate-limited log keeps it from filling the disk
   * further.
   */
  private sayNotOnRecord(level: "warn" | "error", text: string, what: object): void {
    const { peerLog, log } = this.keeping;
    if (peerLog) peerLog[level](text, this.facts.appServer, what);
    else log[level](what, text);
  }

  /** The facts with the present terms: those count for the charge, whatever they were when the session was set up. */
  private factsNow(): SessionFacts {
    const { facts, keeping } = this;
    const terms = keeping.terms(facts.service, facts.appServer);
    if (terms === facts.terms) return facts;
    const { terms: _terms, ...others } = facts;
    return terms ? { ...others, terms } : others;
  }

  private append(facts: SessionFacts, charge: Charge, at: number, channel: ChargeMade["channel"]): Promise<void> {
    const { keeping } = this;
    const event = chargeMade(facts, at, charge, channel);
    keeping.days.note(event);
    const written = keeping.recorder.append(event);
    const made: Made = { charge, amount: chargeAmount(charge), taxes: facts.terms?.taxes, at, written };
    this.made.set(chargeKey(charge.id), made);
    written.then(
      () => {
        made.written = undefined;
      },
      () => {
        // The charge may be tried again with the same id, and does not count for limits.
        this.made.delete(chargeKey(charge.id));
        this.addUp();
        keeping.days.forget(event);
      },
    );
    return written;
  }

  private addUp(): void {
    this.sum = undefined;
    for (const { amount } of this.made.values()) this.sum = this.sum === undefined ? amount : add(this.sum, amount);
  }

  /** Checks a body as a whole. Returns which charges are new, and the sum with them; or why none may be made. */
  private check(charges: readonly Charge[]): Checked | Refusal {
    const { days, chargesPerSession, portal } = this.keeping;
    const fresh: Charge[] = [];
    const underWay: Promise<void>[] = [];
    const { limits, facts, call } = this;
    const first = charges[0]!.currency;
    const at = this.timeline.now();
    const others = days.others(facts, first, at);
    const terms = { tariffCurrency: this.currency ?? this.sum?.currency, limits, portal, others };
    let { sum } = this;
    let ofCall = call ? call.sum(facts.service, first) : sum;
    let today = days.sum(facts, limits?.currency ?? first, at);
    const count = call ? call.count(facts.service) : this.made.size;
    for (const charge of charges) {
      const before = this.find(chargeKey(charge.id));
      if (before) {
        if (before.written) underWay.push(before.written);
        if (isSameCharge(before.charge, charge)) continue;
        const text = `charge ${charge.id} was made before with other terms`;
        return { kind: "conflict", text, charge: charge.id };
      }
      if (count + fresh.length >= chargesPerSession)
        return { kind: "terms", text: `more than ${chargesPerSession} charges in a session`, charge: charge.id };
      const result = checkCharge(charge, terms, ofCall, today);
      if (!result.ok) return { kind: "terms", text: `charge ${charge.id}: ${result.error}`, charge: charge.id };
      ofCall = result.value;
      const amount = chargeAmount(charge);
      sum = sum ? add(sum, amount) : amount;
      today = add(today, amount);
      fresh.push(charge);
    }
    return { fresh, sum, underWay };
  }
}
