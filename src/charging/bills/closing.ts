import { isDeepStrictEqual } from "node:util";
import type { BillingStore, MonthTotal } from "../billing/store.ts";
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

/** Says whose a number is, before there is a bill with it: whatever happens in between, nobody else gets it. */
export interface BillNumber {
  /** `number 2026-10-0007`. */
  readonly id: string;
  readonly number: string;
  readonly for: string;
  readonly month: string;
}

export type Closed = ClosedBill | ClosedMonth | BillNumber;

/** Where they are kept. */
export interface ClosedRegistry {
  get(id: string): Promise<Closed | undefined>;
  list(): Promise<Closed[]>;
  /** False: it is there already, and stays as it is. */
  add(closed: Closed): Promise<boolean>;
}

const isNumber = (closed: Closed): closed is BillNumber => "for" in closed;
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

/**
 * Closes the bills of a month that are not closed. `make` makes a user's bill, with its number. Returns how many were
 * closed now, and the first and last of their numbers. Done again, it closes those that were not there yet. Done by two
 * at once, each bill is closed by one of them, and no number is given twice. Rejects if the month is not over.
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
  const all = await store.closedBills.list();
  const there = all.filter(isBill);
  const users = new Set<string>();
  for await (const { user } of allPages((page) => store.billing.entriesFor(undefined, month, page))) users.add(user);
  const sums = closedSums(store.closedBills);
  for (const user of new Set(there.map((one) => one.user)))
    if ((await lateSums(store.billing, sums, user, month)).length > 0) users.add(user);
  const known = new Set(there.filter((one) => one.month === month).map((one) => one.user));
  const reserved = all.filter(isNumber);
  const numberOf = new Map(reserved.filter((one) => one.month === month).map((one) => [one.for, one.number]));
  const taken = new Set([...reserved, ...there].map(({ number }) => number));
  let last = 0;
  const newNumber = async (user: string): Promise<string> => {
    for (;;) {
      const number = `${prefix}${month}-${String(++last).padStart(4, "0")}`;
      if (taken.has(number)) continue;
      if (await store.closedBills.add({ id: `number ${number}`, number, for: user, month })) return number;
    }
  };
  const numbers: string[] = [];
  for (const user of [...users].filter((one) => !known.has(one)).sort()) {
    const number = numberOf.get(user) ?? (await newNumber(user));
    const made = await atOneMoment(store.billing, user, month, () => make(user, number));
    const closed = { id: `${month} ${user}`, number, user, month, closedAt: now, ...made };
    if (await store.closedBills.add(closed)) numbers.push(number);
  }
  await store.closedBills.add({ id: month, month, closedAt: now });
  numbers.sort((a, b) => a.length - b.length || (a < b ? -1 : 1));
  const [first, final] = [numbers[0], numbers.at(-1)];
  return { count: numbers.length, ...(first !== undefined && { first }), ...(final !== undefined && { last: final }) };
}

const TRIES = 20;

/**
 * The bill, and the sums that are on it. What was charged between the two would be charged again as late, or never. So
 * the bill is made anew where the sums have changed meanwhile.
 */
async function atOneMoment(
  billing: BillingStore,
  user: string,
  month: string,
  make: () => Promise<Bill>,
): Promise<{ readonly bill: Bill; readonly sums: readonly MonthTotal[] }> {
  let sums = await billing.totals(user, month);
  for (let i = 0; i < TRIES; i++) {
    const bill = await make();
    const after = await billing.totals(user, month);
    if (isDeepStrictEqual(after, sums)) return { bill, sums };
    sums = after;
  }
  throw new Error(`${user} is charged for ${month} all the time: close it when what was late has come`);
}
