import type { Command } from "commander";
import { userIdSchema } from "../config/schema.ts";
import { registerUser } from "../directory/users.ts";
import { readConfig, withStore } from "./context.ts";
import { checkCurrency, openBalance, post } from "./credit.ts";
import { CliError, EXIT, type Io, readPassword, table } from "./io.ts";

interface AddOptions {
  readonly passwordStdin?: boolean;
  readonly md5: boolean;
  readonly replace?: boolean;
  readonly prepaid?: string;
  readonly balance?: string;
}

/** `tollgate user add|list|remove`. */
export function addUserCommands(program: Command, io: Io): void {
  const user = program.command("user").description("registered users: who may sign in (M2)");

  user
    .command("add")
    .description("register a user; only hashes of the password are kept")
    .argument("<id>", "user part of the identity: alice for sip:alice@portal.example")
    .option("--password-stdin", "read the password from the first line of standard input")
    .option("--no-md5", "keep no MD5 hash: the user can then only sign in with SHA-256")
    .option("--replace", "give a user who is registered already a new password")
    .option("--prepaid <currency>", "the user pays in advance, from a balance in this currency (ISO 4217)")
    .option("--balance <amount>", "with --prepaid: what is paid in now, such as 20.00")
    .addHelpText(
      "after",
      `
The password is asked for at the terminal, or taken from --password-stdin or TOLLGATE_PASSWORD.

Examples:
  $ tollgate user add alice
  $ tollgate user add alice --password-stdin < password.txt
  $ tollgate user add alice --replace
  $ tollgate user add bob --prepaid EUR --balance 20.00`,
    )
    .action(async (id: string, options: AddOptions, command: Command) => {
      const { config } = readConfig(io, command.optsWithGlobals().config);
      const { prepaid: currency, balance } = options;
      if (currency !== undefined) checkCurrency(currency);
      if (balance !== undefined && currency === undefined)
        throw new CliError("--balance: only with --prepaid", EXIT.usage);
      const checked = userIdSchema.safeParse(id);
      if (!checked.success)
        throw new CliError(`expected ${checked.error.issues[0]?.message}; found "${id}"`, EXIT.usage);
      await withStore(config, async (store) => {
        const known = (await store.users.get(id)) !== undefined;
        if (known && !options.replace) {
          throw new CliError(`user ${id} is registered already; --replace gives a new password`);
        }
        const password = await readPassword(io, options.passwordStdin ?? false);
        const { realm } = config.portal;
        if (currency !== undefined) await openBalance(store, id, currency);
        const prepaid = currency === undefined ? {} : { prepaid: { currency } };
        await registerUser(store, { id, realm, password, md5: options.md5, ...prepaid });
        io.out(`user ${id} ${known ? "has a new password" : "registered"} (realm ${realm})\n`);
        if (balance !== undefined)
          await post(io, store, { user: id, kind: "topup", id: `with-user-add-${Date.now()}`, amount: balance });
      });
    });

  user
    .command("list")
    .description("list the registered users")
    .option("--json", "as JSON")
    .action(async (options: { json?: boolean }, command: Command) => {
      const { config } = readConfig(io, command.optsWithGlobals().config);
      const users = await withStore(config, (store) => store.users.list());
      const shown = users.map(({ id, realm, ha1, disabled, prepaid }) => ({
        id,
        realm,
        algorithms: ha1.md5 === undefined ? ["sha-256"] : ["sha-256", "md5"],
        disabled: disabled ?? false,
        ...(prepaid && { prepaid: prepaid.currency }),
      }));
      if (options.json) io.out(`${JSON.stringify(shown, null, 2)}\n`);
      else if (shown.length === 0) io.out("no users; register one with: tollgate user add ID\n");
      else {
        const note = (one: (typeof shown)[number]) =>
          one.disabled
            ? "disabled"
            : one.realm === config.portal.realm
              ? one.prepaid
                ? `prepaid in ${one.prepaid}`
                : ""
              : `cannot sign in: the realm is now ${config.portal.realm}`;
        io.out(
          table(
            ["ID", "REALM", "ALGORITHMS", "NOTE"],
            shown.map((one) => [one.id, one.realm, one.algorithms.join(","), note(one)]),
          ),
        );
      }
    });

  user
    .command("remove")
    .description("remove a user; bills stay")
    .argument("<id>", "id of the user")
    .action(async (id: string, _options: unknown, command: Command) => {
      const { config } = readConfig(io, command.optsWithGlobals().config);
      if (!(await withStore(config, (store) => store.users.remove(id))))
        throw new CliError(`no user ${id}; see: tollgate user list`);
      io.out(`user ${id} removed\n`);
    });
}
