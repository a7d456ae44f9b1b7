import { withTag } from "./headers.ts";
import { type HeaderField, Headers, type SipRequest, SipResponse } from "./message.ts";

const PHRASES: Readonly<Record<number, string>> = {
  100: "Trying",
  180: "Ringing",
  181: "Call Is Being Forwarded",
  182: "Queued",
  183: "Session Progress",
  199: "Early Dialog Terminated",
  200: "OK",
  202: "Accepted",
  204: "No Notification",
  300: "Multiple Choices",
  301: "Moved Permanently",
  302: "Moved Temporarily",
  305: "Use Proxy",
  380: "Alternative Service",
  400: "Bad Request",
  401: "Unauthorized",
  402: "Payment Required",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  406: "Not Acceptable",
  407: "Proxy Authentication Required",
  408: "Request Timeout",
  410: "Gone",
  412: "Conditional Request Failed",
  413: "Request Entity Too Large",
  414: "Request-URI Too Long",
  415: "Unsupported Media Type",
  416: "Unsupported URI Scheme",
  420: "Bad Extension",
  421: "Extension Required",
  422: "Session Interval Too Small",
  423: "Interval Too Brief",
  428: "Use Identity Header",
  436: "Bad Identity Info",
  437: "Unsupported Credential",
  438: "Invalid Identity Header",
  469: "Bad Info Package",
  480: "Temporarily Unavailable",
  481: "Call/Transaction Does Not Exist",
  482: "Loop Detected",
  483: "Too Many Hops",
  484: "Address Incomplete",
  485: "Ambiguous",
  486: "Busy Here",
  487: "Request Terminated",
  488: "Not Acceptable Here",
  489: "Bad Event",
  491: "Request Pending",
  493: "Undecipherable",
  500: "Server Internal Error",
  501: "Not Implemented",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Server Time-out",
  505: "Version Not Supported",
  513: "Message Too Large",
  600: "Busy Everywhere",
  603: "Decline",
  604: "Does Not Exist Anywhere",
  606: "Not Acceptable",
};

const CLASSES = ["", "Trying", "OK", "Redirection", "Request Failure", "Server Failure", "Global Failure"];

/** The reason phrase of a status code (RFC 3261 §21 and the RFCs that add to it). */
export const reasonPhrase = (status: number): string =>
  PHRASES[status] ?? CLASSES[Math.floor(status / 100)] ?? "Unknown";

/**
 * Text of whoever it may be as a Reason-Phrase (RFC 3261 §25.1). Quotation marks and angle brackets, for instance, are
 * not allowed there, and SIP.js drops a response that has them: its user would wait for ever.
 */
export const asReasonPhrase = (text: string): string =>
  NOT_IN_A_PHRASE.test(text) ? text.replaceAll('"', "'").replace(ALL_NOT_IN_A_PHRASE, "?") : text;

/** Octets of UTF-8 are allowed, and so is `%` with two digits. */
const NOT_IN_A_PHRASE = /%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9 \t\-_.!~*'();/?:@&=+$,%\x80-\xff]/;
const ALL_NOT_IN_A_PHRASE = new RegExp(NOT_IN_A_PHRASE, "g");

/** What each response takes over from its request (RFC 3261 §8.2.6.2). */
function isCopied(key: string): boolean {
  return key === "via" || key === "from" || key === "to" || key === "call-id" || key === "cseq";
}

/**
 * A response with the Via, From, To, Call-ID and CSeq of its request, and the Timestamp in a 100 (RFC 3261 §8.2.6).
 * `tag` becomes the To tag if the request has none. `extra` are header fields to be added.
 */
export function responseTo(
  request: SipRequest,
  status: number,
  reason = reasonPhrase(status),
  tag?: string,
  extra?: readonly (readonly [name: string, value: string])[],
): SipResponse {
  const fields: HeaderField[] = [];
  for (const field of request.headers.fields) {
    const { key } = field;
    if (!isCopied(key) && !(status === 100 && key === "timestamp")) continue;
    const needsTag = tag !== undefined && key === "to" && request.toTag === undefined;
    fields.push(needsTag ? field.with(withTag(field.value, tag)) : field);
  }
  const headers = new Headers(fields);
  if (extra) for (const [name, value] of extra) headers.add(name, value);
  return new SipResponse(status, reason, headers);
}
