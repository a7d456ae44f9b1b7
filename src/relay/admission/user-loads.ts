import { WireMap } from "../../support/wire-map.ts";

/** How much one user may have under way at once (decision 14); 0: no bound. */
export interface UserLimits {
  /** Requests for sessions that nobody has answered yet. */
  readonly ringing: number;
  /** Sessions, and those requests as well. */
  readonly sessions: number;
}

/** What each user has under way. */
export class UserLoads {
  private readonly limits: UserLimits;
  private readonly ringing = new WireMap<number>();
  private readonly sessions = new WireMap<number>();

  constructor(limits: UserLimits) {
    this.limits = limits;
  }

  /**
   * Why that user may not ask for one more session now; undefined: the user may. `own`: how many sessions this user may
   * have; undefined: as many as all others.
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

  requestBegan(user: string): void {
    add(this.ringing, user, 1);
  }

  requestEnded(user: string): void {
    add(this.ringing, user, -1);
  }

  sessionBegan(user: string): void {
    add(this.sessions, user, 1);
  }

  sessionEnded(user: string): void {
    add(this.sessions, user, -1);
  }

  /** How many users have anything under way. */
  get size(): number {
    return new Set([...this.ringing.allKeys(), ...this.sessions.allKeys()]).size;
  }
}

function add(counts: WireMap<number>, user: string, by: number): void {
  const count = (counts.get(user) ?? 0) + by;
  if (count > 0) counts.set(user, count);
  else counts.delete(user);
}
