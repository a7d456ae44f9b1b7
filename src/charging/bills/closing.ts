import type { BillingStore } from "../billing/store.ts";
import { monthOf } from "../money/months.ts";
import { allPages, type Bill } from "./bill.ts";
import { type ClosedSum, type ClosedSums, lateSums } from "./late.ts";

/*
 * When a month is over, its bills are closed: each gets a number, and is kept as it is. What is charged for that month
 * afterwards stands on the next bill, as late charges (late.ts).
 */

/** A bill that has a number. It is never changed. */
export interface ClosedBill extends ClosedSum {
  /** `2026-10 alice`. */
  readonly id: string;
  readonly user: string;
  readonly month: string;
  /** Milliseconds since 1970. */
  readonly closedAt: number;
  readonly bill: Bill;
}

/** Says that the bills of a month were closed, also of users who had none. */
export interface ClosedMonth {
  /** `2026-10`. */
  readonly id: string;
  readonly month: string;
  readonly closedAt: number;
}

export type Closed = ClosedBill | ClosedMonth;

/** Where they are kept. */
export interface ClosedRegistry {
  get(id: string): Promise<Closed | undefined>;
  list(): Promise<Closed[]>;
  putAll(closed: readonly Closed[]): Promise<void>;
}

const isBill = (closed: Closed | undefined): closed is ClosedBill => closed !== undefined && "bill" in closed;

/** The closed bill of a user's month; undefined: it is not closed. */
export async function closedBill(
  registry: Pick<ClosedRegistry, "get">,
  user: string,
  month: string,
): Promise<ClosedBill | undefined> {
  const found = await registry.get(`${month} ${user}`);
  return isBill(found) ? found : undefined;
}

export const closedSums = (registry: Pick<ClosedRegistry, "get">): ClosedSums => ({
  bill: (user, month) => closedBill(registry, user, month),
  isClosed: async (month) => (await registry.get(month)) !== undefined,
});

const BATCH = 100;

/**
 * Closes the bills of a month that are not closed. `make` makes a user's bill, with its number. Returns how many were
 * closed now, and the first and last of their numbers. Done again, it closes those that were not there yet. Rejects if
 * the month is not over.
 */
export async function closeMonth(
  store: { readonly billing: BillingStore; readonly closedBills: ClosedRegistry },
  month: string,
  {
    now,
    prefix,
    make,
  }: {
    readonly now: number;
    readonly prefix: string;
    readonly make: (user: string, number: string) => Promise<Bill>;
  },
): Promise<{ readonly count: number; readonly first?: string; readonly last?: string }> {
  if (month >= monthOf(now)) throw new Error(`${month} is not over (UTC)`);
  const there = (await store.closedBills.list()).filter(isBill);
  const users = new Set<string>();
  for await (const { user } of allPages((page) => store.billing.entriesFor(undefined, month, page))) users.add(user);
  const sums = closedSums(store.closedBills);
  for (const user of new Set(there.map((one) => one.user)))
    if ((await lateSums(store.billing, sums, user, month)).length > 0) users.add(user);
  const known = new Set(there.filter((one) => one.month === month).map((one) => one.user));
  let next = known.size;
  let closed: Closed[] = [];
  const numbers: string[] = [];
  for (const user of [...users].filter((one) => !known.has(one)).sort()) {
    const number = `${prefix}${month}-${String(++next).padStart(4, "0")}`;
    const totals = await store.billing.totals(user, month);
    const bill = await make(user, number);
    closed.push({ id: `${month} ${user}`, number, user, month, closedAt: now, bill, sums: totals });
    numbers.push(number);
    if (closed.length < BATCH) continue;
    await store.closedBills.putAll(closed);
    closed = [];
  }
  await store.closedBills.putAll([...closed, { id: month, month, closedAt: now }]);
  const [first, last] = [numbers[0], numbers.at(-1)];
  return { count: numbers.length, ...(first !== undefined && { first }), ...(last !== undefined && { last }) };
}
