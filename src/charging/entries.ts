import { err, ok, type Result } from "../support/result.ts";
import { type CorrectionEntry, type Entry, type ItemEntry, monthOf, type TimeEntry } from "./billing-store.ts";
import { chargeAmount } from "./check-charge.ts";
import { isCurrency } from "./currency.ts";
import type { ChargeMade, ChargingEvent, CorrectionMade, SessionEnded, SessionFacts } from "./events.ts";
import { formatAmount } from "./money.ts";
import { rateDuration } from "./tariff.ts";

/** Short enough that several make one key of the store. */
const MAX_NAME_BYTES = 400;
const MAX_ID_BYTES = 800;
/** Of JavaScript's dates. */
const MAX_TIME_MS = 8.64e15;

/**
 * The line that an event puts on the bill, undefined for one that puts none; or why it cannot be billed. The event came over the bus, where
 * anyone may have put it: nothing about it is taken for granted.
 */
export function entryFor(event: ChargingEvent): Result<Entry | undefined, string> {
  if (typeof event !== "object" || event === null) return err("it is not an object");
  if (!isName(event.id, MAX_ID_BYTES)) return err("id must be text");
  if (!isTime(event.at)) return err("at must be a time in milliseconds");
  const { session } = event;
  if (typeof session !== "object" || session === null) return err("session is missing");
  for (const name of ["id", "user", "service", "appServer", "call"] as const) {
    if (!isName(session[name])) return err(`session.${name} must be text`);
  }
  if (session.hold !== undefined && !isHoldKey(session.hold)) return err("session.hold must be letters and digits");
  if (event.type === "session.started") return ok(undefined);
  if (event.type === "session.ended") return timeEntry(event);
  if (event.type === "charge.made") return itemEntry(event);
  if ((event.type as string) === "session.changed") return err("from is missing");
  return err(`there is no event ${JSON.stringify((event as { type: unknown }).type)}`);
}

/** The line for a session's time (M13). */
function timeEntry(event: SessionEnded): Result<TimeEntry, string> {
  const { session, startedAt, durationMs } = event;
  const { tariff } = session;
  if (!isTime(startedAt)) return err("startedAt must be a time in milliseconds");
  if (!isTime(durationMs)) return err("durationMs must be milliseconds");
  let amount = "0";
  try {
    if (tariff) amount = formatAmount(rateDuration(tariff, durationMs));
  } catch (error) {
    return err(`its tariff cannot be applied: ${(error as Error).message}`);
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
    durationMs,
    endedBy: String(event.endedBy),
    ...(tariff && { tariff: tariff.id }),
  });
}

/** The line for what an app server charged (M14, M18). */
function itemEntry(event: ChargeMade): Result<ItemEntry, string> {
  const { charge, session, at } = event;
  if (typeof charge !== "object" || charge === null) return err("charge is missing");
  if (!isName(charge.id) || !isName(charge.item)) return err("charge.id and charge.item must be text");
  if (!isCurrency(charge.currency)) return err("charge.currency must be an ISO 4217 code");
  for (const name of ["unitPrice", "quantity"] as const) {
    // Nor negative: a refund is nothing that an app server can charge.
    if (typeof charge[name] !== "string" || charge[name].startsWith("-"))
      return err(`charge.${name} must be a decimal number`);
  }
  let amount: string;
  try {
    amount = formatAmount(chargeAmount(charge));
  } catch (error) {
    return err(`charge: ${(error as Error).message}`);
  }
  return ok({
    kind: "item",
    id: event.id,
    at,
    month: monthOf(at),
    user: session.user,
    service: session.service,
    appServer: session.appServer,
    session: session.id,
    ...originOf(session),
    currency: charge.currency,
    amount,
    item: charge.item,
    unitPrice: charge.unitPrice,
    quantity: charge.quantity,
    channel: String(event.channel),
  });
}

/** The call that a session belongs to, and the part of it that it comes from. */
function originOf({ call, previous }: SessionFacts): Pick<TimeEntry, "call" | "previous"> {
  if (previous === undefined || !isName(previous?.session)) return { call };
  return { call, previous: { session: previous.session, by: previous.by === "move" ? "move" : "change" } };
}

/** The line for what the operator puts right. */
export function correctionEntry(event: CorrectionMade): CorrectionEntry {
  const { id, at, session, currency, amount, reason, of, corrects } = event;
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
    reason,
    of,
    ...(corrects !== undefined && { corrects }),
  };
}

/** Text that can stand in a key of the store: no NUL, which ends one, and no half characters, which would not come back the same. */
function isName(value: unknown, maxBytes = MAX_NAME_BYTES): value is string {
  if (typeof value !== "string" || value.length === 0 || value.length > maxBytes) return false;
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i);
    if (code === 0 || code > 0x7e)
      return code !== 0 && Buffer.byteLength(value) <= maxBytes && !/[\0\p{Cs}]/u.test(value);
  }
  return true;
}

/** As the relay makes them: one stands as a name in a document of the store. */
const isHoldKey = (value: unknown): boolean => typeof value === "string" && /^[0-9A-Za-z]{1,64}$/.test(value);

function isTime(value: unknown): value is number {
  return typeof value === "number" && value >= 0 && value <= MAX_TIME_MS;
}
