import { type Command, Option } from "commander";
import { printable } from "../charging/bills/format.ts";
import { type BrokenRecord, callRecords, writeRecords } from "../charging/bills/records.ts";
import { monthOf } from "../charging/money/months.ts";
import { theMonth } from "../operations/months.ts";
import { readConfig, withStore } from "./context.ts";
import { CliError, EXIT, type Io, printAll } from "./io.ts";
import { monthOption, sayIfForgotten } from "./month.ts";

/** More sessions without a record than this are counted, not shown. */
const MAX_SHOWN = 100;

interface ExportOptions {
  readonly month?: string;
  readonly from?: string;
  readonly to?: string;
  readonly format: "csv" | "jsonl";
}

/** `tollgate export`. */
export function addExportCommand(program: Command, io: Io): void {
  const exporting = program.command("export").description("write records for other systems");
  monthOption(exporting.command("cdr"))
    .description("write call detail records: one for each session that has ended, in the order of their starts")
    .option("--from <time>", "sessions that started at this time or later, such as 2026-01-05 or 2026-01-05T10:00:00Z")
    .option("--to <time>", "and before this time (default: now)")
    .addOption(new Option("--format <format>", "how they are written").choices(["csv", "jsonl"]).default("csv"))
    .addHelpText(
      "after",
      `
Example:
  $ tollgate export cdr --month 2026-01 --format jsonl > 2026-01.jsonl`,
    )
    .action(async (options: ExportOptions, command: Command) => {
      const { config } = readConfig(io, command.optsWithGlobals().config);
      const { from, to } = period(options);
      sayIfForgotten(io, config, monthOf(from));
      let broken = 0;
      const onBroken = ({ session, reason }: BrokenRecord) => {
        if (broken++ < MAX_SHOWN) io.err(`left out: session ${printable(session)}: ${printable(reason)}\n`);
      };
      await withStore(config, ({ billing }) =>
        printAll(io, writeRecords(callRecords(billing, from, to, onBroken), options.format)),
      );
      if (broken > 0) throw new CliError(`${broken} sessions are left out, since no record can be made of them`);
    });
}

function period({ month, from, to }: ExportOptions): { from: number; to: number } {
  if (month !== undefined && (from !== undefined || to !== undefined))
    throw new CliError("--month, or --from and --to", EXIT.usage);
  if (from === undefined) {
    if (to !== undefined) throw new CliError("--to: from when?", EXIT.usage);
    const [year, number] = theMonth(month, Date.now()).split("-").map(Number);
    return { from: Date.UTC(year!, number! - 1), to: Date.UTC(year!, number!) };
  }
  const times = { from: time("--from", from), to: to === undefined ? Date.now() : time("--to", to) };
  if (times.from >= times.to) throw new CliError("--from: expected a time before --to", EXIT.usage);
  return times;
}

/** Dates and times without a zone are UTC, as months are. */
function time(option: string, text: string): number {
  const read = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2})?)?$/.exec(text);
  const at = read ? Date.parse(read[1] !== undefined && read[4] === undefined ? `${text}Z` : text) : Number.NaN;
  if (Number.isNaN(at))
    throw new CliError(`${option}: expected a time such as 2026-01-05; found "${text}"`, EXIT.usage);
  return at;
}
