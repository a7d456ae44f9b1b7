import type { BillingStore } from "./billing-store.ts";
import { type CreditStore, type Micros, microsDown } from "./credit-store.ts";
import { add, money, zero } from "./money.ts";

/** A prepaid session that is to be settled. */
export interface PrepaidSession {
  readonly user: string;
  readonly session: string;
  /** `SessionFacts.hold`. */
  readonly hold: string;
}

/**
 * Takes what sessions that have ended cost out of their users' balances, and gives the rest of their holds back. Called when their entries are
 * in the store, and before the bus forgets the events: where a worker dies in between, they come again and it is done then. Repeated it changes
 * nothing. Sessions that still run keep their holds.
 */
export async function settleEnded(
  store: { readonly billing: BillingStore; readonly credit: CreditStore },
  sessions: readonly PrepaidSession[],
  now: number,
): Promise<void> {
  const accounts = await store.billing.accounts(sessions.map(({ session }) => session));
  for (const [i, { user, session, hold }] of sessions.entries()) {
    const state = accounts[i]?.state;
    if (state !== "chargeable" && state !== "closed") continue;
    const balance = await store.credit.account(user);
    if (!balance) continue; // removed by the operator: the bill stands
    const total = await costOf(store.billing, session, balance.currency);
    await store.credit.settle({ user, hold, session, total, close: true, at: now, until: now });
  }
}

/** All of a session's entries in the balance's currency, exact, and then rounded down to the millionth. Corrections are the operator's to post. */
async function costOf(billing: BillingStore, session: string, currency: string): Promise<Micros> {
  let sum = zero(currency);
  for (const entry of await billing.entriesOf(session)) {
    if (entry.kind !== "correction" && entry.currency === currency) sum = add(sum, money(entry.amount, currency));
  }
  return microsDown(sum);
}
