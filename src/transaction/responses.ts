import { tagIn } from "../sip/headers.ts";
import { type HeaderField, type SipRequest, SipResponse } from "../sip/message.ts";
import { Role } from "../sip/names.ts";
import type { Random } from "../support/random.ts";

const MAY_HAVE_TAG = /;[ \t]*tag\b/i;

/** What each response takes over from its request (RFC 3261 §8.2.6.2). */
const copied = (role: Role): boolean =>
  role === Role.via || role === Role.from || role === Role.to || role === Role.callId || role === Role.cseq;

/** The layer's own 100, with the Timestamp that must be copied into it (RFC 3261 §8.2.6.1). */
export function trying(request: SipRequest): SipResponse {
  const response = new SipResponse(100, "Trying");
  const timestamp = request.headers.get("timestamp");
  if (timestamp !== undefined) response.headers.add("Timestamp", timestamp);
  return response;
}

/**
 * Copies Via, From, To, Call-ID and CSeq of the request into the response, except those that are there already. Adds a
 * To tag where there must be one (RFC 3261 §8.2.6.2): `localTag`, the tag given before in this transaction, or a new
 * one. Returns the To tag; undefined for a 100 without a tag, or if the To cannot be read.
 */
export function fillResponse(
  response: SipResponse,
  request: SipRequest,
  localTag: string | undefined,
  random: Random,
): string | undefined {
  // If the To is copied, the request has read its tag already.
  const toTag = response.headers.has("to") ? response.toTag : request.toTag;
  takeOver(response, request);
  return toTag ?? tagResponse(response, localTag, random);
}

/** Copies those of Via, From, To, Call-ID and CSeq that the response does not have yet. */
export function takeOver(response: SipResponse, request: SipRequest): void {
  const own = response.headers;
  const taken: HeaderField[] = [];
  for (const field of request.headers.fields) if (copied(field.header.role) && !own.has(field.key)) taken.push(field);
  if (taken.length > 0) {
    own.insert(taken);
    response.changed();
  }
}

/** Gives a To tag to a response without one, unless it is a 100, and returns it. */
function tagResponse(response: SipResponse, localTag: string | undefined, random: Random): string | undefined {
  if (response.status === 100) return undefined; // RFC 3261 §17.2.1: a 100 SHOULD NOT get a tag.
  const { fields } = response.headers;
  const at = response.headers.indexOf("to");
  const field = fields[at];
  // A To that cannot be read may have a tag all the same. The answer then repeats it as it came.
  if (!field || (MAY_HAVE_TAG.test(field.value) && tagIn(field.value, true) === undefined)) return undefined;
  const given = localTag ?? random.token(64);
  fields[at] = field.with(`${field.value};tag=${given}`);
  response.changed();
  return given;
}
