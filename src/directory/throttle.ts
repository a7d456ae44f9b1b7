export { sourceKey } from "../support/source.ts";

/** How failed sign-ins slow down the next ones. */
export interface ThrottleSettings {
  /** The failure of this number, of one user from one source within the window, begins the first wait. */
  readonly failures: number;
  readonly windowS: number;
  /** The first wait; each further failure doubles it. */
  readonly delayS: number;
  readonly maxDelayS: number;
  /** How many pairs of user and source are remembered. Those that wait are forgotten last. */
  readonly sources: number;
  /** The same for failures from one source, of all users together; default twenty times `failures`. */
  readonly failuresBySource?: number;
  /**
   * With more failures of one user than this within the window, from all sources together, a source where the user is
   * not known waits from the first failure on. Default as above.
   */
  readonly failuresByUser?: number;
}

export interface ThrottleEntry {
  failures: number;
  /** When the first of these failures happened, or the last wait was over. */
  since: number;
  blockedUntil: number;
  /**
   * How many more sign-ins are checked before the wait is over, of a user who is known there. `ownSpare`: of those from
   * the port of the user's last sign-in.
   */
  spare: number;
  ownSpare: number;
  /** Ports from which failures came, the latest last. */
  lines: number[];
  /** From when on a sign-in from a port without a failure is checked, even before the wait is over. */
  lookAt: number;
  lookEveryMs: number;
  /** What the last failure was tried with. */
  what: string;
}

/** The failures of a key, as one node tells another. Milliseconds. */
export interface Learnt {
  readonly failures: number;
  /** How long ago the first of them was, or the last wait was over. */
  readonly agoMs: number;
  readonly waitMs: number;
}

const newEntry = (now: number): ThrottleEntry => ({
  failures: 0,
  since: now,
  blockedUntil: 0,
  spare: 0,
  ownSpare: 0,
  lines: [],
  lookAt: 0,
  lookEveryMs: 0,
  what: "",
});

/**
 * Counts failures by key, and makes a key wait longer and longer. Its memory is bounded. Many keys with single failures
 * cannot push out those that wait: keys that do not wait are forgotten first. Times are milliseconds of a clock that
 * nobody can set.
 */
export class Throttle {
  /**
   * `waiting`: keys whose last failure began a wait. `few`: keys whose last failure began none. Both in the order of
   * the last failure.
   */
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
   * Counts one more failure. `free`: the failure of this number begins the first wait; default that of the settings.
   * `adds`: the failure happened beside others that are counted already, so its wait comes after theirs. Returns the
   * milliseconds that the key has to wait now.
   */
  failed(key: string, now: number, free = this.settings.failures, adds = false): number {
    const { windowS, delayS, maxDelayS } = this.settings;
    let entry = this.get(key);
    if (entry === undefined || now - entry.since > windowS * 1000) {
      entry = newEntry(now);
    }
    entry.failures++;
    const beyond = entry.failures - free;
    if (beyond >= 0) {
      entry.blockedUntil =
        (adds ? Math.max(now, entry.blockedUntil) : now) +
        Math.min(maxDelayS, delayS * 2 ** Math.min(beyond, 30)) * 1000;
      // The window begins anew at the end of the wait, so that the next failure waits longer still.
      entry.since = entry.blockedUntil;
    }
    this.keep(key, entry, beyond >= 0);
    return Math.max(0, entry.blockedUntil - now);
  }

  /**
   * Takes what somebody else knows of the key, if that is more than what is known here: so many failures, since when,
   * and how long the key still has to wait. Undefined: it was not more.
   */
  learn(key: string, now: number, { failures, agoMs, waitMs }: Learnt): ThrottleEntry | undefined {
    const known = this.get(key);
    if (known && known.failures >= failures && known.blockedUntil - now >= waitMs) return undefined;
    const entry = known ?? newEntry(now);
    entry.failures = Math.max(entry.failures, failures);
    if (waitMs > 0) entry.blockedUntil = Math.max(entry.blockedUntil, now + waitMs);
    entry.since = Math.max(known?.since ?? now - agoMs, waitMs > 0 ? entry.blockedUntil : now - agoMs);
    this.keep(key, entry, entry.blockedUntil > now);
    return entry;
  }

  private keep(key: string, entry: ThrottleEntry, waits: boolean): void {
    this.forget(key);
    (waits ? this.waiting : this.few).set(key, entry);
    if (this.size <= this.settings.sources) return;
    const from = this.few.size > 0 ? this.few : this.waiting;
    from.delete(from.keys().next().value!);
  }

  /** What is known of each key whose failures still count. */
  *known(now: number): Generator<readonly [key: string, learnt: Learnt]> {
    for (const entries of [this.waiting, this.few])
      for (const [key, { failures, since, blockedUntil }] of entries) {
        const agoMs = now - since;
        if (agoMs > this.settings.windowS * 1000) continue;
        yield [key, { failures, agoMs: Math.max(0, agoMs), waitMs: Math.max(0, blockedUntil - now) }];
      }
  }

  /** Forgets the failures of the key. True if there were any. */
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
