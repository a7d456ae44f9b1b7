import { randomUUID } from "node:crypto";
import type { Command } from "commander";
import { correctionEntry } from "../charging/billing/entries.ts";
import { SessionCost } from "../charging/billing/session-cost.ts";
import type { CorrectionEntry, Entry } from "../charging/billing/store.ts";
import { fromMicros, MAX_MICROS, type Micros } from "../charging/credit/store.ts";
import { chargeKey, isSameNumber } from "../charging/events/charge-fields.ts";
import { type CorrectionMade, correctionId } from "../charging/events/events.ts";
import { isCurrency } from "../charging/money/currency.ts";
import { formatAmount, formatMoney, money, parseMoney } from "../charging/money/money.ts";
import type { Terms } from "../charging/money/terms.ts";
import type { Config } from "../config/schema.ts";
import { accountOf, readAccount } from "../directory/accounts.ts";
import { AppliedTerms } from "../directory/applied-terms.ts";
import type { Store } from "../store/types.ts";
import { isKnown, theAccount } from "./accounts.ts";
import { readConfig, withStore } from "./context.ts";
import { CliError, EXIT, type Io } from "./io.ts";
import { checked } from "./labels.ts";

interface CorrectOptions {
  readonly amount: string;
  readonly currency?: string;
  readonly reason: string;
  readonly entry?: string;
  readonly service?: string;
  readonly appServer?: string;
  readonly time?: boolean;
  readonly id?: string;
}

/** `tollgate correct`. */
export function addCorrectCommand(program: Command, io: Io): void {
  program
    .command("correct")
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
    .action(async (name: string, options: CorrectOptions, command: Command) => {
      const { config } = readConfig(io, command.optsWithGlobals().config);
      await withStore(config, async (store) => {
        const user = await theAccount(store, name);
        const { entry, isNew } = await correct(store, config, user, options, Date.now());
        const what = `${entry.amount} ${entry.currency} on the bill of ${entry.user} for ${entry.month}`;
        io.out(isNew ? `${entry.id}: ${what}\n` : `${entry.id} is there already: ${what}\n`);
        const paid = await intoBalance(store, entry);
        if (paid !== 0) io.out(`in the balance of ${user}: ${formatMoney(fromMicros(paid, entry.currency))}\n`);
      });
    });
}

async function correct(store: Store, config: Config, user: string, options: CorrectOptions, at: number) {
  const event = await correctionOf(store, config, user, options, at);
  const entry = correctionEntry(event);
  const archive = [{ month: entry.month, events: [event] }];
  const [before] = await store.billing.findEntries([entry.id]);
  if (!before) await store.billing.write({ accounts: [], entries: [entry], archive });
  const [stored] = await store.billing.findEntries([entry.id]); // somebody else may have been faster
  if (stored?.kind !== "correction" || !isSame(stored, entry))
    throw new CliError(`${entry.id} is there already, and says something else: use another --id`);
  return { entry: stored, isNew: before === undefined };
}

/** Puts the correction into the user's balance: with its taxes, as on the bill. Done twice, it counts once. */
async function intoBalance(store: Store, entry: CorrectionEntry): Promise<Micros> {
  const amount = entry.prepaid ? -costOf(entry) : 0;
  if (amount === 0) return 0;
  const { user, id, at, currency, reason } = entry;
  const posted = await store.credit?.post({
    ...{ user, id: `bill:${id}`, at, kind: "correction", amount, currency, reason, entry: id },
  });
  if (posted !== "posted" && posted !== "repeated")
    throw new CliError(
      `it is on the bill, and cannot be in the balance: ${posted}; see: tollgate credit adjust --help`,
    );
  return amount;
}

function costOf({ amount, currency, terms, at }: Pick<Entry, "amount" | "currency" | "terms" | "at">): Micros {
  return new SessionCost(currency).add(money(amount, currency), terms?.taxes, at).total;
}

/**
 * Whether the correction goes into the balance: the entry that it corrects was paid from the balance; or it corrects
 * no entry, and the user is prepaid.
 */
async function isPrepaid(store: Store, user: string, corrected: Entry | undefined, currency: string): Promise<boolean> {
  if (corrected && !corrected.prepaid) return false;
  const holder = await store.users.get(readAccount(user)?.id ?? user);
  // A user who was removed, and had a balance, paid from it.
  const isPostpaid = holder !== undefined && accountOf(holder) === user && !(holder.prepaid ?? holder.postpaid);
  if (!corrected && isPostpaid) return false;
  return (await store.credit?.account(user))?.currency === currency;
}

async function correctionOf(
  store: Store,
  config: Config,
  user: string,
  options: CorrectOptions,
  at: number,
): Promise<CorrectionMade> {
  const corrected = options.entry === undefined ? undefined : await entryToCorrect(store, user, options.entry);
  if (!corrected && !(await isKnown(store, user))) throw new CliError(`no user ${user}; see: tollgate user list`);
  const currency = options.currency ?? (corrected?.currency || undefined);
  if (currency === undefined) throw new CliError("--currency: which one?", EXIT.usage);
  if (!isCurrency(currency))
    throw new CliError(`--currency: expected a code such as EUR; found "${currency}"`, EXIT.usage);
  if (corrected && corrected.currency !== "" && corrected.currency !== currency)
    throw new CliError(`--currency: entry ${corrected.id} is in ${corrected.currency}`, EXIT.usage);
  const amount = parseMoney(options.amount, currency);
  if (!amount.ok) throw new CliError(`--amount: ${amount.error}`, EXIT.usage);
  if (amount.value.units === 0n) throw new CliError("--amount: nothing is no correction", EXIT.usage);
  const service = corrected?.service ?? nameOf("--service", options.service);
  const appServer = corrected?.appServer ?? nameOf("--app-server", options.appServer);
  const terms = corrected ? corrected.terms : await termsNow(store, config, service, appServer);
  const prepaid = await isPrepaid(store, user, corrected, currency);
  if (
    prepaid &&
    Math.abs(costOf({ amount: formatAmount(amount.value), currency, at, ...(terms && { terms }) })) >= MAX_MICROS
  )
    throw new CliError("--amount: more than a balance can hold", EXIT.usage);
  return {
    type: "correction.made",
    id: correctionId(chargeKey(checked("--id", options.id ?? randomUUID(), 128))),
    at,
    session: { id: corrected?.session ?? "", user, service, appServer },
    currency,
    amount: formatAmount(amount.value),
    reason: checked("--reason", options.reason, 200),
    of: isTime(corrected, options) ? "time" : "items",
    ...(terms && { terms }),
    ...(prepaid && { prepaid }),
    ...(corrected && { corrects: corrected.id }),
  };
}

/**
 * The terms that a charge of that service and app server would get now. If configuration and store have the same id,
 * the configuration counts.
 */
async function termsNow(store: Store, config: Config, service: string, appServer: string): Promise<Terms | undefined> {
  const ofService = config.services.find(({ id }) => id === service) ?? (await store.services.get(service));
  const ofServer = config.appServers.find(({ id }) => id === appServer) ?? (await store.appServers.get(appServer));
  const { taxes, settlement } = config;
  const sources = { taxes, settlement, service: () => ofService, appServer: () => ofServer };
  return new AppliedTerms(sources).terms(service, appServer);
}

async function entryToCorrect(store: Store, user: string, id: string): Promise<Entry> {
  const [entry] = await store.billing.findEntries([id]);
  if (!entry) throw new CliError(`--entry: there is no entry ${id}; see: tollgate bill ${user} --csv`);
  if (entry.user !== user) throw new CliError(`--entry: ${id} is on the bill of ${entry.user}`);
  return entry;
}

const isTime = (entry: Entry | undefined, { time }: CorrectOptions): boolean =>
  entry ? entry.kind === "time" || (entry.kind === "correction" && entry.of === "time") : time === true;

const nameOf = (option: string, name: string | undefined): string =>
  name === undefined ? "" : checked(option, name, 64);

/** The same correction, made at another time. */
function isSame(a: CorrectionEntry, b: CorrectionEntry): boolean {
  const names = ["user", "service", "appServer", "session", "currency", "reason", "of", "corrects"] as const;
  return names.every((name) => a[name] === b[name]) && isSameNumber(a.amount, b.amount);
}
