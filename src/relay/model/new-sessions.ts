import type { Failure } from "../../../machines/events.ts";
import type { Core } from "./core.ts";

/**
 * Why no session may begin now, as its client hears it; undefined: one may. A `part` replaces a session that exists
 * already, so the bound on the number of sessions does not count for it.
 */
export function refusalOfNew(core: Core, what: "session" | "part"): Failure | undefined {
  const { draining, recorder, sessions, requests, config } = core;
  if (core.refusesNew?.()) return { status: 503, headers: [["Retry-After", "5"]] };
  const isFull = what === "session" && sessions.size + requests.size >= config.limits.calls;
  if (!draining && !recorder.full && !isFull) return undefined;
  return { status: 503, headers: [["Retry-After", draining ? "60" : "5"]] };
}
