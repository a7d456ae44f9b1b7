import type { SessionCost } from "../../charging/billing/session-cost.ts";
import type { Micros, Refusal } from "../../charging/credit/store.ts";
import type { Core } from "../model/core.ts";
import type { CreditTerms } from "../model/ports.ts";
import type { CreditState } from "../model/session-state.ts";

/** What the store of balances has answered: done, or why not. `unknown`: it has not answered. */
export type Outcome = { readonly ok: true } | { readonly ok: false; readonly why: Refusal["why"] | "unknown" };

/** Why not, as clients and app servers are told. */
export const WHY_NOT: Readonly<Record<Refusal["why"], string>> = {
  "no account": "the user has no balance",
  currency: "the balance is in another currency",
  credit: "the balance does not cover it",
  day: "the user may spend no more today",
  "too many sessions": "the balance pays too many sessions at once",
  gone: "what was held is settled",
};

/** For whom something is held: a prepaid session's credit. */
interface Holder {
  /** Milliseconds since 1970, by the clock that dates the session's lines of the bill. */
  readonly date: number;
  /** The hold is still needed: if the store has given it back, it is to be taken again. */
  readonly goesOn: boolean;
  /** By what its lines of the log are found. */
  readonly about: object;
}

/**
 * The hold of one session in the store of balances: raises, renews and gives it back, one call to the store after the
 * other. If the store does not answer in time, the outcome is unknown: it may have done what was asked all the same.
 */
export class Hold {
  private readonly core: Core;
  private readonly terms: CreditTerms;
  private readonly holder: Holder;
  /** What the store holds, as far as the relay knows. */
  held: Micros = 0;
  /** When the store gives the hold back, if nobody renews it. */
  until = 0;
  /** The store did not answer a call, and may have carried it out all the same. */
  unsure = false;
  /** The call to the store that is under way; the next one waits for it. */
  private turn: Promise<unknown> = Promise.resolve();

  constructor(core: Core, terms: CreditTerms, holder: Holder) {
    this.core = core;
    this.terms = terms;
    this.holder = holder;
  }

  /** Takes over the hold as it was in the process before. */
  restore({ held, heldUntil, unsure }: CreditState): void {
    this.held = held;
    this.until = heldUntil;
    this.unsure = unsure;
  }

  /** Does `work` when all earlier calls to the store are over. */
  inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.turn.then(work, work);
    this.turn = done.catch(() => {});
    return done;
  }

  /**
   * Holds `to`, or what the balance allows if that is at least `atLeast`. What is held already is renewed, and never
   * becomes less. `used` is what the session has cost so far; it stays held if the relay dies. Never rejects.
   */
  async raise(to: Micros, atLeast: Micros, used: Micros): Promise<Outcome> {
    const { core, held, holder } = this;
    const { user, key, currency } = this.terms;
    const { intervalS, graceS } = core.config.credit;
    const leaseMs = Math.round((intervalS + graceS) * 1000);
    const until = core.clock.wall() + leaseMs;
    this.until = holder.date + leaseMs;
    const goal = Math.max(to, held);
    const asked = {
      user,
      hold: key,
      currency,
      from: held,
      to: goal,
      atLeast,
      used: Math.min(used, goal),
      until,
      leaseMs,
    };
    const { credit } = core;
    if (!credit) return { ok: false, why: "unknown" };
    const reserved = async (): Promise<Outcome> => {
      let result = await credit.reserve(asked);
      if (!result.ok && result.error.why === "gone" && holder.goesOn) {
        // The hold was given back because nobody renewed it for a while. The session goes on if the balance allows it.
        this.held = 0;
        result = await credit.reserve({ ...asked, from: 0 });
      }
      if (!result.ok) return { ok: false, why: result.error.why };
      this.held = Math.max(this.held, result.value);
      return { ok: true };
    };
    const answer = reserved().catch((error: unknown): Outcome => {
      core.peerLog.warn("the store of balances does not answer", user, { ...holder.about, err: error });
      return { ok: false, why: "unknown" };
    });
    return this.within(answer);
  }

  private within(answer: Promise<Outcome>): Promise<Outcome> {
    const { clock, config } = this.core;
    return new Promise((resolve, reject) => {
      const timer = clock.setTimeout(() => {
        this.unsure = true;
        resolve({ ok: false, why: "unknown" });
      }, config.credit.timeoutS * 1000);
      answer
        .then((outcome) => {
          clock.clearTimeout(timer);
          if (!outcome.ok && outcome.why === "unknown") this.unsure = true;
          resolve(outcome);
        })
        .catch(reject);
    });
  }

  /** Billing has settled the hold, so there is none any more. */
  settled(): void {
    this.held = 0;
  }

  /**
   * Gives the hold back, less what was `charged` to `session`. If the store did not answer a call but carried it out,
   * what that call held comes back by itself when its `until` is over.
   */
  async giveBack(session: string, charged: SessionCost): Promise<void> {
    if (this.held === 0 && !this.unsure) return;
    const { core } = this;
    const { user, key: hold } = this.terms;
    try {
      await core.credit?.settle({ user, hold, session, totals: charged.totals(this.holder.date) });
    } catch (error) {
      core.peerLog.warn("a hold could not be given back now: it ends by itself", user, {
        ...this.holder.about,
        err: error,
      });
    }
  }
}
