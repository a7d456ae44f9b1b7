import { billEvent } from "../../src/charging/billing/billing.ts";
import { HoldWatch } from "../../src/charging/billing/hold-watch.ts";
import { makeBill } from "../../src/charging/bills/bill.ts";
import { micros } from "../../src/charging/credit/store.ts";
import { accountEvents, endedId } from "../../src/charging/events/events.ts";
import { money } from "../../src/charging/money/money.ts";
import { fraction, linesOf, type Part } from "../charging/oracle.ts";
import type { Lab } from "../relay/harness.ts";

const EVERY_MS = 700;
/** A balance of the simulation is of this user. */
const USER = "alice";
/** In which somebody may have set the wall clock. */
const MONTHS = ["2025-11", "2025-12", "2026-01", "2026-02"];

/**
 * Bills what the relay records, a moment later, as a billing worker does; and looks at the end whether a prepaid
 * balance says the same.
 */
export class Biller {
  private readonly lab: Lab;
  private billed = 0;
  private busy = false;
  private over = false;
  private readonly holds: HoldWatch;

  /** `aheadMs`: how far its wall clock is ahead of the relay's. */
  constructor(lab: Lab, aheadMs: number) {
    const { clock, credit, core } = lab;
    const own = { wall: () => clock.wall() + aheadMs, monotonic: () => clock.monotonic() };
    this.lab = lab;
    this.holds = new HoldWatch({ credit, clock: own, log: core.log });
    this.later();
  }

  private later(): void {
    this.lab.clock.setTimeout(() => {
      if (this.over) return;
      void this.bill();
      this.later();
    }, EVERY_MS);
  }

  /** All that was recorded since; then holds that nobody renews come back. */
  async bill(): Promise<void> {
    const { events, billing, credit, clock, core } = this.lab;
    if (this.busy) return;
    this.busy = true;
    while (this.billed < events.length)
      await billEvent({ store: { billing, credit }, clock, log: core.log }, events[this.billed++]!);
    await this.holds.sweep();
    this.busy = false;
  }

  stop(): void {
    this.over = true;
  }

  /**
   * What is wrong with the lines for time: a tariff's set-up fee, free seconds, minimum and cap are there once in a
   * call, whatever the relay says of it.
   */
  mispriced(): string[] {
    const parts = new Map<string, Part>();
    for (const event of this.lab.events.flatMap(accountEvents)) {
      if (event.type !== "session.ended") continue;
      const { session: facts, startedAt, durationMs } = event;
      parts.set(facts.id, { facts, startedAt, endedAt: startedAt + durationMs, charges: [] });
    }
    const before = ({ facts: { previous } }: Part) =>
      previous?.by === "change" ? parts.get(previous.session) : undefined;
    const next = new Map([...parts.values()].map((part) => [before(part), part]));
    const faults: string[] = [];
    for (const first of parts.values()) {
      if (before(first)) continue;
      const call = [first];
      for (let part = next.get(first); part; part = next.get(part)) call.push(part);
      for (const { session, amount } of linesOf(call)) {
        const entry = this.lab.billing.lines.get(endedId(session));
        const { n, d } = fraction(entry?.amount ?? "-1");
        if (n * amount.d !== amount.n * d)
          faults.push(`the time of ${session} costs ${entry?.amount}, and should cost ${amount.n}/${amount.d}`);
      }
    }
    return faults;
  }

  /**
   * What is wrong with the balance, which began with `paidIn`; a session may overrun it by `interval`, both in units.
   */
  async misbalanced(paidIn: string, interval: string): Promise<string[]> {
    const { credit, billing } = this.lab;
    const { available, holds } = credit.accounts.get(USER)!;
    const faults = Object.entries(holds).map(([hold, { amount }]) => `hold ${hold} keeps ${amount} of the balance`);
    let left = micros(money(paidIn, "EUR"));
    for (const month of MONTHS) {
      const { totals, prepaid } = await makeBill({ billing, credit }, USER, month);
      const due = totals[0]?.due ?? "0.00";
      if (prepaid!.paid !== due) faults.push(`on the bill of ${month} ${due} are due and ${prepaid!.paid} paid`);
      left -= micros(money(due, "EUR"));
    }
    if (left !== available) faults.push(`the balance is ${available}, and should be ${left}`);
    if (credit.lowest < -micros(money(interval, "EUR")))
      faults.push(`the balance was at ${credit.lowest}: more than an interval below zero`);
    return faults;
  }
}
