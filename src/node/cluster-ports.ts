import type { ChargingEvent } from "../charging/events/events.ts";
import type { MemberView } from "../cluster/member-view.ts";
import type { Shared } from "../cluster/shared.ts";
import type { Core, SessionKeeper } from "../relay/model/core.ts";
import type { Recorder } from "../relay/model/ports.ts";
import type { Router } from "../relay/router.ts";
import type { Clock } from "../support/clock.ts";
import type { TransportUser } from "../transport/types.ts";

/* What a node has of the cluster, and the cluster of the node. */

/** This node among the others that share its bus (P3). */
export interface Cluster {
  /** Undefined: no copies of this node's sessions are kept. */
  readonly keeper: SessionKeeper | undefined;
  /** What holds for all nodes together; undefined: each node stands for itself. */
  readonly shared: Shared | undefined;
  /** For all that acts for sessions: its timers wait while others may have taken the sessions up. */
  readonly clock: Clock;
  /** Whether nothing may be sent now, for the same reason. */
  mutes(): boolean;
  /** Sends it when that is over, unless others have taken something up. */
  sendLater(bytes: number, send: () => void): void;
  /** Passes on what comes, except in that time. */
  before(user: TransportUser): TransportUser;
  /** Wraps the recorder, so that what it records is also at a standby. */
  recording(recorder: Recorder): Recorder;
  /** The bus has taken these events. */
  published(events: readonly ChargingEvent[]): void;
  /** For a node that starts: which sessions of its run before have others taken up? */
  takenBefore(): Promise<ReadonlySet<string>>;
  /**
   * From now on this node hears the other nodes, and they hear this node. `has`: the sessions of its run before that go
   * on, or have ended, here. Others take up what else that run had.
   */
  start(relay: Relayed, has: readonly string[]): void;
  /** This node is about to stop: its sessions go to other nodes, one by one. */
  giveAway(): void;
  /** Whether sessions are on their way to other nodes, or were given to them since the start. */
  readonly giving: "no" | "now" | "done";
  /** Whether other nodes would go on with the sessions of this one. */
  readonly hasHeirs: boolean;
  /**
   * What is left here goes on at the other nodes, which take it up as if this node had died; nothing is sent from here
   * any more. False: there is no node that has copies, and nothing was done.
   */
  leaveSessions(): Promise<boolean>;
  /** Has another node drained. Throws where there is none of that name. */
  drain(node: string, withinMs: number | undefined): void;
  /** Called when another node has this one drained. */
  onDrain(drain: (withinMs: number | undefined) => void): void;
  /** Tells the other nodes that this node leaves, so that they do not call it dead. */
  leave(): void;
  /** All nodes, as they are seen from here. */
  nodes(): MemberView[];
  gauges(): Readonly<Record<string, number>>;
  counters(): Readonly<Record<string, number>>;
}

/** The parts of the relay that the cluster needs. */
export interface Relayed {
  readonly core: Core;
  readonly transactions: TransportUser;
  readonly router: Pick<Router, "knows">;
}
