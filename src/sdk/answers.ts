import type { IncomingResponse, IncomingResponseMessage, OutgoingRequestDelegate } from "sip.js/lib/core/index.js";
import { type Description, descriptionOf } from "./session-description.ts";
import { SipError } from "./sip-error.ts";

/** SIP.js tells of a final answer in three ways; this makes one of them. */
export function finalAnswer(done: (response: IncomingResponse) => void): OutgoingRequestDelegate {
  return { onAccept: done, onRedirect: done, onReject: done };
}

/** A body that is text for people, such as what was wrong with a charge. */
export function textOf(description: Description | undefined): string | undefined {
  return description?.contentType.toLowerCase().startsWith("text/plain") ? description.content.trim() : undefined;
}

/** Makes an error of a final answer that is not a success. */
export const refusalOf = (answer: IncomingResponseMessage): SipError =>
  new SipError(
    answer.statusCode ?? 500,
    answer.reasonPhrase ?? "",
    textOf(descriptionOf(answer)) ?? warningIn(answer.getHeader("warning")),
    retryAfterIn(answer.getHeader("retry-after")),
  );

/** The text of a Warning (RFC 3261 §20.43): `399 tollgate "the balance does not cover it"`. */
function warningIn(value: string | undefined): string | undefined {
  const quoted = /^\s*\d{3}\s+\S+\s+"((?:[^"\\]|\\.)*)"/.exec(value ?? "")?.[1];
  return quoted?.replace(/\\(.)/g, "$1");
}

/** RFC 3261 §20.33: seconds, and perhaps a comment or parameters. */
function retryAfterIn(value: string | undefined): number | undefined {
  const seconds = /^\s*(\d{1,9})/.exec(value ?? "")?.[1];
  return seconds === undefined ? undefined : Number(seconds);
}
