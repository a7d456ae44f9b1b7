import type { Failure } from "../../../machines/events.ts";
import type { SipRequest } from "../../sip/message.ts";
import type { Core } from "./core.ts";

/**
 * Why no session may begin now, as its client hears it; undefined: one may. A `part` replaces a session that exists
 * already, so neither the bound on the number of sessions nor that on load counts for it. `invite`: a client's first
 * request; where it is missing, the client has a session already (RFC 7339 §5.10.1: those come first).
 */
export function refusalOfNew(
  core: Core,
  what: "session" | "part",
  invite?: SipRequest,
): (Failure & { readonly why?: string }) | undefined {
  const { draining, recorder, sessions, requests, config, overload } = core;
  if (core.refusesNew?.()) return { status: 503, headers: [["Retry-After", "5"]] };
  if (invite && overload?.refuses(invite.callId ?? ""))
    return { status: 503, headers: [["Retry-After", "5"]], why: "the relay cannot keep up with more calls now" };
  const isFull = what === "session" && sessions.size + requests.size >= config.limits.calls;
  if (!draining && !recorder.full && !isFull) return undefined;
  return { status: 503, headers: [["Retry-After", draining ? "60" : "5"]] };
}
