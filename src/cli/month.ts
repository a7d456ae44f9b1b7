import type { Command } from "commander";
import { monthBefore } from "../charging/billing/retention.ts";
import { isMonth } from "../charging/bills/bill.ts";
import { monthOf } from "../charging/money/months.ts";
import type { Config } from "../config/schema.ts";
import { CliError, EXIT, type Io } from "./io.ts";

/** Adds `--month`. */
export function monthOption(command: Command): Command {
  return command.option("--month <YYYY-MM>", "which month, in UTC (default: this one)");
}

/** The month that was asked for, or this one. */
export function theMonth(month = monthOf(Date.now())): string {
  if (!isMonth(month)) throw new CliError(`--month: expected a month such as 2026-01; found "${month}"`, EXIT.usage);
  return month;
}

type Kept = "eventsMonths" | "entriesMonths";

/**
 * Why a month may be incomplete: its events or its lines on bills are no longer kept. Undefined: they are all kept.
 */
export function forgotten({ retention }: Pick<Config, "retention">, month: string, kept: Kept): string | undefined {
  const months = retention[kept];
  if (months === undefined || month >= monthBefore(monthOf(Date.now()), months)) return undefined;
  const what = kept === "eventsMonths" ? "events" : "lines on bills";
  return `${what} are kept for ${months} months (retention.${kept}), those of ${month} are removed`;
}

/** Tells the operator if the lines on bills of a month are no longer kept. */
export function sayIfForgotten(io: Io, config: Pick<Config, "retention">, month: string): void {
  const why = forgotten(config, month, "entriesMonths");
  if (why !== undefined) io.err(`note: ${why}\n`);
}

/** Which of these options was given; undefined: none. Two are a mistake. */
export function oneOf<T extends string>(
  options: Readonly<Record<string, unknown>>,
  names: readonly T[],
): T | undefined {
  const given = names.filter((name) => options[name] === true);
  if (given.length > 1) {
    throw new CliError(`${given.map((name) => `--${name}`).join(" and ")}: one of them`, EXIT.usage);
  }
  return given[0];
}
