import type { NodeRun } from "./beat.ts";
import type { Line, Peers, Talk } from "./talk.ts";

/*
 * What this node may decide about users by itself. That depends on what it knows of the other nodes, and they of it.
 */

/** A node that hears itself for so long has heard all others, and they have heard it: they beat ten times a second. */
export const SETTLED_MS = 500;
/** A node that does not hear itself for so long counts by itself: NATS is away. */
export const ALONE_MS = 1_000;
/** If nobody has looked for so long, this process was stopped, and others may have called this node dead. */
const STOOD_STILL_MS = 300;
/** A welcome that has not come is asked for again. */
const WELCOME_MS = 500;

interface Other {
  readonly epoch: number;
  /** It has said that it may be a home. */
  isHome: boolean;
  /** It has said for which users this node must be careful. */
  welcomed: boolean;
  /** When it was asked for that. */
  askedAt: number | undefined;
}

export class Standing {
  /** This node may be the home of users: it has heard of all other nodes, and they of it. */
  isHome = false;
  private readonly talk: Talk;
  private readonly peers: Peers;
  private readonly others = new Map<string, Other>();
  private startedAt: number | undefined;
  private lookedAt = 0;
  /** Since when this node has been cut off. */
  private cutSince: number | undefined;
  /** This node has a part of its own: all others have said for which users nobody has. */
  private isReady = false;

  /** `careful`: the users for which other nodes must be careful. */
  constructor(options: { readonly talk: Talk; readonly peers: Peers; readonly careful: () => Iterable<string> }) {
    const { talk, peers, careful } = options;
    this.talk = talk;
    this.peers = peers;
    talk.on("loads?", (_, { node }) => talk.stream(node, this.welcome(careful())));
    talk.on("welcome", ([, isHome], from) => this.heardOf(from, true, isHome === 1));
    talk.on("home", (_, from) => this.heardOf(from, false, true));
  }

  start(now: number): void {
    this.startedAt = this.lookedAt = now;
  }

  get size(): number {
    return this.others.size;
  }

  has(node: string): boolean {
    return this.others.has(node);
  }

  /** The nodes that may be homes, this one included. */
  *homes(): Generator<string> {
    if (this.isHome) yield this.talk.self.node;
    for (const [node, { isHome }] of this.others) if (isHome) yield node;
  }

  /** No other node counts with this one: there is none, or NATS is away. */
  isAlone(now: number): boolean {
    if (this.startedAt === undefined) return true;
    if (this.cutSince !== undefined && now - this.cutSince >= ALONE_MS) return true;
    return this.others.size === 0 && this.isSettled(now) && this.peers.runs().length === 0;
  }

  /** Whether this node may have a part of each limit without a word. */
  hasPart(now: number): boolean {
    return this.isReady && this.isTrusted(now);
  }

  /** False after a gap: others may have called this node dead, and nothing holds that was known before. */
  isTrusted(now: number): boolean {
    return now < this.peers.safeUntil && now - this.lookedAt < STOOD_STILL_MS;
  }

  gone(node: string): void {
    this.others.delete(node);
  }

  /** Called often. `lost`: there was a gap. `joined`: a node has come. Returns whether this node has become a home. */
  look(now: number, { lost, joined }: { lost(): void; joined(node: string): void }): boolean {
    const { heardSince } = this.peers;
    this.cutSince = heardSince === undefined ? (this.cutSince ?? now) : undefined;
    if (heardSince === undefined || !this.isTrusted(now)) this.lose(lost);
    this.lookedAt = now;
    for (const { node, epoch } of this.peers.runs()) {
      if (this.others.get(node)?.epoch === epoch) continue;
      this.others.set(node, { epoch, isHome: false, welcomed: false, askedAt: undefined });
      joined(node);
    }
    for (const [node, other] of this.others) {
      if (other.welcomed || (other.askedAt !== undefined && now - other.askedAt < WELCOME_MS)) continue;
      other.askedAt = now;
      this.talk.tellTo(node, ["loads?"]);
    }
    if (!this.isSettled(now)) return false;
    this.isReady ||= [...this.others.values()].every(({ welcomed }) => welcomed);
    if (this.isHome) return false;
    this.isHome = true;
    this.talk.tell(["home"], "now");
    return true;
  }

  private lose(lost: () => void): void {
    this.isHome = this.isReady = false;
    for (const other of this.others.values()) {
      other.welcomed = false;
      other.askedAt = undefined;
    }
    lost();
  }

  private isSettled(now: number): boolean {
    const { heardSince } = this.peers;
    if (heardSince === undefined || this.startedAt === undefined || !this.isTrusted(now)) return false;
    // Once a home, it need not have heard itself without any gap; see `look`.
    return this.isHome || now - Math.max(heardSince, this.startedAt) >= SETTLED_MS;
  }

  private heardOf({ node, epoch }: NodeRun, welcomes: boolean, isHome: boolean): void {
    const other = this.others.get(node);
    if (other?.epoch !== epoch) return;
    other.welcomed ||= welcomes;
    other.isHome = isHome;
  }

  private *welcome(careful: Iterable<string>): Generator<Line> {
    for (const user of careful) yield ["careful", user];
    yield ["welcome", this.isHome ? 1 : 0];
  }
}
