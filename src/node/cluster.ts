import { hostname } from "node:os";
import { type EventLoopUtilization, performance } from "node:perf_hooks";
import type { Bus } from "../bus/types.ts";
import type { ChargingEvent } from "../charging/events/events.ts";
import { Copies } from "../cluster/copies.ts";
import { Heart, type Load } from "../cluster/heart.ts";
import { Holder } from "../cluster/holder.ts";
import { Members, type MemberView } from "../cluster/members.ts";
import { Shared } from "../cluster/shared.ts";
import type { Config } from "../config/schema.ts";
import type { Core, SessionKeeper } from "../relay/model/core.ts";
import type { Recorder } from "../relay/model/ports.ts";
import type { Clock } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import type { PeerLog } from "../support/peer-log.ts";
import { version } from "../support/version.ts";
import { nextEpoch } from "./epoch.ts";

/** This node among the others that share its bus (P3). */
export interface Cluster {
  /** Undefined: no copies of this node's sessions are kept. */
  readonly keeper: SessionKeeper | undefined;
  /** What holds for all nodes together; undefined: each node stands for itself. */
  readonly shared: Shared | undefined;
  /** Wraps the recorder, so that what it records of a session also goes into the session's copy. */
  recording(recorder: Recorder): Recorder;
  /** From now on this node hears the other nodes, and they hear this node. */
  start(core: Core): void;
  /** Tells the other nodes that this node leaves, so that they do not call it dead. */
  leave(): void;
  /** All nodes, as they are seen from here. */
  nodes(): MemberView[];
  gauges(): Readonly<Record<string, number>>;
  counters(): Readonly<Record<string, number>>;
}

/** Throws if the data folder cannot be written. Nothing is sent before `start`. */
export function joinCluster(options: {
  readonly bus: Pick<Bus, "tell" | "hear" | "keys">;
  readonly node: string;
  readonly config: Pick<Config, "data" | "cluster">;
  readonly clock: Clock;
  readonly log: Logger;
  readonly peerLog: PeerLog;
}): Cluster {
  const { bus, node, config, clock, log, peerLog } = options;
  const epoch = nextEpoch(config.data, clock.wall());
  const { zone = "", standbys } = config.cluster;
  const self = { node, epoch };
  const holder = new Holder({ node, bus, clock, peerLog });
  const places = () => members.places();
  const copies = standbys ? new Copies({ self, zone, bus, clock, peerLog, places }) : undefined;
  const members: Members = new Members({
    self,
    clock,
    log,
    peerLog,
    listener: {
      joined: () => copies?.joined(),
      died: (beat) => gone(beat.node),
      left: (beat) => gone(beat.node),
    },
  });
  const gone = (other: string) => {
    copies?.gone(other);
    holder.forget(other);
  };
  const shared = config.cluster.shared ? new Shared({ self, bus, clock, peerLog, peers: members }) : undefined;
  let core: Core | undefined;
  const busy = busyPercent();
  const load = (): Load => ({
    state: core?.draining ? "draining" : "up",
    sessions: core?.sessions.size ?? 0,
    requests: core?.requests.size ?? 0,
    standbys: holder.size,
    lagMs: copies?.lagMs ?? 0,
    busy: busy(),
  });
  const host = hostname()
    .replace(/[^\x20-\x7e]/g, "?")
    .slice(0, 100);
  const heart = new Heart({ bus, clock, identity: { ...self, host, zone, release: version() }, load, members });
  return {
    keeper: copies,
    shared,
    recording: (recorder) => (copies ? new CopiedRecorder(recorder, copies) : recorder),
    start: (started) => {
      core = started;
      if (standbys) holder.start();
      copies?.start(started);
      heart.start();
      shared?.start();
    },
    leave: () => {
      shared?.stop();
      heart.stop();
      copies?.stop();
      holder.stop();
    },
    nodes: () => members.views(),
    counters: () => shared?.counters() ?? {},
    gauges: () => ({
      clusterNodesUp: members.up,
      clusterCutOff: members.cutOff ? 1 : 0,
      clusterStandbys: holder.size,
      ...(copies && {
        clusterCopied: copies.size,
        clusterWithoutStandby: copies.withoutStandby,
        clusterLagMs: copies.lagMs,
      }),
    }),
  };
}

/** How much of the time since the last question the event loop was busy, in percent. */
function busyPercent(): () => number {
  let before: EventLoopUtilization | undefined;
  return () => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, before);
    before = now;
    return Math.round(utilization * 100);
  };
}

/** One keeper for both: the one that keeps sessions on disk, and the one that keeps copies on another node. */
export function together(keepers: readonly (SessionKeeper | undefined)[]): SessionKeeper | undefined {
  const all = keepers.filter((keeper) => keeper !== undefined);
  if (all.length < 2) return all[0];
  return {
    changed: (session) => {
      for (const keeper of all) keeper.changed(session);
    },
    closed: (session) => {
      for (const keeper of all) keeper.closed(session);
    },
  };
}

/** Puts a charge into the session's copy as soon as the charge is on record here. */
class CopiedRecorder implements Recorder {
  private readonly recorder: Recorder;
  private readonly copies: Copies;

  constructor(recorder: Recorder, copies: Copies) {
    this.recorder = recorder;
    this.copies = copies;
  }

  append(event: ChargingEvent): Promise<void> {
    const recorded = this.recorder.append(event);
    if (event.type !== "charge.made") return recorded;
    return recorded.then(() => this.copies.charged(event.session.id));
  }

  get full(): boolean {
    return this.recorder.full;
  }
}
