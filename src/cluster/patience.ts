/*
 * How long others wait for a node before they call it dead. On a machine with time to spare that is `DEAD_MS`. A node
 * whose beats take long to be heard and confirmed says in each beat that it needs longer (P3), and so does not fall
 * silent several times a second.
 */

/** A node that is not heard for so long is dead. It is four beats, since one or two may be late on a busy machine. */
export const DEAD_MS = 450;
/** A node is silent so long before others may call it dead. */
export const MARGIN_MS = 150;
/** A node that does not hear itself for so long is cut off. It knows so before the others call it dead. */
export const CUT_OFF_MS = DEAD_MS - MARGIN_MS;
/** No node is believed that asks for more. */
export const MOST_PATIENCE_MS = 8_000;
/** Beside what is usual: the margin, the time between two beats, and what a confirmation may be late. */
const SPARE_MS = 330;
/** Beats said before this many beats are forgotten: they prove nothing any more. */
const SAID_KEPT = 120;

/** What a confirmation takes at most where there is time to spare: the next beat is a tenth of a second away. */
const USUAL_MS = 120;

/**
 * How long it takes until a beat is known to be heard, at most. It grows at once, and falls within some twenty seconds:
 * on a machine that is too slow, what was late comes in bursts.
 */
export class RoundTrip {
  private peak = 0;

  took(ms: number): void {
    this.peak += (ms - this.peak) / (ms > this.peak ? 2 : 64);
  }

  /** Milliseconds; 0: not known yet. */
  get most(): number {
    return this.peak + Math.max(0, this.peak - USUAL_MS) / 2;
  }
}

interface Said {
  readonly at: number;
  /** Until when whoever has heard this beat cannot call the node dead, less the margin. */
  readonly until: number;
}

/** What this node has asked of the others with its last beats. */
export class Patience {
  private readonly mostMs: number;
  private readonly said = new Map<number, Said>();
  private last: Said = { at: 0, until: 0 };
  /** What the last beat asked for. */
  askedMs = DEAD_MS;

  /** `mostMs`: what it asks for at most. */
  constructor(mostMs: number) {
    this.mostMs = Math.max(DEAD_MS, mostMs);
  }

  /**
   * A beat is about to be said, and a confirmation takes `tripMs` at most, as far as is known. Returns the patience
   * that the beat asks for. It falls no faster than time passes: what an earlier beat asks for, a later one does not
   * take back.
   */
  says(number: number, now: number, tripMs: number): number {
    const asked = this.last.until + MARGIN_MS - now;
    const ms = Math.ceil(Math.max(DEAD_MS, asked, Math.min(this.mostMs, tripMs + SPARE_MS)));
    this.last = { at: now, until: now + ms - MARGIN_MS };
    this.said.set(number, this.last);
    this.said.delete(number - SAID_KEPT);
    this.askedMs = ms;
    return ms;
  }

  /** When the beat was said; undefined: too long ago. */
  saidAt(number: number): number | undefined {
    return this.said.get(number)?.at;
  }

  /** Until when whoever has heard the beat cannot call this node dead, less the margin. */
  until(number: number): number {
    return this.said.get(number)?.until ?? Number.NEGATIVE_INFINITY;
  }
}
