import { Headers, SipRequest, type SipResponse } from "../sip/message.ts";

/** The requests that the INVITE client transaction makes by itself: ACK for an error response, and CANCEL. */

/** The ACK for a 300-699 response to `invite` (RFC 3261 §17.1.1.3). `invite` carries the Via that it was sent with. */
export function ackFor(invite: SipRequest, response: SipResponse): SipRequest {
  // The ACK takes To from the response, with its tag. Everything else is as in the INVITE.
  return sameHop("ACK", invite, response.headers.get("to") ?? invite.headers.get("to"));
}

/** The CANCEL for `invite` (RFC 3261 §9.1), with further headers such as Reason (RFC 3326). */
export function cancelFor(
  invite: SipRequest,
  headers: readonly [name: string, value: string][] | undefined,
): SipRequest {
  const cancel = sameHop("CANCEL", invite, invite.headers.get("to"));
  if (headers) for (const [name, value] of headers) cancel.headers.add(name, value);
  return cancel;
}

/**
 * A request that goes where the INVITE went: with its Request-URI, Call-ID, From, CSeq number and Route values, and
 * with its topmost Via only.
 */
function sameHop(method: "ACK" | "CANCEL", invite: SipRequest, to: string | undefined): SipRequest {
  const headers = new Headers();
  headers.add("Via", invite.headers.get("via") ?? "");
  headers.add("Max-Forwards", "70");
  for (const field of invite.headers.fields) if (field.key === "route") headers.fields.push(field);
  headers.add("From", invite.headers.get("from") ?? "");
  headers.add("To", to ?? "");
  headers.add("Call-ID", invite.callId);
  headers.add("CSeq", `${invite.cseq?.number ?? 1} ${method}`);
  // RFC 7989 §7: the same as in the request that is cancelled.
  for (const field of invite.headers.fields) if (field.key === "session-id") headers.fields.push(field);
  return new SipRequest(method, invite.uri, headers);
}
