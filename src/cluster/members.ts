import type { Clock } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import type { PeerLog } from "../support/peer-log.ts";
import { type Beat, type NodeRun, readBeat } from "./beat.ts";
import type { DirectPeer, Told } from "./direct.ts";
import type { Place } from "./placing.ts";

/** A node that is not heard for so long is dead. It is four beats, since one or two may be late on a busy machine. */
export const DEAD_MS = 450;
/** If nobody has looked for so long, the event loop stood still: beats may have come that were not read yet. */
const STOOD_STILL_MS = 200;
/** A node that does not hear itself for so long is cut off. It knows so before the others call it dead. */
export const CUT_OFF_MS = 300;
/**
 * A dead node that comes back within this time may take up sessions from the copies that it has. A node that comes back
 * later does not.
 */
export const RETURNS_MS = 60_000;
/** Dead nodes, and those that left, are shown for so long. */
const SHOWN_MS = 3_600_000;
/** How many nodes are known at most, so that nobody who may publish can fill the memory. */
const MAX_MEMBERS = 256;

/** `unheard`: the node that was asked is cut off, and cannot know. */
export type MemberState = "up" | "draining" | "left" | "dead" | "unheard";

/** One node, as it is seen from here. */
export interface MemberView extends Omit<Beat, "version" | "number" | "state" | "direct"> {
  readonly state: MemberState;
  /** True for the node that was asked. */
  readonly self: boolean;
  /** Milliseconds since its last beat came. */
  readonly heardMsAgo: number;
}

/** Hears what becomes of the other nodes. */
export interface MembersListener {
  /** The node is there, or there again. */
  joined?(beat: Beat): void;
  /** The node has not been heard for `DEAD_MS`. Nobody has the sessions that it had. */
  died?(beat: Beat): void;
  /** The node was started anew. It goes on with the sessions of its run before, as far as it has them on disk. */
  restarted?(before: Beat): void;
  /** The node said that it leaves. It has no sessions left. */
  left?(beat: Beat): void;
  /** Another node has said, not over NATS, that it hears this one. */
  confirmed?(): void;
  /** This node hears itself again, after so long. Others may have called it dead meanwhile. */
  together?(silentMs: number): void;
}

interface Member {
  beat: Beat;
  heardAt: number;
  /** When it was heard over NATS. */
  natsAt: number;
  state: "up" | "left" | "dead";
  /** When a beat of this node was said that the member has heard, as it says by a direct beat. */
  confirmedAt: number;
  /** How often it has called this node dead, as it says by a direct beat. */
  deaths: number;
  /** Nobody listens at the member's address any more: its process is gone. */
  refused: boolean;
}

/**
 * The nodes of the cluster, as their beats show them. It sends nothing: others tell it what was heard, and when to
 * look.
 *
 * A node that does not hear its own beats cannot tell whether the other nodes are gone or it is cut off itself. So it
 * calls nobody dead. When it hears itself again, all others have the whole time again.
 */
export class Members {
  private readonly self: NodeRun;
  private readonly clock: Pick<Clock, "monotonic">;
  private readonly log: Logger;
  private readonly peerLog: PeerLog;
  private readonly listener: MembersListener;
  private readonly known = new Map<string, Member>();
  /** When this node began to hear itself, at first or again after a gap; undefined: it never has. */
  private togetherSince: number | undefined;
  /** When this node said its last beats, by their numbers. */
  private readonly saidAt = new Map<number, number>();
  private lookedAt = 0;
  /** When a beat, of whichever node, came over NATS last. */
  natsHeardAt = Number.NEGATIVE_INFINITY;
  private othersUp = 0;
  /** When a beat was said that all others have heard, as they say by direct beats. */
  private confirmedAt = Number.NEGATIVE_INFINITY;
  /** Until when a dead node may come back that still has copies of use. */
  private returnsUntil = Number.NEGATIVE_INFINITY;
  private warned = false;

  constructor(options: {
    readonly self: NodeRun;
    readonly clock: Pick<Clock, "monotonic">;
    readonly log: Logger;
    readonly peerLog: PeerLog;
    readonly listener?: MembersListener;
  }) {
    const { self, clock, log, peerLog, listener = {} } = options;
    this.self = self;
    this.clock = clock;
    this.log = log;
    this.peerLog = peerLog;
    this.listener = listener;
  }

  /** True while this node does not hear itself: the bus is away, or this node was stopped for a while. */
  get cutOff(): boolean {
    return !this.hearsItself(this.clock.monotonic());
  }

  /**
   * Until when no other node can call this one dead, by the monotonic clock. For ever, as long as there are no others,
   * and none that is dead and may come back.
   * It counts from when a beat was said that has come back: the others cannot have heard it before.
   */
  get safeUntil(): number {
    const own = this.known.get(this.self.node);
    if (own === undefined || (this.othersUp === 0 && !this.mayReturn)) return Number.POSITIVE_INFINITY;
    return (this.mayReturn ? own.heardAt : Math.max(own.heardAt, this.confirmedAt)) + CUT_OFF_MS;
  }

  /** Whether a dead node may come back, and call this one dead. */
  get mayReturn(): boolean {
    return this.clock.monotonic() < this.returnsUntil;
  }

  /** The other nodes that hear beats that do not go over NATS. */
  direct(): DirectPeer[] {
    const peers: DirectPeer[] = [];
    for (const [node, { beat, state }] of this.known)
      if (state === "up" && node !== this.self.node && beat.direct)
        peers.push({ node, direct: beat.direct, heard: beat.number });
    return peers;
  }

  /**
   * Takes a beat that came from node to node. It counts as any other; and it says which beat of this node was heard.
   * Nodes that were never heard over NATS are not known.
   */
  heardDirectly(text: string, { heard, deaths, from, isSigned }: Told): void {
    const read = readBeat(text);
    const member = read.ok ? this.known.get(read.value.node) : undefined;
    if (!read.ok || !member || read.value.node === this.self.node || read.value.epoch < member.beat.epoch) return;
    if (!isSigned && !comesFrom(member.beat, from)) {
      this.peerLog.warn("cluster: a beat from an address that is not its node's", from, { node: read.value.node });
      return;
    }
    member.confirmedAt = Math.max(member.confirmedAt, this.saidAt.get(heard) ?? member.confirmedAt);
    member.deaths = deaths;
    member.refused = false;
    this.takeBeat(text, false);
    this.confirm();
    this.listener.confirmed?.();
  }

  /** How often each of the others has called this node dead, as far as they have said so by direct beats. */
  deaths(): { readonly run: NodeRun; readonly deaths: number }[] {
    const all = [];
    for (const [node, { beat, state, refused, deaths }] of this.known)
      if (state === "up" && !refused && node !== this.self.node) all.push({ run: beat, deaths });
    return all;
  }

  /** Nobody listens at that node's address any more. */
  refused(node: string): void {
    const member = this.known.get(node);
    if (!member) return;
    member.refused = true;
    this.confirm();
  }

  /** Since when all others that may be there have heard this node. */
  private confirm(): void {
    let least = Number.POSITIVE_INFINITY;
    let lastDead = Number.NEGATIVE_INFINITY;
    for (const [node, { state, refused, confirmedAt, heardAt }] of this.known) {
      if (refused || node === this.self.node) continue;
      if (state === "up") least = Math.min(least, confirmedAt);
      else if (state === "dead") lastDead = Math.max(lastDead, heardAt);
    }
    this.confirmedAt = least;
    this.returnsUntil = lastDead + RETURNS_MS;
  }

  /** This node is about to say a beat. */
  says(number: number): void {
    this.saidAt.set(number, this.clock.monotonic());
    this.saidAt.delete(number - SAID_KEPT);
  }

  /** Takes a beat that came over the bus. */
  heard(text: string): void {
    this.takeBeat(text, true);
  }

  private takeBeat(text: string, overNats: boolean): void {
    const read = readBeat(text);
    if (!read.ok) {
      this.peerLog.warn("cluster: a beat that is none was heard", "", { why: read.error });
      return;
    }
    const beat = read.value;
    const now = this.clock.monotonic();
    const before = this.known.get(beat.node);
    if (beat.node === this.self.node && beat.epoch !== this.self.epoch) {
      // Its own beat of an earlier run may still be on the way.
      if (beat.epoch > this.self.epoch)
        this.peerLog.error("cluster: another node has this one's name: a copied data folder?", "", { beat });
      return;
    }
    if (overNats) this.natsHeardAt = now;
    if (overNats && before && before.beat.epoch === beat.epoch) before.natsAt = now;
    if (before && !isLater(beat, before.beat)) return; // out of order, or an old beat that somebody sent again
    if (!before && this.known.size >= MAX_MEMBERS && !this.forgetOne()) {
      this.peerLog.warn("cluster: too many nodes; one more is not looked at", "", { node: beat.node });
      return;
    }
    if (beat.node === this.self.node) this.heardItself(beat, now);
    else this.take(beat, before, now, overNats);
  }

  private heardItself(beat: Beat, now: number): void {
    const saidAt = this.saidAt.get(beat.number);
    if (saidAt === undefined) return; // said so long ago that it proves nothing
    const isNew = this.togetherSince === undefined;
    const wasCutOff = !this.hearsItself(now);
    const wasSafe = now < this.safeUntil;
    const before = this.known.get(beat.node);
    const own = { beat, heardAt: saidAt, natsAt: saidAt, confirmedAt: saidAt, deaths: 0, refused: false };
    this.known.set(beat.node, { ...own, state: "up" });
    if (!wasCutOff) return;
    this.together(now);
    if (!isNew && !wasSafe) this.listener.together?.(before ? now - before.heardAt : 0);
  }

  private take(beat: Beat, before: Member | undefined, now: number, overNats: boolean): void {
    const { node, epoch, host, zone, release } = beat;
    const isAnew = before !== undefined && before.state === "up" && before.beat.epoch !== epoch;
    const wasUp = before?.state === "up" && !isAnew;
    const state = beat.state === "leaving" ? "left" : "up";
    const confirmedAt = isAnew || !before ? Number.NEGATIVE_INFINITY : before.confirmedAt;
    const natsAt = overNats ? now : (before?.natsAt ?? Number.NEGATIVE_INFINITY);
    const deaths = before?.deaths ?? 0;
    this.known.set(node, { beat, heardAt: now, natsAt, state, confirmedAt, deaths, refused: false });
    if (wasUp !== (state === "up")) this.countOthers();
    if (before && isAnew) {
      this.log.warn({ node, epoch, host, zone }, "cluster: a node was started anew");
      this.listener.restarted?.(before.beat);
    }
    if (state === "up" && !wasUp) {
      this.log.info({ node, epoch, host, zone, release }, "cluster: a node is there");
      this.listener.joined?.(beat);
    } else if (state === "left" && before?.state !== "left") {
      this.log.info({ node, epoch, host, zone }, "cluster: a node has left");
      this.listener.left?.(beat);
    }
  }

  /** Looks for nodes that have not been heard for too long. Called with each beat of this node. */
  look(): void {
    const now = this.clock.monotonic();
    if (now - this.lookedAt > STOOD_STILL_MS && this.togetherSince !== undefined) this.togetherSince = now;
    this.lookedAt = now;
    if (!this.hearsItself(now)) {
      if (this.togetherSince !== undefined && !this.warned) {
        this.warned = true;
        this.log.warn("cluster: this node does not hear itself over NATS: it cannot tell who is there");
      }
      // Whose process is gone can have no sessions.
      for (const member of this.known.values())
        if (member.refused && member.state === "up" && now - member.heardAt >= DEAD_MS) this.died(member);
      return;
    }
    for (const member of this.known.values()) {
      const { node } = member.beat;
      if (node === this.self.node || member.state !== "up") continue;
      const silentMs = now - Math.max(member.heardAt, this.togetherSince ?? now);
      if (silentMs >= DEAD_MS) this.died(member);
    }
  }

  /** All nodes in the order of their names, as they are seen from here now. */
  views(): MemberView[] {
    const now = this.clock.monotonic();
    const knows = this.hearsItself(now);
    const views: MemberView[] = [];
    for (const [node, { beat, heardAt, state }] of this.known) {
      const self = node === this.self.node;
      const heardMsAgo = now - heardAt;
      if (!self && state !== "up" && heardMsAgo > SHOWN_MS) {
        this.known.delete(node);
        continue;
      }
      const { version: _version, number: _number, direct: _direct, state: said, ...shown } = beat;
      const alive = said === "draining" ? "draining" : "up";
      const seen = state !== "up" ? state : self || knows ? alive : "unheard";
      views.push({ ...shown, state: seen, self, heardMsAgo });
    }
    return views.sort((a, b) => (a.node < b.node ? -1 : 1));
  }

  /** The other nodes that take new sessions, and so may keep copies. */
  places(): Place[] {
    const places: Place[] = [];
    for (const { beat, state } of this.known.values())
      if (state === "up" && beat.state === "up" && beat.node !== this.self.node) places.push(beat);
    return places;
  }

  /** Since when this node has heard itself without a gap; undefined: it does not hear itself. */
  get heardSince(): number | undefined {
    return this.cutOff ? undefined : this.togetherSince;
  }

  /** The other nodes that are up or draining, each in its present run. */
  runs(): NodeRun[] {
    const runs: NodeRun[] = [];
    for (const { beat, state } of this.known.values())
      if (state === "up" && beat.node !== this.self.node) runs.push({ node: beat.node, epoch: beat.epoch });
    return runs;
  }

  /** The present run of that other node, if the node is up or draining. */
  runOf(node: string): NodeRun | undefined {
    const member = this.known.get(node);
    return member?.state === "up" && node !== this.self.node ? member.beat : undefined;
  }

  /** The names of the other nodes that are up or draining. */
  others(): string[] {
    const names: string[] = [];
    for (const [node, { state }] of this.known) if (state === "up" && node !== this.self.node) names.push(node);
    return names;
  }

  /** The other nodes that are up or draining, and are not heard over NATS now. */
  withoutNats(): string[] {
    const before = this.clock.monotonic() - CUT_OFF_MS;
    const names: string[] = [];
    for (const [node, { state, natsAt }] of this.known)
      if (state === "up" && natsAt <= before && node !== this.self.node) names.push(node);
    return names;
  }

  /** Whether that is the address at which the node says that it hears beats. */
  comesFrom(node: string, address: string): boolean {
    const member = this.known.get(node);
    return member !== undefined && comesFrom(member.beat, address);
  }

  /** How many nodes are up or draining, this one included. */
  get up(): number {
    let up = 0;
    for (const { state } of this.known.values()) if (state === "up") up++;
    return up;
  }

  private died(member: Member): void {
    const { node, epoch, host, zone, sessions } = member.beat;
    member.state = "dead";
    this.countOthers();
    this.log.error({ node, epoch, host, zone, sessions }, "cluster: a node is dead: it is not heard any more");
    this.listener.died?.(member.beat);
  }

  private countOthers(): void {
    this.confirm();
    this.othersUp = this.up - (this.known.has(this.self.node) ? 1 : 0);
  }

  private hearsItself(now: number): boolean {
    const own = this.known.get(this.self.node);
    return own !== undefined && now - own.heardAt < CUT_OFF_MS;
  }

  private together(now: number): void {
    if (this.warned) this.log.info("cluster: this node hears itself again");
    this.togetherSince = now;
    this.warned = false;
  }

  /** Makes room for another node: forgets the one that has been gone longest. */
  private forgetOne(): boolean {
    let oldest: Member | undefined;
    for (const member of this.known.values())
      if (member.state !== "up" && (!oldest || member.heardAt < oldest.heardAt)) oldest = member;
    return oldest !== undefined && this.known.delete(oldest.beat.node);
  }
}

/** Beats said longer ago than this many beats are forgotten. */
const SAID_KEPT = 8;

/** Whether the address is the one at which the node says that it hears beats. */
const comesFrom = ({ direct = "" }: Beat, address: string): boolean =>
  direct.slice(0, direct.lastIndexOf(":")).replace(/^\[|\]$/g, "") === address;

const isLater = (beat: Beat, than: Beat): boolean =>
  beat.epoch > than.epoch || (beat.epoch === than.epoch && beat.number > than.number);
