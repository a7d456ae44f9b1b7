import { canonicalHost } from "../support/address.ts";
import type { Via } from "./headers.ts";
import type { SipRequest } from "./message.ts";

/**
 * Texts by which a message finds its transaction in a Map. Parts are set apart by LF, which no part of a message that
 * was read can hold, so that no two sets of parts make the same key.
 */

/** RFC 3261 §8.1.1.7: a branch that begins with this is unique over all requests of its client. */
export const MAGIC_COOKIE = "z9hG4bK";

/**
 * Whether the request's branch identifies its transaction. RFC 4475 §3.2.1: the cookie with nothing behind it does not.
 */
export function hasMagicCookie(request: SipRequest): boolean {
  const branch = request.via?.params.get("branch");
  return branch !== undefined && branch.length > MAGIC_COOKIE.length && branch.startsWith(MAGIC_COOKIE);
}

/**
 * The key of the server transaction to which a request belongs (RFC 3261 §17.2.3). An ACK has that of its INVITE.
 * `method` finds the transaction that a CANCEL is about: `serverKey(cancel, "INVITE")`.
 *
 * Without the magic cookie the parts are those of RFC 2543. The To tag is left out: an ACK has the one of the
 * response, and whoever matches an ACK compares it (`hasMagicCookie` tells when).
 */
export function serverKey(request: SipRequest, method: string = request.method): string {
  const of = method === "ACK" ? "INVITE" : method;
  const { via } = request;
  const branch = via?.params.get("branch") ?? "";
  const sentBy = via === undefined ? "" : sentByOf(via);
  if (hasMagicCookie(request)) return `${branch}\n${sentBy}\n${of}`;
  const number = request.cseq?.number ?? "";
  return `${request.uri}\n${request.fromTag ?? ""}\n${request.callId}\n${number}\n${branch}\n${sentBy}\n${of}`;
}

function sentByOf({ host: written, port }: Via): string {
  const host = written.charCodeAt(0) === 0x5b ? canonicalHost(written) : written.toLowerCase();
  return port === undefined ? host : `${host}:${port}`;
}

/** What the copies of one request that came by different ways have in common (RFC 3261 §8.2.2.2). */
export function mergeKey(request: SipRequest): string {
  return `${request.fromTag ?? ""}\n${request.callId}\n${request.cseq?.number ?? ""}\n${request.method}`;
}
