import { quote } from "../../sip/headers.ts";
import { type SipRequest, SipResponse } from "../../sip/message.ts";
import { asReasonPhrase, reasonPhrase } from "../../sip/response.ts";
import { encodeUtf8 } from "../../sip/text.ts";
import type { ServerTransaction } from "../../transaction/types.ts";

/**
 * Answers a request with a response of the relay's own. `reason` is text for people; characters that are not allowed
 * are replaced.
 */
export function reply(
  transaction: ServerTransaction,
  status: number,
  headers: readonly (readonly [name: string, value: string])[] = [],
  reason?: string,
): void {
  const response = new SipResponse(status, reason === undefined ? reasonPhrase(status) : asReasonPhrase(reason));
  for (const [name, value] of headers) response.headers.add(name, value);
  transaction.respond(response);
}

/**
 * The status that, with Retry-After, tells one client to come later. After a 503, a proxy would send this relay no
 * requests of any of its clients for so long (RFC 3261 §21.5.4). So a client behind a proxy gets 480.
 */
export const laterStatus = (request: SipRequest): 480 | 503 => (request.headers.count("via") > 1 ? 480 : 503);

/**
 * RFC 3261 §20.43: code 399 is for text that people read. It is a quoted string of UTF-8 without control characters
 * (§25.1).
 */
export const warning = (text: string) =>
  ["Warning", `399 tollgate ${quote(encodeUtf8(text.replace(/\p{Cc}+/gu, " ")))}`] as const;
