import { renderSVG } from "uqr";
import { z } from "zod";
import { type Micros, micros } from "../charging/credit/store.ts";
import { parseMoney } from "../charging/money/money.ts";
import type { Config } from "../config/schema.ts";
import { userNameSchema } from "../config/terms.ts";
import { accountName, accountOf, afterRemoval, formerUser } from "../directory/accounts.ts";
import { PROVISIONING_PATH, provisioningToken } from "../directory/provisioning.ts";
import { partsOf } from "../directory/realms.ts";
import type { User } from "../directory/types.ts";
import { registerUser } from "../directory/users.ts";
import type { Store } from "../store/types.ts";
import { accountForNew, accountsOf, shownAccount } from "./accounts.ts";
import { balanceText, checkCurrency, currencyNote, openBalance, post, termsTexts } from "./credit.ts";
import { OperationError } from "./mistake.ts";
import { type AnyOperation, idField, operation } from "./operation.ts";

const MOST_USERS = 10_000;

/** A user as it is listed: without hashes of the password. */
export interface UserView {
  readonly id: string;
  readonly realm: string;
  readonly name?: string;
  readonly numbers?: readonly string[];
  readonly algorithms: readonly string[];
  readonly blocked: boolean;
  readonly limits?: User["limits"];
  /** Pays in advance, in this currency. */
  readonly prepaid?: string;
  /** Pays by the bill, and only so much, in this currency. */
  readonly limitedIn?: string;
  readonly account?: string;
  /** Why nobody can sign in as this user. */
  readonly note?: string;
}

const userView = z.object({
  id: z.string(),
  realm: z.string(),
  name: z.string().optional(),
  numbers: z.array(z.string()).optional().describe("Telephone numbers from which the user may call."),
  algorithms: z.array(z.enum(["sha-256", "md5"])),
  blocked: z.boolean(),
  limits: z.object({ sessions: z.int().optional() }).optional(),
  prepaid: z.string().optional().describe("Pays in advance, in this currency."),
  limitedIn: z.string().optional().describe("Pays by the bill, and only so much, in this currency."),
  account: z.string().optional(),
  note: z.string().optional().describe("Why nobody can sign in as this user."),
});

function viewOf(config: Config, user: User): UserView {
  const { id, realm, name, numbers, ha1, blocked, limits, prepaid, postpaid, account } = user;
  const algorithms: ("sha-256" | "md5")[] = [
    ...(ha1.sha256 === undefined ? [] : ["sha-256" as const]),
    ...(ha1.md5 === undefined ? [] : ["md5" as const]),
  ];
  const note = whyNoSignIn(config, { id, realm, algorithms });
  return {
    ...{ id, realm },
    ...(name !== undefined && { name }),
    ...(numbers && { numbers }),
    algorithms,
    blocked: blocked !== undefined,
    ...(limits && { limits }),
    ...(prepaid && { prepaid: prepaid.currency }),
    ...(postpaid && { limitedIn: postpaid.currency }),
    ...(account !== undefined && { account }),
    ...(note !== "" && { note }),
  };
}

export const listUsers = operation({
  id: "listUsers",
  method: "GET",
  path: "/v1/users",
  summary: "The registered users, by their ids",
  right: "see",
  personal: true,
  input: z.strictObject({
    after: idField.optional().describe("Those whose ids come after this one: `next` of the page before."),
    most: z.int().min(1).max(MOST_USERS).default(200),
  }),
  output: z.object({ users: z.array(userView), next: z.string().optional() }),
  async run({ store, config }, { after, most }) {
    const all = (await store.users.list()).sort((a, b) => (a.id < b.id ? -1 : 1));
    const rest = after === undefined ? all : all.filter(({ id }) => id > after);
    const users = rest.slice(0, most).map((user) => viewOf(config, user));
    return { users, ...(rest.length > most && { next: users.at(-1)!.id }) };
  },
});

const changed = z.object({ user: userView });

export const addUser = operation({
  id: "addUser",
  method: "POST",
  path: "/v1/users",
  summary: "Register a user, or give one a new password; only hashes of the password are kept",
  right: "operate",
  input: z.strictObject({
    id: idField.describe("alice for sip:alice@portal.example; in a domain with users of its own the whole address."),
    password: z.string().min(1).max(1_024),
    md5: z.boolean().default(true).describe("Keep a hash for clients that know no SHA-256."),
    replace: z.boolean().optional().describe("The user is registered, and gets a new password."),
    prepaid: z.string().max(16).optional().describe("Pays in advance, from a balance in this currency (ISO 4217)."),
    balance: z.string().max(40).optional().describe("With prepaid: what is paid in now, such as 20.00."),
    inherit: z
      .union([z.literal(true), idField])
      .optional()
      .describe("The person had this id before: go on with bills and balance of the last user, or of alice#1."),
  }),
  output: changed.extend({ replaced: z.boolean(), notes: z.array(z.string()) }),
  async run({ store, config, now }, { id, password, md5, replace, prepaid: currency, balance, inherit }) {
    if (currency !== undefined) checkCurrency(currency, undefined);
    if (balance !== undefined && currency === undefined)
      throw new OperationError("usage", "only with --prepaid", { field: "balance" });
    const realm = realmFor(config, id);
    const known = await store.users.get(id);
    if (known && !replace)
      throw new OperationError("refused", `user ${id} is registered already`, {
        hint: "--replace gives a new password",
      });
    if (known && inherit !== undefined)
      throw new OperationError("usage", `user ${id} is registered, as ${shownAccount(accountOf(known))}`, {
        field: "inherit",
      });
    const before = known ? 0 : await accountsOf(store, id);
    const account = known ? accountOf(known) : await accountForNew(store, id, inherit);
    // The money first. If that fails, the user is as before, and the same again adds nothing.
    if (currency !== undefined) await openBalance(store, account, currency);
    const paid = balance === undefined ? undefined : await payIn(store, now(), id, account, balance);
    const prepaid = currency === undefined ? {} : { prepaid: { currency } };
    const user = await registerUser(store, { id, realm, password, md5, account, ...prepaid });
    const notes: string[] = paid === undefined ? [] : [paid];
    if (before > 0)
      notes.push(
        inherit === undefined
          ? await leftBehind(store, id, before, account)
          : `bills and balance of ${shownAccount(account)} go on`,
      );
    const note = currency === undefined ? "" : await currencyNote(store, config, currency);
    if (note !== "") notes.push(note);
    return { user: viewOf(config, user), replaced: known !== undefined, notes };
  },
});

export const removeUser = operation({
  id: "removeUser",
  method: "DELETE",
  path: "/v1/users/{id}",
  summary: "Remove a user; bills stay",
  right: "operate",
  input: z.strictObject({ id: idField }),
  output: z.object({
    id: z.string(),
    removed: z.literal(true),
    account: z.string(),
    balance: z.string().optional().describe("What stays in the balance."),
  }),
  async run({ store, now }, { id }) {
    const known = await mustKnow(store, id);
    // First note the account: the next user of this id is somebody else.
    const former = afterRemoval(known, await store.former.get(formerUser(id)), now());
    await store.former.put(former);
    await store.users.remove(id);
    const account = accountOf(known);
    const balance = await balanceText(store, account);
    return { id, removed: true, account: shownAccount(account), ...(balance !== undefined && { balance }) };
  },
});

export const blockUser = operation({
  id: "blockUser",
  method: "POST",
  path: "/v1/users/{id}/block",
  summary: "Refuse a user's new calls with 403, from the next second on",
  right: "operate",
  input: z.strictObject({ id: idField, end: z.boolean().optional().describe("End the user's sessions too.") }),
  output: changed,
  async run({ store, config, now }, { id, end }) {
    const blocked = { since: now(), ...(end && { end }) };
    return { user: viewOf(config, await change(store, id, (user) => ({ ...user, blocked }))) };
  },
});

export const unblockUser = operation({
  id: "unblockUser",
  method: "POST",
  path: "/v1/users/{id}/unblock",
  summary: "Let a blocked user call again",
  right: "operate",
  input: z.strictObject({ id: idField }),
  output: changed,
  run: async ({ store, config }, { id }) => ({
    user: viewOf(config, await change(store, id, ({ blocked: _, ...user }) => user)),
  }),
});

export const nameUser = operation({
  id: "nameUser",
  method: "PUT",
  path: "/v1/users/{id}/name",
  summary: "The customer's name on bills",
  right: "operate",
  input: z.strictObject({ id: idField, name: z.string().optional().describe("Left out: none.") }),
  output: changed,
  async run({ store, config }, { id, name }) {
    if (name !== undefined && (name.trim() === "" || name.length > 200))
      throw new OperationError("usage", "expected a name of up to 200 characters");
    const named = await change(store, id, ({ name: _, ...user }) => (name === undefined ? user : { ...user, name }));
    return { user: viewOf(config, named) };
  },
});

const MOST_NUMBERS = 100;

export const numberUser = operation({
  id: "numberUser",
  method: "PUT",
  path: "/v1/users/{id}/numbers",
  summary: "The telephone numbers from which a user may call: full attestation is given for these (RFC 8588)",
  right: "operate",
  input: z.strictObject({
    id: idField,
    numbers: z.array(z.string()).max(MOST_NUMBERS).describe("+4930123456; the first is shown by default. Empty: none."),
  }),
  output: changed,
  async run({ store, config }, { id, numbers }) {
    const wrong = numbers.find((number) => !/^\+[1-9][0-9]{1,14}$/.test(number));
    if (wrong !== undefined)
      throw new OperationError("usage", `expected numbers such as +4930123456 (E.164); found "${wrong}"`);
    const changed = await change(store, id, ({ numbers: _, ...user }) =>
      numbers.length > 0 ? { ...user, numbers } : user,
    );
    return { user: viewOf(config, changed) };
  },
});

export const qrUser = operation({
  id: "qrUser",
  method: "POST",
  path: "/v1/users/{id}/qr",
  summary: "A QR code by which a softphone (Linphone) gets the user's settings, good for a while",
  right: "operate",
  input: z.strictObject({ id: idField }),
  output: z.object({
    id: z.string(),
    url: z.string().describe("What is in the code. Whoever opens it can sign in as the user."),
    until: z.number().describe("Milliseconds since 1970."),
    svg: z.string().describe("The code as an image."),
  }),
  async run({ store, config, now }, { id }) {
    const { provisioning } = config;
    if (!provisioning)
      throw new OperationError("refused", "provisioning is not set up", {
        hint: "set provisioning.url and provisioning.sip in the configuration",
      });
    const user = await mustKnow(store, id);
    const until = Math.ceil(now() / 1000) + Math.round(provisioning.minutes * 60);
    const url = `${provisioning.url.replace(/\/$/, "")}${PROVISIONING_PATH}${provisioningToken(user, until)}`;
    return { id, url, until: until * 1000, svg: renderSVG(url, { border: 4 }) };
  },
});

export const limitUser = operation({
  id: "limitUser",
  method: "PUT",
  path: "/v1/users/{id}/limits",
  summary: "Bound what a user may have under way, spend in a day, and owe",
  right: "operate",
  input: z.strictObject({
    id: idField,
    sessions: z.string().max(16).optional().describe("Sessions at once, such as 2; none: as for all others."),
    day: z.string().max(40).optional().describe("The most that a UTC day's sessions may cost; none: no bound."),
    credit: z.string().max(40).optional().describe("How much a user who pays by the bill may owe; none: no bound."),
    currency: z.string().max(16).optional().describe("Of day and credit; once given it stays."),
  }),
  output: changed.extend({ limits: z.string().describe("In words.") }),
  async run({ store, config }, { id, ...limits }) {
    const { sessions, day, credit } = limits;
    if (!sessions && !day && !credit) throw new OperationError("usage", "say --sessions, --day or --credit");
    const known = await mustKnow(store, id);
    if (sessions !== undefined) withSessions(known, sessions); // a mistake is told before anything is changed
    const pays = day === undefined && credit === undefined ? undefined : await withSpending(store, known, limits);
    const user = await change(store, id, (now) => {
      const counted = sessions === undefined ? now : withSessions(now, sessions);
      return pays ? pays(counted) : counted;
    });
    return { user: viewOf(config, user), limits: await limitsText(store, user) };
  },
});

export const userOperations: readonly AnyOperation[] = [
  listUsers,
  addUser,
  removeUser,
  blockUser,
  unblockUser,
  nameUser,
  numberUser,
  qrUser,
  limitUser,
];

async function change(store: Store, id: string, to: (user: User) => User): Promise<User> {
  return mustBeThere(id, await store.users.change(id, to));
}

const mustKnow = async (store: Store, id: string): Promise<User> => mustBeThere(id, await store.users.get(id));

function mustBeThere(id: string, user: User | undefined): User {
  if (!user) throw new OperationError("unknown", `no user ${id}`, { hint: "see: tollgate user list" });
  return user;
}

/** The realm of a new user. Throws if nobody can have that id. */
function realmFor({ portal }: Config, id: string): string {
  const { name, domain } = partsOf(id);
  const checked = userNameSchema.safeParse(name);
  if (!checked.success)
    throw new OperationError("usage", `expected ${checked.error.issues[0]?.message}; found "${id}"`);
  if (domain === undefined) return portal.realm;
  if (portal.ownUsers.includes(domain)) return domain;
  const own = portal.ownUsers.length === 0 ? "no domain has any" : `only ${portal.ownUsers.join(", ")} has`;
  throw new OperationError(
    "usage",
    `expected a user id without a domain, or with one that has users of its own (portal.ownUsers: ${own}); found "${id}"`,
  );
}

/** "", or why nobody can sign in as that user. */
function whyNoSignIn(
  { portal, authentication }: Config,
  { id, realm, algorithms }: Pick<User, "id" | "realm"> & { readonly algorithms: readonly ("sha-256" | "md5")[] },
): string {
  const { domain } = partsOf(id);
  if (domain !== undefined && !portal.ownUsers.includes(domain))
    return `cannot sign in: ${domain} is not among portal.ownUsers`;
  if (domain === undefined && realm !== portal.realm) return `cannot sign in: the realm is now ${portal.realm}`;
  if (!authentication.algorithms.some((one) => (algorithms as readonly string[]).includes(one)))
    return `cannot sign in: ${algorithms.join()} is not among authentication.algorithms`;
  return "";
}

/** The first payment of a registration. It is made once, even if the user is replaced later. */
async function payIn(store: Store, at: number, id: string, account: string, amount: string): Promise<string> {
  const removals = (await store.former.get(formerUser(id)))?.removals ?? 0;
  const payment = removals === 0 ? "with-user-add" : `with-user-add-${removals}`;
  const what = { user: account, kind: "topup", id: payment, amount } as const;
  const { balance, currency, repeated } = await post(store, at, what).catch((error) => {
    if (!(error instanceof OperationError) || error.mistake === "usage") throw error;
    throw new OperationError(error.mistake, error.message, {
      field: "balance",
      hint: `what is paid in later: tollgate credit topup ${id} AMOUNT --id ID`,
    });
  });
  const note = repeated ? `${payment} was posted before: nothing is changed; ` : "";
  return `${note}balance of ${account}: ${balance} ${currency}`;
}

/** Says what becomes of the bills and the balance of the user before, who had the `n`th account. */
async function leftBehind(store: Store, id: string, n: number, account: string): Promise<string> {
  const last = accountName(id, n);
  const balance = await balanceText(store, last);
  const left = balance === undefined ? "" : `, with a balance of ${balance}`;
  return `bills and balance begin anew, as ${account}: those of ${shownAccount(last)} stay where they are${left}; --inherit is for the same person`;
}

function withSessions({ limits: _, ...user }: User, sessions: string): User {
  if (sessions === "none") return user;
  if (!/^[1-9]\d{0,5}$/.test(sessions))
    throw new OperationError("usage", `expected a number from 1, or none; found "${sessions}"`, { field: "sessions" });
  return { ...user, limits: { sessions: Number(sessions) } };
}

interface Spending {
  readonly day?: string | undefined;
  readonly credit?: string | undefined;
  readonly currency?: string | undefined;
}

/** Sets the terms of the user's balance, which is opened where there is none; returns how the user changes by that. */
async function withSpending(
  store: Store,
  user: User,
  { day, credit, currency }: Spending,
): Promise<((user: User) => User) | undefined> {
  const { credit: balances } = store;
  if (!balances) throw new OperationError("refused", "this store has no balances");
  if (user.prepaid && credit !== undefined)
    throw new OperationError("usage", `user ${user.id} is prepaid, and cannot owe anything`, { field: "credit" });
  const name = accountOf(user);
  const before = await balances.account(name);
  const used = before?.currency ?? currency;
  if (used === undefined) throw new OperationError("usage", "which one?", { field: "currency" });
  checkCurrency(used, undefined);
  if (currency !== undefined && currency !== used)
    throw new OperationError("usage", `the balance of ${user.id} is in ${used}`, { field: "currency" });
  if (!before) await balances.open(name, used);
  const perDay = day === undefined ? before?.perDay : amountOf("day", day, used);
  const now = user.postpaid ? (before?.limit ?? null) : null;
  const limit = credit === undefined ? now : (amountOf("credit", credit, used) ?? null);
  const terms = { ...(perDay !== undefined && { perDay }), ...(!user.prepaid && { limit }) };
  await balances.setTerms(name, terms);
  if (user.prepaid) return undefined;
  return ({ postpaid: _, ...rest }) =>
    (limit === null && perDay === undefined) || rest.prepaid ? rest : { ...rest, postpaid: { currency: used } };
}

/** Undefined: none. */
function amountOf(field: string, text: string, currency: string): Micros | undefined {
  if (text === "none") return undefined;
  const read = /^\d{1,9}(\.\d{1,6})?$/.test(text) ? parseMoney(text, currency) : undefined;
  if (read?.ok) return micros(read.value);
  throw new OperationError("usage", `expected an amount such as 20.00, or none; found "${text}"`, { field });
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
