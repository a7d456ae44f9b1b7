import { billEvent } from "../../src/charging/billing.ts";
import type { Entry } from "../../src/charging/billing-store.ts";
import { microsUp } from "../../src/charging/credit-store.ts";
import { add, money, zero } from "../../src/charging/money.ts";
import type { Lab } from "../relay/harness.ts";

const EVERY_MS = 700;
/** A balance of the simulation is of this user. */
const USER = "alice";

/** Bills what the relay records, a moment later, as a billing worker does; and looks at the end whether a prepaid balance says the same. */
export class Biller {
  private readonly lab: Lab;
  private billed = 0;
  private busy = false;
  private over = false;

  constructor(lab: Lab) {
    this.lab = lab;
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
    await credit.sweep(clock.wall());
    this.busy = false;
  }

  stop(): void {
    this.over = true;
  }

  /** What is wrong with the balance, which began with `paidIn`; a session may overrun it by `interval`, both in units. */
  async misbalanced(paidIn: string, interval: string): Promise<string[]> {
    const { credit, billing } = this.lab;
    const { available, holds } = credit.accounts.get(USER)!;
    const faults = Object.entries(holds).map(([hold, { amount }]) => `hold ${hold} keeps ${amount} of the balance`);
    let left = money(paidIn, "EUR");
    for (const { amount, currency } of await everyEntry(billing, USER))
      if (currency !== "") left = add(left, negated(amount));
    if (microsUp(left) !== available) faults.push(`the balance is ${available}, and should be ${microsUp(left)}`);
    if (credit.lowest < -microsUp(money(interval, "EUR")))
      faults.push(`the balance was at ${credit.lowest}: more than an interval below zero`);
    return faults;
  }
}

const negated = (amount: string) => {
  const value = money(amount, "EUR");
  return { ...zero("EUR"), units: -value.units, scale: value.scale };
};

async function everyEntry(billing: Lab["billing"], user: string): Promise<Entry[]> {
  const entries: Entry[] = [];
  for (const month of ["2026-01", "2026-02"])
    entries.push(...(await billing.entries(user, month, { limit: Number.MAX_SAFE_INTEGER, after: undefined })).entries);
  return entries;
}
