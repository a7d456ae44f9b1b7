/*
 * What was said lately to requests that begin something, by their Call-ID: an INVITE that is sent again, and the one
 * with credentials that follows a challenge, hear the same as the first. Otherwise half of the calls would be refused
 * after they were let in, and what that cost would be wasted.
 */

export const ADMITTED = 1;
export const REFUSED = 2;
export type Verdict = typeof ADMITTED | typeof REFUSED;

/** Where two Call-IDs fall together, the later one is remembered: the other is judged anew, which does no harm. */
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
    const place = key % PLACES;
    if (key === 0 || this.keys[place] !== key || this.until[place]! <= now) return undefined;
    if (this.verdicts[place] === ADMITTED && this.uses[place]!++ >= MOST_USES) {
      this.keys[place] = 0;
      return undefined;
    }
    return this.verdicts[place] as Verdict;
  }

  set(key: number, verdict: Verdict, now: number): void {
    if (key === 0) return;
    const place = key % PLACES;
    this.keys[place] = key;
    this.until[place] = now + HOLDS_MS[verdict];
    this.verdicts[place] = verdict;
    this.uses[place] = 0;
  }
}
