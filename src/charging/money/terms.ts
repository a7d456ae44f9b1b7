import { createHash } from "node:crypto";

/*
 * The terms at the time of an event, besides the tariff: taxes, and what was agreed with the app server. They are fixed
 * in the event and its entry. So a tax rate or fee that changes later does not change earlier bills and settlements.
 *
 * The moment that counts (the tax point) is the time on the bill's line. For time, that is the start of the session or
 * of its part; for a charge, the moment when it was made.
 */

/** A tax on one service. */
export interface AppliedTax {
  readonly id: string;
  readonly title?: string;
  /** Percent, exact decimal. */
  readonly rate: string;
  /** True: prices contain it. False: it comes on top of them. */
  readonly included: boolean;
}

/** What the operator keeps of the money that it collected for an app server (M19). Decimal strings. */
export interface Fee {
  /** Percent of the app server's part. */
  readonly percent?: string;
  /** For each session with the app server, whatever it brought in; in `currency`. */
  readonly perSession?: string;
  readonly currency?: string;
}

export interface Terms {
  /** The taxes on the service, in the order of the configuration; undefined: none. */
  readonly taxes?: readonly AppliedTax[];
  /** Undefined: the operator keeps nothing. */
  readonly fee?: Fee;
  /** The app server's percentage of what time is charged; undefined: nothing. */
  readonly timeShare?: string;
}

export const RATE = /^\d{1,3}(\.\d{1,6})?$/;
export const SHARE = /^(100(\.0{1,6})?|\d{1,2}(\.\d{1,6})?)$/;
/** Most taxes in a configuration, and in an event. */
export const MAX_TAXES = 100;

/** The terms without any unknown fields; undefined where there are no terms. */
export function plainTerms({ taxes = [], fee, timeShare }: Terms): Terms | undefined {
  if (taxes.length === 0 && fee === undefined && timeShare === undefined) return undefined;
  return {
    ...(taxes.length > 0 && { taxes: taxes.map(plainTax) }),
    ...(fee && { fee: plainFee(fee) }),
    ...(timeShare !== undefined && { timeShare }),
  };
}

function plainTax({ id, title, rate, included }: AppliedTax): AppliedTax {
  return title === undefined ? { id, rate, included } : { id, title, rate, included };
}

function plainFee({ percent, perSession, currency }: Fee): Fee {
  return {
    ...(percent !== undefined && { percent }),
    ...(perSession !== undefined && { perSession }),
    ...(currency !== undefined && { currency }),
  };
}

/** Keys by the JSON text of the terms: the same terms are asked for again and again. */
const keys = new Map<string, string>();
const MAX_KEYS = 1_000;

/** Short text that is the same for the same terms and no others; "" where there are none. */
export function termsKey(terms: Terms | undefined): string {
  if (terms === undefined) return "";
  const text = JSON.stringify(terms);
  if (text === "{}") return "";
  const known = keys.get(text);
  if (known !== undefined) return known;
  if (keys.size >= MAX_KEYS) keys.clear();
  const key = createHash("sha256").update(text).digest("base64url").slice(0, 22);
  keys.set(text, key);
  return key;
}
