import type { Clock, TimerHandle } from "../../support/clock.ts";

/** How often the share of new calls that are taken is set anew. */
const EVERY_MS = 100;
/** How much the latest reading counts: a burst of some tenths of a second changes little. */
const WEIGHT = 0.2;
/** The share falls and grows by this factor at most each time: to a tenth within some 2 s, and back. */
const MOST_DOWN = 0.88;
const MOST_UP = 1.1;
/** So much is always taken, so that it shows when there is room again. */
const LEAST = 0.02;
/** With fewer calls in set-up than this, it is not they that keep the machine busy. */
const FEW_UNDER_WAY = 30;

/**
 * Refuses new calls when the machine cannot keep up, so that those that stand are served in time. Without that, requests
 * wait in the socket until their senders repeat them, and all of the time goes into what nobody waits for any more.
 *
 * It is control by occupancy (RFC 6357 §4, §5.2): the share of new calls that is taken goes down while the event loop is
 * busier than the bound, and up again when it is not. A loop that never waits for anything has a queue, also where other
 * programs take the processor from it.
 */
export class Overload {
  private readonly clock: Pick<Clock, "setTimeout" | "clearTimeout">;
  private readonly bound: number;
  private readonly busy: () => number;
  private readonly underWay: () => number;
  private readonly salt: string;
  private smoothed = 0;
  private timer: TimerHandle;
  /** The share of new calls that is taken, of 1. */
  share = 1;

  constructor(options: {
    readonly clock: Pick<Clock, "setTimeout" | "clearTimeout">;
    /** How busy the event loop may be, in percent; 0: no bound. */
    readonly busyPercent: number;
    /** For how much of the time since it was asked last the event loop was busy, of 1. */
    readonly busy: () => number;
    /** How many requests for sessions are not answered yet. */
    readonly underWay: () => number;
    /** Another one at each node, so that a call that one node refuses is not refused by all. */
    readonly salt: string;
  }) {
    const { clock, busyPercent, busy, underWay, salt } = options;
    this.clock = clock;
    this.bound = busyPercent / 100;
    this.busy = busy;
    this.underWay = underWay;
    this.salt = salt;
  }

  start(): void {
    if (this.bound === 0) return;
    this.timer = this.clock.setTimeout(() => {
      this.look();
      this.start();
    }, EVERY_MS);
  }

  stop(): void {
    this.clock.clearTimeout(this.timer);
  }

  private look(): void {
    this.smoothed += WEIGHT * (this.busy() - this.smoothed);
    const isFew = this.underWay() < FEW_UNDER_WAY;
    if (isFew && this.share === 1) return;
    const factor = isFew ? MOST_UP : this.bound / Math.max(this.smoothed, 0.01);
    this.share = Math.min(1, Math.max(LEAST, this.share * Math.min(MOST_UP, Math.max(MOST_DOWN, factor))));
  }

  /**
   * Whether the INVITE of that Call-ID is one too many. The same each time while the share stays: for an INVITE that is
   * sent again, and for the one with credentials that follows a challenge.
   */
  refuses(callId: string): boolean {
    return this.share < 1 && hash(this.salt + callId) >= this.share;
  }
}

/** FNV-1a, of 1, with its high bits mixed into the low ones. */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
  return ((h ^ (h >>> 13)) >>> 0) / 2 ** 32;
}
