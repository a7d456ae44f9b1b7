import type { PartsState } from "../../charging/charges/book-state.ts";
import { CallCharges } from "../../charging/charges/call-charges.ts";
import { CallParts } from "../../charging/charges/call-parts.ts";
import type { TariffUse } from "../../charging/money/tariff.ts";
import type { SessionPort } from "../model/core.ts";

/**
 * A session as one of several in the same call: as a part, where the service was changed (M20-M22), or as a session of
 * its own, where the client moved (M23, M24). Made when the call gets its second part or session.
 */
export class PartOfCall {
  readonly parts: CallParts;
  private readonly session: SessionPort;
  /** Whether it has begun and ended as a part. */
  private is: PartsState["isPart"] = "not yet";

  constructor(session: SessionPort, parts: CallParts) {
    this.session = session;
    this.parts = parts;
    parts.charges.sessions.add(session.id);
  }

  /** Makes of the data what the session was in another process. */
  static restored(session: SessionPort, state: PartsState): PartOfCall {
    const { core, facts } = session;
    const beside = state.beside.map((id) => core.sessions.get(id)?.partsIfAny).find((one) => one !== undefined);
    // The session before is over, but remembered here: others that go on from it share its limits, and may be restored
    // later than this one.
    const before = facts.previous && core.ended.callOf(facts.previous.session);
    const charges = beside?.charges ?? before ?? new CallCharges(state.ended);
    const part = new PartOfCall(session, new CallParts(charges, state));
    part.is = state.isPart;
    if (state.isPart !== "not yet") session.charges.joins(charges);
    return part;
  }

  /** What it shares with the other sessions of its call, as data. */
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

  /**
   * The part begins. Returns what other parts have used of its tariff; undefined: nothing, or this one has begun
   * before.
   */
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
   * The part is over. `at`: its end as it stands on record, since the free seconds that the bill does not count are
   * left for the next part.
   */
  end(at: number): void {
    if (this.is !== "running") return;
    this.is = "over";
    const { facts, context } = this.session;
    this.parts.end(facts.tariff, facts.used, at - (context.startedAt ?? at));
    this.changed();
  }

  /** What the sessions of this call share has changed: each of them is to be written to disk again. */
  changed(): void {
    const { kept, sessions } = this.session.core;
    if (!kept) return;
    for (const id of this.parts.charges.sessions) {
      const session = sessions.get(id);
      if (session) kept.changed(session);
    }
  }
}
