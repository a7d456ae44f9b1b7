import type { Core } from "../relay/model/core.ts";
import { type Clock, pause, within } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import type { Copies } from "./copies.ts";
import type { Fence } from "./fence.ts";
import type { GiveAway } from "./give-away.ts";

/** How long a node that stops waits for its last copies to lie at their standbys. */
const LAST_COPIES_MS = 2_000;
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
    // A node that must be silent has lost its sessions already, or finds out when it starts again.
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
    const lateAt = clock.monotonic() + LAST_COPIES_MS;
    const until = async (isSo: () => boolean) => {
      while (!isSo() && clock.monotonic() < lateAt) await pause(clock, POLL_MS);
    };
    away.pause();
    await until(() => !away.busy);
    fence.end();
    const { sessions, ending } = this.core;
    const settled = Promise.allSettled([
      ...sessions.values().map(({ charges }) => charges.settled()),
      ending.settled(),
    ]);
    await within(clock, lateAt - clock.monotonic(), settled);
    keeper.avoidLeaving();
    for (const session of sessions.values()) keeper.changed(session);
    await until(() => keeper.idle);
  }
}
