import type { Bus } from "../bus/types.ts";
import type { Config } from "../config/schema.ts";
import type { Store } from "../store/types.ts";
import type { Clock } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import type { Usage } from "../usage/usage.ts";

/** The name of usage as a consumer of the bus within the process. */
export const USAGE = "usage";

/** Sends usage as the configuration says; undefined: nowhere. Its code is loaded only when it is needed. */
export async function startUsageOf(
  config: Pick<Config, "usage" | "data" | "telemetry">,
  parts: { readonly bus: Bus; readonly store: Pick<Store, "usage">; readonly clock: Clock; readonly log: Logger },
): Promise<Usage | undefined> {
  if (config.usage.length === 0) return undefined;
  const { startUsage } = await import("../usage/usage.ts");
  const { otlp, sample } = config.telemetry;
  const traced = otlp === undefined ? undefined : sample;
  const { store, ...rest } = parts;
  return startUsage({ sinks: config.usage, data: config.data, letters: store.usage, consumer: USAGE, traced, ...rest });
}
