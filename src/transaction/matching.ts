import { mergeKey, serverKey } from "../sip/keys.ts";
import type { SipRequest } from "../sip/message.ts";
import { inOnePiece } from "../sip/text.ts";

/**
 * Methods of the requests that a CANCEL may mean, the likely one first (RFC 3261 §9.2: anything but CANCEL and ACK).
 */
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
 * `serverKey` (RFC 3261 §17.2.3), fit to be kept: a tree would keep the whole message, some 800 bytes for each
 * transaction.
 */
export const serverKeyOf = (request: SipRequest, method: string): string => inOnePiece(serverKey(request, method));

/** `mergeKey` (RFC 3261 §8.2.2.2), fit to be kept. */
export const mergeKeyOf = (request: SipRequest): string => inOnePiece(mergeKey(request));
