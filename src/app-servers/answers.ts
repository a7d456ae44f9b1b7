import { asReasonPhrase, reasonPhrase } from "../sip/response.ts";
import { oneLine } from "../sip/text.ts";
import { retryAfterMs } from "../support/http-send.ts";
import type { HttpAnswer, Outcome } from "./http-client.ts";

/** Media type of the body that says where a service is (WIRE.md). */
const ACCESS_TYPE = "application/vnd.tollgate.access+json";
const MAX_URL = 8_192;
const MAX_PHRASE = 100;
/** What may be passed on to the client as it is: for softphones. */
const PASSED_TYPES: ReadonlySet<string> = new Set(["application/sdp", ACCESS_TYPE]);

/** An app server's answer as the SIP answer to the relay's request. */
export interface SipAnswer {
  readonly status: number;
  readonly reason?: string;
  readonly headers?: readonly (readonly [name: string, value: string])[];
  readonly body?: { readonly contentType: string; readonly content: Buffer };
  /** Why the answer is none of the app server's own, for the log. */
  readonly why?: string;
}

/**
 * The statuses of HTTP that mean something else in SIP, or nothing. What is not in this table, from 400 to 699, is the
 * SIP status: 486 is 486.
 */
const STATUS: Readonly<Record<number, number>> = {
  401: 500, // the app server does not believe the relay; the client would take it for a challenge
  405: 500,
  406: 488,
  407: 500,
  409: 486,
  411: 500,
  412: 500,
  414: 500,
  416: 500,
  417: 500,
  421: 500,
  422: 488,
  423: 486,
  424: 500,
  425: 503,
  426: 500,
  428: 500,
  429: 503,
  431: 500,
  451: 403,
  481: 500, // within a session it would say that the session is gone
  505: 500,
  506: 500,
  507: 500,
  508: 500,
  510: 500,
  511: 500,
};

/**
 * What an app server's answer to `session.requested` means. Without an answer it is 503, which sends the relay on to
 * the next app server, as a SIP app server that cannot be reached does.
 */
export function sipAnswer(outcome: Outcome, now: number): SipAnswer {
  if ("failed" in outcome) return { status: outcome.late ? 408 : 503, why: outcome.failed };
  const { status, phrase } = outcome;
  if (status >= 200 && status < 300) return acceptance(outcome);
  if (status < 400) return { status: 502, why: `it answered ${status}, and redirects are not followed` };
  const mapped = STATUS[status] ?? status;
  const own = mapped === status ? asReasonPhrase(oneLine(phrase).slice(0, MAX_PHRASE)) : "";
  return {
    status: mapped,
    reason: own || reasonPhrase(mapped),
    ...(mapped === 503 && restIn(outcome, now)),
    ...(mapped !== status && { why: `it answered ${status}` }),
  };
}

/** How long it wants to be left alone, as the header field of the SIP answer. */
function restIn(answer: HttpAnswer, now: number): Pick<SipAnswer, "headers"> {
  const restMs = retryAfterMs(answer, now);
  return restMs === undefined ? {} : { headers: [["Retry-After", String(Math.ceil(restMs / 1000))]] };
}

function acceptance({ status, contentType, body }: HttpAnswer): SipAnswer {
  const type = contentType.replace(/;.*/s, "").trim().toLowerCase();
  if (status === 204 || body.length === 0) return { status: 200, body: access({}) };
  if (PASSED_TYPES.has(type)) return { status: 200, body: { contentType: type, content: body } };
  const said = json(body);
  if (said === undefined) return { status: 502, why: "its 200 has a body that is no JSON object" };
  const { url } = said;
  if (url === undefined) return { status: 200, body: access({}) };
  if (typeof url !== "string" || url.length > MAX_URL || !URL.canParse(url))
    return { status: 502, why: "the url in its 200 is no URL" };
  return { status: 200, body: access({ url }) };
}

const access = (said: { readonly url?: string }): NonNullable<SipAnswer["body"]> => ({
  contentType: ACCESS_TYPE,
  content: Buffer.from(JSON.stringify(said)),
});

/** The object in a body; undefined: there is none. */
export function json(body: Buffer): Record<string, unknown> | undefined {
  try {
    const read: unknown = JSON.parse(body.toString("utf8"));
    return typeof read === "object" && read !== null && !Array.isArray(read)
      ? (read as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The answer to OPTIONS, by which the relay knows whether an app server is there: a gateway's word says that it is not.
 */
export function healthAnswer(outcome: Outcome, now: number): SipAnswer {
  if ("failed" in outcome) return { status: 503, why: outcome.failed };
  if (![502, 503, 504].includes(outcome.status)) return { status: 200 };
  return { status: 503, ...(outcome.status === 503 && restIn(outcome, now)) };
}
