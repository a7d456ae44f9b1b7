import type { ChargingEvent } from "../charging/events/events.ts";
import type { Clock } from "../support/clock.ts";
import { type Answered, causeOf, printed, retryAfterMs, type Send } from "../support/http-send.ts";
import type { Endpoint } from "./endpoint.ts";
import { type Verdict, verdictOn } from "./presets.ts";

/** What became of one request. */
export interface Outcome {
  readonly verdict: Verdict;
  readonly why: string;
  /** So long the endpoint wants to be left alone. */
  readonly afterMs?: number;
  /** The endpoint has failed at this event: the event may be the cause. */
  readonly failed?: boolean;
}

/**
 * Sends an event once. Never rejects. `underWay`: where the request can be broken off, as long as it has no answer.
 */
export async function attempt(
  { endpoint, send, clock }: { readonly endpoint: Endpoint; readonly send: Send; readonly clock: Clock },
  event: ChargingEvent,
  underWay?: Set<AbortController>,
): Promise<Outcome> {
  const { sink } = endpoint;
  const request = endpoint.request(event);
  if (!request.ok) return { verdict: "never", why: request.error };
  const broken = new AbortController();
  underWay?.add(broken);
  const timer = clock.setTimeout(() => broken.abort(), sink.timeoutS * 1000);
  try {
    const answer = await send(request.value, broken.signal);
    const verdict = verdictOn(answer.status, answer.text, sink);
    const failed = answer.status >= 500 && answer.status !== 503;
    return { verdict, why: whyOf(answer), afterMs: retryAfterMs(answer, clock.wall()) ?? 0, failed };
  } catch (error) {
    return { verdict: "again", why: broken.signal.aborted ? `no answer within ${sink.timeoutS} s` : causeOf(error) };
  } finally {
    clock.clearTimeout(timer);
    underWay?.delete(broken);
  }
}

const whyOf = ({ status, text }: Answered): string =>
  text.trim() === "" ? `status ${status}` : `status ${status}: ${printed(text)}`;
