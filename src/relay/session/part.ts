import type { PartsState } from "../../charging/charges/book-state.ts";
import { CallCharges } from "../../charging/charges/call-charges.ts";
import { CallParts } from "../../charging/charges/call-parts.ts";
import type { TariffUse } from "../../charging/money/tariff.ts";
import type { SessionPort } from "../model/core.ts";

/**
 * What a session is among the parts and sessions of one call: between parts the service changed (M20-M22), between
 * sessions the client moved (M23, M24). Made when there is a second one.
 */
export class PartOfCall {
  readonly parts: CallParts;
  private readonly session: SessionPort;
  private is: PartsState["isPart"] = "not yet";

  constructor(session: SessionPort, parts: CallParts) {
    this.session = session;
    this.parts = parts;
    parts.charges.sessions.add(session.id);
  }

  /** The part that it was in another process. */
  static restored(session: SessionPort, state: PartsState): PartOfCall {
    const { core, facts } = session;
    const beside = state.beside.map((id) => core.sessions.get(id)?.partsIfAny).find((one) => one !== undefined);
    // Others that go on from a session that is over have their limits together with it, and are yet to come.
    const before = facts.previous && core.ended.callOf(facts.previous.session);
    const charges = beside?.charges ?? before ?? new CallCharges(state.ended);
    const part = new PartOfCall(session, new CallParts(charges, state));
    part.is = state.isPart;
    if (state.isPart !== "not yet") session.charges.joins(charges);
    return part;
  }

  /** What it has together with others of its call, as data. */
  get state(): PartsState {
    const { parts, session } = this;
    const { sessions } = session.core;
    const kept = new Set<string>();
    for (const id of parts.charges.sessions) {
      const one = sessions.get(id);
      if (!one) continue;
      kept.add(id);
      for (let book = one.charges.before; book; book = book.before) kept.add(book.facts.id);
    }
    const beside = [...parts.charges.sessions].filter((id) => id !== session.id && sessions.get(id));
    const ended = parts.charges.sumsWithout((id) => kept.has(id));
    const costs = parts.costState;
    return { beside, ended, tariffs: parts.usedTariffs, isPart: this.is, ...(costs.length > 0 && { costs }) };
  }

  /** It begins. Returns what other parts have used of its tariff; undefined: nothing, or it has begun before. */
  begin(): TariffUse | undefined {
    if (this.is !== "not yet") return undefined;
    this.is = "running";
    const { parts, session } = this;
    const used = parts.begin(session.facts.tariff);
    session.charges.joins(parts.charges);
    session.core.ended.joins(session.id, parts.charges);
    this.changed();
    return used;
  }

  /**
   * It is over. `at`: its end as it is on record, since what the bill does not count of the free seconds is left for
   * the next part.
   */
  end(at: number): void {
    if (this.is !== "running") return;
    this.is = "over";
    const { facts, context } = this.session;
    this.parts.end(facts.tariff, facts.used, at - (context.startedAt ?? at));
    this.changed();
  }

  /** What it is for the others of its call has changed. */
  changed(): void {
    const { kept, sessions } = this.session.core;
    if (!kept) return;
    for (const id of this.parts.charges.sessions) {
      const session = sessions.get(id);
      if (session) kept.changed(session);
    }
  }
}
