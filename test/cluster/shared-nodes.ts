import type { NodeRun } from "../../src/cluster/beat.ts";
import { Shared } from "../../src/cluster/shared.ts";
import { PeerLog } from "../../src/support/peer-log.ts";
import { silent } from "../charging/samples.ts";
import { TestClock } from "../support/test-clock.ts";
import { Wire } from "./wire.ts";

/**
 * Nodes that share what holds for all, over an in-memory bus, on one turned clock. Each sees who is there as it is
 * told.
 */
export class SharedNodes {
  readonly clock = new TestClock();
  readonly wire = new Wire();
  /** Which nodes are up. */
  readonly up = new Map<string, NodeRun>();
  /** Since when each node hears itself. */
  readonly heardSince = new Map<string, number | undefined>();
  private readonly keys: (purpose: string) => readonly Buffer[];

  constructor(keys: (purpose: string) => readonly Buffer[] = () => []) {
    this.keys = keys;
  }

  /** A node that has been told nothing yet; `start` it. */
  make(node: string, options: Partial<ConstructorParameters<typeof Shared>[0]> = {}, epoch = 1): Shared {
    const { clock, wire, up, heardSince } = this;
    const self = { node, epoch };
    up.set(node, self);
    heardSince.set(node, clock.monotonic());
    const peers = {
      get heardSince() {
        return heardSince.get(node);
      },
      safeUntil: Number.POSITIVE_INFINITY,
      runs: () => [...up.values()].filter((run) => run.node !== node),
      runOf: (other: string) => (other === node ? undefined : up.get(other)),
    };
    const bus = { ...wire.of(node), keys: this.keys };
    return new Shared({ self, bus, clock, peerLog: new PeerLog({ log: silent, clock }), peers, ...options });
  }

  async settle(): Promise<void> {
    for (let i = 0; i < 20; i++) await Promise.resolve();
  }
}
