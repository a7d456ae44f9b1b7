import type { Clock } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import type { PeerLog } from "../support/peer-log.ts";
import { type Beat, type Heard, heardOf, type NodeRun, readBeat, writeHeard } from "./beat.ts";
import type { DirectPeer, Told } from "./direct.ts";
import { DEAD_MS, MARGIN_MS, MOST_PATIENCE_MS, Patience, RoundTrip } from "./patience.ts";
import type { Place } from "./placing.ts";
import type { Witness } from "./witness.ts";

export { DEAD_MS };

/** If nobody has looked for so long, the event loop stood still: beats may have come that were not read yet. */
const STOOD_STILL_MS = 200;
/** A node that does not hear itself for so long is cut off. It knows so before the others call it dead. */
export const CUT_OFF_MS = DEAD_MS - MARGIN_MS;
/** So long before a node may be called dead its record is read, and the others hear that this one misses it. */
const READ_BEFORE_MS = 250;
const VOTE_BEFORE_MS = 50;
/** A node has its record written anew when it may act for less than this. */
const SHORT_MS = 100;
/**
 * A dead node that comes back within this time may take up sessions from the copies that it has. A node that comes back
 * later does not.
 */
export const RETURNS_MS = 60_000;
/** Dead nodes, and those that left, are shown for so long. */
const SHOWN_MS = 3_600_000;
/** How many nodes are known at most, so that nobody who may publish can fill the memory. */
const MAX_MEMBERS = 256;

/** `unheard`: nobody can know: the node that was asked is cut off, or JetStream does not answer. */
export type MemberState = "up" | "draining" | "left" | "dead" | "unheard";

/** One node, as it is seen from here. */
export interface MemberView extends Omit<Beat, "version" | "number" | "state" | "direct" | "witness" | "heard"> {
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
  /** Another node says that it has called this one dead so often. */
  calledDead?(by: NodeRun, deaths: number): void;
  /** This node misses another one: the others are to hear so at once. */
  misses?(): void;
  /** Others cannot call this node dead now, whatever was before. */
  safe?(): void;
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
  /** Until when it cannot call this node dead, less the margin, as it says by its beats. */
  until: number;
  /** The number of the last beat that it has confirmed so. */
  confirmed: number;
  /** The number of this node's record by which it would call this node dead; 0: none. */
  against: number;
  /** The number of its record by which this node would call it dead; 0: none. */
  voted: number;
  readonly trip: RoundTrip;
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
  private readonly patience: Patience;
  /** What most NATS servers have agreed on; undefined: each node goes by what it hears. */
  private readonly witness: Witness | undefined;
  private readonly deathsOf: (run: NodeRun) => number;
  private readonly known = new Map<string, Member>();
  /** When this node began to hear itself, at first or again after a gap; undefined: it never has. */
  private togetherSince: number | undefined;
  private lookedAt = 0;
  /** When a beat, of whichever node, came over NATS last. */
  natsHeardAt = Number.NEGATIVE_INFINITY;
  private othersUp = 0;
  /** When a beat was said that all others have heard, as they say by direct beats. */
  private confirmedAt = Number.NEGATIVE_INFINITY;
  /** Until when a dead node may come back that still has copies of use. */
  private returnsUntil = Number.NEGATIVE_INFINITY;
  private warned = false;
  /** Until when all others, and until when most of those that this node counts on, cannot call it dead. */
  private allUntil = Number.NEGATIVE_INFINITY;
  private mostUntil = Number.NEGATIVE_INFINITY;
  /** Nobody calls a node dead without the witness. */
  private isWitnessed = false;
  private isVotedAgainst = false;
  /** What the last beat asked for. */
  patienceMs = DEAD_MS;
  /** Other nodes that are not heard for longer than they ask for, and cannot be called dead yet. */
  missed = 0;

  constructor(options: {
    readonly self: NodeRun;
    readonly clock: Pick<Clock, "monotonic">;
    readonly log: Logger;
    readonly peerLog: PeerLog;
    readonly listener?: MembersListener;
    readonly witness?: Witness | undefined;
    /** What this node asks of the others at most; default: nothing beside `DEAD_MS`. */
    readonly mostPatienceMs?: number;
    /** How often this node has called that run dead. */
    readonly deathsOf?: (run: NodeRun) => number;
  }) {
    const { self, clock, log, peerLog, listener = {}, witness, mostPatienceMs = DEAD_MS, deathsOf = () => 0 } = options;
    this.patience = new Patience(mostPatienceMs);
    this.witness = witness;
    this.deathsOf = deathsOf;
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
   *
   * With a witness, one of three must hold. All others have confirmed a beat: none of them will miss this node for as
   * long as the beat asked for. Or this node could write its record that says that it goes by nothing else: whoever
   * wants to call it dead must wait after he has read that. Or most of those whose votes count by its record have
   * confirmed a beat: the others are too few to outvote them, and must wait far longer (./witness.ts).
   *
   * Without: it counts from when a beat was said that has come back: the others cannot have heard it before.
   */
  get safeUntil(): number {
    const own = this.known.get(this.self.node);
    if (own === undefined || (this.othersUp === 0 && !this.mayReturn)) return Number.POSITIVE_INFINITY;
    if (this.isWitnessed) return Math.max(this.confirmedUntil, this.witness!.aloneUntil);
    return (this.mayReturn ? own.heardAt : Math.max(own.heardAt, this.confirmedAt)) + CUT_OFF_MS;
  }

  /** For the log: until when this node may act by what, in milliseconds from now. */
  why(): object {
    const now = this.clock.monotonic();
    const { patienceMs, isWitnessed: witnessed, witness } = this;
    const left = (until: number) => (Number.isFinite(until) ? Math.round(until - now) : undefined);
    return {
      ...{ patienceMs, witnessed, allMs: left(this.allUntil), mostMs: left(this.mostUntil) },
      ...{ alone: witness && left(witness.aloneUntil), written: witness && left(witness.longUntil) },
    };
  }

  /** The same, as others have confirmed it. */
  private get confirmedUntil(): number {
    const most = Math.min(this.mostUntil, this.witness!.longUntil);
    return this.mayReturn ? most : Math.max(this.allUntil, most);
  }

  /** Whether nobody calls a node dead without the witness: all nodes that are up say so. */
  get witnessed(): boolean {
    return this.isWitnessed;
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
    member.confirmedAt = Math.max(member.confirmedAt, this.patience.saidAt(heard) ?? member.confirmedAt);
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
    this.reckon();
  }

  /** Reckons until when others cannot call this node dead. Called when one of them was heard, or a record written. */
  reckon(): void {
    const { witness } = this;
    if (!witness) return;
    let isWitnessed = witness.capable;
    let all = Number.POSITIVE_INFINITY;
    this.isVotedAgainst = false;
    for (const [node, member] of this.known) {
      if (member.state !== "up" || node === this.self.node) continue;
      if (!member.beat.witness || member.beat.heard === undefined) isWitnessed = false;
      if (this.isAgainst(member)) this.isVotedAgainst = true;
      if (!member.refused) all = Math.min(all, this.confirmedBy(node));
    }
    this.isWitnessed = isWitnessed;
    if (!isWitnessed) witness.unbroken = false;
    this.allUntil = all;
    this.mostUntil = Number.POSITIVE_INFINITY;
    for (const set of witness.sets) this.mostUntil = Math.min(this.mostUntil, this.mostOf(set));
    if (witness.sets.length === 0) this.mostUntil = Number.NEGATIVE_INFINITY;
  }

  /** Until when more than half of the set, this node included, cannot vote for its death. */
  private mostOf(set: readonly string[]): number {
    const untils = set.map((node) => this.confirmedBy(node)).sort((a, b) => b - a);
    return untils[Math.floor(set.length / 2)] ?? Number.NEGATIVE_INFINITY;
  }

  private confirmedBy(node: string): number {
    if (node === this.self.node) return Number.POSITIVE_INFINITY;
    const member = this.known.get(node);
    return member?.state === "up" && !this.isAgainst(member) ? member.until : Number.NEGATIVE_INFINITY;
  }

  /** Whether it would call this node dead by its present record. A vote against an earlier one is void. */
  private isAgainst({ against }: Member): boolean {
    return against > 0 && against >= this.witness!.written;
  }

  /**
   * This node is about to say a beat. What it says with it of the other nodes, and how long they are to wait for it.
   */
  says(number: number): Pick<Beat, "patienceMs" | "witness" | "heard"> {
    const now = this.clock.monotonic();
    let tripMs = 0;
    const heard: Heard[] = [];
    for (const [node, { beat, state, voted, trip }] of this.known) {
      if (state !== "up" || node === this.self.node) continue;
      tripMs = Math.max(tripMs, trip.most);
      const deaths = this.deathsOf(beat);
      heard.push({ node, epoch: beat.epoch, number: beat.number, voted, deaths });
    }
    this.patienceMs = this.patience.says(number, now, this.isWitnessed ? tripMs : 0);
    if (!this.witness) return {};
    const text = writeHeard(heard);
    const { patienceMs } = this;
    return { patienceMs, witness: this.witness.capable, ...(text !== undefined && { heard: text }) };
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
    const saidAt = this.patience.saidAt(beat.number);
    if (saidAt === undefined) return; // said so long ago that it proves nothing
    const isNew = this.togetherSince === undefined;
    const wasCutOff = !this.hearsItself(now);
    const wasSafe = now < this.safeUntil;
    const before = this.known.get(beat.node);
    this.known.set(beat.node, {
      ...NOT_HEARD,
      trip: new RoundTrip(),
      beat,
      heardAt: saidAt,
      natsAt: saidAt,
      state: "up",
    });
    if (!wasCutOff) return;
    this.together(now);
    if (!isNew && !wasSafe) this.listener.together?.(before ? now - before.heardAt : 0);
  }

  private take(beat: Beat, before: Member | undefined, now: number, overNats: boolean): void {
    const { node, epoch, host, zone, release } = beat;
    const isAnew = before !== undefined && before.state === "up" && before.beat.epoch !== epoch;
    const wasUp = before?.state === "up" && !isAnew;
    const state = beat.state === "leaving" ? "left" : "up";
    const isSameRun = before?.beat.epoch === epoch;
    const natsAt = overNats ? now : (before?.natsAt ?? Number.NEGATIVE_INFINITY);
    const kept = isSameRun ? before : { ...NOT_HEARD, trip: new RoundTrip() };
    const member: Member = { ...kept, beat, heardAt: now, natsAt, state, refused: false };
    this.known.set(node, member);
    if (this.witness) this.confirmedIn(member, wasUp ? now : undefined);
    if (wasUp !== (state === "up")) this.countOthers();
    else if (this.witness) this.reckon();
    if (this.isWitnessed && now < this.safeUntil) this.listener.safe?.();
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

  /** Takes what a node's beat says of this one. `now`: undefined: it was away, which says nothing of round trips. */
  private confirmedIn(member: Member, now: number | undefined): void {
    const { beat } = member;
    if (this.witness!.recordOf(beat.node) !== undefined) this.witness!.forget(beat.node);
    const heard = heardOf(beat.heard, this.self);
    if (!heard) return;
    member.against = heard.voted;
    member.deaths = heard.deaths;
    if (heard.number > member.confirmed) {
      member.confirmed = heard.number;
      member.until = this.patience.until(heard.number);
      const saidAt = this.patience.saidAt(heard.number);
      if (saidAt !== undefined && now !== undefined) member.trip.took(now - saidAt);
    }
    if (heard.deaths > 0) this.listener.calledDead?.(beat, heard.deaths);
  }

  /**
   * Looks for nodes that have not been heard for too long, and what this node may do. Called some times for each beat.
   */
  look(): void {
    this.lookAtOthers();
    const { witness } = this;
    if (!witness || !this.known.has(this.self.node)) return;
    const now = this.clock.monotonic();
    this.reckon();
    if (this.othersUp > 0 || this.mayReturn) {
      const alone = this.confirmedUntil - now < SHORT_MS;
      const set = [this.self.node, ...this.others()].sort();
      witness.keep(now, { set, alone, voted: this.isVotedAgainst, patienceMs: this.patienceMs });
    }
    if (now < this.safeUntil) this.listener.safe?.();
  }

  private lookAtOthers(): void {
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
        if (member.refused && member.state === "up" && now - member.heardAt >= patienceOf(member)) this.died(member);
      return;
    }
    this.missed = 0;
    for (const member of this.known.values()) {
      const { node } = member.beat;
      if (node === this.self.node || member.state !== "up") continue;
      const silentMs = now - Math.max(member.heardAt, this.togetherSince ?? now);
      if (this.isWitnessed) this.miss(member, silentMs);
      else if (silentMs >= patienceOf(member)) this.died(member);
    }
  }

  /** A node was not heard for so long. It is dead as soon as enough others say so, too, and the witness has it. */
  private miss(member: Member, silentMs: number): void {
    const { beat, refused } = member;
    const witness = this.witness!;
    const leftMs = patienceOf(member) - silentMs;
    if (leftMs > READ_BEFORE_MS) return;
    witness.lookUp(beat.node);
    const record = witness.recordOf(beat.node);
    if (leftMs > VOTE_BEFORE_MS || record === undefined) {
      if (leftMs <= 0) this.missed++;
      return;
    }
    if (member.voted < record) {
      member.voted = record;
      this.listener.misses?.();
    }
    if (leftMs > 0) return;
    this.missed++;
    witness.claim(beat, (node, number) => this.votes(node, beat, number), refused);
  }

  /** Whether a node has said that it, too, would call that run dead by that record. */
  private votes(node: string, run: NodeRun, record: number): boolean {
    if (node === run.node) return false;
    const member = this.known.get(node);
    if (node === this.self.node) return this.known.get(run.node)!.voted === record;
    if (member?.state !== "up" || this.clock.monotonic() - member.heardAt >= patienceOf(member)) return false;
    return heardOf(member.beat.heard, run)?.voted === record;
  }

  /** The witness has it that the run is dead. */
  dead({ node, epoch }: NodeRun): void {
    const member = this.known.get(node);
    if (member?.state === "up" && member.beat.epoch === epoch) this.died(member);
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
      const { version: _version, number: _number, direct: _direct, state: said, ...rest } = beat;
      const { witness: _witness, heard: _heard, ...shown } = rest;
      const alive = said === "draining" ? "draining" : "up";
      // Half a beat more: it is looked at so often.
      const isMissed = this.isWitnessed && heardMsAgo > patienceOf({ beat }) + 50;
      const seen = state !== "up" ? state : self || (knows && !isMissed) ? alive : "unheard";
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
    return own !== undefined && (now - own.heardAt < CUT_OFF_MS || now < this.patience.until(own.beat.number));
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

/** What is known of a run of which nothing was heard yet. */
const NOT_HEARD = {
  ...{ confirmedAt: Number.NEGATIVE_INFINITY, until: Number.NEGATIVE_INFINITY },
  ...{ confirmed: 0, against: 0, voted: 0, deaths: 0, refused: false },
};

/** How long others are to wait for the node before they call it dead. */
const patienceOf = ({ beat }: Pick<Member, "beat">): number =>
  Math.max(DEAD_MS, Math.min(beat.patienceMs ?? DEAD_MS, MOST_PATIENCE_MS));

/** Whether the address is the one at which the node says that it hears beats. */
const comesFrom = ({ direct = "" }: Beat, address: string): boolean =>
  direct.slice(0, direct.lastIndexOf(":")).replace(/^\[|\]$/g, "") === address;

const isLater = (beat: Beat, than: Beat): boolean =>
  beat.epoch > than.epoch || (beat.epoch === than.epoch && beat.number > than.number);
