import type { LoadsElsewhere, UserLimits, UserLoads } from "../relay/admission/user-loads.ts";
import type { Clock, TimerHandle } from "../support/clock.ts";
import type { NodeRun } from "./beat.ts";
import { type Grant, type Load, type LoadLimits, LoadsHome } from "./loads-home.ts";
import { homeOf } from "./placing.ts";
import { Promises } from "./promises.ts";
import { Standing } from "./standing.ts";
import type { Line, Peers, Talk } from "./talk.ts";

/*
 * What one user may have under way, at all nodes together (decision 14): never more than the limit, also where two
 * requests come at two nodes in the same moment.
 *
 * Each node may have a small part of each limit without a word: a 64th, so that 64 nodes cannot exceed it. That is one
 * request that rings and 15 sessions by default, and enough for most users. Before a user gets more at a node, that
 * node asks the user's home, which is one of the nodes, by rendezvous hashing: `LoadsHome`. The home asks all nodes
 * what the user has there. With its answer a node promises that for a minute it begins nothing of this user without
 * asking that home, and tells it what begins and ends. So the home knows the sum, and answers at once from then on.
 *
 * Homes come and go, and for a while two nodes may take themselves for a user's home. What one has granted the other
 * one counts, since it asks all nodes first, and whoever has answered it takes no grant of the former home any more.
 * Polls have numbers that grow, and nobody answers a smaller one than before. A node that has just started, or was cut
 * off, has no part of its own until all others have told it for which users nobody has; and it is no home before it has
 * heard of all nodes.
 *
 * While NATS is away, each node counts what it has itself: then the limit holds at each node, and not for their sum.
 * The same is true of parts of the cluster whose NATS servers do not hear each other.
 */

/** With more nodes than that, no node has a part of its own. */
const MAX_NODES = 64;
const ASK_AGAIN_MS = 250;
const LATER_MS = 50;
/** How long a request waits for an answer before it is refused. */
const ASK_MOST_MS = 2_000;
/** Changes are gathered for so long before the home hears of them. */
const GATHER_MS = 5;
const SWEEP_MS = 1_000;
const MAX_USER = 100;
const UNKNOWN = "how much this user has under way cannot be known now";

/** Requests of one user that wait for the home's answer. */
interface Asking {
  /** Of the question on its way. */
  id: number;
  to: string | undefined;
  want: number;
  /** How many sessions the user may have; undefined: as many as all others. */
  own: number | undefined;
  askAgainAt: number;
  readonly waiting: { readonly since: number; settle(why: string | undefined): void }[];
}

export class SharedLoads implements LoadsElsewhere {
  /** Since the start: requests that another node was asked about; requests that were refused for want of an answer. */
  readonly stats = { asked: 0, unknown: 0 };
  private readonly talk: Talk;
  private readonly peers: Peers;
  private readonly clock: Clock;
  private limits: UserLimits = { ringing: 0, sessions: 0 };
  /** Into how many parts a limit is cut, one for each node. */
  private parts = MAX_NODES;
  private part: LoadLimits = { ringing: 0, total: 0 };
  private loads: UserLoads | undefined;
  private home: LoadsHome | undefined;
  private readonly promises: Promises;
  private readonly asking = new Map<string, Asking>();
  /** Whose loads have changed and are to be told. */
  private readonly changedUsers = new Set<string>();
  private readonly standing: Standing;
  private sweptAt = 0;
  private started = false;
  private number = 0;
  private timer: TimerHandle;

  constructor(options: { readonly talk: Talk; readonly peers: Peers; readonly clock: Clock }) {
    const { talk, peers, clock } = options;
    this.talk = talk;
    this.peers = peers;
    this.clock = clock;
    this.promises = new Promises(clock);
    this.standing = new Standing({ talk, peers, careful: () => this.carefulUsers() });
    talk.on("careful", ([, user], from) => this.beCareful(user, from));
    talk.on("poll", ([, number, user], from) => this.polled(number, user, from));
    talk.on("outdated", ([, number, user, greatest]) => {
      if (isUser(user) && isCount(number) && isCount(greatest)) this.home?.outdated(user, number, greatest);
    });
    talk.on("ask", (line, from) => this.asked(line, from));
    talk.on("over", (line, from) => this.overElsewhere(line, from));
    talk.on("load", (line, from) => this.told(line, from));
    talk.on("grant", (line, from) => this.takeGrant(line, from));
    talk.on("later", ([, id, user], from) => this.takeLater(id, user, from));
  }

  /** From now on these limits, or what single users may have, hold for all nodes together. */
  keep(limits: UserLimits): LoadsElsewhere {
    this.limits = limits;
    const { talk, peers, clock } = this;
    this.home = new LoadsHome({
      talk,
      peers,
      clock,
      own: (user) => this.own(user),
      takes: (user) => this.takes(user),
      granted: (user, id, grant) => {
        if (grant === "later") this.takeLater(id, user, this.talk.self);
        else this.settle(user, id, grant, this.talk.self.node);
      },
    });
    return this;
  }

  attach(loads: UserLoads): void {
    this.loads = loads;
  }

  get size(): number {
    return this.home?.size ?? 0;
  }

  get polls(): number {
    return this.home?.polls ?? 0;
  }

  start(): void {
    this.started = true;
    this.standing.start(this.clock.monotonic());
    this.look();
  }

  stop(): void {
    this.started = false;
    this.clock.clearTimeout(this.timer);
    for (const user of [...this.asking.keys()]) this.refuse(user, UNKNOWN);
  }

  mayAlone(user: string, ringing: number, total: number, own: number | undefined): boolean {
    const { limits } = this;
    if (limits.ringing === 0 && (own ?? limits.sessions) === 0) return true;
    const now = this.clock.monotonic();
    if (this.standing.isAlone(now)) return true;
    if (!this.standing.hasPart(now)) return false;
    const mostHere = own === undefined ? this.part.total : partOf(own, this.parts);
    if (ringing >= this.part.ringing || total >= mostHere) return false;
    return !this.home?.has(user) && !this.promises.isFull && this.promises.homeOf(user) === undefined;
  }

  ask(user: string, own: number | undefined): Promise<string | undefined> {
    return new Promise((resolve) => {
      const now = this.clock.monotonic();
      let asking = this.asking.get(user);
      if (!asking) {
        asking = { id: 0, to: undefined, want: 0, own, askAgainAt: now, waiting: [] };
        this.asking.set(user, asking);
      }
      asking.own = own;
      asking.waiting.push({ since: now, settle: resolve });
      if (asking.want === 0) this.send(user, asking);
    });
  }

  changed(user: string, ringing: number, total: number): void {
    if (this.standing.size === 0) return;
    if (this.promises.homeOf(user) !== undefined || ringing > this.part.ringing || total > this.part.total)
      this.tellSoon(user);
  }

  private tellSoon(user: string): void {
    this.changedUsers.add(user);
    if (this.started) this.timer ??= this.clock.setTimeout(() => this.tellChanges(), GATHER_MS);
  }

  gone(node: string): void {
    this.standing.gone(node);
    this.home?.gone(node);
    for (const [user, asking] of this.asking) if (asking.to === node) this.send(user, asking);
  }

  look(): void {
    if (!this.started || !this.home) return;
    const now = this.clock.monotonic();
    this.lookAtPeers(now);
    for (const [user, asking] of this.asking) if (now >= asking.askAgainAt) this.send(user, asking);
    if (now - this.sweptAt >= SWEEP_MS) {
      this.sweptAt = now;
      this.promises.sweep(
        (user) => this.hasMore(user),
        (user) => this.tellOver(user),
      );
    }
    this.home.look();
  }

  private lookAtPeers(now: number): void {
    const becameHome = this.standing.look(now, {
      lost: () => this.home!.forget(),
      joined: (node) => {
        this.home!.joined(node);
        for (const user of this.loads?.users() ?? []) if (this.hasMore(user)) this.tellSoon(user);
      },
    });
    this.parts = this.standing.size < MAX_NODES ? MAX_NODES : Infinity;
    const { ringing, sessions } = this.limits;
    this.part = { ringing: partOf(ringing, this.parts), total: partOf(sessions, this.parts) };
    if (becameHome) for (const [user, asking] of this.asking) this.send(user, asking);
  }

  private limitsWith(sessions: number): LoadLimits {
    return { ringing: this.limits.ringing || Infinity, total: sessions || Infinity };
  }

  private own(user: string): Load {
    return this.loads?.of(user) ?? { ringing: 0, total: 0 };
  }

  /** No answer to a question of that user up to this one will be taken any more. */
  private settledOf(user: string): number {
    const asking = this.asking.get(user);
    return asking && asking.want > 0 ? asking.id - 1 : this.number;
  }

  private hasMore(user: string): boolean {
    const { ringing, total } = this.own(user);
    const { part } = this;
    // With no part at all everything is asked for anyway.
    return part.ringing > 0 && part.total > 0 && (ringing > part.ringing || total > part.total);
  }

  private homeFor(user: string): string | undefined {
    const { standing } = this;
    // A home may not have heard of this node yet, and would not ask it what it has.
    if (!standing.isHome) return undefined;
    // Whoever counts the user now goes on with that.
    const home = this.promises.homeOf(user);
    if (home !== undefined && standing.has(home)) return home;
    return this.home!.has(user) ? this.talk.self.node : homeOf(user, standing.homes());
  }

  private send(user: string, asking: Asking): void {
    const now = this.clock.monotonic();
    while (asking.waiting.length > 0 && now - asking.waiting[0]!.since >= ASK_MOST_MS) {
      asking.waiting.shift()!.settle(UNKNOWN);
      this.stats.unknown++;
    }
    if (asking.waiting.length === 0) {
      this.settle(user, asking.id, undefined);
      return;
    }
    if (this.standing.isAlone(now)) {
      this.countAlone(user, asking);
      return;
    }
    const to = this.homeFor(user);
    asking.askAgainAt = now + (to === undefined ? LATER_MS : ASK_AGAIN_MS);
    asking.to = to;
    asking.id = ++this.number;
    asking.want = asking.waiting.length;
    if (to === undefined) return;
    const load = this.own(user);
    const { id, want, own } = asking;
    const most = own ?? this.limits.sessions;
    if (to === this.talk.self.node) {
      this.home!.ask(user, { node: to, id, want, limits: this.limitsWith(most) }, load);
      return;
    }
    this.stats.asked++;
    this.talk.tellTo(to, ["ask", id, user, load.ringing, load.total, want, most]);
  }

  private countAlone(user: string, asking: Asking): void {
    this.asking.delete(user);
    for (const { settle } of asking.waiting) {
      const why = this.loads!.whyNot(user, asking.own);
      if (why === undefined) this.loads!.requestBegan(user);
      settle(why);
    }
  }

  /** The home has answered. What it did not grant is refused. */
  private settle(user: string, id: number, grant: Grant | undefined, by?: string): void {
    const asking = this.asking.get(user);
    if (!asking || asking.id !== id || (by !== undefined && asking.to !== by)) return;
    // Another home may count this node's users by now, or count without this node.
    if (by !== undefined && by !== this.talk.self.node && this.promises.homeOf(user) !== by) return;
    if (by !== undefined && !this.standing.isTrusted(this.clock.monotonic())) return;
    const { want } = asking;
    asking.want = 0;
    asking.to = undefined;
    const answered = grant ? asking.waiting.splice(0, want) : [];
    for (const [i, { settle }] of answered.entries()) {
      const why = i < grant!.granted ? this.loads!.whyNot(user, asking.own) : whyOf(grant!);
      if (why === undefined) this.loads!.requestBegan(user);
      settle(why);
    }
    if (asking.waiting.length > 0) this.send(user, asking);
    else if (asking.want === 0) this.asking.delete(user);
    if (this.promises.homeOf(user) !== undefined) this.tellSoon(user);
  }

  private refuse(user: string, why: string): void {
    const asking = this.asking.get(user);
    this.asking.delete(user);
    for (const { settle } of asking?.waiting ?? []) settle(why);
  }

  private tellChanges(): void {
    this.timer = undefined;
    for (const user of this.changedUsers) {
      const home = this.promises.homeOf(user);
      if (home !== undefined && this.standing.has(home)) {
        const { ringing, total } = this.own(user);
        const settled = this.settledOf(user);
        this.talk.tellTo(home, ["load", 0, user, ringing, total, settled], "soon");
      } else if (this.hasMore(user)) this.tellOver(user);
    }
    this.changedUsers.clear();
  }

  /** This node has more of the user than its part: all others must know. */
  private tellOver(user: string): void {
    const home = this.homeFor(user);
    const load = this.own(user);
    if (home === undefined) return;
    if (home === this.talk.self.node) this.home!.over(user, home, load);
    else this.talk.tellTo(home, ["over", user, load.ringing, load.total], "soon");
  }

  /** For a node that has come, or was cut off: of which users it must begin nothing without asking. */
  private carefulUsers(): Set<string> {
    const careful = new Set(this.home?.users() ?? []);
    for (const user of this.loads?.users() ?? []) if (this.hasMore(user)) careful.add(user);
    return careful;
  }

  /** A promise that no home has asked for. */
  private beCareful(user: unknown, { node }: NodeRun): void {
    // Without room for it, this node is careful with all users.
    if (isUser(user) && this.promises.homeOf(user) === undefined && !this.home?.has(user))
      this.promises.make(user, node, 0);
  }

  /** This node is the user's home now. */
  private takes(user: string): void {
    this.promises.drop(user);
    const asking = this.asking.get(user);
    if (asking && asking.want > 0 && asking.to !== this.talk.self.node) this.send(user, asking);
  }

  /** Another node is the user's home from now on. */
  private polled(number: unknown, user: unknown, from: NodeRun): void {
    if (!isUser(user) || !isCount(number) || !this.home) return;
    const greatest = this.promises.greaterThan(user, number, from.node) ?? this.home.yields(user, number, from.node);
    if (greatest !== undefined) {
      this.talk.tellTo(from.node, ["outdated", number, user, greatest]);
      return;
    }
    if (!this.promises.make(user, from.node, number)) return; // then the home gets no answer
    const { ringing, total } = this.own(user);
    const settled = this.settledOf(user);
    this.talk.tellTo(from.node, ["load", number, user, ringing, total, settled]);
    const asking = this.asking.get(user);
    // A grant of the home before does not count any more.
    if (asking && asking.want > 0 && asking.to !== from.node) this.send(user, asking);
  }

  private asked([, id, user, ringing, total, want, most]: Line, from: NodeRun): void {
    const load = loadOf(ringing, total);
    if (!isUser(user) || !load || !isCount(id) || !isCount(want) || !isCount(most) || !this.home) return;
    if (!this.standing.isHome || !this.standing.isTrusted(this.clock.monotonic()))
      this.talk.tellTo(from.node, ["later", id, user]);
    else this.home.ask(user, { node: from.node, id, want, limits: this.limitsWith(most) }, load);
  }

  private overElsewhere([, user, ringing, total]: Line, from: NodeRun): void {
    const load = loadOf(ringing, total);
    if (isUser(user) && load && this.standing.isHome) this.home?.over(user, from.node, load);
  }

  private told([, poll, user, ringing, total, settled]: Line, from: NodeRun): void {
    const load = loadOf(ringing, total);
    if (isUser(user) && load && isCount(settled) && typeof poll === "number")
      this.home?.told(user, from.node, load, settled, poll);
  }

  private takeGrant([, id, user, granted, why, count]: Line, from: NodeRun): void {
    if (!isUser(user) || !isCount(id) || !isCount(granted) || !isCount(count)) return;
    this.settle(user, id, { granted, why: why === "ringing" ? "ringing" : "sessions", count }, from.node);
  }

  private takeLater(id: unknown, user: unknown, from: NodeRun): void {
    const asking = isUser(user) ? this.asking.get(user) : undefined;
    if (asking?.id === id && asking?.to === from.node) asking.askAgainAt = this.clock.monotonic() + LATER_MS;
  }
}

const partOf = (limit: number, parts: number): number => (limit === 0 ? Infinity : Math.floor(limit / parts));
const whyOf = ({ why, count }: Grant): string =>
  why === "ringing"
    ? `${count} requests of this user wait for an answer, at all nodes together`
    : `this user has ${count} sessions and requests for more, at all nodes together`;
const isUser = (text: unknown): text is string => typeof text === "string" && text.length <= MAX_USER;
const isCount = (value: unknown): value is number => Number.isInteger(value) && (value as number) >= 0;
const loadOf = (ringing: unknown, total: unknown): Load | undefined =>
  isCount(ringing) && isCount(total) ? { ringing, total } : undefined;
