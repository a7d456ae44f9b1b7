import { openBus } from "../bus/open.ts";
import type { BillingCounters } from "../charging/billing/billing.ts";
import { startBilling } from "../charging/billing/billing.ts";
import type { Config } from "../config/schema.ts";
import { openWatchedStore } from "../store/clock-watch.ts";
import type { Store } from "../store/types.ts";
import { systemClock as clock } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import { CLOCK_WAS_SET, Timelines } from "../support/timeline.ts";
import { startUsageOf } from "./usage.ts";

/** A process that bills and takes no SIP (`roles: [billing]`). */
export interface BillingNode {
  readonly counters: Readonly<BillingCounters>;
  /** Takes no further events; resolves when the events under way are in the store. */
  close(): Promise<void>;
}

/** Starts a billing worker. Any number of them share bus and store with relays. Rejects if bus or store fails. */
export async function startBillingNode(options: {
  readonly config: Config;
  readonly log: Logger;
  /** Used in place of the configured one. */
  readonly store?: Store;
}): Promise<BillingNode> {
  const { config, log } = options;
  const opened = options.store ? undefined : await openWatchedStore(config, { clock, log });
  const store = options.store ?? opened!.store;
  const bus = await openBus({ settings: config.bus, clock, log }).catch(async (error) => {
    await store.close();
    throw error;
  });
  try {
    const { keepEvents } = config.charging;
    const billing = await startBilling({ bus, store, clock, log, keepEvents, retention: config.retention });
    const timelines = new Timelines(clock, (byMs) => log.warn({ byMs }, CLOCK_WAS_SET));
    const usage = await startUsageOf(config, { bus, store, clock, log });
    timelines.watch();
    opened?.clockWatch.watch();
    return {
      counters: billing.counters,
      close: async () => {
        timelines.close();
        opened?.clockWatch.close();
        await billing.stop();
        await usage?.stop();
        await bus.close();
        await store.close();
      },
    };
  } catch (error) {
    await bus.close();
    await store.close();
    throw error;
  }
}
