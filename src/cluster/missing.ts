import type { Clock } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import { heardOf, type NodeRun } from "./beat.ts";
import { type Member, patienceOf } from "./member.ts";
import { CUT_OFF_MS, type Patience } from "./patience.ts";
import type { Safety } from "./safety.ts";
import type { Witness } from "./witness.ts";

/** If nobody has looked for so long, the event loop stood still: beats may have come that were not read yet. */
const STOOD_STILL_MS = 200;
/** So long before a node may be called dead its record is read, and the others hear that this one misses it. */
const READ_BEFORE_MS = 250;
const VOTE_BEFORE_MS = 50;

/**
 * Which of the other nodes are not heard any more, and so are dead.
 *
 * A node that does not hear its own beats cannot tell whether the other nodes are gone or it is cut off itself. So it
 * calls nobody dead. When it hears itself again, all others have the whole time again.
 */
export class Missing {
  private readonly self: NodeRun;
  private readonly clock: Pick<Clock, "monotonic">;
  private readonly log: Logger;
  private readonly known: ReadonlyMap<string, Member>;
  private readonly patience: Patience;
  private readonly safety: Pick<Safety, "witnessed">;
  private readonly witness: Witness | undefined;
  private readonly misses: () => void;
  private readonly died: (node: string) => void;
  /** When this node began to hear itself, at first or again after a gap; undefined: it never has. */
  private togetherSince: number | undefined;
  private lookedAt = 0;
  private warned = false;
  /** Other nodes that are not heard for longer than they ask for, and cannot be called dead yet. */
  count = 0;

  /** `known`: all nodes by their names, this one among them. */
  constructor(options: {
    readonly self: NodeRun;
    readonly clock: Pick<Clock, "monotonic">;
    readonly log: Logger;
    readonly known: ReadonlyMap<string, Member>;
    readonly patience: Patience;
    readonly safety: Pick<Safety, "witnessed">;
    readonly witness: Witness | undefined;
    /** This node misses another one: the others are to hear so at once. */
    readonly misses: () => void;
    /** The node is dead. */
    readonly died: (node: string) => void;
  }) {
    const { self, clock, log, known, patience, safety, witness, misses, died } = options;
    this.self = self;
    this.clock = clock;
    this.log = log;
    this.known = known;
    this.patience = patience;
    this.safety = safety;
    this.witness = witness;
    this.misses = misses;
    this.died = died;
  }

  /** False while this node is cut off: the bus is away, or this node was stopped for a while. */
  hearsItself(now: number): boolean {
    const own = this.known.get(this.self.node);
    return own !== undefined && (now - own.heardAt < CUT_OFF_MS || now < this.patience.until(own.beat.number));
  }

  /** When this node began to hear itself the last time; undefined: it never has. */
  get since(): number | undefined {
    return this.togetherSince;
  }

  /** This node hears itself, for the first time or again. */
  together(now: number): void {
    if (this.warned) this.log.info("cluster: this node hears itself again");
    this.togetherSince = now;
    this.warned = false;
  }

  /** The node is heard: what was read of it is of no use the next time. */
  heard(node: string): void {
    if (this.witness?.recordOf(node) !== undefined) this.witness.forget(node);
  }

  /** Looks for nodes that have not been heard for too long. */
  look(): void {
    const now = this.clock.monotonic();
    if (now - this.lookedAt > STOOD_STILL_MS && this.togetherSince !== undefined) this.togetherSince = now;
    this.lookedAt = now;
    if (!this.hearsItself(now)) {
      this.lookWhileCutOff(now);
      return;
    }
    this.count = 0;
    for (const member of this.known.values()) {
      const { node } = member.beat;
      if (node === this.self.node || member.state !== "up") continue;
      const silentMs = now - Math.max(member.heardAt, this.togetherSince ?? now);
      if (this.safety.witnessed) this.miss(member, silentMs);
      else if (silentMs >= patienceOf(member)) this.died(node);
    }
  }

  private lookWhileCutOff(now: number): void {
    if (this.togetherSince !== undefined && !this.warned) {
      this.warned = true;
      this.log.warn("cluster: this node does not hear itself over NATS: it cannot tell who is there");
    }
    // Whose process is gone can have no sessions.
    for (const [node, member] of this.known)
      if (member.refused && member.state === "up" && now - member.heardAt >= patienceOf(member)) this.died(node);
  }

  /** A node was not heard for so long. It is dead as soon as enough others say so, too, and the witness has it. */
  private miss({ beat, refused, vote }: Member, silentMs: number): void {
    const witness = this.witness!;
    const leftMs = patienceOf({ beat }) - silentMs;
    if (leftMs > READ_BEFORE_MS) return;
    witness.lookUp(beat.node);
    const record = witness.recordOf(beat.node);
    if (leftMs > VOTE_BEFORE_MS || record === undefined) {
      if (leftMs <= 0) this.count++;
      return;
    }
    if (vote.record < record) {
      vote.record = record;
      this.misses();
    }
    if (leftMs > 0) return;
    this.count++;
    witness.claim(beat, (node, number) => this.votes(node, beat, number), refused);
  }

  /** Whether a node has said that it, too, would call that run dead by that record. */
  private votes(node: string, run: NodeRun, record: number): boolean {
    if (node === run.node) return false;
    const member = this.known.get(node);
    if (node === this.self.node) return this.known.get(run.node)!.vote.record === record;
    if (member?.state !== "up" || this.clock.monotonic() - member.heardAt >= patienceOf(member)) return false;
    return heardOf(member.beat.heard, run)?.voted === record;
  }
}
