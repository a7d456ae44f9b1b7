import type { Clock } from "../support/clock.ts";
import type { NodeRun } from "./beat.ts";
import type { Heritage } from "./heritage.ts";
import type { Holder } from "./holder.ts";

/** A node that was started anew says within this time which sessions it goes on with; else the others take them up. */
const HAVE_WITHIN_MS = 5_000;

/**
 * A node that was started anew goes on with what it has on disk. The rest of what its run before has left here is taken
 * up as soon as the node has said what it has. If it never says so, it is asked.
 */
export class Restarts {
  private readonly clock: Pick<Clock, "setTimeout" | "clearTimeout">;
  private readonly holder: Pick<Holder, "runOf">;
  private readonly heritage: Pick<Heritage, "died" | "whenSure">;
  /** By the names of the nodes that have not said yet what they have: ends the wait. */
  private readonly waits = new Map<string, () => void>();

  constructor(options: {
    readonly clock: Pick<Clock, "setTimeout" | "clearTimeout">;
    readonly holder: Pick<Holder, "runOf">;
    readonly heritage: Pick<Heritage, "died" | "whenSure">;
  }) {
    const { clock, holder, heritage } = options;
    this.clock = clock;
    this.holder = holder;
    this.heritage = heritage;
  }

  /** The node was started anew. `before`: its run until then. */
  anew(before: NodeRun): void {
    const { node } = before;
    this.waits.get(node)?.();
    const timer = this.clock.setTimeout(() => {
      this.waits.delete(node);
      this.heritage.whenSure(before);
    }, HAVE_WITHIN_MS);
    this.waits.set(node, () => this.clock.clearTimeout(timer));
  }

  /** That run goes on with these sessions of the run before. */
  has(run: NodeRun, sessions: ReadonlySet<string>): void {
    this.waits.get(run.node)?.();
    this.waits.delete(run.node);
    const before = this.holder.runOf(run.node);
    if (before && before.epoch < run.epoch) this.heritage.died(before, sessions);
  }

  stop(): void {
    for (const end of this.waits.values()) end();
  }
}
