import { fromMicros, type Micros } from "../../charging/credit/store.ts";
import {
  type CreditExhausted,
  type CreditLow,
  type CreditReserved,
  creditExhausted,
  creditLow,
  creditReserved,
  type SessionFacts,
} from "../../charging/events/events.ts";
import { formatAmount } from "../../charging/money/money.ts";
import type { Core } from "../model/core.ts";

/** Puts notices about a prepaid session's hold on record. Nothing waits for them, and no bill depends on them. */
export class CreditNotices {
  private readonly core: Core;
  private readonly currency: string;
  /** How many notices were made so far, for their ids. */
  count = 0;

  constructor(core: Core, currency: string) {
    this.core = core;
    this.currency = currency;
  }

  /** The process before has made `count` notices. */
  goOnFrom(count: number): void {
    this.count = count;
  }

  /** `held` is held since `at`, and until `until` if nobody renews it. */
  reserved(facts: SessionFacts, at: number, held: Micros, until: number): void {
    const { currency } = this;
    const amount = formatAmount(fromMicros(held, currency));
    this.record(creditReserved(facts, at, ++this.count, { currency, amount, until }));
  }

  /** The money will be used up at `endsAt`. */
  exhausted(facts: SessionFacts, at: number, endsAt: number): void {
    const { currency } = this;
    this.record(creditExhausted(facts, at, ++this.count, { currency, endsAt }));
  }

  /** So much is free, which is less than `below`. */
  low(facts: SessionFacts, at: number, free: Micros, below: string): void {
    const { currency } = this;
    const amount = formatAmount(fromMicros(free, currency));
    this.record(creditLow(facts, at, ++this.count, { currency, free: amount, below }));
  }

  private record(event: CreditReserved | CreditExhausted | CreditLow): void {
    this.core.recorder.append(event).catch((error) => {
      this.core.peerLog.warn("a notice about credit could not be put on record", event.session.user, {
        call: event.session.call,
        session: event.session.id,
        user: event.session.user,
        err: error,
        event,
      });
    });
  }
}
