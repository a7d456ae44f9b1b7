import { isDeepStrictEqual } from "node:util";
import type { BillingContext } from "../../../machines/billing.ts";
import type { ChargeMade, SessionEnded, SessionStarted } from "../events/events.ts";
import { quote } from "../events/field-checks.ts";
import type { Tariff } from "../money/tariff.ts";

/** What all events of one session say alike: whose it is, with whom, of what call, and out of which balance. */
const SAME = ["user", "service", "appServer", "call", "hold"] as const;

/**
 * In what an event contradicts the account of its session; undefined: in nothing. Every event says all of it, so that
 * it can be billed alone and in any order: whoever puts one on the bus that speaks of somebody else's session is
 * found by that.
 */
export function mismatch(
  account: BillingContext,
  event: SessionStarted | SessionEnded | ChargeMade,
): string | undefined {
  const { session } = event;
  // One by one: it is done for every event, and nearly always they are the same.
  if (
    session.user !== account.user ||
    session.service !== account.service ||
    session.appServer !== account.appServer ||
    session.call !== account.call ||
    session.hold !== account.hold
  )
    for (const name of SAME)
      if (session[name] !== account[name])
        return `session.${name} is ${quote(session[name])}, its session's is ${quote(account[name])}`;
  // What time costs; a charge may come when the account has forgotten it.
  if (event.type !== "charge.made" && account.tariff !== null && !isSame(session.tariff, account.tariff))
    return "session.tariff is not that of its session";
  if (event.type === "session.started" && account.startedAt !== null && event.at !== account.startedAt)
    return "it started before, at another time";
  const [from, by] = [session.previous, account.previous];
  if (from && by && (from.session !== by.session || from.by !== by.by))
    return "session.previous is not that of its session";
  return undefined;
}

function isSame(a: Tariff | undefined, b: Tariff): boolean {
  return a === b || (a !== undefined && (hasAllOf(a, b) ? hasAllOf(b, a) : isDeepStrictEqual(a, b)));
}

/** Whether `a` has every value of `b`, which are texts and numbers. */
function hasAllOf(a: Tariff, b: Tariff): boolean {
  for (const name in b) if (a[name as keyof Tariff] !== b[name as keyof Tariff]) return false;
  return true;
}
