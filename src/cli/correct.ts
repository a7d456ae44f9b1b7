import type { Command } from "commander";
import { correctBill } from "../operations/correct.ts";
import { ask } from "./ask.ts";
import type { Io } from "./io.ts";
import { remotely } from "./remote.ts";

/** `tollgate correct`. */
export function addCorrectCommand(program: Command, io: Io): void {
  remotely(program.command("correct"))
    .description("put something right on a user's bill: a new entry of this month, with a reason")
    .argument("<user>", "id of the user")
    .requiredOption("--amount <decimal>", "how much; negative: the user gets it back")
    .requiredOption("--reason <text>", "the reason; it stands on the bill")
    .option("--currency <code>", "of the amount (default: the entry's)")
    .option("--entry <id>", "the entry to correct; the correction has the same service, app server and session")
    .option("--service <id>", "the service, if no entry is named")
    .option("--app-server <id>", "the app server whose settlement changes too, if no entry is named")
    .option("--time", "the correction is about time, not about items; if no entry is named")
    .option("--id <id>", "an id of your own: the same id corrects once (default: a new one)")
    .addHelpText(
      "after",
      `
What is on a bill is never changed. The ids of entries are in: tollgate bill USER --csv
A correction has the taxes of the entry that it corrects. Without an entry it has the taxes that hold now. For a
prepaid user it also goes into the balance, with its taxes.

Example:
  $ tollgate correct alice --amount -5.00 --currency EUR --reason "bottle was broken" --id ticket-4711`,
    )
    .action(async (user: string, options: object, command: Command) => {
      const made = await ask(io, command, correctBill, { user, ...options });
      const what = `${made.amount} ${made.currency} on the bill of ${made.user} for ${made.month}`;
      io.out(made.isNew ? `${made.id}: ${what}\n` : `${made.id} is there already: ${what}\n`);
      if (made.intoBalance !== undefined)
        io.out(`in the balance of ${made.user}: ${made.intoBalance} ${made.currency}\n`);
    });
}
