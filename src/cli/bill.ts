import type { Command } from "commander";
import { makeBill } from "../charging/bills/bill.ts";
import { formatBill } from "../charging/bills/format-bill.ts";
import { billHtml } from "../charging/bills/html-bill.ts";
import { billCsv, billJson, billList } from "../charging/bills/rows.ts";
import type { Store } from "../store/types.ts";
import { isKnown, theAccount } from "./accounts.ts";
import { readConfig, withStore } from "./context.ts";
import { CliError, type Io, printAll } from "./io.ts";
import { monthOption, oneOf, sayIfForgotten, theMonth } from "./month.ts";

const FORMATS = ["json", "csv", "html"] as const;
/** A program may get more than a person wants to read, as long as it fits into memory. */
const MAX_JSON_ENTRIES = 100_000;

interface BillOptions {
  readonly month?: string;
  readonly all?: boolean;
}

/** `tollgate bill`. */
export function addBillCommand(program: Command, io: Io): void {
  monthOption(program.command("bill"))
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
      const { config } = readConfig(io, command.optsWithGlobals().config);
      const month = theMonth(options.month);
      sayIfForgotten(io, config, month);
      const format = oneOf({ ...options }, FORMATS) ?? "text";
      await withStore(config, async (store) => {
        const user = await theAccount(store, name);
        await knownUser(store, user, month);
        await printAll(io, written(store, user, month, format, options.all === true));
      });
    });
}

/** A user who was removed still has bills. A user who never existed is a typing mistake. */
async function knownUser(store: Store, user: string, month: string): Promise<void> {
  if (await isKnown(store, user)) return;
  if ((await store.billing.totals(user, month)).length > 0) return;
  throw new CliError(`no user ${user}, and nothing billed to one of that name in ${month}; see: tollgate user list`);
}

async function* written(
  store: Store,
  user: string,
  month: string,
  format: "text" | (typeof FORMATS)[number],
  all: boolean,
): AsyncGenerator<string> {
  if (format === "csv") return yield* billCsv(store, user, month);
  if (format === "json" && all) return yield* billJson(store, user, month);
  const bill = await makeBill(store, user, month, { ...(format === "json" && { maxEntries: MAX_JSON_ENTRIES }) });
  const list = all && !bill.detailed;
  if (format === "html") return yield* billHtml(bill, list ? store : undefined);
  yield formatBill(bill, format);
  if (!list) return;
  yield "\n";
  yield* billList(store, user, month);
}
