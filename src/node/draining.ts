import type { Core } from "../relay/model/core.ts";
import { endedByText } from "../relay/model/endings.ts";
import { type Clock, pause, until } from "../support/clock.ts";
import type { Cluster } from "./cluster-ports.ts";

/* How a relay comes to its end: what runs ends by itself, goes to other nodes, or is ended. */

/** How long the relay may take after the drain, for answers to BYEs, and for messages that are handed over. */
const LAST_BYES_MS = 2_000;
const LAST_HANDED_MS = 500;
const POLL_MS = 20;

/**
 * Resolves when no session is left. Sessions may end by themselves for `drainMs`. What is left then goes on at other
 * nodes. If there are none, it gets BYE, and at last is put on record as it is. Charges in app servers' answers to BYE
 * are waited for as long as an answer may come (timer F), unless the operator is in a hurry.
 */
export async function emptied(options: {
  readonly core: Core;
  /** One that goes on while this node must be silent. */
  readonly clock: Clock;
  readonly drainMs: number;
  readonly cluster: Cluster | undefined;
}): Promise<void> {
  const { core, clock, drainMs, cluster } = options;
  const untilOver = async (withinMs: number, isOver: () => boolean) => {
    await until(clock, isOver, withinMs, POLL_MS);
    await core.ending.settled(); // the answers to the last BYEs wait for the disk
  };
  const isEmpty = () => core.sessions.size + core.requests.size === 0 && cluster?.giving !== "now";
  await untilOver(drainMs, () => isEmpty() || (core.hurried && cluster !== undefined));
  // What comes for sessions that were given away is still handed over.
  if (cluster?.giving === "done" && !core.hurried) await pause(clock, LAST_HANDED_MS);
  if (cluster && (core.sessions.size > 0 || cluster.giving === "now")) {
    // What rings is cancelled; what stands goes on at other nodes.
    giveUpRequests(core);
    await untilOver(LAST_BYES_MS, () => core.requests.size + core.byesUnanswered.size === 0);
    if (await cluster.leaveSessions()) return core.ending.settled();
  }
  endAll(core);
  await untilOver(LAST_BYES_MS, () => core.sessions.size + core.requests.size === 0);
  const left = core.sessions.values().map(async (session) => {
    const { startedAt, byeAt } = session.context;
    if (session.hangUp.bye) {
      session.actor.send({ type: "bye.late", at: session.now() }); // the end that hung up waits for an answer
      return;
    }
    session.close();
    if (startedAt !== null) await session.charges.ended(startedAt, byeAt ?? session.now(), endedByText("stopped"));
  });
  await Promise.allSettled(left);
  if (core.byesUnanswered.size > 0 && !core.hurried)
    core.log.info({ sessions: core.byesUnanswered.size }, "waiting for answers to BYE, which may bring charges");
  await untilOver(64 * core.config.timers.t1Ms, () => core.byesUnanswered.size === 0 || core.hurried);
  for (const { id, appServer } of core.byesUnanswered)
    core.log.warn(
      { session: id, appServer: appServer.id },
      "the relay stops, and its BYE is not answered: charges in an answer would be lost",
    );
  await core.ending.settled();
}

/** Ends the sessions of users who were blocked with `--end`, at whichever node. */
export function endBlocked(core: Core): void {
  const accounts = new Set(core.directory.accountsToEnd());
  if (accounts.size === 0) return;
  for (const request of core.requests.values()) if (accounts.has(request.account)) request.giveUp();
  for (const session of core.sessions.values()) if (accounts.has(session.facts.user)) session.end({ code: "blocked" });
}

/** Ends one session; what rings is cancelled. False: there is none of that id here. */
export function endOne(core: Core, id: string): boolean {
  const session = core.sessions.get(id);
  if (!session) return false;
  session.request?.giveUp();
  session.end({ code: "operator" });
  return true;
}

/** Requests that wait for an answer are cancelled. Established sessions are ended by BYE. */
export function endAll(core: Core): void {
  giveUpRequests(core);
  for (const session of core.sessions.values()) session.end({ code: "stops" });
}

function giveUpRequests(core: Core): void {
  for (const request of core.requests.values()) request.lost();
}
