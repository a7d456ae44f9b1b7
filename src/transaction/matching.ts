import { mergeKey, serverKey } from "../sip/keys.ts";
import type { SipRequest } from "../sip/message.ts";
import { inOnePiece } from "../sip/text.ts";

/** Methods of the requests that a CANCEL may be about, the likely one first (RFC 3261 §9.2: any but CANCEL and ACK). */
export const CANCELLABLE = [
  "INVITE",
  "OPTIONS",
  "INFO",
  "UPDATE",
  "REFER",
  "MESSAGE",
  "BYE",
  "PRACK",
  "NOTIFY",
  "SUBSCRIBE",
  "REGISTER",
];

/**
 * `serverKey` (RFC 3261 §17.2.3), in one piece, since it is kept. V8's tree of joined texts would keep the whole
 * message alive, some 800 bytes for each transaction.
 */
export const serverKeyOf = (request: SipRequest, method: string): string => inOnePiece(serverKey(request, method));

/** `mergeKey` (RFC 3261 §8.2.2.2), in one piece, since it is kept. */
export const mergeKeyOf = (request: SipRequest): string => inOnePiece(mergeKey(request));
