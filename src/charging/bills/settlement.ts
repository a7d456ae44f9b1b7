import type { BillingStore, Entry, MonthTotal } from "../billing/store.ts";
import { add, formatAmount, type Money, money, multiply, round, zero } from "../money/money.ts";
import { countEntries, order } from "./bill.ts";

/** What the operator owes an app server for one month. Amounts are exact decimal strings; only `due` is rounded. */
export interface Settlement {
  readonly appServer: string;
  /** UTC, `2026-01`. */
  readonly month: string;
  readonly entries: number;
  /** By service and currency. There are several for one service where the terms changed within the month. */
  readonly services: readonly SettledService[];
  readonly totals: readonly SettledTotal[];
}

export interface SettledService {
  readonly service: string;
  /** "": free time only. */
  readonly currency: string;
  readonly sessions: number;
  readonly durationMs: number;
  readonly charges: number;
  /** What users were charged for time and for items, corrections included. */
  readonly time: string;
  readonly items: string;
  readonly timeShare: string;
  /** What belongs to the app server: items, and its share of time. */
  readonly part: string;
  /** The operator's percentage of `part`. */
  readonly percent: string;
  readonly percentFee: string;
}

export interface SettledTotal {
  readonly currency: string;
  readonly part: string;
  readonly percentFee: string;
  /** Number of sessions that have a fixed fee. */
  readonly sessions: number;
  readonly sessionFee: string;
  /** `part` minus the fees, rounded half up to the minor unit, once. Negative: the app server owes the operator. */
  readonly due: string;
}

/**
 * Works out what an app server is owed for a month (M19): from the store's sums, by the terms at the time of each
 * charge.
 */
export async function makeSettlement(
  store: { readonly billing: BillingStore },
  appServer: string,
  month: string,
): Promise<Settlement> {
  const sums = await store.billing.totalsFor(appServer, month);
  const services = sums.map(settled).sort(byService);
  return { appServer, month, entries: countEntries(sums), services, totals: totals(services, sums) };
}

const byService = (a: SettledService, b: SettledService): number =>
  order(a.service, b.service) ||
  order(a.currency, b.currency) ||
  Number(a.percent) - Number(b.percent) ||
  Number(a.timeShare) - Number(b.timeShare) ||
  order(JSON.stringify(a), JSON.stringify(b));

function settled(sum: MonthTotal): SettledService {
  const { service, currency, sessions, durationMs, charges } = sum;
  const { fee, timeShare = "0" } = sum.terms ?? {};
  const head = { service, currency, sessions, durationMs, charges };
  const rate = fee?.percent ?? "0";
  if (currency === "") return { ...head, time: "0", items: "0", timeShare, part: "0", percent: rate, percentFee: "0" };
  const time = add(money(sum.timeAmount, currency), money(sum.timeCorrection ?? "0", currency));
  const items = add(money(sum.itemAmount, currency), money(sum.itemCorrection ?? "0", currency));
  const part = add(items, percentOf(time, timeShare));
  return {
    ...head,
    time: formatAmount(time),
    items: formatAmount(items),
    timeShare,
    part: formatAmount(part),
    percent: rate,
    percentFee: formatAmount(percentOf(part, rate)),
  };
}

/** Exact, since dividing by a hundred only moves the decimal point. */
function percentOf(amount: Money, percent: string): Money {
  const { units, scale, currency } = multiply(amount, percent);
  return { units, scale: scale + 2, currency };
}

interface Running {
  part: Money;
  percentFee: Money;
  sessions: number;
  sessionFee: Money;
}

function totals(services: readonly SettledService[], sums: readonly MonthTotal[]): SettledTotal[] {
  const found = new Map<string, Running>();
  const of = (currency: string): Running => {
    const nothing = zero(currency);
    const one = found.get(currency) ?? { part: nothing, percentFee: nothing, sessions: 0, sessionFee: nothing };
    found.set(currency, one);
    return one;
  };
  for (const { currency, part, percentFee } of services) {
    if (currency === "") continue;
    const one = of(currency);
    one.part = add(one.part, money(part, currency));
    one.percentFee = add(one.percentFee, money(percentFee, currency));
  }
  for (const { terms, sessions } of sums) {
    const fee = terms?.fee;
    if (fee?.perSession === undefined || fee.currency === undefined || sessions === 0) continue;
    const one = of(fee.currency);
    one.sessions += sessions;
    one.sessionFee = add(one.sessionFee, multiply(money(fee.perSession, fee.currency), BigInt(sessions)));
  }
  return [...found.entries()]
    .sort(([a], [b]) => order(a, b))
    .map(([currency, { part, percentFee, sessions, sessionFee }]) => ({
      currency,
      part: formatAmount(part),
      percentFee: formatAmount(percentFee),
      sessions,
      sessionFee: formatAmount(sessionFee),
      due: formatAmount(round(add(part, negative(add(percentFee, sessionFee))), "half-up")),
    }));
}

const negative = ({ units, scale, currency }: Money): Money => ({ units: -units, scale, currency });

/** The part of an entry that belongs to the app server, before fees; "" where the entry is free time. */
export function partOf(entry: Entry): string {
  const { kind, currency, amount, terms } = entry;
  if (currency === "") return "";
  const isTime = kind === "time" || (kind === "correction" && entry.of === "time");
  if (!isTime) return amount;
  return formatAmount(percentOf(money(amount, currency), terms?.timeShare ?? "0"));
}
