import type { Command } from "commander";
import type { Entry } from "../charging/billing/store.ts";
import { printable } from "../charging/bills/format.ts";
import { type Difference, rebill } from "../charging/bills/rebill.ts";
import { theAccount } from "../operations/accounts.ts";
import { forgotten, theMonth } from "../operations/months.ts";
import { readConfig, withStore } from "./context.ts";
import { CliError, EXIT, type Io } from "./io.ts";
import { monthOption } from "./month.ts";

/** More differences than this are counted, not shown. */
const MAX_SHOWN = 1_000;

/** `tollgate rebill`. */
export function addRebillCommand(program: Command, io: Io, setCode: (code: number) => void): void {
  monthOption(program.command("rebill"))
    .description("make a month's entries again from the events that are kept, and compare them with the bills")
    .option("--user <id>", "only this user's")
    .option("--dry-run", "write nothing; without --dry-run only missing entries are written")
    .addHelpText(
      "after",
      `
The exit code is 1 if there is any difference. What is on a bill is never changed: if an entry differs from its event,
use tollgate correct.

Example:
  $ tollgate rebill --dry-run --month 2026-01`,
    )
    .action(async (options: { month?: string; user?: string; dryRun?: boolean }, command: Command) => {
      const { config } = readConfig(io, command.optsWithGlobals().config);
      const month = theMonth(options.month, Date.now());
      const why =
        forgotten(config, month, "entriesMonths", Date.now()) ?? forgotten(config, month, "eventsMonths", Date.now());
      if (why !== undefined) throw new CliError(why);
      const { user, dryRun } = options;
      let shown = 0;
      const onDifference = (difference: Difference) => {
        if (shown++ < MAX_SHOWN) io.out(`${describe(difference)}\n`);
      };
      const result = await withStore(config, async (store) => {
        const { billing, credit } = store;
        const account = user === undefined ? undefined : await theAccount(store, user);
        return rebill(billing, { month, user: account, write: !dryRun, credit, onDifference });
      });
      const { events, entries, written, differences } = result;
      if (shown > MAX_SHOWN) io.out(`and ${shown - MAX_SHOWN} more\n`);
      if (events === 0 && !config.charging.keepEvents) io.err("the setting charging.keepEvents is off\n");
      const done = written > 0 ? `, ${written} entries written` : "";
      io.out(`${month}: ${events} events kept, ${entries} entries made of them, ${differences} differences${done}\n`);
      if (differences > 0) setCode(EXIT.failure);
    });
}

function describe(difference: Difference): string {
  switch (difference.kind) {
    case "missing":
      return `missing      ${line(difference.entry)}`;
    case "different":
      return `different    ${line(difference.stored)}\n  by its event ${line(difference.entry)}\n  ${changes(difference.stored, difference.entry)}`;
    case "unexplained":
      return `no event for ${line(difference.stored)}`;
    case "sum":
      return `sums of ${printable(difference.user)} are kept as ${JSON.stringify(difference.stored)}\n  and are by the events ${JSON.stringify(difference.sums)}`;
    case "unreadable":
      return `unreadable   ${printable(String(difference.event.id))}: ${printable(difference.reason)}`;
  }
}

const line = ({ id, user, service, amount, currency }: Entry): string =>
  printable(`${id}  ${user}  ${service}  ${currency === "" ? "free" : `${amount} ${currency}`}`);

function changes(stored: Entry, made: Entry): string {
  const a = stored as unknown as Record<string, unknown>;
  const b = made as unknown as Record<string, unknown>;
  const names = [...new Set([...Object.keys(a), ...Object.keys(b)])];
  const differ = names.filter((name) => JSON.stringify(a[name]) !== JSON.stringify(b[name]));
  return differ
    .map((name) => printable(`${name}: ${JSON.stringify(a[name])}, by its event ${JSON.stringify(b[name])}`))
    .join("; ");
}
