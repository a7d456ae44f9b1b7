import type { Failure } from "../../../machines/events.ts";
import type { SessionCost } from "../../charging/billing/session-cost.ts";
import type { Refusal as ChargeRefusal } from "../../charging/charges/book.ts";
import type { Charged } from "../../charging/charges/call-charges.ts";
import { free, type Micros, micros } from "../../charging/credit/store.ts";
import { tariffProblem } from "../../charging/events/event-fields.ts";
import type { SessionFacts } from "../../charging/events/events.ts";
import { FOREVER_MS } from "../../charging/money/coverage.ts";
import { money } from "../../charging/money/money.ts";
import type { TimerHandle } from "../../support/clock.ts";
import { warning } from "../dialog/reply.ts";
import { contained } from "../model/contained.ts";
import type { Core, CreditPort, SessionPort as Session } from "../model/core.ts";
import { ofSession } from "../model/log-facts.ts";
import type { CreditTerms } from "../model/ports.ts";
import type { CreditState } from "../model/session-state.ts";
import { CreditNotices } from "./credit-notices.ts";
import { Hold, type Outcome, WHY_NOT } from "./hold.ts";
import { NONE, PrepaidCost, SPARE, type Spare } from "./prepaid-cost.ts";

/** 402 (RFC 3261 §21.4.3). */
const paymentRequired = (why: string): Failure => ({
  status: 402,
  headers: [warning(why)],
  reason: `Payment Required: ${why}`,
});

/** In the Warning of a 503, and why a charge could not be covered. */
const CREDIT_UNKNOWN = "the balance is not known";

const NOTHING_TO_HOLD: Promise<Outcome> = Promise.resolve({ ok: true });

const RETRY_MS = 1_000;
/** A session's end is billed within that time, as a rule. */
const BILLED_MS = 2_000;
const LEAST_LEAD_MS = 2_000;

/**
 * How long a prepaid balance pays for one session, for its time and for what the app server charges. What that costs
 * is held in the balance before any app server is asked, and more of it while the session lasts. `Credit` knows when
 * the money is used up, and ends the session then. The billing worker takes what the session cost out of the hold
 * (src/charging/billing/settle-credit.ts); only the hold of a session whose clock never ran is given back here.
 */
export class Credit implements CreditPort {
  readonly terms: CreditTerms;
  private readonly core: Core;
  private session: Session | undefined;
  private facts: SessionFacts | undefined;
  private readonly cost: PrepaidCost;
  private readonly hold: Hold;
  private readonly notices: CreditNotices;
  /** How long the session may last with what is held, less what was charged. Once the clock runs it never shrinks. */
  private coveredMs = 0;
  /** The balance did not cover the next interval, so that the session's end is known. */
  private exhausted = false;
  /** The warning that the money will soon be used up is on record. */
  private warned = false;
  /** That little is left was put on record. */
  private toldLow = false;
  /** The hold is not renewed any more. */
  private closed = false;
  /** The session has ended after its clock ran: the hold is settled when the session is billed. */
  private over = false;
  /** The clock never ran: the hold is given back, so that no later charge can be paid from it. */
  private cameToNothing = false;
  /** The part of the session's cost that was settled with the first hold, where a second one was taken after that. */
  private settled: Micros = 0;
  private timer: TimerHandle;

  constructor(core: Core, terms: CreditTerms) {
    this.core = core;
    this.terms = terms;
    this.cost = new PrepaidCost(core, terms);
    this.hold = new Hold(core, terms, this);
    this.notices = new CreditNotices(core, terms.currency);
  }

  /**
   * Takes the first hold: set-up fee and time of the first interval. Resolves to undefined, or to the answer that the
   * client gets because the balance does not cover it.
   */
  async take(): Promise<Failure | undefined> {
    const { tariff, currency } = this.terms;
    if (tariff && tariff.currency !== currency)
      return paymentRequired(`the balance is in ${currency}, the service costs ${tariff.currency}`);
    const problem = tariff && tariffProblem(tariff);
    if (problem !== undefined) {
      const what = { ...this.about, tariff: tariff!.id, problem };
      this.core.peerLog.error("refused: nobody can be billed by this tariff", this.terms.user, what);
      return { status: 500 };
    }
    const first = this.costOf(this.settings.intervalS * 1000, SPARE);
    const outcome = await this.hold.inTurn(() => this.raise(first, first));
    if (outcome.ok) this.coveredMs = this.covers(SPARE);
    else if (outcome.why !== "unknown") return paymentRequired(WHY_NOT[outcome.why]);
    else if (!this.trusts) return { status: 503, headers: [["Retry-After", "10"], warning(CREDIT_UNKNOWN)] };
    else this.coveredMs = this.settings.intervalS * 1000;
    this.arm();
    return undefined;
  }

  /** By what its lines of the log are found. */
  get about(): object {
    return this.session ? ofSession(this.session) : { user: this.terms.user, hold: this.terms.key };
  }

  /** From now on the hold is for this session. */
  attach(session: Session): void {
    this.session = session;
    this.facts = session.facts;
  }

  /** The hold as data, without what was charged: that stands in the session's book. */
  get state(): CreditState {
    const { coveredMs, exhausted, warned } = this;
    const { count: events } = this.notices;
    const { startedAt, used } = this.cost;
    const { held, until: heldUntil, unsure } = this.hold;
    const { currency, taxes } = this.terms;
    return {
      currency,
      ...(taxes && { taxes }),
      ...(used && { used }),
      ...(startedAt !== undefined && { startedAt }),
      ...{ held, coveredMs, heldUntil, unsure, exhausted, warned, events },
    };
  }

  /** The hold of a session that is restored, with what its book says was charged. Does nothing until `goOn`. */
  static restored(core: Core, session: Session, state: CreditState, charged: readonly Charged[]): Credit {
    const { user, hold: key = "", tariff } = session.facts;
    const { currency, taxes, used } = state;
    const credit = new Credit(core, { user, currency, key, tariff, used, taxes });
    credit.attach(session);
    credit.cost.start(state.startedAt);
    credit.cost.noteCharges(credit.cost.sumOf(charged));
    credit.hold.restore(state);
    credit.coveredMs = state.coveredMs;
    credit.exhausted = state.exhausted;
    credit.warned = state.warned;
    credit.notices.goOnFrom(state.events);
    return credit;
  }

  /**
   * The session goes on after a restart: renews the hold at once, since nobody has for a while. If the money is used up
   * by now, that ends the session.
   */
  goOn(): void {
    if (this.cost.startedAt === undefined && this.hold.held === 0) this.arm();
    else this.renew();
  }

  /** The session's clock runs since `at`. */
  start(at: number): void {
    this.cost.start(at);
    this.noteUse();
    if (this.hold.held > 0) this.report();
    this.arm();
  }

  /** Takes over what earlier parts have used of the tariff, which is known when this part begins. */
  private noteUse(): void {
    const used = this.facts?.used;
    if (used === this.cost.used) return;
    this.cost.noteUse(used);
    if (!this.hold.unsure) this.coveredMs = this.covers(SPARE);
  }

  /**
   * Makes sure that the hold is enough for the time and for all charges, those before and `charges`, which are new.
   * Resolves to undefined, and the new ones count as charged; or to why they cannot be covered. Rejects where the
   * balance is not known.
   */
  cover(charges: readonly Charged[]): Promise<ChargeRefusal | undefined> {
    return this.hold.inTurn(async () => {
      // A charge is taken out of the balance when the session's end is billed, and this session has none.
      if (this.cameToNothing) return { kind: "prepaid", text: "no session came of it" };
      const { currency } = this.terms;
      const other = charges.find(({ amount }) => amount.currency !== currency)?.amount.currency;
      if (other !== undefined)
        return { kind: "prepaid", text: `the balance is in ${currency}, the charge in ${other}` };
      const charged = this.cost.sumOf(charges);
      const need = this.costOf(this.coveredMs, NONE, charged) - this.settled;
      if (need > this.hold.held || this.over) {
        const all = this.over ? need : this.costOf(this.coveredMs, SPARE, charged);
        let outcome = await this.raise(all, need, charged);
        if (this.over && !outcome.ok && outcome.why === "gone") outcome = await this.holdAnew(charged);
        if (!outcome.ok && outcome.why !== "unknown") return { kind: "prepaid", text: WHY_NOT[outcome.why] };
        if (!outcome.ok && !this.trusts) throw new Error(CREDIT_UNKNOWN); // may be tried again
        if (!this.over) this.report();
        this.arm();
      }
      this.cost.noteCharges(charged);
      return undefined;
    });
  }

  /**
   * The session is over (`started`), or its clock never ran: then what is held, less what was charged all the same, is
   * given back. Resolves when it is; undefined: nothing is given back.
   */
  close(started: boolean): Promise<void> | undefined {
    this.over = started;
    if (this.closed) return undefined;
    this.closed = true;
    this.core.clock.clearTimeout(this.timer);
    if (started) {
      this.markUsed();
      return undefined; // billing settles the hold with the session's end, whichever reaches the store first
    }
    this.cameToNothing = true;
    const giveBack = () => this.hold.inTurn(() => this.giveBack());
    const book = this.session?.charges.bookIfAny;
    const givenBack = contained(this.core, book ? book.settled().then(giveBack) : giveBack());
    this.core.ending.add(givenBack);
    return givenBack;
  }

  /**
   * Billing may be so far behind that nobody has settled the hold when its lease is over. So the store is told what all
   * of it came to: that much does not come back to the balance. As a rule billing is quicker, and nothing is written.
   */
  private markUsed(): void {
    const { core, hold } = this;
    if (hold.held === 0) return;
    let used: ReturnType<Credit["costOf"]>;
    try {
      used = this.costOf(this.elapsedMs);
    } catch (err) {
      // The session may end because of this very fault, which is counted there. It must end in any case.
      core.peerLog.error("what a session has come to is not told to the store", "", { ...this.about, err });
      return;
    }
    const mark = () =>
      void contained(
        core,
        hold.inTurn(async () => void (await hold.raise(hold.held, hold.held, used))),
      );
    if (core.draining) mark();
    else core.clock.setTimeout(mark, BILLED_MS);
  }

  private giveBack(): Promise<void> {
    // Charges that are on record, not those that were covered but never recorded.
    const charged = this.cost.sumOf(this.session?.charges.bookIfAny?.charged() ?? []);
    return this.hold.giveBack(this.facts?.id ?? this.terms.key, charged);
  }

  /** The session goes on in another process, which renews the hold from now on. */
  release(): void {
    this.closed = true;
    this.core.clock.clearTimeout(this.timer);
  }

  /**
   * Billing has settled the hold with the session's end. What is charged after that gets a hold of its own, until it is
   * billed too.
   */
  private holdAnew(charged: SessionCost): Promise<Outcome> {
    this.settled = this.costOf(this.coveredMs);
    this.hold.settled();
    const more = this.costOf(this.coveredMs, NONE, charged) - this.settled;
    return this.raise(more, more, charged);
  }

  /** When the money is used up, as far as is known now; undefined: time alone never uses it up. */
  get until(): number | undefined {
    const { startedAt } = this.cost;
    if (startedAt === undefined || this.coveredMs >= FOREVER_MS) return undefined;
    return startedAt + this.coveredMs;
  }

  private get settings() {
    return this.core.config.credit;
  }

  /** The operator lets prepaid users call although their balance cannot be asked. */
  private get trusts(): boolean {
    return this.settings.whenUnknown === "allow";
  }

  private costOf(durationMs: number, spare: Spare = NONE, charged?: SessionCost): Micros {
    return this.cost.of(durationMs, this.date, spare, charged);
  }

  /** How long the session may last with what is held. */
  private covers(spare: Spare): number {
    return this.cost.coveredBy(this.hold.held, this.date, spare);
  }

  /** By the session's timeline. Until there is a session, only differences matter, and the monotonic clock will do. */
  private get now(): number {
    return this.session?.now() ?? this.core.clock.monotonic();
  }

  /** Milliseconds since 1970, by the clock that dates the session's lines of the bill. */
  get date(): number {
    return this.session?.now() ?? this.core.clock.wall();
  }

  /** How long the session has lasted so far. */
  private get elapsedMs(): number {
    const { startedAt } = this.cost;
    return startedAt === undefined ? 0 : Math.max(0, this.now - startedAt);
  }

  /** The hold is needed on: the session has not ended. */
  get goesOn(): boolean {
    return !this.closed && !this.over;
  }

  private raise(to: Micros, atLeast: Micros, charged?: SessionCost): Promise<Outcome> {
    if (to <= 0) return NOTHING_TO_HOLD; // the store need not know
    const used = this.cost.startedAt === undefined ? 0 : this.costOf(this.elapsedMs, NONE, charged);
    return this.hold.raise(to, atLeast, used);
  }

  /** Sets the timer for what comes next: the renewal, the warning, or the end. */
  private arm(): void {
    const { clock } = this.core;
    clock.clearTimeout(this.timer);
    if (this.closed) return;
    const { now } = this;
    const intervalMs = this.settings.intervalS * 1000;
    const { until } = this;
    let at: number;
    if (this.exhausted && until !== undefined) at = this.warned ? until : until - this.warnMs;
    else if (until === undefined) {
      if (this.hold.held === 0) return; // nothing to keep
      at = now + intervalMs;
    } else at = Math.min(until - this.leadMs, now + intervalMs);
    this.timer = clock.setTimeout(() => this.renew(), Math.max(0, at - now));
  }

  private get warnMs(): number {
    return this.settings.warnS * 1000;
  }

  /** How long before the money is used up more of it is asked for. */
  private get leadMs(): number {
    return Math.max(this.warnMs, Math.min(LEAST_LEAD_MS, (this.settings.intervalS * 1000) / 2));
  }

  /**
   * Nobody awaits this. If it fails by a fault, the session ends, since it would go on without anybody watching the
   * balance.
   */
  private renew(): void {
    void contained(
      this.core,
      this.hold.inTurn(() => this.tick()),
      { actor: this.session?.actor },
    );
  }

  /** Renews the hold, and raises it where the money will soon be used up; warns, or ends the session. */
  private async tick(): Promise<void> {
    if (this.closed) return;
    const intervalMs = this.settings.intervalS * 1000;
    const lead = this.leadMs;
    const isDue = this.until !== undefined && this.now >= this.until - lead;
    if (!isDue) {
      await this.raise(this.hold.held, this.hold.held); // only to tell the store that the session goes on
      this.arm();
      return;
    }
    const goalMs = this.elapsedMs + lead + intervalMs;
    const to = this.costOf(goalMs, SPARE);
    const atLeast = this.costOf(this.coveredMs + 1);
    const before = this.hold.held;
    const outcome = await this.raise(to, atLeast);
    if (this.closed) return;
    if (this.session) this.core.kept?.changed(this.session);
    if (outcome.ok) {
      const all = this.hold.held >= to;
      this.coveredMs = Math.max(this.coveredMs, this.covers(all ? SPARE : NONE));
      this.exhausted = !all;
      if (all) this.warned = false;
      if (this.hold.held > before) this.report();
    } else if (outcome.why === "unknown" && this.trusts) {
      this.coveredMs = Math.max(this.coveredMs, goalMs);
    } else if (outcome.why !== "unknown") {
      this.coveredMs = Math.max(this.coveredMs, this.covers(NONE)); // the spare money for charges pays for time now
      this.exhausted = true;
    }
    if (!this.finish(outcome)) this.arm();
  }

  /** Warns, or ends the session, when it is time to. True: the timer is set already, or none is needed. */
  private finish(outcome: Outcome): boolean {
    const { clock } = this.core;
    const { session, until, now } = this;
    if (until === undefined) return false;
    if (now >= until) {
      const code = outcome.ok || outcome.why !== "unknown" ? "credit-exhausted" : "credit-unknown";
      this.closed = true;
      this.core.counters.creditExhausted++;
      // The clock stops when the money was used up, not when a timer got to it.
      session?.actor.send({ type: "credit.exhausted", at: until, code });
      return true;
    }
    if (!outcome.ok && outcome.why === "unknown" && !this.exhausted) {
      this.timer = clock.setTimeout(() => this.renew(), Math.min(RETRY_MS, until - now));
      return true;
    }
    if (this.exhausted && !this.warned && now >= until - this.warnMs) {
      this.warned = true;
      if (session) this.core.kept?.changed(session);
      const { facts } = this;
      if (facts) this.notices.exhausted(facts, now, until);
    }
    return false;
  }

  /** What is held has changed: the session and the record are told. */
  private report(): void {
    const { facts, hold, until } = this;
    if (this.session) this.core.kept?.changed(this.session);
    if (!facts || this.cost.startedAt === undefined) return;
    if (!this.closed) this.session?.actor.send({ type: "credit.held", until: until ?? null });
    this.notices.reserved(facts, this.now, hold.held, hold.until);
    const low = this.settings.low.find(({ currency }) => currency === this.terms.currency);
    if (low && !this.toldLow) void contained(this.core, this.tellIfLow(facts, low.below));
  }

  /** Asks what is free, and puts it on record if that is less than `below`. Nothing waits for it. */
  private async tellIfLow(facts: SessionFacts, below: string): Promise<void> {
    const { currency, user } = this.terms;
    const account = await this.core.credit?.account(user).catch(() => undefined); // the next hold asks again
    if (!account || this.toldLow) return;
    const left = free(account, this.core.clock.wall()).free;
    if (left >= micros(money(below, currency))) return;
    this.toldLow = true;
    this.notices.low(facts, this.now, Math.max(0, left), below);
  }
}
