import { type Learnt, Throttle, type ThrottleEntry, type ThrottleSettings } from "./throttle.ts";

/** Sign-ins that have to wait, for operators to look at. */
export interface LockOut {
  /** The user as the guesser wrote the name; undefined: every user who has not signed in from there lately. */
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

/** Which of the sign-ins that are checked during a wait was used. */
export type UsedUp = "spare" | "ownSpare" | "look";

/** Who is told what happens here, where failures count for several nodes together. */
export interface GuessesElsewhere {
  /**
   * A failure was counted. `known`: the user is known at that source, so a wait of the source alone does not hold here.
   */
  failed(user: string, source: string, line: number, known: boolean): void;
  /** A sign-in was checked during the wait of that pair; `user` undefined: of the source. */
  used(what: UsedUp, user: string | undefined, source: string): void;
  /** A user has signed in at a source that was not among the user's, or an hour after the last time. */
  known(user: string, source: string, line: number): void;
  lifted(which: WhichLockOuts): void;
}

/** What one node knows of failures, for a node that has come anew. */
export type GuessesState =
  | { readonly of: "pair" | "source" | "user"; readonly key: string; readonly learnt: Learnt }
  | {
      readonly of: "place";
      readonly user: string;
      readonly source: string;
      readonly line: number;
      readonly agoMs: number;
    };

/** The most sources at which a user is known. */
const MAX_PLACES = 8;
const MAX_KNOWN_USERS = 200_000;
/** Of so many users, those who signed in last, a node that comes anew is told where. */
const MAX_TOLD_USERS = 20_000;
const KNOWN_MS = 7 * 86_400_000;
/** How often the time of the last sign-in at a place is noted again. */
const RENEW_MS = 3_600_000;
/**
 * While a user has to wait at a source where the user is known, so many sign-ins are checked all the same, since the
 * failures may be somebody else's.
 */
const SPARE = 64;
/**
 * While a user who is not known at a source has to wait there, so many sign-ins from ports without a failure are
 * checked, spread over the wait.
 */
const LOOKS = 16;
/** How many ports with a failure are remembered for a pair or a source. */
const MAX_LINES = 64;
/** Names are cut to this length. No user has a longer one (at most 64 characters). */
const MAX_NAME = 65;

interface Places {
  /** The sources, the latest first. */
  sources: string[];
  /** The port at each source. It stands for a client's socket or connection, also behind a NAT. */
  lines: number[];
  at: number;
}

/**
 * Slows down those who guess passwords, and nobody else. Failures count for the pair of user and source. So a guesser
 * locks out neither other users behind the same address nor the user elsewhere. Two more counts catch guesses that are
 * spread. A source that tries many users has to wait, except for users who have signed in from there before. And when
 * one user is tried from many sources, a source that is new to this user has no free failures. Even then the right
 * password is accepted from anywhere, if it is the first try there.
 *
 * Behind one address (a NAT, a proxy that is not configured as trusted) a guesser and the user are one pair. If a right
 * password were accepted at any time, every guess would have to be checked. So something else than the password must
 * tell the two apart:
 * - a nonce with which the user has signed in, which no guesser can have (see Authenticator): such a sign-in never
 *   waits, and does not come here;
 * - the port from which the user signed in last: a number of its sign-ins is checked in each wait, and failures from
 *   elsewhere do not use these up;
 * - for users who signed in at this source lately, a number of sign-ins is checked in each wait, but none from a port
 *   with a failure;
 * - for a user who is new there, a sign-in is checked now and then, if it comes from a port without a failure. The
 *   first one to come is taken. So a guesser who uses another port for each guess can take these too: some thousands in
 *   a day, and no more.
 *
 * Whether the user exists makes no difference. Times are milliseconds of a clock that nobody can set.
 */
export class Guesses {
  private readonly settings: Required<ThrottleSettings>;
  private readonly pairs: Throttle;
  private readonly sources: Throttle;
  private readonly users: Throttle;
  private readonly known = new Map<string, Places>();
  private readonly elsewhere: GuessesElsewhere | undefined;

  /** `elsewhere`: undefined: there are no other nodes whose failures count, too. */
  constructor(settings: ThrottleSettings, elsewhere?: GuessesElsewhere) {
    this.elsewhere = elsewhere;
    const { failures } = settings;
    this.settings = { failuresBySource: 20 * failures, failuresByUser: 20 * failures, ...settings };
    this.pairs = new Throttle(this.settings);
    // After the free failures, one is allowed in each `delayS`. This wait does not grow, so a source that stops failing
    // is soon free again.
    const steady = { ...this.settings, maxDelayS: this.settings.delayS };
    this.sources = new Throttle({ ...steady, failures: this.settings.failuresBySource });
    this.users = new Throttle({ ...steady, failures: this.settings.failuresByUser });
  }

  /**
   * Milliseconds before a sign-in as that user is checked again; 0: now. `line`: the port that it comes from; 0: not
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
      if (ofPair > 0) this.use("look", this.pairs.get(key)!, now, user, source);
      if (ofSource > 0) this.use("look", this.sources.get(source)!, now, undefined, source);
      return 0;
    }
    if (ofPair === 0) return 0;
    const entry = this.pairs.get(key)!;
    const isOwn = line !== 0 && this.known.get(user)!.lines[place] === line;
    if (!isOwn && line !== 0 && entry.lines.includes(line)) return ofPair;
    const what = isOwn ? "ownSpare" : "spare";
    if (entry[what] <= 0) return ofPair;
    this.use(what, entry, now, user, source);
    return 0;
  }

  /** Whether a user has signed in at a source before. */
  isKnownAt(user: string, source: string, now: number): boolean {
    return this.placeOf(user, source, now) >= 0;
  }

  private use(what: UsedUp, entry: ThrottleEntry, now: number, user: string | undefined, source: string): void {
    useUp(what, entry, now);
    this.elsewhere?.used(what, user === undefined ? undefined : nameOf(user), source);
  }

  /**
   * A sign-in as that user failed. `what` stands for the credentials; "" if nothing tells one try from another. The
   * same `what` again is a repeated message: it tells a guesser nothing, and does not count. Returns the lock-out that
   * begins with this failure, if one does.
   */
  failed(user: string, source: string, now: number, what: string, line = 0): LockOut | undefined {
    const key = keyOf(user, source);
    const before = this.pairs.get(key);
    if (what !== "" && before?.what === what) return undefined;
    if (before && before.blockedUntil > now) {
      noteLine(before, line);
      return undefined;
    }
    const waitMs = this.count(user, source, now, line, false, false);
    const entry: ThrottleEntry | undefined = this.pairs.get(key);
    if (entry) entry.what = what;
    this.elsewhere?.failed(nameOf(user), source, line, this.placeOf(user, source, now) >= 0);
    const failures = entry?.failures ?? 0;
    if (waitMs > 0) return { user: nameOf(user), source, failures, waitMs };
    const all = this.sources.waitMs(source, now);
    return all > 0 ? { source, failures: this.sources.get(source)?.failures ?? 0, waitMs: all } : undefined;
  }

  /**
   * A failure was counted at another node. If it happened beside one that is counted here, its wait comes after that
   * one's: so guesses at several nodes at once win nothing. `known`: see `GuessesElsewhere`.
   */
  failedElsewhere(user: string, source: string, now: number, line: number, known: boolean): void {
    this.count(user, source, now, line, true, !known);
  }

  private count(user: string, source: string, now: number, line: number, adds: boolean, addsAtSource: boolean): number {
    const { delayS } = this.settings;
    this.sources.failed(source, now, undefined, addsAtSource);
    begin(this.sources.get(source), line, now, delayS);
    this.users.failed(nameOf(user), now);
    const key = keyOf(user, source);
    const waitMs = this.pairs.failed(key, now, this.freeFailures(user, source, now), adds);
    begin(this.pairs.get(key), line, now, delayS);
    return waitMs;
  }

  /** A sign-in was checked at another node during a wait. */
  usedElsewhere(what: UsedUp, user: string | undefined, source: string, now: number): void {
    const entry = user === undefined ? this.sources.get(source) : this.pairs.get(keyOf(user, source));
    if (entry) useUp(what, entry, now);
  }

  /** A registered user signed in. */
  succeeded(user: string, source: string, now: number, line = 0): void {
    if (this.knows(user, source, now, line)) this.elsewhere?.known(user, source, line);
  }

  /** A registered user signed in at another node, so long ago. */
  knownElsewhere(user: string, source: string, now: number, line: number, agoMs = 0): void {
    this.knows(user, source, now - agoMs, line);
  }

  /** False: only the port may be new. */
  private knows(user: string, source: string, now: number, line: number): boolean {
    const places = this.known.get(user);
    if (places && places.sources[0] === source && now - places.at < RENEW_MS) {
      places.lines[0] = line;
      return false;
    }
    const sources = [source];
    const lines = [line];
    for (let i = 0; places && i < places.sources.length && sources.length < MAX_PLACES; i++) {
      if (places.sources[i] === source) continue;
      sources.push(places.sources[i]!);
      lines.push(places.lines[i]!);
    }
    this.known.delete(user); // to the end of the map: the order is that of the last sign-in
    this.known.set(user, { sources, lines, at: Math.max(now, places?.at ?? now) });
    if (this.known.size > MAX_KNOWN_USERS) this.known.delete(this.known.keys().next().value!);
    return true;
  }

  /** All that another node needs to go on from here; those that wait come first. */
  *state(now: number): Generator<GuessesState> {
    for (const [of, throttle] of this.throttles())
      for (const [key, learnt] of throttle.known(now)) yield { of, key, learnt };
    let older = this.known.size - MAX_TOLD_USERS;
    for (const [user, { sources, lines, at }] of this.known) {
      if (older-- > 0) continue;
      for (let i = sources.length - 1; i >= 0; i--)
        yield { of: "place", user, source: sources[i]!, line: lines[i]!, agoMs: now - at };
    }
  }

  /** Takes what another node knows, where that is more. */
  learn(state: GuessesState, now: number): void {
    if (state.of === "place") {
      const { user, source, line, agoMs } = state;
      // What this node has seen itself is newer.
      if (this.placeOf(user, source, now) < 0) this.knownElsewhere(user, source, now, line, agoMs);
      return;
    }
    const [, throttle] = this.throttles().find(([of]) => of === state.of)!;
    const entry = throttle.learn(state.key, now, state.learnt);
    begin(entry, 0, now, this.settings.delayS);
  }

  private throttles(): ["pair" | "source" | "user", Throttle][] {
    return [
      ["pair", this.pairs],
      ["source", this.sources],
      ["user", this.users],
    ];
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

  /** Forgets failures. Returns how many lock-outs end by that. `source` is written as in `lockOuts`. */
  lift(which: WhichLockOuts, now: number): number {
    this.elsewhere?.lifted(which);
    return this.liftHere(which, now);
  }

  /** The same, and no other node is told. */
  liftHere({ user, source }: WhichLockOuts, now: number): number {
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

  /**
   * The number of the failure that begins the first wait. For a user with many failures it is 1 at sources where the
   * user is not known.
   */
  private freeFailures(user: string, source: string, now: number): number {
    const attacked = (this.users.get(nameOf(user))?.failures ?? 0) > this.settings.failuresByUser;
    return attacked && this.placeOf(user, source, now) < 0 ? 1 : this.settings.failures;
  }

  /** The index of that source among the places where the user is known; -1: not known there. */
  private placeOf(user: string, source: string, now: number): number {
    const places = this.known.get(user);
    return places !== undefined && now - places.at < KNOWN_MS ? places.sources.indexOf(source) : -1;
  }
}

/**
 * Milliseconds before a sign-in from that port is checked, for a user who is not known there. `waitMs`: the rest of the
 * wait.
 */
function leftBefore(entry: ThrottleEntry, line: number, waitMs: number, now: number): number {
  return line === 0 || entry.lines.includes(line) ? waitMs : Math.max(0, Math.min(waitMs, entry.lookAt - now));
}

function useUp(what: UsedUp, entry: ThrottleEntry, now: number): void {
  // Two looks at once, at two nodes, are one look and the next one.
  if (what === "look") entry.lookAt = Math.max(now, entry.lookAt) + entry.lookEveryMs;
  else entry[what]--;
}

/** Notes a failure, and sets how many sign-ins are checked in the wait that may begin with it. */
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
/** The source comes first: it has no blank, but a user name may. */
const keyOf = (user: string, source: string): string => `${source} ${nameOf(user)}`;
const partsOf = (key: string): { user: string; source: string } => {
  const blank = key.indexOf(" ");
  return { source: key.slice(0, blank), user: key.slice(blank + 1) };
};
