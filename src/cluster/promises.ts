import type { Clock } from "../support/clock.ts";
import { comesBefore } from "./loads-home.ts";

/** How long a node begins nothing without asking. Longer than homes rely on it. */
const PROMISE_MS = 60_000;
/** A node with more than its part has the promises of all renewed after so long, so that the others stay careful. */
const RENEW_MS = 30_000;
const MAX_PROMISES = 200_000;

interface Promised {
  readonly home: string;
  /** The number of the home's poll. */
  readonly ballot: number;
  readonly until: number;
  renewAt: number;
}

/** Of which users this node begins nothing without asking another node, their home, and which one. */
export class Promises {
  private readonly clock: Pick<Clock, "monotonic">;
  private readonly promised = new Map<string, Promised>();

  constructor(clock: Pick<Clock, "monotonic">) {
    this.clock = clock;
  }

  /** No more can be kept: nothing may be begun without asking. */
  get isFull(): boolean {
    return this.promised.size >= MAX_PROMISES;
  }

  /** The user's home by a promise that still holds. */
  homeOf(user: string): string | undefined {
    return this.holding(user)?.home;
  }

  /**
   * The number that was promised something before a poll of that number by that node, and comes after it. Undefined:
   * none.
   */
  greaterThan(user: string, number: number, home: string): number | undefined {
    const promised = this.holding(user);
    return promised && comesBefore(number, home, promised.ballot, promised.home) ? promised.ballot : undefined;
  }

  /** False: there is no room. `ballot`: of the home's poll; 0: it has made none. */
  make(user: string, home: string, ballot: number): boolean {
    if (this.isFull && !this.promised.has(user)) return false;
    const now = this.clock.monotonic();
    this.promised.set(user, { home, ballot, until: now + PROMISE_MS, renewAt: now + RENEW_MS });
    return true;
  }

  drop(user: string): void {
    this.promised.delete(user);
  }

  /** Forgets what is over. Calls `renew` now and then for each user of whom `hasMore` says that there is more here. */
  sweep(hasMore: (user: string) => boolean, renew: (user: string) => void): void {
    const now = this.clock.monotonic();
    for (const [user, promised] of this.promised) {
      if (promised.until <= now) this.promised.delete(user);
      else if (promised.renewAt <= now && hasMore(user)) {
        promised.renewAt = now + RENEW_MS;
        renew(user);
      }
    }
  }

  private holding(user: string): Promised | undefined {
    const promised = this.promised.get(user);
    return promised && promised.until > this.clock.monotonic() ? promised : undefined;
  }
}
