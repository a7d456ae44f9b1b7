/*
 * What was said lately to requests that begin something, by their Call-ID: an INVITE that is sent again, and the one
 * with credentials that follows a challenge, hear the same as the first. Otherwise half of the calls would be refused
 * after they were let in, and what that cost would be wasted.
 */

export const ADMITTED = 1;
export const REFUSED = 2;
export type Verdict = typeof ADMITTED | typeof REFUSED;

/**
 * Each Call-ID has two places. Where more fall together, one that was let in stays before one that was refused, and the
 * later one before the earlier: the other is judged anew.
 */
const PLACES = 65_536;
/** A challenge is answered, and a request sent again, within this time. The second: no longer than any Retry-After. */
const HOLDS_MS: Readonly<Record<Verdict, number>> = { [ADMITTED]: 10_000, [REFUSED]: 1_000 };
/** Nobody gets in as many as he likes under one Call-ID. */
const MOST_USES = 16;

/** Nothing is made for a request. */
export class Verdicts {
  private readonly keys = new Uint32Array(PLACES);
  private readonly until = new Float64Array(PLACES);
  private readonly verdicts = new Uint8Array(PLACES);
  private readonly uses = new Uint8Array(PLACES);

  /** `key`: that of `callIdKey`; 0 has no verdict. `now`: milliseconds. */
  of(key: number, now: number): Verdict | undefined {
    const place = this.placeOf(key);
    if (key === 0 || this.keys[place] !== key || this.until[place]! <= now) return undefined;
    if (this.verdicts[place] === ADMITTED && this.uses[place]!++ >= MOST_USES) {
      this.keys[place] = 0;
      return undefined;
    }
    return this.verdicts[place] as Verdict;
  }

  set(key: number, verdict: Verdict, now: number): void {
    if (key === 0) return;
    let place = key % PLACES;
    if (this.keys[place] !== key && this.until[place]! > now) place = this.otherOrLeast(place, key, now);
    this.keys[place] = key;
    this.until[place] = now + HOLDS_MS[verdict];
    this.verdicts[place] = verdict;
    this.uses[place] = 0;
  }

  /** Where it is; the first of its places, if it is nowhere. */
  private placeOf(key: number): number {
    const place = key % PLACES;
    return this.keys[place] !== key && this.keys[place ^ 1] === key ? place ^ 1 : place;
  }

  /** The first place is taken: the second one, if that is its own or free, or which of the two is worth less. */
  private otherOrLeast(first: number, key: number, now: number): number {
    const second = first ^ 1;
    if (this.keys[second] === key || this.until[second]! <= now) return second;
    if (this.verdicts[first] !== this.verdicts[second]) return this.verdicts[first] === REFUSED ? first : second;
    return this.until[first]! <= this.until[second]! ? first : second;
  }
}
