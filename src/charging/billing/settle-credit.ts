import type { CreditStore } from "../credit/store.ts";
import { money } from "../money/money.ts";
import { SessionCost } from "./session-cost.ts";
import type { BillingStore } from "./store.ts";

/** A prepaid session that is to be settled. */
export interface PrepaidSession {
  readonly user: string;
  readonly session: string;
  /** `SessionFacts.hold`. */
  readonly hold: string;
}

/**
 * Takes the cost of ended sessions out of their users' balances, exactly as on their bills, and gives back the rest of
 * their holds. Called when the entries are in the store, and before the bus forgets the events: if a worker dies in
 * between, the events come again, and it is done then. A repetition changes nothing. Sessions that still run keep their
 * holds.
 */
export async function settleEnded(
  store: { readonly billing: BillingStore; readonly credit: CreditStore },
  sessions: readonly PrepaidSession[],
  now: number,
): Promise<void> {
  const accounts = await store.billing.accounts(sessions.map(({ session }) => session));
  for (const [i, { user, session, hold }] of sessions.entries()) {
    const account = accounts[i];
    if (account?.state !== "chargeable" && account?.state !== "closed") continue;
    const balance = await store.credit.account(user);
    if (!balance) continue; // the operator has removed the balance: the bill stays as it is
    const cost = await costOf(store.billing, session, balance.currency);
    await store.credit.settle({ user, hold, session, totals: cost.totals(account.context.endedAt ?? now) });
  }
}

/** The cost of all of a session's entries in the balance's currency. Without corrections: the operator books these. */
async function costOf(billing: BillingStore, session: string, currency: string): Promise<SessionCost> {
  const cost = new SessionCost(currency);
  for (const entry of await billing.entriesOf(session)) {
    if (entry.kind !== "correction" && entry.currency === currency)
      cost.add(money(entry.amount, currency), entry.terms?.taxes, entry.at);
  }
  return cost;
}
