import { WireMap } from "../../support/wire-map.ts";

/** How much one user may have under way at once (decision 14); 0: no bound. */
export interface UserLimits {
  /** Requests for sessions that nobody has answered yet. */
  readonly ringing: number;
  /** Sessions, and those requests as well. */
  readonly sessions: number;
}

/** Where several nodes keep one limit together. */
export interface LoadsElsewhere {
  /** Whether a user who has so much here may have one more here, and no other node needs to be asked. */
  mayAlone(user: string, ringing: number, total: number, own: number | undefined): boolean;
  /** Asks for one more request. Resolves to why not; undefined: it is counted, by `requestBegan`. Never rejects. */
  ask(user: string, own: number | undefined): Promise<string | undefined>;
  /** So much of the user is under way here now. `total`: with the requests. */
  changed(user: string, ringing: number, total: number): void;
}

/** What each user has under way. */
export class UserLoads {
  private readonly limits: UserLimits;
  private readonly elsewhere: LoadsElsewhere | undefined;
  private readonly ringing = new WireMap<number>();
  private readonly sessions = new WireMap<number>();

  /** `elsewhere`: undefined: this node counts for itself. */
  constructor(limits: UserLimits, elsewhere?: LoadsElsewhere) {
    this.limits = limits;
    this.elsewhere = elsewhere;
  }

  /**
   * Why that user may not ask for one more session now, by what there is here; undefined: the user may. `own`: how many
   * sessions this user may have; undefined: as many as all others.
   */
  whyNot(user: string, own?: number): string | undefined {
    const { limits } = this;
    const most = own ?? limits.sessions;
    const ringing = this.ringing.get(user) ?? 0;
    if (limits.ringing > 0 && ringing >= limits.ringing) return `${ringing} requests of this user wait for an answer`;
    const sessions = this.sessions.get(user) ?? 0;
    if (most > 0 && ringing + sessions >= most)
      return `this user has ${sessions} sessions and asks for ${ringing} more`;
    return undefined;
  }

  /**
   * Counts one more request of that user, if the user may have it; otherwise says why not. At once, unless other nodes
   * have to be asked: then later, and the promise never rejects. `own`: see `whyNot`.
   */
  begin(user: string, own?: number): string | undefined | Promise<string | undefined> {
    const why = this.whyNot(user, own);
    if (why !== undefined) return why;
    const { elsewhere } = this;
    if (elsewhere) {
      const ringing = this.ringing.get(user) ?? 0;
      const total = ringing + (this.sessions.get(user) ?? 0);
      if (!elsewhere.mayAlone(user, ringing, total, own)) return elsewhere.ask(user, own);
    }
    this.requestBegan(user);
    return undefined;
  }

  /** Counts a request that needs not be asked for. */
  requestBegan(user: string): void {
    this.add(this.ringing, user, 1);
  }

  requestEnded(user: string): void {
    this.add(this.ringing, user, -1);
  }

  sessionBegan(user: string): void {
    this.add(this.sessions, user, 1);
  }

  sessionEnded(user: string): void {
    this.add(this.sessions, user, -1);
  }

  /** What that user has here; `total` is requests and sessions. */
  of(user: string): { readonly ringing: number; readonly total: number } {
    const ringing = this.ringing.get(user) ?? 0;
    return { ringing, total: ringing + (this.sessions.get(user) ?? 0) };
  }

  /** The users who have anything under way. */
  users(): Set<string> {
    return new Set([...this.ringing.allKeys(), ...this.sessions.allKeys()]);
  }

  /** How many users have anything under way. */
  get size(): number {
    return this.users().size;
  }

  private add(counts: WireMap<number>, user: string, by: number): void {
    const count = (counts.get(user) ?? 0) + by;
    if (count > 0) counts.set(user, count);
    else counts.delete(user);
    if (!this.elsewhere) return;
    const { ringing, total } = this.of(user);
    this.elsewhere.changed(user, ringing, total);
  }
}
