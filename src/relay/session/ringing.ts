import type { Side } from "../../../machines/events.ts";
import type { Timer, TimerOwner } from "../../support/timer-queues.ts";
import type { SessionPort as Session } from "../model/core.ts";
import { ofSession } from "../model/log-facts.ts";

const DEFAULT_RING_S = 180; // timer C, RFC 3261 §16.6 step 11

/** How many provisional answers to one INVITE are passed on. A phone that rings for minutes sends a few each minute. */
const MOST_HEARD = 64;

/** How long a session's INVITEs may ring, seconds. */
export const ringS = (session: Session): number => session.service.ringS ?? DEFAULT_RING_S;

/** Whether the `n`th provisional answer to an INVITE is one too many to be passed on. `side`: who sends them. */
export function isOneTooMany(session: Session, side: Side, n: number): boolean {
  if (n <= MOST_HEARD) return false;
  const { core, appServer, facts } = session;
  core.counters.provisionalsLeftOut++;
  const source = side === "client" ? facts.user : appServer.id;
  if (n === MOST_HEARD + 1)
    core.peerLog.warn("provisional answers without end: the rest is not passed on", source, {
      ...ofSession(session),
      side,
    });
  return true;
}

/** An INVITE within a session that rings. `over` is called when it has rung for too long. */
export class Ringing implements TimerOwner<"ringing"> {
  private readonly session: Session;
  private readonly side: Side;
  private readonly over: () => void;
  private timer: Timer | undefined;
  private heard = 0;

  constructor(session: Session, side: Side, over: () => void) {
    this.session = session;
    this.side = side;
    this.over = over;
  }

  /** A provisional answer came. False: it is not to be passed on. */
  hears(): boolean {
    if (this.heard === 0) this.timer = this.session.core.timers.start(this, "ringing", ringS(this.session) * 1000);
    return !isOneTooMany(this.session, this.side, ++this.heard);
  }

  timerFired(): void {
    this.over();
  }

  /** The final answer came. */
  stop(): void {
    this.session.core.timers.stop(this.timer);
  }
}
