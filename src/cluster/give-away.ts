import type { Core, SessionPort as Session } from "../relay/model/core.ts";
import type { SessionState } from "../relay/model/session-state.ts";
import { goOn, restore, snapshot } from "../relay/session/snapshot.ts";
import type { Clock, TimerHandle } from "../support/clock.ts";
import type { Copies } from "./copies.ts";
import type { HandOver } from "./hand-over.ts";

/** How many sessions are given away in one turn, and how long until the next: two thousand a second. */
const SLICE = 20;
const EVERY_MS = 10;
/** How many are on their way at once: if the others are slow, this node does not drown them. */
const MOST_UNDER = 200;

/**
 * Gives the sessions of a node that drains to other nodes, one by one (P3). A session is let go of here before another
 * node acts for it; if that node does not take it, it goes on here. Sessions in which something is under way wait until
 * that is over.
 */
export class GiveAway {
  private readonly core: Core;
  private readonly clock: Clock;
  private readonly copies: Pick<Copies, "give" | "released">;
  private readonly handOver: Pick<HandOver, "factsOf">;
  private readonly given: (session: string) => void;
  private readonly cutOff: () => boolean;
  private readonly isTaken: (session: string) => Promise<boolean>;
  private timer: TimerHandle;
  private stopped = false;
  /** Sessions that are on their way. */
  private readonly under = new Set<string>();
  /** Sessions whose charges are awaited before they go. */
  private readonly about = new Set<string>();
  /** Since the start: sessions that other nodes have taken. */
  count = 0;

  constructor(options: {
    readonly core: Core;
    readonly clock: Clock;
    readonly copies: Pick<Copies, "give" | "released">;
    readonly handOver: Pick<HandOver, "factsOf">;
    /** Another node has the session now. */
    readonly given: (session: string) => void;
    /** Nothing arrives now, and nobody could say whether it has: a session that was given would act nowhere. */
    readonly cutOff: () => boolean;
    /** Asks the other nodes whether one of them has the session. */
    readonly isTaken: (session: string) => Promise<boolean>;
  }) {
    const { core, clock, copies, handOver, given, cutOff, isTaken } = options;
    this.cutOff = cutOff;
    this.isTaken = isTaken;
    this.core = core;
    this.clock = clock;
    this.copies = copies;
    this.handOver = handOver;
    this.given = given;
  }

  /** Whether a session is on its way now. */
  get busy(): boolean {
    return this.under.size > 0;
  }

  /**
   * Whether that session is on its way to another node. This one says then that it does not have it: the other node may
   * ask, and would let go of what it has just got.
   */
  gives(session: string): boolean {
    return this.under.has(session);
  }

  start(): void {
    if (this.timer === undefined && !this.stopped) this.next();
  }

  /** No further ones are given; what is on its way arrives, or comes back. */
  pause(): void {
    this.clock.clearTimeout(this.timer);
  }

  stop(): void {
    this.stopped = true;
    this.pause();
  }

  private next(): void {
    let left = this.cutOff() ? 0 : Math.min(SLICE, MOST_UNDER - this.under.size - this.about.size);
    for (const session of this.core.sessions.values()) {
      if (left <= 0) break;
      if (this.about.has(session.id) || !isAtRest(session)) continue;
      left--;
      void this.give(session);
    }
    this.timer = this.clock.setTimeout(() => this.next(), EVERY_MS);
  }

  private async give(session: Session): Promise<void> {
    this.about.add(session.id);
    try {
      await session.charges.settled();
    } catch {
      return; // a charge is not on disk: the session stays here
    } finally {
      this.about.delete(session.id);
    }
    const state = isAtRest(session) && !this.stopped && !this.cutOff() ? snapshot(session) : undefined;
    if (!state) return;
    const { id } = session;
    const flow = session.client?.dialog.flow;
    const given = this.copies.give(
      id,
      session.now(),
      state,
      flow?.open ? this.handOver.factsOf(flow, true) : undefined,
      {
        arrived: () => this.arrived(id),
        lost: () => void this.lost(state),
      },
    );
    if (!given) return;
    this.under.add(id);
    session.release();
  }

  private arrived(id: string): void {
    this.under.delete(id);
    this.count++;
    this.given(id);
  }

  /** No answer came. If nobody has taken it, it goes on here. */
  private async lost(state: SessionState): Promise<void> {
    const { id } = state.facts;
    if (await this.isTaken(id)) {
      this.copies.released(id);
      this.arrived(id);
      return;
    }
    this.under.delete(id);
    if (!this.stopped && !this.core.sessions.has(id)) goOn(restore(this.core, state), state);
  }
}

/** Whether nothing is under way in a session that stands. */
function isAtRest({ actor, closed, change, transfer, takesOver, client, server }: Session): boolean {
  const { value } = actor.getSnapshot() as { value: unknown };
  const steady =
    typeof value === "object" && value !== null && (value as { established?: unknown }).established === "steady";
  const awaits = [client, server].some((leg) => leg?.answer ?? leg?.coming);
  return steady && !closed && !change && !transfer && !takesOver && !awaits;
}
