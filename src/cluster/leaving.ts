import type { Core } from "../relay/model/core.ts";
import { type Clock, until, within } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import type { Copies } from "./copies.ts";
import type { Fence } from "./fence.ts";
import type { GiveAway } from "./give-away.ts";

/** How long a node that stops waits for what is under way, before the last copies. */
const SETTLES_MS = 2_000;
/**
 * How long it waits for its last copies to lie at their standbys, and before that until it may act. Mostly that is a
 * moment. While NATS is away or chooses its leaders it is longer, and who stopped before would lose its sessions.
 */
const LAST_COPIES_MS = 10_000;
/** The same where somebody has said twice that it is to stop. */
const HURRIED_MS = 2_000;
const POLL_MS = 10;

/** A node that stops leaves its sessions to the other nodes, which take them up as if it had died. */
export class Leaving {
  private readonly core: Core;
  private readonly clock: Clock;
  private readonly log: Logger;
  private readonly fence: Fence;
  private readonly keeper: Pick<Copies, "avoidLeaving" | "changed" | "idle">;
  private readonly away: Pick<GiveAway, "busy" | "pause">;
  private readonly hasHeirs: () => boolean;
  private readonly fallSilent: () => void;

  constructor(options: {
    readonly core: Core;
    /** One that goes on while this node must be silent. */
    readonly clock: Clock;
    readonly log: Logger;
    readonly fence: Fence;
    readonly keeper: Pick<Copies, "avoidLeaving" | "changed" | "idle">;
    readonly away: Pick<GiveAway, "busy" | "pause">;
    /** Whether other nodes would go on with the sessions. */
    readonly hasHeirs: () => boolean;
    /** From now on no other node hears this one. */
    readonly fallSilent: () => void;
  }) {
    const { core, clock, log, fence, keeper, away, hasHeirs, fallSilent } = options;
    this.core = core;
    this.clock = clock;
    this.log = log;
    this.fence = fence;
    this.keeper = keeper;
    this.away = away;
    this.hasHeirs = hasHeirs;
    this.fallSilent = fallSilent;
  }

  /** False: there is no node that has copies, and nothing was done. */
  async leaveSessions(): Promise<boolean> {
    const { core, fence, log } = this;
    // It may be silent for a moment only. Else it has lost its sessions already, or finds out when it starts again.
    await this.until(() => fence.open, this.copiesMs);
    if (fence.open) {
      if (!this.hasHeirs()) return false;
      await this.lastCopies();
      if (fence.open && !this.hasHeirs()) {
        fence.resume();
        return false;
      }
    }
    log.warn({ sessions: core.sessions.size }, "cluster: this node stops, and leaves its sessions to the other nodes");
    fence.close();
    this.fallSilent();
    return true;
  }

  /** What is on its way to other nodes arrives. Then nothing is begun any more, and they get all as it is. */
  private async lastCopies(): Promise<void> {
    const { keeper, away, clock, fence } = this;
    away.pause();
    // What is on its way and does not arrive comes back, as soon as the other nodes can say that they do not have it.
    await this.until(() => !away.busy, this.copiesMs);
    fence.end();
    const lateAt = clock.monotonic() + SETTLES_MS;
    const { sessions, ending } = this.core;
    const settled = Promise.allSettled([
      ...sessions.values().map(({ charges }) => charges.settled()),
      ending.settled(),
    ]);
    await within(clock, Math.max(0, lateAt - clock.monotonic()), settled);
    keeper.avoidLeaving();
    for (const session of sessions.values()) keeper.changed(session);
    await this.until(() => keeper.idle, this.copiesMs);
  }

  private get copiesMs(): number {
    return this.core.hurried ? HURRIED_MS : LAST_COPIES_MS;
  }

  private until(isSo: () => boolean, withinMs: number): Promise<void> {
    return until(this.clock, isSo, withinMs, POLL_MS);
  }
}
