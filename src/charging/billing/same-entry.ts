import { isDeepStrictEqual } from "node:util";
import { isSameCharge, isSameNumber } from "../events/charge-fields.ts";
import { quote } from "../events/field-checks.ts";
import type { Entry } from "./store.ts";

/** Whether two entries say the same: the same charge may have been written otherwise when it came again. */
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
 * In what the entry of an event differs from the one that is on the bill under its id; undefined: in nothing. A
 * charge may be told of twice, at another moment of the month and by another way: it is the same (M17).
 */
export function differenceOf(stored: Entry, entry: Entry): string | undefined {
  const again =
    stored.kind === "item" && entry.kind === "item" ? { ...entry, at: stored.at, channel: stored.channel } : entry;
  if (isSameEntry(stored, again)) return undefined;
  const [before, now] = [plain(stored), plain(again)];
  const name = Object.keys({ ...now, ...before }).find((field) => !isDeepStrictEqual(before[field], now[field]))!;
  return `it was billed before with other contents: ${name} is ${quote(now[name])}, on the bill ${quote(before[name])}`;
}

/** Without what JSON does not carry, and without what an adapter may have left out. */
const plain = (entry: Entry): Readonly<Record<string, unknown>> => JSON.parse(JSON.stringify(entry));
