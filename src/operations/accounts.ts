import { accountName, accountOf, formerUser, numberOf, readAccount } from "../directory/accounts.ts";
import type { Store } from "../store/types.ts";
import { OperationError } from "./mistake.ts";

/** How many accounts that user's id has had. A balance without a user belonged to an earlier user. */
export async function accountsOf(store: Store, id: string): Promise<number> {
  const [former, user] = [await store.former.get(formerUser(id)), await store.users.get(id)];
  const known = Math.max(former?.accounts ?? 0, user ? numberOf(user) : 0);
  return known > 0 || (await store.credit?.account(id)) === undefined ? known : 1;
}

/**
 * The account that is meant: `alice#2` is the second of that name, `alice` is the account of the user who
 * has the name now, or had it last. A name without any user is an account too: something may have been billed to it.
 */
export async function theAccount(store: Store, name: string): Promise<string> {
  const named = readAccount(name);
  if (named) return accountName(named.id, named.n);
  const user = await store.users.get(name);
  return user ? accountOf(user) : accountName(name, await accountsOf(store, name));
}

/** Whether the account belongs to a user who is registered, or was. */
export async function isKnown(store: Store, account: string): Promise<boolean> {
  const { id, n } = readAccount(account) ?? { id: account, n: 1 };
  return n <= (await accountsOf(store, id));
}

/**
 * The account for a user who is being registered. It is a new one, since an earlier user of that name may have been
 * somebody else. With `inherit` (true, or the account's name) it is the same person, and the earlier account.
 */
export async function accountForNew(store: Store, id: string, inherit: true | string | undefined): Promise<string> {
  const there = await accountsOf(store, id);
  if (inherit === undefined) return accountName(id, there + 1);
  if (there === 0) throw new OperationError("usage", `there was no user ${id} before`, { field: "inherit" });
  if (inherit === true) return accountName(id, there);
  const { id: of, n } = readAccount(inherit) ?? { id: inherit, n: 1 };
  if (of !== id || n > there)
    throw new OperationError("usage", `expected ${id}#1${there > 1 ? ` to ${id}#${there}` : ""}; found "${inherit}"`, {
      field: "inherit",
    });
  return accountName(id, n);
}

/** How an account is named to people if its id has several. */
export const shownAccount = (account: string): string => (readAccount(account) ? account : `${account}#1`);
