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

/** What the store of balances answered: done, or why not; `unknown`: it has not answered. */
type Outcome = { readonly ok: true } | { readonly ok: false; readonly why: Refusal["why"] | "unknown" };

const WHY: Readonly<Record<Refusal["why"], string>> = {
  "no account": "the user has no balance",
  currency: "the balance is in another currency",
  credit: "the balance does not cover it",
  "too many sessions": "the balance pays too many sessions at once",
  gone: "what was held is settled",
};

/** 402 (RFC 3261 §21.4.3). */
const paymentRequired = (why: string): Failure => ({
  status: 402,
  headers: [warning(why)],
  reason: `Payment Required: ${why}`,
});

/** In the Warning of a 503, and why a charge could not be covered. */
const CREDIT_UNKNOWN = "the balance is not known";

/** Whether a cost includes `credit.reserveCharges`, which is for charges to come. */
type Spare = "spare" | "none";
const SPARE: Spare = "spare";
const NONE: Spare = "none";

const RETRY_MS = 1_000;
const LEAST_LEAD_MS = 2_000;

/**
 * What is held in a prepaid balance for one session, for its time and for what the app server charges. The hold is
 * taken before any app server is asked, and is renewed while the session lasts. `Credit` knows when the money is used
 * up, and ends the session then. The billing worker takes what the session cost out of the hold
 * (src/charging/billing/settle-credit.ts); only the hold of a session whose clock never ran is given back here.
 */
export class Credit implements CreditPort {
  readonly terms: CreditTerms;
  private readonly core: Core;
  private session: Session | undefined;
  private facts: SessionFacts | undefined;
  private used: TariffUse | undefined;
  private startedAt: number | undefined;
  /** What the store holds, as far as the relay knows. */
  private held: Micros = 0;
  /** What app servers have charged. */
  private charged: SessionCost;
  /** How long the session may last with what is held, less what was charged. Once the clock runs it never shrinks. */
  private coveredMs = 0;
  /** When the store gives the hold back, if nobody renews it. */
  private heldUntil = 0;
  /** The store did not answer a call, and may have carried it out all the same. */
  private unsure = false;
  /** The balance did not cover the next interval, so that the session's end is known. */
  private exhausted = false;
  /** The warning that the money will soon be used up is on record. */
  private warned = false;
  /** How many events were made so far, for their ids. */
  private events = 0;
  /** The hold is not renewed any more. */
  private closed = false;
  /** The session has ended after its clock ran: the hold is settled when the session is billed. */
  private over = false;
  /** The clock never ran: the hold is given back, so that no later charge can be paid from it. */
  private cameToNothing = false;
  /** The part of the session's cost that was settled with the first hold, where a second one was taken after that. */
  private settled: Micros = 0;
  private timer: TimerHandle;
  /** The call to the store that is under way; the next one waits for it. */
  private turn: Promise<unknown> = Promise.resolve();

  constructor(core: Core, terms: CreditTerms) {
    this.core = core;
    this.terms = terms;
    this.charged = new SessionCost(terms.currency);
    this.used = terms.used;
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

  /** From now on the hold is for this session. */
  attach(session: Session): void {
    this.session = session;
    this.facts = session.facts;
  }

  /** The hold as data, without what was charged: that stands in the session's book. */
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

  /** The hold of a session that is restored, with what its book says was charged. Does nothing until `goOn`. */
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

  /**
   * The session goes on after a restart: renews the hold at once, since nobody has for a while. If the money is used up
   * by now, that ends the session.
   */
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

  /** Takes over what earlier parts have used of the tariff, which is known when this part begins. */
  private noteUse(): void {
    const used = this.facts?.used;
    if (used === this.used) return;
    this.used = used;
    if (!this.unsure) this.coveredMs = this.covers(SPARE);
  }

  /**
   * Makes sure that the hold is enough for the time and for all charges, those before and `charges`, which are new.
   * Resolves to undefined, and the new ones count as charged; or to why they cannot be covered. Rejects where the
   * balance is not known.
   */
  cover(charges: readonly Charged[]): Promise<ChargeRefusal | undefined> {
    return this.inTurn(async () => {
      // A charge is taken out of the balance when the session's end is billed, and this session has none.
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

  /**
   * The session is over (`started`), or its clock never ran: then what is held, less what was charged all the same, is
   * given back. Resolves when it is; undefined: nothing is given back.
   */
  close(started: boolean): Promise<void> | undefined {
    this.over = started;
    if (this.closed) return undefined;
    this.closed = true;
    this.core.clock.clearTimeout(this.timer);
    if (started) return undefined; // billing settles the hold with the session's end, whichever reaches the store first
    this.cameToNothing = true;
    const giveBack = () => this.inTurn(() => this.giveBack());
    const book = this.session?.charges.bookIfAny;
    const givenBack = contained(this.core, book ? book.settled().then(giveBack) : giveBack());
    this.core.ending.add(givenBack);
    return givenBack;
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
    this.settled = this.cost(this.coveredMs);
    this.held = 0;
    const more = this.cost(this.coveredMs, NONE, charged) - this.settled;
    return this.raise(more, more, charged);
  }

  /** When the money is used up, as far as is known now; undefined: time alone never uses it up. */
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

  /** What the bill will say for so much time and for what was charged. `spare`: with some for charges to come. */
  private cost(durationMs: number, spare: Spare = NONE, charged = this.charged): Micros {
    const { tariff } = this.terms;
    return this.costOf(tariff && rateDuration(tariff, durationMs, this.used), spare, charged);
  }

  private costOf(time: Money | undefined, spare: Spare, charged: SessionCost): Micros {
    const { taxes, currency } = this.terms;
    const { date } = this;
    const cost = new SessionCost(currency, charged);
    if (time) cost.add(time, taxes, this.startedAt ?? date);
    // Some money is held for charges to come, so that not each charge has to ask the store.
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

  /** By the session's timeline. Until there is a session, only differences matter, and the monotonic clock will do. */
  private get now(): number {
    return this.session?.now() ?? this.core.clock.monotonic();
  }

  /** Milliseconds since 1970, by the clock that dates the session's lines of the bill. */
  private get date(): number {
    return this.session?.now() ?? this.core.clock.wall();
  }

  /** How long the session has lasted so far. */
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
        // The hold was given back because nobody renewed it for a while. The session goes on if the balance allows it.
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

  /**
   * Gives the hold back, less what was charged. If the store did not answer a call but carried it out, what that call
   * held comes back by itself when its `until` is over.
   */
  private async giveBack(): Promise<void> {
    if (this.held === 0 && !this.unsure) return;
    const { core, terms } = this;
    const session = this.facts?.id ?? terms.key;
    const { user, key: hold, currency } = terms;
    const charged = new SessionCost(currency);
    // Charges that are on record, not those that were covered but never recorded.
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

  /**
   * Nobody awaits this. If it fails by a fault, the session ends, since it would go on without anybody watching the
   * balance.
   */
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
      await this.raise(this.held, this.held); // only to tell the store that the session goes on
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

  /** Puts a notice on record. Nothing waits for that, and no bill depends on it. */
  private record(event: ReturnType<typeof creditReserved> | ReturnType<typeof creditExhausted>): void {
    this.core.recorder.append(event).catch((error) => {
      this.core.peerLog.warn("a notice about credit could not be put on record", "", { err: error, event });
    });
  }
}
