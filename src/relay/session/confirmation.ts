import type { Side } from "../../../machines/events.ts";
import { SERVICE_HEADER } from "../../charging/charges/header-names.ts";
import type { SipResponse } from "../../sip/message.ts";
import { shown } from "../../support/peer-log.ts";
import type { SessionPort as Session } from "../model/core.ts";
import { ofSession } from "../model/log-facts.ts";

/**
 * The answer to a change where the other end's 2xx did not name the service: that 2xx cannot be relied on (RFC 3261
 * §21.5.3).
 */
export const UNCONFIRMED = { status: 502, reason: "The Change Was Not Confirmed" } as const;

/**
 * Whether a 2xx to a change of service really agrees to that change. A user agent that knows of no services says 200 to
 * any re-INVITE. So a client could stop its meter by a change to a free service that the app server never heard of.
 * Where the operator wants it, the 2xx therefore has to name the service. `by`: who has answered.
 */
export function confirms(first: Session, second: Session, by: Side, { headers }: SipResponse): boolean {
  if (!wantsConfirmation(first, second, by)) return true;
  const said = headers.get(SERVICE_HEADER.toLowerCase())?.trim();
  if (said === second.service.id) return true;
  const appServer = first.appServer.id;
  first.core.counters.changesUnconfirmed++;
  const facts = { ...ofSession(first), appServer, by, wanted: second.service.id, said: shown(said ?? "") };
  first.core.peerLog.warn("a change of service was answered and not confirmed: nothing is changed", appServer, facts);
  return false;
}

function wantsConfirmation({ service, appServer }: Session, { service: wanted }: Session, by: Side): boolean {
  if (by === "server" && appServer.change !== undefined) return appServer.change === "confirmed";
  return service.change === "confirmed" || wanted.change === "confirmed";
}
