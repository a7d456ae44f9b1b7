import { stateText } from "../chart/state-text.ts";
import type { SessionPort as Session } from "../relay/model/core.ts";

/** One session for people to look at. */
export interface SessionView {
  readonly id: string;
  /** The correlation id, which the log shows for both legs. */
  readonly call: string;
  readonly user: string;
  readonly service: string;
  readonly appServer: string;
  /** The session chart's state: `inviting.proceeding.steady`. */
  readonly state: string;
  /** When the clock began to run, milliseconds since 1970. */
  readonly startedAt?: number;
  /** How long the clock has run since then. */
  readonly durationMs?: number;
}

/** In the order in which they began, which their ids show. */
export function viewsOf(sessions: readonly Session[]): SessionView[] {
  return sessions.map(viewOf).sort((a, b) => (a.id < b.id ? -1 : 1));
}

function viewOf(session: Session): SessionView {
  const { id, call, user, service, appServer } = session.facts;
  const { value, context } = session.actor.getSnapshot();
  return {
    id,
    call,
    user,
    service,
    appServer,
    state: stateText(value),
    ...(context.startedAt !== null && {
      startedAt: context.startedAt,
      durationMs: session.now() - context.startedAt,
    }),
  };
}
