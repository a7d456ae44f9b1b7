import type { Core } from "../relay/model/core.ts";
import type { Clock } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import type { NodeRun } from "./beat.ts";
import type { Copies } from "./copies.ts";
import type { Fence } from "./fence.ts";
import type { Heritage } from "./heritage.ts";
import type { Members } from "./members.ts";
import { DEAD_MS } from "./patience.ts";
import { RETURNS_MS } from "./safety.ts";
import type { Whose } from "./whose.ts";
import type { Witness } from "./witness.ts";

/** How long a node that comes back listens for the others before it asks them: three beats. */
export const LISTEN_MS = 300;
/** By then all nodes have noticed a death that this one has, and have taken up what they do. */
const UNSETTLED_MS = 500;
/** After so long a silence, copies of nodes that are gone are too old to be of use. Less than `RETURNS_MS`. */
const FORGOTTEN_MS = RETURNS_MS - 5_000;

/**
 * Which node has called which one dead, and what follows: a node that was silent finds out which of its sessions others
 * have taken up, lets go of these, and only then acts again.
 */
export class FindingOut {
  private readonly members: Pick<Members, "others" | "deaths" | "cutOff" | "mayReturn" | "safeUntil" | "witnessed">;
  private readonly witness: Pick<Witness, "renewed" | "unbroken"> | undefined;
  private readonly whose: Pick<Whose, "ask">;
  private readonly fence: Fence | undefined;
  private readonly heritage: Heritage;
  private readonly keeper: Pick<Copies, "takenElsewhere"> | undefined;
  private readonly core: () => Pick<Core, "sessions"> | undefined;
  private readonly letGo: (session: string) => void;
  private readonly clock: Pick<Clock, "monotonic">;
  private readonly log: Logger;
  /**
   * How often this node has called runs of others dead, and how often they had called this run dead, as far as known.
   */
  private readonly deaths = new Map<string, number>();
  private readonly ownDeaths = new Map<string, number>();
  /** How often this node began to find out what was taken from it. The last time counts. */
  private rounds = 0;
  private deathsSeen = 0;
  /** The round that is under way; 0: none. */
  private under = 0;

  constructor(options: {
    readonly members: Pick<Members, "others" | "deaths" | "cutOff" | "mayReturn" | "safeUntil" | "witnessed">;
    readonly witness: Pick<Witness, "renewed" | "unbroken"> | undefined;
    readonly whose: Pick<Whose, "ask">;
    /** Undefined: no copies are kept, and nobody takes anything up. */
    readonly fence: Fence | undefined;
    readonly heritage: Heritage;
    readonly keeper: Pick<Copies, "takenElsewhere"> | undefined;
    /** Undefined: the relay has not started yet. */
    readonly core: () => Pick<Core, "sessions"> | undefined;
    /** A session goes on at another node. */
    readonly letGo: (session: string) => void;
    readonly clock: Pick<Clock, "monotonic">;
    readonly log: Logger;
  }) {
    const { members, witness, whose, fence, heritage, keeper, core, letGo, clock, log } = options;
    this.witness = witness;
    this.members = members;
    this.whose = whose;
    this.fence = fence;
    this.heritage = heritage;
    this.keeper = keeper;
    this.core = core;
    this.letGo = letGo;
    this.clock = clock;
    this.log = log;
  }

  /** This node calls that run dead. */
  died(run: NodeRun): void {
    this.deaths.set(keyOf(run), this.deathsOf(run) + 1);
    this.deathsSeen++;
  }

  /** How often this node has called that run dead. */
  deathsOf(run: NodeRun | undefined): number {
    return (run && this.deaths.get(keyOf(run))) ?? 0;
  }

  /**
   * Without NATS, and after a silence: all others have said, not over NATS, that they hear this node, and that they
   * have not called it dead since. So nobody has taken anything up.
   */
  confirmed(): void {
    const { fence, members } = this;
    if (!fence?.shutNow || !members.cutOff || this.clock.monotonic() >= members.safeUntil) return;
    if (this.isNewToNobody) fence.reopen();
  }

  /** No other node has called this one dead since this one found out the last time. */
  private get isNewToNobody(): boolean {
    return this.members.deaths().every(({ run, deaths }) => deaths === (this.ownDeaths.get(keyOf(run)) ?? 0));
  }

  /** Another node says that it has called this one dead so often. */
  calledDead(by: NodeRun, deaths: number): void {
    if (this.under === 0 && deaths > (this.ownDeaths.get(keyOf(by)) ?? 0)) void this.begin(0);
  }

  /**
   * With a witness: others cannot call this node dead now, and so they have not since its last record: that would have
   * taken votes of nodes that say that they have not voted, or another record in its place. If none of them has called
   * it dead before, either, it goes on.
   */
  safe(): void {
    const { fence, members, witness } = this;
    if (!fence?.shutNow || this.under !== 0 || !members.witnessed) return;
    if (witness?.unbroken && this.isNewToNobody) fence.reopen();
    else if (!members.cutOff) void this.begin(fence.shutForMs);
  }

  /** This node hears itself again after so long. With a witness, that says nothing: see `safe`. */
  together(silentMs: number): void {
    if (!this.members.witnessed) void this.begin(silentMs);
  }

  /** This node hears itself again after so long, and others may have taken up its sessions meanwhile. */
  async begin(silentMs: number): Promise<void> {
    const { fence, keeper } = this;
    const core = this.core();
    if (!fence || !core || !keeper) return;
    fence.close();
    const round = ++this.rounds;
    this.under = round;
    await this.find(silentMs, () => round !== this.rounds, { fence, keeper, core });
    if (this.under === round) this.under = 0;
  }

  private async find(
    silentMs: number,
    isOff: () => boolean,
    { fence, keeper, core }: { fence: Fence; keeper: Pick<Copies, "takenElsewhere">; core: Pick<Core, "sessions"> },
  ): Promise<void> {
    const { heritage, members, witness } = this;
    if (witness && members.witnessed) {
      await witness.renewed();
      if (isOff()) return;
      // From now on nobody calls it dead by an earlier record.
      witness.unbroken = true;
    }
    heritage.doubt();
    // After a long silence it must hear first who is there now.
    let afterMs = silentMs < DEAD_MS && !members.mayReturn ? 0 : LISTEN_MS;
    let answers: Awaited<ReturnType<Whose["ask"]>>;
    let seen: number;
    do {
      seen = this.deathsSeen;
      answers = await this.whose.ask(() => members.others(), { isOff, afterMs });
      afterMs = UNSETTLED_MS; // whoever has answered already may take up more, if a node has died since
    } while (answers && !isOff() && seen !== this.deathsSeen);
    if (!answers || isOff() || members.cutOff || (witness && members.witnessed && !witness.unbroken)) {
      if (witness) witness.unbroken = false;
      return; // once more; it is asked again
    }
    const taken = new Set(answers.flatMap(({ sessions }) => sessions));
    const elsewhere: string[] = [];
    for (const session of core.sessions.values()) {
      if (!taken.has(session.id)) continue;
      session.release();
      elsewhere.push(session.id);
      this.letGo(session.id);
    }
    const by: string[] = [];
    for (const { run, deaths } of answers) {
      const isNew = deaths > (this.ownDeaths.get(keyOf(run)) ?? 0);
      this.ownDeaths.set(keyOf(run), deaths);
      if (!isNew) {
        heritage.isSure(run.node);
        continue;
      }
      // That node has copied its sessions elsewhere, and has no copies of ours any more.
      heritage.forget(run.node);
      by.push(run.node);
    }
    keeper.takenElsewhere(elsewhere, by);
    if (silentMs >= FORGOTTEN_MS) heritage.forgetDoubtful();
    const { length: gone } = elsewhere;
    if (gone > 0) this.log.warn({ sessions: gone }, "cluster: other nodes have taken up sessions of this node");
    fence.reopen(gone + by.length > 0);
    heritage.ask();
  }
}

const keyOf = ({ node, epoch }: NodeRun): string => `${node} ${epoch}`;
