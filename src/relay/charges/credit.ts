import type { Failure } from "../../../machines/events.ts";
import { SessionCost } from "../../charging/billing/session-cost.ts";
import type { Refusal as ChargeRefusal } from "../../charging/charges/book.ts";
import type { Charged } from "../../charging/charges/call-charges.ts";
import { fromMicros, type Micros, type Refusal } from "../../charging/credit/store.ts";
import { tariffProblem } from "../../charging/events/event-fields.ts";
import { creditExhausted, creditReserved, type SessionFacts } from "../../charging/events/events.ts";
import { coveredMs, FOREVER_MS } from "../../charging/money/coverage.ts";
import { formatAmount, type Money, money } from "../../charging/money/money.ts";
import { rateDuration, type TariffUse } from "../../charging/money/tariff.ts";
import type { TimerHandle } from "../../support/clock.ts";
import { warning } from "../dialog/reply.ts";
import { contained } from "../model/contained.ts";
import type { Core, CreditPort, SessionPort as Session } from "../model/core.ts";
import type { CreditTerms } from "../model/ports.ts";
import type { CreditState } from "../model/session-state.ts";

/** What the store said: done; no; or nothing. */
type Outcome = { readonly ok: true } | { readonly ok: false; readonly why: Refusal["why"] | "unknown" };

const WHY: Readonly<Record<Refusal["why"], string>> = {
  "no account": "the user has no balance",
  currency: "the balance is in another currency",
  credit: "the balance does not cover it",
  "too many sessions": "the balance pays too many sessions at once",
  gone: "what was held is settled",
};

/** RFC 3261 §21.4.3. */
const paymentRequired = (why: string): Failure => ({
  status: 402,
  headers: [warning(why)],
  reason: `Payment Required: ${why}`,
});

/** Why a session ended that its user's balance could not pay any longer. */
const CREDIT_UNKNOWN = "the balance is not known";

/** Whether `credit.reserveCharges` counts too. */
type Spare = "spare" | "none";
const SPARE: Spare = "spare";
const NONE: Spare = "none";

const RETRY_MS = 1_000;
const LEAST_LEAD_MS = 2_000;

/**
 * What is held of a prepaid balance for one session: taken before anybody is asked, renewed while the session lasts,
 * for its time and what the app server charges together. It says when the money is used up, and ends the session
 * then. The billing worker takes what the session cost out of it (src/charging/billing/settle-credit.ts); only the
 * hold of a session whose clock never ran is given back here.
 */
export class Credit implements CreditPort {
  readonly terms: CreditTerms;
  private readonly core: Core;
  private session: Session | undefined;
  private facts: SessionFacts | undefined;
  private used: TariffUse | undefined;
  private startedAt: number | undefined;
  /** What the store holds, as far as is known. */
  private held: Micros = 0;
  /** What app servers have charged. */
  private charged: SessionCost;
  /** How long the session may last with what is held, once what was charged is paid. Never less than it was. */
  private coveredMs = 0;
  /** When the store gives it back if nobody renews it. */
  private heldUntil = 0;
  /** A call was not answered: it may have been carried out. */
  private unsure = false;
  /** The balance did not allow the next interval: the end is known. */
  private exhausted = false;
  private warned = false;
  /** Events so far, for their ids. */
  private events = 0;
  private closed = false;
  /** The session has ended: its hold is settled when that is billed. */
  private over = false;
  /** The clock never ran: what is held is given back, and nobody takes out what comes later. */
  private cameToNothing = false;
  /** Of the session's cost, what was held by the time that its hold was settled. */
  private settled: Micros = 0;
  private timer: TimerHandle;
  /** One call to the store after the other. */
  private turn: Promise<unknown> = Promise.resolve();

  constructor(core: Core, terms: CreditTerms) {
    this.core = core;
    this.terms = terms;
    this.charged = new SessionCost(terms.currency);
    this.used = terms.used;
  }

  /**
   * Takes the first hold: set-up fee and time of the first interval. Resolves to why it cannot be had, or to undefined.
   */
  async take(): Promise<Failure | undefined> {
    const { tariff, currency } = this.terms;
    if (tariff && tariff.currency !== currency)
      return paymentRequired(`the balance is in ${currency}, the service costs ${tariff.currency}`);
    const problem = tariff && tariffProblem(tariff);
    if (problem !== undefined) {
      const what = { tariff: tariff!.id, problem };
      this.core.peerLog.error("refused: nobody can be billed by this tariff", this.terms.user, what);
      return { status: 500 };
    }
    const first = this.cost(this.settings.intervalS * 1000, SPARE);
    const outcome = await this.inTurn(() => this.raise(first, first));
    if (outcome.ok) this.coveredMs = this.covers(SPARE);
    else if (outcome.why !== "unknown") return paymentRequired(WHY[outcome.why]);
    else if (!this.trusts) return { status: 503, headers: [["Retry-After", "10"], warning(CREDIT_UNKNOWN)] };
    else this.coveredMs = this.settings.intervalS * 1000;
    this.arm();
    return undefined;
  }

  /** From now on it is this session's. */
  attach(session: Session): void {
    this.session = session;
    this.facts = session.facts;
  }

  /** Its numbers, as data. What was charged stands in the session's book. */
  get state(): CreditState {
    const { startedAt, held, coveredMs, heldUntil, unsure, exhausted, warned, events, used } = this;
    const { currency, taxes } = this.terms;
    return {
      currency,
      ...(taxes && { taxes }),
      ...(used && { used }),
      ...(startedAt !== undefined && { startedAt }),
      ...{ held, coveredMs, heldUntil, unsure, exhausted, warned, events },
    };
  }

  /** That of a session which is restored with its book. It does nothing until `goOn`. */
  static restored(core: Core, session: Session, state: CreditState, charged: readonly Charged[]): Credit {
    const { user, hold: key = "", tariff } = session.facts;
    const { currency, taxes, used } = state;
    const credit = new Credit(core, { user, currency, key, tariff, used, taxes });
    credit.attach(session);
    credit.startedAt = state.startedAt;
    credit.held = state.held;
    for (const { amount, taxes: on, at } of charged)
      if (amount.currency === currency) credit.charged.add(amount, on, at);
    credit.coveredMs = state.coveredMs;
    credit.heldUntil = state.heldUntil;
    credit.unsure = state.unsure;
    credit.exhausted = state.exhausted;
    credit.warned = state.warned;
    credit.events = state.events;
    return credit;
  }

  /** Renews the hold at once: nobody has for a while. What is used up by now ends the session. */
  goOn(): void {
    if (this.startedAt === undefined && this.held === 0) this.arm();
    else this.renew();
  }

  /** The session's clock runs since `at`. */
  start(at: number): void {
    this.startedAt = at;
    this.noteUse();
    if (this.held > 0) this.report();
    this.arm();
  }

  /** What the parts before have used is known now. */
  private noteUse(): void {
    const used = this.facts?.used;
    if (used === this.used) return;
    this.used = used;
    if (!this.unsure) this.coveredMs = this.covers(SPARE);
  }

  /**
   * Makes sure that what is held is enough for everything that app servers have charged, with what they want to
   * charge now, beside the time. Resolves to why it cannot be had, or to undefined; then it counts as charged.
   * Rejects where the balance is not known.
   */
  cover(charges: readonly Charged[]): Promise<ChargeRefusal | undefined> {
    return this.inTurn(async () => {
      // Nobody would take it out of the balance: that is done with the session's end, and there is none.
      if (this.cameToNothing) return { kind: "prepaid", text: "no session came of it" };
      const { currency } = this.terms;
      const charged = new SessionCost(currency);
      for (const { amount, taxes, at } of charges) {
        if (amount.currency !== currency)
          return { kind: "prepaid", text: `the balance is in ${currency}, the charge in ${amount.currency}` };
        charged.add(amount, taxes, at);
      }
      const need = this.cost(this.coveredMs, NONE, charged) - this.settled;
      if (need > this.held || this.over) {
        const all = this.over ? need : this.cost(this.coveredMs, SPARE, charged);
        let outcome = await this.raise(all, need, charged);
        if (this.over && !outcome.ok && outcome.why === "gone") outcome = await this.holdAnew(charged);
        if (!outcome.ok && outcome.why !== "unknown") return { kind: "prepaid", text: WHY[outcome.why] };
        if (!outcome.ok && !this.trusts) throw new Error(CREDIT_UNKNOWN); // may be tried again
        if (!this.over) this.report();
        this.arm();
      }
      this.charged = charged;
      return undefined;
    });
  }

  /** The session is over, or came to nothing: then what is held, less what was charged all the same, is given back. */
  close(started: boolean): Promise<void> | undefined {
    this.over = started;
    if (this.closed) return undefined;
    this.closed = true;
    this.core.clock.clearTimeout(this.timer);
    if (started) return undefined; // its end settles it, in whatever order hold and end reach the store
    this.cameToNothing = true;
    const giveBack = () => this.inTurn(() => this.giveBack());
    const book = this.session?.charges.bookIfAny;
    const givenBack = contained(this.core, book ? book.settled().then(giveBack) : giveBack());
    this.core.ending.add(givenBack);
    return givenBack;
  }

  /** It goes on elsewhere, and so does its hold. */
  release(): void {
    this.closed = true;
    this.core.clock.clearTimeout(this.timer);
  }

  /**
   * Billing has settled the hold with the session's end: what is charged all the same is held by itself, until it is
   * billed too.
   */
  private holdAnew(charged: SessionCost): Promise<Outcome> {
    this.settled = this.cost(this.coveredMs);
    this.held = 0;
    const more = this.cost(this.coveredMs, NONE, charged) - this.settled;
    return this.raise(more, more, charged);
  }

  /** When the money is used up, as it stands; undefined: never by time. */
  get until(): number | undefined {
    if (this.startedAt === undefined || this.coveredMs >= FOREVER_MS) return undefined;
    return this.startedAt + this.coveredMs;
  }

  private get settings() {
    return this.core.config.credit;
  }

  /** The operator lets prepaid users call although their balance cannot be asked. */
  private get trusts(): boolean {
    return this.settings.whenUnknown === "allow";
  }

  /** What the bill will say: so much time, and what was charged. `spare`: and some for charges to come. */
  private cost(durationMs: number, spare: Spare = NONE, charged = this.charged): Micros {
    const { tariff } = this.terms;
    return this.costOf(tariff && rateDuration(tariff, durationMs, this.used), spare, charged);
  }

  private costOf(time: Money | undefined, spare: Spare, charged: SessionCost): Micros {
    const { taxes, currency } = this.terms;
    const { date } = this;
    const cost = new SessionCost(currency, charged);
    if (time) cost.add(time, taxes, this.startedAt ?? date);
    // So that not each of them has to ask the store.
    if (spare === SPARE) cost.add(money(this.settings.reserveCharges, currency), taxes, date);
    return cost.total;
  }

  /** How long it may last with what is held. */
  private covers(spare: Spare): number {
    return coveredMs(this.terms.tariff, (time) => this.costOf(time, spare, this.charged) <= this.held, this.used);
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.turn.then(work, work);
    this.turn = done.catch(() => {});
    return done;
  }

  /** By the session's timeline; until there is a session, of nothing but what passes. */
  private get now(): number {
    return this.session?.now() ?? this.core.clock.monotonic();
  }

  /** Milliseconds since 1970, as its lines of the bill have it. */
  private get date(): number {
    return this.session?.now() ?? this.core.clock.wall();
  }

  /** How long the session lasts until now. */
  private get elapsedMs(): number {
    return this.startedAt === undefined ? 0 : Math.max(0, this.now - this.startedAt);
  }

  private async raise(to: Micros, atLeast: Micros, charged = this.charged): Promise<Outcome> {
    if (to <= 0) return { ok: true }; // nothing to hold: the store need not know
    const { core, settings, held } = this;
    const { user, key, currency } = this.terms;
    const used =
      this.startedAt === undefined ? 0 : Math.min(this.cost(this.elapsedMs, NONE, charged), Math.max(to, held));
    const leaseMs = Math.round((settings.intervalS + settings.graceS) * 1000);
    const until = core.clock.wall() + leaseMs;
    this.heldUntil = this.date + leaseMs;
    const request = { user, hold: key, currency, from: held, to: Math.max(to, held), atLeast, used, until, leaseMs };
    const { credit } = core;
    if (!credit) return { ok: false, why: "unknown" };
    const reserved = async (): Promise<Outcome> => {
      let result = await credit.reserve(request);
      if (!result.ok && result.error.why === "gone" && !this.closed && !this.over) {
        // Nobody renewed it for a while, so that it was given back. The session goes on, as far as the balance goes.
        this.held = 0;
        result = await credit.reserve({ ...request, from: 0 });
      }
      if (!result.ok) return { ok: false, why: result.error.why };
      this.held = Math.max(this.held, result.value);
      return { ok: true };
    };
    const answer = reserved().catch((error: unknown): Outcome => {
      core.peerLog.warn("the store of balances does not answer", user, { user, err: error });
      return { ok: false, why: "unknown" };
    });
    return this.within(answer);
  }

  private within(answer: Promise<Outcome>): Promise<Outcome> {
    const { clock } = this.core;
    return new Promise((resolve, reject) => {
      const timer = clock.setTimeout(() => {
        this.unsure = true;
        resolve({ ok: false, why: "unknown" });
      }, this.settings.timeoutS * 1000);
      answer
        .then((outcome) => {
          clock.clearTimeout(timer);
          if (!outcome.ok && outcome.why === "unknown") this.unsure = true;
          resolve(outcome);
        })
        .catch(reject);
    });
  }

  /** What an unanswered call took after all comes back when its `until` is over. */
  private async giveBack(): Promise<void> {
    if (this.held === 0 && !this.unsure) return;
    const { core, terms } = this;
    const session = this.facts?.id ?? terms.key;
    const { user, key: hold, currency } = terms;
    const charged = new SessionCost(currency);
    // What is on record, and not what was covered and came to nothing.
    for (const { amount, taxes, at } of this.session?.charges.bookIfAny?.charged() ?? [])
      if (amount.currency === currency) charged.add(amount, taxes, at);
    try {
      await core.credit?.settle({ user, hold, session, totals: charged.totals(this.date) });
    } catch (error) {
      core.peerLog.warn("a hold could not be given back now: it ends by itself", user, { user, err: error });
    }
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
      if (this.held === 0) return; // nothing to keep
      at = now + intervalMs;
    } else at = Math.min(until - Math.max(this.warnMs, Math.min(LEAST_LEAD_MS, intervalMs / 2)), now + intervalMs);
    this.timer = clock.setTimeout(() => this.renew(), Math.max(0, at - now));
  }

  private get warnMs(): number {
    return this.settings.warnS * 1000;
  }

  /** By itself: nobody awaits it. A session whose hold cannot be seen to any more ends: it would run unmetered. */
  private renew(): void {
    void contained(
      this.core,
      this.inTurn(() => this.tick()),
      { actor: this.session?.actor },
    );
  }

  private async tick(): Promise<void> {
    if (this.closed) return;
    const intervalMs = this.settings.intervalS * 1000;
    const lead = Math.max(this.warnMs, Math.min(LEAST_LEAD_MS, intervalMs / 2));
    const isDue = this.until !== undefined && this.now >= this.until - lead;
    if (!isDue) {
      await this.raise(this.held, this.held); // says that the session lives
      this.arm();
      return;
    }
    const goalMs = this.elapsedMs + lead + intervalMs;
    const to = this.cost(goalMs, SPARE);
    const atLeast = this.cost(this.coveredMs + 1);
    const before = this.held;
    const outcome = await this.raise(to, atLeast);
    if (this.closed) return;
    if (this.session) this.core.kept?.changed(this.session);
    if (outcome.ok) {
      const all = this.held >= to;
      this.coveredMs = Math.max(this.coveredMs, this.covers(all ? SPARE : NONE));
      this.exhausted = !all;
      if (all) this.warned = false;
      if (this.held > before) this.report();
    } else if (outcome.why === "unknown" && this.trusts) {
      this.coveredMs = Math.max(this.coveredMs, goalMs);
    } else if (outcome.why !== "unknown") {
      this.coveredMs = Math.max(this.coveredMs, this.covers(NONE)); // what was held for charges too
      this.exhausted = true;
    }
    if (!this.finish(outcome)) this.arm();
  }

  /** Warns, or ends the session, where the time has come. True: nothing is left to do. */
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
      if (facts)
        this.record(creditExhausted(facts, now, ++this.events, { currency: this.terms.currency, endsAt: until }));
    }
    return false;
  }

  private report(): void {
    const { facts, terms, held, until } = this;
    const { currency } = terms;
    if (this.session) this.core.kept?.changed(this.session);
    if (!facts || this.startedAt === undefined) return;
    if (!this.closed) this.session?.actor.send({ type: "credit.held", until: until ?? null });
    const amount = formatAmount(fromMicros(held, currency));
    const notice = { currency, amount, until: this.heldUntil };
    this.record(creditReserved(facts, this.now, ++this.events, notice));
  }

  /** A notice: nothing waits for it, and no bill depends on it. */
  private record(event: ReturnType<typeof creditReserved> | ReturnType<typeof creditExhausted>): void {
    this.core.recorder.append(event).catch((error) => {
      this.core.peerLog.warn("a notice about credit could not be put on record", "", { err: error, event });
    });
  }
}
