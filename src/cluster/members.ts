import type { Clock } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import type { PeerLog } from "../support/peer-log.ts";
import { type Beat, type Heard, type NodeRun, readBeat, writeHeard } from "./beat.ts";
import type { DirectPeer, Told } from "./direct.ts";
import { comesFrom, type Member, notHeard, type Seen } from "./member.ts";
import { isOver, type MemberView, viewOf } from "./member-view.ts";
import { Missing } from "./missing.ts";
import { CUT_OFF_MS, DEAD_MS, Patience } from "./patience.ts";
import type { Place } from "./placing.ts";
import { Safety } from "./safety.ts";
import type { Witness } from "./witness.ts";

/** How many nodes are known at most, so that nobody who may publish can fill the memory. */
const MAX_MEMBERS = 256;

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

type Known = Seen & Pick<Member, "confirmed" | "vote">;

/**
 * The nodes of the cluster, as their beats show them. It sends nothing: others tell it what was heard, and when to
 * look. Who is not heard any more, `Missing` notices; until when others cannot call this node dead, `Safety` knows.
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
  private readonly known = new Map<string, Known>();
  private readonly safety: Safety;
  private readonly missing: Missing;
  /** When a beat, of whichever node, came over NATS last. */
  natsHeardAt = Number.NEGATIVE_INFINITY;

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
    const { known, patience } = this;
    this.safety = new Safety({ self, clock, known, patience, witness });
    this.missing = new Missing({
      ...{ self, clock, log, known, patience, witness, safety: this.safety },
      misses: () => listener.misses?.(),
      died: (node) => this.died(known.get(node)!),
    });
  }

  /** True while this node does not hear itself: the bus is away, or this node was stopped for a while. */
  get cutOff(): boolean {
    return !this.missing.hearsItself(this.clock.monotonic());
  }

  /** Until when no other node can call this one dead, by the monotonic clock (`Safety`). */
  get safeUntil(): number {
    return this.safety.until;
  }

  /** For the log: until when this node may act by what, in milliseconds from now. */
  why(): object {
    return this.safety.why();
  }

  /** Whether nobody calls a node dead without the witness: all nodes that are up say so. */
  get witnessed(): boolean {
    return this.safety.witnessed;
  }

  /** Whether a dead node may come back, and call this one dead. */
  get mayReturn(): boolean {
    return this.safety.mayReturn;
  }

  /** What the last beat asked for. */
  get patienceMs(): number {
    return this.patience.askedMs;
  }

  /** Other nodes that are not heard for longer than they ask for, and cannot be called dead yet. */
  get missed(): number {
    return this.missing.count;
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
    this.safety.confirmedDirectly(member, heard, deaths);
    member.refused = false;
    this.takeBeat(text, false);
    this.safety.confirm();
    this.listener.confirmed?.();
  }

  /** How often each of the others has called this node dead, as far as they have said so by direct beats. */
  deaths(): { readonly run: NodeRun; readonly deaths: number }[] {
    const all = [];
    for (const [node, { beat, state, refused, confirmed }] of this.known)
      if (state === "up" && !refused && node !== this.self.node) all.push({ run: beat, deaths: confirmed.deaths });
    return all;
  }

  /** Nobody listens at that node's address any more. */
  refused(node: string): void {
    const member = this.known.get(node);
    if (!member) return;
    member.refused = true;
    this.safety.confirm();
  }

  /** This node has written its record. */
  reckon(): void {
    this.safety.reckon();
  }

  /**
   * This node is about to say a beat. What it says with it of the other nodes, and how long they are to wait for it.
   */
  says(number: number): Pick<Beat, "patienceMs" | "witness" | "heard"> {
    const now = this.clock.monotonic();
    let tripMs = 0;
    const heard: Heard[] = [];
    for (const [node, { beat, state, confirmed, vote }] of this.known) {
      if (state !== "up" || node === this.self.node) continue;
      tripMs = Math.max(tripMs, confirmed.trip.most);
      const deaths = this.deathsOf(beat);
      heard.push({ node, epoch: beat.epoch, number: beat.number, voted: vote.record, deaths });
    }
    const patienceMs = this.patience.says(number, now, this.witnessed ? tripMs : 0);
    if (!this.witness) return {};
    const text = writeHeard(heard);
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
    const isNew = this.missing.since === undefined;
    const wasCutOff = !this.missing.hearsItself(now);
    const wasSafe = now < this.safeUntil;
    const before = this.known.get(beat.node);
    const { confirmed, vote } = before ?? notHeard();
    const seen = { beat, heardAt: saidAt, natsAt: saidAt, state: "up", refused: false } as const;
    this.known.set(beat.node, { ...seen, confirmed, vote });
    if (!wasCutOff) return;
    this.missing.together(now);
    if (!isNew && !wasSafe) this.listener.together?.(before ? now - before.heardAt : 0);
  }

  private take(beat: Beat, before: Known | undefined, now: number, overNats: boolean): void {
    const { node, epoch, host, zone, release } = beat;
    const isAnew = before !== undefined && before.state === "up" && before.beat.epoch !== epoch;
    const wasUp = before?.state === "up" && !isAnew;
    const state = beat.state === "leaving" ? "left" : "up";
    const isSameRun = before?.beat.epoch === epoch;
    const natsAt = overNats ? now : (before?.natsAt ?? Number.NEGATIVE_INFINITY);
    const { confirmed, vote } = isSameRun ? before : notHeard();
    const member: Known = { beat, heardAt: now, natsAt, state, refused: false, confirmed, vote };
    this.known.set(node, member);
    if (this.witness) {
      this.missing.heard(node);
      const deaths = this.safety.confirmedIn(member, wasUp ? now : undefined);
      if (deaths > 0) this.listener.calledDead?.(beat, deaths);
    }
    if (isAnew || wasUp !== (state === "up")) this.safety.count();
    else if (this.witness) this.safety.reckon();
    if (this.witnessed && now < this.safeUntil) this.listener.safe?.();
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

  /**
   * Looks for nodes that have not been heard for too long, and what this node may do. Called some times for each beat.
   */
  look(): void {
    this.missing.look();
    if (!this.witness || !this.known.has(this.self.node)) return;
    const now = this.clock.monotonic();
    this.safety.keepRecord(now, [this.self.node, ...this.others()].sort());
    if (now < this.safeUntil) this.listener.safe?.();
  }

  /** The witness has it that the run is dead. */
  dead({ node, epoch }: NodeRun): void {
    const member = this.known.get(node);
    if (member?.state === "up" && member.beat.epoch === epoch) this.died(member);
  }

  /** All nodes in the order of their names, as they are seen from here now. */
  views(): MemberView[] {
    const now = this.clock.monotonic();
    const { witnessed } = this;
    const hearsItself = this.missing.hearsItself(now);
    const views: MemberView[] = [];
    for (const [node, member] of this.known) {
      const self = node === this.self.node;
      if (!self && isOver(member, now)) this.known.delete(node);
      else views.push(viewOf(member, { self, now, hearsItself, witnessed }));
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
    return this.cutOff ? undefined : this.missing.since;
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

  private died(member: Known): void {
    const { node, epoch, host, zone, sessions } = member.beat;
    member.state = "dead";
    this.safety.count();
    this.log.error({ node, epoch, host, zone, sessions }, "cluster: a node is dead: it is not heard any more");
    this.listener.died?.(member.beat);
  }

  /** Makes room for another node: forgets the one that has been gone longest. */
  private forgetOne(): boolean {
    let oldest: Known | undefined;
    for (const member of this.known.values())
      if (member.state !== "up" && (!oldest || member.heardAt < oldest.heardAt)) oldest = member;
    return oldest !== undefined && this.known.delete(oldest.beat.node);
  }
}

const isLater = (beat: Beat, than: Beat): boolean =>
  beat.epoch > than.epoch || (beat.epoch === than.epoch && beat.number > than.number);
