import type { CallRecord } from "../calls/record.ts";
import type { Config } from "../config/schema.ts";
import type { Clock } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import type { SpanExporter } from "../telemetry/exporter.ts";

/** What a relay has of it; undefined in the options of records where there are no traces. */
export interface Telemetry {
  readonly traced: (record: CallRecord) => void;
  readonly exporter: SpanExporter;
}

/** Traces of requests, if they are switched on. Its code is loaded only then. Rejects if a file cannot be used. */
export async function startTelemetry(
  { telemetry }: Pick<Config, "telemetry">,
  parts: { readonly node: string; readonly clock: Clock; readonly log: Logger },
): Promise<Telemetry | undefined> {
  const { otlp } = telemetry;
  if (otlp === undefined) return undefined;
  const { SpanExporter } = await import("../telemetry/exporter.ts");
  const exporter = new SpanExporter({ settings: { ...telemetry, otlp }, ...parts });
  return { exporter, traced: (record) => exporter.take(record) };
}
