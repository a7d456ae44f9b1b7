import { canonicalHost } from "../support/address.ts";
import type { Via } from "./headers.ts";
import type { SipRequest } from "./message.ts";

/**
 * Keys by which a message finds its transaction in a Map. LF stands between the parts: no part of a parsed message can
 * hold an LF, so different parts never make the same key.
 */

/** RFC 3261 §8.1.1.7: a branch that begins with this is unique over all requests of its client. */
export const MAGIC_COOKIE = "z9hG4bK";

/** Whether the request's branch identifies its transaction. RFC 4475 §3.2.1: the cookie alone does not. */
export function hasMagicCookie(request: SipRequest): boolean {
  const branch = request.via?.params.get("branch");
  return branch !== undefined && branch.length > MAGIC_COOKIE.length && branch.startsWith(MAGIC_COOKIE);
}

/**
 * The key of the server transaction to which a request belongs (RFC 3261 §17.2.3). An ACK has the key of its INVITE.
 * With `method`, a CANCEL finds the transaction that it cancels: `serverKey(cancel, "INVITE")`.
 *
 * Without the magic cookie, the key has the parts that RFC 2543 compares, except the To tag: an ACK has the To tag of
 * the response, which the INVITE has not. The code that matches an ACK must compare that tag itself (`hasMagicCookie`
 * tells when).
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
