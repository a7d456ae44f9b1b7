import type { SessionPort } from "../relay/model/core.ts";
import type { SipRequest } from "../sip/message.ts";
import type { KeptEvent } from "./event-file.ts";

/** What is known of a session when its app server is told something of it. */
export interface SessionSeen {
  readonly session: string;
  readonly service?: string;
  readonly user?: string;
}

export type EventType = "session.requested" | "session.established" | "session.changed" | "session.ended";

/** The text of a request to an app server. The same event has the same id, whichever node sends it, and how often. */
export function eventOf(
  type: EventType,
  appServer: string,
  chain: string,
  at: number,
  { session, service, user }: SessionSeen,
  more: object = {},
): KeptEvent {
  const id = `${session}-${type.slice("session.".length)}`;
  const body = { id, type, time: new Date(at).toISOString(), appServer, session, service, user, ...more };
  return { id, appServer, chain, session, type, at, body: JSON.stringify(body) };
}

/** What the rules say of a request, and the client's own description of it. */
export function askedOf({ identified }: Pick<SessionPort, "identified">, { headers, body }: SipRequest): object {
  const { attributes, client } = identified;
  if (body.length === 0) return { attributes, client };
  const contentType = headers.get("content-type") ?? "application/octet-stream";
  return { attributes, client, description: { contentType, content: body.toString("utf8") } };
}

export const seenOf = (session: SessionPort): SessionSeen => ({
  session: session.id,
  service: session.service.id,
  user: session.core.border.uriOf(session.user),
});
