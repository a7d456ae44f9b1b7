import { type Command, Option } from "commander";
import { printable } from "../charging/bills/format.ts";
import { type BrokenRecord, callRecords, writeRecords } from "../charging/bills/records.ts";
import { monthOf } from "../charging/money/months.ts";
import { exportRecords, periodOf } from "../operations/records.ts";
import { ask, locally } from "./ask.ts";
import { readConfig } from "./context.ts";
import { CliError, type Io, printAll } from "./io.ts";
import { monthOption, sayIfForgotten } from "./month.ts";
import { remotely, remoteOf } from "./remote.ts";

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
  monthOption(remotely(exporting.command("cdr")))
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
    .action(async ({ month, from, to, format }: ExportOptions, command: Command) => {
      const input = { month, from, to, format };
      if (remoteOf(io, command)) {
        io.out(`${(await ask(io, command, exportRecords, input)) as unknown as Buffer}`);
        return;
      }
      const { config } = readConfig(io, command.optsWithGlobals().config);
      const period = periodOf(input, Date.now());
      sayIfForgotten(io, config, monthOf(period.from));
      let broken = 0;
      const onBroken = ({ session, reason }: BrokenRecord) => {
        if (broken++ < MAX_SHOWN) io.err(`left out: session ${printable(session)}: ${printable(reason)}\n`);
      };
      await locally(io, command, exportRecords, input, ({ store }) =>
        printAll(io, writeRecords(callRecords(store.billing, period.from, period.to, onBroken), format)),
      );
      if (broken > 0) throw new CliError(`${broken} sessions are left out, since no record can be made of them`);
    });
}
