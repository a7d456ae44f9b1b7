import type { Command } from "commander";
import { exportSettlement, settlementOf, settlementParts, showSettlement } from "../operations/bills.ts";
import { theMonth } from "../operations/months.ts";
import { ask, locally } from "./ask.ts";
import { type Io, printAll } from "./io.ts";
import { monthOption, oneOf, sayIfForgotten } from "./month.ts";
import { remotely, remoteOf } from "./remote.ts";

const FORMATS = ["json", "csv", "html"] as const;

/** `tollgate settlement`. */
export function addSettlementCommand(program: Command, io: Io): void {
  monthOption(remotely(program.command("settlement")))
    .description("print what an app server is owed for a month, after the operator's fee")
    .argument("<app-server>", "id of the app server")
    .option("--json", "as JSON")
    .option("--csv", "as CSV, a row for each entry and each fee")
    .option("--html", "as a page to print")
    .addHelpText(
      "after",
      `
The app server gets the price of all items, and the share of the price of time that the setting timeShare names. From
that the operator keeps the fee: a percentage, an amount for each session, or both. Taxes play no part in settlement.

Example:
  $ tollgate settlement winery --month 2026-01`,
    )
    .action(async (appServer: string, options: { month?: string }, command: Command) => {
      const format = oneOf({ ...options }, FORMATS) ?? "text";
      const input = { appServer, month: options.month };
      if (remoteOf(io, command)) {
        if (format === "json")
          io.out(`${JSON.stringify(await ask(io, command, showSettlement, input), undefined, 2)}\n`);
        else io.out(String(await ask(io, command, exportSettlement, { ...input, format })));
        return;
      }
      await locally(io, command, format === "json" ? showSettlement : exportSettlement, input, async (context) => {
        const month = theMonth(options.month, context.now());
        sayIfForgotten(io, context.config, month);
        const settlement = await settlementOf(context, appServer, month);
        if (format === "json") io.out(`${JSON.stringify(settlement, undefined, 2)}\n`);
        else await printAll(io, settlementParts(context.store, settlement, format));
      });
    });
}
