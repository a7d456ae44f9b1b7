import type { Command } from "commander";
import { type Bill, makeBill } from "../charging/bills/bill.ts";
import type { BillHead } from "../charging/bills/bill-head.ts";
import { closedBill, closedSums, closeMonth } from "../charging/bills/closing.ts";
import { formatBill } from "../charging/bills/format-bill.ts";
import { billHtml } from "../charging/bills/html-bill.ts";
import { lateSums } from "../charging/bills/late.ts";
import { billCsv, billJson, billList } from "../charging/bills/rows.ts";
import type { Config } from "../config/schema.ts";
import { accountOf, readAccount } from "../directory/accounts.ts";
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
        await printAll(io, written({ store, config, user, month, format, all: options.all === true }));
      });
    });
}

/** A user who was removed still has bills. A user who never existed is a typing mistake. */
async function knownUser(store: Store, user: string, month: string): Promise<void> {
  if (await isKnown(store, user)) return;
  if ((await store.billing.totals(user, month)).length > 0) return;
  throw new CliError(`no user ${user}, and nothing billed to one of that name in ${month}; see: tollgate user list`);
}

interface Asked {
  readonly store: Store;
  readonly config: Config;
  readonly user: string;
  readonly month: string;
  readonly format: "text" | (typeof FORMATS)[number];
  readonly all: boolean;
}

/** The bill as it is now, with what stands on it besides the charges. */
export async function openBill(
  store: Store,
  config: Config,
  user: string,
  month: string,
  more: { readonly maxEntries?: number; readonly number?: string } = {},
): Promise<Bill> {
  const { number, ...most } = more;
  const { operator } = config.bills;
  const holder = await store.users.get(readAccount(user)?.id ?? user);
  // The account may be that of an earlier user of this id.
  const customer = holder && accountOf(holder) === user ? holder.name : undefined;
  const services = [...(await store.services.list()), ...config.services];
  const titles = Object.fromEntries(
    services.flatMap(({ id, title }): [string, string][] => (title === undefined ? [] : [[id, title]])),
  );
  const head: BillHead = {
    ...(number !== undefined && { number }),
    ...(operator && { operator }),
    ...(customer !== undefined && { customer }),
    ...(Object.keys(titles).length > 0 && { titles }),
  };
  const late = await lateSums(store.billing, closedSums(store.closedBills), user, month);
  return makeBill(store, user, month, { ...most, head, late });
}

/** `tollgate close`. */
export function addCloseCommand(program: Command, io: Io): void {
  program
    .command("close")
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
      const { config } = readConfig(io, command.optsWithGlobals().config);
      theMonth(month);
      await withStore(config, async (store) => {
        const make = (user: string, number: string) => openBill(store, config, user, month, { number });
        const { numberPrefix: prefix = "" } = config.bills;
        const done = await closeMonth(store, month, { now: Date.now(), prefix, make }).catch((error: Error) => {
          throw new CliError(error.message);
        });
        const { count, first, last } = done;
        io.out(
          `${month}: ${count} bill${count === 1 ? "" : "s"} closed${count === 0 ? "" : `, ${first} to ${last}`}\n`,
        );
      });
    });
}

async function* written({ store, config, user, month, format, all }: Asked): AsyncGenerator<string> {
  if (format === "csv") return yield* billCsv(store, user, month);
  if (format === "json" && all) return yield* billJson(store, user, month);
  const most = format === "json" ? { maxEntries: MAX_JSON_ENTRIES } : {};
  const bill =
    (await closedBill(store.closedBills, user, month))?.bill ?? (await openBill(store, config, user, month, most));
  const list = all && !bill.detailed;
  if (format === "html") return yield* billHtml(bill, list ? store : undefined);
  yield formatBill(bill, format);
  if (!list) return;
  yield "\n";
  yield* billList(store, user, month);
}
