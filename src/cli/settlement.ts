import type { Command } from "commander";
import { settlementCsv, settlementHtml, settlementText } from "../charging/bills/format-settlement.ts";
import { makeSettlement } from "../charging/bills/settlement.ts";
import type { Config } from "../config/schema.ts";
import { formerAppServer } from "../directory/accounts.ts";
import type { Store } from "../store/types.ts";
import { readConfig, withStore } from "./context.ts";
import { CliError, type Io, printAll } from "./io.ts";
import { monthOption, oneOf, sayIfForgotten, theMonth } from "./month.ts";

const FORMATS = ["json", "csv", "html"] as const;

/** `tollgate settlement`. */
export function addSettlementCommand(program: Command, io: Io): void {
  monthOption(program.command("settlement"))
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
      const { config } = readConfig(io, command.optsWithGlobals().config);
      const month = theMonth(options.month);
      sayIfForgotten(io, config, month);
      const format = oneOf({ ...options }, FORMATS);
      await withStore(config, async (store) => {
        const settlement = await makeSettlement(store, appServer, month);
        if (settlement.services.length === 0 && !(await isKnown(store, config, appServer))) {
          throw new CliError(
            `no app server ${appServer}, and nothing charged for one of that name in ${month}; see: tollgate appserver list`,
          );
        }
        if (format === "csv") await printAll(io, settlementCsv(settlement, store));
        else if (format === "html") io.out(settlementHtml(settlement));
        else io.out(format === "json" ? `${JSON.stringify(settlement, undefined, 2)}\n` : settlementText(settlement));
      });
    });
}

const isKnown = async (store: Store, config: Config, appServer: string): Promise<boolean> =>
  config.appServers.some(({ id }) => id === appServer) ||
  (await store.appServers.get(appServer)) !== undefined ||
  (await store.former.get(formerAppServer(appServer))) !== undefined;
