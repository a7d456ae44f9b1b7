import type { Command } from "commander";
import type { Config } from "../config/schema.ts";
import { forgotten } from "../operations/months.ts";
import { CliError, EXIT, type Io } from "./io.ts";

/** Adds `--month`. */
export function monthOption(command: Command): Command {
  return command.option("--month <YYYY-MM>", "which month, in UTC (default: this one)");
}

/** Tells the operator if the lines on bills of a month are no longer kept. */
export function sayIfForgotten(io: Io, config: Pick<Config, "retention">, month: string): void {
  const why = forgotten(config, month, "entriesMonths", Date.now());
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
