import type { ChargingEvent } from "../charging/events/events.ts";
import { isDeeper } from "../support/json.ts";
import { err, ok, type Result } from "../support/result.ts";

/*
 * The public form of the events: CloudEvents 1.0, structured, in JSON. ops/asyncapi.yaml describes it for other
 * consumers.
 */

export const CONTENT_TYPE = "application/cloudevents+json";
/** `session.started` is `tollgate.session.started` outside. */
const TYPE_PREFIX = "tollgate.";

/** Far more than all fields of an event may have together. There is room for what later versions add. */
const MAX_EVENT_CHARS = 65_536;

/**
 * One event as CloudEvents JSON text (CloudEvents 1.0.2 §3.1). `source` is a URI that says which node it comes from.
 * `data` is the whole event, so billing needs nothing else.
 */
export function toCloudEvent(event: ChargingEvent, source: string): string {
  return JSON.stringify({
    specversion: "1.0",
    id: event.id,
    source,
    type: TYPE_PREFIX + event.type,
    subject: event.session.id,
    time: new Date(event.at).toISOString(),
    datacontenttype: "application/json",
    data: event,
  });
}

/**
 * The event in a CloudEvents JSON text, or why there is none. What envelope and event both say must agree. Whether the
 * event can be billed is checked by billing.
 */
export function fromCloudEvent(text: string): Result<ChargingEvent, string> {
  if (text.length > MAX_EVENT_CHARS) return err(`it has more than ${MAX_EVENT_CHARS} characters`);
  if (text.length > SHORT && isDeeper(text, MAX_DEPTH)) return err("it is nested too deep");
  let cloud: Record<string, unknown>;
  try {
    cloud = JSON.parse(text) as Record<string, unknown>;
  } catch {
    return err("it is not JSON");
  }
  if (!isObject(cloud)) return err("it is not a JSON object");
  if (cloud.specversion !== "1.0") return err("specversion must be 1.0");
  for (const name of ["id", "source", "type"]) {
    if (typeof cloud[name] !== "string" || cloud[name] === "") return err(`${name} must be text`); // CloudEvents §3.1
  }
  const { datacontenttype = "application/json", data } = cloud;
  if (typeof datacontenttype !== "string" || !/^application\/json\s*(;|$)/i.test(datacontenttype))
    return err("datacontenttype must be application/json");
  if (!isObject(data)) return err("data must be a JSON object");
  if (data.id !== cloud.id) return err("id and data.id differ");
  if (typeof data.type !== "string" || cloud.type !== TYPE_PREFIX + data.type) return err("type and data.type differ");
  return ok(data as unknown as ChargingEvent);
}

/**
 * The deepest nesting accepted; no event has as much. JSON that is nested some 5,000 times can be read, but not written
 * again.
 */
const MAX_DEPTH = 64;
/** Shorter texts are not checked: they cannot be nested deep enough to do harm. Nearly all events are shorter. */
const SHORT = 4_096;

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
