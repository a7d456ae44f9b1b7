import { balanceOf, type CreditStore, fromMicros, type Micros } from "../credit/store.ts";
import { formatAmount } from "../money/money.ts";
import { monthSpan } from "../money/months.ts";

/** What a bill says of a prepaid user's balance. Amounts are exact decimal strings. */
export interface PrepaidLine {
  readonly currency: string;
  /** What sessions, and corrections on the bill, took out of the balance for that month's bill (UTC). */
  readonly paid: string;
  /** The balance now, including the holds of running sessions. */
  readonly balance: string;
}

const PAGE = 1_000;

/** For the month `2026-01`; undefined for a user who is not prepaid. */
export async function prepaidLine(
  credit: CreditStore | undefined,
  user: string,
  month: string,
): Promise<PrepaidLine | undefined> {
  const account = await credit?.account(user);
  // Who has a credit limit pays by the bill all the same.
  if (!credit || !account || account.limit !== undefined) return undefined;
  const span = monthSpan(month);
  let paid: Micros = 0;
  let after: string | undefined;
  do {
    const page = await credit.ledger(user, { ...span, after, limit: PAGE });
    for (const { kind, amount, entry } of page.entries) if (kind === "session" || entry !== undefined) paid -= amount;
    after = page.next;
  } while (after !== undefined);
  const { currency } = account;
  const text = (micros: Micros) => formatAmount(fromMicros(micros, currency));
  return { currency, paid: text(paid), balance: text(balanceOf(account)) };
}

/** In one sentence. */
export const prepaidText = ({ currency, paid, balance }: PrepaidLine): string =>
  `Paid from the prepaid balance: ${paid} ${currency}. It is now ${balance} ${currency}.`;
