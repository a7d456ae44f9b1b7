import { isDeepStrictEqual } from "node:util";
import { isSameCharge, isSameNumber } from "../events/charge-fields.ts";
import { quote } from "../events/field-checks.ts";
import type { Entry } from "./store.ts";

/** Whether two entries say the same. A repeated charge may be written differently, as "2" and "2.0". */
export function isSameEntry(a: Entry, b: Entry): boolean {
  if (isDeepStrictEqual(plain(a), plain(b))) return true;
  if (!isSameNumber(a.amount, b.amount)) return false;
  const [one, other] = [
    { ...a, amount: "" },
    { ...b, amount: "" },
  ];
  if (one.kind !== "item" || other.kind !== "item") return isDeepStrictEqual(plain(one), plain(other));
  const rest = { item: "", unitPrice: "", quantity: "" };
  return isSameCharge(one, other) && isDeepStrictEqual(plain({ ...one, ...rest }), plain({ ...other, ...rest }));
}

/**
 * How an event's entry differs from the one on the bill with the same id; undefined: not at all. A charge may be
 * reported twice, at different moments of the month and over different channels: it is still the same charge (M17).
 */
export function differenceOf(stored: Entry, entry: Entry): string | undefined {
  const again =
    stored.kind === "item" && entry.kind === "item" ? { ...entry, at: stored.at, channel: stored.channel } : entry;
  if (isSameEntry(stored, again)) return undefined;
  const [before, now] = [plain(stored), plain(again)];
  const name = Object.keys({ ...now, ...before }).find((field) => !isDeepStrictEqual(before[field], now[field]))!;
  return `it was billed before with other contents: ${name} is ${quote(now[name])}, on the bill ${quote(before[name])}`;
}

/** The entry as JSON carries it: without undefined fields, which an adapter may have left out. */
const plain = (entry: Entry): Readonly<Record<string, unknown>> => JSON.parse(JSON.stringify(entry));
