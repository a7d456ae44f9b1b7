import type { Via } from "../sip/headers.ts";
import type { Clock } from "../support/clock.ts";

/*
 * Overload control by feedback (RFC 7339, RFC 7415): a peer that says `oc` in its Via is told in the answer how much
 * less it should send, or how much it may.
 */

/** How long a word of ours holds, milliseconds (RFC 7339 §5.2). */
const VALID_MS = 1_000;
/** How often the load is worked out anew. */
const WINDOW_MS = 200;
/** How many peers of the rate-based kind are told apart. The rate is shared among them. */
const MOST_PEERS = 1_000;

/** What came and what of it was refused, up to now. */
export interface LoadCounts {
  /** Requests that were handled. */
  readonly handled: number;
  readonly refused: number;
}

export class OverloadFeedback {
  private readonly clock: Clock;
  private readonly counts: () => LoadCounts;
  private before: LoadCounts;
  private beforeAt: number;
  /** By how many percent the requests are to become fewer. */
  private lossPercent = 0;
  /** How many requests in a second are handled. */
  private perSecond = 0;
  /** Rate-based peers, and when each was heard of. */
  private readonly peers = new Map<string, number>();
  private seq = 0;

  constructor(clock: Clock, counts: () => LoadCounts) {
    this.clock = clock;
    this.counts = counts;
    this.before = counts();
    this.beforeAt = clock.monotonic();
  }

  /** What stands in the answer's Via in the place of the peer's `oc` and `oc-algo`; undefined: it has not asked. */
  for(via: Via, address: string): string | undefined {
    const asked = via.params.get("oc");
    if (asked === undefined) return undefined;
    // RFC 7339 §5.1: `loss` is always among them, and is the choice where the peer names nothing that is known here.
    const byRate = RATE.test(via.params.get("oc-algo") ?? "") && !LOSS_FIRST.test(via.params.get("oc-algo") ?? "");
    const now = this.clock.monotonic();
    if (now - this.beforeAt >= WINDOW_MS) this.look(now);
    if (byRate) this.note(address, now);
    const isOver = this.lossPercent > 0;
    const share = Math.max(1, Math.floor(this.perSecond / Math.max(1, this.peers.size)));
    const value = isOver ? (byRate ? share : this.lossPercent) : 0;
    // RFC 7339 §5.2: numbers that only grow. Of the wall clock, so that they also do after a restart.
    this.seq = Math.max(this.seq + 0.001, this.clock.wall() / 1000);
    // RFC 7339 §5.1: oc-validity=0 says that all is well; with `rate`, 0 alone would mean that nothing may be sent.
    const validity = isOver ? VALID_MS : 0;
    return `;oc=${value};oc-algo="${byRate ? "rate" : "loss"}";oc-validity=${validity};oc-seq=${this.seq.toFixed(3)}`;
  }

  private note(address: string, now: number): void {
    this.peers.delete(address);
    this.peers.set(address, now);
    for (const [peer, at] of this.peers) {
      if (now - at < 10 * VALID_MS && this.peers.size <= MOST_PEERS) break;
      this.peers.delete(peer);
    }
  }

  private look(now: number): void {
    const { handled, refused } = this.counts();
    const done = handled - this.before.handled;
    const late = refused - this.before.refused;
    const sinceMs = now - this.beforeAt;
    this.before = { handled, refused };
    this.beforeAt = now;
    if (sinceMs > 4 * WINDOW_MS && late === 0) {
      this.lossPercent = 0; // nobody has asked for a while
      return;
    }
    this.perSecond = (done * 1000) / sinceMs;
    if (late > 0) {
      // What is refused of that which still comes, is to be held back as well.
      const more = (100 - this.lossPercent) * (late / (done + late));
      this.lossPercent = Math.min(90, Math.ceil(this.lossPercent + more));
    } else this.lossPercent = Math.floor(this.lossPercent * 0.9);
  }
}

const RATE = /(?:^|[",\s])rate(?:[",\s]|$)/i;
/** RFC 7415 §3.2: the server chooses; here what the peer names first. */
const LOSS_FIRST = /^[",\s]*loss/i;
