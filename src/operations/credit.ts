import { z } from "zod";
import {
  balanceOf,
  type CreditAccount,
  type CreditStore,
  fromMicros,
  type Hold,
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
import { checked } from "./labels.ts";
import { OperationError } from "./mistake.ts";
import { type AnyOperation, idField, operation } from "./operation.ts";

const PAGE = 1_000;
const MOST_LINES = 100_000;

const currencyField = z.string().max(16).describe("ISO 4217, such as EUR.");
const amountField = z.string().max(40).describe("A decimal, such as 20.00.");
const userField = idField.describe("Or an account: alice#1 is that of the first user of that id.");
const idOfPayment = z
  .string()
  .max(300)
  .describe("An id of your own, such as the number of the payment: it counts once.");

/** What is in a balance. Amounts are decimals in its currency. */
export interface BalanceView {
  readonly user: string;
  readonly currency: string;
  readonly creditLimit?: string;
  readonly perDay?: string;
  readonly balance: string;
  readonly available: string;
  readonly held: readonly (Omit<Hold, "amount" | "used"> & {
    readonly hold: string;
    readonly amount: string;
    readonly used: string;
  })[];
  readonly ledger: readonly (Omit<LedgerEntry, "amount"> & { readonly amount: string })[];
}

export const openCredit = operation({
  id: "openCredit",
  method: "POST",
  path: "/v1/credit/{user}/open",
  summary: "Make a registered user prepaid, with an empty balance",
  right: "bill",
  input: z.strictObject({ user: userField, currency: currencyField }),
  output: z.object({ user: z.string(), currency: z.string(), note: z.string().optional() }),
  async run({ store, config }, { user, currency }) {
    checkCurrency(currency, undefined);
    const known = await store.users.get(user);
    if (!known) throw new OperationError("unknown", `no user ${user}`, { hint: "see: tollgate user list" });
    await openBalance(store, accountOf(known), currency);
    await store.users.change(user, ({ postpaid: _, ...kept }) => ({ ...kept, prepaid: { currency } }));
    const note = await currencyNote(store, config, currency);
    return { user, currency, ...(note !== "" && { note }) };
  },
});

export const showCredit = operation({
  id: "showCredit",
  method: "GET",
  path: "/v1/credit/{user}",
  summary: "A user's balance, what is held of it, and its ledger, the oldest line first",
  right: "see-money",
  personal: true,
  input: z.strictObject({
    user: userField,
    most: z.int().min(1).max(MOST_LINES).default(PAGE).describe("So many lines of the ledger, the last ones."),
  }),
  output: z.object({
    user: z.string(),
    currency: z.string(),
    creditLimit: z.string().optional(),
    perDay: z.string().optional(),
    balance: z.string(),
    available: z.string(),
    held: z.array(
      z.object({
        hold: z.string(),
        amount: z.string(),
        used: z.string(),
        until: z.int().nullable().describe("Milliseconds since 1970; null: until the session's end is billed."),
        leaseMs: z.int().optional().describe("A relay renews it within that time."),
      }),
    ),
    ledger: z.array(
      z.object({
        user: z.string(),
        id: z.string(),
        at: z.int(),
        kind: z.enum(["topup", "correction", "session"]),
        amount: z.string(),
        currency: z.string(),
        reason: z.string().optional(),
        entry: z.string().optional().describe("Of a correction: the id of its line on the bill."),
        hold: z.string().optional().describe("Of a session, whose id is in `session`."),
        session: z.string().optional(),
      }),
    ),
    left: z.int().describe("Earlier lines of the ledger that are left out."),
  }),
  async run({ store }, { user: name, most }): Promise<BalanceView & { readonly left: number }> {
    const user = await theAccount(store, name);
    const account = await creditOf(store).account(user);
    if (!account) throw noBalance(user);
    const { currency, available, holds, limit, perDay } = account;
    const ledger = await wholeLedger(creditOf(store), user);
    const amount = (micros: Micros) => formatAmount(fromMicros(micros, currency));
    return {
      user,
      currency,
      ...(typeof limit === "number" && { creditLimit: amount(limit) }),
      ...(perDay !== undefined && { perDay: amount(perDay) }),
      balance: amount(balanceOf(account)),
      available: amount(available),
      held: Object.entries(holds).map(([hold, one]) => ({
        ...{ hold, ...one },
        ...{ amount: amount(one.amount), used: amount(one.used) },
      })),
      ledger: ledger.slice(-most).map((entry) => ({ ...entry, amount: amount(entry.amount) })),
      left: Math.max(0, ledger.length - most),
    };
  },
});

const posted = z.object({
  user: z.string(),
  balance: z.string(),
  currency: z.string(),
  repeated: z.boolean().describe("The id was posted before: nothing has changed."),
});

export const topUpCredit = operation({
  id: "topUpCredit",
  method: "POST",
  path: "/v1/credit/{user}/topup",
  summary: "Add to a balance; the same id again adds nothing",
  right: "bill",
  input: z.strictObject({ user: userField, id: idOfPayment, amount: amountField }),
  output: posted,
  async run({ store, now }, { user, id, amount }) {
    if (amount.startsWith("-"))
      throw new OperationError("usage", "a top-up adds", { hint: "see: tollgate credit adjust --help" });
    return post(store, now(), { user: await theAccount(store, user), kind: "topup", id, amount });
  },
});

export const adjustCredit = operation({
  id: "adjustCredit",
  method: "POST",
  path: "/v1/credit/{user}/adjust",
  summary: "Correct a balance by a further entry with a reason; the same id again changes nothing",
  right: "bill",
  input: z.strictObject({ user: userField, id: idOfPayment, amount: amountField, reason: z.string().max(400) }),
  output: posted,
  run: async ({ store, now }, { user, id, amount, reason }) =>
    post(store, now(), { user: await theAccount(store, user), kind: "correction", id, amount, reason }),
});

export const creditOperations: readonly AnyOperation[] = [openCredit, showCredit, topUpCredit, adjustCredit];

/** The terms of a balance, for people. */
export function termsTexts({
  currency,
  limit,
  perDay,
}: Pick<CreditAccount, "currency" | "limit" | "perDay">): string[] {
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
  return `no tariff is in ${currency}: services that have a tariff answer 402 to who pays from such a balance`;
}

export function checkCurrency(currency: string, field: string | undefined): void {
  if (isCurrency(currency)) return;
  const message = `expected an ISO 4217 currency code such as EUR; found "${currency}"`;
  throw new OperationError("usage", message, field === undefined ? {} : { field });
}

/** Opens a balance, or finds the present one; throws if that is in another currency. */
export async function openBalance(store: Store, user: string, currency: string): Promise<void> {
  const credit = creditOf(store);
  await credit.open(user, currency);
  const account = await credit.account(user);
  if (account && account.currency !== currency)
    throw new OperationError("refused", `user ${user} has a balance in ${account.currency} already`);
  const { perDay } = account ?? {};
  // The user may have paid by the bill, with a credit limit.
  if (account?.limit !== undefined) await credit.setTerms(user, perDay === undefined ? {} : { perDay });
}

const noBalance = (user: string) =>
  new OperationError("refused", `user ${user} has no balance`, { hint: "see: tollgate credit open --help" });

/** Posts one entry, and says what became of it. Amounts finer than a millionth are refused. */
export async function post(
  store: Store,
  at: number,
  what: { user: string; kind: "topup" | "correction"; id: string; amount: string; reason?: string },
): Promise<{ user: string; balance: string; currency: string; repeated: boolean }> {
  const { user, kind, id, amount, reason } = what;
  const credit = creditOf(store);
  const account = await credit.account(user);
  if (!account) throw noBalance(user);
  if (!/^[\x21-\x7e]{1,200}$/.test(id))
    throw new OperationError("usage", "expected at most 200 printable characters without spaces", { field: "id" });
  const { currency } = account;
  const read = /^-?\d{1,9}(\.\d{1,6})?$/.test(amount) ? parseMoney(amount, currency) : undefined;
  if (!read?.ok || read.value.units === 0n)
    throw new OperationError("usage", `expected an amount such as 20.00, with at most 6 decimals; found "${amount}"`);
  const paid = micros(read.value);
  if (Math.abs(account.available + paid) > MAX_MICROS)
    throw new OperationError("refused", `the balance of ${user} would be more than can be counted`);
  const result = await credit.post({
    ...{ user, id: `${kind}:${id}`, at, kind, amount: paid, currency },
    ...(reason !== undefined && { reason: checked("reason", reason, 200) }),
  });
  if (result === "different")
    throw new OperationError("refused", `${id} was used before with another amount: nothing is changed`);
  if (result !== "posted" && result !== "repeated") throw new OperationError("refused", `not posted: ${result}`);
  const after = (await credit.account(user))!;
  const balance = formatAmount(fromMicros(balanceOf(after), currency));
  return { user, balance, currency, repeated: result === "repeated" };
}

function creditOf(store: Store): CreditStore {
  if (!store.credit) throw new OperationError("refused", "this store has no balances");
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
