import type { Command } from "commander";
import { type Micros, micros } from "../charging/credit/store.ts";
import { parseMoney } from "../charging/money/money.ts";
import { accountOf } from "../directory/accounts.ts";
import type { User } from "../directory/types.ts";
import type { Store } from "../store/types.ts";
import { readConfig, withStore } from "./context.ts";
import { checkCurrency, termsTexts } from "./credit.ts";
import { CliError, EXIT, type Io } from "./io.ts";

/** `tollgate user block|unblock|limit`: what a registered user may do. */
export function addUserStandingCommands(group: Command, io: Io): void {
  const change = (command: Command, id: string, to: (user: User) => User): Promise<void> => {
    const { config } = readConfig(io, command.optsWithGlobals().config);
    return withStore(config, async (store) => store.users.put(to(await mustKnow(store, id))));
  };

  group
    .command("block")
    .description("refuse a user's new calls with 403, from the next second on")
    .argument("<id>", "id of the user")
    .option("--end", "end the user's sessions too, at every node")
    .addHelpText("after", "\nExamples:\n  $ tollgate user block alice\n  $ tollgate user block alice --end")
    .action(async (id: string, { end }: { end?: true }, command: Command) => {
      const since = Date.now();
      await change(command, id, (user) => ({ ...user, blocked: { since, ...(end && { end }) } }));
      io.out(`user ${id} blocked${end ? "; the sessions of this user are ended" : ""}\n`);
    });

  group
    .command("unblock")
    .description("let a blocked user call again")
    .argument("<id>", "id of the user")
    .action(async (id: string, _options: unknown, command: Command) => {
      await change(command, id, ({ blocked: _, ...user }) => user);
      io.out(`user ${id} not blocked\n`);
    });

  group
    .command("name")
    .description("the customer's name on bills")
    .argument("<id>", "id of the user")
    .argument("[name]", "up to 200 characters; left out: no name")
    .addHelpText("after", '\nExamples:\n  $ tollgate user name alice "Alice Example"')
    .action(async (id: string, name: string | undefined, _options: unknown, command: Command) => {
      if (name !== undefined && (name.trim() === "" || name.length > 200))
        throw new CliError("expected a name of up to 200 characters", EXIT.usage);
      await change(command, id, ({ name: _, ...user }) => (name === undefined ? user : { ...user, name }));
      io.out(name === undefined ? `user ${id} has no name\n` : `user ${id} is ${name} on bills\n`);
    });

  group
    .command("limit")
    .description("bound what a user may have under way, spend in a day, and owe")
    .argument("<id>", "id of the user")
    .option("--sessions <number>", "sessions at once, those that ring included; none: as for all others")
    .option("--day <amount>", "the most that this user's sessions may cost in a UTC day; none: no bound")
    .option("--credit <amount>", "how much a user who pays by the bill may owe; none: no bound")
    .option("--currency <code>", "of --day and --credit, ISO 4217; once given it stays")
    .addHelpText(
      "after",
      `
With --day or --credit, what the user's sessions cost is held and taken out of a balance, as for a prepaid user. With
--credit it may go below zero. "tollgate credit show" says what is owed, "tollgate credit topup" notes a payment. What
was charged before is not in it. Services in another currency then answer 402.

Examples:
  $ tollgate user limit alice --sessions 2
  $ tollgate user limit alice --credit 100.00 --day 20.00 --currency EUR
  $ tollgate user limit alice --sessions none --day none --credit none`,
    )
    .action(async (id: string, options: LimitOptions, command: Command) => {
      const { config } = readConfig(io, command.optsWithGlobals().config);
      if (!options.sessions && !options.day && !options.credit)
        throw new CliError("say --sessions, --day or --credit", EXIT.usage);
      await withStore(config, async (store) => {
        const { sessions } = options;
        let user = await mustKnow(store, id);
        if (sessions !== undefined) user = withSessions(user, sessions);
        if (options.day !== undefined || options.credit !== undefined) user = await withSpending(store, user, options);
        await store.users.put(user);
        io.out(`user ${id}: ${await limitsText(store, user)}\n`);
      });
    });
}

interface LimitOptions {
  readonly sessions?: string;
  readonly day?: string;
  readonly credit?: string;
  readonly currency?: string;
}

function withSessions({ limits: _, ...user }: User, sessions: string): User {
  if (sessions === "none") return user;
  if (!/^[1-9]\d{0,5}$/.test(sessions))
    throw new CliError(`--sessions: expected a number from 1, or none; found "${sessions}"`, EXIT.usage);
  return { ...user, limits: { sessions: Number(sessions) } };
}

/** Sets the terms of the user's balance, which is opened where there is none. */
async function withSpending(store: Store, user: User, { day, credit, currency }: LimitOptions): Promise<User> {
  const { credit: balances } = store;
  if (!balances) throw new CliError("this store has no balances");
  if (user.prepaid && credit !== undefined)
    throw new CliError(`--credit: user ${user.id} is prepaid, and cannot owe anything`, EXIT.usage);
  const name = accountOf(user);
  const before = await balances.account(name);
  const used = before?.currency ?? currency;
  if (used === undefined) throw new CliError("--currency: which one?", EXIT.usage);
  checkCurrency(used);
  if (currency !== undefined && currency !== used)
    throw new CliError(`--currency: the balance of ${user.id} is in ${used}`, EXIT.usage);
  if (!before) await balances.open(name, used);
  const perDay = day === undefined ? before?.perDay : amountOf("--day", day, used);
  const now = user.postpaid ? (before?.limit ?? null) : null;
  const limit = credit === undefined ? now : (amountOf("--credit", credit, used) ?? null);
  const terms = { ...(perDay !== undefined && { perDay }), ...(!user.prepaid && { limit }) };
  await balances.setTerms(name, terms);
  if (user.prepaid) return user;
  const { postpaid: _, ...rest } = user;
  return limit === null && perDay === undefined ? rest : { ...rest, postpaid: { currency: used } };
}

/** Undefined: none. */
function amountOf(option: string, text: string, currency: string): Micros | undefined {
  if (text === "none") return undefined;
  const read = /^\d{1,9}(\.\d{1,6})?$/.test(text) ? parseMoney(text, currency) : undefined;
  if (read?.ok) return micros(read.value);
  throw new CliError(`${option}: expected an amount such as 20.00, or none; found "${text}"`, EXIT.usage);
}

async function limitsText(store: Store, user: User): Promise<string> {
  const account = user.prepaid || user.postpaid ? await store.credit?.account(accountOf(user)) : undefined;
  const { sessions } = user.limits ?? {};
  const said = [
    ...(sessions === undefined ? [] : [`${sessions} session${sessions === 1 ? "" : "s"} at once`]),
    ...(account ? termsTexts(account) : []),
  ];
  return said.length === 0 ? "no limits" : said.join(", ");
}

async function mustKnow(store: Store, id: string): Promise<User> {
  const user = await store.users.get(id);
  if (!user) throw new CliError(`no user ${id}; see: tollgate user list`);
  return user;
}
