import { resolve } from "node:path";
import type { Command } from "commander";
import { askControl, controlPaths } from "../console/control.ts";
import type { AnyOperation } from "../operations/operation.ts";
import { backUp, restore } from "../store/backup.ts";
import { locally } from "./ask.ts";
import { readConfig } from "./context.ts";
import { CliError, type Io } from "./io.ts";

const failed = (error: unknown): never => {
  throw new CliError(error instanceof Error ? error.message : String(error));
};

/** Notes in the audit log that all was copied, or put back. The copy itself does not depend on that. */
async function note(io: Io, command: Command, id: "backup" | "restore"): Promise<void> {
  const what = { id, method: "POST", path: "/" } as AnyOperation;
  await locally(io, command, what, {}, async () => {}).catch((error: Error) =>
    io.err(`the audit log has no entry of it: ${error.message}\n`),
  );
}

/** `tollgate backup`, `tollgate restore`. */
export function addBackupCommands(program: Command, io: Io): void {
  program
    .command("backup")
    .description("copy the data folder, also while the relay runs")
    .argument("<dir>", "a folder that is made, or is empty")
    .addHelpText(
      "after",
      `
The copy has the journal and the store as of one moment each, the key of the relay's signature, and its name. It holds
hashes of passwords: only its owner may read it. With MongoDB, bills and users are not in it.

Examples:
  $ tollgate backup /var/backups/tollgate-2026-11-28
  $ tollgate restore /var/backups/tollgate-2026-11-28`,
    )
    .action(async (dir: string, _options: unknown, command: Command) => {
      const { config } = readConfig(io, command.optsWithGlobals().config);
      const copied = await backUp(config.data, resolve(io.cwd, dir)).catch(failed);
      io.out(`copied to ${dir}: ${copied.join(", ")}\n`);
      await note(io, command, "backup");
      if (config.store) io.out("users and bills are in MongoDB: copy these with mongodump\n");
    });

  program
    .command("restore")
    .description("put a copy in the place of the data folder; the relay must not run")
    .argument("<dir>", "what tollgate backup made")
    .addHelpText(
      "after",
      `
The present data folder is moved aside, to the same name with .before-restore. Everything since the copy was made is
lost. Sessions in the copy are over.

Examples:
  $ tollgate restore /var/backups/tollgate-2026-11-28`,
    )
    .action(async (dir: string, _options: unknown, command: Command) => {
      const { config } = readConfig(io, command.optsWithGlobals().config);
      const asked = await Promise.all(controlPaths(config.data).map((path) => askControl(path, "GET", "/v1/me")));
      if (asked.some((answer) => answer.ok || !answer.error.absent))
        throw new CliError(`a relay runs on ${config.data}: stop it first`);
      try {
        const aside = restore(resolve(io.cwd, dir), config.data);
        io.out(`${config.data} is as it was when ${dir} was made\n`);
        if (aside !== undefined) io.out(`what was there is in ${aside}\n`);
      } catch (error) {
        failed(error);
      }
      await note(io, command, "restore");
    });
}
