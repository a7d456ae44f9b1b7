import type { Clock } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import { createInProcessBus } from "./in-process.ts";
import type { NatsSettings } from "./settings.ts";
import type { Bus } from "./types.ts";

const UNSIGNED =
  "bus: events are not signed: whoever may publish to this subject can bill anybody; set bus.secretFile on relays and billing workers";

/**
 * The bus of a configuration; without `settings`, the one within this process. Rejects if the bus cannot be used, and
 * says why.
 */
export async function openBus(options: {
  readonly settings: NatsSettings | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  /** The names of all consumers that this process will have; only the bus within the process needs them. */
  readonly expects?: readonly string[];
}): Promise<Bus> {
  const { settings, clock, log, expects = [] } = options;
  if (settings === undefined) return createInProcessBus({ clock, log, expects });
  // Loaded only when it is needed, since that takes a tenth of a second.
  const { openNatsBus } = await import("./nats.ts");
  if (settings.secretFile === undefined && !process.env.TOLLGATE_BUS_SECRET)
    log.warn({ subject: `${settings.prefix}.events.>` }, UNSIGNED);
  return openNatsBus({ settings, clock, log });
}
