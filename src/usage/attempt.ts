import type { ChargingEvent } from "../charging/events/events.ts";
import type { Clock } from "../support/clock.ts";
import type { Answered, Endpoint, Send } from "./endpoint.ts";
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

const REASON_CHARS = 300;

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
    return { verdict, why: whyOf(answer), afterMs: afterMs(answer, clock.wall()), failed };
  } catch (error) {
    return { verdict: "again", why: broken.signal.aborted ? `no answer within ${sink.timeoutS} s` : causeOf(error) };
  } finally {
    clock.clearTimeout(timer);
    underWay?.delete(broken);
  }
}

const whyOf = ({ status, text }: Answered): string =>
  text.trim() === "" ? `status ${status}` : `status ${status}: ${printed(text)}`;

/** What an endpoint has written goes into the log and the store: as one line, without control characters. */
const printed = (text: string): string =>
  text
    .replace(/[\p{C}\s]+/gu, " ")
    .trim()
    .slice(0, REASON_CHARS);

/** RFC 9110 §10.2.3: seconds, or a date. */
function afterMs({ retryAfter }: Answered, now: number): number {
  if (retryAfter === undefined) return 0;
  if (/^\d{1,9}$/.test(retryAfter.trim())) return Number(retryAfter) * 1000;
  const at = Date.parse(retryAfter);
  return Number.isNaN(at) ? 0 : Math.max(0, at - now);
}

/** fetch says "fetch failed", and why in the cause. */
function causeOf(error: unknown): string {
  const { message, cause } = error as { message?: string; cause?: { code?: string; message?: string } };
  return printed(cause?.code ?? cause?.message ?? message ?? String(error));
}
