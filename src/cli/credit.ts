import type { Command } from "commander";
import {
  balanceOf,
  type CreditAccount,
  type CreditStore,
  fromMicros,
  type LedgerEntry,
  MAX_MICROS,
  type Micros,
  micros,
} from "../charging/credit/store.ts";
import { isCurrency } from "../charging/money/currency.ts";
import { formatAmount, formatMoney, parseMoney } from "../charging/money/money.ts";
import type { Config } from "../config/schema.ts";
import { accountOf } from "../directory/accounts.ts";
import type { Store } from "../store/types.ts";
import { theAccount } from "./accounts.ts";
import { readConfig, withStore } from "./context.ts";
import { CliError, EXIT, type Io, table } from "./io.ts";
import { checked } from "./labels.ts";

const PAGE = 1_000;

/** `tollgate credit open|show|topup|adjust`: the balances of prepaid users. */
export function addCreditCommands(program: Command, io: Io): void {
  const credit = program.command("credit").description("balances of users who pay in advance, or may owe only so much");
  const load = (command: Command) => readConfig(io, command.optsWithGlobals().config).config;

  credit
    .command("open")
    .description("make a registered user prepaid, with an empty balance")
    .argument("<user>", "id of the user")
    .requiredOption("--currency <code>", "ISO 4217, such as EUR")
    .addHelpText("after", "\nExamples:\n  $ tollgate credit open alice --currency EUR")
    .action(async (user: string, { currency }: { currency: string }, command: Command) => {
      checkCurrency(currency);
      const config = load(command);
      await withStore(config, async (store) => {
        const known = await store.users.get(user);
        if (!known) throw new CliError(`no user ${user}; see: tollgate user list`);
        await openBalance(store, accountOf(known), currency);
        const { postpaid: _, ...kept } = known;
        await store.users.put({ ...kept, prepaid: { currency } });
        io.out(`user ${user} is prepaid in ${currency}\n`);
        io.err(await currencyNote(store, config, currency));
      });
    });

  credit
    .command("show")
    .description("show a user's balance, what is held of it, and the last lines of its ledger")
    .argument("<user>", "id of the user")
    .option("--json", "as JSON, with the whole ledger")
    .action(async (name: string, { json }: { json?: boolean }, command: Command) => {
      await withStore(load(command), async (store) => {
        const user = await theAccount(store, name);
        const account = await creditOf(store).account(user);
        if (!account) throw new CliError(`user ${user} has no balance; see: tollgate credit open --help`);
        const { currency, available, holds } = account;
        const ledger = await wholeLedger(creditOf(store), user);
        const balance = balanceOf(account);
        const amount = (micros: Micros) => formatAmount(fromMicros(micros, currency));
        if (json) {
          const lines = ledger.map((entry) => ({ ...entry, amount: amount(entry.amount) }));
          const held = Object.entries(holds).map(([hold, one]) => ({
            ...{ hold, ...one },
            ...{ amount: amount(one.amount), used: amount(one.used) },
          }));
          const { limit, perDay } = account;
          const terms = {
            ...(typeof limit === "number" && { creditLimit: amount(limit) }),
            ...(perDay !== undefined && { perDay: amount(perDay) }),
          };
          const shown = {
            user,
            currency,
            ...terms,
            balance: amount(balance),
            available: amount(available),
            held,
            ledger: lines,
          };
          io.out(`${JSON.stringify(shown, null, 2)}\n`);
          return;
        }
        const held = Object.values(holds).length;
        const terms = termsTexts(account);
        io.out(`${user}: ${formatMoney(fromMicros(balance, currency))}\n`);
        if (held > 0)
          io.out(`  of it free: ${amount(available)} ${currency}; the rest is held for ${held} session(s)\n`);
        if (terms.length > 0) io.out(`  ${terms.join(", ")}\n`);
        const rows = ledger
          .slice(-20)
          .map(({ at, kind, amount: micros, reason, session, id }) => [
            new Date(at).toISOString().slice(0, 19),
            kind,
            amount(micros),
            reason ?? session ?? id.slice(kind.length + 1),
          ]);
        if (rows.length > 0) io.out(`\n${table(["AT (UTC)", "WHAT", currency, "FOR"], rows)}`);
        if (ledger.length > rows.length) io.out(`the last 20 of ${ledger.length}; --json lists all\n`);
      });
    });

  credit
    .command("topup")
    .description("add to a balance; the same --id again adds nothing")
    .argument("<user>", "id of the user")
    .argument("<amount>", "decimal amount in the balance's currency")
    .requiredOption("--id <id>", "an id of your own, such as the number of the payment")
    .addHelpText("after", "\nExamples:\n  $ tollgate credit topup alice 20.00 --id payment-4711")
    .action(async (user: string, amount: string, { id }: { id: string }, command: Command) => {
      if (amount.startsWith("-")) throw new CliError("a top-up adds; see: tollgate credit adjust --help", EXIT.usage);
      await withStore(load(command), async (store) =>
        post(io, store, { user: await theAccount(store, user), kind: "topup", id, amount }),
      );
    });

  credit
    .command("adjust")
    .description("correct a balance by a further entry with a reason; the same --id again changes nothing")
    .argument("<user>", "id of the user")
    .requiredOption("--by <amount>", "decimal amount in the balance's currency; -5.00 takes away (--by=-5.00)")
    .requiredOption("--id <id>", "an id of your own")
    .requiredOption("--reason <text>", "why")
    .addHelpText(
      "after",
      "\nExamples:\n  $ tollgate credit adjust alice --by=-5.00 --id ticket-12 --reason 'typed twice'",
    )
    .action(async (user: string, options: { by: string; id: string; reason: string }, command: Command) => {
      const { by: amount, id, reason } = options;
      await withStore(load(command), async (store) =>
        post(io, store, { user: await theAccount(store, user), kind: "correction", id, amount, reason }),
      );
    });
}

/** The terms of a balance, for people. */
export function termsTexts({ currency, limit, perDay }: CreditAccount): string[] {
  const amount = (value: Micros) => formatMoney(fromMicros(value, currency));
  return [
    ...(typeof limit === "number" ? [`may owe ${amount(limit)}`] : []),
    ...(perDay === undefined ? [] : [`may spend ${amount(perDay)} a day`]),
  ];
}

/** What is in an account's balance, holds included; undefined: the balance is empty, or there is none. */
export async function balanceText(store: Store, account: string): Promise<string | undefined> {
  const credit = await store.credit?.account(account);
  const balance = credit && balanceOf(credit);
  return balance ? formatMoney(fromMicros(balance, credit.currency)) : undefined;
}

/** "", or a note that no tariff is in the balance's currency: nothing is converted. */
export async function currencyNote(store: Store, config: Config, currency: string): Promise<string> {
  const tariffs = [...config.tariffs, ...(await store.tariffs.list())];
  if (tariffs.length === 0 || tariffs.some((tariff) => tariff.currency === currency)) return "";
  return `note: no tariff is in ${currency}: services that have a tariff answer 402 to who pays from such a balance\n`;
}

export function checkCurrency(currency: string): void {
  if (!isCurrency(currency))
    throw new CliError(`expected an ISO 4217 currency code such as EUR; found "${currency}"`, EXIT.usage);
}

/** Opens a balance, or finds the present one; ends the command if that is in another currency. */
export async function openBalance(store: Store, user: string, currency: string): Promise<void> {
  const credit = creditOf(store);
  await credit.open(user, currency);
  const account = await credit.account(user);
  if (account && account.currency !== currency)
    throw new CliError(`user ${user} has a balance in ${account.currency} already`);
  const { perDay } = account ?? {};
  // The user may have paid by the bill, with a credit limit.
  if (account?.limit !== undefined) await credit.setTerms(user, perDay === undefined ? {} : { perDay });
}

/** Posts one entry, and says what became of it. Amounts finer than a millionth are refused. */
export async function post(
  io: Io,
  store: Store,
  what: { user: string; kind: "topup" | "correction"; id: string; amount: string; reason?: string },
): Promise<void> {
  const { user, kind, id, amount, reason } = what;
  const credit = creditOf(store);
  const account = await credit.account(user);
  if (!account) throw new CliError(`user ${user} has no balance; see: tollgate credit open --help`);
  if (!/^[\x21-\x7e]{1,200}$/.test(id))
    throw new CliError("--id: expected at most 200 printable characters without spaces", EXIT.usage);
  const { currency } = account;
  const read = /^-?\d{1,9}(\.\d{1,6})?$/.test(amount) ? parseMoney(amount, currency) : undefined;
  if (!read?.ok || read.value.units === 0n)
    throw new CliError(`expected an amount such as 20.00, with at most 6 decimals; found "${amount}"`, EXIT.usage);
  const paid = micros(read.value);
  if (Math.abs(account.available + paid) > MAX_MICROS)
    throw new CliError(`the balance of ${user} would be more than can be counted`);
  const result = await credit.post({
    ...{ user, id: `${kind}:${id}`, at: Date.now(), kind, amount: paid, currency },
    ...(reason !== undefined && { reason: checked("--reason", reason, 200) }),
  });
  if (result === "different") throw new CliError(`${id} was used before with another amount: nothing is changed`);
  if (result !== "posted" && result !== "repeated") throw new CliError(`not posted: ${result}`);
  const after = (await credit.account(user))!;
  const note = result === "repeated" ? `${id} was posted before: nothing is changed; ` : "";
  io.out(`${note}balance of ${user}: ${formatMoney(fromMicros(balanceOf(after), currency))}\n`);
}

function creditOf(store: Store): CreditStore {
  if (!store.credit) throw new CliError("this store has no balances");
  return store.credit;
}

async function wholeLedger(credit: CreditStore, user: string): Promise<LedgerEntry[]> {
  const entries: LedgerEntry[] = [];
  let after: string | undefined;
  do {
    const page = await credit.ledger(user, { after, limit: PAGE });
    entries.push(...page.entries);
    after = page.next;
  } while (after !== undefined);
  return entries;
}
