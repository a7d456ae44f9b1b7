import type { Command } from "commander";
import { addUser, listUsers, removeUser, type UserView } from "../operations/users.ts";
import { ask } from "./ask.ts";
import { CliError, EXIT, type Io, readPassword, table } from "./io.ts";
import { remotely } from "./remote.ts";
import { addUserImportCommand } from "./user-import.ts";
import { addUserStandingCommands } from "./user-standing.ts";

interface AddOptions {
  readonly passwordStdin?: boolean;
  readonly md5: boolean;
  readonly replace?: boolean;
  readonly prepaid?: string;
  readonly balance?: string;
  readonly inherit?: true | string;
}

/** `tollgate user add|import|list|block|unblock|limit|remove`. */
export function addUserCommands(program: Command, io: Io): void {
  const user = program.command("user").description("registered users: who may sign in");

  remotely(user.command("add"))
    .description("register a user; only hashes of the password are kept")
    .argument("<id>", "user part of the identity: alice for sip:alice@portal.example")
    .option("--password-stdin", "read the password from the first line of standard input")
    .option("--no-md5", "keep no MD5 hash: the user can then only sign in with SHA-256")
    .option("--replace", "give a registered user a new password; --balance is not paid in a second time")
    .option("--prepaid <currency>", "the user pays in advance, from a balance in this currency (ISO 4217)")
    .option("--balance <amount>", "with --prepaid: what is paid in now, such as 20.00")
    .option(
      "--inherit [account]",
      "it is the person who had this id before: go on with the bills and the balance of the last user, or of alice#1",
    )
    .addHelpText(
      "after",
      `
The password is asked for at the terminal, or taken from --password-stdin or TOLLGATE_PASSWORD.

If somebody had the id before, this is another person: bills and balance begin anew, as those of alice#2. With --inherit
it is the same person.

In a domain of portal.ownUsers, the id is the whole address.

Examples:
  $ tollgate user add alice
  $ tollgate user add alice --password-stdin < password.txt
  $ tollgate user add alice --replace
  $ tollgate user add bob --prepaid EUR --balance 20.00
  $ tollgate user add alice@second.example
  $ tollgate user remove alice && tollgate user add alice --inherit`,
    )
    .action(async (id: string, options: AddOptions, command: Command) => {
      const { md5, replace, prepaid, balance, inherit } = options;
      const given = { id, md5, replace, prepaid, balance, inherit };
      // Before a password is asked for in vain.
      if (balance !== undefined && prepaid === undefined)
        throw new CliError("--balance: only with --prepaid", EXIT.usage);
      const password = await readPassword(io, options.passwordStdin ?? false);
      const { user, replaced, notes } = await ask(io, command, addUser, { ...given, password });
      io.out(`user ${id} ${replaced ? "has a new password" : "registered"} (realm ${user.realm})\n`);
      for (const note of notes) {
        if (note.startsWith("no tariff")) io.err(`note: ${note}\n`);
        else io.out(`${note}\n`);
      }
    });

  remotely(user.command("list"))
    .description("list the registered users")
    .option("--json", "as JSON")
    .action(async (options: { json?: boolean }, command: Command) => {
      const users: UserView[] = [];
      for (let after: string | undefined; ; ) {
        const page = await ask(io, command, listUsers, { after, most: PAGE });
        users.push(...page.users);
        after = page.next;
        if (after === undefined) break;
      }
      if (options.json) io.out(`${JSON.stringify(users, null, 2)}\n`);
      else if (users.length === 0) io.out("no users; register one with: tollgate user add ID\n");
      else
        io.out(
          table(
            ["ID", "REALM", "ALGORITHMS", "NOTE"],
            users.map((one) => [one.id, one.realm, one.algorithms.join(","), noteOn(one)]),
          ),
        );
    });

  addUserImportCommand(user, io);
  addUserStandingCommands(user, io);

  remotely(user.command("remove"))
    .description("remove a user; bills stay")
    .argument("<id>", "id of the user")
    .action(async (id: string, _options: unknown, command: Command) => {
      const { account, balance } = await ask(io, command, removeUser, { id });
      io.out(`user ${id} removed\n`);
      if (balance !== undefined) io.out(`a balance of ${balance} stays: tollgate credit show ${account}\n`);
    });
}

/** So many users are asked for at once. */
const PAGE = 10_000;

function noteOn({ blocked, limits, prepaid, limitedIn, account, note = "" }: UserView): string {
  const texts = [
    blocked ? "blocked" : note,
    limits?.sessions === undefined ? "" : `${limits.sessions} sessions at most`,
    prepaid === undefined ? "" : `prepaid in ${prepaid}`,
    limitedIn === undefined ? "" : `limited in ${limitedIn}`,
    account === undefined ? "" : `account ${account}`,
  ];
  return texts.filter((text) => text !== "").join(", ");
}
