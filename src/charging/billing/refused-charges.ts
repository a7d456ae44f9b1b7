import type { TimeLog } from "../../calls/time-log.ts";
import { timePrefix } from "../../support/random.ts";
import type { ChargeRefused, ChargingEvent } from "../events/events.ts";
import type { RefusedCharge } from "./refused-charge.ts";

const KEEP_MS = 90 * 86_400_000;
const KEEP_MOST = 10_000;
const FORGET_EVERY = 200;
const MOST_REASON = 300;

/** Keeps the charges that relays have refused, as the bus tells of them. */
export class RefusedCharges {
  private readonly log: TimeLog<RefusedCharge> | undefined;
  private readonly wall: () => number;
  private added = 0;

  /** Without a log nothing is kept. */
  constructor(log: TimeLog<RefusedCharge> | undefined, wall: () => number) {
    this.log = log;
    this.wall = wall;
  }

  /** Resolves when those among the events are in the store. */
  async keep(events: readonly ChargingEvent[]): Promise<void> {
    const { log } = this;
    if (!log) return;
    const refused = events.filter((event): event is ChargeRefused => event.type === "charge.refused");
    for (const event of refused) {
      await log.add(entryOf(event));
      if (this.added++ % FORGET_EVERY === 0) await log.forget({ before: this.wall() - KEEP_MS, most: KEEP_MOST });
    }
  }
}

function entryOf({ id, at, session, charge, reason }: ChargeRefused): RefusedCharge {
  const { call, id: of, user, service, appServer } = session;
  return {
    id: `${timePrefix(at)}${id}`,
    ...{ at, call, session: of, user, service, appServer, reason: reason.slice(0, MOST_REASON) },
    ...(charge !== undefined && { charge }),
  };
}
