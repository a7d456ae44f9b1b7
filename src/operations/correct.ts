import { randomUUID } from "node:crypto";
import { z } from "zod";
import { correctionEntry } from "../charging/billing/entries.ts";
import { SessionCost } from "../charging/billing/session-cost.ts";
import type { CorrectionEntry, Entry } from "../charging/billing/store.ts";
import { fromMicros, MAX_MICROS, type Micros } from "../charging/credit/store.ts";
import { chargeKey, isSameNumber } from "../charging/events/charge-fields.ts";
import { type CorrectionMade, correctionId } from "../charging/events/events.ts";
import { isCurrency } from "../charging/money/currency.ts";
import { formatAmount, money, parseMoney } from "../charging/money/money.ts";
import type { Terms } from "../charging/money/terms.ts";
import type { Config } from "../config/schema.ts";
import { accountOf, readAccount } from "../directory/accounts.ts";
import { AppliedTerms } from "../directory/applied-terms.ts";
import type { Store } from "../store/types.ts";
import { isKnown, theAccount } from "./accounts.ts";
import { checked } from "./labels.ts";
import { OperationError } from "./mistake.ts";
import { idField, operation } from "./operation.ts";

interface CorrectOptions {
  readonly amount: string;
  readonly currency?: string | undefined;
  readonly reason: string;
  readonly entry?: string | undefined;
  readonly service?: string | undefined;
  readonly appServer?: string | undefined;
  readonly time?: boolean | undefined;
  readonly id?: string | undefined;
}

export const correctBill = operation({
  id: "correctBill",
  method: "POST",
  path: "/v1/corrections",
  summary: "Put something right on a user's bill: a new entry of this month, with a reason",
  right: "bill",
  input: z.strictObject({
    user: idField,
    amount: z.string().max(40).describe("A decimal; negative: the user gets it back."),
    reason: z.string().max(400).describe("It stands on the bill."),
    currency: z.string().max(16).optional().describe("Default: the entry's."),
    entry: z.string().min(1).max(512).optional().describe("The entry to correct."),
    service: z.string().max(128).optional().describe("If no entry is named."),
    appServer: z.string().max(128).optional().describe("Whose settlement changes too, if no entry is named."),
    time: z.boolean().optional().describe("It is about time, not about items; if no entry is named."),
    id: z.string().max(256).optional().describe("An id of your own: the same id corrects once."),
  }),
  output: z.object({
    id: z.string(),
    user: z.string(),
    month: z.string(),
    amount: z.string(),
    currency: z.string(),
    isNew: z.boolean(),
    intoBalance: z.string().optional().describe("What it changes in the balance, with its taxes."),
  }),
  async run({ store, config, now }, { user: name, ...options }) {
    const user = await theAccount(store, name);
    const { entry, isNew } = await correct(store, config, user, options, now());
    const paid = await intoBalance(store, entry);
    const { id, month, amount, currency } = entry;
    const into = paid === 0 ? {} : { intoBalance: formatAmount(fromMicros(paid, currency)) };
    return { id, user: entry.user, month, amount, currency, isNew, ...into };
  },
});

async function correct(store: Store, config: Config, user: string, options: CorrectOptions, at: number) {
  const event = await correctionOf(store, config, user, options, at);
  const entry = correctionEntry(event);
  const archive = [{ month: entry.month, events: [event] }];
  const [before] = await store.billing.findEntries([entry.id]);
  if (!before) await store.billing.write({ accounts: [], entries: [entry], archive });
  const [stored] = await store.billing.findEntries([entry.id]); // somebody else may have been faster
  if (stored?.kind !== "correction" || !isSame(stored, entry))
    throw new OperationError("refused", `${entry.id} is there already, and says something else: use another id`);
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
    throw new OperationError("refused", `it is on the bill, and cannot be in the balance: ${posted}`, {
      hint: "see: tollgate credit adjust --help",
    });
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
  if (!corrected && !(await isKnown(store, user)))
    throw new OperationError("unknown", `no user ${user}`, { hint: "see: tollgate user list" });
  const currency = options.currency ?? (corrected?.currency || undefined);
  if (currency === undefined) throw new OperationError("usage", "which one?", { field: "currency" });
  if (!isCurrency(currency))
    throw new OperationError("usage", `expected a code such as EUR; found "${currency}"`, { field: "currency" });
  if (corrected && corrected.currency !== "" && corrected.currency !== currency)
    throw new OperationError("usage", `entry ${corrected.id} is in ${corrected.currency}`, { field: "currency" });
  const amount = parseMoney(options.amount, currency);
  if (!amount.ok) throw new OperationError("usage", `${amount.error}`, { field: "amount" });
  if (amount.value.units === 0n) throw new OperationError("usage", "nothing is no correction", { field: "amount" });
  const service = corrected?.service ?? nameOf("service", options.service);
  const appServer = corrected?.appServer ?? nameOf("appServer", options.appServer);
  const terms = corrected ? corrected.terms : await termsNow(store, config, service, appServer);
  const prepaid = await isPrepaid(store, user, corrected, currency);
  if (
    prepaid &&
    Math.abs(costOf({ amount: formatAmount(amount.value), currency, at, ...(terms && { terms }) })) >= MAX_MICROS
  )
    throw new OperationError("usage", "more than a balance can hold", { field: "amount" });
  return {
    type: "correction.made",
    id: correctionId(chargeKey(checked("id", options.id ?? randomUUID(), 128))),
    at,
    session: { id: corrected?.session ?? "", user, service, appServer },
    currency,
    amount: formatAmount(amount.value),
    reason: checked("reason", options.reason, 200),
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
  if (!entry)
    throw new OperationError("unknown", `there is no entry ${id}`, {
      field: "entry",
      hint: `see: tollgate bill ${user} --csv`,
    });
  if (entry.user !== user)
    throw new OperationError("refused", `${id} is on the bill of ${entry.user}`, { field: "entry" });
  return entry;
}

const isTime = (entry: Entry | undefined, { time }: CorrectOptions): boolean =>
  entry ? entry.kind === "time" || (entry.kind === "correction" && entry.of === "time") : time === true;

const nameOf = (field: string, name: string | undefined): string =>
  name === undefined ? "" : checked(field, name, 64);

/** The same correction, made at another time. */
function isSame(a: CorrectionEntry, b: CorrectionEntry): boolean {
  const names = ["user", "service", "appServer", "session", "currency", "reason", "of", "corrects"] as const;
  return names.every((name) => a[name] === b[name]) && isSameNumber(a.amount, b.amount);
}
