import { monthBefore } from "../charging/billing/retention.ts";
import { isMonth } from "../charging/bills/bill.ts";
import { monthOf } from "../charging/money/months.ts";
import type { Config } from "../config/schema.ts";
import { OperationError } from "./mistake.ts";

/** The month that was asked for, or this one. */
export function theMonth(month: string | undefined, now: number): string {
  const asked = month ?? monthOf(now);
  if (isMonth(asked)) return asked;
  throw new OperationError("usage", `expected a month such as 2026-01; found "${asked}"`, { field: "month" });
}

type Kept = "eventsMonths" | "entriesMonths";

/**
 * Why a month may be incomplete: its events or its lines on bills are no longer kept. Undefined: they are all kept.
 */
export function forgotten(
  { retention }: Pick<Config, "retention">,
  month: string,
  kept: Kept,
  now: number,
): string | undefined {
  const months = retention[kept];
  if (months === undefined || month >= monthBefore(monthOf(now), months)) return undefined;
  const what = kept === "eventsMonths" ? "events" : "lines on bills";
  return `${what} are kept for ${months} months (retention.${kept}), those of ${month} are removed`;
}
