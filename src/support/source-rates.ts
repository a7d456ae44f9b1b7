const WINDOW_MS = 1_000;
const MAX_SOURCES = 50_000;

/** What other nodes take of the same sources, where several nodes keep one limit. */
export interface RatesElsewhere {
  /** How many requests of that source the other nodes took in the last second, as far as it is known here. */
  taken(address: string, now: number): number;
  /** One more was taken here: the `count`-th in this second. */
  took(address: string, count: number): void;
}

/** How many requests each source address may begin in a second (decision 14). */
export class SourceRates {
  private readonly perSecond: number;
  private readonly elsewhere: RatesElsewhere | undefined;
  private counts = new Map<string, number>();
  private windowEndsAt = 0;

  /** `perSecond` 0: no limit. */
  constructor(perSecond: number, elsewhere?: RatesElsewhere) {
    this.perSecond = perSecond;
    this.elsewhere = elsewhere;
  }

  /**
   * Counts a request of this source; false if it is one too many. Beyond 50,000 sources in a second, all new ones share
   * one count.
   */
  take(address: string, now: number): boolean {
    const { elsewhere } = this;
    if (this.perSecond === 0) return true;
    if (now >= this.windowEndsAt) {
      this.counts = new Map();
      this.windowEndsAt = now + WINDOW_MS;
    }
    const key = this.counts.has(address) || this.counts.size < MAX_SOURCES ? address : "";
    const count = (this.counts.get(key) ?? 0) + 1;
    if (count + (elsewhere?.taken(key, now) ?? 0) > this.perSecond) return false;
    this.counts.set(key, count);
    elsewhere?.took(key, count);
    return true;
  }
}
