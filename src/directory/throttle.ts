export { sourceKey } from "../support/source.ts";

/** How failed sign-ins slow down whoever makes them. */
export interface ThrottleSettings {
  /** So many failures of one user from one source within the window cost nothing. */
  readonly failures: number;
  readonly windowS: number;
  /** The first wait; each further failure doubles it. */
  readonly delayS: number;
  readonly maxDelayS: number;
  /** Pairs of user and source remembered at most; what waits is forgotten last. */
  readonly sources: number;
  /**
   * So many failures from one source, of whatever users, within the window cost nothing; default twenty times
   * `failures`.
   */
  readonly failuresBySource?: number;
  /**
   * With more failures of one user within the window, from wherever, whoever is not known to be that user waits from
   * the first failure on; default as above.
   */
  readonly failuresByUser?: number;
}

export interface ThrottleEntry {
  failures: number;
  /** When the first of these failures happened, or the last wait was over. */
  since: number;
  blockedUntil: number;
  /**
   * How many more may be looked at before the wait is over: of whoever is known there, and of those that come from
   * where the user did.
   */
  spare: number;
  ownSpare: number;
  /** Ports from which failures came, the latest last. */
  lines: number[];
  /** From when on one from another port is looked at before the wait is over. */
  lookAt: number;
  lookEveryMs: number;
  /** What failed last. */
  what: string;
}

/**
 * Counts failures by a key and makes it wait longer and longer. Its memory is bounded, and noise does not wash it
 * out: who fails once goes before who has to wait. Times are milliseconds of a clock that nobody can set.
 */
export class Throttle {
  /** Those that wait, or did so last; and those that failed now and then. Each in the order of the last failure. */
  private readonly waiting = new Map<string, ThrottleEntry>();
  private readonly few = new Map<string, ThrottleEntry>();
  private readonly settings: Pick<ThrottleSettings, "failures" | "windowS" | "delayS" | "maxDelayS" | "sources">;

  constructor(settings: Pick<ThrottleSettings, "failures" | "windowS" | "delayS" | "maxDelayS" | "sources">) {
    this.settings = settings;
  }

  /** Milliseconds that the key still has to wait; 0: it may try. */
  waitMs(key: string, now: number): number {
    if (this.waiting.size === 0) return 0;
    const entry = this.waiting.get(key);
    return entry === undefined ? 0 : Math.max(0, entry.blockedUntil - now);
  }

  get(key: string): ThrottleEntry | undefined {
    return this.waiting.get(key) ?? this.few.get(key);
  }

  /**
   * One more failure; `free`: as many cost nothing, default those of the settings. Returns the milliseconds that it
   * has to wait now.
   */
  failed(key: string, now: number, free = this.settings.failures): number {
    const { windowS, delayS, maxDelayS, sources } = this.settings;
    let entry = this.get(key);
    if (entry === undefined || now - entry.since > windowS * 1000) {
      entry = {
        failures: 0,
        since: now,
        blockedUntil: 0,
        spare: 0,
        ownSpare: 0,
        lines: [],
        lookAt: 0,
        lookEveryMs: 0,
        what: "",
      };
    }
    entry.failures++;
    const beyond = entry.failures - free;
    if (beyond >= 0) {
      entry.blockedUntil = now + Math.min(maxDelayS, delayS * 2 ** Math.min(beyond, 30)) * 1000;
      // Quiet is counted from the end of the wait: the next guess after it waits longer still.
      entry.since = entry.blockedUntil;
    }
    this.forget(key);
    (beyond >= 0 ? this.waiting : this.few).set(key, entry);
    if (this.size > sources) {
      const from = this.few.size > 0 ? this.few : this.waiting;
      from.delete(from.keys().next().value!);
    }
    return Math.max(0, entry.blockedUntil - now);
  }

  /** Nothing is held against the key any more. True if there was. */
  forget(key: string): boolean {
    return this.waiting.delete(key) || this.few.delete(key);
  }

  keys(): string[] {
    return [...this.waiting.keys(), ...this.few.keys()];
  }

  get size(): number {
    return this.waiting.size + this.few.size;
  }
}
