const WINDOW_MS = 1_000;
const MAX_SOURCES = 50_000;

/** How many requests each source address may begin in a second (decision 14). */
export class SourceRates {
  private readonly perSecond: number;
  private counts = new Map<string, number>();
  private windowEndsAt = 0;

  /** `perSecond` 0: no limit. */
  constructor(perSecond: number) {
    this.perSecond = perSecond;
  }

  /**
   * Counts a request of this source; false if it is one too many. Beyond 50,000 sources in a second, all new ones share
   * one count.
   */
  take(address: string, now: number): boolean {
    if (this.perSecond === 0) return true;
    if (now >= this.windowEndsAt) {
      this.counts = new Map();
      this.windowEndsAt = now + WINDOW_MS;
    }
    const key = this.counts.has(address) || this.counts.size < MAX_SOURCES ? address : "";
    const count = (this.counts.get(key) ?? 0) + 1;
    this.counts.set(key, count);
    return count <= this.perSecond;
  }
}
