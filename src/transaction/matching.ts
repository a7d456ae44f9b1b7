import { mergeKey, serverKey } from "../sip/keys.ts";
import type { SipRequest } from "../sip/message.ts";

/** Methods of the requests that a CANCEL may mean, the likely one first (RFC 3261 §9.2: anything but CANCEL and ACK). */
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

/** `serverKey` (RFC 3261 §17.2.3), fit to be kept. */
export const serverKeyOf = (request: SipRequest, method: string): string => flat(serverKey(request, method));

/** `mergeKey` (RFC 3261 §8.2.2.2), fit to be kept. */
export const mergeKeyOf = (request: SipRequest): string => flat(mergeKey(request));

/**
 * The text in one piece. V8 keeps joined strings as a tree, also as a key of a Map, and the tree keeps the whole message alive that its
 * pieces were cut from: some 800 bytes for each transaction. Looking at a character makes it one piece; the comparison keeps the look
 * from being optimized away.
 */
function flat(text: string): string {
  return text.charCodeAt(0) === 0 ? "" : text;
}
