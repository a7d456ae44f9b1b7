import { z } from "zod";
import { plainText } from "../calls/record-schema.ts";
import { stateText } from "../chart/state-text.ts";
import { costOfSession } from "../relay/charges/record-cost.ts";
import type { SessionPort as Session } from "../relay/model/core.ts";

/** One session for people to look at, as JSON. */
export const sessionView = z.object({
  id: plainText,
  call: plainText.describe("The correlation id, which the log shows for both legs."),
  user: plainText,
  service: plainText,
  appServer: plainText,
  state: plainText.describe("The state of the chart `session`: inviting.proceeding.steady."),
  startedAt: z.int().optional().describe("When the clock began to run, milliseconds since 1970."),
  durationMs: z.int().optional().describe("How long the clock has run since then."),
  cost: plainText.optional().describe("What it has cost so far, without taxes: 25.20 EUR; missing: nothing."),
  node: plainText.optional().describe("The node that has it; missing: the relay is alone."),
});

type Optional<T> = { readonly [K in keyof T]: Exclude<T[K], undefined> };
export type SessionView = Optional<z.output<typeof sessionView>>;

/** In the order in which they began, which their ids show. */
export function viewsOf(sessions: readonly Session[]): SessionView[] {
  return sessions.map(viewOf).sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** The first so many of those that come after that id. */
export function viewsAfter(sessions: readonly Session[], after: string, most: number): SessionView[] {
  return sessions
    .filter(({ id }) => id > after)
    .sort((a, b) => (a.id < b.id ? -1 : 1))
    .slice(0, most)
    .map(viewOf);
}

function viewOf(session: Session): SessionView {
  const { id, call, user, service, appServer } = session.facts;
  const { value, context } = session.actor.getSnapshot();
  const durationMs = context.startedAt === null ? undefined : session.now() - context.startedAt;
  const book = session.charges.bookIfAny;
  const cost = durationMs === undefined ? undefined : costOfSession({ facts: session.facts, durationMs, book });
  return {
    id,
    call,
    user,
    service,
    appServer,
    state: stateText(value),
    ...(context.startedAt !== null && { startedAt: context.startedAt, durationMs: durationMs! }),
    ...(cost !== undefined && { cost }),
  };
}
