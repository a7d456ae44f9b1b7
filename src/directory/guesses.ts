import { Throttle, type ThrottleEntry, type ThrottleSettings } from "./throttle.ts";

/** Whose sign-ins have to wait, for people to look at. */
export interface LockOut {
  /** The user as the guesser named it; undefined: every user who has not signed in from there lately. */
  readonly user?: string;
  /** An IPv4 address, or a /64 network of IPv6. */
  readonly source: string;
  readonly failures: number;
  readonly waitMs: number;
}

/** Which lock-outs to lift: those of that user, from that source, or both; neither: all. */
export interface WhichLockOuts {
  readonly user?: string | undefined;
  readonly source?: string | undefined;
}

/** A user who has signed in is known at that many sources. */
const MAX_PLACES = 8;
const MAX_KNOWN_USERS = 200_000;
const KNOWN_MS = 7 * 86_400_000;
/** How often a place is noted again. */
const RENEW_MS = 3_600_000;
/** Sign-ins of a user who is known at a source that are looked at although somebody's failures have that pair wait, in each wait. */
const SPARE = 64;
/** Longer names are of nobody (the longest has 64 characters). */
const MAX_NAME = 65;

interface Places {
  /** The latest first. */
  sources: string[];
  at: number;
}

/**
 * Slows down who guesses passwords, and nobody else. Failures count for the pair of user and source: a guesser neither locks out others behind the same
 * address nor the user elsewhere. Two more counts catch who spreads his guesses. One source that tries many users has to wait, but for the users who have
 * signed in from there before; and when one user is tried from many sources, a source that is new to this user has no free failures: the first right
 * password goes through from anywhere. Users who were right lately are known at their sources: they are looked at even while a guesser at the same
 * address has the pair wait, so often that they get in and so seldom that guessing does not pay.
 *
 * Whether the user exists makes no difference. Times are milliseconds of a clock that nobody can set.
 */
export class Guesses {
  private readonly settings: Required<ThrottleSettings>;
  private readonly pairs: Throttle;
  private readonly sources: Throttle;
  private readonly users: Throttle;
  private readonly known = new Map<string, Places>();

  constructor(settings: ThrottleSettings) {
    const { failures } = settings;
    this.settings = { failuresBySource: 20 * failures, failuresByUser: 20 * failures, ...settings };
    this.pairs = new Throttle(this.settings);
    // After the free ones one failure for each `delayS`: a source that is quiet again is free at once.
    const steady = { ...this.settings, maxDelayS: this.settings.delayS };
    this.sources = new Throttle({ ...steady, failures: this.settings.failuresBySource });
    this.users = new Throttle({ ...steady, failures: this.settings.failuresByUser });
  }

  /** Milliseconds before a sign-in as that user is looked at again; 0: now. */
  waitMs(user: string, source: string, now: number): number {
    if (this.pairs.size === 0 && this.sources.size === 0) return 0;
    const key = keyOf(user, source);
    const ofPair = this.pairs.waitMs(key, now);
    const waitMs = Math.max(ofPair, this.sources.waitMs(source, now));
    if (waitMs === 0 || !this.isKnown(user, source, now)) return waitMs;
    if (ofPair === 0) return 0;
    const entry = this.pairs.get(key)!;
    return entry.spare-- > 0 ? 0 : ofPair;
  }

  /**
   * A sign-in as that user failed. `what` is what it was tried with, if anything tells one try from another: the same once more, a message that was
   * repeated, tells a guesser nothing and does not count. Returns the wait that begins with it, if one does.
   */
  failed(user: string, source: string, now: number, what: string): LockOut | undefined {
    const key = keyOf(user, source);
    const before = this.pairs.get(key);
    if ((what !== "" && before?.what === what) || (before && before.blockedUntil > now)) return undefined;
    this.sources.failed(source, now);
    this.users.failed(nameOf(user), now);
    const waitMs = this.pairs.failed(key, now, this.freeFailures(user, source, now));
    const entry: ThrottleEntry | undefined = this.pairs.get(key);
    if (entry) {
      entry.what = what;
      entry.spare = SPARE;
    }
    const failures = entry?.failures ?? 0;
    if (waitMs > 0) return { user: nameOf(user), source, failures, waitMs };
    const all = this.sources.waitMs(source, now);
    return all > 0 ? { source, failures: this.sources.get(source)?.failures ?? 0, waitMs: all } : undefined;
  }

  /** A registered user signed in. */
  succeeded(user: string, source: string, now: number): void {
    const places = this.known.get(user);
    if (places && places.sources[0] === source && now - places.at < RENEW_MS) return;
    const others = places?.sources.filter((one) => one !== source) ?? [];
    this.known.delete(user); // to the end of the map: the order is that of the last sign-in
    this.known.set(user, { sources: [source, ...others.slice(0, MAX_PLACES - 1)], at: now });
    if (this.known.size > MAX_KNOWN_USERS) this.known.delete(this.known.keys().next().value!);
  }

  /** Everybody who has to wait now. */
  lockOuts(now: number): LockOut[] {
    const found: LockOut[] = [];
    for (const key of this.pairs.keys()) {
      const waitMs = this.pairs.waitMs(key, now);
      const { user, source } = partsOf(key);
      if (waitMs > 0) found.push({ user, source, failures: this.pairs.get(key)!.failures, waitMs });
    }
    for (const source of this.sources.keys()) {
      const waitMs = this.sources.waitMs(source, now);
      if (waitMs > 0) found.push({ source, failures: this.sources.get(source)!.failures, waitMs });
    }
    return found;
  }

  /** Forgets failures; returns how many waited for it. `source` is a key as `lockOuts` has it. */
  lift({ user, source }: WhichLockOuts, now: number): number {
    let lifted = 0;
    for (const key of this.pairs.keys()) {
      const parts = partsOf(key);
      if ((user !== undefined && parts.user !== user) || (source !== undefined && parts.source !== source)) continue;
      if (this.pairs.waitMs(key, now) > 0) lifted++;
      this.pairs.forget(key);
    }
    for (const key of user === undefined ? this.sources.keys() : []) {
      if (source !== undefined && key !== source) continue;
      if (this.sources.waitMs(key, now) > 0) lifted++;
      this.sources.forget(key);
    }
    for (const key of source === undefined ? this.users.keys() : []) {
      if (user === undefined || key === user) this.users.forget(key);
    }
    return lifted;
  }

  /** A user under many failures is protected from strangers; who is known has the usual ones. */
  private freeFailures(user: string, source: string, now: number): number {
    const attacked = (this.users.get(nameOf(user))?.failures ?? 0) > this.settings.failuresByUser;
    return attacked && !this.isKnown(user, source, now) ? 1 : this.settings.failures;
  }

  private isKnown(user: string, source: string, now: number): boolean {
    const places = this.known.get(user);
    return places !== undefined && now - places.at < KNOWN_MS && places.sources.includes(source);
  }
}

const nameOf = (user: string): string => (user.length > MAX_NAME ? user.slice(0, MAX_NAME) : user);
/** No source has a blank in it, and a user may. */
const keyOf = (user: string, source: string): string => `${source} ${nameOf(user)}`;
const partsOf = (key: string): { user: string; source: string } => {
  const blank = key.indexOf(" ");
  return { source: key.slice(0, blank), user: key.slice(blank + 1) };
};
