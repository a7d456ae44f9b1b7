import type { AppServer } from "../../directory/types.ts";
import { parseRetryAfter } from "../../sip/headers.ts";
import type { SipResponse } from "../../sip/message.ts";
import type { Core } from "../model/core.ts";

/**
 * An app server that answers 503 with Retry-After asks to be left alone for so long (RFC 3261 §21.5.4): no session
 * begins there until then. Its present sessions go on, and their requests are sent. Without Retry-After, a 503 means
 * the same as a 500.
 */
export function takeRest(core: Core, { id }: AppServer, { status, headers }: SipResponse): void {
  if (status !== 503) return;
  const askedS = parseRetryAfter(headers.get("retry-after"));
  const forS = Math.min(askedS ?? 0, core.config.health.maxRestS);
  if (forS === 0) return;
  core.directory.rest(id, forS * 1000);
  core.counters.appServerRests++;
  core.peerLog.warn("an app server answered 503: it rests", id, {
    appServer: id,
    forS,
    ...(askedS !== forS && { askedS }),
  });
}
