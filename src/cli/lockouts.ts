import type { Command } from "commander";
import type { LockOut } from "../directory/guesses.ts";
import { liftLockOuts, listLockOuts } from "../operations/running.ts";
import { ask } from "./ask.ts";
import { CliError, EXIT, type Io, table } from "./io.ts";
import { remotely } from "./remote.ts";

/** `tollgate lockouts`: who has to wait after failed sign-ins (M2). */
export function addLockoutsCommands(program: Command, io: Io): void {
  const lockouts = program
    .command("lockouts")
    .description("users and addresses that have to wait after failed sign-ins, at all nodes of the cluster");
  remotely(lockouts.command("list"))
    .description("list who has to wait, where, and how long")
    .option("--json", "as JSON")
    .addHelpText("after", "\nExample:\n  $ tollgate lockouts list")
    .action(async (options: { json?: boolean }, command: Command) => {
      const { lockouts: found } = await ask(io, command, listLockOuts, {});
      if (options.json) io.out(`${JSON.stringify(found, null, 2)}\n`);
      else if (found.length === 0) io.out("no lock-outs\n");
      else io.out(table(["USER", "SOURCE", "FAILURES", "WAITS"], found.map(row)));
    });
  remotely(lockouts.command("lift"))
    .description("lift lock-outs, and forget the failures that led to them")
    .option("--user <id>", "lock-outs of this user")
    .option("--source <address>", "lock-outs at this address, or at its /64 network of IPv6")
    .option("--all", "all lock-outs")
    .addHelpText(
      "after",
      `
The running relay forgets them at once, and so do the other nodes of its cluster. A relay that is started again and
has no other nodes has no lock-outs.

Examples:
  $ tollgate lockouts lift --user alice
  $ tollgate lockouts lift --user alice --source 198.51.100.7
  $ tollgate lockouts lift --all`,
    )
    .action(async (options: { user?: string; source?: string; all?: boolean }, command: Command) => {
      const { user, source, all } = options;
      const named = user !== undefined || source !== undefined;
      if (named === (all === true))
        throw new CliError("say which: --user, --source or both of them, or --all", EXIT.usage);
      const { lifted } = await ask(io, command, liftLockOuts, { user, source, all });
      io.out(`${lifted} lifted\n`);
    });
}

const row = ({ user, source, failures, waitMs }: LockOut): string[] => [
  user ?? "(any who is new there)",
  source,
  String(failures),
  `${Math.ceil(waitMs / 1000)} s`,
];
