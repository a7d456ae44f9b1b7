import type { Clock } from "../../support/clock.ts";
import type { Logger } from "../../support/log.ts";
import { overdueHolds } from "../credit/account.ts";
import { type CreditStore, type Hold, LEASE_MS, type Micros } from "../credit/store.ts";

export interface HoldWatchOptions {
  readonly credit: Pick<CreditStore, "overdue" | "release">;
  readonly clock: Pick<Clock, "wall" | "monotonic">;
  readonly log: Logger;
}

/** A hold that seems to have expired, as it was first seen. */
interface Seen {
  readonly until: number | null;
  readonly amount: Micros;
  readonly used: Micros;
  /** Since when it has been unchanged; monotonic. */
  readonly since: number;
}

const PAGE = 500;
const MAX_SEEN = 100_000;

/**
 * Gives back what dead relays hold in prepaid balances. A relay writes into a hold until when it is valid, by its own
 * clock. That clock may differ from the one here, or be set. So `until` only says which holds to watch. A hold is given
 * back when it has stayed unchanged here for as long as its relay may take to renew it. A living relay renews its holds
 * before that, whatever any clock shows.
 */
export class HoldWatch {
  private readonly options: HoldWatchOptions;
  private seen = new Map<string, Seen>();

  constructor(options: HoldWatchOptions) {
    this.options = options;
  }

  /**
   * Looks at all holds that seem to have expired. Resolves to the number of balances in which something was given back.
   * `stopped` is asked after each page.
   */
  async sweep(stopped: () => boolean = () => false): Promise<number> {
    const { credit, clock, log } = this.options;
    const seen = new Map<string, Seen>();
    let released = 0;
    let after: string | undefined;
    do {
      const wall = clock.wall();
      const page = await credit.overdue(wall, { after, limit: PAGE });
      for (const account of page.accounts) {
        const dead = this.abandoned(account.user, overdueHolds(account, wall), seen);
        if (Object.keys(dead).length > 0 && (await credit.release(account.user, dead))) released++;
      }
      after = page.next;
    } while (after !== undefined && !stopped());
    this.seen = seen;
    if (released > 0) log.info({ balances: released }, "billing: holds that nobody renewed are given back");
    return released;
  }

  /** The holds that nobody has renewed for their whole lease; the others go into `seen`. */
  private abandoned(user: string, holds: Readonly<Record<string, Hold>>, seen: Map<string, Seen>) {
    const now = this.options.clock.monotonic();
    const dead: Record<string, Hold> = {};
    for (const [key, hold] of Object.entries(holds)) {
      const { until, amount, used, leaseMs = LEASE_MS } = hold;
      const id = `${user}\n${key}`;
      const before = this.seen.get(id);
      const isSame = before?.until === until && before.amount === amount && before.used === used;
      const since = isSame ? before.since : now;
      if (now - since >= leaseMs) dead[key] = hold;
      else if (seen.size < MAX_SEEN) seen.set(id, { until, amount, used, since });
    }
    return dead;
  }
}
