import type { Clock } from "../support/clock.ts";
import { heardOf, type NodeRun } from "./beat.ts";
import type { Member } from "./member.ts";
import { CUT_OFF_MS, type Patience } from "./patience.ts";
import type { Witness } from "./witness.ts";

/** A node has its record written anew when it may act for less than this. */
const SHORT_MS = 100;
/**
 * A dead node that comes back within this time may take up sessions from the copies that it has. A node that comes back
 * later does not.
 */
export const RETURNS_MS = 60_000;

/** Until when no other node can call this one dead: by what the others have confirmed, and by what the witness has. */
export class Safety {
  private readonly self: NodeRun;
  private readonly clock: Pick<Clock, "monotonic">;
  private readonly known: ReadonlyMap<string, Member>;
  private readonly patience: Patience;
  /** What most NATS servers have agreed on; undefined: each node goes by what it hears. */
  private readonly witness: Witness | undefined;
  private othersUp = 0;
  /** When a beat was said that all others have heard, as they say by direct beats. */
  private confirmedAt = Number.NEGATIVE_INFINITY;
  /** Until when a dead node may come back that still has copies of use. */
  private returnsUntil = Number.NEGATIVE_INFINITY;
  /** Until when all others, and until when most of those that this node counts on, cannot call it dead. */
  private allUntil = Number.NEGATIVE_INFINITY;
  private mostUntil = Number.NEGATIVE_INFINITY;
  private isWitnessed = false;
  private isVotedAgainst = false;

  /** `known`: all nodes by their names, this one among them. */
  constructor(options: {
    readonly self: NodeRun;
    readonly clock: Pick<Clock, "monotonic">;
    readonly known: ReadonlyMap<string, Member>;
    readonly patience: Patience;
    readonly witness: Witness | undefined;
  }) {
    const { self, clock, known, patience, witness } = options;
    this.self = self;
    this.clock = clock;
    this.known = known;
    this.patience = patience;
    this.witness = witness;
  }

  /**
   * By the monotonic clock. For ever, as long as there are no others, and none that is dead and may come back.
   *
   * With a witness, one of three must hold. All others have confirmed a beat: none of them will miss this node for as
   * long as the beat asked for. Or this node could write its record that says that it goes by nothing else: whoever
   * wants to call it dead must wait after he has read that. Or most of those whose votes count by its record have
   * confirmed a beat: the others are too few to outvote them, and must wait far longer (./witness.ts).
   *
   * Without: it counts from when a beat was said that has come back: the others cannot have heard it before.
   */
  get until(): number {
    const own = this.known.get(this.self.node);
    if (own === undefined || (this.othersUp === 0 && !this.mayReturn)) return Number.POSITIVE_INFINITY;
    if (this.isWitnessed) return Math.max(this.confirmedUntil, this.witness!.aloneUntil);
    return (this.mayReturn ? own.heardAt : Math.max(own.heardAt, this.confirmedAt)) + CUT_OFF_MS;
  }

  /** The same, as others have confirmed it. */
  private get confirmedUntil(): number {
    const most = Math.min(this.mostUntil, this.witness!.longUntil);
    return this.mayReturn ? most : Math.max(this.allUntil, most);
  }

  /** For the log: until when this node may act by what, in milliseconds from now. */
  why(): object {
    const now = this.clock.monotonic();
    const { isWitnessed: witnessed, witness } = this;
    const left = (until: number) => (Number.isFinite(until) ? Math.round(until - now) : undefined);
    return {
      ...{ patienceMs: this.patience.askedMs, witnessed, allMs: left(this.allUntil), mostMs: left(this.mostUntil) },
      ...{ alone: witness && left(witness.aloneUntil), written: witness && left(witness.longUntil) },
    };
  }

  /** Whether nobody calls a node dead without the witness: all nodes that are up say so. */
  get witnessed(): boolean {
    return this.isWitnessed;
  }

  /** Whether a dead node may come back, and call this one dead. */
  get mayReturn(): boolean {
    return this.clock.monotonic() < this.returnsUntil;
  }

  /** A direct beat says that the member has heard that beat of this node, and how often it has called it dead. */
  confirmedDirectly({ confirmed }: Member, number: number, deaths: number): void {
    confirmed.directlyAt = Math.max(confirmed.directlyAt, this.patience.saidAt(number) ?? confirmed.directlyAt);
    confirmed.deaths = deaths;
  }

  /**
   * Takes what a node's beat says of this one. `now`: undefined: it was away, which says nothing of round trips.
   * Returns how often it has called this one dead.
   */
  confirmedIn({ beat, confirmed }: Member, now: number | undefined): number {
    const heard = heardOf(beat.heard, this.self);
    if (!heard) return 0;
    confirmed.against = heard.voted;
    confirmed.deaths = heard.deaths;
    if (heard.number > confirmed.number) {
      confirmed.number = heard.number;
      confirmed.until = this.patience.until(heard.number);
      const saidAt = this.patience.saidAt(heard.number);
      if (saidAt !== undefined && now !== undefined) confirmed.trip.took(now - saidAt);
    }
    return heard.deaths;
  }

  /** Others are up, or are so no more. */
  count(): void {
    this.confirm();
    this.othersUp = 0;
    for (const [node, { state }] of this.known) if (state === "up" && node !== this.self.node) this.othersUp++;
  }

  /** Since when all others that may be there have heard this node. */
  confirm(): void {
    let least = Number.POSITIVE_INFINITY;
    let lastDead = Number.NEGATIVE_INFINITY;
    for (const [node, { state, refused, confirmed, heardAt }] of this.known) {
      if (refused || node === this.self.node) continue;
      if (state === "up") least = Math.min(least, confirmed.directlyAt);
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

  /** Has this node's record written anew, if it is time to. `set`: the nodes that it counts on, itself included. */
  keepRecord(now: number, set: readonly string[]): void {
    this.reckon();
    if (this.othersUp === 0 && !this.mayReturn) return;
    const alone = this.confirmedUntil - now < SHORT_MS;
    this.witness?.keep(now, { set, alone, voted: this.isVotedAgainst, patienceMs: this.patience.askedMs });
  }

  /** Until when more than half of the set, this node included, cannot vote for its death. */
  private mostOf(set: readonly string[]): number {
    const untils = set.map((node) => this.confirmedBy(node)).sort((a, b) => b - a);
    return untils[Math.floor(set.length / 2)] ?? Number.NEGATIVE_INFINITY;
  }

  private confirmedBy(node: string): number {
    if (node === this.self.node) return Number.POSITIVE_INFINITY;
    const member = this.known.get(node);
    return member?.state === "up" && !this.isAgainst(member) ? member.confirmed.until : Number.NEGATIVE_INFINITY;
  }

  /** Whether it would call this node dead by its present record. A vote against an earlier one is void. */
  private isAgainst({ confirmed: { against } }: Member): boolean {
    return against > 0 && against >= this.witness!.written;
  }
}
