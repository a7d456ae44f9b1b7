import type { Clock } from "../support/clock.ts";
import type { Line, Peers, Talk } from "./talk.ts";

/** What one user has under way at one node. */
export interface Load {
  /** Requests that nobody has answered yet. */
  readonly ringing: number;
  /** Those, and sessions. */
  readonly total: number;
}

/** How much one user may have under way at all nodes together; Infinity: no bound. */
export type LoadLimits = Load;

/** One node's load of a user, as its home knows it. */
interface Known extends Load {
  /** What was granted by the answer to `askId`, and does not count in `ringing` and `total` yet. */
  granted: number;
  askId: number;
  /** When the node was gone; undefined: it is there. */
  goneAt: number | undefined;
}

interface Ask {
  readonly node: string;
  readonly id: number;
  readonly want: number;
  readonly limits: LoadLimits;
}

interface Entry {
  /** The number of the last poll. */
  ballot: number;
  /** When all nodes were asked what the user has there, all of which have answered; undefined: not yet. */
  polledAt: number | undefined;
  poll: Poll | undefined;
  readonly known: Map<string, Known>;
}

interface Poll {
  /** Greater than any that this node has heard of. A node that has promised something to a greater one answers no. */
  readonly number: number;
  readonly beganAt: number;
  sentAt: number;
  readonly waiting: Set<string>;
  readonly asks: Ask[];
}

/** What a home says: so many may begin; if less than were asked for, why, and how much there is of it. */
export interface Grant {
  readonly granted: number;
  readonly why: "" | "ringing" | "sessions";
  readonly count: number;
}

/** How long the answers of all nodes are relied on. It is shorter than the nodes ask before they begin anything. */
export const VALID_MS = 30_000;
/** An entry that is older than this is renewed by a node that has more than its part. */
const RENEW_MS = 20_000;
/** Before anybody is refused, the nodes are asked again if that was longer ago: something may have been lost. */
const FRESH_MS = 1_000;
const POLL_AGAIN_MS = 100;
const POLL_MOST_MS = 1_500;
/** What a node had counts for so long after its death: others may take it up. */
const GRACE_MS = 5_000;
const SWEEP_MS = 5_000;
const MAX_ENTRIES = 100_000;
const MAX_ASKS = 1_000;

/**
 * The home of some users: it alone says who of them may begin one more request, so that a limit is never exceeded in
 * sum. Before it says so, it has asked each node what the user has there, and each node has promised to begin nothing
 * of that user without asking it (see SharedLoads). It keeps count by what the nodes tell it then.
 */
export class LoadsHome {
  /** Since the start: how often all nodes were asked about a user. */
  polls = 0;
  private readonly talk: Talk;
  private readonly peers: Pick<Peers, "runs">;
  private readonly clock: Pick<Clock, "monotonic">;
  private readonly own: (user: string) => Load;
  private readonly takes: (user: string) => void;
  private readonly granted: (user: string, ask: number, grant: Grant | "later") => void;
  private readonly entries = new Map<string, Entry>();
  /** Users about whom all nodes are being asked. */
  private readonly polling = new Set<string>();
  private sweptAt = 0;
  private number = 0;

  /**
   * `own`: what the user has at this node. `takes`: from now on this node is the user's home. `granted`: answers what
   * this node has asked.
   */
  constructor(options: {
    readonly talk: Talk;
    readonly peers: Pick<Peers, "runs">;
    readonly clock: Pick<Clock, "monotonic">;
    readonly own: (user: string) => Load;
    readonly takes: (user: string) => void;
    readonly granted: (user: string, ask: number, grant: Grant | "later") => void;
  }) {
    this.talk = options.talk;
    this.peers = options.peers;
    this.clock = options.clock;
    this.own = options.own;
    this.takes = options.takes;
    this.granted = options.granted;
  }

  get size(): number {
    return this.entries.size;
  }

  has(user: string): boolean {
    return this.entries.has(user);
  }

  users(): IterableIterator<string> {
    return this.entries.keys();
  }

  /** A node wants to begin so many requests of a user; it has `load` now, and waits for nothing else of that user. */
  ask(user: string, ask: Ask, load: Load): void {
    const entry = this.entryOf(user);
    if (!entry) {
      this.answer(user, ask, "later");
      return;
    }
    this.know(entry, ask.node, load, ask.id);
    if (entry.poll) this.wait(user, entry.poll, ask);
    else if (!this.isValid(entry, VALID_MS)) this.poll(user, entry, [ask]);
    else this.decide(user, entry, ask, false);
  }

  /** A node has more of a user than it may have without a word. */
  over(user: string, node: string, load: Load): void {
    const entry = this.entryOf(user);
    if (!entry) return;
    this.know(entry, node, load);
    if (!entry.poll && !this.isValid(entry, RENEW_MS)) this.poll(user, entry, []);
  }

  /**
   * What a node has now. `poll`: it answers that one; 0: it has changed. `settled`: its last question with an answer.
   */
  told(user: string, node: string, load: Load, settled: number, poll: number): void {
    const entry = this.entries.get(user);
    if (!entry) return;
    this.know(entry, node, load, settled);
    if (entry.poll?.number !== poll) return;
    entry.poll.waiting.delete(node);
    this.ended(user, entry);
  }

  /**
   * Another node wants to be the user's home, with a poll of that number. If that is greater than the last one of this
   * node, this node knows nothing any more. Otherwise the number of this node's last one.
   */
  yields(user: string, number: number, to: string): number | undefined {
    this.number = Math.max(this.number, number);
    const entry = this.entries.get(user);
    if (entry && comesBefore(number, to, entry.ballot, this.talk.self.node)) return entry.ballot;
    this.drop(user);
    return undefined;
  }

  /** A node has promised something to a poll with a greater number: this one comes to nothing. */
  outdated(user: string, number: number, greatest: number): void {
    this.number = Math.max(this.number, greatest);
    if (this.entries.get(user)?.poll?.number === number) this.drop(user);
  }

  private drop(user: string): void {
    const asks = this.entries.get(user)?.poll?.asks ?? [];
    this.entries.delete(user);
    this.polling.delete(user);
    for (const ask of asks) this.answer(user, ask, "later");
  }

  /** A node is there. Nobody knows yet what its users have there: sessions of its run before may go on. */
  joined(node: string): void {
    for (const [user, entry] of this.entries) {
      entry.polledAt = undefined;
      if (!entry.poll) continue;
      entry.poll.waiting.add(node);
      this.talk.tellTo(node, ["poll", entry.poll.number, user]);
    }
  }

  gone(node: string): void {
    const now = this.clock.monotonic();
    for (const [user, entry] of this.entries) {
      const known = entry.known.get(node);
      if (known) entry.known.set(node, asGone(known, now));
      if (entry.poll?.waiting.delete(node)) this.ended(user, entry);
    }
  }

  /** Asks again those that have not answered, and forgets what is too old. */
  look(): void {
    const now = this.clock.monotonic();
    for (const user of this.polling) {
      const poll = this.entries.get(user)!.poll!;
      if (now - poll.beganAt >= POLL_MOST_MS) this.drop(user);
      else if (now - poll.sentAt >= POLL_AGAIN_MS) {
        poll.sentAt = now;
        for (const node of poll.waiting) this.talk.tellTo(node, ["poll", poll.number, user]);
      }
    }
    if (now - this.sweptAt < SWEEP_MS) return;
    this.sweptAt = now;
    for (const [user, entry] of this.entries) {
      if (entry.poll || this.isValid(entry, 2 * VALID_MS)) continue;
      const counts = ({ goneAt }: Known) => goneAt !== undefined && now - goneAt < GRACE_MS;
      if (![...entry.known.values()].some(counts)) this.entries.delete(user);
    }
  }

  /** This node was cut off: what it knows may be wrong. */
  forget(): void {
    for (const user of this.entries.keys()) this.drop(user);
  }

  private entryOf(user: string): Entry | undefined {
    const known = this.entries.get(user);
    if (known) return known;
    if (this.entries.size >= MAX_ENTRIES) {
      const [oldest, { poll }] = this.entries.entries().next().value!;
      if (poll) return undefined;
      this.entries.delete(oldest);
    }
    const entry: Entry = { ballot: 0, polledAt: undefined, poll: undefined, known: new Map() };
    this.entries.set(user, entry);
    return entry;
  }

  private isValid({ polledAt }: Entry, forMs: number): boolean {
    return polledAt !== undefined && this.clock.monotonic() - polledAt < forMs;
  }

  /** `settled`: the node has had the answers to all its questions up to this one. */
  private know(entry: Entry, node: string, { ringing, total }: Load, settled = 0): void {
    if (node === this.talk.self.node) return; // `own` says it
    const before = entry.known.get(node);
    const isOpen = before !== undefined && before.granted > 0 && settled < before.askId;
    const { granted, askId } = isOpen ? before : { granted: 0, askId: 0 };
    entry.known.set(node, { ringing, total, granted, askId, goneAt: undefined });
  }

  private wait(user: string, { asks }: Poll, ask: Ask): void {
    // A node has one question about a user at a time. When it asks again, it does not take the former answer any more.
    const again = asks.findIndex(({ node }) => node === ask.node);
    if (again >= 0) asks[again] = ask;
    else if (asks.length < MAX_ASKS) asks.push(ask);
    else this.answer(user, ask, "later");
  }

  private poll(user: string, entry: Entry, asks: Ask[]): void {
    const now = this.clock.monotonic();
    this.polls++;
    const waiting = new Set(this.peers.runs().map(({ node }) => node));
    const poll: Poll = { number: ++this.number, beganAt: now, sentAt: now, waiting, asks };
    entry.poll = poll;
    entry.ballot = poll.number;
    this.polling.add(user);
    this.takes(user);
    for (const node of waiting) this.talk.tellTo(node, ["poll", poll.number, user]);
    this.ended(user, entry); // where there is nobody to ask
  }

  private ended(user: string, entry: Entry): void {
    const { poll } = entry;
    if (!poll || poll.waiting.size > 0) return;
    entry.poll = undefined;
    this.polling.delete(user);
    entry.polledAt = poll.beganAt;
    this.entries.delete(user); // to the end of the map
    this.entries.set(user, entry);
    for (const ask of poll.asks) this.decide(user, entry, ask, true);
  }

  /** `isFresh`: all nodes have answered for this question. */
  private decide(user: string, entry: Entry, ask: Ask, isFresh: boolean): void {
    if (entry.poll) {
      this.wait(user, entry.poll, ask);
      return;
    }
    const grant = this.grantOf(user, entry, ask);
    if (grant.granted < ask.want && !isFresh && !this.isValid(entry, FRESH_MS)) {
      this.poll(user, entry, [ask]);
      return;
    }
    const known = entry.known.get(ask.node);
    if (known) {
      known.granted = grant.granted;
      known.askId = ask.id;
    }
    this.answer(user, ask, grant);
  }

  private grantOf(user: string, entry: Entry, { want, limits }: Ask): Grant {
    const now = this.clock.monotonic();
    let { ringing, total } = this.own(user);
    for (const known of entry.known.values()) {
      if (known.goneAt !== undefined && now - known.goneAt >= GRACE_MS) continue;
      ringing += known.ringing + known.granted;
      total += known.total + known.granted;
    }
    const granted = Math.max(0, Math.min(want, limits.ringing - ringing, limits.total - total));
    if (granted === want) return { granted, why: "", count: 0 };
    const rings = ringing + granted >= limits.ringing;
    return { granted, why: rings ? "ringing" : "sessions", count: granted + (rings ? ringing : total) };
  }

  private answer(user: string, { node, id }: Pick<Ask, "node" | "id">, grant: Grant | "later"): void {
    if (node === this.talk.self.node) this.granted(user, id, grant);
    else this.talk.tellTo(node, writeGrant(user, id, grant));
  }
}

/** What was granted counts, too: nobody knows what became of it. The node's next run begins to count anew. */
const asGone = ({ ringing, total, granted }: Known, goneAt: number): Known => ({
  ringing: ringing + granted,
  total: total + granted,
  granted: 0,
  askId: 0,
  goneAt,
});

/** Polls of different nodes are in one order, which is the same for all: by number, then by name. */
export const comesBefore = (number: number, node: string, otherNumber: number, otherNode: string): boolean =>
  number < otherNumber || (number === otherNumber && node < otherNode);

const writeGrant = (user: string, id: number, grant: Grant | "later"): Line =>
  grant === "later" ? ["later", id, user] : ["grant", id, user, grant.granted, grant.why, grant.count];
