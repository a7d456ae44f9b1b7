import type { Command } from "commander";
import { type Config, userNameSchema } from "../config/schema.ts";
import { accountName, accountOf, afterRemoval, formerUser } from "../directory/accounts.ts";
import { partsOf } from "../directory/realms.ts";
import type { User } from "../directory/types.ts";
import { registerUser } from "../directory/users.ts";
import type { Store } from "../store/types.ts";
import { accountForNew, accountsOf, shownAccount } from "./accounts.ts";
import { readConfig, withStore } from "./context.ts";
import { balanceText, checkCurrency, currencyNote, openBalance, post } from "./credit.ts";
import { CliError, EXIT, type Io, readPassword, table } from "./io.ts";
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

  user
    .command("add")
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
      const { config } = readConfig(io, command.optsWithGlobals().config);
      const { prepaid: currency, balance } = options;
      if (currency !== undefined) checkCurrency(currency);
      if (balance !== undefined && currency === undefined)
        throw new CliError("--balance: only with --prepaid", EXIT.usage);
      const realm = realmFor(config, id);
      await withStore(config, async (store) => {
        const known = await store.users.get(id);
        if (known && !options.replace) {
          throw new CliError(`user ${id} is registered already; --replace gives a new password`);
        }
        if (known && options.inherit !== undefined)
          throw new CliError(`--inherit: user ${id} is registered, as ${shownAccount(accountOf(known))}`, EXIT.usage);
        const before = known ? 0 : await accountsOf(store, id);
        const account = known ? accountOf(known) : await accountForNew(store, id, options.inherit);
        const password = await readPassword(io, options.passwordStdin ?? false);
        // The money first. If that fails, the user is as before, and the same command again adds nothing.
        if (currency !== undefined) await openBalance(store, account, currency);
        if (balance !== undefined) await payIn(io, store, id, account, balance);
        const prepaid = currency === undefined ? {} : { prepaid: { currency } };
        await registerUser(store, { id, realm, password, md5: options.md5, account, ...prepaid });
        io.out(`user ${id} ${known ? "has a new password" : "registered"} (realm ${realm})\n`);
        if (before > 0)
          io.out(
            options.inherit === undefined
              ? await leftBehind(store, id, before, account)
              : `bills and balance of ${shownAccount(account)} go on\n`,
          );
        if (currency !== undefined) io.err(await currencyNote(store, config, currency));
      });
    });

  user
    .command("list")
    .description("list the registered users")
    .option("--json", "as JSON")
    .action(async (options: { json?: boolean }, command: Command) => {
      const { config } = readConfig(io, command.optsWithGlobals().config);
      const users = await withStore(config, (store) => store.users.list());
      const shown = users.map(({ id, realm, ha1, blocked, limits, prepaid, postpaid, account }) => ({
        id,
        realm,
        algorithms: [...(ha1.sha256 === undefined ? [] : ["sha-256"]), ...(ha1.md5 === undefined ? [] : ["md5"])],
        blocked: blocked !== undefined,
        ...(limits && { limits }),
        ...(prepaid && { prepaid: prepaid.currency }),
        ...(postpaid && { limitedIn: postpaid.currency }),
        ...(account !== undefined && { account }),
      }));
      if (options.json) io.out(`${JSON.stringify(shown, null, 2)}\n`);
      else if (shown.length === 0) io.out("no users; register one with: tollgate user add ID\n");
      else {
        const note = ({
          id,
          blocked,
          limits,
          realm,
          algorithms,
          prepaid,
          limitedIn,
          account,
        }: (typeof shown)[number]) =>
          [
            blocked ? "blocked" : whyNoSignIn(config, { id, realm, algorithms }),
            limits?.sessions === undefined ? "" : `${limits.sessions} sessions at most`,
            prepaid === undefined ? "" : `prepaid in ${prepaid}`,
            limitedIn === undefined ? "" : `limited in ${limitedIn}`,
            account === undefined ? "" : `account ${account}`,
          ]
            .filter((text) => text !== "")
            .join(", ");
        io.out(
          table(
            ["ID", "REALM", "ALGORITHMS", "NOTE"],
            shown.map((one) => [one.id, one.realm, one.algorithms.join(","), note(one)]),
          ),
        );
      }
    });

  addUserImportCommand(user, io);
  addUserStandingCommands(user, io);

  user
    .command("remove")
    .description("remove a user; bills stay")
    .argument("<id>", "id of the user")
    .action(async (id: string, _options: unknown, command: Command) => {
      const { config } = readConfig(io, command.optsWithGlobals().config);
      await withStore(config, async (store) => {
        const known = await store.users.get(id);
        if (!known) throw new CliError(`no user ${id}; see: tollgate user list`);
        // First note the account: the next user of this id is somebody else.
        const former = afterRemoval(known, await store.former.get(formerUser(id)), Date.now());
        await store.former.put(former);
        await store.users.remove(id);
        io.out(`user ${id} removed\n`);
        const account = accountOf(known);
        const balance = await balanceText(store, account);
        if (balance !== undefined)
          io.out(`a balance of ${balance} stays: tollgate credit show ${shownAccount(account)}\n`);
      });
    });
}

/** The realm of a new user. Ends the command if nobody can have that id. */
function realmFor({ portal }: Config, id: string): string {
  const { name, domain } = partsOf(id);
  const checked = userNameSchema.safeParse(name);
  if (!checked.success) throw new CliError(`expected ${checked.error.issues[0]?.message}; found "${id}"`, EXIT.usage);
  if (domain === undefined) return portal.realm;
  if (portal.ownUsers.includes(domain)) return domain;
  const own = portal.ownUsers.length === 0 ? "no domain has any" : `only ${portal.ownUsers.join(", ")} has`;
  throw new CliError(
    `expected a user id without a domain, or with one that has users of its own (portal.ownUsers: ${own}); found "${id}"`,
    EXIT.usage,
  );
}

/** "", or why nobody can sign in as that user. */
function whyNoSignIn(
  { portal, authentication }: Config,
  { id, realm, algorithms }: Pick<User, "id" | "realm"> & { readonly algorithms: readonly string[] },
): string {
  const { domain } = partsOf(id);
  if (domain !== undefined && !portal.ownUsers.includes(domain))
    return `cannot sign in: ${domain} is not among portal.ownUsers`;
  if (domain === undefined && realm !== portal.realm) return `cannot sign in: the realm is now ${portal.realm}`;
  if (!authentication.algorithms.some((one) => algorithms.includes(one)))
    return `cannot sign in: ${algorithms.join()} is not among authentication.algorithms`;
  return "";
}

/** The first payment of a registration. It is made once, even if the user is replaced later. */
async function payIn(io: Io, store: Store, id: string, account: string, amount: string): Promise<void> {
  const removals = (await store.former.get(formerUser(id)))?.removals ?? 0;
  const payment = removals === 0 ? "with-user-add" : `with-user-add-${removals}`;
  await post(io, store, { user: account, kind: "topup", id: payment, amount }).catch((error) => {
    if (!(error instanceof CliError) || error.exitCode !== EXIT.failure) throw error;
    throw new CliError(
      `--balance: ${error.message}; what is paid in later: tollgate credit topup ${id} AMOUNT --id ID`,
    );
  });
}

/** Says what becomes of the bills and the balance of the user before, who had the `n`th account. */
async function leftBehind(store: Store, id: string, n: number, account: string): Promise<string> {
  const last = accountName(id, n);
  const balance = await balanceText(store, last);
  const left = balance === undefined ? "" : `, with a balance of ${balance}`;
  return `bills and balance begin anew, as ${account}: those of ${shownAccount(last)} stay where they are${left}; --inherit is for the same person\n`;
}
