import type { Command } from "commander";
import { isMonth } from "../charging/bill.ts";
import { monthOf } from "../charging/billing-store.ts";
import { CliError, EXIT } from "./io.ts";

/** Adds `--month`. */
export function monthOption(command: Command): Command {
  return command.option("--month <YYYY-MM>", "which month, in UTC (default: this one)");
}

/** The month that was asked for, or this one. */
export function theMonth(month = monthOf(Date.now())): string {
  if (!isMonth(month)) throw new CliError(`--month: expected a month such as 2026-01; found "${month}"`, EXIT.usage);
  return month;
}

/** The one of these options that was given; undefined: none. Two are a mistake. */
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
