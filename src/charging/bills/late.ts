import { sumKey, sumOf } from "../billing/month-total.ts";
import type { BillingStore, MonthTotal } from "../billing/store.ts";
import { add, formatAmount, type Money, money, subtract, zero } from "../money/money.ts";
import { monthOf, monthSpan } from "../money/months.ts";

/** What was charged for a month after its bill was closed, and stands on a later bill. With the terms, for taxes. */
export interface LateSum extends Pick<MonthTotal, "service" | "currency" | "terms" | "prepaid"> {
  readonly month: string;
  /** The number of the bill of that month. */
  readonly number: string;
  /** Exact decimal. */
  readonly amount: string;
}

/** What must be known of closed bills for that. */
export interface ClosedSums {
  /** Undefined: that month's bill of this user is not closed, or there is none. */
  bill(user: string, month: string): Promise<ClosedSum | undefined>;
  /** Whether the bills of that month were closed. */
  isClosed(month: string): Promise<boolean>;
}

export interface ClosedSum {
  readonly number: string;
  /** The month's sums that were on the bill. */
  readonly sums: readonly MonthTotal[];
  readonly bill: { readonly late?: readonly LateSum[] };
}

/** How many months back late charges may be for: a session takes charges for a month after its end, at most. */
const MONTHS_BACK = 3;

const previous = (month: string): string => monthOf(monthSpan(month).from - 1);
export const following = (month: string): string => monthOf(monthSpan(month).to);

/**
 * What a user was charged for earlier months after their bills were closed, and is to stand on the bill of `month`: the
 * first one after them that is not closed.
 */
export async function lateSums(
  billing: Pick<BillingStore, "totals">,
  closed: ClosedSums,
  user: string,
  month: string,
): Promise<LateSum[]> {
  const late: LateSum[] = [];
  let earlier = month;
  for (let i = 0; i < MONTHS_BACK; i++) {
    earlier = previous(earlier);
    const bill = await closed.bill(user, earlier);
    if (bill) late.push(...(await lateOf(billing, closed, user, earlier, bill)));
    else if (!(await closed.isClosed(earlier))) break; // late charges stand on that month's bill
  }
  return late;
}

async function lateOf(
  billing: Pick<BillingStore, "totals">,
  closed: ClosedSums,
  user: string,
  month: string,
  { number, sums }: ClosedSum,
): Promise<LateSum[]> {
  const had = new Map<string, Money>();
  const note = (sum: Parameters<typeof sumKey>[0], amount: Money) => {
    const key = sumKey(sum);
    had.set(key, add(had.get(key) ?? zero(amount.currency), amount));
  };
  for (const sum of sums) if (sum.currency !== "") note(sum, sumOf(sum));
  // Also on bills after the one that is asked for: months may be closed in any order, and again.
  for (let i = 0, later = following(month); i < MONTHS_BACK; i++, later = following(later))
    for (const sum of (await closed.bill(user, later))?.bill.late ?? [])
      if (sum.month === month) note(sum, money(sum.amount, sum.currency));
  return (await billing.totals(user, month)).flatMap((sum): LateSum[] => {
    const { service, currency, terms, prepaid } = sum;
    if (currency === "") return [];
    const before = had.get(sumKey(sum));
    const amount = before ? subtract(sumOf(sum), before) : sumOf(sum);
    if (amount.units === 0n) return [];
    const rest = { ...(terms && { terms }), ...(prepaid && { prepaid }) };
    return [{ month, number, service, currency, amount: formatAmount(amount), ...rest }];
  });
}
