import type { Clock, TimerHandle } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import { openStore } from "./open.ts";
import type { StoreConfig } from "./settings.ts";
import type { Store } from "./types.ts";

const LOOK_EVERY_MS = 60_000;
const READINGS = 3;
const MOST_S = 60;

export interface ClockWatchOptions {
  readonly store: Pick<Store, "serverTime">;
  readonly clock: Clock;
  readonly log: Logger;
  /** By how many seconds the two clocks may differ. */
  readonly mostS: number;
}

/**
 * Measures how far the clock of this machine is from that of the store's server, which all nodes share. No balance
 * depends on it. But one machine writes times that another reads, and these decide on which bill an entry stands, and
 * how long a session that another node has ended takes charges.
 */
export class ClockWatch {
  /**
   * How far this machine is ahead (below zero: behind), within half a round trip; undefined: the store has no clock
   * of its own, or did not answer.
   */
  differenceMs: number | undefined;
  private readonly options: ClockWatchOptions;
  private timer: TimerHandle;
  private closed = false;
  private apart = false;

  constructor(options: ClockWatchOptions) {
    this.options = options;
  }

  /** Rejects if the clocks are too far apart, and says what to do. Resolves if the store does not answer. */
  async check(): Promise<void> {
    await this.look();
    if (this.apart) throw new Error(`${this.text}: set both by NTP, or allow more by store.maxClockDifferenceS`);
  }

  /** Looks again each minute, and logs it when the clocks get too far apart. Calls go on. */
  watch(): void {
    const { clock, log, store } = this.options;
    if (this.closed || !store.serverTime) return;
    this.timer = clock.setTimeout(async () => {
      const before = this.apart;
      await this.look();
      const { differenceMs } = this;
      if (this.apart && !before) log.error({ differenceMs }, `${this.text}: set both by NTP`);
      if (!this.apart && before) log.info({ differenceMs }, "the clocks of this machine and of the store agree again");
      this.watch();
    }, LOOK_EVERY_MS);
  }

  close(): void {
    this.closed = true;
    this.options.clock.clearTimeout(this.timer);
  }

  private async look(): Promise<void> {
    const { mostS } = this.options;
    this.differenceMs = await this.measure().catch(() => undefined);
    if (this.differenceMs !== undefined) this.apart = Math.abs(this.differenceMs) > mostS * 1000;
  }

  /** Takes the reading with the shortest round trip: the difference is known within half of that time. */
  private async measure(): Promise<number | undefined> {
    const { store, clock } = this.options;
    let best: { readonly tookMs: number; readonly differenceMs: number } | undefined;
    for (let i = 0; store.serverTime && i < READINGS; i++) {
      const before = clock.monotonic();
      const server = await store.serverTime();
      const tookMs = clock.monotonic() - before;
      const differenceMs = Math.round(clock.wall() - tookMs / 2 - server);
      if (best === undefined || tookMs < best.tookMs) best = { tookMs, differenceMs };
    }
    return best?.differenceMs;
  }

  private get text(): string {
    const { differenceMs = 0, options } = this;
    const where = differenceMs > 0 ? "ahead of" : "behind";
    const most = `more than ${options.mostS} s`;
    return `the clock of this machine is ${Math.abs(differenceMs) / 1000} s ${where} that of the store's server, ${most}`;
  }
}

/**
 * Opens the store for a node of the portal, which writes times that others read. Rejects as `openStore` does, and also
 * if the clocks are too far apart.
 */
export async function openWatchedStore(
  config: StoreConfig,
  { clock, log }: Pick<ClockWatchOptions, "clock" | "log">,
): Promise<{ readonly store: Store; readonly clockWatch: ClockWatch }> {
  const store = await openStore(config, log);
  const clockWatch = new ClockWatch({ store, clock, log, mostS: config.store?.maxClockDifferenceS ?? MOST_S });
  try {
    await clockWatch.check();
  } catch (error) {
    await store.close();
    throw error;
  }
  return { store, clockWatch };
}
