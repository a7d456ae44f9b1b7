import { err, ok, type Result } from "../../support/result.ts";
import { chargeAmount } from "../events/charge-fields.ts";
import { eventProblem } from "../events/event-fields.ts";
import type { ChargeMade, ChargingEvent, CorrectionMade, SessionEnded, SessionFacts } from "../events/events.ts";
import { fitsBill, formatAmount } from "../money/money.ts";
import { monthOf } from "../money/months.ts";
import { rateDuration } from "../money/tariff.ts";
import { plainTerms } from "../money/terms.ts";
import type { CorrectionEntry, Entry, ItemEntry, TimeEntry } from "./store.ts";

/**
 * The line that an event puts on the bill, or why it cannot be billed; undefined for an event without a line. The event
 * came over the bus, where anyone may have put it, so everything in it is checked.
 */
export function entryFor(event: ChargingEvent): Result<Entry | undefined, string> {
  const problem = eventProblem(event);
  if (problem !== undefined) return err(problem);
  if (event.type === "session.ended") return timeEntry(event);
  if (event.type === "charge.made") return ok(itemEntry(event));
  return ok(undefined);
}

/** The terms at the time of the event, and whether it is paid from a balance. */
function agreed({ hold, terms }: SessionFacts): Pick<Entry, "terms" | "prepaid"> {
  const plain = terms && plainTerms(terms);
  if (plain === undefined) return hold === undefined ? NOTHING : PREPAID;
  return hold === undefined ? { terms: plain } : { terms: plain, prepaid: true };
}

const NOTHING = {};
const PREPAID = { prepaid: true } as const;

/** The line for a session's time (M13). */
function timeEntry(event: SessionEnded): Result<TimeEntry, string> {
  const { session, startedAt, durationMs, endedBy } = event;
  const { tariff, used } = session;
  let amount = "0";
  if (tariff) {
    const rated = rateDuration(tariff, durationMs, used);
    if (!fitsBill(rated)) return err("its time costs more than can be on a bill");
    amount = formatAmount(rated);
  }
  return ok({
    kind: "time",
    id: event.id,
    at: startedAt,
    month: monthOf(startedAt),
    user: session.user,
    service: session.service,
    appServer: session.appServer,
    session: session.id,
    ...originOf(session),
    currency: tariff?.currency ?? "",
    amount,
    ...agreed(session),
    durationMs,
    endedBy,
    ...(tariff && { tariff: tariff.id }),
  });
}

/** The line for what an app server charged (M14, M18). */
function itemEntry({ id, charge, session, at, channel }: ChargeMade): ItemEntry {
  return {
    kind: "item",
    id,
    at,
    month: monthOf(at),
    user: session.user,
    service: session.service,
    appServer: session.appServer,
    session: session.id,
    ...originOf(session),
    currency: charge.currency,
    amount: formatAmount(chargeAmount(charge)),
    ...agreed(session),
    item: charge.item,
    unitPrice: charge.unitPrice,
    quantity: charge.quantity,
    channel,
  };
}

/** The call that a session belongs to, and the session before it. */
function originOf({ call, previous }: SessionFacts): Pick<TimeEntry, "call" | "previous"> {
  if (previous === undefined) return { call };
  return { call, previous: { session: previous.session, by: previous.by } };
}

/** The line for a correction by the operator. */
export function correctionEntry(event: CorrectionMade): CorrectionEntry {
  const { id, at, session, currency, amount, reason, of, corrects, terms, prepaid } = event;
  return {
    kind: "correction",
    id,
    at,
    month: monthOf(at),
    user: session.user,
    service: session.service,
    appServer: session.appServer,
    session: session.id,
    currency,
    amount,
    ...(terms && { terms }),
    ...(prepaid && { prepaid }),
    reason,
    of,
    ...(corrects !== undefined && { corrects }),
  };
}
