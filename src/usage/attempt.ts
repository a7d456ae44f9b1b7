import type { ChargingEvent } from "../charging/events/events.ts";
import type { Clock } from "../support/clock.ts";
import { type Answered, causeOf, printed, retryAfterMs, type Send } from "../support/http-send.ts";
import type { Endpoint } from "./endpoint.ts";
import { eachOf, type OfOne, type Verdict, verdictOn } from "./presets.ts";

/** What became of one request. */
export interface Outcome {
  /** For all events of the request together. */
  readonly verdict: Verdict;
  readonly why: string;
  /** With the verdict "never": what is known of single events. */
  readonly each?: ReadonlyMap<ChargingEvent, OfOne>;
  /** So long the endpoint wants to be left alone. */
  readonly afterMs?: number;
  /** The endpoint has failed at these events, or was too slow for them: they may be the cause. */
  readonly failed?: boolean;
}

/**
 * Sends events once, in one request. Never rejects. `underWay`: where the request can be broken off, as long as it has
 * no answer.
 */
export async function attempt(
  { endpoint, send, clock }: { readonly endpoint: Endpoint; readonly send: Send; readonly clock: Clock },
  events: readonly ChargingEvent[],
  underWay?: Set<AbortController>,
): Promise<Outcome> {
  const { sink } = endpoint;
  const items: string[] = [];
  const unfit = new Map<ChargingEvent, OfOne>();
  for (const event of events) {
    const item = endpoint.item(event);
    if (item.ok) items.push(item.value);
    else unfit.set(event, { verdict: "never", why: item.error });
  }
  for (const { why } of unfit.values()) return { verdict: "never", why, each: unfit };
  const broken = new AbortController();
  underWay?.add(broken);
  let isLate = false;
  const timer = clock.setTimeout(() => {
    isLate = true;
    broken.abort();
  }, sink.timeoutS * 1000);
  try {
    const answer = await send(endpoint.request(events, items), broken.signal);
    const verdict = verdictOn(answer.status, answer.text, sink, events.length);
    const failed = answer.status >= 500 && answer.status !== 503;
    const outcome = { verdict, why: whyOf(answer), afterMs: retryAfterMs(answer, clock.wall()) ?? 0, failed };
    const each =
      verdict === "never" && events.length > 1
        ? named(events, answer, eachOf(answer.status, answer.text, sink))
        : undefined;
    return each ? { ...outcome, each } : outcome;
  } catch (error) {
    const why = broken.signal.aborted ? `no answer within ${sink.timeoutS} s` : causeOf(error);
    return { verdict: "again", why, failed: isLate };
  } finally {
    clock.clearTimeout(timer);
    underWay?.delete(broken);
  }
}

/** What is said of events by their places; undefined: nothing is said of any. */
function named(
  events: readonly ChargingEvent[],
  { status }: Answered,
  places: ReadonlyMap<number, OfOne>,
): ReadonlyMap<ChargingEvent, OfOne> | undefined {
  const each = new Map<ChargingEvent, OfOne>();
  for (const [place, { verdict, why }] of places) {
    const event = events[place];
    if (event) each.set(event, { verdict, why: `status ${status}: ${printed(why)}` });
  }
  return each.size > 0 ? each : undefined;
}

const whyOf = ({ status, text }: Answered): string =>
  text.trim() === "" ? `status ${status}` : `status ${status}: ${printed(text)}`;
