import type { Bus } from "../bus/types.ts";
import type { Config } from "../config/schema.ts";
import { type AdmissionElsewhere, unprovenLimit } from "../relay/admission/admission.ts";
import type { Core } from "../relay/model/core.ts";
import type { Clock, TimerHandle } from "../support/clock.ts";
import type { PeerLog } from "../support/peer-log.ts";
import type { NodeRun } from "./beat.ts";
import { type Challengers, SharedChallenges } from "./shared-challenges.ts";
import { SharedContacts } from "./shared-contacts.ts";
import { SharedFlows } from "./shared-flows.ts";
import { SharedKeys } from "./shared-keys.ts";
import { SharedLoads } from "./shared-loads.ts";
import { SharedLockOuts } from "./shared-lock-outs.ts";
import { SharedNonces } from "./shared-nonces.ts";
import { SharedProofs } from "./shared-proofs.ts";
import { SharedRates } from "./shared-rates.ts";
import { type Peers, Talk } from "./talk.ts";

/** How often it is looked which nodes have come and gone. */
const LOOK_MS = 50;

/** What all nodes know alike is asked for of so many: of more than one, since it may have come just now, too. */
const TELLERS = 2;

/** A part of what holds for all nodes together. */
interface Part {
  /**
   * Another node wants to know what there is: it has come anew, or was cut off. `wantsAll`: also what all nodes know
   * alike.
   */
  greet?(run: NodeRun, wantsAll: boolean): void;
  /** A node is not there any more, or not in this run. */
  gone?(node: string): void;
  /** Called twenty times a second. */
  look?(): void;
  stop?(): void;
}

/**
 * What holds for all nodes of the cluster together: sign-in, rates, lock-outs, what users have under way. When a node
 * comes, or hears the others again, it asks each of them for what there is.
 */
export class Shared {
  readonly nonces: SharedNonces;
  readonly rates: SharedRates;
  readonly lockOuts: SharedLockOuts;
  readonly proofs: SharedProofs;
  readonly loads: SharedLoads;
  readonly contacts: SharedContacts;
  readonly flows: SharedFlows;
  readonly keys: SharedKeys;
  readonly challenges: SharedChallenges;
  private readonly peers: Peers;
  private readonly clock: Clock;
  private readonly talk: Talk;
  private readonly parts: readonly Part[];
  /** The runs that were greeted, by their nodes. */
  private readonly greeted = new Map<string, number>();
  /** There was a gap: nobody knows what this node has not heard. */
  private missed = false;
  /** How many nodes were greeted since the start, or the last gap. */
  private asked = 0;
  private timer: TimerHandle;

  constructor(options: {
    readonly self: NodeRun;
    readonly bus: Pick<Bus, "tell" | "hear" | "keys">;
    readonly clock: Clock;
    readonly peerLog: PeerLog;
    readonly peers: Peers;
  }) {
    const { bus, clock, peers } = options;
    this.peers = peers;
    this.clock = clock;
    this.talk = new Talk(options);
    const { talk } = this;
    this.nonces = new SharedNonces({ talk, peers, clock, keys: (purpose) => bus.keys?.(purpose) ?? [] });
    this.rates = new SharedRates({ talk, peers, clock });
    this.lockOuts = new SharedLockOuts({ talk, clock });
    this.proofs = new SharedProofs(talk);
    this.keys = new SharedKeys(talk);
    this.challenges = new SharedChallenges(talk);
    this.loads = new SharedLoads({ talk, peers, clock });
    this.contacts = new SharedContacts({ talk, clock });
    this.flows = new SharedFlows({ talk, clock });
    this.parts = [this.nonces, this.rates, this.lockOuts, this.proofs, this.loads, this.contacts, this.flows];
    talk.on("hello", ([, wantsAll], from) => {
      for (const part of this.parts) part.greet?.(from, wantsAll === 1);
    });
  }

  /** The rates that this node keeps together with the others. */
  admission(limits: Pick<Config["limits"], "perSourcePerSecond" | "perUnprovenSourcePerSecond">): AdmissionElsewhere {
    const { perSourcePerSecond, perUnprovenSourcePerSecond } = limits;
    const { rates, proofs } = this;
    return {
      all: rates.rate("sources", perSourcePerSecond),
      unproven: rates.rate("unproven sources", unprovenLimit(perSourcePerSecond, perUnprovenSourcePerSecond)),
      proved: proofs.proved,
    };
  }

  /** Where what others tell goes. */
  attach({
    authenticator,
    admission,
    loads,
    bindings,
    calls,
  }: Pick<Core, "authenticator" | "admission" | "loads" | "bindings"> & {
    readonly calls: Challengers;
  }): void {
    this.challenges.attach(calls);
    this.contacts.attach(bindings);
    if (authenticator.guesses) this.lockOuts.attach(authenticator.guesses);
    this.proofs.attach(admission);
    this.loads.attach(loads);
  }

  start(): void {
    this.talk.start();
    this.loads.start();
    this.look();
  }

  stop(): void {
    this.clock.clearTimeout(this.timer);
    for (const part of this.parts) part.stop?.();
    this.talk.stop();
  }

  /** What was told since the start. */
  counters(): Readonly<Record<string, number>> {
    const { frames, lines, heard, dropped, refused } = this.talk.stats;
    const { asked, stale } = this.nonces.stats;
    const { loads } = this;
    return {
      sharedFrames: frames,
      sharedLines: lines,
      sharedHeard: heard,
      sharedDropped: dropped,
      sharedRefused: refused,
      sharedNonces: asked,
      sharedNoncesStale: stale,
      sharedLoads: loads.stats.asked,
      sharedLoadsUnknown: loads.stats.unknown,
      sharedPolls: loads.polls,
    };
  }

  private look(): void {
    const { heardSince, safeUntil } = this.peers;
    if (heardSince === undefined || this.clock.monotonic() >= safeUntil) this.missed = true;
    else if (this.missed) {
      this.missed = false;
      this.greeted.clear();
      this.asked = 0;
    }
    const runs = this.peers.runs();
    for (const [node, epoch] of this.greeted) {
      if (runs.some((run) => run.node === node && run.epoch === epoch)) continue;
      this.greeted.delete(node);
      for (const part of this.parts) part.gone?.(node);
    }
    for (const { node, epoch } of runs) {
      if (this.greeted.has(node)) continue;
      this.greeted.set(node, epoch);
      this.talk.tellTo(node, ["hello", this.asked++ < TELLERS ? 1 : 0]);
    }
    for (const part of this.parts) part.look?.();
    this.timer = this.clock.setTimeout(() => this.look(), LOOK_MS);
  }
}
