import type { Tariff, TariffUse } from "../money/tariff.ts";
import { type AppliedTax, type Fee, MAX_TAXES, RATE, SHARE, type Terms } from "../money/terms.ts";
import { chargeProblem } from "./charge-fields.ts";
import {
  type ChargeMade,
  MAX_ENDED_BY,
  type SessionChanged,
  type SessionEnded,
  type SessionFacts,
  type SessionStarted,
} from "./events.ts";
import {
  type Check,
  type Checks,
  currency,
  decimal,
  duration,
  fields,
  isMissing,
  label,
  list,
  name,
  once,
  oneOf,
  optional,
  quote,
  seconds,
  time,
  truth,
  written,
} from "./field-checks.ts";

/*
 * What the fields of sessions and events may hold. The types demand a check for each field, so a new one cannot be
 * forgotten.
 */

/** Short enough that several make one key of the store. */
const text = name(400);

/** Keys of holds, in the form that the relay makes: they are used as names in documents of the store. */
const holdKey: Check = (value) =>
  typeof value === "string" && /^[0-9A-Za-z]{1,64}$/.test(value) ? undefined : "must be letters and digits";

/** Prices, as in `tariffSchema`. */
const price = optional(decimal(12, 9));

const TARIFF: Checks<Tariff> = {
  id: text,
  currency,
  setupFee: price,
  price,
  incrementS: optional(seconds(0.001)),
  freeS: optional(seconds(0)),
  minimum: price,
  cap: price,
  rounding: optional(oneOf("half-up", "half-even", "up", "down")),
};

/** Sums, so they have more digits than a tariff's amounts. */
const USE: Checks<TariffUse> = { freeMs: duration, chargedMs: duration, amount: decimal(18, 9) };

const share = written(SHARE, "a percentage from 0 to 100");

const TAX: Checks<AppliedTax> = {
  id: label(64),
  title: optional(label(100)),
  rate: written(RATE, "a percentage"),
  included: truth,
};

const FEE: Checks<Fee> = { percent: optional(share), perSession: price, currency: optional(currency) };
const feeFields = fields(FEE);

const TERMS: Checks<Terms> = {
  taxes: optional(list(fields(TAX), MAX_TAXES)),
  fee: optional((value) => feeFields(value) ?? feeCurrency(value as Fee)),
  timeShare: optional(share),
};

const feeCurrency = ({ perSession, currency }: Fee): string | undefined =>
  perSession !== undefined && currency === undefined ? ".currency is missing" : undefined;

const FACTS: Checks<SessionFacts> = {
  id: text,
  user: text,
  service: text,
  appServer: text,
  call: text,
  tariff: optional(once(fields(TARIFF))),
  used: optional(fields(USE)),
  terms: optional(once(fields(TERMS))),
  hold: optional(holdKey),
  lateChargesMs: optional(duration),
  clockStepMs: optional((value) => (Number.isSafeInteger(value) ? undefined : "must be whole milliseconds")),
  previous: optional(fields<NonNullable<SessionFacts["previous"]>>({ session: text, by: oneOf("change", "move") })),
};

/** Within one process, all events of a session share one object. */
const factsCheck = once(fields(FACTS));

const EVERY = { id: name(800), at: time, session: factsCheck };

type Billed = SessionStarted | SessionEnded | SessionChanged | ChargeMade;
type FieldsOf<T extends Billed["type"]> = Omit<Extract<Billed, { type: T }>, "type">;

/** Events that somebody is billed for. */
const BILLED = new Map<unknown, Check>([
  ["session.started", fields<FieldsOf<"session.started">>(EVERY)],
  [
    "session.ended",
    fields<FieldsOf<"session.ended">>({
      ...EVERY,
      startedAt: time,
      durationMs: duration,
      endedBy: label(MAX_ENDED_BY),
    }),
  ],
  [
    "session.changed",
    fields<FieldsOf<"session.changed">>({ ...EVERY, from: fields(FACTS), startedAt: time, durationMs: duration }),
  ],
  [
    "charge.made",
    fields<FieldsOf<"charge.made">>({
      ...EVERY,
      charge: (value) => isMissing(value) ?? dotted(chargeProblem(value as object)),
      channel: oneOf("info", "bye", "message", "direct"),
    }),
  ],
]);

const dotted = (problem: string | undefined) => problem && `.${problem}`;

/** What is wrong with an event from anybody; undefined: it can be billed, and every store can keep it. */
export function eventProblem(event: unknown): string | undefined {
  if (typeof event !== "object" || event === null) return "it is not an object";
  const { type } = event as { readonly type?: unknown };
  const check = BILLED.get(type);
  if (check) return check(event)?.slice(1);
  return fields(EVERY)(event)?.slice(1) ?? `there is no event ${quote(type)}`;
}

/** The checks of taxes, and of what parts of a call have used, for other data that have these. */
export const taxesCheck: Check = list(fields(TAX), MAX_TAXES);
export const useCheck: Check = fields(USE);

const tariffCheck = fields(TARIFF);

/** Why nobody could be billed by this tariff; undefined: it is in order. */
export function tariffProblem(tariff: Tariff): string | undefined {
  return tariffCheck(tariff)?.slice(1);
}

/** Why a session with these facts could not be billed; undefined: they are in order. */
export function factsProblem(facts: SessionFacts): string | undefined {
  return factsCheck(facts)?.slice(1);
}
