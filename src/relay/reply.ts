import { SipResponse } from "../sip/message.ts";
import { reasonPhrase } from "../sip/response.ts";
import type { ServerTransaction } from "../transaction/types.ts";

/** Answers a request with a response of the relay's own. */
export function reply(
  transaction: ServerTransaction,
  status: number,
  headers: readonly (readonly [name: string, value: string])[] = [],
  reason = reasonPhrase(status),
): void {
  const response = new SipResponse(status, reason);
  for (const [name, value] of headers) response.headers.add(name, value);
  transaction.respond(response);
}
