import type { Command } from "commander";
import { addAppServerKey, listAppServerKeys, removeAppServerKey } from "../operations/app-server-keys.ts";
import { ask } from "./ask.ts";
import { type Io, table } from "./io.ts";
import { remotely } from "./remote.ts";

/**
 * `tollgate appserver key add|list|remove`: the keys by which app servers sign in to charge outside of a session's
 * dialog (M15, M17).
 */
export function addAppServerKeyCommands(appserver: Command, io: Io): void {
  const group = appserver.command("key").description("keys with which an app server charges by HTTPS or SIP MESSAGE");

  remotely(group.command("add"))
    .description("make a key and show its secret, once; only hashes are kept")
    .argument("<id>", "id of the app server")
    .option("--no-md5", "keep no MD5 hash: SIP Digest then works with SHA-256 only")
    .option(
      "--serves <ids>",
      "services that whoever has it may serve by REGISTER; the app server need not be configured",
      (ids) => ids.split(","),
    )
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      "\nExamples:\n  $ tollgate appserver key add shop\n  $ tollgate appserver key add shop --serves wine,beer --json",
    )
    .action(async (id: string, options: { md5: boolean; json?: boolean; serves?: string[] }, command: Command) => {
      const { md5, serves } = options;
      const shown = await ask(io, command, addAppServerKey, { id, md5, ...(serves && { serves }) });
      if (options.json) io.out(`${JSON.stringify(shown)}\n`);
      else
        io.out(
          `key of app server ${id}; the secret is shown this once\n` +
            `  key     ${shown.key}\n  secret  ${shown.secret}\n` +
            `  HTTP    Authorization: Bearer ${shown.bearer}\n` +
            `  SIP     Digest, user ${shown.key}, password the secret, realm ${shown.realm}\n`,
        );
    });

  remotely(group.command("list"))
    .description("list the keys of every app server, or of one")
    .argument("[id]", "id of the app server")
    .option("--json", "as JSON")
    .action(async (id: string | undefined, options: { json?: boolean }, command: Command) => {
      const { keys: shown, realm } = await ask(io, command, listAppServerKeys, { appServer: id });
      if (options.json) io.out(`${JSON.stringify(shown, null, 2)}\n`);
      else if (shown.length === 0) io.out("no keys; make one with: tollgate appserver key add ID\n");
      else
        io.out(
          table(
            ["KEY", "APP SERVER", "CREATED", "NOTE"],
            shown.map((one) => [
              one.key,
              one.appServer,
              new Date(one.createdAt).toISOString(),
              one.realm === realm ? "" : `HTTP only: for SIP the realm is now ${realm}`,
            ]),
          ),
        );
    });

  remotely(group.command("remove"))
    .description("remove a key: it is refused within about a second")
    .argument("<key>", "the key's id, from tollgate appserver key list")
    .action(async (key: string, _options: unknown, command: Command) => {
      await ask(io, command, removeAppServerKey, { key });
      io.out(`key ${key} removed\n`);
    });
}
