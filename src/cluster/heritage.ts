import type { NodeRun } from "./beat.ts";
import type { Holder, Legacy } from "./holder.ts";
import type { Answer, Whose } from "./whose.ts";

/** What a node has left here, and waits until it is known who else has some of it. */
interface Left {
  readonly run: NodeRun;
  /** Sessions that go on at that node. */
  readonly except: ReadonlySet<string>;
  asking: boolean;
}

/**
 * Hands what a dead node has left here to whoever takes it up. Mostly at once. But if this node was itself stopped or
 * cut off meanwhile, the dead node may have copied its sessions elsewhere before it died, and another node may go on
 * with them. So the other nodes are asked first, and what any of them has is left to it.
 */
export class Heritage {
  private readonly holder: Holder;
  private readonly whose: Pick<Whose, "ask">;
  private readonly others: () => readonly string[];
  private readonly acts: () => boolean;
  private readonly take: (from: NodeRun, left: Legacy) => void;
  private readonly waiting = new Map<string, Left>();
  /** Of these nodes the copies here may be old. */
  private readonly doubtful = new Set<string>();
  /** How often this node was silent: what was answered before counts no more. */
  private silences = 0;

  constructor(options: {
    readonly holder: Holder;
    readonly whose: Pick<Whose, "ask">;
    /** The other nodes that are up. */
    readonly others: () => readonly string[];
    /** Whether this node may act now. */
    readonly acts: () => boolean;
    readonly take: (from: NodeRun, left: Legacy) => void;
  }) {
    const { holder, whose, others, acts, take } = options;
    this.holder = holder;
    this.whose = whose;
    this.others = others;
    this.acts = acts;
    this.take = take;
  }

  /** It is not known yet what is to be taken up here. */
  get busy(): boolean {
    return this.waiting.size > 0;
  }

  /** The node is dead. What it has left is taken up, except these sessions. */
  died(run: NodeRun, except: ReadonlySet<string> = NONE): void {
    if (this.acts() && !this.doubtful.has(run.node)) this.leave(run, except);
    else this.whenSure(run, except);
  }

  /** The same, after the others were asked in any case. That node may be among them. */
  whenSure(run: NodeRun, except: ReadonlySet<string> = NONE): void {
    if (!this.holder.has(run)) return;
    this.waiting.set(run.node, { run, except, asking: false });
    this.ask();
  }

  /** This node is silent: others may call it dead, and copy their sessions elsewhere. */
  doubt(): void {
    this.silences++;
    for (const node of this.holder.nodes()) this.doubtful.add(node);
  }

  isDoubtful(node: string): boolean {
    return this.doubtful.has(node);
  }

  /** That node has not called this one dead: what is here of it is as it should be. */
  isSure(node: string): void {
    this.doubtful.delete(node);
  }

  forget(node: string): void {
    this.doubtful.delete(node);
    this.waiting.delete(node);
    this.holder.forget(node);
  }

  /** Nothing that is doubtful here is still of use: this node was away for too long. */
  forgetDoubtful(): void {
    for (const node of [...this.doubtful]) this.forget(node);
  }

  /** This node acts again. */
  ask(): void {
    for (const left of this.waiting.values()) if (!left.asking && this.acts()) void this.askAbout(left);
  }

  private async askAbout(left: Left): Promise<void> {
    const { silences } = this;
    const { run, except } = left;
    left.asking = true;
    const isOff = () => silences !== this.silences || this.waiting.get(run.node) !== left;
    const answers = await this.whose.ask(this.others, { of: run, isOff });
    left.asking = false;
    if (this.waiting.get(run.node) !== left) return;
    if (!answers || silences !== this.silences || !this.acts()) return; // asked again when this node acts
    this.waiting.delete(run.node);
    this.doubtful.delete(run.node);
    this.leave(run, new Set([...except, ...answers.flatMap(({ sessions }: Answer) => sessions)]));
  }

  private leave(run: NodeRun, except: ReadonlySet<string>): void {
    const { copies, events } = this.holder.take(run);
    this.take(run, { copies: copies.filter(({ session }) => !except.has(session)), events });
  }
}

const NONE: ReadonlySet<string> = new Set();
