export { sourceKey } from "../support/source.ts";

/** How failed sign-ins slow their source down. */
export interface ThrottleSettings {
  /** So many failures within the window cost nothing. */
  readonly failures: number;
  readonly windowS: number;
  /** The first wait; each further failure doubles it. */
  readonly delayS: number;
  readonly maxDelayS: number;
  /** Sources remembered at most; the one that failed longest ago is forgotten first. */
  readonly sources: number;
}

interface Entry {
  failures: number;
  /** When the first of these failures happened, or the last wait was over. */
  since: number;
  blockedUntil: number;
}

/**
 * Slows down sources whose sign-ins fail again and again. It goes by source, never by user: nobody can lock a user out from elsewhere.
 * Times are milliseconds of a clock that nobody can set.
 */
export class Throttle {
  private readonly entries = new Map<string, Entry>();
  private readonly settings: ThrottleSettings;

  constructor(settings: ThrottleSettings) {
    this.settings = settings;
  }

  /** Milliseconds that the source still has to wait; 0: it may try. */
  waitMs(source: string, now: number): number {
    if (this.entries.size === 0) return 0;
    const entry = this.entries.get(source);
    return entry === undefined ? 0 : Math.max(0, entry.blockedUntil - now);
  }

  /** A sign-in from that source failed. */
  failed(source: string, now: number): void {
    const { failures, windowS, delayS, maxDelayS, sources } = this.settings;
    let entry = this.entries.get(source);
    if (entry === undefined || now - entry.since > windowS * 1000) {
      entry = { failures: 0, since: now, blockedUntil: 0 };
    }
    entry.failures++;
    const beyond = entry.failures - failures;
    if (beyond >= 0) {
      entry.blockedUntil = now + Math.min(maxDelayS, delayS * 2 ** Math.min(beyond, 30)) * 1000;
      // Quiet is counted from the end of the wait: the next guess after it waits longer still.
      entry.since = entry.blockedUntil;
    }
    this.entries.delete(source); // to the end of the map: the order is that of the last failure
    this.entries.set(source, entry);
    if (this.entries.size > sources) this.entries.delete(this.entries.keys().next().value!);
  }

  get size(): number {
    return this.entries.size;
  }
}
