import type { Command } from "commander";
import { isMonth, makeBill } from "../charging/bill.ts";
import { monthOf } from "../charging/billing-store.ts";
import { formatBill } from "../charging/format-bill.ts";
import { readConfig, withStore } from "./context.ts";
import { CliError, EXIT, type Io } from "./io.ts";

/** `tollgate bill`. */
export function addBillCommand(program: Command, io: Io): void {
  program
    .command("bill")
    .description("print a user's bill for a month: time and charges of every service (M18)")
    .argument("<user>", "id of the user")
    .option("--month <YYYY-MM>", "which month, in UTC (default: this one)")
    .option("--json", "as JSON")
    .option("--csv", "as CSV, a row for each entry")
    .addHelpText(
      "after",
      `
Examples:
  $ tollgate bill alice
  $ tollgate bill alice --month 2026-01 --csv > alice.csv`,
    )
    .action(async (user: string, options: { month?: string; json?: boolean; csv?: boolean }, command: Command) => {
      const { config } = readConfig(io, command.optsWithGlobals().config);
      const { month = monthOf(Date.now()), json, csv } = options;
      if (!isMonth(month))
        throw new CliError(`--month: expected a month such as 2026-01; found "${month}"`, EXIT.usage);
      if (json && csv) throw new CliError("--json and --csv: one of them", EXIT.usage);
      await withStore(config, async (store) => {
        const bill = await makeBill(store, user, month, json || csv ? { maxEntries: Number.POSITIVE_INFINITY } : {});
        // A user who was removed still has bills; one who never was is a slip of the pen.
        if (bill.services.length === 0 && (await store.users.get(user)) === undefined) {
          throw new CliError(
            `no user ${user}, and nothing billed to one of that name in ${month}; see: tollgate user list`,
          );
        }
        io.out(formatBill(bill, json ? "json" : csv ? "csv" : "text"));
      });
    });
}
