import type { Command } from "commander";
import { formatBill } from "../charging/bills/format-bill.ts";
import { billJson } from "../charging/bills/rows.ts";
import { billText, closeBills, exportBill, showBill, whoseBill } from "../operations/bills.ts";
import { ask, locally } from "./ask.ts";
import { CliError, EXIT, type Io, printAll } from "./io.ts";
import { monthOption, oneOf, sayIfForgotten } from "./month.ts";
import { remotely, remoteOf } from "./remote.ts";

const FORMATS = ["json", "csv", "html"] as const;

interface BillOptions {
  readonly month?: string;
  readonly all?: boolean;
}

/** `tollgate bill`. */
export function addBillCommand(program: Command, io: Io): void {
  monthOption(remotely(program.command("bill")))
    .description("print a user's bill for a month: time and charges of every service, taxes, totals")
    .argument("<user>", "id of the user; alice#1 is the first user of that id, if there were several")
    .option("--json", "as JSON")
    .option("--csv", "as CSV, a row for each entry and each tax")
    .option("--html", "as a page to print")
    .option("--all", "list every entry, however many there are, by time")
    .addHelpText(
      "after",
      `
If a month has more than 10,000 entries (JSON: 100,000), only the sums are shown, unless --all is given. CSV always has
every entry.

Examples:
  $ tollgate bill alice
  $ tollgate bill alice --html > alice.html
  $ tollgate bill alice --month 2026-01 --csv > alice.csv`,
    )
    .action(async (name: string, options: BillOptions, command: Command) => {
      const format = oneOf({ ...options }, FORMATS) ?? "text";
      const all = options.all === true;
      const input = { user: name, month: options.month };
      if (remoteOf(io, command)) {
        if (format === "json") {
          if (all) throw new CliError("--all: with --json on the machine itself", EXIT.usage);
          io.out(`${JSON.stringify(await ask(io, command, showBill, input), undefined, 2)}\n`);
        } else io.out(String(await ask(io, command, exportBill, { ...input, format, all })));
        return;
      }
      await locally(io, command, format === "json" ? showBill : exportBill, input, async (context) => {
        const { user, month } = await whoseBill(context, name, options.month);
        sayIfForgotten(io, context.config, month);
        if (format !== "json") await printAll(io, billText(context, { user, month, format, all }));
        else if (all) await printAll(io, billJson(context.store, user, month));
        else io.out(formatBill(await showBill.run(context, { user: name, month }), "json"));
      });
    });
}

/** `tollgate close`. */
export function addCloseCommand(program: Command, io: Io): void {
  remotely(program.command("close"))
    .description("close the bills of a month that is over: each gets a number, and is kept as it is")
    .argument("<month>", "such as 2026-10, in UTC")
    .addHelpText(
      "after",
      `
What is charged for that month afterwards stands on the next bill. Wait until late charges are in (charging.lateChargesS)
if you want few of these. Done again, it closes what was not there before. Run it at one place at a time.

Examples:
  $ tollgate close 2026-10`,
    )
    .action(async (month: string, _options: unknown, command: Command) => {
      const { count, first, last } = await ask(io, command, closeBills, { month });
      io.out(`${month}: ${count} bill${count === 1 ? "" : "s"} closed${count === 0 ? "" : `, ${first} to ${last}`}\n`);
    });
}
