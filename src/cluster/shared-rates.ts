import type { Clock, TimerHandle } from "../support/clock.ts";
import type { RatesElsewhere } from "../support/source-rates.ts";
import type { Line, Peers, Talk } from "./talk.ts";

/*
 * Rates that hold for all nodes together: how many requests one source may begin in a second. Each node counts what it
 * takes, and tells the others some milliseconds later. It takes no more than is left of the limit when it subtracts
 * what the others took in the last second.
 *
 * How exact that is: a node says nothing of a source from which it took less than a twentieth of its share, so that
 * usual sources cost nothing; that is up to 5 % above the limit. And while a flood begins, the nodes take what comes
 * within the some 10 ms until they have heard of each other: of 5,000 requests in a second, 50 once. From then on the
 * sum holds. If a message is lost, so is what it said of these 10 ms.
 */

const TELL_MS = 10;
/** A node's part of a limit that it may take without a word, is its share divided by this. */
const UNTOLD_PART = 20;
/** The last second, in parts. */
const PARTS = 10;
const PART_MS = 100;
/**
 * How many sources of other nodes are known of each limit. The one that was heard of longest ago is forgotten first.
 */
const MAX_SOURCES = 50_000;
const MAX_KEY = 200;

/** What others took of one source in the last second, by tenths of it. */
class LastSecond {
  private readonly parts = new Float64Array(PARTS);
  private latest = 0;
  private sum = 0;

  add(count: number, now: number): void {
    this.moveTo(now);
    this.parts[this.latest % PARTS]! += count;
    this.sum += count;
  }

  at(now: number): number {
    this.moveTo(now);
    return this.sum;
  }

  private moveTo(now: number): void {
    const part = Math.floor(now / PART_MS);
    if (part - this.latest >= PARTS) {
      this.parts.fill(0);
      this.sum = 0;
      this.latest = part;
    }
    while (this.latest < part) {
      const place = ++this.latest % PARTS;
      this.sum -= this.parts[place]!;
      this.parts[place] = 0;
    }
  }
}

/** One limit. */
class Rate implements RatesElsewhere {
  readonly elsewhere = new Map<string, LastSecond>();
  /** What was taken here since it was told last. */
  readonly untold = new Map<string, number>();
  private readonly perSecond: number;
  private readonly nodes: () => number;
  private readonly tellSoon: () => void;

  constructor(perSecond: number, nodes: () => number, tellSoon: () => void) {
    this.perSecond = perSecond;
    this.nodes = nodes;
    this.tellSoon = tellSoon;
  }

  taken(address: string, now: number): number {
    return this.elsewhere.size === 0 ? 0 : (this.elsewhere.get(address)?.at(now) ?? 0);
  }

  took(address: string, count: number): void {
    const nodes = this.nodes();
    if (nodes < 2) return;
    const quiet = Math.floor(this.perSecond / nodes / UNTOLD_PART);
    if (count <= quiet || address.length > MAX_KEY) return;
    // With the first that is told, those go along that were not.
    this.untold.set(address, (this.untold.get(address) ?? 0) + (count === quiet + 1 ? count : 1));
    this.tellSoon();
  }
}

export class SharedRates {
  private readonly talk: Talk;
  private readonly peers: Pick<Peers, "runs">;
  private readonly clock: Clock;
  private readonly rates = new Map<string, Rate>();
  private nodes = 1;
  private timer: TimerHandle;

  constructor(options: { readonly talk: Talk; readonly peers: Pick<Peers, "runs">; readonly clock: Clock }) {
    const { talk, peers, clock } = options;
    this.talk = talk;
    this.peers = peers;
    this.clock = clock;
    talk.on("rate", (line) => this.heard(line));
  }

  /** One limit of all nodes, which is the same at each. `name` tells limits apart. */
  rate(name: string, perSecond: number): RatesElsewhere {
    const rate = new Rate(
      perSecond,
      () => this.nodes,
      () => this.tellSoon(),
    );
    this.rates.set(name, rate);
    return rate;
  }

  /** How many nodes there are now. */
  look(): void {
    this.nodes = this.peers.runs().length + 1;
  }

  stop(): void {
    this.clock.clearTimeout(this.timer);
    this.timer = undefined;
  }

  private tellSoon(): void {
    this.timer ??= this.clock.setTimeout(() => this.tell(), TELL_MS);
  }

  private tell(): void {
    this.timer = undefined;
    for (const [name, { untold }] of this.rates) {
      for (const [address, count] of untold) this.talk.tell(["rate", name, address, count], "now");
      untold.clear();
    }
  }

  private heard([, name, address, count]: Line): void {
    const rate = typeof name === "string" ? this.rates.get(name) : undefined;
    if (!rate || typeof address !== "string" || typeof count !== "number" || count < 1) return;
    const { elsewhere } = rate;
    const known = elsewhere.get(address) ?? new LastSecond();
    known.add(count, this.clock.monotonic());
    elsewhere.delete(address); // to the end of the map
    elsewhere.set(address, known);
    if (elsewhere.size > MAX_SOURCES) elsewhere.delete(elsewhere.keys().next().value!);
  }
}
