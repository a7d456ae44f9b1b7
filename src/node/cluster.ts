import { hostname } from "node:os";
import { type EventLoopUtilization, performance } from "node:perf_hooks";
import type { Bus } from "../bus/types.ts";
import { Heart, type Load } from "../cluster/heart.ts";
import { Members, type MemberView } from "../cluster/members.ts";
import type { Config } from "../config/schema.ts";
import type { Core } from "../relay/model/core.ts";
import type { Clock } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import type { PeerLog } from "../support/peer-log.ts";
import { version } from "../support/version.ts";
import { nextEpoch } from "./epoch.ts";

/** This node among the others that share its bus (P3). */
export interface Cluster {
  /** From now on the others hear of it, and it of them. */
  start(): void;
  /** The others know that it goes: nobody calls it dead. */
  leave(): void;
  /** All nodes, as they are seen from here. */
  nodes(): MemberView[];
  /** How many nodes are up, with this one. */
  readonly up: number;
  /** True while it does not hear itself over the bus, and so cannot know who is there. */
  readonly cutOff: boolean;
}

/** Throws where the data folder cannot be written. */
export function joinCluster(options: {
  readonly core: Pick<Core, "sessions" | "requests" | "draining">;
  readonly bus: Pick<Bus, "tell" | "hear">;
  readonly node: string;
  readonly config: Pick<Config, "data" | "cluster">;
  readonly clock: Clock;
  readonly log: Logger;
  readonly peerLog: PeerLog;
}): Cluster {
  const { core, bus, node, config, clock, log, peerLog } = options;
  const epoch = nextEpoch(config.data, clock.wall());
  const zone = config.cluster.zone ?? "";
  const host = hostname()
    .replace(/[^\x20-\x7e]/g, "?")
    .slice(0, 100);
  const members = new Members({ self: { node, epoch }, clock, log, peerLog });
  let before: EventLoopUtilization | undefined;
  const load = (): Load => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, before);
    before = now;
    return {
      state: core.draining ? "draining" : "up",
      sessions: core.sessions.size,
      requests: core.requests.size,
      busy: Math.round(utilization * 100),
    };
  };
  const identity = { node, epoch, host, zone, release: version() };
  const heart = new Heart({ bus, clock, identity, load, members });
  return {
    start: () => heart.start(),
    leave: () => heart.stop(),
    nodes: () => members.views(),
    get up() {
      return members.up;
    },
    get cutOff() {
      return members.cutOff;
    },
  };
}
