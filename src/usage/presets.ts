import { createHash } from "node:crypto";
import { toCloudEvent } from "../bus/cloud-events.ts";
import { chargeAmount } from "../charging/events/charge-fields.ts";
import { accountEvents, type ChargeMade, type ChargingEvent, type SessionEnded } from "../charging/events/events.ts";
import { compareDecimals, formatAmount, round } from "../charging/money/money.ts";
import { err, ok, type Result } from "../support/result.ts";
import type { UsageSink } from "./settings.ts";

/** How events become a request, without what the sink signs it with or signs in with. */
export interface Form {
  readonly path: string;
  readonly type: string;
  readonly body: (items: readonly string[]) => string;
}

/** What an answer means: it was taken; try again; it will never be taken as it is. */
export type Verdict = "taken" | "again" | "never";

/** What an answer says of one event of a batch. */
export interface OfOne {
  readonly verdict: "taken" | "never";
  readonly why: string;
}

interface Preset {
  /** The events of which something is sent, in the order in which it is sent. */
  readonly parts: (event: ChargingEvent) => readonly ChargingEvent[];
  /** Events with the same lane are sent one after the other. */
  readonly lane: (event: ChargingEvent) => string;
  /** What stands for one of these parts in a request; or why nothing can. `customer`: whose usage it is there. */
  readonly item: (event: ChargingEvent, sink: UsageSink, customer: string) => Result<string, string>;
  /** A request with one part. */
  readonly one: Form;
  /** One with several; undefined: there is none. */
  readonly many?: Form;
  /** What a final answer other than 2xx to so many parts means, where it is not what it means for all presets. */
  readonly verdict?: (status: number, text: string, count: number) => Verdict | undefined;
  /** Which parts of several the answer is about, by their places in the request. */
  readonly each?: (status: number, text: string) => ReadonlyMap<number, OfOne>;
}

type Metered = SessionEnded | ChargeMade;
type Name = UsageSink["preset"];

const CLOUD_EVENT = "application/cloudevents+json";
const CLOUD_EVENTS = "application/cloudevents-batch+json";
const alone = ([item]: readonly string[]): string => item!;
const list = (items: readonly string[]): string => `[${items.join(",")}]`;
const bySession = (event: ChargingEvent): string => event.session.id;
const metered = (event: ChargingEvent): readonly ChargingEvent[] => accountEvents(event);

const PRESETS: Readonly<Record<Name, Preset>> = {
  /** CloudEvents 1.0.2, HTTP protocol binding §3.2 (structured mode), as on the bus, and §3.3 (batched mode). */
  cloudevents: {
    parts: (event) => [event],
    lane: bySession,
    item: (event, { source }) => ok(toCloudEvent(event, source)),
    one: { path: "", type: `${CLOUD_EVENT}; charset=utf-8`, body: alone },
    many: { path: "", type: CLOUD_EVENTS, body: list },
  },
  /**
   * OpenMeter takes CloudEvents, and knows an event by `id` and `source`. Its `subject` is whose usage it is. Meters
   * read numbers from `data`: `$.seconds`, `$.amount`, `$.quantity`. It compares the content type as a text: one with a
   * charset gets 400. Of a batch it takes one event after the other. Where it answers that one failed, it may have
   * taken those before, and knows them by `id` and `source` when they come again.
   */
  openmeter: {
    parts: metered,
    lane: bySession,
    item: (event, sink, subject) => {
      const cloud = JSON.parse(toCloudEvent(event, sink.source)) as { type: string; data: object };
      const type = meterOf(event as Metered, sink) ?? cloud.type;
      const data = { ...propertiesOf(event as Metered), ...cloud.data };
      return ok(JSON.stringify({ ...cloud, type, subject, data }));
    },
    one: { path: "/api/v1/events", type: CLOUD_EVENT, body: alone },
    many: { path: "/api/v1/events", type: CLOUD_EVENTS, body: list },
  },
  /**
   * Lago knows an event by `transaction_id`. One that it has had gets 422 with `value_already_exist`. The customer is
   * the subscription's own id there. Of a batch it takes all events or none; `error_details` says by their places which
   * ones it does not take, and those that it has had are among them.
   */
  lago: {
    parts: metered,
    lane: bySession,
    item: (event, sink, subscription) => {
      const of = event as Metered;
      const item = {
        transaction_id: event.id,
        external_subscription_id: subscription,
        code: meterOf(of, sink) ?? DEFAULT_METERS[of.type],
        timestamp: (event.at / 1000).toFixed(3),
        properties: propertiesOf(of),
      };
      return ok(JSON.stringify(item));
    },
    one: { path: "/api/v1/events", type: "application/json", body: ([item]) => `{"event":${item}}` },
    many: { path: "/api/v1/events/batch", type: "application/json", body: (items) => `{"events":${list(items)}}` },
    verdict: (status, text, count) => {
      if (status === 404) return UNKNOWN.test(text) ? "never" : "again";
      if (status !== 422) return undefined;
      return count === 1 && HAS_IT.test(text) ? "taken" : "never";
    },
    each: (status, text) => {
      const found = new Map<number, OfOne>();
      for (const [place, details] of status === 422 ? Object.entries(detailsIn(text)) : []) {
        if (!/^\d{1,3}$/.test(place)) continue;
        const why = JSON.stringify(details);
        found.set(Number(place), { verdict: HAS_IT.test(why) ? "taken" : "never", why });
      }
      return found;
    },
  },
  /**
   * Stripe's meter events are form-encoded, have whole numbers, and may not be sent by two calls at once for a customer
   * and a meter. `Idempotency-Key` is not used: under it Stripe repeats a former answer for a day, also a 500. The
   * `identifier` does that work.
   */
  stripe: {
    parts: metered,
    lane: (event) => event.session.user,
    item: (event, sink, customer) => {
      const value = wholeValue(event as Metered, sink);
      if (!value.ok) return value;
      const form = new URLSearchParams({
        event_name: meterOf(event as Metered, sink) ?? DEFAULT_METERS[(event as Metered).type],
        identifier: shortId(event.id),
        timestamp: String(Math.floor(event.at / 1000)),
        "payload[stripe_customer_id]": customer,
        "payload[value]": value.value,
      });
      return ok(form.toString());
    },
    one: { path: "/v1/billing/meter_events", type: "application/x-www-form-urlencoded", body: alone },
    verdict: (status, text) => {
      if (status !== 400 && status !== 409) return status === 404 ? "never" : undefined;
      if (/already exists with identifier|duplicate_meter_event/i.test(text)) return "taken";
      return status === 409 ? "again" : "never"; // 409: another request has a lock on the same thing
    },
  },
};

/** Names of meters where none are set. */
const DEFAULT_METERS: Readonly<Record<Metered["type"], string>> = {
  "session.ended": "tollgate_seconds",
  "charge.made": "tollgate_charges",
};
const MAX_IDENTIFIER = 100;
/** Lago's code for what an event names and is not there. `resource_not_found`: there is no such path. */
const UNKNOWN = /"code"\s*:\s*"(?!resource_)\w+_not_found"/;
/** Lago's answer for an event that it has had. */
const HAS_IT = /"transaction_id"\s*:\s*\[\s*"value_already_exist"/;
/**
 * Not the event's fault: signing in, the address, the content type, the time, the rate. The endpoint is asked again, so
 * that nothing is put aside because of a key that has expired, or a proxy before the endpoint.
 */
const AGAIN = new Set([401, 402, 403, 404, 405, 407, 408, 410, 415, 421, 423, 425, 429]);

/** What is sent of an event to this sink; nothing, if the sink does not want it. */
export function partsFor(event: ChargingEvent, sink: UsageSink): readonly ChargingEvent[] {
  const { events, services } = sink;
  return PRESETS[sink.preset].parts(event).filter((part) => {
    if (!events.has(part.type)) return false;
    if (services === undefined || services.includes(part.session.service)) return true;
    return "from" in part && services.includes(part.from.service);
  });
}

export const laneOf = (event: ChargingEvent, { preset }: UsageSink): string => PRESETS[preset].lane(event);

/** What stands for an event in a request; or why nothing can. */
export const itemFor = (event: ChargingEvent, sink: UsageSink, customer: string): Result<string, string> =>
  PRESETS[sink.preset].item(event, sink, customer);

/** The form of all requests to this sink. It is the same for one event, so that a receiver needs to know one only. */
export function formFor({ preset, batchMost }: UsageSink): Form {
  const { one, many } = PRESETS[preset];
  return batchMost > 1 ? (many ?? one) : one;
}

/** What the endpoint's answer means for so many events, all together. */
export function verdictOn(status: number, text: string, { preset }: UsageSink, count = 1): Verdict {
  if (status >= 200 && status <= 299) return "taken";
  const own = PRESETS[preset].verdict?.(status, text, count);
  if (own !== undefined) return own;
  return status < 400 || status >= 500 || AGAIN.has(status) ? "again" : "never";
}

/** What the answer says of single events of a batch, by their places in it. */
export const eachOf = (status: number, text: string, { preset }: UsageSink): ReadonlyMap<number, OfOne> =>
  PRESETS[preset].each?.(status, text) ?? new Map();

/** Lago's `error_details`; empty, if that cannot be read. */
function detailsIn(text: string): object {
  try {
    const { error_details: details } = JSON.parse(text) as { error_details?: unknown };
    return typeof details === "object" && details !== null ? details : {};
  } catch {
    return {};
  }
}

function meterOf(event: Metered, { meters }: UsageSink): string | undefined {
  const name = event.type === "session.ended" ? meters.time : meters.charges;
  const { service, appServer } = event.session;
  const currency = event.type === "charge.made" ? event.charge.currency : (event.session.tariff?.currency ?? "");
  const fields: Readonly<Record<string, string>> = { service, appServer, currency };
  return name?.replace(/\{(\w+)\}/g, (_, field: string) => fields[field] ?? "");
}

/** What a meter may count and group by, flat. Numbers are text, so that none is rounded. */
function propertiesOf(event: Metered): Record<string, string> {
  const { session } = event;
  const about = { service: session.service, appServer: session.appServer, user: session.user, sessionId: session.id };
  if (event.type === "session.ended") return { ...about, seconds: (event.durationMs / 1000).toFixed(3) };
  const { item, quantity, currency } = event.charge;
  return { ...about, item, quantity, currency, amount: formatAmount(chargeAmount(event.charge)) };
}

/** Stripe counts whole numbers: seconds begun, minor units of the currency, or pieces. */
function wholeValue(event: Metered, { chargesBy }: UsageSink): Result<string, string> {
  if (event.type === "session.ended") return ok(String(Math.ceil(event.durationMs / 1000)));
  const { quantity } = event.charge;
  if (chargesBy === "amount") return ok(round(chargeAmount(event.charge), "half-up").units.toString());
  const whole = quantity.split(".", 1)[0]!;
  return compareDecimals(whole, quantity) === 0
    ? ok(whole)
    : err(`its quantity is ${quantity}, and Stripe counts whole numbers`);
}

/** The id itself, or what stands for it where it is too long. */
const shortId = (id: string): string =>
  id.length <= MAX_IDENTIFIER ? id : `sha256:${createHash("sha256").update(id).digest("hex")}`;
