import { isDeepStrictEqual } from "node:util";
import type { BillingContext } from "../../../machines/billing.ts";
import type { ChargeMade, SessionEnded, SessionStarted } from "../events/events.ts";
import { quote } from "../events/field-checks.ts";
import type { Tariff } from "../money/tariff.ts";

/** What all events of one session must agree on: user, service, app server, call, and hold in a balance. */
const SAME = ["user", "service", "appServer", "call", "hold"] as const;

/**
 * How an event contradicts the account of its session; undefined: not at all. Every event has all of these facts, so
 * that it can be billed alone and in any order. So an event that somebody has put on the bus for another user's session
 * is found out.
 */
export function mismatch(
  account: BillingContext,
  event: SessionStarted | SessionEnded | ChargeMade,
): string | undefined {
  const { session } = event;
  // Compared one by one, since this is done for every event, and they nearly always agree.
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
  // The tariff. Not compared for a charge, which may come when the account has dropped the tariff.
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

/** Whether `a` has every value of `b`. All values are texts and numbers. */
function hasAllOf(a: Tariff, b: Tariff): boolean {
  for (const name in b) if (a[name as keyof Tariff] !== b[name as keyof Tariff]) return false;
  return true;
}
