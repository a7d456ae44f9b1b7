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
/**
 * Sign-ins of a user who is known at a source that are looked at although somebody's failures have that pair wait, in
 * each wait.
 */
const SPARE = 64;
/** In each wait so many are looked at, one after the other, of those who have not failed. */
const LOOKS = 16;
/** Ports from which somebody failed that are remembered for a pair or a source. */
const MAX_LINES = 64;
/** Longer names are of nobody (the longest has 64 characters). */
const MAX_NAME = 65;

interface Places {
  /** The latest first. */
  sources: string[];
  /** The port at each of them: a client's socket or connection, behind a NAT what stands for it. */
  lines: number[];
  at: number;
}

/**
 * Slows down who guesses passwords, and nobody else. Failures count for the pair of user and source: a guesser
 * neither locks out others behind the same address nor the user elsewhere. Two more counts catch who spreads his
 * guesses. One source that tries many users has to wait, but for the users who have signed in from there before; and
 * when one user is tried from many sources, a source that is new to this user has no free failures: the first right
 * password goes through from anywhere.
 *
 * Behind one address (a NAT, a proxy that nobody has named) a guesser and the user are one pair. To look at a right
 * password at any time would be to look at every guess, so what tells the two apart has to be something else than the
 * password:
 * - a nonce that was the user's, which nobody can get for another (see Authenticator): those do not come here at all;
 * - the port from which the user signed in last: it has looks of its own, which failures from elsewhere do not use up;
 * - for users who were right at this source lately, a number of looks in each wait; whoever has failed from the same
 *   port has none of them;
 * - for a user who is new there, a look now and then, for a port from which nobody has failed. It goes to whoever
 *   asks first, so a guesser who takes another port for each guess can take them too: that gives him some thousands
 *   in a day, and no more.
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

  /**
   * Milliseconds before a sign-in as that user is looked at again; 0: now. `line`: the port it comes from; 0: not
   * known.
   */
  waitMs(user: string, source: string, now: number, line = 0): number {
    if (this.pairs.size === 0 && this.sources.size === 0) return 0;
    const key = keyOf(user, source);
    const ofPair = this.pairs.waitMs(key, now);
    const ofSource = this.sources.waitMs(source, now);
    if (ofPair === 0 && ofSource === 0) return 0;
    const place = this.placeOf(user, source, now);
    if (place < 0) {
      const one = ofPair === 0 ? 0 : leftBefore(this.pairs.get(key)!, line, ofPair, now);
      const all = ofSource === 0 ? 0 : leftBefore(this.sources.get(source)!, line, ofSource, now);
      if (one > 0 || all > 0) return Math.max(one, all);
      if (ofPair > 0) looked(this.pairs.get(key)!, now);
      if (ofSource > 0) looked(this.sources.get(source)!, now);
      return 0;
    }
    if (ofPair === 0) return 0;
    const entry = this.pairs.get(key)!;
    if (line !== 0 && this.known.get(user)!.lines[place] === line) return entry.ownSpare-- > 0 ? 0 : ofPair;
    return (line === 0 || !entry.lines.includes(line)) && entry.spare-- > 0 ? 0 : ofPair;
  }

  /**
   * A sign-in as that user failed. `what` is what it was tried with, if anything tells one try from another: the same
   * once more, a message that was repeated, tells a guesser nothing and does not count. Returns the wait that begins
   * with it, if one does.
   */
  failed(user: string, source: string, now: number, what: string, line = 0): LockOut | undefined {
    const key = keyOf(user, source);
    const before = this.pairs.get(key);
    if (what !== "" && before?.what === what) return undefined;
    if (before && before.blockedUntil > now) {
      noteLine(before, line);
      return undefined;
    }
    this.sources.failed(source, now);
    begin(this.sources.get(source), line, now, this.settings.delayS);
    this.users.failed(nameOf(user), now);
    const waitMs = this.pairs.failed(key, now, this.freeFailures(user, source, now));
    const entry: ThrottleEntry | undefined = this.pairs.get(key);
    begin(entry, line, now, this.settings.delayS);
    if (entry) entry.what = what;
    const failures = entry?.failures ?? 0;
    if (waitMs > 0) return { user: nameOf(user), source, failures, waitMs };
    const all = this.sources.waitMs(source, now);
    return all > 0 ? { source, failures: this.sources.get(source)?.failures ?? 0, waitMs: all } : undefined;
  }

  /** A registered user signed in. */
  succeeded(user: string, source: string, now: number, line = 0): void {
    const places = this.known.get(user);
    if (places && places.sources[0] === source && now - places.at < RENEW_MS) {
      places.lines[0] = line;
      return;
    }
    const sources = [source];
    const lines = [line];
    for (let i = 0; places && i < places.sources.length && sources.length < MAX_PLACES; i++) {
      if (places.sources[i] === source) continue;
      sources.push(places.sources[i]!);
      lines.push(places.lines[i]!);
    }
    this.known.delete(user); // to the end of the map: the order is that of the last sign-in
    this.known.set(user, { sources, lines, at: now });
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
    return attacked && this.placeOf(user, source, now) < 0 ? 1 : this.settings.failures;
  }

  /** Which of the places that source is at which the user is known; -1: none. */
  private placeOf(user: string, source: string, now: number): number {
    const places = this.known.get(user);
    return places !== undefined && now - places.at < KNOWN_MS ? places.sources.indexOf(source) : -1;
  }
}

/**
 * Milliseconds before one who is not known and comes from that port is looked at, in a wait of which so many are left.
 */
function leftBefore(entry: ThrottleEntry, line: number, waitMs: number, now: number): number {
  return line === 0 || entry.lines.includes(line) ? waitMs : Math.max(0, Math.min(waitMs, entry.lookAt - now));
}

function looked(entry: ThrottleEntry, now: number): void {
  entry.lookAt = now + entry.lookEveryMs;
}

/** A failure counts, and perhaps a wait begins. */
function begin(entry: ThrottleEntry | undefined, line: number, now: number, delayS: number): void {
  if (entry === undefined) return;
  noteLine(entry, line);
  entry.spare = entry.ownSpare = SPARE;
  entry.lookEveryMs = Math.max(delayS * 1000, (entry.blockedUntil - now) / LOOKS);
}

function noteLine({ lines }: ThrottleEntry, line: number): void {
  if (line === 0 || lines.includes(line)) return;
  if (lines.length >= MAX_LINES) lines.shift();
  lines.push(line);
}

const nameOf = (user: string): string => (user.length > MAX_NAME ? user.slice(0, MAX_NAME) : user);
/** No source has a blank in it, and a user may. */
const keyOf = (user: string, source: string): string => `${source} ${nameOf(user)}`;
const partsOf = (key: string): { user: string; source: string } => {
  const blank = key.indexOf(" ");
  return { source: key.slice(0, blank), user: key.slice(blank + 1) };
};
