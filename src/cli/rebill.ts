import type { Command } from "commander";
import { theMonth } from "../operations/months.ts";
import { rebillMonth } from "../operations/rebill.ts";
import { ask } from "./ask.ts";
import { EXIT, type Io } from "./io.ts";
import { monthOption } from "./month.ts";
import { remotely } from "./remote.ts";

/** `tollgate rebill`. */
export function addRebillCommand(program: Command, io: Io, setCode: (code: number) => void): void {
  monthOption(remotely(program.command("rebill")))
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
      const { user, dryRun } = options;
      const input = { month: theMonth(options.month, Date.now()), user, dryRun };
      const { month, events, entries, written, differences, shown, keepsEvents } = await ask(
        io,
        command,
        rebillMonth,
        input,
      );
      for (const { text } of shown) io.out(`${text}\n`);
      if (differences > shown.length) io.out(`and ${differences - shown.length} more\n`);
      if (events === 0 && !keepsEvents) io.err("the setting charging.keepEvents is off\n");
      const done = written > 0 ? `, ${written} entries written` : "";
      io.out(`${month}: ${events} events kept, ${entries} entries made of them, ${differences} differences${done}\n`);
      if (differences > 0) setCode(EXIT.failure);
    });
}
